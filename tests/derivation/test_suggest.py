"""`suggest_labels` and `segdata labels`: which categories mean the same, by names and by masks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from tests.helpers.command import Here
from tests.helpers.pictures import encoded, waves


def pack(folder: Path, labels: Sequence[str], images: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """A pack with these categories, and by default one image without objects."""
    rows = images or {"a": {"size": (4, 6), "category": []}}
    samples = [segdata.Sample.build(key, labels=labels, **row) for key, row in rows.items()]
    segdata.write({"train": samples}, folder, labels=labels, workers=1)
    return folder


def test_names(tmp_path: Path) -> None:
    one = pack(tmp_path / "one", ["person", "tv", "dining table", "airplane", "dog", "couch", "horse", "colour chart"])
    other = pack(
        tmp_path / "other", ["Dogs", "tvmonitor", "person", "diningtable", "aeroplane", "sofa", "ship", "color chart"]
    )
    suggested = segdata.suggest_labels(one, other, tmp_path / "table.toml")
    assert [(pair.one, pair.other, pair.reason) for pair in suggested.suggestions] == [
        ("person", "person", "the same name"),
        ("tv", "tvmonitor", "known synonyms"),
        ("dining table", "diningtable", "the same name but for case, spaces and dashes"),
        ("airplane", "aeroplane", "known synonyms"),
        ("dog", "Dogs", "singular and plural"),
        ("couch", "sofa", "known synonyms"),
        ("colour chart", "color chart", "names that are alike (0.95)"),  # 2 · 10 of 21 letters
    ]
    assert (suggested.only_in_one, suggested.only_in_other, suggested.images) == (("horse",), ("ship",), 0)
    text = (tmp_path / "table.toml").read_text()
    assert text == suggested.table()
    assert '  # { name = "ship", from = ["ship"] },  no partner' in text
    rows = {row["name"]: row["from"] for row in tomllib.loads(text)["labels"]}
    assert rows["tv"] == ["tv", "tvmonitor"] and rows["person"] == ["person"] and rows["horse"] == ["horse"]


def test_a_name_is_matched_once(tmp_path: Path) -> None:
    one, other = pack(tmp_path / "one", ["cat", "cats"]), pack(tmp_path / "other", ["cats", "Cat"])
    assert {(pair.one, pair.other) for pair in segdata.suggest_labels(one, other).suggestions} == {
        ("cats", "cats"),
        ("cat", "Cat"),
    }


def test_masks_of_images_that_both_have(tmp_path: Path) -> None:
    def block(first: int, last: int) -> np.ndarray[Any, Any]:
        mask = np.zeros((240, 320), bool)
        mask[:, first:last] = True
        return mask

    file = encoded(waves(1))
    one = pack(
        tmp_path / "one",
        ["Katze", "rest"],
        {"a": {"image": file, "masks": [block(0, 100), block(200, 210)], "category": ["Katze", "rest"]}},
    )
    other = pack(
        tmp_path / "other",
        ["else", "gato"],
        {
            "x": {"image": encoded(waves(2)), "category": []},
            "b": {"image": file, "masks": [block(20, 100), block(200, 240)], "category": ["gato", "else"]},
        },
    )
    suggested = segdata.suggest_labels(one, other)
    assert suggested.images == 1
    # Katze and gato share 80 of 100 columns; rest and else 10 of 40, which is too little.
    assert [(pair.one, pair.other, pair.reason) for pair in suggested.suggestions] == [
        ("Katze", "gato", "IoU 0.80 over 1 image of both")
    ]
    assert (suggested.only_in_one, suggested.only_in_other) == (("rest",), ("else",))


@pytest.mark.parametrize("name", ['a "quoted" \\ name', "line\nbreak", "\x7f\x01", "ключ # ]"])
def test_the_table_is_toml_whatever_the_names(tmp_path: Path, name: str) -> None:
    one = pack(tmp_path / "one", ["cat", name])
    other = pack(tmp_path / "other", [f"{name}!", f"{name} only there"])
    for packs in ((one, other), (other, one)):
        rows = tomllib.loads(segdata.suggest_labels(*packs).table())["labels"]
        assert name in {source for row in rows for source in row["from"]}


def test_the_table_merges_both_packs(tmp_path: Path, here: Here) -> None:
    box = {"bbox": [[0.0, 0.0, 2.0, 2.0]], "size": (4, 6)}
    one = pack(tmp_path / "one", ["tv", "dog"], {"a": {"category": ["tv"], **box}})
    other = pack(tmp_path / "other", ["tvmonitor", "ship"], {"b": {"category": ["tvmonitor"], **box}})
    outcome = here("labels", one, other, "-o", tmp_path / "table.toml")
    assert outcome.code == 0, outcome.err
    assert "matched" in outcome.out and "ship" in outcome.out
    merged = segdata.merge([one, other], tmp_path / "both", labels=tmp_path / "table.toml")
    both = segdata.open(merged.target)
    assert [category.name for category in both.labels.categories] == ["tv", "dog"]
    assert [both.labels[int(sample.instances.category[0])].name for sample in both] == ["tv", "tv"]
    document = here("labels", one, other, "--json").document
    assert document["suggestions"] == [{"one": "tv", "other": "tvmonitor", "reason": "known synonyms"}]
    assert here("labels", one, other).out == document["table"]
    assert here("labels", one, tmp_path / "nowhere").code == 10
