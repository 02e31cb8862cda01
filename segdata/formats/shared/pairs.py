"""Images and their label files: folders of both, paired by the names in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry, ReadOptions
from segdata.formats.shared import label_tables
from segdata.formats.shared.folder import (
    IMAGE_ENDINGS,
    NAMES_SHOWN,
    file_size,
    has_files,
    image_path,
    is_file,
    names_in,
    stem,
)
from segdata.system.reading import read_file


def only_folder(root: Path, above: str, names: Sequence[str], what: str) -> str:
    """The one folder of label files beside a folder of images.

    Args:
        above: the folder of both, under the root.
        what: what is in the folders, for the error.

    Raises:
        InvalidAnnotation: there are several.
    """
    if len(names) > 1:
        raise InvalidAnnotation(
            f"two folders hold {what} of the same images",
            file=root / above,
            why=" and ".join(names),
            fix="move all but one of them out of the dataset's folder",
        )
    return names[0]


_MASK_WORDS = re.compile(
    r"mask|label(?!l?ed)|annot|ground.?truth|segmentation|(?<![a-z])(gt|seg)(?![a-z])", re.IGNORECASE
)
_LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif")

NO_LABELS = "image without label file, where others of its split have one"


@dataclass(frozen=True)
class LabelFile:
    """An image's label file, "" when it has none."""

    file: str


@dataclass(frozen=True)
class Pair:
    """A folder of images and the folder of their label files.

    Attributes:
        split: the split that both are; "" where lists tell the splits.
        images, labels: paths under the root; `labels` is "" where there are none.
        suffixes: what names of label files may end in, the likeliest first.
    """

    split: str
    images: str
    labels: str
    suffixes: Sequence[str]


def entries_of(root: Path, pair: Pair, options: ReadOptions, findings: Findings) -> list[Entry]:
    """Pairs of image and label file by name: a label file is named as its image plus a suffix.

    Where none is, they are paired by another part of their names that fits every label file, which is remarked.
    """
    folder, disk = _image_folder(root, pair, options)
    image_of = {stem(name): name for name in names_in(folder, *IMAGE_ENDINGS)}
    labels = names_in(root / pair.labels, *IMAGE_ENDINGS) if pair.labels or not pair.images else []
    file_of = {stem(name): name for name in sorted(labels, key=lambda name: name.lower().endswith(".png"))}
    if pair.images == pair.labels:  # side by side
        suffix = pair.suffixes[0]
        file_of = {name: file for name, file in file_of.items() if name.endswith(suffix)}
        image_of = {name: file for name, file in image_of.items() if name not in file_of}
    suffix = _suffix(image_of, list(file_of), pair.suffixes)
    label_of = {
        name.removesuffix(suffix): f"{pair.labels}/{file}" for name, file in file_of.items() if name.endswith(suffix)
    }
    if image_of and file_of and not any(key in image_of for key in label_of):
        renamed = _by_parts(list(image_of), list(file_of))
        if renamed:
            first = min(renamed)
            example = f"{file_of[first]} is of {image_of[renamed[first]]}"
            findings.remark("label files and images paired by parts of their names", example, len(renamed))
        label_of = {renamed.get(name, name): f"{pair.labels}/{file}" for name, file in file_of.items()}
    if not suffix:  # what belongs to an image by another suffix is no image of its own
        others = {key for key in label_of if key not in image_of and _of_other(key, image_of, pair.suffixes)}
        label_of = {key: file for key, file in label_of.items() if key not in others}
    prefix = f"{pair.images}/" if pair.images else ""
    label_of = {key: file.removeprefix("/") for key, file in label_of.items()}
    return [
        Entry(
            key,
            prefix + image_of[key] if key in image_of else "",
            file_size(root, label_of.get(key, "")),
            LabelFile(label_of.get(key, "")),
            str(folder / image_of[key]) if disk and key in image_of else "",
        )
        for key in sorted(image_of.keys() | label_of.keys())
    ]


