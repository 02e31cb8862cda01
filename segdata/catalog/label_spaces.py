"""Published label spaces, views of them, and mappings between them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path

from segdata.catalog.manifest import View, _view, names, shipped
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.errors import NotThere
from segdata.system import toml as tables
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
    """Categories that have one name in both spaces, or names that `same-names.txt` lists as one thing.

    The spelling (case, spaces, dashes, underscores) does not count; where two are alike, the exact name wins.
    """
    alike = {_spelling(category.name): index for index, category in reversed(list(enumerate(target.categories)))}
    for synonyms in _same_names():
        for name in synonyms:
            index = next((alike[other] for other in synonyms if other in alike), None)
            if index is not None:
                alike.setdefault(name, index)
    return LabelMapping(
        target,
        tuple(target.index_of_name.get(item.name, alike.get(_spelling(item.name))) for item in source.categories),
    )


def mapping_from_file(path: Path, source: LabelSpace) -> LabelMapping:
    """A mapping from a TOML file of `[[labels]]` tables, each with `name` and `from`, the source names it takes in.

    Raises:
        InvalidManifest: not TOML, or it names categories that `source` does not have.
    """
    with disk_errors(path):
        document = tables.parse(path.read_text("utf-8"), str(path))
    view = _view(path.stem, document, source, str(path), "")
    return LabelMapping.from_names(source, view.labels, view.sources)


def _spelling(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


@cache
def _same_names() -> tuple[tuple[str, ...], ...]:
    text = resources.files("segdata.manifests").joinpath("same-names.txt").read_text("utf-8")
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(tuple(_spelling(name) for name in row) for row in rows)
