"""The table of dataset formats, detection of a folder's format, and reading of dataset folders without a pack."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.reprs import Splits, counted, line
from segdata.core.sample import Sample
from segdata.errors import NotThere, SegdataError, UnknownLayout, UsageError, no_sample, no_split
from segdata.formats import (
    ade20k,
    camvid,
    cityscapes,
    coco,
    coco_panoptic,
    coco_stuff,
    cvat,
    label_maps,
    label_studio,
    labelme,
    masks,
    parquet,
    sa1b,
    sbd,
    via,
    voc,
    webdataset,
    yolo,
)
from segdata.formats.contract import (
    RESIDUES,
    AdaptBlock,
    Adapter,
    FormatModules,
    ReadOptions,
    Residue,
    ResultsModules,
    Shortcuts,
    Source,
    Writer,
)
from segdata.formats.detection import Place, known, locate
from segdata.formats.shared.folder import CONVERTED, missing_images
from segdata.formats.shared.loose_names import found_otherwise
from segdata.system.files import TrustedRoot, disk_errors
from segdata.viz import gallery

FORMATS: Mapping[str, FormatModules] = {
    "yolo": FormatModules(
        yolo.format,
        yolo.adapt,
        Residue(yolo.residue.count_dropped, corrected=yolo.correction.corrected),
        rivals=("voc", "coco-panoptic", "coco"),
        parts=("images", "labels"),
        adapt_block=yolo.adapt.adapt_block,
    ),
    "cvat": FormatModules(
        cvat.format,
        cvat.adapt,
        Residue(
            cvat.residue.count_dropped,
            cvat.residue.count_dropped_document,
            cvat.residue.object_fields,
            corrected=cvat.correction.corrected,
        ),
        names_categories=True,
    ),
    "voc": FormatModules(
        voc.format,
        voc.adapt,
        Residue(
            voc.residue.count_dropped,
            voc.residue.count_dropped_document,
            voc.residue.object_fields,
            corrected=voc.correction.corrected,
        ),
        is_relative=voc.folders.is_relative,
        parts=("annotations", "jpegimages", "imagesets", "segmentationclass", "segmentationobject", "images", "xmls"),
    ),
    "cityscapes": FormatModules(
        cityscapes.format,
        cityscapes.adapt,
        Residue(cityscapes.residue.count_dropped, corrected=cityscapes.correction.corrected, has_object_ids=True),
        inspect=cityscapes.format.inspect,
        shortcuts=Shortcuts(label_map=cityscapes.format.label_map, instance_ids=cityscapes.format.instance_ids),
        is_relative=cityscapes.format.is_relative,
        parts=("leftimg8bit", "gtfine", "gtcoarse", "imgsfine"),
    ),
    "via": FormatModules(
        via.format,
        via.adapt,
        Residue(
            via.residue.count_dropped,
            via.residue.count_dropped_document,
            via.residue.object_fields,
            corrected=via.correction.corrected,
        ),
        names_categories=True,
    ),
    "label-studio": FormatModules(
        label_studio.format,
        label_studio.adapt,
        Residue(
            label_studio.residue.count_dropped,
            object_fields=label_studio.residue.object_fields,
            corrected=label_studio.correction.corrected,
        ),
        names_categories=True,
    ),
    "labelme": FormatModules(
        labelme.format,
        labelme.adapt,
        Residue(
            labelme.residue.count_dropped,
            object_fields=labelme.residue.object_fields,
            corrected=labelme.correction.corrected,
        ),
        names_categories=True,
    ),
    "masks": FormatModules(
        masks.format,
        masks.adapt,
        Residue(masks.residue.count_dropped, corrected=masks.correction.corrected),
        fits=masks.evidence.fits,
        parts=("pngimages", "pedmasks", "images", "masks"),
    ),
    "sbd": FormatModules(
        sbd.format,
        sbd.adapt,
        Residue(sbd.residue.count_dropped, corrected=sbd.correction.corrected, has_object_ids=True),
        parts=("img", "cls", "inst"),
    ),
    "camvid": FormatModules(
        camvid.format,
        camvid.adapt,
        Residue(camvid.residue.count_dropped, corrected=camvid.correction.corrected),
        parts=("701_stillsraw_full", "labeledapproved_full", "images", "labels", "masks"),
    ),
    "parquet": FormatModules(
        parquet.format, parquet.adapt, Residue(parquet.residue.count_dropped, corrected=parquet.correction.corrected)
    ),
    "webdataset": FormatModules(
        webdataset.format,
        webdataset.adapt,
        Residue(webdataset.residue.count_dropped, corrected=webdataset.correction.corrected),
    ),
    "sa1b": FormatModules(
        sa1b.format, sa1b.adapt, Residue(sa1b.residue.count_dropped, corrected=sa1b.correction.corrected)
    ),
    "ade20k": FormatModules(
        ade20k.format, ade20k.adapt, Residue(ade20k.residue.count_dropped, corrected=ade20k.correction.corrected)
    ),
    "coco-panoptic": FormatModules(
        coco_panoptic.format,
        coco_panoptic.adapt,
        Residue(text_id=lambda residue: residue.get("id"), corrected=coco_panoptic.correction.corrected),
        shortcuts=Shortcuts(image_table=coco.ground_truth.sizes, text_ids=coco.ground_truth.text_ids),
        parts=("annotations",),
        distinct_ids=("image",),
    ),
    "coco": FormatModules(
        coco.format,
        coco.adapt,
        Residue(coco.residue.count_dropped, text_id=coco.residue.text_id, corrected=coco.residue.corrected),
        inspect=coco.format.inspect,
        shortcuts=Shortcuts(
            image_table=coco.ground_truth.sizes,
            columns=coco.ground_truth.columns,
            text_ids=coco.ground_truth.text_ids,
        ),
        names_categories=True,
        parts=("annotations",),
        distinct_ids=("image", "object"),
    ),
    "coco-stuff": FormatModules(
        coco_stuff.format,
        coco_stuff.adapt,
        Residue(corrected=coco_stuff.correction.corrected),
        parts=("stuffthingmaps",),
    ),
}
"""Every format, the most telling layout first: a folder is of the first format that recognises it."""

RESULTS: Mapping[str, ResultsModules] = {
    "coco-results": ResultsModules(coco.results.format, coco.results.format),
    "voc-results": ResultsModules(voc.results, voc.results, voc.results.split_of),
    "coco-panoptic": ResultsModules(coco_panoptic.format),
    "cityscapes-results": ResultsModules(cityscapes.results, cityscapes.results),
    "label-maps": ResultsModules(label_maps),
}
"""Every kind of predictions that is read against ground truth, in the order in which they are looked for."""

RESIDUES.update((name, modules.residue) for name, modules in FORMATS.items())


def targets() -> list[str]:
    """Names of what a conversion can write besides packs: formats and kinds of results."""
    return [*FORMATS, *(name for name, modules in RESULTS.items() if modules.writer is not None)]


def named(name: str) -> FormatModules:
    """The modules of a format.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in FORMATS:
        written = sorted(set(targets()).difference(FORMATS))
        raise UsageError(
            f"there is no format {name!r}",
            why=f"formats are pack, {', '.join(sorted(FORMATS))}; results {', '.join(written)}",
            fix="results are read together with what they are about: add --truth TRUTH" if name in written else None,
        )
    return FORMATS[name]


