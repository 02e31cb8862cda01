"""XML files ↔ trees of nodes, safely, with the line of every element for messages."""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError  # parsing goes through defusedxml
from xml.sax.saxutils import escape

from segdata.errors import InvalidAnnotation, Unsafe

TEXT, COMMENT, INSTRUCTION = "#text", "#comment", "#instruction"
"""Tags of what stands between elements: text, comments, processing instructions."""

_XML = "http://www.w3.org/XML/1998/namespace"
_IN_ATTRIBUTES = {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}

_DECLARATION = re.compile(rb"""<\?xml[^>]{0,200}?\bencoding\s*=\s*["'](?P<encoding>[\w.:-]{1,40})["']""", re.ASCII)
_EAST_ASIAN = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("shift_jis", "cp932"), "cp932"),
    **{name: name for name in ("euc_jp", "euc_jis_2004", "shift_jis_2004", "iso2022_jp", "iso2022_kr", "hz", "johab")},
    **dict.fromkeys(("big5", "cp950", "big5hkscs"), "big5hkscs"),
    **dict.fromkeys(("euc_kr", "cp949"), "cp949"),
}
"""Codecs of several bytes a character, which expat leaves to us → the wider one in which programs write when they declare it."""

MAX_BYTES = 1 << 24
MAX_DEPTH = 32


@dataclass(slots=True)
class Node:
    """An element of an XML document, or text, a comment or an instruction between elements.

    Attributes:
        tag: the element's name, or `TEXT`, `COMMENT`, `INSTRUCTION`.
        content: the text of a leaf, else the children.
        attributes: the element's attributes.
        line: where it begins, from 1; two nodes on different lines are equal.
    """

    tag: str
    content: str | list[Node]
    attributes: Mapping[str, str] = field(default_factory=dict)
    line: int = field(default=1, compare=False)

    @property
    def is_element(self) -> bool:
        """Whether this is no text, comment or instruction."""
        return self.tag not in (TEXT, COMMENT, INSTRUCTION)

    @property
    def children(self) -> list[Node]:
        """Direct children; none for a leaf."""
        return [] if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str | None:
        """A leaf's text, without blanks around it; None where there are elements inside."""
        if isinstance(self.content, str):
            return self.content.strip()
        if any(child.is_element for child in self.content):
            return None
        return "".join(str(child.content) for child in self.content if child.tag == TEXT).strip()

    def child(self, tag: str) -> Node | None:
        """The first direct child with this tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def text_of(self, tag: str) -> str | None:
        """The text of the first direct child with this tag; None where there is none."""
        child = self.child(tag)
        return None if child is None else child.text

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the order of the document."""
        yield self
        for child in self.children:
            yield from child.walk()

    def as_list(self) -> list[Any]:
        """The node as JSON: `[tag, text]` or `[tag, [nodes…]]`, and attributes as a third item where there are any."""
        content = self.content if isinstance(self.content, str) else [child.as_list() for child in self.content]
        return [self.tag, content, dict(self.attributes)] if self.attributes else [self.tag, content]

    @classmethod
    def of(cls, values: Sequence[Any]) -> Node:
        """The inverse of `as_list`."""
        tag, content, *attributes = values
        return cls(
            tag,
            content if isinstance(content, str) else [cls.of(child) for child in content],
            attributes[0] if attributes else {},
        )


class Tree:
    """A parsed document: its root element, and what stands before and after it; its encoding, where segdata decoded it."""

    def __init__(self) -> None:
        self.encoding = ""
        self.root = Node("", "")
        self.before: list[Node] = []
        self.after: list[Node] = []


@contextlib.contextmanager
def well_formed(path: Path, parser: Any, line: int = 1, data: bytes = b"") -> Iterator[None]:
    """Turn what a parser refuses into errors that name the file and the line.

    Args:
        line: of the file, that the parser's input begins in.
        data: the input, where it is at hand, to say how it is mended.

    Raises:
        Unsafe: a DTD, or an entity.
        InvalidAnnotation: not well-formed.
    """
    from defusedxml.common import DefusedXmlException

    try:
        yield
    except DefusedXmlException as error:
        raise Unsafe(
            "XML with a document type or entities is refused",
            file=path,
            place=f"line {parser.parser.CurrentLineNumber + line - 1}",
            why=type(error).__name__,
            fix="remove the <!DOCTYPE …> part; annotations have none",
        ) from error
    except ParseError as error:
        row, column = error.position
        place, why = f"line {row + line - 1}, column {column + 1}", str(error).split(":")[0]
        raise InvalidAnnotation("XML is malformed", file=path, place=place, why=why, fix=_how_to_mend(data)) from error


def parse(data: bytes, path: Path, line: int = 1) -> Tree:
    """Parse a document, or an element of one; DTDs and entities are refused before anything is expanded.

    Args:
        line: of the file, that the data begin in.

    Raises:
        Unsafe: a DTD, an entity, or more than 16 MiB.
        InvalidAnnotation: not well-formed, nested too deep, or of an encoding that is not known or not its own.
    """
    from defusedxml.ElementTree import DefusedXMLParser

    if len(data) > MAX_BYTES:
        raise Unsafe("annotation is too large", file=path, why=f"{len(data):,} bytes; the limit is {MAX_BYTES:,}")
    tree = Tree()
    builder = _Builder(tree, line - 1)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    builder.expat = parser.parser
    tree.encoding, text = _decoded(data, path)
    try:
        with well_formed(path, parser, line, data):
            parser.feed(data if text is None else text)
            parser.close()
    except (LookupError, ValueError) as error:  # of expat's, on the declared encoding
        raise InvalidAnnotation(
            "XML is of an encoding that is not known",
            file=path,
            place="line 1",
            why=f"it is declared as {_declared(data)!r}: {error}",
            fix="save the file as UTF-8, and declare that",
        ) from error
    except _TooDeep as error:
        raise InvalidAnnotation(
            "XML is nested too deep",
            file=path,
            place=f"line {parser.parser.CurrentLineNumber + line - 1}",
            why=f"more than {MAX_DEPTH} levels",
        ) from error
    return tree


