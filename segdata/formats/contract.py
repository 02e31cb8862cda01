"""What a format provides: the functions of its modules, and the types that pass between them and the rest of segdata.

A format is a folder of modules with the functions of these protocols; the modules themselves are the implementation.

    format.py     Format          detect, scan, load; write_part, finish
    adapt.py      Adapter         samples of other formats → samples that `write_part` can write
    residue.py    Residue         what the format keeps in `extra`, counted when it is dropped
    results.py    ResultsReader   predictions as a challenge exchanges them; ResultsWriter where segdata writes them, too

The table in `segdata/formats/__init__.py` has a line for each; the type checker compares every module there with its
protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.images import MAX_PIXELS
from segdata.core.labels import LabelSpace
from segdata.core.predictions import Columns, GroundTruth, Predictions
from segdata.core.reprs import line
from segdata.core.sample import Sample

# ---------------------------------------------------------------------- what passes between them


@dataclass(frozen=True)
class Entry:
    """One image of a dataset, listed but not read.

    Attributes:
        key: see `Sample.key`.
        file: the image's path under the root; "" when there is none.
        annotation_bytes: size of its own annotation files, for cutting work into shards.
        data: what the format needs to load it.
        disk: the image's path on disk where it does not lie under the root (`ReadOptions.images_dir`), else "".
        embedded: whether the image is in the annotation file, and `file` only what it is called.
    """

    key: str
    file: str
    annotation_bytes: int = 0
    data: Any = None
    disk: str = ""
    embedded: bool = False


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a reader of a dataset folder is told where the files alone leave a choice.

    Attributes:
        splits: only these are wanted; files of others need not be read. All where empty.
        images_dir: split → the folder of its images, which may lie anywhere; "" stands for all splits.
        follow_links: whether symbolic links may lead out of the dataset's folder.
        classes_from_data: take the categories that the annotations name where no table defines them.
        max_pixels: larger images are not decoded.
        strict: derive nothing: what a reader would correct and remark is not valid.
    """

    splits: Sequence[str] = ()
    images_dir: Mapping[str, Path] = field(default_factory=dict)
    follow_links: bool = False
    classes_from_data: bool = False
    max_pixels: int = MAX_PIXELS
    strict: bool = False

    def __repr__(self) -> str:
        chosen = {name: value for name, value in vars(self).items() if value != getattr(ReadOptions, name, {})}
        return line(self, *(f"{name}={value!r}" for name, value in chosen.items()))


