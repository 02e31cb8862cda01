"""Label files: a line an object, its class and numbers that are shares of the upright image's width and height.

    CLASS cx cy w h                 a box: centre and size
    CLASS x1 y1 x2 y2 x3 y3 …       an outline

Where a line of a file has more than 6 words, all lines of the file are outlines.

What of a file's text does not follow from the numbers is kept: `style` of an image tells how its numbers are written, an
object has its `text` where that style does not give it back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from segdata.core.arrays import FloatArray
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.yolo import numbers

MOST_BYTES = 1 << 24
_HIGH, _LOW = 1.01, -0.01
"""Limits of centres and sizes; Ultralytics leaves out images beyond them."""

_DUPLICATE = "line that repeats another one: one object"
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Row:
    """One object of a label file.

    Attributes:
        line: its line, from 0.
        text: as written.
        category: index of its class.
        values: cx cy w h of a box, else x1 y1 x2 y2 … of an outline.
        again: further lines that say the same, with their text.
    """

    line: int
    text: str
    category: int
    values: Sequence[float]
    again: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class LabelText:
    """A label file.

    Attributes:
        rows: its objects.
        are_outlines: whether they are outlines, or boxes.
        residue: what `write` takes to give the file back, beside the objects.
    """

    rows: Sequence[Row]
    are_outlines: bool
    residue: dict[str, Any]


@dataclass(frozen=True)
class Where:
    """Which label file is read, and what its numbers may be.

    Attributes:
        path, key: for messages.
        index_of: number of a class → its category.
        keypoints: numbers behind a box, 0 where there are none.
    """

    path: Path
    key: str
    index_of: Mapping[int, int]
    keypoints: int = 0

    def error(self, line: int, message: str, why: str, fix: str) -> InvalidAnnotation:
        """What is wrong with a line, counted from 0."""
        return InvalidAnnotation(message, file=self.path, key=self.key, place=f"line {line + 1}", why=why, fix=fix)


# ---------------------------------------------------------------------- read


def read(content: bytes, where: Where, findings: Findings) -> LabelText:
    """The objects of a label file; lines that are not valid go to `findings`.

    Raises:
        InvalidAnnotation: no text of numbers at all.
    """
    if len(content) > MOST_BYTES:
        why = f"{len(content):,} bytes; at most {MOST_BYTES:,} are read"
        raise InvalidAnnotation("this is larger than any label file", file=where.path, key=where.key, why=why)
    residue: dict[str, Any] = {}
    if content.startswith(_MARK):
        residue["bom"], content = True, content[len(_MARK) :]
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        why = f"byte {error.start + 1} is {content[error.start : error.start + 1]!r}, where numbers are expected"
        fix = "save the file as plain text"
        raise InvalidAnnotation(
            "a label file is no text of numbers", file=where.path, key=where.key, why=why, fix=fix
        ) from error
    newline = "\n" if "\n" in text or "\r" not in text else "\r"
    if newline == "\n" and text.count("\r\n") == text.count("\n") > 0:
        newline = "\r\n"
    lines = text.split(newline)
    ending = "" if lines[-1] else newline
    lines = lines if lines[-1] else lines[:-1]
    words = {number: line.split() for number, line in enumerate(lines)}
    blank = [[number, lines[number]] for number, parts in words.items() if not parts]
    words = {number: parts for number, parts in words.items() if parts}
    are_outlines = not where.keypoints and any(len(parts) > 6 for parts in words.values())
    rows = list(_rows(lines, words, where, findings, are_outlines=are_outlines))
    residue |= {"newline": newline} if newline != "\n" else {}
    residue |= {"end": ending} if ending != newline and (lines or ending) else {}
    residue |= {"blank": blank} if blank else {}
    if rows:
        residue["style"] = numbers.style_of(rows[0].text.split()[1:], rows[0].values)
    return LabelText(rows, are_outlines, residue)


def _rows(
    lines: Sequence[str],
    words: Mapping[int, Sequence[str]],
    where: Where,
    findings: Findings,
    *,
    are_outlines: bool,
) -> Iterator[Row]:
    first_of: dict[tuple[int, ...], Row] = {}
    for number, parts in words.items():
        try:
            category, values = _checked(number, parts, where, findings, are_outlines=are_outlines)
        except InvalidAnnotation as error:
            findings.skip(error)
            continue
        same = first_of.get(mark := (category, hash(values)))
        if same is not None and same.values == values:
            findings.remark(_DUPLICATE, f"{where.key}: lines {same.line + 1} and {number + 1}")
            same.again.append([number, lines[number]])
            continue
        row = Row(number, lines[number], category, values)
        first_of[mark] = row
        yield row


def _checked(
    number: int, words: Sequence[str], where: Where, findings: Findings, *, are_outlines: bool
) -> tuple[int, tuple[float, ...]]:
    """Category and numbers of a line.

    Raises:
        InvalidAnnotation: see the messages.
    """
    category = _category(number, words[0], where)
    count = len(words) - 1
    if are_outlines and count == 4:
        raise where.error(
            number,
            "five words among outlines",
            "the file has outlines, so that this is not read as a box: Ultralytics takes it for an outline of two "
            "points, or leaves out the whole image",
            "write the four corners of the box, or remove the line",
        )
    if are_outlines and (count % 2 or count < 6):
        raise where.error(
            number,
            "an outline has no pairs of numbers" if count % 2 else "an outline has fewer than three points",
            f"expected a class and x y for each of three points or more, found {count} numbers behind the class",
            "correct the line; a confidence at its end (save_conf) has to go" if count % 2 else "correct the line",
        )
    if not are_outlines and count != 4 + where.keypoints and not (where.keypoints and count == 4):
        behind = f" and {where.keypoints} numbers of keypoints" if where.keypoints else ""
        raise where.error(
            number,
            "a line is no box",
            f"expected a class and centre x, centre y, width, height{behind}; found {count} numbers behind the class",
            "correct the line; a confidence at its end (save_conf) has to go" if count == 5 else "correct the line",
        )
    try:
        values = tuple(map(float, words[1:]))
    except ValueError as error:
        raise where.error(number, "a line holds no numbers", str(error)[:80], "correct the line") from error
    if not all(map(math.isfinite, values)):
        raise where.error(number, "a number is not finite", " ".join(words)[:80], "correct the line")
    _require_shares(number, values if are_outlines else values[:4], where, findings, are_outlines=are_outlines)
    return category, values if are_outlines else values[:4]


def _category(number: int, word: str, where: Where) -> int:
    match = re.fullmatch(r"(\d{1,9})(\.0*)?", word)
    category = None if match is None else where.index_of.get(int(match[1]))
    if category is None:
        known = where.index_of
        there = f"there are {len(known)} classes, {min(known)} … {max(known)}" if known else "there are no classes"
        raise where.error(
            number,
            "a class is out of range",
            f"found {word[:20]!r}; {there}",
            "correct the line, or add the class to names",
        )
    return category


def _require_shares(
    number: int, values: Sequence[float], where: Where, findings: Findings, *, are_outlines: bool
) -> None:
    """Check that numbers are shares of the image: centre and size of a box, or of the box around an outline."""
    box = values
    if are_outlines:
        x, y = values[0::2], values[1::2]
        low, high = (min(x), min(y)), (max(x), max(y))
        box = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[0] - low[0], high[1] - low[1])
        if min(low) < _LOW or max(high) > _HIGH:
            findings.remark("outline that reaches out of the image: what is outside is cut off", where.key)
    if max(box) > _HIGH or min(box[:2]) < _LOW or min(box[2:]) < 0:
        worst = max(values) if max(box) > _HIGH else min(values)
        raise where.error(
            number,
            "coordinates are no shares of the image",
            f"expected 0 … 1 (of its width and height), found {worst:g}"
            + (": this looks like pixels" if worst > 2 else ""),
            "divide x by the image's width and y by its height, or remove the line",
        )


# ---------------------------------------------------------------------- write


class Written(NamedTuple):
    """One object to write.

    Attributes:
        line: its place among the lines.
        number: of its class.
        values: as `Row` has them.
        text: of the values, as the style of its file has it.
        residue: what was kept of its line.
    """

    line: int
    number: int
    values: FloatArray
    text: str
    residue: Mapping[str, Any]


def residue_of(row: Row, number: int, text: str) -> dict[str, Any]:
    """What the columns would not give back of an object's line.

    Args:
        number: of its class.
        text: of its numbers, from the columns.
    """
    residue: dict[str, Any] = {"again": row.again} if row.again else {}
    if f"{number} {text}" != row.text:
        residue["text"] = row.text
    return residue


def text_of(objects: Iterable[Written], residue: Mapping[str, Any]) -> bytes:
    """A label file."""
    lines = [(number, text) for number, text in residue.get("blank", ())]
    for item in objects:
        lines.append((item.line, _line(item, item.residue.get("text"))))
        lines += [(number, _line(item, text)) for number, text in item.residue.get("again", ())]
    lines.sort(key=_line_number)
    newline = str(residue.get("newline", "\n"))
    text = newline.join([text for _, text in lines])
    if lines or "end" in residue:
        text += str(residue.get("end", newline))
    return (_MARK if residue.get("bom") else b"") + text.encode("ascii", "replace")


_line_number = itemgetter(0)


def _line(item: Written, text: str | None) -> str:
    """The line as it was where it still says the same; its class may have another number by now."""
    words = text.split() if text is not None else []
    if text is None or not _says_the_same(words[1:], item.values.tolist()):
        return f"{item.number} {item.text}"
    if float(words[0]) != item.number:
        return re.sub(r"\S+", str(item.number), text, count=1)
    return text


def _says_the_same(words: Sequence[str], values: Sequence[float]) -> bool:
    """Whether the numbers of a kept text are still those of the columns."""
    try:
        numbers = [float(word) for word in words[: len(values)]]
    except ValueError:
        return False
    return len(numbers) == len(values) and all(abs(a - b) < 1e-9 for a, b in zip(numbers, values, strict=True))
