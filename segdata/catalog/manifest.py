"""A dataset described by a TOML file, its manifest: title, licence, label space, views, splits and files to fetch.

Shipped manifests lie in `segdata/manifests/`; docs/manifests.md explains the keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from msgspec import Meta, Struct, field, structs

from segdata.catalog import remotes
from segdata.catalog.remotes import Remote, RemoteTable, SignIn, Terms
from segdata.core.images import MOST_PIXELS
from segdata.core.labels import Byte, Category, LabelMapping, LabelSpace
from segdata.errors import InvalidManifest, NotThere, SegdataError, close_names
from segdata.system import documents
from segdata.system.files import checked_name

ALIASES = {"coco": "coco-2017", "voc": "voc-2012"}
"""Short names for the newest of a family."""


class _Flags(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a category may have beside name and id; None where the table does not say."""

    color: tuple[Byte, Byte, Byte] | None = None
    isthing: bool | None = None
    supercategory: str | None = None
    ignore: bool | None = None


class _Label(_Flags, kw_only=True):
    """A row of `labels`."""

    name: str
    id: int


class _ViewLabel(_Flags, kw_only=True):
    """A row of a view's `labels`; what it does not say is that of the first source category."""

    name: str | None = None
    id: int | None = None
    sources: tuple[str, ...] = field(name="from")


class _View(Struct, forbid_unknown_fields=True, kw_only=True):
    about: str = ""
    labels: list[_ViewLabel]


class Split(Struct, frozen=True, forbid_unknown_fields=True):
    """One split: how many images the official one has, and their names where the dataset itself does not list them."""

    count: int | None = None
    names: tuple[str, ...] | None = None


class _Document(Struct, forbid_unknown_fields=True, kw_only=True):
    """The top of a manifest."""

    title: str
    homepage: str = ""
    licence: str = ""
    citation: str = ""
    format: str
    label_space: str = ""
    labels: Annotated[list[_Label], Meta(min_length=1)] | None = None
    labels_from: str | None = None
    views: dict[str, dict[str, Any]] = {}
    splits: dict[str, dict[str, Any]] = {}
    splits_from: str | None = None
    max_pixels: Annotated[int, Meta(ge=1, le=MOST_PIXELS)] | None = None
    known_bad: tuple[str, ...] = ()
    average_sizes: dict[str, Any] = {}
    terms: Terms | None = None
    signin: SignIn | None = None
    remotes: list[RemoteTable] = []
    folder: str | None = None
    root: str = "."


@dataclass(frozen=True)
class View:
    """Another label space for the same data: target categories, and for each the source categories that become it."""

    name: str
    about: str
    labels: LabelSpace
    sources: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Manifest:
    """What is known about a dataset.

    Attributes:
        homepage, licence, citation: "" where the manifest does not say.
        labels: no categories where the dataset's own files define them.
        folder: where the files lie on this machine, instead of remotes that are fetched.
        known_bad: keys of images that are damaged in the official release.
        average_sizes: category → mean pixels of an object, where the official evaluation publishes them.
        max_pixels: the largest image that is decoded; None for the default.
        root: the folder below the extracted files in which the format's layout begins.
    """

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    format: str
    labels: LabelSpace
    splits: Mapping[str, Split]
    views: Mapping[str, View]
    max_pixels: int | None
    known_bad: tuple[str, ...]
    average_sizes: Mapping[str, float]
    remotes: tuple[Remote, ...]
    terms: Terms | None
    signin: SignIn | None
    folder: Path | None
    root: PurePosixPath

    @property
    def parts(self) -> dict[str, bool]:
        """Part → whether it is fetched by default, in the order of the files."""
        return {remote.part: not remote.is_optional for remote in self.remotes}


def load(path: Path) -> Manifest:
    """Read and check one manifest.

    Raises:
        InvalidManifest: not TOML, unknown or missing keys, wrong types, views of categories that do not exist.
        NotThere: there is no such file.
    """
    if path.stem.startswith(".") or not path.stem.isprintable():
        raise InvalidManifest(
            "the file's name is no name for a dataset", file=path, why="its folder would be hidden, or another one"
        )
    return _build(path.stem, documents.read_toml(path), str(path), beside=path.absolute().parent)


def find(dataset: str | Path) -> Manifest:
    """A manifest by the name or alias of a shipped one, or by the path of a file (it has a slash, or ends in .toml).

    Raises:
        NotThere: there is none; close names are listed.
        InvalidManifest: see `load`.
    """
    text = str(dataset)
    if "/" not in text and not text.endswith(".toml"):
        return shipped(text)
    if not Path(text).exists():
        fix = "correct the path of the manifest, or give the name of a dataset that `segdata list` shows"
        raise NotThere(f"{text} does not exist", file=text, fix=fix)
    return load(Path(text))


