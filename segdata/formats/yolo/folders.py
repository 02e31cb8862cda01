"""Where the images, label files and label maps of a YOLO dataset lie.

    Ultralytics    images/SPLIT/NAME.jpg    labels/SPLIT/NAME.txt    data.yaml
    Roboflow       SPLIT/images/NAME.jpg    SPLIT/labels/NAME.txt    data.yaml
    lists          SPLIT.txt with a path of an image a line          data.yaml
    no data.yaml   any of the two pairs of folders, and classes.txt

The last `/images/` of an image's path becomes `/labels/`, and its ending `.txt`; where there is none, the label file lies
beside the image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, NotThere, Unsafe
from segdata.formats.contract import ReadOptions
from segdata.formats.shared import label_tables, lists
from segdata.formats.shared.folder import IMAGE_ENDINGS, folders_in, has_files, is_file, names_in, read_bytes, stem
from segdata.formats.yolo.data_yaml import DataYaml

IMAGES, LABELS = "images", "labels"
_IS_ABSOLUTE = re.compile(r"/|[A-Za-z]:")
_NUMBERS = re.compile(rb"\s*\d+(\.0*)?(\s+[-+]?[\d.]+(e[-+]?\d+)?){4,}\s*$", re.IGNORECASE)
_LOOKED_AT = 20
_VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True)
class Images:
    """The images of one split.

    Attributes:
        name: the split's.
        files: their paths under the root, in order, each once.
        folders: the folders under the root that all their images are of.
        lists: the text files under the root that name them.
    """

    name: str
    files: Sequence[str]
    folders: Sequence[str] = ()
    lists: Sequence[str] = ()


def beside(image: str, folder: str, ending: str) -> str:
    """The path of an image's label file or label map.

    >>> beside("images/train/a.b.jpg", "labels", ".txt"), beside("a.jpg", "labels", ".txt")
    ('labels/train/a.b.txt', 'a.txt')
    """
    before, is_in_images, after = f"/{image}".rpartition(f"/{IMAGES}/")
    path = f"{before}/{folder}/{after}" if is_in_images else f"/{image}"
    return stem(path)[1:] + ending


def key_of(image: str, folder: str) -> str:
    """An image's name within its split: its path under the split's folder, without `images/` at its beginning.

    Args:
        folder: of the split, under the root; "" where a list names the image.
    """
    inner = image
    if folder and image.startswith(f"{folder}/"):
        inner = image[len(folder) + 1 :]
    elif f"/{image}".count(f"/{IMAGES}/"):
        inner = f"/{image}".partition(f"/{IMAGES}/")[2]
    return stem(inner.removeprefix(f"{IMAGES}/"))


# ---------------------------------------------------------------------- with a data.yaml


def of_yaml(root: Path, data: DataYaml, options: ReadOptions, findings: Findings) -> list[Images]:
    """The images of every split that a `data.yaml` names.

    Raises:
        NotThere: none of its splits is there.
        Unsafe: a place or a line of a list leads out of the folder.
    """
    base = _base(root, data, findings)
    parts, absent = [], []
    for name, places in data.splits.items():
        files: dict[str, None] = {}
        folders, texts = [], []
        for place in places:
            path = _resolved(root, base, place, data.file, findings)
            if path is None:
                absent.append(f"{name}: {place}")
            elif (root / path).is_dir():
                folders.append(path)
                files.update(dict.fromkeys(images_below(root, path, options, data.masks_dir)))
            else:
                texts.append(path)
                files.update(dict.fromkeys(_listed(root, path, base, findings)))
        if folders or texts:
            parts.append(Images(name, list(files), folders, texts))
    error = NotThere(
        "the images of a split are not there",
        file=root / data.file,
        why=f"looked for {', '.join(absent[:5])} under {root}",
        fix="correct the paths in the YAML file, or give the folder that holds the images",
    )
    if not parts:
        raise error
    for item in absent:
        findings.correct("split without its images on disk: left out", f"{data.file}: {item}", error)
    return parts


def _base(root: Path, data: DataYaml, findings: Findings) -> str:
    """The folder under the root that paths are relative to, "" for the root."""
    path = data.path.replace("\\", "/").rstrip("/")
    if path in ("", "."):
        return ""
    if not _IS_ABSOLUTE.match(path) and ".." not in path.split("/"):
        inner = path.removeprefix("./")
        if (root / inner).is_dir():
            return inner
    findings.remark("path of the YAML file is not used: paths are relative to its folder", f"{data.file}: {data.path}")
    return ""


def _resolved(root: Path, base: str, place: str, file: str, findings: Findings) -> str | None:
    """A place as a path under the root; None where nothing is there.

    Raises:
        Unsafe: it leads out of the root.
    """
    written = place.replace("\\", "/").rstrip("/") or "."
    path = written
    if _IS_ABSOLUTE.match(path):
        parts = [part for part in path.split("/") if part not in ("", ".", "..") and ":" not in part]
        tails = ("/".join(parts[first:]) for first in range(len(parts)))
        path = next((tail for tail in tails if (root / tail).exists()), "")
        if path:
            findings.remark("absolute path: its end lies in the dataset's folder", f"{file}: {place} is {path}")
        return path or None
    for candidate in dict.fromkeys((path, path.removeprefix("../"))):
        inner = os.path.normpath(f"{base}/{candidate}" if base else candidate).replace(os.sep, "/")
        if inner != ".." and not inner.startswith("../") and (root / inner).exists():
            return "" if inner == "." else inner
    twin = _twin(root, base, path.removeprefix("../"))
    if twin is not None:
        findings.remark("folder of a split has another name for val", f"{file}: {place} is {twin}")
        return twin
    if os.path.normpath(f"{base}/{path}" if base else path).startswith("..") and path.count("../") > 1:
        raise Unsafe(
            "a path leads out of the dataset's folder",
            file=root / file,
            why=f"{place!r}",
            fix="give the folder that holds all of the dataset, or correct the path",
        )
    return None


def _twin(root: Path, base: str, path: str) -> str | None:
    """The same path with another of the names that validation images go by, where there is exactly one such folder."""
    parts = [part for part in f"{base}/{path}".split("/") if part not in ("", ".")]
    if ".." in parts:
        return None
    paths = [
        "/".join([*parts[:index], name, *parts[index + 1 :]])
        for index, part in enumerate(parts)
        if part in _VALIDATION
        for name in _VALIDATION
    ]
    there = [item for item in paths if (root / item).is_dir()]
    return there[0] if len(there) == 1 else None


def images_below(root: Path, folder: str, options: ReadOptions, masks_dir: str = "") -> list[str]:
    """The images in a folder and all folders below it, as paths under the root, sorted; those of label maps left out."""
    images = []
    for path, inner, names in os.walk(root / folder, followlinks=options.follow_links):
        inner[:] = [name for name in inner if name[0] != "." and (not masks_dir or name != masks_dir)]
        above = Path(path).relative_to(root).as_posix()
        prefix = "" if above == "." else f"{above}/"
        images += [prefix + name for name in names if name[0] != "." and name.lower().endswith(IMAGE_ENDINGS)]
    return sorted(images)


def _listed(root: Path, file: str, base: str, findings: Findings) -> Iterator[str]:
    """The images that a list names; `./` is the list's folder, and of absolute paths the end counts."""
    above = file.rpartition("/")[0]
    ends: dict[str, str] = {}
    for number, line in enumerate(lists.lines_of(read_bytes(root, file, "the dataset")), 1):
        written = line.strip().replace("\\", "/")
        if not written:
            continue
        place = f"{file}, line {number}"
        if _IS_ABSOLUTE.match(written):
            yield _end(root, written, ends, place, findings)
            continue
        starts = [above, base] if written.startswith("./") else [base, above]
        paths = [os.path.normpath(f"{start}/{written}" if start else written) for start in dict.fromkeys(starts)]
        inside = [path for path in paths if path != ".." and not path.startswith(("../", "/"))]
        if not inside:
            raise Unsafe(
                "a list names an image out of the dataset's folder",
                file=root / file,
                place=f"line {number}",
                why=f"{line.strip()!r}",
                fix="correct the line, or give the folder that holds all of the dataset",
            )
        yield next((path for path in inside if is_file(root / path)), inside[0])