def by_words(root: Path, folders: Sequence[str], suffixes: Sequence[str]) -> list[Pair]:
    """Folders of images beside folders whose names speak of masks, in words of any kind.

    A folder of masks belongs to the folder of images whose name begins most like its own; each pair is then a split, called
    by what both begin with. Nothing where that is not clear, or where no file of one has its fellow in the other.

    Args:
        suffixes: see `Pair`.
    """
    masks = [name for name in folders if _MASK_WORDS.search(name) and has_files(root / name, *_LOSSLESS)]
    images = [name for name in folders if name not in masks and has_files(root / name, *IMAGE_ENDINGS)]
    is_named_layout = any(mask.lower().startswith(image.lower()) for mask in masks for image in images)
    if is_named_layout or not masks or len(images) < len(masks):  # SPLIT and SPLITannot, SPLIT_masks …
        return []
    chosen: list[Pair] = []
    for mask in masks:
        starts = {name: _common_start([name.lower(), mask.lower()]) for name in images}
        best = max(starts, key=lambda name: len(starts[name]))
        if [len(start) for start in starts.values()].count(len(starts[best])) > 1:
            return []
        split = best[: len(starts[best])].strip("-_. ") if len(masks) > 1 else ""
        chosen.append(Pair(split, best, mask, suffixes))
    is_clear = len({pair.images for pair in chosen}) == len({pair.split for pair in chosen}) == len(chosen)
    if not is_clear or (len(chosen) > 1 and not all(pair.split for pair in chosen)):
        return []
    entries = [entry for pair in chosen for entry in entries_of(root, pair, ReadOptions(), Findings())]
    return chosen if any(entry.file and entry.data.file for entry in entries) else []


def _image_folder(root: Path, pair: Pair, options: ReadOptions) -> tuple[Path, bool]:
    """Where the images lie, and whether that is a folder of the user's choice."""
    chosen = options.images_dir.get(pair.split) or options.images_dir.get("")
    if chosen is None:
        return root / pair.images, False
    if pair.split not in options.images_dir and pair.split and (chosen / pair.split).is_dir():
        chosen = chosen / pair.split
    return chosen.absolute(), True


def _suffix(images: Mapping[str, str], labels: Sequence[str], suffixes: Sequence[str]) -> str:
    """The suffix with which most label files fit an image; without images, the first that all of them have."""
    fitting = {
        suffix: sum(name.endswith(suffix) and name.removesuffix(suffix) in images for name in labels)
        for suffix in suffixes
    }
    most = max(fitting.values(), default=0)
    if most:
        return next(suffix for suffix in suffixes if fitting[suffix] == most)
    return next(
        (suffix for suffix in suffixes if labels and all(name.endswith(suffix) for name in labels)), suffixes[0]
    )


