"""CVAT's documents found, and their images located in them without building a tree of the whole.

A document may be much larger than memory allows to parse at once: a scan remembers where each `<image>` begins and ends,
and loading parses that part alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segdata.errors import InvalidAnnotation, Unsafe
from segdata.formats.shared.folder import is_file, names_in
from segdata.formats.xml import COMMENT, INSTRUCTION, MAX_BYTES, MAX_DEPTH, Node, parse, well_formed
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

_ROOT = re.compile(rb"<annotations[\s/>]")
_PEEK = 1 << 12
_LOOKED_AT = 5
_BLOCK = 1 << 20
_UTF8 = ("", "utf-8", "utf8", "us-ascii", "ascii")
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?\bencoding\s*=\s*["']([\w.:-]{1,40})["']""", re.ASCII)


@dataclass(frozen=True)
class Place:
    """Where an `<image>` stands.

    Attributes:
        begin, end: in bytes of the file.
        line: that it begins in, from 1.
        position: among the children of the root.
        attributes: of the element.
    """

    begin: int
    end: int
    line: int
    position: int
    attributes: Mapping[str, str]


@dataclass
class Index:
    """A document but for its images.

    Attributes:
        images: where they are.
        nodes: position among the root's children, and node, of everything else in the root.
        attributes: of the root.
        before, after: what stands around the root.
        labels: of the shapes in all images, sorted.
    """

    images: list[Place] = field(default_factory=list)
    nodes: list[tuple[int, Node]] = field(default_factory=list)
    attributes: Mapping[str, str] = field(default_factory=dict)
    before: list[Node] = field(default_factory=list)
    after: list[Node] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def as_document(self, file: str) -> dict[str, Any]:
        """As one of the dataset's documents."""
        return {
            "format": "cvat",
            "file": file,
            "attributes": dict(self.attributes),
            "nodes": [[position, node.as_list()] for position, node in self.nodes],
            "before": [node.as_list() for node in self.before],
            "after": [node.as_list() for node in self.after],
        }

    def declared(self) -> list[tuple[str, str | None]]:
        """Name and colour of the labels that the document declares, without those of points in skeletons."""
        rows = []
        for _, top in self.nodes:
            for labels in (node for node in top.walk() if node.tag == "labels"):
                for label in labels.children:
                    if label.tag == "label" and label.child("parent") is None:
                        rows.append((label.text_of("name") or "", label.text_of("color")))
        return rows


def documents_in(root: Path) -> list[str]:
    """Names of the documents in a folder, sorted."""
    return [name for name in names_in(root, ".xml") if is_document(root / name)] if root.is_dir() else []


def detect(root: Path) -> bool:
    """Whether one of the first XML files of a folder is a document."""
    names = names_in(root, ".xml")[:_LOOKED_AT] if root.is_dir() else []
    return any(is_document(root / name) for name in names)


def is_document(path: Path) -> bool:
    """Whether a file's root is `<annotations>`."""
    try:
        with open_file(path) as file:
            return _ROOT.search(file.read(_PEEK)) is not None
    except OSError:
        return False


def read(path: Path) -> Index:
    """The index of a document.

    Raises:
        Unsafe: a DTD, or entities.
        InvalidAnnotation: not well-formed, nested too deep, not in UTF-8, or not CVAT's.
    """
    from defusedxml.ElementTree import DefusedXMLParser

    builder = _Builder()
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    builder.expat = parser.parser
    parser.parser.buffer_text = False
    try:
        with disk_errors(path), open_file(path) as file, well_formed(path, parser):
            _require_utf8(file.read(_PEEK), path)
            file.seek(0)
            while block := file.read(_BLOCK):
                parser.feed(block)
            parser.close()
    except InvalidAnnotation as error:
        raise error.located(file=path, place=f"line {parser.parser.CurrentLineNumber}") from error
    index = builder.index
    for position, begin, end, line in builder.others:
        node = parse(_part(path, begin, end), path, line).root
        index.nodes.append((position, node))
    index.nodes.sort(key=lambda item: item[0])
    index.labels = sorted(builder.labels)
    return index


