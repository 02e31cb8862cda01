"""Labelme's JSON documents: found, recognised, checked, and the photo that some of them hold."""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from segdata.core.images import MAX_SIDE
from segdata.errors import InvalidAnnotation, SegdataError, Unsafe
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import is_file
from segdata.system.files import checked_name
from segdata.system.reading import open_file

_LOOKED_AT = 5
"""Documents of a folder that decide whether they are Labelme's."""

_PEEK = 1 << 16
_KEYS = (b'"shapes"', b'"imagePath"')


class _Label(msgspec.Struct):
    """What a scan reads of a shape."""

    label: str


class _Outline(msgspec.Struct, rename="camel"):
    """What a scan reads of a document."""

    shapes: list[_Label]
    image_path: str | None = None
    image_data: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Outline:
    """What a scan needs of a document.

    Attributes:
        labels: of its shapes, each once, in their order.
        image_path: as written, "" where there is none.
        has_photo: whether the document holds the photo.
    """

    labels: tuple[str, ...]
    image_path: str
    has_photo: bool


def names_below(root: Path) -> Iterator[str]:
    """Paths under the root of all JSON files, sorted in each folder; hidden names left out."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        above = Path(folder).relative_to(root).as_posix()
        for name in sorted(files):
            if name.lower().endswith(".json") and not name.startswith("."):
                yield name if above == "." else f"{above}/{name}"


def are_labelme(paths: list[Path]) -> bool:
    """Whether most of the first documents of a folder are Labelme's."""
    first = paths[:_LOOKED_AT]
    return sum(map(is_labelme, first)) > len(first) / 2


def is_labelme(path: Path) -> bool:
    """Whether a document has the keys of Labelme's, by its first and last bytes: photos between may be long."""
    try:
        with open_file(path) as file:
            head = file.read(_PEEK)
            size = file.seek(0, 2)
            file.seek(max(size - _PEEK, 0))
            ends = head + file.read(_PEEK)
    except OSError:
        return False
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and all(key in ends for key in _KEYS)


def outline(path: Path) -> Outline:
    """What a scan needs of a document.

    Raises:
        InvalidAnnotation: not JSON, or not of the form of Labelme's.
    """
    read: _Outline = json_text.decode(json_text.map_file(path), _Outline, path)
    labels = tuple(dict.fromkeys(shape.label for shape in read.shapes))
    return Outline(labels, read.image_path or "", bytes(read.image_data) not in (b"null", b'""'))


@dataclass(frozen=True)
class Document:
    """A document, checked but for its shapes.

    Attributes:
        fields: everything but the shapes and the photo.
        shapes: as written.
        image_data: base64 of an image file, or None.
        has_image_data: whether the document has the key at all.
    """

    fields: dict[str, Any]
    shapes: list[Any]
    image_data: str | None
    has_image_data: bool = True

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the picture that was annotated; None where the document does not say."""
        height, width = self.fields.get("imageHeight"), self.fields.get("imageWidth")
        return None if height is None or width is None else (height, width)


def read(path: Path) -> Document:
    """A document, checked but for its shapes.

    Raises:
        InvalidAnnotation: not JSON, no list of shapes, a key twice, or a size that is none.
    """
    text = json_text.map_file(path)
    top: dict[str, msgspec.Raw] = json_text.decode(text, dict[str, msgspec.Raw], path)
    for where, keys in (("$", json_text.repeated_at_top(text, top)), ("$.shapes", _repeated(top.get("shapes")))):
        if keys:
            raise json_text.key_twice(path, where, keys[0])
    fields = {name: json_text.decode(raw, Any, path, whole=text) for name, raw in top.items() if name != "imageData"}
    shapes = fields.pop("shapes", None)
    if not isinstance(shapes, list):
        raise InvalidAnnotation(
            "document has no list of shapes", file=path, place="$.shapes", why=f"found {shapes!r}"[:200]
        )
    for name in ("imageHeight", "imageWidth"):
        side = fields.get(name)
        if side is not None and not (type(side) is int and 0 < side <= MAX_SIDE):
            raise InvalidAnnotation(
                "the size of the image is not valid",
                file=path,
                place=f"$.{name}",
                why=f"expected pixels, a whole number, found {side!r}"[:200],
                fix="write the size of the annotated picture, or null",
            )
    data = json_text.decode(top.get("imageData", msgspec.Raw(b"null")), Any, path, whole=text)
    if data is not None and not isinstance(data, str):
        raise InvalidAnnotation(
            "imageData is no text", file=path, place="$.imageData", why=f"found {type(data).__name__}", fix="write null"
        )
    return Document(fields, shapes, data, "imageData" in top)


def _repeated(shapes: msgspec.Raw | None) -> list[str]:
    return [] if shapes is None else json_text.repeated_keys(shapes)


def photo(path: Path, document: Document) -> bytes:
    """The image file that a document holds.

    Raises:
        InvalidAnnotation: it holds none, or what is not base64.
    """
    try:
        return base64.b64decode(document.image_data or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidAnnotation(
            "imageData is not base64",
            file=path,
            place="$.imageData",
            why=str(error),
            fix="put the image file beside the document, and write null",
        ) from error


def as_written(data: bytes) -> str:
    """An image file as `imageData`."""
    return base64.b64encode(data).decode()


# ---------------------------------------------------------------------- the image beside


def image_beside(root: Path, file: str, written: str) -> tuple[str, str]:
    """Path under the root of a document's image, and what is odd in how it is named, "" where nothing is.

    Windows' backslashes are separators. Where the name leads out of the root, or is of another machine, the file of that
    name beside the document is meant, if there is one.

    Args:
        file: the document's path under the root.
        written: its `imagePath`.

    Raises:
        Unsafe: the path leads out of the root, and no file of that name is beside the document.
    """
    folder, plain = posixpath.dirname(file), written.replace("\\", "/")
    is_absolute = plain.startswith("/") or bool(re.match(r"[A-Za-z]:", plain))
    path = posixpath.normpath(posixpath.join(folder, plain))
    if is_absolute or path == ".." or path.startswith("../"):
        beside = posixpath.join(folder, posixpath.basename(plain))
        if not posixpath.basename(plain) or not is_file(root / beside):
            raise Unsafe(
                "imagePath leads out of the dataset's folder",
                file=root / file,
                place="$.imagePath",
                why=f"{written[:200]!r}, and no file of that name is beside the document",
                fix="put the image beside the document and write its name; nothing outside the folder is ever opened",
            )
        return beside, "imagePath leads out of the folder: the image of its name beside the document is taken"
    try:
        checked_name(path, "imagePath")
    except SegdataError as error:
        raise error.located(file=root / file, place="$.imagePath") from error
    return path, ""
