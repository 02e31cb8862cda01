"""Open a dataset folder or a pack alike, reduced to the samples that were asked for."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segdata import formats
from segdata.catalog import manifest
from segdata.core.arrays import BoolArray
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.sample import Sample
from segdata.errors import DamagedData, InvalidAnnotation, NotThere, SegdataError, UsageError, no_split
from segdata.formats.contract import UNSAID, Entry, Header, ReadOptions, Source
from segdata.formats.shared import label_tables
from segdata.formats.shared.folder import file_size, image_path, images_not_there, missing_images
from segdata.formats.shared.loose_names import found_otherwise
from segdata.pack.layout import is_pack
from segdata.pack.read import Pack, open_without
from segdata.pack.verify import damaged_shards
from segdata.places.address import located
from segdata.sets.filters import Relabel, Step
from segdata.sets.splits import SplitBy
from segdata.sources.numbers import Ids, without_id
from segdata.system.files import canonical_json, disk_errors
from segdata.system.reading import open_file

OnError = Literal["stop", "skip"]
"""Whether invalid items stop the work, or are left out and listed."""

Labels = str | Path | LabelSpace | LabelMapping | None
"""How categories are asked for: the name of a view or label space, a TOML file, or the thing itself."""


Classes = str | Path | Sequence[str] | None
"""How the categories of a folder are declared: a file, names in the order of their values, or "from-data"."""


def images_folders(images_dir: str | Path | Mapping[str, str | Path] | None) -> dict[str, Path]:
    """`ReadOptions.images_dir` of one folder for all splits, or of one for each.

    Raises:
        NotThere: a folder is not there.
    """
    if images_dir is None:
        return {}
    items = images_dir.items() if isinstance(images_dir, Mapping) else [("", images_dir)]
    folders = {split: Path(folder).absolute() for split, folder in items}
    for split, folder in folders.items():
        if not folder.is_dir():
            raise NotThere(
                f"{folder} is no folder",
                file=folder,
                why="it was given as the folder of the images" + (f" of split {split!r}" if split else ""),
                fix="check the path of --images-dir [SPLIT=]DIR",
            )
    return folders


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The samples of a dataset folder, a pack or results files, read one at a time.

    Attributes:
        format: "pack", the folder's format, or the kind of results.
        made_from: the format whose samples these are; for a pack, the one that it was made of.
        root: the folder.
        layout: which of the format's layouts it has, in words.
        labels: what category indices mean.
        splits: name → indices of its samples.
        documents: what the dataset's files say beyond single images.
        keys: every sample's key, in order.
        sizes: (bytes of the image at most, bytes of its own annotation files) of every sample.
        fingerprint: digest of everything that the samples are read from.
        get: the sample with this index; what is odd in it goes to the findings.
        findings: what was odd or left out when the dataset was opened.
        steps: the filters that the samples go through.
        scanned: a folder's scan and chosen entries, for samples that are neither filtered nor adapted.
        pack: a pack's chosen samples, under the same condition.
        unadapted: the dataset before it was adapted to another format; its image files still have their own names.
        adapt_block: indices and samples of `unadapted` → the same adapted, where many at once are faster.
        renamed: (key, key before) of the samples that the other format calls otherwise.
        expects_annotations: see `formats.contract.Source`.
        mapped_from: the categories before the last mapping, and that mapping.
        ids: a pack's: gives the ids of all images, and the image and id of every object.
    """

    format: str
    made_from: str
    root: Path
    layout: str
    labels: LabelSpace
    splits: Mapping[str, list[int]]
    documents: Sequence[Mapping[str, Any]]
    keys: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    fingerprint: str
    get: Callable[[int, Findings], Sample]
    findings: Findings = field(default_factory=Findings)
    steps: tuple[Step, ...] = ()
    scanned: tuple[Source, Sequence[Entry]] | None = None
    pack: Pack | None = None
    unadapted: Dataset | None = None
    adapt_block: Callable[[Sequence[int], Sequence[Sample], Findings], list[Sample]] | None = None
    renamed: Sequence[tuple[str, str]] = ()
    expects_annotations: bool = False
    mapped_from: tuple[LabelSpace, LabelMapping] | None = None
    ids: Callable[[], Ids] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @contextlib.contextmanager
    def kept_records(self, key: str | None = None) -> Iterator[None]:
        """Name the pack where a format fails at what the pack keeps of its files: only that format knows their shape.

        Args:
            key: the sample that is read.

        Raises:
            DamagedData: instead of an error of a value's type or shape, where the samples come from a pack.
        """
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            if self.format != "pack" or isinstance(error, SegdataError):
                raise
            raise DamagedData(
                "what the pack keeps of the source's files cannot be written back",
                file=self.root,
                key=key,
                why=f"{type(error).__name__}: {error}"[:300],
                fix="make the pack anew from the dataset with --force, or leave the sample out with --on-error skip; if "
                f"`segdata verify {self.root} --deep` calls a pack of your own good, please report this",
            ) from error


