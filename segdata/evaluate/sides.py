"""The two sides of a comparison, opened: truth from whatever segdata reads, predictions from a pack or results files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdata.errors import LabelMismatch, NotThere
from segdata.formats import cityscapes, coco_columns, results
from segdata.formats.columns import Columns
from segdata.formats.results import Holding, Predictions, Truth
from segdata.inputs import Input, Labels, changed, open_input, origin, relabelling, table_of
from segdata.labels import LabelSpace
from segdata.pack.read import Pack, is_pack, open_pack
from segdata.problems import Problems
from segdata.sample import Sample


def open_truth(path: Path, *, split: str | None = None, labels: Labels = None) -> Truth:
    """The annotated images of a pack, a dataset folder or a COCO document; images are not needed.

    Args:
        split: only this split.
        labels: a view of the label space, applied when samples are read.
    """
    splits = [] if split is None else [split]
    table = table_of(labels, path, None)
    data = open_input(path, None, splits, table, "none", None, needs_images=True)
    made_from = origin(path, data)
    if labels is not None and table is None:
        data = changed(data, [relabelling(labels, data.labels)])
    return truth_of(path, made_from, data)


def truth_of(path: Path, made_from: str, data: Input) -> Truth:
    """A truth from what a conversion would read."""

    def images() -> npt.NDArray[np.int64]:
        if data.pack is not None:
            return np.column_stack((data.pack.column("image/id"), data.pack.column("image/size"))).astype(np.int64)
        if data.format == "coco" and data.scanned is not None:
            return coco_columns.sizes(*data.scanned)
        samples = (data.get(place, Problems()) for place in range(len(data)))
        rows = [(sample.id, sample.height, sample.width) for sample in samples]
        return np.array(rows, np.int64).reshape(-1, 3)

    truth = Truth(
        path,
        data.format,
        made_from,
        data.labels,
        data.splits,
        data.keys,
        lambda place: data.get(place, data.problems),
        images,
        problems=data.problems,
    )
    if data.scanned is None or data.format not in ("coco", "cityscapes"):
        return truth
    source, entries = data.scanned
    if data.format == "cityscapes":
        return replace(
            truth,
            find_semantic=lambda place: cityscapes.label_map(source, entries[place]),
            find_numbers=lambda place: cityscapes.instance_numbers(source, entries[place]),
        )

    def columns(place: int) -> Columns:
        height, width = truth.sizes[place].tolist()
        return coco_columns.columns(source, entries[place], height, width, data.problems)

    return replace(truth, find_columns=columns)


def open_predictions(path: Path, truth: Truth, *, kind: str | None = None) -> Predictions:
    """Predictions for the images of a truth.

    Args:
        kind: "pack" or the name of a kind of results; found out by default.
    """
    if kind == "pack" or (kind is None and is_pack(path)):
        return _from_pack(path, open_pack(path), truth)
    return results.named(kind or results.detect(path)).read(path, truth, Problems())


def _from_pack(path: Path, pack: Pack, truth: Truth) -> Predictions:
    require_same(pack.labels, truth.labels, path)
    place_of = truth.place_of_key
    places = {place_of[key]: index for index, key in enumerate(pack.keys) if key in place_of}
    unknown = [key for key in pack.keys if key not in place_of]
    if unknown:
        raise NotThere(
            f"{len(unknown)} of {len(pack)} predicted images are not in the truth",
            file=path,
            why=f"the first is {unknown[0]!r}; the truth's first is {next(iter(truth.keys), None)!r}",
        )
    holds: set[Holding] = set()
    for sample in pack:
        if sample.has_semantic:
            holds.add("semantic")
        if len(sample.instances):
            holds |= {"scores", "boxes", "masks"}
            break
    return Predictions(path, "pack", frozenset(holds), lambda place: _sample(pack, places.get(place)))


def _sample(pack: Pack, index: int | None) -> Sample | None:
    return None if index is None else pack[index]


def require_same(mine: LabelSpace, theirs: LabelSpace, path: Path) -> None:
    """Refuse predictions whose categories are not the truth's, and show the difference."""
    if [(item.id, item.name) for item in mine.categories] == [(item.id, item.name) for item in theirs.categories]:
        return
    try:
        mine.require_equal(theirs, "predictions and truth")
    except LabelMismatch as error:
        raise error.located(file=path) from error
