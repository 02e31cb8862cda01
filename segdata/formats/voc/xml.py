"""PASCAL VOC's XML ↔ plain trees, safely, with the line of every element for messages.

A *node* is `[tag, text]` for a leaf and `[tag, [nodes…]]` otherwise, with a third item for attributes where there are any.
Text, comments and processing instructions between elements are nodes with the tags `TEXT`, `COMMENT` and `INSTRUCTION`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError  # parsing goes through defusedxml
from xml.sax.saxutils import escape

from segdata.errors import InvalidAnnotation, Unsafe

Node = list[Any]
TEXT, COMMENT, INSTRUCTION = "#text", "#comment", "#instruction"

_XML = "http://www.w3.org/XML/1998/namespace"
_IN_ATTRIBUTES = {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}

MAX_BYTES = 1 << 24
MAX_DEPTH = 32


class Tree:
    """A parsed document: its root node, what stands before and after it, and the line on which each node begins."""

    def __init__(self) -> None:
        self.root: Node = []
        self.before: list[Node] = []
        self.after: list[Node] = []
        self._lines: dict[int, int] = {}

    def line(self, node: Node) -> str:
        """`line 12`, for messages."""
        return f"line {self._lines.get(id(node), 1)}"


def parse(data: bytes, path: Path) -> Tree:
    """Parse a document; DTDs and entities are refused before anything is expanded.

    Raises:
        Unsafe: a DTD, an entity, or more than 16 MiB.
        InvalidAnnotation: not well-formed, or nested too deep.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    if len(data) > MAX_BYTES:
        raise Unsafe("annotation is too large", file=path, why=f"{len(data):,} bytes; the limit is {MAX_BYTES:,}")
    tree = Tree()
    builder = _Builder(tree)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    builder.expat = parser.parser
    try:
        parser.feed(data)
        parser.close()
    except DefusedXmlException as error:
        raise Unsafe(
            "XML with a document type or entities is refused",
            file=path,
            place=f"line {parser.parser.CurrentLineNumber}",
            why=type(error).__name__,
            fix="remove the <!DOCTYPE …> part; VOC annotations have none",
        ) from error
    except ParseError as error:
        line, column = error.position
        raise InvalidAnnotation(
            "XML is malformed",
            file=path,
            place=f"line {line}, column {column + 1}",
            why=str(error).split(":")[0],
        ) from error
    except _TooDeep as error:
        raise InvalidAnnotation(
            "XML is nested too deep",
            file=path,
            place=f"line {parser.parser.CurrentLineNumber}",
            why=f"more than {MAX_DEPTH} levels",
        ) from error
    return tree


def serialise(node: Node, before: Sequence[Node] = (), after: Sequence[Node] = ()) -> bytes:
    """The document's text, indented with tabs as the official files are."""
    return "".join(f"{_written(item)}\n" for item in (*before, node, *after)).encode("utf-8", "xmlcharrefreplace")


def child(node: Node, tag: str) -> Node | None:
    """The first direct child with this tag."""
    return next((item for item in children(node) if item[0] == tag), None)


def children(node: Node) -> list[Node]:
    """Direct children; none for a leaf."""
    return node[1] if isinstance(node[1], list) else []


def text(node: Node | None) -> str | None:
    """A leaf's text, without blanks around it."""
    if node is None or any(item[0] not in (TEXT, COMMENT, INSTRUCTION) for item in children(node)):
        return None
    texts = [node[1]] if isinstance(node[1], str) else [item[1] for item in node[1] if item[0] == TEXT]
    return "".join(texts).strip()


def attributes(node: Node) -> dict[str, str]:
    """An element's attributes."""
    return node[2] if len(node) > 2 else {}


def beside(nodes: Sequence[Node | str]) -> Iterator[str]:
    """The tags of everything among and below some nodes that is no element: `TEXT`, `COMMENT`, `INSTRUCTION`."""
    for node in nodes:
        if not isinstance(node, str):
            if node[0] in (TEXT, COMMENT, INSTRUCTION):
                yield node[0]
            yield from beside(children(node))


def count_attributes(nodes: Sequence[Node | str]) -> int:
    """How many attributes some nodes and those below them have."""
    return sum(len(attributes(node)) + count_attributes(children(node)) for node in nodes if not isinstance(node, str))


class _TooDeep(Exception):
    pass


class _Builder:
    """Collects nodes while expat reads."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._open: list[tuple[Node, list[Node]]] = []
        self._texts: list[str] = []
        self.expat: Any = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _TooDeep
        node: Node = [tag, "", dict(attributes)] if attributes else [tag, ""]
        self._tree._lines[id(node)] = self.expat.CurrentLineNumber
        if self._open:
            self._keep_text()
            self._open[-1][1].append(node)
        else:
            self._tree.root = node
        self._open.append((node, []))
        self._texts = []

    def data(self, data: str) -> None:
        self._texts.append(data)

    def comment(self, comment: str) -> None:
        self._beside([COMMENT, comment])

    def pi(self, target: str, data: str | None = None) -> None:
        self._beside([INSTRUCTION, f"{target} {data}" if data else target])

    def _beside(self, node: Node) -> None:
        """Something that is no element, wherever it stands."""
        if self._open:
            self._keep_text()
            self._open[-1][1].append(node)
        else:
            (self._tree.after if self._tree.root else self._tree.before).append(node)

    def end(self, tag: str) -> None:
        node, inner = self._open.pop()
        if inner:
            self._keep_text(inner)
            node[1] = inner
        else:
            node[1] = "".join(self._texts)
        self._texts = []

    def close(self) -> None:
        pass

    def _keep_text(self, inner: list[Node] | None = None) -> None:
        """Text between children; blanks there are layout."""
        if "".join(self._texts).strip():
            (self._open[-1][1] if inner is None else inner).append([TEXT, "".join(self._texts)])
        self._texts = []


def _written(node: Node, depth: int = 0) -> str:
    """A node as text; what is inside begins a line of its own, unless there is text."""
    tag, content = node[0], node[1]
    if tag == COMMENT:
        return f"<!--{content}-->"
    if tag == INSTRUCTION:
        return f"<?{content}?>"
    name, opening = (tag, tag) if len(node) == 2 and tag[0] != "{" else _opening(tag, attributes(node))
    if not content:
        return f"<{opening} />"
    if isinstance(content, str):
        return f"<{opening}>{escape(content)}</{name}>"
    parts: list[str] = []
    line = "\n" + "\t" * (depth + 1)
    before, after = line, line[:-1]
    for item in content:
        if item[0] == TEXT:
            before = after = escape(item[1])
        else:
            parts += (before, _written(item, depth + 1))
            before, after = line, line[:-1]
    return f"<{opening}>{''.join(parts)}{after}</{name}>"


def _opening(tag: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    """The name of an element, and what stands between its brackets; namespaces ({URI}name) are named here."""
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
