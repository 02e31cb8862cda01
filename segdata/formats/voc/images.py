"""Which image belongs to which annotation: by names and folders, else by what the annotation says of its image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.shared.folder import IMAGE_ENDINGS, names_in, read_bytes, stem
from segdata.formats.shared.loose_names import MASKS
from segdata.formats.voc.folders import IMAGES, Part, is_of_masks, joined
from segdata.formats.xml import Node, parse
from segdata.system.files import inside
from segdata.system.reading import read_file

_FOLDERS_LOOKED_AT = 1000
_SIZES_COMPARED = 3


@dataclass
class Images:
    """The images of a part.

    Attributes:
        folder: where most of them lie, under the root.
        file_of: key → path under the root.
        elsewhere: key → path on disk, of images in a folder of the user's choice.
    """

    folder: str
    file_of: dict[str, str]
    elsewhere: dict[str, str] = field(default_factory=dict)


def files_below(folder: Path, *endings: str) -> dict[str, list[str]]:
    """Sub-folder ("" for the folder itself) → sorted names of its files; hidden folders and packs are left out."""
    below: dict[str, list[str]] = {}
    for number, (path, inner, files) in enumerate(os.walk(folder)):
        if number >= _FOLDERS_LOOKED_AT:
            break
        inner[:] = [] if "pack.json" in files else sorted(name for name in inner if not name.startswith("."))
        names = sorted(name for name in files if name.lower().endswith(endings) and not name.startswith("."))
        if names:
            below["" if number == 0 else Path(path).relative_to(folder).as_posix()] = names
    return below


def images_of(
    root: Path, part: Part, annotated: Collection[str], xml_of: Mapping[str, str], findings: Findings
) -> Images:
    """The images of a part of a dataset.

    Args:
        annotated: keys of all annotations and masks.
        xml_of: key → XML file under the root; a key is the file's path under the folder of annotations, without ending.

    Raises:
        InvalidAnnotation: two folders fit equally well.
    """
    if part.images is not None:
        files = by_stem(names_in(root / part.images, *IMAGE_ENDINGS), part.images)
        if not annotated or not files.keys().isdisjoint(annotated):
            return Images(part.images, files)
    below = files_below(root / part.split, *IMAGE_ENDINGS)
    below = {folder: names for folder, names in below.items() if not is_of_masks(folder.rpartition("/")[2])}
    chosen = _chosen(root, part, below, annotated, xml_of, findings=findings)
    file_of: dict[str, str] = {}
    if chosen is not None:
        file_of = {key: file for key, file in _under(chosen, _below(chosen, below)).items() if key in annotated}
    if chosen is None:
        below = {folder: names for folder, names in below.items() if not MASKS.search(folder)} or below
    home = below if chosen is None else _below(chosen, below)
    missing = [key for key in sorted(annotated) if key not in file_of]
    for key, file in _by_name(root, missing, below, xml_of).items():
        agrees = chosen is None or _agrees(root, part, file, xml_of.get(key))
        if agrees or (agrees is None and file.rpartition("/")[0] in home):
            file_of[key] = file
            if stem(file.rpartition("/")[2]) != key.rpartition("/")[2]:
                findings.remark("image found by <path>, <folder> or <filename>", f"{key}: {file}")
    used = set(file_of.values())
    for folder in sorted({file.rpartition("/")[0] for file in used}.intersection(home)):
        for key, file in _under(chosen or "", {folder: below[folder]}).items():
            if file not in used:
                file_of.setdefault(key, file)
    fallback = part.path(IMAGES) if part.images is None else part.images
    return Images(
        fallback if chosen is None else part.path(chosen), {key: part.path(file) for key, file in file_of.items()}
    )


def _under(folder: str, below: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Path under the folder without ending → path, of the images below it; for others, their names alone."""
    prefix = f"{folder}/" if folder else ""
    files: dict[str, str] = {}
    for inner, names in below.items():
        for key, file in by_stem(names, inner).items():
            files[stem(file.removeprefix(prefix)) if file.startswith(prefix) else key] = file
    return files


def by_stem(names: Sequence[str], folder: str) -> dict[str, str]:
    """Name without ending → path; of several, the first by name."""
    prefix = f"{folder}/" if folder else ""
    return {stem(name): prefix + name for name in reversed(names)}


def _counts(below: Mapping[str, Sequence[str]], keys: Collection[str]) -> Counter[str]:
    """Folder → how many of the keys are images in it."""
    count: Counter[str] = Counter()
    for folder, names in below.items():
        parts = folder.split("/") if folder else []
        inners = [("/".join(parts[:depth]), "/".join(parts[depth:])) for depth in range(len(parts) + 1)]
        for name in {stem(name) for name in names}:
            for above, inner in inners:
                count[above] += (f"{inner}/{name}" if inner else name) in keys
    return count


def _best(count: Counter[str]) -> list[str]:
    most = max(count.values(), default=0)
    return sorted(folder for folder in count if most and count[folder] == most)


