"""Comparisons of fields that have texts: a category, a split, a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate

import numpy as np

from segdata.core.arrays import BoolArray
from segdata.errors import close_names, number_of
from segdata.query.fields import Of
from segdata.query.syntax import Constant, Name, Node, Range
from segdata.query.tokens import Token, mistake
from segdata.query.values import Names, Value


@dataclass(frozen=True)
class TextField:
    """A field that has texts.

    Attributes:
        query: the text of the query, for errors.
        names: those that texts are compared with.
    """

    name: str
    of: Of
    query: str
    names: Names

    def equal(self, items: Sequence[Node]) -> Value:
        """Whether the field is one of the items: texts, words without quotes, none, and of a category its number.

        Raises:
            InvalidQuery: an item that the field can never be, with close ones.
        """
        texts = self.names.of(self.name)
        if texts is None:
            wanted = frozenset(self._text(item) for item in items)
            return self._of_texts(wanted.__contains__)
        is_meant = np.zeros(len(texts), bool)
        has_none = False
        for item in items:
            if isinstance(item, Constant) and item.value is None:
                has_none = True
                is_meant |= np.array([text is None for text in texts], bool)
            else:
                is_meant |= self._of_item(item, texts)
        if self.name == "split" and has_none:
            is_in_any = self._listed(np.ones(len(texts), bool)).run
            meant = self._listed(is_meant).run
            return Value("flag", self.of, lambda table: ~is_in_any(table) | meant(table))
        return self._listed(is_meant)

    def like(self, pattern: Token) -> Value:
        """Whether the field is as a pattern with `*`, `?` and `[…]`; the time it takes grows with the text alone."""
        if "%" in pattern.value and not set("*?[") & set(pattern.value):
            fix = f"write like {pattern.value.replace('%', '*')!r}"
            raise mistake(self.query, pattern.span, "% stands for itself: * stands for any characters", fix=fix)
        matches = re.compile(translate(pattern.value)).match
        texts = self.names.of(self.name)
        if texts is None:
            return self._of_texts(lambda text: matches(text) is not None)
        return self._listed(np.array([text is not None and matches(text) is not None for text in texts], bool))

    # ------------------------------------------------------------------ what is computed

    def _of_texts(self, is_meant: Callable[[str], bool]) -> Value:
        name = self.name
        return Value(
            "flag", self.of, lambda table: np.fromiter(map(is_meant, table.texts(name)), bool, len(table.pointer) - 1)
        )

    def _listed(self, is_meant: BoolArray) -> Value:
        name = "category" if self.name == "supercategory" else self.name
        return Value("flag", self.of, lambda table: table.among(self.of, name, is_meant))

    # ------------------------------------------------------------------ items

    def _of_item(self, item: Node, texts: Sequence[str | None]) -> BoolArray:
        """(K,) bool, which of the listed texts an item means."""
        if self.name == "category" and (isinstance(item, Range) or _number(item) is not None):
            return self._of_ids(item)
        text = self._text(item)
        is_meant = np.array([each == text for each in texts], bool)
        if not is_meant.any():
            listed = [each for each in dict.fromkeys(texts) if each is not None]
            raise mistake(
                self.query,
                item.span,
                f"there is no {self.name} {text!r}",
                why=_first(listed, self.name),
                fix=meant(text, listed),
            )
        return is_meant

    def _of_ids(self, item: Node) -> BoolArray:
        """(K,) bool, the categories of a number, or of a range of numbers."""
        low, high = (item.low, item.high) if isinstance(item, Range) else (item, item)
        first, last = _number(low), _number(high)
        if first is None or last is None:
            raise mistake(self.query, item.span, "a range of categories is one of their numbers", fix="write 1..20")
        ids = [category.id for category in self.names.labels.categories]
        is_meant = np.array([first <= number <= last for number in ids], bool)
        if not is_meant.any():
            fix = "a name that is a number stands in quotes; segdata info PACK --json has the numbers"
            what = self.query[slice(*item.span)]
            raise mistake(
                self.query, item.span, f"no category has the number {what}", why=_first(ids, "number"), fix=fix
            )
        return is_meant

    def _text(self, item: Node) -> str:
        """The text of an item: in quotes, or one word or number without them."""
        written = self.query[slice(*item.span)]
        if isinstance(item, Constant) and isinstance(item.value, str):
            return item.value
        if isinstance(item, Name) or _number(item) is not None:
            return written
        fix = None if isinstance(item, Constant) else f"put it in quotes: {written!r}"
        raise mistake(self.query, item.span, f"a {self.name} is compared with a text", fix=fix)


def meant(name: str, known: Sequence[str]) -> str | None:
    """Which of the known names may be meant, as what to do."""
    same = [other for other in known if other.casefold() == name.casefold()]
    swapped = [other for other in known if sorted(other) == sorted(name)]  # too few letters to be close: dgo, dog
    close = same or close_names(name, known) or swapped[:3]
    return f"did you mean {' or '.join(map(repr, close))}?" if close else None


def _first(values: Sequence[object], noun: str) -> str:
    more = f", … {number_of(len(values), noun)} in all" if len(values) > 12 else ""
    return f"there are {', '.join(map(repr, values[:12])) or 'none'}{more}"


def _number(item: Node) -> int | float | None:
    is_number = isinstance(item, Constant) and type(item.value) in (int, float)
    return item.value if is_number else None  # type: ignore[union-attr,return-value]
