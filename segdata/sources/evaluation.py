"""Truth and predictions, opened: truth from whatever segdata reads, predictions from a pack or results files."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdata import formats
from segdata.core.columns import Columns
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.predictions import GroundTruth, Holding, Predictions
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, LabelMismatch, NotThere
from segdata.formats.contract import Entry, Shortcuts, Source
from segdata.pack import layout
from segdata.pack.read import Pack, is_pack, open_pack
from segdata.pack.verify import require_intact
from segdata.sources.dataset import Dataset, Labels, open_dataset, relabelled, relabelling
from segdata.system.files import canonical_json, disk_errors


def open_truth(path: Path, *, split: str | None = None, labels: Labels = None) -> GroundTruth:
    """The annotated images of a pack, a dataset folder or a COCO document; images are not needed.

    Args:
        split: only this split.
        labels: a view of the label space, applied when samples are read.
    """
    splits = [] if split is None else [split]
    return truth_of(path, open_dataset(path, splits=splits, labels=labels, check_images=False))


def truth_of(path: Path, data: Dataset) -> GroundTruth:
    """A dataset as the ground truth of an evaluation."""
    shortcuts = Shortcuts() if data.scanned is None else formats.FORMATS[data.format].shortcuts

    def images() -> npt.NDArray[np.int64]:
        if data.pack is not None:
            return np.column_stack((data.pack.column("image/id"), data.pack.column("image/size"))).astype(np.int64)
        if data.scanned is not None and shortcuts.image_table is not None:
            return shortcuts.image_table(*data.scanned)
        samples = (data.get(place, Findings()) for place in range(len(data)))
        rows = [(sample.id, sample.height, sample.width) for sample in samples]
        return np.array(rows, np.int64).reshape(-1, 3)

    read: set[int] = set()

    def get(place: int) -> Sample:
        findings = Findings() if place in read else data.findings  # every remark once, however often it is read
        read.add(place)
        return data.get(place, findings)

    truth = GroundTruth(
        path,
        data.format,
        data.made_from,
        data.labels,
        data.splits,
        data.keys,
        get,
        images,
        findings=data.findings,
    )
    return truth if data.scanned is None else _with_shortcuts(truth, shortcuts, *data.scanned, read)


def _with_shortcuts(
    truth: GroundTruth, shortcuts: Shortcuts, source: Source, entries: Sequence[Entry], read: set[int]
) -> GroundTruth:
    """The same ground truth, where its format has quicker ways to parts of samples than loading them.

    Args:
        read: indices whose remarks are counted already.
    """
    columns, label_map, instance_ids = shortcuts.columns, shortcuts.label_map, shortcuts.instance_ids
    if columns is not None:

        def find_columns(index: int) -> Columns:
            height, width = truth.sizes[index].tolist()
            findings = Findings() if index in read else truth.findings
            read.add(index)
            return columns(source, entries[index], height, width, findings)

        truth = replace(truth, find_columns=find_columns)
    if label_map is not None:
        truth = replace(truth, find_semantic=lambda index: label_map(source, entries[index]))
    if instance_ids is not None:
        truth = replace(truth, find_instance_ids=lambda index: instance_ids(source, entries[index]))
    return truth


def open_results(
    path: Path,
    truth: Path,
    *,
    kind: str | None = None,
    splits: Sequence[str] = (),
    labels: Labels = None,
    limit: int | None = None,
) -> Dataset:
    """Results files as a dataset: what was predicted for every image of a ground truth.

    Args:
        truth: the pack or dataset that the results are about.
        kind: the kind of results; detected by default.
        splits: only images of these splits of the ground truth.
        labels: categories to map to.
        limit: at most this many images, the first ones.
    """
    data = open_dataset(truth, splits=splits, limit=limit, check_images=False)
    about = truth_of(truth, data)
    name = kind or formats.detect_results(path)
    findings = Findings()
    found = formats.results_named(name).reader.read(path, about, findings)

    def get(place: int, _problems: Findings) -> Sample:
        sample = found.get(place)
        if sample is not None:
            return sample
        height, width = about.sizes[place].tolist()
        instances = Instances.none(height, width)
        return Sample(about.keys[place], height, width, id=int(about.ids[place]), instances=instances)

    digest = hashlib.sha256(canonical_json([name, data.fingerprint]))
    for file in sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]:
        with disk_errors(file), file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    predicted = Dataset(
        format=name,
        made_from="predictions",
        root=path,
        layout=f"{name} about {truth.name}",
        labels=about.labels,
        splits=data.splits,
        documents=[],
        keys=data.keys,
        sizes=[(0, 0)] * len(data),
        fingerprint=digest.hexdigest(),
        get=get,
        findings=findings,
    )
    return predicted if labels is None else relabelled(predicted, labels)


def open_predictions(
    path: Path, truth: GroundTruth, *, kind: str | None = None, split: str | None = None, labels: Labels = None
) -> Predictions:
    """Predictions for the images of a truth.

    Args:
        kind: "pack" or the name of a kind of results; found out by default.
        split: only this split of a pack, where it has it.
        labels: the view that the truth is under, for a pack that is not.
    """
    if kind == "pack" or (kind is None and is_pack(path)):
        require_intact(path)
        return _from_pack(path, open_pack(path), truth, split, labels)
    return formats.results_named(kind or formats.detect_results(path)).reader.read(path, truth, Findings())


def _from_pack(path: Path, pack: Pack, truth: GroundTruth, split: str | None, labels: Labels) -> Predictions:
    if split in pack.splits:
        pack = pack.split(str(split))
    mapping = _mapping(pack.labels, truth.labels, labels, path)
    if mapping is not None:
        pack = pack.viewed(mapping)
    places = _places(pack, truth, path)
    return Predictions(path, "pack", _holds(pack), lambda place: pack[places[place]] if place in places else None)


def _holds(pack: Pack) -> frozenset[Holding]:
    holds: set[Holding] = set()
    if np.any(pack.column("image/flags") & layout.SEMANTIC_ANNOTATED):
        holds.add("semantic")
    if any(score is not None and not np.isnan(score).all() for score in pack.instance_columns("instance/score")):
        holds.add("scores")
    if any(flags is not None and np.any(flags & layout.HAS_MASK) for flags in pack.instance_columns("instance/flags")):
        holds.add("masks")
    if any(bbox is not None and not np.isnan(bbox).all() for bbox in pack.instance_columns("instance/bbox")):
        holds.add("boxes")
    if not any(flags is not None and len(flags) for flags in pack.instance_columns("instance/flags")):
        holds |= {"scores", "boxes"} if "semantic" not in holds else set()
    return frozenset(holds)


def _places(pack: Pack, truth: GroundTruth, path: Path) -> dict[int, int]:
    """Place in the truth → index in the predictions, by key, and by split and key where a key stands for several."""
    keys = list(pack.keys)
    if len(set(keys)) == len(keys) and len(truth.index_of_key) == len(truth):
        place_of = truth.index_of_key
        found = [place_of.get(key) for key in keys]
    else:
        by_split = {(name, truth.keys[place]): place for name, members in truth.splits.items() for place in members}
        position = {int(index): place for place, index in enumerate(pack.indices)}
        found = [None] * len(keys)
        for name, members in pack.splits.items():
            for index in (position[int(member)] for member in members if int(member) in position):
                found[index] = by_split.get((name, keys[index]), found[index])
    unknown = [key for key, place in zip(keys, found, strict=True) if place is None]
    if unknown:
        close = difflib.get_close_matches(unknown[0], list(truth.keys)[:20000], n=3)
        raise InvalidAnnotation(
            f"{len(unknown):,} of {len(keys):,} predicted images are not in the truth",
            file=path,
            key=unknown[0],
            why=f"{', '.join(map(repr, unknown[:5]))}{' …' if len(unknown) > 5 else ''}; "
            + (
                f"close to the first are {', '.join(map(repr, close))}"
                if close
                else f"the truth has {truth.keys[:3]} …"
            ),
            fix="give the truth that these predictions are about",
        )
    places = {place: index for index, place in enumerate(found) if place is not None}
    if len(places) < len(found):
        raise InvalidAnnotation("an image is predicted twice", file=path, why=f"{len(found) - len(places)} are")
    return places


def _mapping(mine: LabelSpace, theirs: LabelSpace, labels: Labels, path: Path) -> LabelMapping | None:
    """How predicted categories become the truth's; None where they are the same.

    Raises:
        LabelMismatch: they are not the same, with the difference.
    """
    own, others = ([(item.id, item.name) for item in space.categories] for space in (mine, theirs))
    if own == others:
        return None
    if sorted(own) == sorted(others):
        return LabelMapping(theirs, tuple(others.index(item) for item in own))
    if labels is not None:
        with contextlib.suppress(NotThere):
            step = relabelling(labels, mine)
            if [item.name for item in step.mapping.target.categories] == [item.name for item in theirs.categories]:
                return step.mapping
    try:
        mine.require_equal(theirs, "predictions and truth")
    except LabelMismatch as error:
        error.fix = "evaluate predictions under the label space they were made for, or both under a view with --labels"
        raise error.located(file=path) from error
    return None