def _chosen(
    root: Path,
    part: Part,
    below: Mapping[str, Sequence[str]],
    annotated: Collection[str],
    xml_of: Mapping[str, str],
    *,
    findings: Findings,
) -> str | None:
    """The folder of the images under the part's; None where no folder has one, or several have some each."""
    count = _counts(below, annotated)
    candidates = sorted(folder for folder in count if count[folder] and 2 * count[folder] >= max(count.values()))
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    keys = [_under(folder, _below(folder, below)).keys() & set(annotated) for folder in candidates]
    if len(set().union(*keys)) == sum(map(len, keys)):
        return None
    beside = part.annotations[len(part.split) :].lstrip("/")
    left = [folder for folder in candidates if not MASKS.search(folder)] or candidates
    if beside in candidates:
        left = [beside]
    fitting = [folder for folder in left if _fits(root, part, folder, below, xml_of)] if len(left) > 1 else left
    left = _best(Counter({folder: count[folder] for folder in fitting or left}))
    if len(left) > 1:
        raise InvalidAnnotation(
            "two folders may hold the images",
            file=root / part.split,
            why=f"{' and '.join(repr(folder or '.') for folder in left[:3])} have files of the annotations' names",
            fix=f"say which: --images-dir {f'{part.split}=' if part.split else ''}{root / part.split / left[0]}",
        )
    findings.remark(
        "folder of the images chosen among several that have files of these names", part.path(left[0]) or "."
    )
    return left[0]


def _below(folder: str, below: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {name: names for name, names in below.items() if not folder or f"{name}/".startswith(f"{folder}/")}


def _fits(root: Path, part: Part, folder: str, below: Mapping[str, Sequence[str]], xml_of: Mapping[str, str]) -> bool:
    """Whether the first images have the sizes that the annotations say, and are not plainly masks."""
    compared = 0
    for key, file in sorted(_under(folder, _below(folder, below)).items()):
        agrees = _agrees(root, part, file, xml_of.get(key))
        if agrees is False:
            return False
        compared += agrees is True
        if compared == _SIZES_COMPARED:
            break
    return compared > 0


def _agrees(root: Path, part: Part, file: str, xml: str | None) -> bool | None:
    """Whether a file has the size that its annotation says, and is not plainly a mask; None where that is not known."""
    size = None if xml is None else size_in(root, xml)
    if size is None:
        return None
    try:
        header = image_files.probe(read_file(inside(root, part.path(file), "the dataset")))
    except (OSError, SegdataError):
        return None  # a damaged file is reported with its image
    is_mask = header.codec == "png" and header.color in ("palette", "grey")
    return not is_mask and {header.height, header.width} == set(size)


def _root_of(root: Path, file: str) -> Node | None:
    try:
        return parse(read_bytes(root, file, "the dataset"), root / file).root
    except SegdataError:
        return None  # `load` says what is wrong with it


def size_in(root: Path, file: str) -> tuple[int, int] | None:
    """Height and width as an XML file says them."""
    node = _root_of(root, file)
    size = None if node is None else node.child("size")
    values = [None if size is None else size.text_of(tag) for tag in ("height", "width")]
    height, width = map(image_files.side_of, values)
    return (height, width) if height and width else None


def names_said(root: Path, file: str) -> list[str]:
    """The names with endings that an XML file gives its image: in `<filename>`, then in `<path>`."""
    node = _root_of(root, file)
    texts = [] if node is None else [node.text_of(tag) or "" for tag in ("filename", "path")]
    names = [text.replace("\\", "/").rpartition("/")[2] for text in texts]
    return [name for name in names if stem(name) != name]


# ---------------------------------------------------------------------- images that lie apart


def _by_name(
    root: Path, missing: Sequence[str], below: Mapping[str, Sequence[str]], xml_of: Mapping[str, str]
) -> dict[str, str]:
    """Images of other folders or other names: by the only file of that name, else by what the annotation says."""
    of_name: dict[str, list[str]] = {}
    for folder, names in below.items() if missing else ():
        for name in names:
            path = joined(folder, name)
            for known in dict.fromkeys((path, name, stem(name))):
                of_name.setdefault(known, []).append(path)
    file_of: dict[str, str] = {}
    for key in missing if of_name else ():
        same = of_name.get(key.rpartition("/")[2], [])
        if len(same) == 1:
            file_of[key] = same[0]
            continue
        node = _root_of(root, xml_of[key]) if key in xml_of else None
        for end in () if node is None else _ends(node):
            same = of_name.get(end, [])
            if len(same) == 1:
                file_of[key] = same[0]
                break
    return file_of


def _ends(node: Node) -> Iterator[str]:
    """What an annotation says of its image, as paths: ends of `<path>`, the longest first, `<folder>` and `<filename>`."""
    path = (node.text_of("path") or "").replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".", "..") and ":" not in part]
    folder = (node.text_of("folder") or "").replace("\\", "/").strip("/")
    name = (node.text_of("filename") or "").replace("\\", "/").strip("/")
    yield from ("/".join(parts[first:]) for first in range(len(parts)))
    if name:
        yield from (f"{folder}/{name}", name, name.rpartition("/")[2])


# ---------------------------------------------------------------------- images that lie elsewhere


def images_elsewhere(folder: Path, wanted: Collection[str]) -> dict[str, str]:
    """Key → path on disk of the images of these keys below a folder: by their paths, else by the only file of the name."""
    below = files_below(folder.absolute(), *IMAGE_ENDINGS)
    best = _best(_counts(below, wanted))
    prefix = f"{best[0]}/" if best and best[0] else ""
    by_path: dict[str, str] = {}
    of_name: dict[str, list[str]] = {}
    for inner, names in below.items():
        for key, file in by_stem(names, inner).items():
            path = f"{inner}/{key}" if inner else key
            if path.startswith(prefix):
                by_path[path[len(prefix) :]] = file
            of_name.setdefault(key, []).append(file)
    paths: dict[str, str] = {}
    for key in wanted:
        same = of_name.get(key.rpartition("/")[2], [])
        if key in by_path or len(same) == 1:
            paths[key] = str(folder.absolute() / (by_path.get(key) or same[0]))
    return paths