def _declared(data: bytes) -> str:
    """The encoding that a document's first line declares, in lower case; "" for none."""
    match = _DECLARATION.match(data)
    return match["encoding"].decode().lower() if match else ""


def _decoded(data: bytes, path: Path) -> tuple[str, str | None]:
    """Encoding and text of a document in one of those that expat does not know; the encoding and nothing else decides."""
    declared = _declared(data)
    try:
        encoding = codecs.lookup(declared).name if declared else ""
    except LookupError:
        return "", None
    if encoding not in _EAST_ASIAN:
        return "", None
    try:
        return declared, data.decode(encoding)
    except UnicodeDecodeError as error:
        wider = _EAST_ASIAN[encoding]
        try:
            return declared, data.decode(wider)
        except UnicodeDecodeError:
            pass
        raise InvalidAnnotation(
            "XML is not of the encoding that it declares",
            file=path,
            place=f"line {data[: error.start].count(10) + 1}",
            why=f"it is declared as {declared!r}; byte {error.start} is not of it",
            fix="write the right encoding into the first line, or save the file as UTF-8, and declare that",
        ) from error


def _how_to_mend(data: bytes) -> str:
    """What to do about a document that is not well-formed."""
    if _declared(data) in ("", "utf-8", "utf8"):
        try:
            data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return (
                "it is not UTF-8, which XML is unless it says otherwise: declare its encoding in a first line "
                '<?xml version="1.0" encoding="windows-1252"?> (or gbk, shift_jis …), or save it as UTF-8'
            )
    return "correct the XML at this place"


def element(node: Node) -> str:
    """The text of an element, indented with tabs, without a line break after it."""
    return _written(node)


def serialise(node: Node, before: Sequence[Node] = (), after: Sequence[Node] = ()) -> bytes:
    """The document's text, indented with tabs as the official files are."""
    return "".join(f"{_written(item)}\n" for item in (*before, node, *after)).encode("utf-8", "xmlcharrefreplace")


class _TooDeep(Exception):
    pass


class _Builder:
    """Collects nodes while expat reads."""

    def __init__(self, tree: Tree, lines_before: int) -> None:
        self._tree = tree
        self._lines_before = lines_before
        self._has_root = False
        self._open: list[tuple[Node, list[Node]]] = []
        self._texts: list[str] = []
        self.expat: Any = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _TooDeep
        node = Node(tag, "", dict(attributes), self.expat.CurrentLineNumber + self._lines_before)
        if self._open:
            self._keep_text()
            self._open[-1][1].append(node)
        else:
            self._tree.root, self._has_root = node, True
        self._open.append((node, []))
        self._texts = []

    def data(self, data: str) -> None:
        self._texts.append(data)

    def comment(self, comment: str) -> None:
        self._beside(Node(COMMENT, comment))

    def pi(self, target: str, data: str | None = None) -> None:
        self._beside(Node(INSTRUCTION, f"{target} {data}" if data else target))

    def _beside(self, node: Node) -> None:
        """Add a comment or an instruction, inside or outside of the root."""
        if self._open:
            self._keep_text()
            self._open[-1][1].append(node)
        else:
            (self._tree.after if self._has_root else self._tree.before).append(node)

    def end(self, tag: str) -> None:
        node, inner = self._open.pop()
        if inner:
            self._keep_text(inner)
            node.content = inner
        else:
            node.content = "".join(self._texts)
        self._texts = []

    def close(self) -> None:
        pass

    def _keep_text(self, inner: list[Node] | None = None) -> None:
        """Text between children; blanks there are layout."""
        if "".join(self._texts).strip():
            (self._open[-1][1] if inner is None else inner).append(Node(TEXT, "".join(self._texts)))
        self._texts = []


def _written(node: Node, depth: int = 0) -> str:
    """Serialise a node; each child begins on a line of its own, unless there is text between them."""
    if node.tag == COMMENT:
        return f"<!--{node.content}-->"
    if node.tag == INSTRUCTION:
        return f"<?{node.content}?>"
    is_plain = not node.attributes and node.tag[0] != "{"
    name, opening = (node.tag, node.tag) if is_plain else _opening(node.tag, node.attributes)
    if not node.content:
        return f"<{opening} />"
    if isinstance(node.content, str):
        return f"<{opening}>{escape(node.content)}</{name}>"
    parts: list[str] = []
    line = "\n" + "\t" * (depth + 1)
    before, after = line, line[:-1]
    for child in node.content:
        if child.tag == TEXT:
            before = after = escape(str(child.content))
        else:
            parts += (before, _written(child, depth + 1))
            before, after = line, line[:-1]
    return f"<{opening}>{''.join(parts)}{after}</{name}>"


def _opening(tag: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    """An element's name and the text between its brackets; namespaces ({URI}name) get prefixes."""
    prefixes = {_XML: "xml"}

    def plain(name: str) -> str:
        if name[0] != "{":
            return name
        space, _, name = name[1:].partition("}")
        return f"{prefixes.setdefault(space, f'ns{len(prefixes) - 1}')}:{name}"

    name = plain(tag)
    named = {plain(key): value for key, value in attributes.items()}
    named |= {f"xmlns:{prefix}": space for space, prefix in prefixes.items() if space != _XML}
    return name, " ".join((name, *(f'{key}="{escape(value, _IN_ATTRIBUTES)}"' for key, value in named.items())))
