"""Weighted sums of losses as texts."""

from __future__ import annotations

import doctest

import pytest

from segdata.errors import NotThere, SegdataError, UsageError
from segdata.models.losses import Part, parse, parts


def test_weights_at_the_beginning_and_the_end() -> None:
    assert parse(["ce", "dice:0.5", "boundary:0:1"]) == (
        Part("ce", 1, 1),
        Part("dice", 0.5, 0.5),
        Part("boundary", 0, 1),
    )
    assert [Part("dice", 1, 0.01).at(progress) for progress in (-1, 0, 0.5, 1, 2)] == [1, 1, 0.505, 0.01, 0.01]
    assert doctest.testmod(parts).failed == 0


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        ([], UsageError, "there is no loss\n"),
        (["lovász"], NotThere, "there is no loss 'lovász'"),
        (["ce", "lovaz:0.5"], NotThere, "lovaz:0.5"),
        (["ce", "lovaz:0.5"], NotThere, "did you mean 'lovasz'?"),
        (["Dice"], NotThere, "did you mean 'dice'?"),
        ([""], NotThere, "there is ce, focal"),
        (["ce:"], UsageError, "got '' for a weight in NAME"),
        (["ce:much"], UsageError, "got 'much'"),
        (["ce:-1"], UsageError, "0 … 1000000 is possible"),
        (["ce:nan"], UsageError, "got 'nan'"),
        (["ce:1:inf"], UsageError, "got 'inf'"),
        (["ce:1:2:3"], UsageError, "more than two weights"),
        (["ce", "dice", "ce:2"], UsageError, "named twice"),
        (["iou_balanced"], UsageError, "it needs the IoU of boxes"),
        (["ce", "edge:20"], UsageError, "it needs logits of edges"),
        (["ce:0", "dice:0:0"], UsageError, "weight 0"),
    ],
)
def test_mistakes_name_the_part_and_what_is_close(texts: list[str], kind: type[SegdataError], message: str) -> None:
    with pytest.raises(kind) as error:
        parse(texts)
    assert message in str(error.value)
