"""Cut the text of a query into tokens, and point at a part of it in errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from segdata.errors import InvalidQuery

MOST_CHARACTERS = 100_000
"""Of a query; a list of some thousand keys fits."""

_SHOWN = 60
"""Characters of the query that errors show before and behind what they point at."""

Span = tuple[int, int]
"""Where something stands in the text, half-open."""

_PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d[\d_]*(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<word>[^\W\d]\w*(?:\.[^\W\d]\w*)?)
  | (?P<sign>==|!=|<>|<=|>=|&&|\|\||\*\*|\.\.|[-+*/()\[\]<>=!,&|])
    """,
    re.VERBOSE | re.DOTALL,
)

_SAME = {"=": "==", "<>": "!=", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "[": "(", "]": ")"}
"""Signs of other languages → ours."""

WORDS = ("and", "or", "not", "in", "like", "none", "true", "false")
"""Words that are no names of fields, in small or capital letters."""


@dataclass(frozen=True)
class Token:
    """A part of the text.

    Attributes:
        kind: "sign" stands for words of the language, too.
        value: the word, the sign, the number as it is written, or the text without its quotes.
        span: where it stands.
    """

    kind: Literal["number", "text", "word", "sign", "end"]
    value: str
    span: Span


def mistake(text: str, span: Span, message: str, *, why: str | None = None, fix: str | None = None) -> InvalidQuery:
    """The error of a part of a query, which it shows."""
    begin, end = span
    first = max(begin - _SHOWN, 0)
    part = "".join(character if character.isprintable() else " " for character in text[first : end + _SHOWN])
    marks = " " * (begin - first) + "^" * max(min(end, first + len(part)) - begin, 1)
    shown = "\n          ".join([f"column {begin + 1} of the query", part, marks] if part.strip() else ["the query"])
    return InvalidQuery(message, columns=(begin + 1, max(end, begin + 1)), place=shown, why=why, fix=fix)


def tokens(text: str) -> list[Token]:
    """All tokens of a query, the last of kind "end".

    Raises:
        InvalidQuery: a character that begins no token, a text without its second quote, or too long a query.
    """
    if len(text) > MOST_CHARACTERS:
        raise mistake(text, (0, 1), f"the query has {len(text):,} characters; {MOST_CHARACTERS:,} are read")
    result: list[Token] = []
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            raise _no_token(text, position)
        position = match.end()
        if match.lastgroup != "space":
            result.append(_token(match))
    return [*result, Token("end", "the end", (len(text), len(text)))]


def _token(match: re.Match[str]) -> Token:
    kind, value = match.lastgroup, match[0]
    if kind == "number":
        return Token("number", value.replace("_", ""), match.span())
    if kind == "text":
        return Token("text", re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL), match.span())
    if kind == "word" and value.lower() not in WORDS:
        return Token("word", value, match.span())
    return Token("sign", _SAME.get(value, value.lower()), match.span())


def _no_token(text: str, position: int) -> InvalidQuery:
    character = text[position]
    if character in "'\"":
        message, fix = "this text does not end", f"close it with another {character}"
        return mistake(text, (position, len(text)), message, fix=fix)
    fixes = {"~": "write like 'frankfurt*': * stands for any characters, ? for one", "%": "write % within quotes"}
    return mistake(
        text, (position, position + 1), f"{character!r} has no meaning here", fix=fixes.get(character, "leave it out")
    )
