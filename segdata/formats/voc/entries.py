"""Every image of a VOC folder with its XML file and masks, and the splits that folders make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry, ReadOptions
from segdata.formats.shared import lists
from segdata.formats.shared.folder import file_size, folders_in, names_in, read_bytes, stem
from segdata.formats.voc import folders, rivals
from segdata.formats.voc.folders import CLASSES, OBJECTS, Part, joined
from segdata.formats.voc.images import Images, by_stem, files_below, images_elsewhere, images_of


@dataclass(frozen=True)
class Files:
    """Which files an image has, under the root.

    Attributes:
        unsettled: what is wrong where several images may be the annotated one.
    """

    xml: str | None
    classes: str | None
    objects: str | None
    unsettled: InvalidAnnotation | None = None

    @property
    def names(self) -> list[str]:
        """Those that there are."""
        return [file for file in (self.xml, self.classes, self.objects) if file is not None]

    def moved(self, key: str) -> dict[str, str]:
        """Those that do not lie where VOC has them: kind → path."""
        official = {
            "xml": (self.xml, f"{folders.ANNOTATIONS}/{key}.xml"),
            "class": (self.classes, f"{CLASSES}/{key}.png"),
            "object": (self.objects, f"{OBJECTS}/{key}.png"),
        }
        return {kind: file for kind, (file, name) in official.items() if file is not None and file != name}


@dataclass(frozen=True)
class Listing:
    """The images of a dataset in order, and what folders say of their splits.

    Attributes:
        layout: the folders, in words.
        splits: name → indices, where folders are splits.
    """

    layout: str
    entries: Sequence[Entry]
    splits: Mapping[str, Sequence[int]]


def listed(root: Path, options: ReadOptions, findings: Findings) -> Listing:
    """Every image that has a file, an annotation or a mask, sorted by name, part by part."""
    parts = folders.find(root) or [Part("", folders.ANNOTATIONS, folders.IMAGES)]
    of_part = {part: _entries(root, part, options, findings) for part in parts}
    count: dict[str, int] = {}
    for entries in of_part.values():
        for entry in entries:
            count[entry.key] = count.get(entry.key, 0) + 1
    everything: list[Entry] = []
    splits: dict[str, Sequence[int]] = {}
    for part, entries in of_part.items():
        splits[part.split] = range(len(everything), len(everything) + len(entries))
        everything += [
            replace(entry, key=f"{part.split}/{entry.key}") if count[entry.key] > 1 else entry for entry in entries
        ]
    unusual = [part.split for part in parts if part.split and not folders.SPLIT.fullmatch(part.split)]
    if unusual:
        findings.remark("folders with annotations of their own are taken for splits", ", ".join(unusual), len(unusual))
    if list(splits) == [""]:
        splits = _splits_below(everything)
    return Listing(_in_words(parts, everything), everything, splits)


def _in_words(parts: Sequence[Part], entries: Sequence[Entry]) -> str:
    if parts == [Part("", folders.ANNOTATIONS, folders.IMAGES)]:
        return "PASCAL VOC folders"
    images = sorted({entry.file.rpartition("/")[0] or "." for entry in entries if entry.file})
    annotations = ", ".join(part.annotations or "." for part in parts)
    return f"PASCAL VOC: annotations in {annotations}; images in {', '.join(images[:5]) or 'no folder'}"


def _splits_below(entries: Sequence[Entry]) -> dict[str, Sequence[int]]:
    """The splits after which the folders below those of images or annotations are named, where all images lie in such."""
    splits: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        split = folders.split_in(entry.data.xml or "") or folders.split_in(entry.file)
        if not split:
            return {}
        splits.setdefault(split, []).append(index)
    return dict(splits)


# ---------------------------------------------------------------------- one part


def _entries(root: Path, part: Part, options: ReadOptions, findings: Findings) -> list[Entry]:
    xml_of = _annotations(root, part)
    classes_of = _masks(root, part, CLASSES)
    objects_of = _masks(root, part, OBJECTS)
    annotated = xml_of.keys() | classes_of.keys() | objects_of.keys()
    if options.images_dir and not (part.split and options.images_dir.keys().isdisjoint(("", part.split))):
        images = _elsewhere(root, part, annotated, xml_of, options, findings)
    else:
        images = images_of(root, part, annotated, xml_of, findings)
    images, unsettled = rivals.settle(root, images, xml_of, findings)
    entries = []
    for key in sorted(images.file_of.keys() | annotated):
        data = Files(xml_of.get(key), classes_of.get(key), objects_of.get(key), unsettled.get(key))
        size = sum(file_size(root, file) for file in data.names)
        entries.append(Entry(key, images.file_of.get(key, ""), size, data, images.elsewhere.get(key, "")))
    return entries


def _annotations(root: Path, part: Part) -> dict[str, str]:
    """Key → XML file; a key is the path under the folder of annotations, without ending."""
    folder = root / part.annotations
    if part.annotations == part.images:
        return by_stem(names_in(folder, ".xml"), part.annotations)
    return {
        joined(inner, name): file
        for inner, names in files_below(folder, ".xml").items()
        for name, file in by_stem(names, joined(part.annotations, inner)).items()
    }


def _masks(root: Path, part: Part, name: str) -> dict[str, str]:
    """Key → mask; Labelme writes the PNGs into a folder of their own."""
    for folder in (part.path(name), part.path(name + "PNG")):
        if names := names_in(root / folder, ".png"):
            return by_stem(names, folder)
    return {}


def _elsewhere(
    root: Path,
    part: Part,
    annotated: set[str],
    xml_of: Mapping[str, str],
    options: ReadOptions,
    findings: Findings,
) -> Images:
    """Images in the folders of the user's choice: of what is annotated or listed."""
    keys_of = _keys_of_splits(root, part, annotated, xml_of)
    images = Images(part.images or part.path(folders.IMAGES), {})
    is_for_all = "" in options.images_dir
    if not is_for_all:
        images = images_of(root, part, annotated, xml_of, findings)
    for split, folder in sorted(options.images_dir.items()):
        if part.split and split not in ("", part.split):
            continue
        keys = keys_of.get(split, set()) if split else annotated.union(*keys_of.values())
        for key, path in images_elsewhere(folder, keys).items():
            images.elsewhere[key] = path
            images.file_of[key] = joined(images.folder, key + path[len(stem(path)) :])
    return images


def _keys_of_splits(root: Path, part: Part, annotated: set[str], xml_of: Mapping[str, str]) -> dict[str, set[str]]:
    """Split → the keys of its images: as lists say, else as folders are named, else all."""
    if part.split:
        return {part.split: annotated}
    keys_of: dict[str, set[str]] = {}
    for folder in folders_in(root / folders.SETS):
        for name in names_in(root / folders.SETS / folder, ".txt"):
            split = stem(name) if folder == "Segmentation" else f"{folder}/{stem(name)}"
            lines = lists.lines_of(read_bytes(root, f"{folders.SETS}/{folder}/{name}", "the dataset"))
            keys_of[split] = {lists.name_in(line, annotated) or line.split()[0] for line in lines if line.strip()}
    if not keys_of:
        for key in annotated:
            keys_of.setdefault(folders.split_in(xml_of.get(key, "")) or "all", set()).add(key)
    return keys_of