def open_dataset(
    path: Path,
    *,
    format: str | None = None,
    splits: Sequence[str] = (),
    lists: Mapping[str, Sequence[str]] | None = None,
    labels: Labels = None,
    where: str | None = None,
    limit: int | None = None,
    on_error: OnError = "stop",
    check_images: bool = True,
    classes: Classes = None,
    read: ReadOptions | None = None,
) -> Dataset:
    """Open a pack or a dataset folder; nothing of its samples is read.

    Args:
        format: "pack" or a format's name; by default detected from the layout.
        splits: only the samples of these.
        lists: split → keys of its samples; such a split replaces the folder's own of that name.
        labels: the categories to map to. A label space of the folder's own format says what its numbers mean instead.
        where: only the samples of a pack that this query means, under `labels`.
        limit: at most this many samples, the first ones.
        on_error: whether missing images and damaged shards are errors, or left out.
        check_images: whether images of a folder must be on disk.
        classes: the categories of a folder whose files do not define them.
        read: what the reader of a folder is told.
    """
    path = located(path)
    is_from_data = classes == FROM_DATA
    read = replace(read or ReadOptions(), splits=() if lists else tuple(splits), classes_from_data=is_from_data)
    own_labels = _labels_of_folder(labels, path, format)
    declared = None if classes is None or is_from_data else _declared(classes)
    if format == "pack" or (format is None and is_pack(path)):
        dataset = _open_pack(path, splits, labels, where, limit=limit, on_error=on_error)
    elif where is not None:
        raise UsageError(
            "--where asks for samples of a pack, and this is a dataset's folder",
            file=path,
            why="a query is answered from the tables of a pack, without reading a sample",
            fix=f"make a pack of it first, segdata convert {path} PACK, and give --where with that",
        )
    else:
        findings = Findings(strict=read.strict)
        format, source = formats.scan(path, format, findings, read, labels=declared or own_labels)
        _require_splits_of_images(read, source, path)
        all_splits = {**source.splits, **_listed_splits(source.entries, lists or {}, findings)}
        chosen, members = _choose(len(source.entries), all_splits, splits, limit, path)
        entries = [source.entries[index] for index in chosen]
        missing = missing_images(source.root, entries) if check_images else []
        missing = found_otherwise(source, entries, missing, findings)
        if missing and on_error == "stop":
            raise images_not_there(source, entries, missing, read.images_dir.values())
        for index in missing:
            file = image_path(source.root, entries[index]) if entries[index].file else source.root / entries[index].key
            findings.skip(InvalidAnnotation("image is not on disk", file=file))
        if missing:
            is_missing = set(missing)
            entries = [entry for index, entry in enumerate(entries) if index not in is_missing]
            members = without(members, missing)
        dataset = _folder_dataset(format, source, entries, members, findings)
    return dataset if labels is None or own_labels is not None else relabelled(dataset, labels)


def _labels_of_folder(labels: Labels, path: Path, format: str | None) -> LabelSpace | None:
    """What a folder's numbers mean, where `labels` names a label space of the folder's own format."""
    if labels is None or is_pack(path) or format == "pack":
        return None
    if isinstance(labels, LabelSpace):
        return labels
    if isinstance(labels, str) and labels in manifest.spaces():
        format = format or formats.detect(path)
        if format in {item.format for item in map(manifest.shipped, manifest.names()) if item.labels.name == labels}:
            return manifest.label_space(labels)
    return None


FROM_DATA = "from-data"
"""Stands for the categories that the annotations themselves name."""


def _declared(classes: str | Path | Sequence[str]) -> LabelSpace:
    """The label space of a file, or of names: a list, or text with commas between them."""
    given = label_tables.given(classes)
    return label_tables.from_file(given) if isinstance(given, Path) else label_tables.from_names(given)


def split_by(dataset: Dataset, step: SplitBy) -> Dataset:
    """The same samples in other splits."""
    return replace(filtered(dataset, step), splits=step.members(dataset.keys))


def _require_splits_of_images(read: ReadOptions, source: Source, path: Path) -> None:
    """Refuse a folder of images for a split that the dataset does not have.

    Raises:
        NotThere: with the splits that there are.
    """
    for split in read.images_dir:
        if split and split not in source.splits:
            raise NotThere(
                f"there is no split {split!r} for --images-dir",
                file=path,
                why=f"splits are {', '.join(map(repr, source.splits)) or 'none'}",
                fix="correct the name, or give --images-dir DIR for all splits",
            )


