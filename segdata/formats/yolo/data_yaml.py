"""`data.yaml`: names of the classes, and where the images of each split are.

    path: ../datasets/donut         the dataset's folder; used where it lies under the folder that is read
    train: images/train             a folder, a .txt list of images, or a list of either
    val: ../valid/images            also tried without ../
    names: [cat, dog]               or {0: cat, 1: dog}
    nc: 2
    masks_dir: masks                label maps for semantic segmentation
    kpt_shape: [17, 3]              keypoints behind each box

A file of any name is one, as long as it says what classes there are, and has a split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidAnnotation, UnknownLayout
from segdata.formats.shared import yaml_text
from segdata.formats.shared.folder import names_in
from segdata.system.files import disk_errors, inside
from segdata.system.reading import open_file

SPLITS = ("train", "val", "validation", "valid", "test", "minival")
"""Keys that are splits whatever they hold."""

_NO_SPLITS = ("path", "masks_dir", "download", "names", "nc", "kpt_shape", "flip_idx", "channels", "yaml_file")
_USUAL = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_NAMES = re.compile(rb"^[\"']?(names|nc)[\"']?\s*:", re.MULTILINE)
_PLACES = re.compile(rb"^[\"']?(train|val|validation|valid|test|minival|path)[\"']?\s*:", re.MULTILINE)
_MOST_CLASSES = 65535


@dataclass(frozen=True)
class DataYaml:
    """A `data.yaml` as it is written.

    Attributes:
        file: its path under the dataset's folder.
        content: its bytes.
        names: number → name.
        splits: split → the places of its images, as written.
        path: the dataset's folder, as written; "" where it says none.
        masks_dir: the folder of label maps; "" where there are none.
        mapping: value in label maps → class, where the file says that they differ.
        keypoints: numbers behind each box.
    """

    file: str
    content: bytes
    names: Mapping[int, str]
    splits: Mapping[str, Sequence[str]]
    path: str
    masks_dir: str
    mapping: Mapping[int, int]
    keypoints: int

    def label_space(self) -> LabelSpace:
        """Its classes; their numbers are the ids."""
        return LabelSpace("custom", tuple(Category(name, number) for number, name in self.names.items()))


# ---------------------------------------------------------------------- which file


def candidates(root: Path) -> list[str]:
    """Names of the files in a folder that look like a `data.yaml`; one of the usual name is the only one."""
    names = names_in(root, *yaml_text.ENDINGS)
    usual = [name for name in _USUAL if name in names]
    chosen = [name for name in (*usual, *names) if looks_like_one(root / name)]
    return chosen[:1] if usual and chosen and chosen[0] in usual else chosen


def looks_like_one(path: Path) -> bool:
    """Whether a YAML file names classes and splits, by its first megabyte."""
    if path.suffix.lower() not in yaml_text.ENDINGS:
        return False
    try:
        head = _head(path)
    except OSError:
        return False
    return bool(_NAMES.search(head) and _PLACES.search(head))


def _head(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(yaml_text.MOST_BYTES + 1)


def only_one(root: Path) -> str | None:
    """The name of the one such file in a folder; None where there is none.

    Raises:
        UnknownLayout: there are several, and none has the usual name.
    """
    names = candidates(root)
    if len(names) > 1:
        raise UnknownLayout(
            "several YAML files describe this dataset",
            file=root,
            why=", ".join(names[:5]),
            fix="name one of them: " + " or ".join(f"segdata convert {root / name} PACK" for name in names[:3]),
        )
    return names[0] if names else None


# ---------------------------------------------------------------------- what it says


def read(root: Path, name: str, findings: Findings) -> DataYaml:
    """Read a `data.yaml`.

    Raises:
        Unsafe: see `yaml_text.parse`, or a link that leads out of the folder.
        InvalidAnnotation: no YAML, or keys of other types than the format's.
    """
    path = inside(root, name, "the dataset")
    with disk_errors(path):
        content = _head(path)
    document = yaml_text.parse(content, path)
    shape = document.get("kpt_shape") or []
    keypoints = 0
    if isinstance(shape, list) and len(shape) == 2 and all(str(item).isdecimal() for item in shape):
        keypoints = int(shape[0]) * int(shape[1])
    return DataYaml(
        file=name,
        content=content,
        names=_names(document, path, findings),
        splits=_splits(document, path),
        path=_text(document, "path", path),
        masks_dir=_text(document, "masks_dir", path).strip("/"),
        mapping=_mapping(document, path),
        keypoints=keypoints,
    )


def _text(document: Mapping[str, Any], key: str, path: Path) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise _not_valid(path, key, "a text", value)
    return value.strip()


def _not_valid(path: Path, key: str, expected: str, value: Any) -> InvalidAnnotation:
    return InvalidAnnotation(
        f"{key!r} is not what it has to be",
        file=path,
        place=key,
        why=f"expected {expected}, found {value!r:.80}",
        fix="correct the file",
    )


def _splits(document: Mapping[str, Any], path: Path) -> dict[str, list[str]]:
    """Split → places; a key that is no usual split is one where it holds a path or paths of images."""
    splits = {}
    for key, value in document.items():
        places = value if isinstance(value, list) else [value]
        is_text = all(isinstance(item, str) for item in places)
        if key in SPLITS and not is_text:
            raise _not_valid(path, key, "a folder, a .txt list, or a list of these", value)
        is_further = key not in _NO_SPLITS and is_text and places and all(_is_place(item) for item in places)
        if (key in SPLITS and any(places)) or is_further:
            splits[key] = [item.strip() for item in places if item.strip()]
    return splits


def _is_place(value: str) -> bool:
    """Whether a further key's text is a folder of images, or a list, beyond doubt."""
    return bool(re.fullmatch(r"(\.{0,2}/)*([^\s:]+/)?images(/[^\s:]+)?|[^\s:]+\.txt", value))