def _end(root: Path, written: str, ends: dict[str, str], place: str, findings: Findings) -> str:
    """The end of an absolute path that lies under the root; `ends` knows what was cut from the paths before."""
    for prefix, replacement in ends.items():
        if written.startswith(prefix):
            return replacement + written[len(prefix) :].lstrip("/")
    parts = [part for part in written.split("/") if part not in ("", ".", "..") and ":" not in part]
    for first in range(len(parts)):
        tail = "/".join(parts[first:])
        if is_file(root / tail):
            ends[written[: len(written) - len(tail)]] = ""
            findings.remark("absolute paths in a list: their ends lie in the dataset's folder", f"{place}: {written}")
            return tail
    return "/".join(parts[-2:])


# ---------------------------------------------------------------------- without


def of_folders(root: Path, options: ReadOptions) -> list[Images]:
    """Splits by folders, where there is no `data.yaml`; nothing where there are no such folders."""
    names = folders_in(root)
    if IMAGES in names and LABELS in names:
        files = images_below(root, IMAGES, options)
        inner = dict.fromkeys(file.split("/")[1] if file.count("/") > 1 else "" for file in files)
        if files and all(name.lower() in lists.SPLITS for name in inner):
            return [
                Images(name, [file for file in files if file.split("/")[1] == name], [f"{IMAGES}/{name}"])
                for name in inner
            ]
        return [Images("all", files, [IMAGES])]
    return [
        Images(name, images_below(root, f"{name}/{IMAGES}", options), [f"{name}/{IMAGES}"])
        for name in _splits(root, names)
    ]


