"""Open the two inputs of an evaluation: ground truth (pack, dataset folder or COCO file) and predictions (pack or results files)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdata import formats
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.predictions import Columns, GroundTruth, Holding, Predictions
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, InvalidManifest, NotThere, close_names, number_of
from segdata.formats.contract import Entry, Shortcuts, Source
from segdata.formats.shared import category_numbers
from segdata.pack import layout
from segdata.pack.layout import is_pack
from segdata.pack.read import Pack, open_pack
from segdata.pack.verify import require_intact
from segdata.places.address import located
from segdata.sources.dataset import Dataset, Labels, open_dataset, relabelled, relabelling
from segdata.system.files import canonical_json, disk_errors
from segdata.system.reading import open_file


def open_ground_truth(path: Path, *, split: str | None = None, labels: Labels = None) -> GroundTruth:
    """Open the annotated images of a pack, a dataset folder or a COCO document; image files are not needed.

    Args:
        split: only this split.
        labels: a view of the label space, applied when samples are read.
    """
    path, splits = located(path), [] if split is None else [split]
    return ground_truth_of(open_dataset(path, splits=splits, labels=labels, check_images=False), path)


def ground_truth_of(dataset: Dataset, path: Path) -> GroundTruth:
    """A dataset as the ground truth of an evaluation."""
    shortcuts = Shortcuts() if dataset.scanned is None else formats.FORMATS[dataset.format].shortcuts
    read: set[int] = set()

    def get(index: int) -> Sample:
        findings = Findings() if index in read else dataset.findings  # every remark once, however often it is read
        read.add(index)
        return dataset.get(index, findings)

    ground_truth = GroundTruth(
        path=path,
        format=dataset.format,
        made_from=dataset.made_from,
        labels=dataset.labels,
        splits=dataset.splits,
        keys=dataset.keys,
        get=get,
        find_images=lambda: _image_table(dataset, shortcuts),
        findings=dataset.findings,
        find_text_ids=lambda: _text_ids(dataset, shortcuts),
        mapped_from=dataset.mapped_from,
    )
    if dataset.scanned is None:
        return ground_truth
    return _with_shortcuts(ground_truth, shortcuts, *dataset.scanned, read)


def _image_table(dataset: Dataset, shortcuts: Shortcuts) -> npt.NDArray[np.int64]:
    """(N, 3) int64, id (−1 where there is none), height and width of every image."""
    if dataset.pack is not None:
        return np.column_stack((dataset.pack.column("image/id"), dataset.pack.column("image/size"))).astype(np.int64)
    if dataset.scanned is not None and shortcuts.image_table is not None:
        return shortcuts.image_table(*dataset.scanned)
    samples = (dataset.get(index, Findings()) for index in range(len(dataset)))
    rows = [(sample.id, sample.height, sample.width) for sample in samples]
    return np.array(rows, np.int64).reshape(-1, 3)


def _text_ids(dataset: Dataset, shortcuts: Shortcuts) -> Mapping[str, int]:
    """The source's ids of images that are text → index."""
    if dataset.scanned is not None and shortcuts.text_ids is not None:
        return shortcuts.text_ids(*dataset.scanned)
    text_id = formats.FORMATS[dataset.made_from].residue.text_id if dataset.made_from in formats.FORMATS else None
    if text_id is None:
        return {}
    texts = [text_id(dataset.get(index, Findings()).extra.get(dataset.made_from, {})) for index in range(len(dataset))]
    return {text: index for index, text in enumerate(texts) if text is not None}


