"""A dataset as data: one TOML file with its title, terms, label table, views and splits, checked at the door.

Shipped manifests lie in the package `segdata.manifests` (`manifests/` in the repository).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from segdata.catalog import remotes
from segdata.catalog.remotes import Remote, SignIn, Terms
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidManifest, NotThere, SegdataError
from segdata.system import toml as tables
from segdata.system.files import disk_errors
from segdata.system.paths import checked_name

ALIASES = {"coco": "coco-2017", "voc": "voc-2012"}
"""Short names for the newest of a family."""

_TEXTS = ("title", "homepage", "licence", "citation", "format", "label_space")
_KEYS = (
    *_TEXTS,
    *("labels", "labels_from", "views", "splits", "splits_from", "max_pixels", "known_bad", "average_sizes"),
    *("terms", "signin", "remotes", "root"),
)
_LABEL_KEYS: dict[str, type] = {
    "name": str,
    "id": int,
    "color": list,
    "isthing": bool,
    "supercategory": str,
    "ignore": bool,
}


@dataclass(frozen=True)
class Split:
    """One split: how many images the official one has, and their names where the dataset itself does not list them."""

    name: str
    count: int | None
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class View:
    """Another way to look at a label space: target categories, and for each the source categories that become it."""

    name: str
    about: str
    labels: LabelSpace
    sources: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Manifest:
    """What is known about a dataset.

    `known_bad` are keys of images that are damaged in the official release, `average_sizes` the mean pixels of an object
    by category, where the official evaluation publishes them. `root` is the folder below the extracted files in which the
    format's layout begins.
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
    root: PurePosixPath

    @property
    def parts(self) -> dict[str, bool]:
        """Names of the parts that can be chosen, in order, and whether each is fetched by default."""
        return {remote.part: not remote.is_optional for remote in self.remotes}


