"""Published label spaces, views of them, and mappings between them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path

from segdata.catalog.manifest import View, names, read_view, shipped
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.errors import NotThere
from segdata.system import toml
from segdata.system.files import disk_errors


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
    by_spelling = {_spelling(category.name): index for index, category in reversed(list(enumerate(target.categories)))}
    for synonyms in _same_names():
        index = next((by_spelling[name] for name in synonyms if name in by_spelling), None)
        if index is not None:
            for name in synonyms:
                by_spelling.setdefault(name, index)
    return LabelMapping(
        target,
        tuple(target.index_of_name.get(item.name, by_spelling.get(_spelling(item.name))) for item in source.categories),
    )


def mapping_from_file(path: Path, source: LabelSpace) -> LabelMapping:
    """A mapping from a TOML file of `[[labels]]` tables, each with `name` and `from`, the names of source categories.

    Raises:
        InvalidManifest: not TOML, a wrong table, or names of categories that `source` does not have.
        NotThere: there is no such file.
    """
    with disk_errors(path):
        table = toml.parse(path.read_text("utf-8"), str(path))
    view = read_view(path.stem, table, source, str(path))
    return LabelMapping.from_names(source, view.labels, view.sources)


def _spelling(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


@cache
def _same_names() -> tuple[tuple[str, ...], ...]:
    text = resources.files("segdata.manifests").joinpath("same-names.txt").read_text("utf-8")
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(tuple(_spelling(name) for name in row) for row in rows)
