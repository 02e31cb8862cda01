"""Heads of a Mask R-CNN for other classes than those of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from segdata.core.labels import LabelSpace
from segdata.errors import InvalidInput
from segdata.models.weights import Weights

Pairs = list[tuple[int, int]]
"""Classes (there, here) that are the same; 0 is the background."""


def same_classes(
    source: Weights, there: Sequence[int], classes: tuple[int, int], labels: LabelSpace, here: Sequence[int]
) -> Pairs | None:
    """The classes of the weights and of the network that have the same name; None to take all as they are.

    Args:
        there: the category in `source.labels` of each of the weights' classes from 1 on, −1 for none.
        classes: how many classes with the background the weights and the network have.
        labels: of the network.
        here: the category of each of its classes from 1 on.

    Raises:
        InvalidInput: the categories of the weights are not those of their heads.
    """
    known = source.labels
    if known is None:
        return None if classes[0] == classes[1] else []
    if len(there) + 1 != classes[0]:
        raise InvalidInput(
            "the categories of the weights are not those of their heads",
            file=source.source,
            why=f"{len(there)} categories of objects and the background, {classes[0]} classes",
        )
    class_of = {labels[category].name: number for number, category in enumerate(here, 1)}
    pairs = [(0, 0)]
    pairs += [
        (number, class_of[known[category].name])
        for number, category in enumerate(there, 1)
        if category >= 0 and known[category].name in class_of
    ]
    return None if pairs == [(row, row) for row in range(classes[0])] and classes[0] == classes[1] else pairs


def adapted(
    tensors: Mapping[str, Tensor], present: Mapping[str, Tensor], pairs: Pairs, heads: tuple[str, ...]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors with heads for the network's classes, and the names of the layers that were adapted.

    Args:
        heads: what names of tensors with rows for each class begin with; a class has four rows in `bbox_pred`.
    """
    names = [name for name in present if name.startswith(heads)]
    changed = {
        name: _rows(tensors[name], present[name], pairs, 4 if ".bbox_pred." in name else 1)
        for name in names
        if name in tensors
    }
    return {**tensors, **changed}, list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def _rows(tensor: Tensor, present: Tensor, pairs: Pairs, each: int) -> Tensor:
    """`present` with the rows of some classes from `tensor`; a class has `each` rows. Other widths start afresh."""
    merged = present.clone()
    if tensor.shape[1:] == present.shape[1:] and len(tensor) >= each * (max(pairs, default=(-1, 0))[0] + 1):
        for there, here in pairs:
            merged[here * each : (here + 1) * each] = tensor[there * each : (there + 1) * each]
    return merged


def remark_on_heads(classes: tuple[int, int], pairs: Pairs, layers: Sequence[str]) -> str:
    """What is said of adapted heads.

    Args:
        classes: of the weights and of the network, without the background.
    """
    return (
        f"the heads know {classes[0]} classes, here are {classes[1]}: {max(len(pairs) - 1, 0)} of the same name are taken "
        f"over, the others start afresh (in {', '.join(layers)})"
    )