def _splits(root: Path, names: Iterable[str]) -> list[str]:
    """The folders that have the name of a split, images and labels."""
    there = [name for name in names if name.lower() in lists.SPLITS]
    return [name for name in there if {IMAGES, LABELS} <= set(folders_in(root / name))]


def is_label_folder(root: Path) -> bool:
    """Whether there are images with label files of numbers beside them, in one of the layouts without `data.yaml`."""
    names = folders_in(root)
    pairs = [""] if IMAGES in names and LABELS in names else _splits(root, names)
    for name in pairs:
        base = root / name
        folders = ["", *folders_in(base / LABELS)[:_LOOKED_AT]]
        has_images = any(has_files(base / IMAGES / inner, *IMAGE_ENDINGS) for inner in folders)
        if has_images and _holds_numbers(base / LABELS, folders):
            return True
    return False


def _holds_numbers(labels: Path, folders: Iterable[str]) -> bool:
    """Whether the first text files hold a class and four numbers or more a line; at least one has a line."""
    for inner in folders:
        folder = labels / inner
        texts = [name for name in names_in(folder, ".txt") if name.lower() not in label_tables.FILES][:_LOOKED_AT]
        heads = [_first_line(folder / name) for name in texts]
        heads = [line for line in heads if line.strip()]
        if heads:
            return all(_NUMBERS.match(line) for line in heads)
    return False


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(1 << 20)
    except OSError:
        return b""


# ---------------------------------------------------------------------- label files


def labels_of(root: Path, parts: Sequence[Images]) -> set[str]:
    """Paths of the text files in all folders where label files of the images may lie."""
    folders = {beside(file, LABELS, "").rpartition("/")[0] for part in parts for file in part.files}
    folders |= {beside(f"{folder}/x", LABELS, "").rpartition("/")[0] for part in parts for folder in part.folders}
    texts = {text for part in parts for text in part.lists}
    labels: set[str] = set()
    for folder in folders:
        if (root / folder).is_dir():
            prefix = f"{folder}/" if folder else ""
            labels.update(prefix + name for name in names_in(root / folder, ".txt"))
    return {label for label in labels - texts if label.rpartition("/")[2].lower() not in label_tables.FILES}


def skip_without_image(root: Path, labels: Iterable[str], images: Mapping[str, str], findings: Findings) -> None:
    """Count label files whose image is not there.

    Args:
        images: label file → its image.
    """
    for label in sorted(label for label in labels if label not in images):
        above, _, name = label.rpartition("/")
        if LABELS not in above.split("/"):
            continue  # beside images, a text may be anything
        folder = f"/{above}/"[::-1].replace(f"/{LABELS}/"[::-1], f"/{IMAGES}/"[::-1], 1)[::-1].strip("/")
        if any(is_file(root / folder / f"{stem(name)}{ending}") for ending in IMAGE_ENDINGS):
            continue  # its image is in no split
        findings.skip(
            InvalidAnnotation(
                "label file without image",
                file=root / label,
                why=f"expected an image {folder}/{stem(name)}.jpg, or of another ending",
                fix="restore the image, or remove the label file",
            )
        )