def _listed_splits(
    entries: Sequence[Entry], lists: Mapping[str, Sequence[str]], findings: Findings
) -> dict[str, list[int]]:
    """The listed splits over the samples that are there; names of others are counted."""
    index_of_key = {entry.key: index for index, entry in enumerate(entries)}
    splits = {name: [index_of_key[key] for key in keys if key in index_of_key] for name, keys in lists.items()}
    for name, keys in lists.items():
        for key in keys:
            if key not in index_of_key:
                findings.remark("name in a published split list without a file", f"{name}: {key}")
    return {name: members for name, members in splits.items() if members}


def _choose(
    count: int,
    splits: Mapping[str, Sequence[int]],
    names: Sequence[str],
    limit: int | None,
    path: Path,
    is_meant: BoolArray | None = None,
) -> tuple[list[int], dict[str, list[int]]]:
    """Which samples are taken, in order, and the splits over them.

    Args:
        is_meant: (count,) bool, which samples a query means.
    """
    for name in names:
        if name not in splits:
            raise no_split(name, splits, None, path)
    chosen = sorted({int(index) for name in names for index in splits[name]}) if names else list(range(count))
    if is_meant is not None:
        chosen = [index for index in chosen if is_meant[index]]
    chosen = chosen[:limit]
    position = {index: position for position, index in enumerate(chosen)}
    return chosen, {
        name: [position[int(index)] for index in members if int(index) in position]
        for name, members in splits.items()
        if not names or name in names
    }


def _folder_dataset(
    format: str, source: Source, entries: Sequence[Entry], splits: dict[str, list[int]], findings: Findings
) -> Dataset:
    load = formats.named(format).format.load

    def get(index: int, findings: Findings) -> Sample:
        sample = load(source, entries[index], findings)
        sample.max_pixels = source.options.max_pixels
        return sample

    sizes = [
        (
            entry.annotation_bytes if entry.embedded else file_size(source.root, entry.disk or entry.file),
            entry.annotation_bytes,
        )
        for entry in entries
    ]
    digest = hashlib.sha256(canonical_json([format, source.labels.as_dict(), splits]))
    for entry, size in zip(entries, sizes, strict=True):
        digest.update(canonical_json([entry.key, entry.file, *size]))
    for name in source.annotation_files:
        with disk_errors(source.root / name), open_file(source.root / name) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return Dataset(
        format=format,
        made_from=format,
        root=source.root,
        layout=source.layout,
        labels=source.labels,
        splits=splits,
        documents=source.documents,
        keys=[entry.key for entry in entries],
        sizes=sizes,
        fingerprint=digest.hexdigest(),
        get=get,
        findings=findings,
        scanned=(source, entries),
        expects_annotations=source.expects_annotations,
    )


def _open_pack(
    path: Path,
    split_names: Sequence[str],
    labels: Labels,
    where: str | None,
    *,
    limit: int | None,
    on_error: OnError,
) -> Dataset:
    findings = Findings()
    damaged = damaged_shards(path)
    pack = open_without(path, damaged)
    for number, error in damaged.items():
        if on_error == "stop":
            raise error
        error.place = f"shard {number}" + (f", {error.place}" if error.place else "")
        findings.skip(error, pack.info["shards"][number]["samples"])
    all_splits = {name: members.tolist() for name, members in pack.splits.items()}
    is_meant = None
    if where is not None:
        viewed = pack if labels is None else pack.viewed(relabelling(labels, pack.labels).mapping)
        is_meant = viewed.matching(where)
    chosen, splits = _choose(len(pack), all_splits, split_names, limit, pack.path, is_meant)
    shards = [shard for number, shard in enumerate(pack.info["shards"]) if number not in damaged]
    contents = [shard["annotations"]["sha256"] for shard in shards]
    digest = hashlib.sha256(canonical_json([contents, pack.info["dataset"]["sha256"], chosen, splits]))
    members = pack.select(chosen)
    return Dataset(
        format="pack",
        made_from=str(pack.info["provenance"]["format"]),
        root=pack.path,
        layout=pack.info["provenance"]["layout"],
        labels=pack.labels,
        splits=splits,
        documents=pack.documents,
        keys=members.keys[:],
        sizes=[(length, 0) for length in members.column("image/length").tolist()],
        fingerprint=digest.hexdigest(),
        get=lambda index, findings: pack[chosen[index]],
        findings=findings,
        pack=members,
        ids=lambda: Ids(members.column("image/id"), *members.object_ids()),
    )


def relabelled(dataset: Dataset, labels: Labels) -> Dataset:
    """The same samples under other categories."""
    step = relabelling(labels, dataset.labels)
    return replace(filtered(dataset, step), mapped_from=(dataset.labels, step.mapping))


