"""Label Studio's documents: recognised, taken apart by task; which annotation of a task is read; the image it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from segdata.errors import InvalidAnnotation
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import IMAGE_ENDINGS, is_file
from segdata.system.files import checked_name
from segdata.system.reading import open_file

CONFIG = "label_config.xml"
IMAGE = "image"
"""The field of `data` that segdata writes, and that is the image where there are several."""

_KINDS = ("annotations", "predictions")
_KEYS = (b'"data"', b'"to_name"')
_PEEK = 1 << 16
_UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""

_DRIVE = re.compile(r"[A-Za-z]:(?=/)")
_FOLDERS = ("", "images/")


def is_document(path: Path) -> bool:
    """Whether a file begins like a list of tasks."""
    try:
        with open_file(path) as file:
            head = file.read(_PEEK)
    except OSError:
        return False
    is_list = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    return is_list and any(b'"%s"' % kind.encode() in head for kind in _KINDS) and any(key in head for key in _KEYS)


def read(path: Path) -> list[bytes]:
    """The text of every task.

    Raises:
        InvalidAnnotation: not JSON, or no list.
    """
    return [bytes(raw) for raw in json_text.decode(json_text.map_file(path), list[msgspec.Raw], path)]


def task(data: bytes, place: int, path: Path) -> dict[str, Any]:
    """A task with its data and lists of annotations and predictions.

    Raises:
        InvalidAnnotation: no object with `data`, lists that are none, or a key twice.
    """
    where = f"$[{place}]"
    value = json_text.decode(data, Any, path)
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        why = f"expected an object with data, annotations and predictions, found {value!r}"[:200]
        raise InvalidAnnotation("a task has no data", file=path, place=where, why=why, fix="export as JSON")
    for kind in _KINDS:
        items = value.get(kind)
        is_list = isinstance(items, list) and all(
            isinstance(item, dict) and isinstance(item.get("result"), list) for item in items
        )
        if items is not None and not is_list:
            raise InvalidAnnotation(
                f"{kind} of a task are no list of objects with a result",
                file=path,
                place=f"{where}.{kind}",
                why=f"found {items!r}"[:200],
                fix="export as JSON with annotations in full",
            )
    if repeated := json_text.repeated_keys(data):
        raise json_text.key_twice(path, where, repeated[0])
    return value


# ---------------------------------------------------------------------- the annotation that is read


@dataclass(frozen=True)
class Chosen:
    """The one annotation of a task that is read.

    Attributes:
        kind: "annotations" or "predictions".
        position: in the task's list of them.
    """

    kind: str
    position: int

    @property
    def path(self) -> str:
        """JSON path below the task."""
        return f".{self.kind}[{self.position}]"


def submitted(task: Mapping[str, Any]) -> list[int]:
    """Positions of the annotations that were not cancelled, those marked as ground truth first."""
    items = list(enumerate(task.get("annotations") or ()))
    positions = [position for position, item in items if not item.get("was_cancelled")]
    return sorted(positions, key=lambda position: not items[position][1].get("ground_truth"))


def chosen(task: Mapping[str, Any], *, predictions: bool) -> Chosen | None:
    """The annotation marked as ground truth, else the first; the first prediction, where predictions are asked for."""
    positions = submitted(task)
    if positions:
        return Chosen("annotations", positions[0])
    return Chosen("predictions", 0) if predictions and task.get("predictions") else None


# ---------------------------------------------------------------------- the image


def image_field(task: Mapping[str, Any]) -> str:
    """The field of a task's data that names its image: `image`, or the only one that looks so.

    Raises:
        InvalidAnnotation: there is none, or there are several.
    """
    data: dict[str, Any] = task["data"]
    if isinstance(data.get(IMAGE), str):
        return IMAGE
    fields = [
        name
        for name, value in data.items()
        if isinstance(value, str) and any(name.lower().endswith(IMAGE_ENDINGS) for name in _paths(value))
    ]
    if len(fields) != 1:
        raise InvalidAnnotation(
            "which image a task is about is not clear",
            why=f"data has {', '.join(map(repr, data)) or 'nothing'}; images are {', '.join(fields) or 'none of them'}"[
                :300
            ],
            fix=f"name the image's file in the field {IMAGE!r}",
        )
    return fields[0]


def image_of(task: Mapping[str, Any], root: Path, folder: str, images_dir: Path | None) -> tuple[str, str]:
    """Key and path of a task's image: the longest end of its address that is a file.

    Args:
        folder: of the document, under the root, with a slash.
        images_dir: where the images are, instead of the document's folder and `images` in it.

    Returns:
        The path is one under the root, or under `images_dir`; the last part of the address where there is no such file.

    Raises:
        Unsafe: the address leads out of the folder.
        InvalidAnnotation: see `image_field`; or the image is in the document itself.
    """
    value: str = task["data"][image_field(task)]
    if value.startswith("data:"):
        fix = "export with images, or as files of a folder"
        raise InvalidAnnotation("the image of a task is in the document", why=f"{value[:40]!r} …", fix=fix)
    names = list(dict.fromkeys(_candidates(task, value)))
    for name in names:
        checked_name(name, "the image of a task")
    for name in names:
        for inner in _FOLDERS if images_dir is None else ("",):
            file = name if images_dir is not None else f"{folder}{inner}{name}"
            if is_file((images_dir or root) / file):
                return name, file
    last = names[0].rpartition("/")[2]
    return last, last if images_dir is not None else f"{folder}{last}"


def _candidates(task: Mapping[str, Any], value: str) -> Iterator[str]:
    """Names of the file, the longest first; last those of the file that was uploaded."""
    upload = task.get("file_upload")
    for path in (*_paths(value), *([upload] if isinstance(upload, str) and upload else [])):
        parts = _DRIVE.sub("", path.replace("\\", "/")).strip("/").split("/")
        for start in range(len(parts)):
            yield "/".join(parts[start:])
        if _UPLOADED.match(parts[-1]):
            yield _UPLOADED.sub("", parts[-1], count=1)


def _paths(address: str) -> list[str]:
    """The path that an address names: that of `?d=`, of a URL, or itself; and without %-escapes."""
    try:
        url = urlsplit(address)
        named = parse_qs(url.query).get("d")
    except ValueError:
        return [address]
    if named:
        return [named[-1]]
    if not url.scheme or "://" not in address:
        return list(dict.fromkeys((address, unquote(address))))
    return [unquote(url.path) or address]