def _with_shortcuts(
    ground_truth: GroundTruth, shortcuts: Shortcuts, source: Source, entries: Sequence[Entry], read: set[int]
) -> GroundTruth:
    """The same ground truth, where its format has quicker ways to parts of samples than loading them.

    Args:
        read: indices whose remarks are counted already.
    """
    columns, label_map, instance_ids = shortcuts.columns, shortcuts.label_map, shortcuts.instance_ids
    if columns is not None:

        def find_columns(index: int) -> Columns:
            height, width = ground_truth.sizes[index].tolist()
            findings = Findings() if index in read else ground_truth.findings
            read.add(index)
            return columns(source, entries[index], height, width, findings)

        ground_truth = replace(ground_truth, find_columns=find_columns)
    if label_map is not None:
        ground_truth = replace(ground_truth, find_semantic=lambda index: label_map(source, entries[index]))
    if instance_ids is not None:
        ground_truth = replace(ground_truth, find_instance_ids=lambda index: instance_ids(source, entries[index]))
    return ground_truth


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
        truth: the ground truth of the results, a pack or a dataset.
        kind: the kind of results; detected by default.
        splits: only images of these splits of the ground truth.
        labels: categories to map to.
        limit: at most this many images, the first ones.
    """
    images = open_dataset(truth, splits=splits, limit=limit, check_images=False)
    ground_truth = ground_truth_of(images, truth)
    kind = kind or formats.detect_results(path)
    findings = Findings()
    predictions = formats.results_named(kind).reader.read(path, ground_truth, findings)

    def get(index: int, _: Findings) -> Sample:
        sample = predictions.get(index)
        if sample is not None:
            return sample
        height, width = ground_truth.sizes[index].tolist()
        instances = Instances.none(height, width)
        return Sample(ground_truth.keys[index], height, width, id=int(ground_truth.ids[index]), instances=instances)

    dataset = Dataset(
        format=kind,
        made_from="predictions",
        root=path,
        layout=f"{kind} about {truth.name}",
        labels=ground_truth.labels,
        splits=images.splits,
        documents=[],
        keys=images.keys,
        sizes=[(0, 0)] * len(images),
        fingerprint=_results_fingerprint(kind, images, path),
        get=get,
        findings=findings,
    )
    return dataset if labels is None else relabelled(dataset, labels)


def _results_fingerprint(kind: str, images: Dataset, path: Path) -> str:
    """Digest of results files and of the images that they are about."""
    digest = hashlib.sha256(canonical_json([kind, images.fingerprint]))
    for name in sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]:
        with disk_errors(name), open_file(name) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def open_predictions(
    path: Path,
    ground_truth: GroundTruth,
    *,
    kind: str | None = None,
    split: str | None = None,
    labels: Labels = None,
) -> Predictions:
    """Open the predictions for the images of a ground truth.

    Args:
        kind: "pack" or the name of a kind of results; detected by default.
        split: only this split of a pack, where it has it.
        labels: the view that the ground truth is under, for a pack that is not.
    """
    path = located(path)
    if kind != "pack" and (kind is not None or not is_pack(path)):
        reader = formats.results_named(kind or formats.detect_results(path)).reader
        return reader.read(path, ground_truth, Findings())
    require_intact(path)
    pack = open_pack(path)
    if split in pack.splits:
        pack = pack.split(str(split))
    findings = Findings()
    mapping = _mapping(pack.labels, ground_truth, labels, findings, path)
    if mapping is not None:
        pack = pack.viewed(mapping)
    positions = _positions(pack, ground_truth, path)
    return Predictions(
        path=path,
        kind="pack",
        holds=_holds(pack),
        get=lambda index: pack[positions.item(index)] if positions[index] >= 0 else None,
        find_covered=lambda: np.flatnonzero(positions >= 0).tolist(),
        findings=findings,
    )


def _holds(pack: Pack) -> frozenset[Holding]:
    """What a pack of predictions has for its images."""
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


def _positions(pack: Pack, ground_truth: GroundTruth, path: Path) -> npt.NDArray[np.int32]:
    """(N,) int32, the position in the pack of each image of the ground truth, −1 where it is not there.

    Images are matched by key, and by split and key where several have the same key.

    Raises:
        InvalidAnnotation: a predicted image is not in the ground truth, or is there twice.
    """
    keys = list(pack.keys)
    indices: list[int | None]
    if len(set(keys)) == len(keys) and len(ground_truth.index_of_key) == len(ground_truth):
        indices = [ground_truth.index_of_key.get(key) for key in keys]
    else:
        indices = _indices_by_split(pack, ground_truth)
    unknown = [key for key, index in zip(keys, indices, strict=True) if index is None]
    if unknown:
        close = close_names(unknown[0], ground_truth.keys)
        others = (
            f"close to the first are {', '.join(map(repr, close))}"
            if close
            else f"the ground truth has {ground_truth.keys[:3]} …"
        )
        raise InvalidAnnotation(
            f"{len(unknown):,} of {number_of(len(keys), 'predicted image is', 'predicted images are')} not in the ground truth",
            file=path,
            key=unknown[0],
            why=f"{', '.join(map(repr, unknown[:5]))}{' …' if len(unknown) > 5 else ''}; {others}",
            fix="give the ground truth that these predictions are about",
        )
    positions = np.full(len(ground_truth), -1, np.int32)
    positions[np.array(indices, np.int64)] = np.arange(len(indices))
    if twice := len(indices) - np.count_nonzero(positions >= 0):
        raise InvalidAnnotation("an image is predicted twice", file=path, why=f"{twice} are")
    return positions


def _indices_by_split(pack: Pack, ground_truth: GroundTruth) -> list[int | None]:
    """For each image of the pack, the image of the ground truth that has the same key in the same split."""
    keys = list(pack.keys)
    index_of = {
        (name, ground_truth.keys[index]): index for name, members in ground_truth.splits.items() for index in members
    }
    position_of = {int(member): position for position, member in enumerate(pack.indices)}
    indices: list[int | None] = [None] * len(keys)
    for name, members in pack.splits.items():
        for position in (position_of[int(member)] for member in members if int(member) in position_of):
            indices[position] = index_of.get((name, keys[position]), indices[position])
    return indices


def _mapping(
    predicted: LabelSpace, truth: GroundTruth, labels: Labels, findings: Findings, path: Path
) -> LabelMapping | None:
    """How predicted categories become those of the ground truth; None where they are the same.

    Raises:
        LabelMismatch: there are predicted categories that the ground truth does not have.
    """
    expected = truth.labels
    names, expected_names = (
        [(category.id, category.name) for category in space.categories] for space in (predicted, expected)
    )
    if names == expected_names:
        return None
    if sorted(names) == sorted(expected_names):
        return LabelMapping(expected, tuple(expected_names.index(name) for name in names))
    if labels is not None:
        with contextlib.suppress(NotThere, InvalidManifest):  # the table is about other names than these
            mapping = relabelling(labels, predicted).mapping
            if [item.name for item in mapping.target.categories] == [item.name for item in expected.categories]:
                return mapping
    joined = category_numbers.by_name(predicted, truth, findings, path).mapping
    covered = () if joined is None else joined.table
    lacking = [item.name for index, item in enumerate(expected.categories) if not item.ignore and index not in covered]
    if lacking:
        shown = ", ".join(map(repr, lacking[:5])) + (f" … ({len(lacking)})" if len(lacking) > 5 else "")
        findings.remark(f"the predictions do not have these categories of the ground truth: {shown}", str(path))
    return joined
