"""Which format a folder has, and where the dataset lies: in the folder, in one below it, or in the one above it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from segdata.errors import NotThere, SegdataError, UnknownLayout
from segdata.formats.contract import FormatModules
from segdata.formats.shared.folder import CONVERTED, folders_in, names_in
from segdata.formats.unknown import what_it_looks_like
from segdata.system.files import real_path

_FOLDERS_LOOKED_AT = 200
"""Folders on one level below the given one."""

_RUN = ("config.toml", "metrics.jsonl")
"""Files of a training's run."""

_LEVELS_ABOVE = 3
_SPLIT = re.compile(r"(train|val|test|valid|train_extra|trainval|minival)(20\d\d)?", re.IGNORECASE)

BELOW = "the dataset lies below the given folder: this one is taken"
ABOVE = "the given folder is a part of a dataset: the whole is taken"


@dataclass(frozen=True)
class Place:
    """Where a dataset lies.

    Attributes:
        format: its format's name.
        root: its folder, or its one document.
        remark: how that differs from what was given; "" where it does not.
    """

    format: str
    root: Path
    remark: str = ""


def locate(root: Path, formats: Mapping[str, FormatModules]) -> Place:
    """The dataset in a folder, the only one up to two levels below it, or the one that the folder is a part of.

    Raises:
        NotThere: no such folder.
        UnknownLayout: there is none, or there are several.
    """
    if not root.exists():
        raise NotThere(f"{root} does not exist", file=root, fix="check the path; `segdata list` shows known datasets")
    if all((root / name).is_file() for name in _RUN):
        raise UnknownLayout(
            "a run of segdata train is no dataset",
            file=root,
            fix=f"segdata runs {root} shows it; segdata predict {root} IMAGES -o PACK uses it",
        )
    name = known(root, formats)
    if name is not None:
        above = _whole(root, formats)
        return Place(name, root) if above is None or above.format != name or _has_images(root) else above
    below = _below(root, formats)
    if len(below) == 1:
        return Place(*below[0], BELOW)
    if below:
        raise _several(root, [path for _, path in below])
    above = _whole(root, formats)
    if above is not None:
        return above
    for name, modules in formats.items():
        if modules.is_relative(root, alone=True):
            return Place(name, root)
    raise _unknown(root, formats)


def known(root: Path, formats: Mapping[str, FormatModules]) -> str | None:
    """The format of a folder or document: the first that recognises it, rarer layouts last.

    Raises:
        UnknownLayout: it holds the annotations of two formats.
    """
    for name, modules in formats.items():
        if modules.format.detect(root):
            _require_alone(root, name, formats)
            return name
    return next((name for name, modules in formats.items() if modules.is_relative(root)), None)


def _require_alone(root: Path, name: str, formats: Mapping[str, FormatModules]) -> None:
    """Refuse a folder that holds the annotations of a format and of one of its rivals.

    Raises:
        UnknownLayout: the message names both.
    """
    for other in formats[name].rivals:
        if other in formats and formats[other].format.detect(root):
            raise UnknownLayout(
                f"the folder holds annotations of two formats: {name} and {other}",
                file=root,
                why=f"{formats[name].format.LAYOUT}; {formats[other].format.LAYOUT}",
                fix=f"say which to read: --from {name} or --from {other}",
            )


def _is_made_here(folder: Path) -> bool:
    """Whether a folder is a pack or the output of a conversion."""
    return any((folder / name).is_file() for name in ("pack.json", CONVERTED))


def _below(root: Path, formats: Mapping[str, FormatModules]) -> list[tuple[str, Path]]:
    """Format and folder of the datasets one level below a folder, else of those two levels below it."""
    level = [root]
    for _ in range(2):
        level = [folder / name for folder in level for name in folders_in(folder)][:_FOLDERS_LOOKED_AT]
        level = [folder for folder in level if not _is_made_here(folder)]
        datasets = [(name, folder) for folder in level if (name := _known_or_invalid(folder, formats)) is not None]
        if datasets:
            return datasets
    return []


def _known_or_invalid(folder: Path, formats: Mapping[str, FormatModules]) -> str | None:
    """The format of a folder, also where that says what is wrong with it."""
    for name, modules in formats.items():
        try:
            if modules.format.detect(folder) or modules.is_relative(folder):
                return name
        except SegdataError:
            return name
    return None


def _above(root: Path) -> Iterator[Path]:
    path = root if root.name not in ("", "..") else real_path(root)
    path = path.absolute() if len(path.parts) <= _LEVELS_ABOVE else path
    yield from [parent for parent in path.parents[:_LEVELS_ABOVE] if parent != Path(parent.anchor)]


def _whole(root: Path, formats: Mapping[str, FormatModules]) -> Place | None:
    """The dataset that a folder is a part of by its name, in the folder above it."""
    name = (root if root.name not in ("", "..") else real_path(root)).name.lower()
    if not root.is_dir() or not any(name in modules.parts for modules in formats.values()):
        return None
    above = next(_above(root), root)
    format = known(above, formats)
    return Place(format, above, ABOVE) if format is not None and name in formats[format].parts else None


def _has_images(root: Path) -> bool:
    """Whether there are JPEG files in a folder or in those directly below it: masks and documents are none."""
    return any(names_in(root / name, ".jpg", ".jpeg") for name in ("", *folders_in(root)[:_FOLDERS_LOOKED_AT]))


def _several(root: Path, datasets: list[Path]) -> UnknownLayout:
    """The error of a folder with several datasets."""
    names = [path.relative_to(root).as_posix() for path in datasets]
    commands = " or ".join(f"segdata convert {path} PACK" for path in datasets[:3])
    return UnknownLayout(
        "several datasets lie below this folder",
        file=root,
        why=f"{', '.join(names[:8])}{' …' if len(names) > 8 else ''}",
        fix=f"name one of them: {commands}; if they are parts of one dataset, put what is in them into one folder",
    )


def _unknown(root: Path, formats: Mapping[str, FormatModules]) -> UnknownLayout:
    """The error of a folder in which there is nothing known: what it looks like, and what works."""
    looks, fix = what_it_looks_like(root)
    split = f" --split {root.name}" if _SPLIT.fullmatch(root.name) else ""
    names = {root.name.lower()}
    for path in _above(root):
        if (split or any(names.intersection(modules.parts) for modules in formats.values())) and known(path, formats):
            fix = f"it lies in a dataset: segdata convert {path} PACK{split}"
            break
        names.add(path.name.lower())
    return UnknownLayout(
        "no known dataset layout was found",
        file=root,
        why=f"{looks}; looked for " + "; ".join(modules.format.LAYOUT for modules in formats.values()),
        fix=f"{fix} (docs/your-data.md lists what people bring)",
    )