def results_named(name: str) -> ResultsModules:
    """The modules of a kind of results.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in RESULTS:
        raise UsageError(f"there is no kind of results {name!r}", why=f"kinds are pack, {', '.join(RESULTS)}")
    return RESULTS[name]


def writer(name: str) -> Writer:
    """The module that writes a format or a kind of results.

    Raises:
        UsageError: there is none of this name.
    """
    results = RESULTS[name].writer if name in RESULTS and name not in FORMATS else None
    return named(name).format if results is None else results


def adapter(name: str) -> Adapter:
    """The module that adapts samples to a format or a kind of results.

    Raises:
        UsageError: there is none of this name.
    """
    results = RESULTS[name].writer if name in RESULTS and name not in FORMATS else None
    return named(name).adapt if results is None else results


def block_adapter(name: str) -> AdaptBlock | None:
    """What adapts many samples at once to a format; None where it has no such thing."""
    return FORMATS[name].adapt_block if name in FORMATS else None


def distinct_ids(name: str) -> Collection[str]:
    """What a format tells apart by ids, in all of a split: "image", "object"."""
    return FORMATS[name].distinct_ids if name in FORMATS else ()


def detect(root: Path) -> str:
    """Detect the format of a dataset folder, or of the one dataset in it; returns its name.

    Raises:
        NotThere: no such folder.
        UnknownLayout: no known layout; the message says what the folder looks like and what was looked for.
    """
    return locate(root, FORMATS).format


def detect_results(path: Path) -> str:
    """Detect the kind of a results file or folder; returns its name.

    Raises:
        NotThere: no such file.
        UnknownLayout: no known kind; the message says what was looked for.
    """
    if not path.exists():
        raise NotThere(f"{path} does not exist", file=path, fix="check the path of the predictions")
    for name, modules in RESULTS.items():
        if modules.reader.detect(path):
            return name
    raise UnknownLayout(
        "no known kind of predictions was found",
        file=path,
        why="looked for a pack; " + "; ".join(modules.reader.LAYOUT for modules in RESULTS.values()),
        fix=_way_on_to_results(path),
    )


def _way_on_to_results(path: Path) -> str:
    """What to do with a file or folder that holds no known kind of predictions."""
    if path.suffix != ".json" or not path.is_file():
        return "check the path, or name the kind with --from"
    if coco.documents.looks_like_coco(path):
        return "it holds annotations, not predictions: give predictions first, then the ground truth"
    return f"a results file of boxes or masks: {coco.results.loose.RECIPE}"


def scan(
    root: Path,
    name: str | None,
    findings: Findings,
    options: ReadOptions | None = None,
    *,
    labels: LabelSpace | None = None,
) -> tuple[str, Source]:
    """List a dataset's images, splits and label space.

    Args:
        root: its folder, a folder that holds it alone, or a part of it.
        name: its format; detected where it is None.
    """
    options = options or ReadOptions()
    root = TrustedRoot(root) if options.follow_links else root
    place = _place(root, name, labels)
    name, root = place.format, place.root
    if place.remark:
        findings.remark(place.remark, str(root))
    format = named(name).format
    source = replace(format.scan(root, findings, options, labels=labels), options=options)
    if not source.entries and not source.may_be_empty:
        findings.raise_if_any(str(root))
        raise UnknownLayout(
            "no sample was found", file=root, why=f"looked for {format.LAYOUT}", fix="check the folders' names"
        )
    if root.is_dir():
        _remark_unread(source, findings)
    return name, source


def _place(root: Path, name: str | None, labels: LabelSpace | None) -> Place:
    """Where the dataset lies; a folder of a named format may be one that only its reader recognises."""
    if name is None:
        place = locate(root, FORMATS)
        return place if labels is None else _fitting(place, labels)
    modules = named(name)
    if not root.exists():
        raise NotThere(f"{root} does not exist", file=root)
    try:
        if known(root, FORMATS) in (None, name):
            return locate(root, {name: modules})
    except SegdataError:
        pass  # its reader says what is wrong
    return Place(name, root)


def _fitting(place: Place, labels: LabelSpace) -> Place:
    """The same place, of the format that the declared categories fit where two formats read such folders."""
    fits = {name: modules.fits(place.root, labels) for name, modules in FORMATS.items()}
    better = next((name for name, does_fit in fits.items() if does_fit), None)
    if better is None and fits[place.format] is False:
        better = known(place.root, {name: modules for name, modules in FORMATS.items() if fits[name] is not False})
    return place if better is None else replace(place, format=better)


def _remark_unread(source: Source, findings: Findings) -> None:
    """Remark files that the format did not read, and folders that hold no others."""
    read = {*source.annotation_files, *source.passed_over, *(entry.file for entry in source.entries)}
    above = {"", *(parent for file in read for parent in _parents(file))}
    for folder, inner, files in os.walk(source.root):
        prefix = "" if Path(folder) == source.root else Path(folder).relative_to(source.root).as_posix() + "/"
        for name in sorted(files):
            if prefix + name not in read and not name.startswith("."):
                findings.remark("file not read", prefix + name)
        unread = sorted(name for name in inner if f"{prefix}{name}/" not in above)
        inner[:] = sorted(set(inner).difference(unread))
        for name in unread:
            if not name.startswith(".") and _holds_data(Path(folder, name)):
                findings.remark("folder not read", prefix + name)


def _parents(file: str) -> Iterator[str]:
    """The folders above a file: `a/b/` and `a/` for `a/b/c`."""
    end = file.rfind("/")
    while end >= 0:
        yield file[: end + 1]
        end = file.rfind("/", 0, end)


def _holds_data(folder: Path) -> bool:
    """Whether a folder has files that are not the output of a conversion."""
    names = {path.name for path in folder.iterdir()}
    is_ours = bool(names & {"pack.json", CONVERTED}) or any(name.startswith(".work-") for name in names)
    return bool(names) and not is_ours


class Folder(Sequence[Sample]):
    """A dataset folder read directly, without a pack: a sequence of samples."""

    def __init__(self, name: str, source: Source, members: Sequence[int], findings: Findings) -> None:
        self._format = named(name).format
        self._source = source
        self._members = members
        self.findings = findings

    @property
    def labels(self) -> LabelSpace:
        """What category indices mean."""
        return self._source.labels

    @property
    def splits(self) -> dict[str, Sequence[int]]:
        """Split → indices of its samples."""
        return Splits(self._source.splits)

    @property
    def keys(self) -> list[str]:
        """Every sample's key, in order."""
        return [self._source.entries[index].key for index in self._members]

    def find(self, key: str) -> Sample:
        """The first sample with this key.

        Raises:
            NotThere: no such key.
        """
        if key not in self.keys:
            everywhere = [entry.key for entry in self._source.entries]
            where = None
            if key in everywhere:
                index = everywhere.index(key)
                where = [name for name, members in self.splits.items() if index in members]
            raise no_sample(key, self.keys, where, self.splits, self._source.root)
        return self[self.keys.index(key)]

    def _repr_html_(self) -> str:
        """Its first samples, drawn, which notebooks show."""
        return gallery.of_sequence(self, self.labels, f"{self._source.root}, {len(self)} samples")

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return line(self, repr(str(self._source.root)), counted(len(self), "sample"), f"labels {self.labels.name!r}")

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        sample = self._format.load(self._source, self._source.entries[self._members[index]], self.findings)
        sample.labels = self.labels
        return sample

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            yield self[index]


@disk_errors()
def read(
    path: str | Path, split: str | None = None, *, format: str | None = None, options: ReadOptions | None = None
) -> Folder:
    """Read a dataset folder in any known format as a sequence of samples (`segdata.open` reads packs, much faster).

    Args:
        options: what the reader is told where the files leave a choice, such as the folder of the images.

    Raises:
        NotThere: no such folder or split.
        UnknownLayout: no known layout was found.
    """
    findings = Findings(strict=options is not None and options.strict)
    name, source = scan(Path(path), format, findings, options)
    if split is not None and split not in source.splits:
        keys = [entry.key for entry in source.entries]
        where = [name for name, members in source.splits.items() if split in keys and keys.index(split) in members]
        raise no_split(split, source.splits, where if split in keys else None, path)
    entries = list(source.entries)
    found_otherwise(source, entries, missing_images(source.root, entries), findings)
    source = replace(source, entries=entries)
    members = range(len(source.entries)) if split is None else source.splits[split]
    return Folder(name, source, members, findings)


__all__ = [
    "FORMATS",
    "RESULTS",
    "Folder",
    "adapter",
    "detect",
    "detect_results",
    "named",
    "read",
    "results_named",
    "scan",
    "targets",
    "writer",
]
