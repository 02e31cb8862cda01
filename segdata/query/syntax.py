"""The tree of a query; what its names mean is not looked at here.

condition  = and {"or" and}
and        = not {"and" not}
not        = "not" not | comparison
comparison = sum {("==" | "!=" | "<" | "<=" | ">" | ">=") sum}
           | sum ["not"] "in" "(" item {"," item} ")" | sum ["not"] "in" sum ".." sum | sum ["not"] "like" text
item       = sum [".." sum]
sum        = product {("+" | "-") product}
product    = sign {("*" | "/") sign}
sign       = {"-" | "+"} power
power      = value ["**" sign]
value      = number | text | word | "none" | "true" | "false" | word "(" [condition] ")" | "(" condition ")"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segdata.errors import InvalidQuery
from segdata.query.tokens import Span, Token, mistake, tokens

MOST_DEEP = 50
"""Brackets, `not`s, signs and powers within each other."""

_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")


@dataclass(frozen=True)
class Constant:
    """A number, a text, True, False or None."""

    span: Span
    value: int | float | str | bool | None


@dataclass(frozen=True)
class Name:
    """A word: a field, or a text without quotes where a text is expected."""

    span: Span
    name: str


@dataclass(frozen=True)
class Logic:
    """Conditions that all hold ("and"), or of which one does ("or"); "not" has one."""

    span: Span
    operator: str
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Arithmetic:
    """A number, and what is added, subtracted, multiplied … one after another; "**" has one such."""

    span: Span
    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Compared:
    """Values with a comparison between any two neighbours."""

    span: Span
    values: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """From a number to a number, both included."""

    span: Span
    low: Node
    high: Node


@dataclass(frozen=True)
class Among:
    """Whether a value is one of the items."""

    span: Span
    value: Node
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Like:
    """Whether a text is as a pattern with `*` and `?`."""

    span: Span
    value: Node
    pattern: Token


@dataclass(frozen=True)
class Call:
    """`any(…)`, `all(…)`, `count(…)`; without a condition, all objects are meant."""

    span: Span
    name: str
    condition: Node | None


Node = Constant | Name | Logic | Arithmetic | Compared | Range | Among | Like | Call


def parsed(text: str) -> Node:
    """The tree of a query.

    Raises:
        InvalidQuery: with the column of what is wrong, and what was expected there.
    """
    return _Parser(text).whole()


class _Parser:
    """Goes over the tokens once, by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.position = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def whole(self) -> Node:
        if self.token.kind == "end":
            raise mistake(self.text, (0, 0), "the query is empty", fix="write a condition: any(category == 'dog')")
        node = self.condition()
        if self.position < len(self.tokens) - 1:
            raise self.unexpected("and, or, or the end of the query")
        return node

    # ------------------------------------------------------------------ conditions

    def condition(self) -> Node:
        return self.joined("or", lambda: self.joined("and", self.negated))

    def joined(self, operator: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self.takes(operator):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Logic(_over(*parts), operator, tuple(parts))

    def negated(self) -> Node:
        begin = self.token.span
        if not self.takes("not"):
            return self.comparison()
        part = self.deeper(self.negated)
        return Logic(_between(begin, part.span), "not", (part,))

    def comparison(self) -> Node:
        value = self.sum()
        is_negated = self.token.value == "not" and self.tokens[self.position + 1].value in ("in", "like")
        if is_negated:
            self.position += 1
        node: Node
        if self.takes("in"):
            node = self.among(value)
        elif self.takes("like"):
            pattern = self.token
            if pattern.kind not in ("text", "word"):
                raise self.unexpected("a text in quotes with * and ?: 'frankfurt*'")
            self.position += 1
            node = Like(_between(value.span, pattern.span), value, pattern)
        else:
            return self.compared(value)
        return Logic(node.span, "not", (node,)) if is_negated else node

    def compared(self, value: Node) -> Node:
        values, operators = [value], []
        while self.token.kind == "sign" and self.token.value in _COMPARISONS:
            operators.append(self.token.value)
            self.position += 1
            values.append(self.sum())
        return Compared(_over(*values), tuple(values), tuple(operators)) if operators else value

    def among(self, value: Node) -> Node:
        if not self.takes("("):
            item = self.item()
            if not isinstance(item, Range):
                what = self.text[slice(*item.span)]
                raise mistake(
                    self.text, item.span, "after in stands a list or a range", fix=f"write in ({what}), or in 1..5"
                )
            return Among(_over(value, item), value, (item,))
        items = [self.item()]
        while self.takes(","):
            if self.token.value == ")":
                break
            items.append(self.item())
        if self.token.value == ".." and len(items) == 1:  # (1 + 2)..5
            raise mistake(self.text, items[0].span, "a range begins with a number", fix="write in 1..5")
        end = self.expect(")", "a comma or a closing bracket")
        return Among(_between(value.span, end), value, tuple(items))

    def item(self) -> Node:
        low = self.sum()
        if not self.takes(".."):
            return low
        high = self.sum()
        return Range(_over(low, high), low, high)

    # ------------------------------------------------------------------ numbers

    def sum(self) -> Node:
        return self.chain(("+", "-"), lambda: self.chain(("*", "/"), self.signed))

    def chain(self, operators: tuple[str, ...], part: Callable[[], Node]) -> Node:
        first = part()
        rest = []
        while self.token.kind == "sign" and self.token.value in operators:
            operator = self.token.value
            self.position += 1
            rest.append((operator, part()))
        return Arithmetic(_over(first, rest[-1][1]), first, tuple(rest)) if rest else first

    def signed(self) -> Node:
        begin = self.token.span
        if self.takes("+"):
            return self.deeper(self.signed)
        if not self.takes("-"):
            return self.power()
        value = self.deeper(self.signed)
        span = _between(begin, value.span)
        if isinstance(value, Constant) and type(value.value) in (int, float):
            return Constant(span, -value.value)  # type: ignore[operator]
        return Arithmetic(span, Constant(begin, 0), (("-", value),))

    def power(self) -> Node:
        value = self.value()
        if not self.takes("**"):
            return value
        exponent = self.deeper(self.signed)
        return Arithmetic(_over(value, exponent), value, (("**", exponent),))

    def value(self) -> Node:
        token = self.token
        if token.kind == "number":
            self.position += 1
            return Constant(token.span, _number(token.value))
        if token.kind == "text":
            self.position += 1
            return Constant(token.span, token.value)
        if token.kind == "word":
            self.position += 1
            return self.call(token) if self.token.value == "(" else Name(token.span, token.value)
        if token.kind == "sign" and token.value in _CONSTANTS:
            self.position += 1
            return Constant(token.span, _CONSTANTS[token.value])
        if self.takes("("):
            node = self.deeper(self.condition)
            self.expect(")", "a closing bracket")
            return node
        raise self.unexpected("a field, a number, a text in quotes, or a bracket")

    def call(self, name: Token) -> Node:
        self.expect("(", "a bracket")
        condition = None if self.token.value == ")" else self.deeper(self.condition)
        return Call(_between(name.span, self.expect(")", "a closing bracket")), name.value, condition)

    # ------------------------------------------------------------------ tokens

    def takes(self, sign: str) -> bool:
        """Go on where the token is this sign or word."""
        is_there = self.token.kind == "sign" and self.token.value == sign
        self.position += is_there
        return is_there

    def expect(self, sign: str, what: str) -> Span:
        """Go on behind this sign, which must be here; returns where it stands."""
        span = self.token.span
        if not self.takes(sign):
            raise self.unexpected(what)
        return span

    def unexpected(self, expected: str) -> InvalidQuery:
        token, before = self.token, self.tokens[self.position - 1]
        what = "the query ends here" if token.kind == "end" else f"{self.text[slice(*token.span)]!r} is unexpected here"
        fix = None
        if before.kind == token.kind == "word":
            fix = f"a text of several words stands in quotes: '{before.value} {token.value}'"
        elif token.value == "..":
            fix = "a range stands after in: width in 100..200"
        return mistake(self.text, token.span, what, why=f"expected {expected}", fix=fix)

    def deeper(self, part: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MOST_DEEP:
            raise mistake(self.text, self.token.span, f"more than {MOST_DEEP} brackets or signs within each other")
        node = part()
        self.depth -= 1
        return node


_CONSTANTS = {"none": None, "true": True, "false": False}


def _number(text: str) -> int | float:
    """A whole number that a column of 64 bits can hold stays whole."""
    if text.isdigit() and len(text) < 20 and int(text) < 1 << 63:
        return int(text)
    return float(text)


def _between(begin: Span, end: Span) -> Span:
    return begin[0], end[1]


def _over(*nodes: Node) -> Span:
    return _between(nodes[0].span, nodes[-1].span)