def relabelling(labels: Labels, source: LabelSpace) -> Relabel:
    """The filter that maps a label space to what was asked for.

    Raises:
        NotThere: no view, space or file of that name.
    """
    if isinstance(labels, LabelMapping):
        return Relabel(labels)
    if isinstance(labels, LabelSpace):
        return Relabel(manifest.by_name(source, labels))
    if str(labels).endswith(".toml"):
        return Relabel(manifest.mapping_from_file(Path(str(labels)), source))
    if labels in manifest.spaces():
        return Relabel(manifest.by_name(source, manifest.label_space(str(labels))))
    try:
        return Relabel(manifest.view(source, str(labels)))
    except NotThere as error:
        error.fix = f"name a view, a label space ({', '.join(sorted(manifest.spaces()))}), or a TOML file"
        raise


def filtered(dataset: Dataset, step: Step) -> Dataset:
    """The same samples after one more filter."""
    return replace(
        dataset,
        labels=step.space(dataset.labels),
        get=lambda index, findings: step.sample(dataset.get(index, findings), dataset.labels, findings),
        steps=(*dataset.steps, step),
        scanned=None,
        pack=None,
    )


def adapted(dataset: Dataset, to: str) -> Dataset:
    """The same samples as the writer of another format wants them; what it cannot hold is counted as dropped."""
    dataset = with_distinct_ids(dataset, formats.distinct_ids(to))
    adapter, adapt_block = formats.adapter(to), formats.block_adapter(to)
    plan = adapter.plan(Header(dataset.labels, dataset.splits, dataset.documents), dataset.keys, dataset.findings)
    return replace(
        dataset,
        labels=plan.header.labels,
        splits={name: list(members) for name, members in plan.header.splits.items()},
        documents=plan.header.documents,
        get=lambda index, findings: adapter.adapt(plan, index, dataset.get(index, findings), findings),
        scanned=None,
        pack=None,
        unadapted=dataset,
        adapt_block=None if adapt_block is None or dataset.format == "pack" else partial(adapt_block, plan),
        renamed=[pair for pair in zip(plan.keys, dataset.keys, strict=True) if pair[0] != pair[1]],
    )


def is_corrected(dataset: Dataset) -> bool:
    """Whether samples of a pack may be corrected ones of which their own format cannot say all."""
    return dataset.pack is not None and dataset.pack.mentions(UNSAID)


def as_corrected(dataset: Dataset) -> Dataset:
    """The same samples for the writer of their own format; what that cannot say of corrected ones is counted as dropped."""

    def get(index: int, findings: Findings) -> Sample:
        sample = dataset.get(index, findings)
        for kind, count in sample.extra.get(dataset.made_from, {}).get(UNSAID, {}).items():
            findings.drop(kind, sample.key, count)
        return sample

    return replace(dataset, get=get)


def with_distinct_ids(dataset: Dataset, kinds: Collection[str]) -> Dataset:
    """The same samples; where ids do not tell the images or objects of a split apart, with others or with none.

    A writer numbers the images that have none, with their objects.

    Args:
        kinds: what ids have to tell apart: "image", "object".
    """
    if dataset.ids is None or not kinds:
        return dataset
    ids, count = dataset.ids(), len(dataset)
    unlisted = np.setdiff1d(np.arange(count), np.concatenate([[], *dataset.splits.values()]))
    splits = [np.asarray(members, np.int64) for members in (*dataset.splits.values(), unlisted)]
    for kind, repeated in (("image", ids.repeated_image), ("object", ids.repeated_object)):
        twice = [index for index in map(repeated, splits) if index is not None]
        if kind in kinds and twice:
            dataset.findings.remark(f"{kind} ids that are not distinct: all are numbered anew", dataset.keys[twice[0]])
            return _with_other_ids(dataset, without_id if kind == "image" else ids.with_other_objects)
    return dataset


def _with_other_ids(dataset: Dataset, renumber: Callable[[int, Sample], Sample]) -> Dataset:
    return replace(
        dataset,
        get=lambda index, findings: renumber(index, dataset.get(index, findings)),
        scanned=None,
        pack=None,
    )


def without(splits: Mapping[str, Sequence[int]], left_out: Sequence[int]) -> dict[str, list[int]]:
    """The splits after some samples were left out and the others moved up."""
    if not left_out:
        return {name: list(members) for name, members in splits.items()}
    removed = np.sort(np.asarray(left_out, np.int64))
    is_removed = set(left_out)
    return {
        name: [int(index - np.searchsorted(removed, index)) for index in members if index not in is_removed]
        for name, members in splits.items()
    }
