"""VIA's documents: annotations (`via_region_data.json`) and projects, found, recognised and taken apart by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from segdata.errors import InvalidAnnotation
from segdata.formats.shared import json_text
from segdata.system.reading import open_file

_PROJECT = "_via_img_metadata"
_KEYS = (b'"filename"', b'"regions"', b'"size"')
_PEEK = 1 << 16


@dataclass(frozen=True)
class Document:
    """A document taken apart.

    Attributes:
        is_project: whether the images are a part of a project.
        fields: what else a project holds.
        images: key → text of the record.
    """

    is_project: bool
    fields: dict[str, Any]
    images: Mapping[str, bytes]

    def options(self, attribute: str) -> list[str]:
        """The values that a project declares for an attribute of regions, in their order."""
        declared = self.fields.get("_via_attributes")
        for name in ("region", attribute, "options"):
            declared = declared.get(name) if isinstance(declared, dict) else None
        return list(declared) if isinstance(declared, dict) else []


def is_document(path: Path) -> bool:
    """Whether a file begins like annotations or a project."""
    try:
        with open_file(path) as file:
            head = file.read(_PEEK)
    except OSError:
        return False
    return f'"{_PROJECT}"'.encode() in head or all(key in head for key in _KEYS)


def read(path: Path) -> Document:
    """A document taken apart.

    Raises:
        InvalidAnnotation: not JSON, a key twice, or no object of images.
    """
    text = json_text.map_file(path)
    top: dict[str, msgspec.Raw] = json_text.decode(text, dict[str, msgspec.Raw], path)
    is_project = _PROJECT in top
    images = json_text.decode(top[_PROJECT], dict[str, msgspec.Raw], path, whole=text) if is_project else top
    for where, part, records in (("$", text, top), (f"$.{_PROJECT}", top.get(_PROJECT), images)):
        if part is not None and (repeated := json_text.repeated_at_top(memoryview(part), records)):
            raise json_text.key_twice(path, where, repeated[0])
    fields = {
        name: json_text.decode(raw, Any, path, whole=text)
        for name, raw in top.items()
        if is_project and name != _PROJECT
    }
    return Document(is_project, fields, {key: bytes(raw) for key, raw in images.items()})


def record(data: bytes, key: str, path: Path) -> dict[str, Any]:
    """The record of an image, its regions as a list or an object.

    Raises:
        InvalidAnnotation: no object with a file name and regions, or a key twice.
    """
    value = json_text.decode(data, Any, path)
    if repeated := json_text.repeated_keys(data):
        raise json_text.key_twice(path, f"$[{key!r}]", repeated[0])
    if not isinstance(value, dict) or not isinstance(value.get("filename"), str):
        raise InvalidAnnotation(
            "a record of an image has no filename", file=path, place=f"$[{key!r}]", why=f"found {value!r}"[:200]
        )
    if not isinstance(value.get("regions"), (list, dict)):
        why = f"expected a list, found {value.get('regions')!r}"[:200]
        raise InvalidAnnotation("regions of an image are no list", file=path, place=f"$[{key!r}].regions", why=why)
    return value


def regions(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """JSON path and value of each region; the first versions wrote an object with numbers as keys."""
    items = record["regions"]
    if isinstance(items, dict):
        return [(f".{key}", item) for key, item in items.items()]
    return [(f"[{number}]", item) for number, item in enumerate(items)]


def assembled(document: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its images."""
    return {**document["fields"], _PROJECT: images} if document["is_project"] else dict(images)