@dataclass(frozen=True)
class Source:
    """A dataset folder after a cheap, complete scan.

    Attributes:
        root: the dataset's folder.
        layout: which of the format's layouts it has, in words.
        labels: what its category numbers mean.
        entries: every image, in order, each once.
        splits: name → indices of entries; splits may overlap.
        documents: what its files say beyond single images; kept in the pack for the way back.
        annotation_files: files to fingerprint by content (paths under the root).
        data: what the format keeps for loading.
        passed_over: files that were recognised, are not read, and are remarked already (paths under the root).
        may_be_empty: whether a dataset without images is one; else it is taken for a folder of another layout.
        expects_annotations: False where it is a plain list of images: else annotation files that lie there unread, and not
            one that was read, are an error.
        options: how it is read; `segdata.formats.scan` fills this in for `load`.
    """

    root: Path
    layout: str
    labels: LabelSpace
    entries: Sequence[Entry]
    splits: Mapping[str, Sequence[int]]
    documents: Sequence[Mapping[str, Any]] = ()
    annotation_files: Sequence[str] = ()
    data: Any = None
    passed_over: Sequence[str] = ()
    may_be_empty: bool = False
    expects_annotations: bool = True
    options: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class Header:
    """What is said of a dataset beyond the single samples; a `Source` and a pack have the same three things."""

    labels: LabelSpace
    splits: Mapping[str, Sequence[int]]
    documents: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How a dataset is put into another format: everything that is decided before the first sample.

    Attributes:
        source: the label space that samples come with.
        header: the target's label space, splits and documents.
        keys: every sample's key in the target.
        table: (K + 1,) int64, source category → target category, −1 where there is none; the last entry is void's.
    """

    source: LabelSpace
    header: Header
    keys: Sequence[str]
    table: npt.NDArray[np.int64]

    @cached_property
    def positions(self) -> Mapping[str, Mapping[int, int]]:
        """Split → sample → its position in the split."""
        return {
            name: {int(index): position for position, index in enumerate(members)}
            for name, members in self.header.splits.items()
        }

    @property
    def void(self) -> int:
        """The value of unlabelled pixels in the target's label maps."""
        return self.header.labels.void

    def relabelled(self, semantic: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A label map in the target's categories; categories without counterpart become void."""
        lookup = np.full(self.source.void + 1, self.void, self.header.labels.dtype)
        targets = self.table[:-1]
        lookup[np.nonzero(targets >= 0)[0]] = targets[targets >= 0]
        mapped: npt.NDArray[Any] = lookup.take(semantic)
        return mapped


@dataclass(frozen=True)
class Kept:
    """What a target format keeps of a sample beside its columns.

    Attributes:
        format: the target; its adapter takes care of its own residue.
        image_fields, object_fields: names of further fields that it keeps.
    """

    format: str
    image_fields: Collection[str] = ()
    object_fields: Collection[str] = ()


# ---------------------------------------------------------------------- the modules of a format


class Writer(Protocol):
    """Writes samples into a folder: a format, or a kind of results."""

    def write_part(
        self, samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int
    ) -> Mapping[str, Any]:
        """Write the files of some samples (each with its index, as in the splits); returns a receipt.

        Parts are written by several processes at once; `number` tells them apart.
        """

    def finish(self, receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
        """Write what is one file for all samples, from the receipts of all parts in order."""


class Format(Writer, Protocol):
    """Reads a dataset folder and writes it again."""

    LAYOUT: str
    """What `detect` looks for, in one line, for the message when nothing is recognised."""

    def detect(self, root: Path) -> bool:
        """Whether the folder looks like this format; cheap. A single file is asked about, too."""

    def scan(self, root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
        """List everything that is there, in order, without reading images or masks.

        Args:
            options: see `ReadOptions`.
            labels: what category numbers mean, where it was asked for; else the dataset's or the format's own.
        """

    def load(self, source: Source, entry: Entry, findings: Findings) -> Sample:
        """One sample; pure. Single bad annotations go to `findings` and are left out; a bad image raises."""


class Adapter(Protocol):
    """Turns samples of other formats into samples that a format's writer can write."""

    def plan(self, source: Header, keys: Sequence[str], findings: Findings) -> Plan:
        """Decide names, label space and splits; count what the target cannot hold of the dataset as a whole."""

    def adapt(self, plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
        """The sample as the target's writer wants it; count what the target cannot hold of it."""


class AdaptBlock(Protocol):
    """Adapts several samples at once, as `Adapter.adapt` does one after another."""

    def __call__(
        self, plan: Plan, indices: Sequence[int], samples: Sequence[Sample], findings: Findings
    ) -> list[Sample]:
        """The samples with these indices as the target's writer wants them."""


UNSAID = "unsaid"
"""Member of the residue of a corrected sample: loss → count, what its own format cannot say of it."""


@dataclass(frozen=True)
class Correction:
    """A sample of a format that a person corrected.

    Attributes:
        before, after: as it was and as it is; objects that changed have no residue in `after`, and those with another mask
            no polygons.
        labels: what category indices mean.
        documents: what the dataset's files say beyond single images.
        rows: (N,) int64, the row in `before` of each object in `after`; −1 for a new one.
        changed: (N,) bool, the objects that are new, or other than before.
    """

    before: Sample
    after: Sample
    labels: LabelSpace
    documents: Sequence[Mapping[str, Any]]
    rows: npt.NDArray[np.int64]
    changed: npt.NDArray[np.bool_]

    @cached_property
    def redrawn(self) -> npt.NDArray[np.bool_]:
        """(N,) whether an object is new, or has another mask than before."""
        before, after = self.before.instances, self.after.instances
        return np.array(
            [
                row < 0
                or after.has_mask[index] != before.has_mask[row]
                or after.masks[index : index + 1] != before.masks[row : row + 1]
                for index, row in enumerate(self.rows.tolist())
            ],
            bool,
        )

    @property
    def has_other_objects(self) -> bool:
        """Whether an object changed, came or went."""
        return bool(self.changed.any()) or len(self.rows) != len(self.before.instances)

    @cached_property
    def has_other_map(self) -> bool:
        """Whether the label map is another one."""
        mine, theirs = self.before.semantic, self.after.semantic
        return mine is not theirs and (mine is None or theirs is None or not np.array_equal(mine, theirs))

    def residue(self, format: str, index: int) -> Mapping[str, Any]:
        """What was kept of an object of `after` before it changed; empty for a new one."""
        row = int(self.rows[index])
        kept: Mapping[str, Any] = self.before.instances.extra[row].get(format, {}) if row >= 0 else {}
        return kept


@dataclass(frozen=True)
class Residue:
    """What a format keeps under its own name in `Sample.extra`, `Instances.extra` and documents: for its writer alone.

    Attributes:
        count_dropped: counts what is dropped of a sample's residue by a target that keeps `Kept`.
        count_dropped_document: counts what every target drops of one of the dataset's documents, beyond its header.
        object_fields: what an object's residue says in words that other formats can keep as further fields, by name.
        text_id: the image's id in the source, where that is a text, of a sample's residue.
        corrected: a sample of the format that a person corrected, as the writer takes it; what the format cannot say of it is
            counted as dropped, though the sample has it. Without this, samples are not the format's any more.
        has_object_ids: whether ids of its objects mean something beyond their order, also where images have no ids.
    """

    count_dropped: Callable[[Sample, Findings, Kept], None] = lambda sample, findings, kept: None
    count_dropped_document: Callable[[Mapping[str, Any], Findings], None] = lambda document, findings: None
    object_fields: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda extra: {}
    text_id: Callable[[Mapping[str, Any]], str | None] = lambda residue: None
    corrected: Callable[[Correction, Findings], Sample] | None = None
    has_object_ids: bool = False


@dataclass(frozen=True)
class Shortcuts:
    """Parts of a sample that evaluation can have without loading all of it; None where a format has no quick way.

    Attributes:
        image_table: (N, 3) int64, id, height and width of the images of N entries.
        columns: an entry's objects, given its image's height and width.
        label_map: (H, W) category indices of an entry; None where `load` has to be asked.
        instance_ids: (H, W) the format's own instance ids of an entry; None where it has none.
        text_ids: ids of images that are text → position among the entries.
    """

    image_table: Callable[[Source, Sequence[Entry]], npt.NDArray[np.int64]] | None = None
    columns: Callable[[Source, Entry, int, int, Findings], Columns] | None = None
    label_map: Callable[[Source, Entry], npt.NDArray[Any] | None] | None = None
    instance_ids: Callable[[Source, Entry], npt.NDArray[Any] | None] | None = None
    text_ids: Callable[[Source, Sequence[Entry]], Mapping[str, int]] | None = None


class IsRelative(Protocol):
    """See `FormatModules.is_relative`."""

    def __call__(self, root: Path, *, alone: bool = False) -> bool:
        """Whether the folder has such a layout."""


@dataclass(frozen=True)
class FormatModules:
    """One format in `FORMATS`: its modules and options.

    Attributes:
        format, adapt: the format's modules.
        residue: see `Residue`; nothing is kept by default.
        inspect: looks for what readers pass over, where a deep inspection can find more than a scan.
        shortcuts: see `Shortcuts`.
        names_categories: whether the dataset's files always name its categories, so that reading needs no label table.
        is_relative: whether a folder has a rarer layout of the format; asked where no format's `detect` knows it. With
            `alone`, annotations without images count, too.
        fits: for folders that two formats read otherwise: whether one is of this format when these categories are
            declared, None where they do not decide.
        rivals: formats whose annotations may lie in the same folder and say something else: such a folder is asked about.
        parts: names, in lower case, of folders that are parts of a dataset: who gives one of them means the whole.
        distinct_ids: what it tells apart by ids in all of a split: "image", "object".
        adapt_block: see `AdaptBlock`, where adapting many samples at once is faster.
    """

    format: Format
    adapt: Adapter
    residue: Residue = Residue()
    inspect: Callable[[Path, Findings], None] | None = None
    shortcuts: Shortcuts = Shortcuts()
    names_categories: bool = False
    is_relative: IsRelative = lambda root, *, alone=False: False
    fits: Callable[[Path, LabelSpace], bool | None] = lambda root, labels: None
    rivals: Collection[str] = ()
    parts: Collection[str] = ()
    distinct_ids: Collection[str] = ()
    adapt_block: AdaptBlock | None = None


RESIDUES: dict[str, Residue] = {}
"""Format → its residue. `segdata.formats` fills this from its table, so that formats ask each other through it and need
not import each other. Its names are the keys of `extra` that belong to one format alone."""


# ---------------------------------------------------------------------- the modules of a kind of results


class ResultsReader(Protocol):
    """Reads predictions as challenges and papers exchange them.

    Results give numbers or names of images and categories and no more; they are read against a `GroundTruth`, and give one
    sample with scores for every image of it that they are about.
    """

    LAYOUT: str
    """What `detect` looks for, in one line, for the message when nothing is recognised."""

    def detect(self, path: Path) -> bool:
        """Whether the file or folder looks like this kind; cheap."""

    def read(self, path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
        """Predictions for the ground truth's images; numbers and names that it does not have are refused."""


class ResultsWriter(Writer, Adapter, Protocol):
    """Writes predictions of any source as this kind of results."""


@dataclass(frozen=True)
class ResultsModules:
    """One kind of results in `RESULTS`: its modules.

    Attributes:
        reader: the module that reads the kind.
        writer: the module that writes it; None where segdata does not.
        split_of: which of a dataset's splits the file names speak of, where they do.
    """

    reader: ResultsReader
    writer: ResultsWriter | None = None
    split_of: Callable[[Path, Sequence[str]], str | None] | None = None