def _by_parts(images: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Label file → image, by a part of their names: mask_001 and 001, mask_001 and img_001, 001.jpg and 001.

    Names have no ending. Every label file has an image of its own, or nothing is paired.
    """
    names = set(images)
    first = labels[0]
    for image in sorted((image for image in images if image in first), key=len, reverse=True):
        before, _, after = first.partition(image)
        cores = {name: _core(name, before, after) for name in labels}
        if names.issuperset(cores.values()):
            return cores
    ends, label_ends = _common(images), _common(labels)
    image_of = {_core(name, *ends): name for name in images} | {"": ""}
    by_core = {name: image_of.get(_core(name, *label_ends), "") for name in labels}
    return by_core if all(by_core.values()) and len(set(by_core.values())) == len(labels) else {}


def _core(name: str, before: str, after: str) -> str:
    """What is between; "" where there is nothing."""
    is_between = name.startswith(before) and name.endswith(after) and len(before) + len(after) < len(name)
    return name[len(before) : len(name) - len(after)] if is_between else ""


def _common(names: Sequence[str]) -> tuple[str, str]:
    """What all names begin and end with, without the digits of a number that goes on in some."""
    before = _common_start(names)
    after = _common_start([name[len(before) :][::-1] for name in names])
    return before, after[::-1]


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length].rstrip("0123456789")


def _of_other(key: str, images: Mapping[str, str], suffixes: Sequence[str]) -> bool:
    return any(suffix and key.endswith(suffix) and key.removesuffix(suffix) in images for suffix in suffixes)


def no_labels(root: Path, folders: Sequence[str], entries: Sequence[Entry], fix: str) -> InvalidAnnotation | None:
    """What is wrong where there are images and label folders, and no image has a label file.

    Args:
        folders: of the label files, paths under the root.
        fix: how label files are named.
    """
    label_folders = [folder for folder in folders if folder and (root / folder).is_dir()]
    images = [entry.file for entry in entries if entry.file]
    if not images or not label_folders or any(entry.file and entry.data.file for entry in entries):
        return None
    there = [f"{folder}/{name}" for folder in label_folders for name in names_in(root / folder, "")[:NAMES_SHOWN]]
    shown = ", ".join(there[:NAMES_SHOWN]) or "nothing"
    return InvalidAnnotation(
        "no image has a label file",
        file=root / label_folders[0],
        why=f"images are {', '.join(images[:2])}{' …' if len(images) > 2 else ''}; there are {shown}",
        fix=fix,
    )


def remark_missing(
    kind: str,
    entries: Sequence[Entry],
    splits: Mapping[str, Sequence[int]],
    has_it: Callable[[Entry], bool | None],
    findings: Findings,
) -> None:
    """Remark images that lack what others of their split have; a split in which none has it is published so.

    Args:
        kind: of the remark.
        has_it: whether an image has it; None where it is not concerned.
    """
    remarked: set[int] = set()
    for members in splits.values():
        has = {index: has_it(entries[index]) for index in members if entries[index].file and index not in remarked}
        if True not in has.values():
            continue
        for index in (index for index, is_there in has.items() if is_there is False):
            findings.remark(kind, entries[index].key)
            remarked.add(index)


def distinct(
    root: Path, entries: Sequence[Entry], splits: Mapping[str, Sequence[int]], findings: Findings
) -> list[Entry]:
    """Entries of one key are one image, refused in both train and val, or different images, called SPLIT/KEY."""
    called = list(entries)
    first_of: dict[str, tuple[str, int]] = {}
    for split, members in splits.items():
        for index in members:
            key = entries[index].key
            other, first = first_of.setdefault(key, (split, index))
            if other == split:
                continue
            if not _is_same_image(root, entries[first], entries[index]):
                findings.remark("different images of one name in two splits: called SPLIT/NAME", f"{split}/{key}")
                called[first] = replace(entries[first], key=f"{other}/{key}")
                called[index] = replace(entries[index], key=f"{split}/{key}")
            elif {other.lower()[:3], split.lower()[:3]} == {"tra", "val"}:
                findings.skip(
                    InvalidAnnotation(
                        f"an image is in both {other} and {split}",
                        file=root,
                        key=key,
                        fix="remove it from one of the two lists",
                    )
                )
    return called


def _is_same_image(root: Path, first: Entry, second: Entry) -> bool:
    paths = [image_path(root, entry) for entry in (first, second)]
    if not all(entry.file and is_file(path) for entry, path in zip((first, second), paths, strict=True)):
        return True
    return paths[0].stat().st_size == paths[1].stat().st_size and read_file(paths[0]) == read_file(paths[1])


def has_documents(root: Path) -> bool:
    """Whether annotations are documents, which other formats read."""
    beside = [name for name in names_in(root, ".json", ".xml") if name.lower() != label_tables.META]
    return bool(beside) or any(has_files(root / name, ".json", ".xml") for name in ("annotations", "Annotations"))


def rank(split: str) -> tuple[int, str]:
    """Where a split stands among others: train, val and test first."""
    official = ("train", "val", "test")
    return official.index(split) if split in official else len(official), split