@cache
def shipped(name: str) -> Manifest:
    """The shipped manifest with this name or alias.

    Raises:
        NotThere: there is none; close names are listed.
    """
    name = ALIASES.get(name, name)
    if name not in names():
        close = close_names(name, [*names(), *ALIASES])
        raise NotThere(
            f"there is no dataset {name!r}",
            why=f"known are {', '.join(names())}",
            fix=f"did you mean {' or '.join(close)}?" if close else "segdata list shows them",
        )
    file = resources.files("segdata.manifests") / f"{name}.toml"
    return _build(name, documents.parse_toml(file.read_bytes(), f"{name}.toml"), f"{name}.toml")


@cache
def names() -> tuple[str, ...]:
    """Names of the shipped manifests, sorted."""
    files = (item.name for item in resources.files("segdata.manifests").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


def _build(name: str, tables: dict[str, Any], file: str, *, beside: Path | None = None) -> Manifest:
    document = documents.typed_table(tables, _Document, file)
    labels, views = _labels_of(document, name, file)
    views |= {view: read_view(view, table, labels, file, f"views.{view}") for view, table in document.views.items()}
    splits = dict(shipped(document.splits_from).splits) if document.splits_from is not None else {}
    splits |= {split: _split(split, table, file) for split, table in document.splits.items()}
    return Manifest(
        name=name,
        title=document.title,
        homepage=document.homepage,
        licence=document.licence,
        citation=document.citation,
        format=document.format,
        labels=labels,
        splits=splits,
        views=views,
        max_pixels=document.max_pixels,
        average_sizes=_average_sizes(document.average_sizes, labels, file),
        known_bad=document.known_bad,
        remotes=remotes.remotes(document.remotes, file, has_signin=document.signin is not None, beside=beside),
        terms=None if document.terms is None else document.terms.checked(file),
        signin=None if document.signin is None else document.signin.checked(file),
        folder=_folder(document, beside, file),
        root=PurePosixPath(".") if document.root == "." else checked_name(document.root, f"{file}: root"),
    )


def _folder(document: _Document, beside: Path | None, file: str) -> Path | None:
    """Where the dataset's files lie, if they are not fetched."""
    if document.folder is None:
        return None
    if beside is None or document.remotes:
        raise InvalidManifest("manifest has both folder and remotes", file=file, place="folder", fix="keep one of them")
    return remotes.local_path(document.folder, beside, "folder", file)


def _labels_of(document: _Document, name: str, file: str) -> tuple[LabelSpace, dict[str, View]]:
    """The label space of a manifest, and the views that come with it from another manifest."""
    if document.labels_from is not None:
        if document.labels is not None:
            raise InvalidManifest("manifest has both labels and labels_from", file=file, fix="keep one of them")
        other = shipped(document.labels_from)
        return other.labels, dict(other.views)
    categories = tuple(Category(**_stated(row)) for row in document.labels or ())
    try:
        return LabelSpace(document.label_space or name, categories), {}
    except SegdataError as error:
        raise InvalidManifest(error.message, file=file, place=f"labels: {error.place}", fix=error.fix) from error


def _stated(row: _Label | _ViewLabel) -> dict[str, Any]:
    """What a row says of its category."""
    return {key: value for key, value in structs.asdict(row).items() if value is not None and key != "sources"}


def _average_sizes(table: Mapping[str, Any], labels: LabelSpace, file: str) -> dict[str, float]:
    for name, value in table.items():
        if name not in labels.index_of_name or type(value) not in (int, float) or not 0 < value < float("inf"):
            raise InvalidManifest(
                "an average size is not a category with its mean pixels",
                file=file,
                place=f"average_sizes.{name}",
                why=f"found {value!r}",
            )
    return {name: float(value) for name, value in table.items()}


def read_view(name: str, table: dict[str, Any], labels: LabelSpace, file: str, prefix: str = "") -> View:
    """One view of a label space from its TOML table.

    Args:
        prefix: the table's own key in the file, for messages.

    Raises:
        InvalidManifest: a wrong table, or source categories that do not exist or are used twice.
    """
    view = documents.typed_table(table, _View, file, prefix)
    categories: list[Category] = []
    used: set[str] = set()
    for index, row in enumerate(view.labels):
        where = f"{prefix}.labels[{index}].from".lstrip(".")
        unknown = [source for source in row.sources if source not in labels.index_of_name]
        if unknown or not row.sources:
            raise InvalidManifest(
                "a view names a category that does not exist",
                file=file,
                place=where,
                why=f"found {unknown[0]!r}; the source has {_some(labels)}" if unknown else "the list is empty",
            )
        repeated = [source for source in row.sources if source in used]
        if repeated:
            raise InvalidManifest(
                "a view maps a category twice", file=file, place=where, why=f"found {repeated[0]!r} again"
            )
        used.update(row.sources)
        first = labels[labels.index_of_name[row.sources[0]]]
        categories.append(replace(first, **{"id": index, "ignore": False, **_stated(row)}))
    try:
        space = LabelSpace(name, tuple(categories))
    except SegdataError as error:
        raise error.located(file=file) from error
    return View(name, view.about, space, tuple(row.sources for row in view.labels))


def _some(labels: LabelSpace) -> str:
    """The first names of a label space, for messages."""
    names = [category.name for category in labels.categories[:10]]
    return ", ".join(names) + (" …" if len(labels) > len(names) else "")


def _split(name: str, table: dict[str, Any], file: str) -> Split:
    split = documents.typed_table(table, Split, file, f"splits.{name}")
    if split.names is not None and not split.count == len(split.names) == len(set(split.names)):
        raise InvalidManifest(
            "a split's names are not as many as its count says, or not unique",
            file=file,
            place=f"splits.{name}",
            why=f"count {split.count}, {len(set(split.names))} different names",
        )
    return split


@cache
def spaces() -> tuple[str, ...]:
    """Names of the published label spaces, sorted."""
    return tuple(sorted({shipped(item).labels.name for item in names()}))


@cache
def label_space(name: str) -> LabelSpace:
    """The published label space with this name ("coco", "voc", "cityscapes", "camvid-32", "camvid-segnet").

    Raises:
        NotThere: no shipped manifest has it.
    """
    if name not in spaces():
        raise NotThere(f"there is no label space {name!r}", why=f"known are {', '.join(spaces())}")
    return next(labels for labels in (shipped(item).labels for item in names()) if labels.name == name)


def view(space: LabelSpace, name: str) -> LabelMapping:
    """The mapping from a label space to one of its views.

    Raises:
        NotThere: the space has no such view.
    """
    views: dict[str, View] = {}
    for item in names():
        manifest = shipped(item)
        if manifest.labels.name == space.name:
            views.update(manifest.views)
    if name not in views:
        raise NotThere(
            f"label space {space.name!r} has no view {name!r}",
            why=f"it has {', '.join(sorted(views)) or 'none'}",
        )
    return LabelMapping.from_names(space, views[name].labels, views[name].sources)


def by_name(source: LabelSpace, target: LabelSpace) -> LabelMapping:
    """Map categories of the same name, or of names that `same-names.txt` lists as synonyms.

    Case, spaces, dashes and underscores do not count; where two names differ only in these, the exact one wins.
    """
    by_spelling = {spelling(category.name): index for index, category in reversed(list(enumerate(target.categories)))}
    for synonyms in same_names():
        index = next((by_spelling[name] for name in synonyms if name in by_spelling), None)
        if index is not None:
            for name in synonyms:
                by_spelling.setdefault(name, index)
    return LabelMapping(
        target,
        tuple(target.index_of_name.get(item.name, by_spelling.get(spelling(item.name))) for item in source.categories),
    )


def mapping_from_file(path: Path, source: LabelSpace) -> LabelMapping:
    """A mapping from a TOML file of `[[labels]]` tables, each with `name` and `from`, the names of source categories.

    Raises:
        InvalidManifest: not TOML, a wrong table, or names of categories that `source` does not have.
        NotThere: there is no such file.
    """
    view = read_view(path.stem, documents.read_toml(path), source, str(path))
    return LabelMapping.from_names(source, view.labels, view.sources)


def mappings_from_file(path: Path, sources: Sequence[LabelSpace]) -> list[LabelMapping]:
    """The mappings of several label spaces by one file; each category that it names is in one of them at least.

    Raises:
        InvalidManifest, NotThere: as of `mapping_from_file`.
    """
    by_name = {category.name: category for source in reversed(sources) for category in reversed(source.categories)}
    names = dict.fromkeys(category.name for source in sources for category in source.categories)
    every = LabelSpace("all", tuple(replace(by_name[name], id=number) for number, name in enumerate(names)))
    view = read_view(path.stem, documents.read_toml(path), every, str(path))
    return [
        LabelMapping.from_names(
            source,
            view.labels,
            [[name for name in row if name in source.index_of_name] for row in view.sources],
        )
        for source in sources
    ]


def spelling(name: str) -> str:
    """A name without what spelling varies in: case, spaces, dashes."""
    return re.sub(r"[\W_]+", "", name).lower()


@cache
def same_names() -> tuple[tuple[str, ...], ...]:
    """Names of one thing in different datasets, by their spelling, a row for each thing."""
    text = resources.files("segdata.manifests").joinpath("same-names.txt").read_text("utf-8")
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(tuple(spelling(name) for name in row) for row in rows)