def _require_utf8(head: bytes, path: Path) -> None:
    match = _DECLARED.search(head)
    declared = match[1].decode().lower() if match else ""
    if declared not in _UTF8 or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InvalidAnnotation(
            "document is not in UTF-8, in which CVAT writes",
            file=path,
            place="line 1",
            why=f"it is declared as {declared!r}" if declared else "it begins like UTF-16",
            fix="save the file as UTF-8, and declare that",
        )


def _part(path: Path, begin: int, end: int) -> bytes:
    """An element of a document; what stands between it and the next event is layout."""
    if end - begin > MAX_BYTES:
        raise Unsafe("an element is too large", file=path, why=f"{end - begin:,} bytes; the limit is {MAX_BYTES:,}")
    with disk_errors(path), open_file(path) as file:
        file.seek(begin)
        data = file.read(end - begin)
    return data[: data.rfind(b">") + 1]


def image(path: Path, place: Place) -> Node:
    """The `<image>` of a document.

    Raises:
        InvalidAnnotation: the file has changed since it was scanned.
    """
    node = parse(_part(path, place.begin, place.end), path, place.line).root
    if node.tag != "image" or dict(node.attributes) != dict(place.attributes):
        raise InvalidAnnotation("document changed while it was read", file=path, fix="run again")
    return node


class _Builder:
    """Notes where the children of the root begin and end, while expat reads."""

    def __init__(self) -> None:
        self.index = Index()
        self.labels: set[str] = set()
        self.others: list[tuple[int, int, int, int]] = []
        self.expat: Any = None
        self._depth = 0
        self._has_root = False
        self._count = 0
        self._open: tuple[str, Mapping[str, str], int, int] | None = None
        self._is_complete = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._depth == 0:
            if tag != "annotations":
                raise InvalidAnnotation(
                    "root is not <annotations>", why=f"found <{tag}>", fix="give a document of CVAT"
                )
            self.index.attributes, self._has_root = dict(attributes), True
        elif self._depth == 1:
            self._close()
            if tag == "track" and attributes.get("label"):
                self.labels.add(attributes["label"])
            self._open = tag, dict(attributes), self.expat.CurrentByteIndex, self.expat.CurrentLineNumber
            self._is_complete = False
        elif self._depth == 2 and self._open is not None and self._open[0] == "image" and attributes.get("label"):
            self.labels.add(attributes["label"])
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidAnnotation("XML is nested too deep", why=f"more than {MAX_DEPTH} levels")

    def end(self, tag: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            self._is_complete = True
        elif self._depth == 0:
            self._close()

    def data(self, data: str) -> None:
        if self._depth == 1:
            self._close()
            if data.strip():
                raise InvalidAnnotation("text between the images", why=f"found {data.strip()[:100]!r}", fix="remove it")

    def comment(self, comment: str) -> None:
        self._beside(Node(COMMENT, comment))

    def pi(self, target: str, data: str | None = None) -> None:
        self._beside(Node(INSTRUCTION, f"{target} {data}" if data else target))

    def close(self) -> None:
        pass

    def _beside(self, node: Node) -> None:
        if self._depth == 1:
            self._close()
            self.index.nodes.append((self._count, node))
            self._count += 1
        elif self._depth == 0:
            (self.index.after if self._has_root else self.index.before).append(node)

    def _close(self) -> None:
        """Note the child that ended before the present event."""
        if self._open is None or not self._is_complete:
            return
        tag, attributes, begin, line = self._open
        end = self.expat.CurrentByteIndex
        if tag == "image":
            self.index.images.append(Place(begin, end, line, self._count, attributes))
        else:
            self.others.append((self._count, begin, end, line))
        self._count += 1
        self._open = None


# ---------------------------------------------------------------------- images


def image_of(root: Path, name: str, subset: str) -> str:
    """Path under the root of an image, where there is a file; else where CVAT would put it."""
    below = [f"images/{subset}/{name}", f"{subset}/{name}"] if subset else []
    candidates = [*below, f"images/{name}", name]
    return next((path for path in candidates if is_file(root / path)), candidates[0])


def as_nodes(items: Sequence[Any]) -> list[Node]:
    """Nodes of a document as kept."""
    return [Node.of(item) for item in items]