def _names(document: Mapping[str, Any], path: Path, findings: Findings) -> dict[int, str]:
    """Number → name, all distinct."""
    value = document.get("names") or ""
    count = document.get("nc", "")
    number = _whole(count) if isinstance(count, str) else None
    if value == "":
        if number is None or number > _MOST_CLASSES:
            raise _not_valid(path, "names", "the names of the classes", value)
        findings.remark("classes without names: called class_0, class_1 …", str(path))
        return {index: f"class_{index}" for index in range(number)}
    items = list(enumerate(value)) if isinstance(value, list) else value
    pairs = list(items.items()) if isinstance(items, dict) else items
    if not isinstance(pairs, list) or not all(isinstance(name, str) for _, name in pairs):
        raise _not_valid(path, "names", "a list of names, or numbers with names", value)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for key, name in pairs:
        index = key if isinstance(key, int) else _whole(key)
        if index is None or index > _MOST_CLASSES or index in names:
            raise _not_valid(path, "names", f"whole numbers, 0 … {_MOST_CLASSES:,}, each once", key)
        names[index] = name
        while names[index] in taken:
            names[index] = f"{names[index]} ({index})"
        if names[index] != name:
            findings.remark("two classes of one name: the second is called NAME (NUMBER)", names[index])
        taken.add(names[index])
    if number is not None and number != len(names):
        error = _not_valid(path, "nc", f"{len(names)}, the number of names", count)
        findings.correct("nc is not the number of names: the names count", f"{path.name}: nc {number}", error)
    return dict(sorted(names.items()))


def _whole(text: str) -> int | None:
    match = re.fullmatch(r"\s*(\d{1,9})(\.0*)?\s*", text)
    return int(match[1]) if match else None


def _mapping(document: Mapping[str, Any], path: Path) -> dict[int, int]:
    value = document.get("label_mapping") or {}
    if not isinstance(value, dict):
        raise _not_valid(path, "label_mapping", "values with classes", value)
    numbers = {_whole(key): _whole(item) if isinstance(item, str) else None for key, item in value.items()}
    if None in numbers or None in numbers.values():
        raise _not_valid(path, "label_mapping", "whole numbers with whole numbers", value)
    return {key: item for key, item in numbers.items() if key is not None and item is not None}


# ---------------------------------------------------------------------- a new one


def compose(names: Sequence[str], splits: Mapping[str, str | Sequence[str]]) -> str:
    """The text of a new `data.yaml`; train and val are always keys, as Ultralytics wants them."""
    places: dict[str, Any] = {key: splits.get(key) for key in ("train", "val")}
    places |= {key: value for key, value in splits.items() if key not in places}
    return yaml_text.compose({**places, "nc": len(names), "names": dict(enumerate(names))})
