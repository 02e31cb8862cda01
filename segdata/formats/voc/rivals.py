"""Two images of one name and different endings in one folder: the annotation says which of them is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.shared.folder import IMAGE_ENDINGS, names_in, stem
from segdata.formats.voc.images import Images, names_said, size_in
from segdata.system.reading import read_file


def settle(
    root: Path, images: Images, xml_of: Mapping[str, str], findings: Findings
) -> tuple[Images, dict[str, InvalidAnnotation]]:
    """The images that the annotations name, where there are several of one name.

    Args:
        xml_of: key → XML file under the root.

    Returns:
        The images; and key → what is wrong, of those where nothing tells which image is meant.
    """
    groups: dict[Path, dict[str, list[str]]] = {}
    file_of, elsewhere = dict(images.file_of), dict(images.elsewhere)
    unsettled: dict[str, InvalidAnnotation] = {}
    for key in sorted(xml_of.keys() & file_of.keys()):
        path = Path(elsewhere[key]) if key in elsewhere else root / file_of[key]
        if path.parent not in groups:
            groups[path.parent] = _groups(path.parent)
        names = groups[path.parent].get(stem(path.name))
        if names is None:
            continue
        chosen = _chosen(root, path.parent, names, xml_of[key], key, findings)
        if chosen is None:
            unsettled[key] = _undecided(root, path.parent, names, xml_of[key], key)
            continue
        folder = file_of[key].rpartition("/")[0]
        file_of[key] = f"{folder}/{chosen}" if folder else chosen
        if key in elsewhere:
            elsewhere[key] = str(path.parent / chosen)
    return Images(images.folder, file_of, elsewhere), unsettled


def _groups(folder: Path) -> dict[str, list[str]]:
    """Name without ending → the images of this name, where there are several."""
    of_stem: dict[str, list[str]] = {}
    for name in names_in(folder, *IMAGE_ENDINGS):
        of_stem.setdefault(stem(name), []).append(name)
    return {name: names for name, names in of_stem.items() if len(names) > 1}


def _chosen(root: Path, folder: Path, names: Sequence[str], xml: str, key: str, findings: Findings) -> str | None:
    """The file that the annotation names and whose size fits; else the only one whose size fits; None where neither is."""
    size = size_in(root, xml)
    fitting = [name for name in names if _fits(folder / name, size)]
    for said in names_said(root, xml):
        named = [name for name in names if name == said] or [name for name in names if name.lower() == said.lower()]
        if len(named) == 1:
            return named[0] if named[0] in fitting else None
    if size is None or len(fitting) != 1:
        return None
    findings.remark("several images of one name: the one of the annotated size", f"{key}: {fitting[0]}")
    return fitting[0]


def _fits(path: Path, size: tuple[int, int] | None) -> bool:
    """Whether an image has the annotated size, upright or not; an image that cannot be read does not tell otherwise."""
    try:
        header = image_files.probe(read_file(path))
    except (OSError, SegdataError):
        return True
    return size is None or {header.height, header.width} == set(size)


def _undecided(root: Path, folder: Path, names: Sequence[str], xml: str, key: str) -> InvalidAnnotation:
    said = next(iter(names_said(root, xml)), None)
    return InvalidAnnotation(
        "two images may be the one that is annotated",
        file=root / xml,
        key=key,
        why=f"{folder.name}/ has {' and '.join(names)}; <filename> is {said!r}, size (height, width) {size_in(root, xml)}",
        fix="move the other one away, or write the image's name and ending into <filename>",
    )
