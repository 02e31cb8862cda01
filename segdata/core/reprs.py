"""How values read in a console: one short line each; and in full, where a digest has to tell them apart."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from segdata.errors import number_of

Members = TypeVar("Members", bound=Sized)


counted = number_of


def line(value: object, *facts: str) -> str:
    """The class of a value, and what is worth knowing about it.

    >>> line([], "3 objects", "", "no masks")
    'list(3 objects, no masks)'
    """
    return f"{type(value).__name__}({', '.join(fact for fact in facts if fact)})"


def first(names: Sequence[str], most: int = 4) -> str:
    """Some names, and dots where there are more.

    >>> first(["a", "b", "c"], 2)
    'a, b, …'
    """
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])


class Splits(dict[str, Members]):
    """Split → its members; shown as names and counts.

    >>> Splits(train=[0, 1, 2], val=[3])
    Splits(train: 3, val: 1)
    """

    def __repr__(self) -> str:
        return line(self, *(f"{name}: {len(members):,}" for name, members in self.items()))


def in_full(value: Any) -> str:
    """A value with all that it holds, as `repr` shows dataclasses that say nothing else.

    >>> in_full(("a", 1)), in_full(("a",)), in_full({"a": [1]})
    ("('a', 1)", "('a',)", "{'a': [1]}")
    """
    if is_dataclass(value) and not isinstance(value, type):
        shown = (f"{field.name}={in_full(getattr(value, field.name))}" for field in fields(value) if field.repr)
        return f"{type(value).__qualname__}({', '.join(shown)})"
    if type(value) is tuple:
        inner = ", ".join(map(in_full, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value) is list:
        return f"[{', '.join(map(in_full, value))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{in_full(key)}: {in_full(item)}' for key, item in value.items())}}}"
    return repr(value)