def load(path: Path) -> Manifest:
    """Read and check one manifest.

    Raises:
        InvalidManifest: not TOML, unknown or missing keys, wrong types, views of categories that do not exist.
        NotThere: there is no such file.
    """
    with disk_errors(path):
        data = path.read_bytes()
    try:
        return _build(path.stem, data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InvalidManifest("manifest is not UTF-8", file=path, place=f"byte {error.start}") from error


def find(dataset: str | Path) -> Manifest:
    """A manifest by a shipped name or alias, or by the path of one's own file (it has a slash, or ends in .toml).

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
        close = difflib.get_close_matches(name, [*names(), *ALIASES], n=3, cutoff=0.4)
        raise NotThere(
            f"there is no dataset {name!r}",
            why=f"known are {', '.join(names())}",
            fix=f"did you mean {' or '.join(close)}?" if close else "segdata list shows them",
        )
    file = resources.files("segdata.manifests") / f"{name}.toml"
    return _build(name, file.read_text("utf-8"), f"{name}.toml")


@cache
def names() -> tuple[str, ...]:
    """Names of the shipped manifests, sorted."""
    found = (item.name for item in resources.files("segdata.manifests").iterdir())
    return tuple(sorted(name[: -len(".toml")] for name in found if name.endswith(".toml")))


def _build(name: str, text: str, file: str) -> Manifest:
    document = tables.parse(text, file)
    for key in document:
        if key not in _KEYS:
            raise tables.unknown(file, key, key, _KEYS)
    texts = {key: tables.typed(document, key, str, file, key) for key in _TEXTS}
    if "labels" in document and "labels_from" in document:
        raise InvalidManifest("manifest has both labels and labels_from", file=file, fix="keep one of them")
    if "labels_from" in document:
        other = shipped(tables.typed(document, "labels_from", str, file, "labels_from"))
        labels, views = other.labels, dict(other.views)
    else:
        labels, views = _labels(texts["label_space"], document.get("labels"), file), {}
    views.update(_views(document.get("views", {}), labels, file))
    splits = dict(shipped(document["splits_from"]).splits) if "splits_from" in document else {}
    splits.update(_splits(document.get("splits", {}), file))
    signin = remotes.signin(document["signin"], file) if "signin" in document else None
    files = remotes.remotes(document.get("remotes", []), file, has_signin=signin is not None)
    max_pixels = tables.typed(document, "max_pixels", int, file, "max_pixels") if "max_pixels" in document else None
    return Manifest(
        name=name,
        title=texts["title"],
        homepage=texts["homepage"],
        licence=texts["licence"],
        citation=texts["citation"],
        format=texts["format"],
        labels=labels,
        splits=splits,
        views=views,
        max_pixels=max_pixels,
        average_sizes=_average_sizes(document.get("average_sizes", {}), labels, file),
        known_bad=tuple(tables.typed(document, "known_bad", list, file, "known_bad"))
        if "known_bad" in document
        else (),
        remotes=files,
        terms=remotes.terms(document["terms"], file) if "terms" in document else None,
        signin=signin,
        root=PurePosixPath(".")
        if "root" not in document
        else checked_name(tables.typed(document, "root", str, file, "root"), f"{file}: root"),
    )


def _average_sizes(table: Any, labels: LabelSpace, file: str) -> dict[str, float]:
    if not isinstance(table, dict):
        raise InvalidManifest("average_sizes is not a table", file=file, place="average_sizes")
    for name, value in table.items():
        if name not in labels.index_of_name or type(value) not in (int, float) or not 0 < value < float("inf"):
            raise InvalidManifest(
                "an average size is not a category with its mean pixels",
                file=file,
                place=f"average_sizes.{name}",
                why=f"found {value!r}",
            )
    return {name: float(value) for name, value in table.items()}


def _labels(space: str, rows: Any, file: str) -> LabelSpace:
    if not isinstance(rows, list) or not rows:
        raise InvalidManifest("manifest has no labels", file=file, place="labels", why="expected a list of tables")
    categories = tuple(_category(row, f"labels[{index}]", file) for index, row in enumerate(rows))
    try:
        return LabelSpace(space, categories)
    except SegdataError as error:
        raise InvalidManifest(error.message, file=file, place=f"labels: {error.place}", fix=error.fix) from error


def _category(row: Any, place: str, file: str) -> Category:
    if not isinstance(row, dict):
        raise InvalidManifest("a label is not a table", file=file, place=place, why=f"found {row!r}")
    for key in row:
        if key not in _LABEL_KEYS:
            raise tables.unknown(file, f"{place}.{key}", key, tuple(_LABEL_KEYS))
    values = {
        key: tables.typed(row, key, _LABEL_KEYS[key], file, f"{place}.{key}")
        for key in _LABEL_KEYS
        if key in row or key in ("name", "id")
    }
    if "color" in values:
        values["color"] = _color(values["color"], f"{place}.color", file)
    return Category(**values)


def _color(value: Any, place: str, file: str) -> tuple[int, int, int]:
    if len(value) != 3 or not all(type(item) is int and 0 <= item <= 255 for item in value):
        raise InvalidManifest(
            "a colour is not three numbers 0…255",
            file=file,
            place=place,
            why=f"found {value!r}",
            fix="write [R, G, B]",
        )
    return value[0], value[1], value[2]


def _views(document: Any, labels: LabelSpace, file: str) -> dict[str, View]:
    tables_by_name = tables.named(document, "views", file)
    return {name: _view(name, table, labels, file, f"views.{name}.") for name, table in tables_by_name}


def _view(name: str, table: Mapping[str, Any], labels: LabelSpace, file: str, place: str) -> View:
    """One view; `place` is what its keys stand behind in the file."""
    for key in table:
        if key not in ("about", "labels"):
            raise tables.unknown(file, f"{place}{key}", key, ("about", "labels"))
    categories: list[Category] = []
    sources: list[tuple[str, ...]] = []
    for index, row in enumerate(tables.typed(table, "labels", list, file, f"{place}labels")):
        at = f"{place}labels[{index}]"
        if not isinstance(row, dict):
            raise InvalidManifest("a label is not a table", file=file, place=at, why=f"found {row!r}"[:200])
        own = {key: value for key, value in row.items() if key != "from"}
        parts = tuple(tables.typed(row, "from", list, file, f"{at}.from"))
        unknown = [part for part in parts if not isinstance(part, str) or part not in labels.index_of_name]
        if unknown or not parts:
            raise InvalidManifest(
                "a view names a category that does not exist",
                file=file,
                place=f"{at}.from",
                why=f"found {unknown[0]!r}; the source has {_some(labels)}" if unknown else "the list is empty",
            )
        taken = [part for others in sources for part in others if part in parts]
        if taken:
            raise InvalidManifest(
                "a view maps a category twice", file=file, place=f"{at}.from", why=f"found {taken[0]!r} again"
            )
        first = labels[labels.index_of_name[parts[0]]].as_dict()
        first.pop("ignore", None)
        categories.append(_category({**first, "id": index, **own}, at, file))
        sources.append(parts)
    try:
        space = LabelSpace(name, tuple(categories))
    except SegdataError as error:
        raise error.located(file=file) from error
    return View(name, str(table.get("about", "")), space, tuple(sources))


def _some(labels: LabelSpace) -> str:
    """The first names of a label space, for messages."""
    names = [category.name for category in labels.categories[:10]]
    return ", ".join(names) + (" …" if len(labels) > len(names) else "")


def _splits(document: Any, file: str) -> dict[str, Split]:
    splits = {}
    for name, table in tables.named(document, "splits", file):
        for key in table:
            if key not in ("count", "names"):
                raise tables.unknown(file, f"splits.{name}.{key}", key, ("count", "names"))
        members = table.get("names")
        count = tables.typed(table, "count", int, file, f"splits.{name}.count") if "count" in table else None
        if members is not None and (count != len(members) or len(set(members)) != len(members)):
            raise InvalidManifest(
                "a split's names are not as many as its count says, or not unique",
                file=file,
                place=f"splits.{name}",
                why=f"count {count}, {len(set(members))} different names",
            )
        splits[name] = Split(name, count, None if members is None else tuple(members))
    return splits
