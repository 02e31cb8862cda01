"""What a query means for a dataset: its tree checked against the names that there are, then computed on tables.

Nothing is done for single objects: every part of a query is one operation on a column of a table.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NoReturn

import numpy as np

from segdata.core.arrays import BoolArray
from segdata.query import fields, syntax
from segdata.query.fields import Of
from segdata.query.syntax import Among, Arithmetic, Call, Compared, Constant, Like, Logic, Name, Node, Range
from segdata.query.texts import TextField, meant
from segdata.query.tokens import mistake
from segdata.query.values import Names, Table, Value, count_of_images, of_objects, together

Function = Callable[[Any, Any], Any]

_COMPARISONS: dict[str, Function] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Function] = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}
_CALLS = ("any", "all", "count")
_NAN = ("area", "score", *(prefix + name for prefix in ("", "other_") for name in ("f1", "iou", "pq", "miou")))
"""Numbers that are NaN where they are not known."""


@dataclass(frozen=True)
class Query:
    """A query whose names were checked.

    Attributes:
        text: as it was written.
        of: whether images or objects are asked for.
    """

    text: str
    of: Of
    _condition: Value

    def __call__(self, table: Table) -> BoolArray:
        """Which of the table's images, (N,) bool, or objects, (M,) bool, are meant."""
        with np.errstate(all="ignore"):
            is_meant = self._condition.run(table)
        if self.of == "image":
            return np.array(np.broadcast_to(is_meant, len(table.pointer) - 1))
        is_meant = np.array(np.broadcast_to(is_meant, int(table.pointer[-1])))
        return is_meant if table.is_counted is None else is_meant & table.is_counted


def compiled(text: str, names: Names, of: Of = "image") -> Query:
    """A query over images or over objects.

    Raises:
        InvalidQuery: with the column of what is wrong, and what may be meant.
    """
    value = _Meaning(text, names, is_inside=of == "object").condition(syntax.parsed(text))
    return Query(text, of, of_objects(value) if (value.level, of) == ("image", "object") else value)


class _Meaning:
    """Makes values of nodes.

    Args:
        is_inside: whether names are those of objects.
    """

    def __init__(self, text: str, names: Names, *, is_inside: bool) -> None:
        self.text = text
        self.names = names
        self.is_inside = is_inside

    def refuse(self, node: Node, message: str, *, why: str | None = None, fix: str | None = None) -> NoReturn:
        raise mistake(self.text, node.span, message, why=why, fix=fix)

    def written(self, node: Node) -> str:
        return self.text[slice(*node.span)]

    # ------------------------------------------------------------------ kinds

    def condition(self, node: Node) -> Value:
        value = self.value(node)
        if value.kind == "flag":
            return value
        fix = f"compare it: {self.written(node)} > 0"
        if isinstance(node, Call) and node.condition is not None:
            fix = f"write any({self.written(node.condition)}), or {fix}"
        self.refuse(node, "a condition is expected, this is a number", fix=fix)

    def number(self, node: Node) -> Value:
        value = self.value(node)
        if value.kind != "number":
            self.refuse(node, "a number is expected, this is a condition")
        return value

    def value(self, node: Node) -> Value:
        match node:
            case Constant():
                return self.constant(node)
            case Name():
                return self.field(node)
            case Logic():
                return self.logic(node)
            case Arithmetic():
                return self.arithmetic(node)
            case Compared():
                return self.compared(node)
            case Among():
                return self.among(node)
            case Like():
                return self.text_field(node.value, "like needs a field that has texts").like(node.pattern)
            case Call():
                return self.call(node)
            case Range():
                self.refuse(node, "a range stands after in", fix="write width in 100..200")

    def constant(self, node: Constant) -> Value:
        value = node.value
        if isinstance(value, str):
            self.refuse(node, "a text is compared with a field that has texts", fix=f"write category == {value!r}")
        if value is None:
            self.refuse(node, "none is compared with a field alone", fix="write area == none, or area != none")
        return Value("flag" if isinstance(value, bool) else "number", "constant", lambda table: np.asarray(value))

    # ------------------------------------------------------------------ names

    def home(self, node: Node) -> tuple[Of, str] | None:
        """Of what a name is a field, and which; None where it is none."""
        if not isinstance(node, Name):
            return None
        prefix, _, name = node.name.rpartition(".")
        name = fields.ALIASES.get(name, name)
        if prefix in ("", "object") and self.is_inside and name in fields.ALL["object"]:
            return "object", name
        return ("image", name) if prefix in ("", "image") and name in fields.ALL["image"] else None

    def field(self, node: Name) -> Value:
        """The value of a field that has numbers or flags."""
        home = self.home(node)
        if home is None:
            self.no_field(node)
        of, name = home
        kind = fields.ALL[of][name][0]
        if kind == "text":
            self.refuse(node, f"{name} is compared with a text", fix=f"write {node.name} == 'a text'")
        if (absent := self.names.missing.get(home)) is not None:
            self.refuse(node, f"no {of} has a {name}", why=absent.why, fix=absent.fix)
        return Value(kind, of, lambda table: table.column(of, name), self.unknown(of, name))

    def unknown(self, of: Of, name: str) -> Callable[[Table], Any] | None:
        """Where a number or flag is not known."""
        if name in _NAN:
            return lambda table: np.isnan(table.column(of, name))
        if name == "isthing":
            is_unknown = np.array([category.isthing is None for category in self.names.labels.categories], bool)
            return lambda table: table.among("object", "category", is_unknown)
        return (lambda table: table.column(of, name) == -1) if (of, name) == ("image", "id") else None

    def text_field(self, node: Node, message: str) -> TextField:
        field = self.as_text_field(node)
        if field is None:
            if isinstance(node, Name):
                self.field(node)
            self.refuse(node, message, why="those of images are split, key, file, codec; of objects category")
        return field

    def as_text_field(self, node: Node) -> TextField | None:
        """The field that has texts, None where this is something else."""
        home = self.home(node)
        if home is None:
            return None
        of, name = home
        kind = fields.ALL[of][name][0]
        return TextField(name, of, self.text, self.names) if kind == "text" else None

    def no_field(self, node: Name) -> NoReturn:
        name = node.name.rpartition(".")[2]
        name = fields.ALIASES.get(name, name)
        if name in fields.ALL["object"] and not self.is_inside:
            kind = fields.ALL["object"][name][0]
            example = {"text": f"{name} == 'a text'", "number": f"{name} > 0", "flag": name}[kind]
            fix = f"write any({example}), all({example}) or count({example})"
            self.refuse(node, f"{name} is a field of objects, and this is asked of images", fix=fix)
        if name in _CALLS:
            self.refuse(node, f"{name} needs brackets", fix=f"write {name}(category == 'dog')")
        of: Of = "object" if self.is_inside else "image"
        known = [name for name in fields.ALL[of] if (of, name) not in self.names.missing or name in fields.OBJECT]
        images = ", and those of its image: image.width …" if self.is_inside else ""
        self.refuse(
            node,
            f"{'an object' if self.is_inside else 'an image'} has no field {node.name!r}",
            why=f"it has {', '.join(known)}{images}",
            fix=fields.INSTEAD.get(name) or meant(name, [*known, *_CALLS]) or meant(name, list(fields.OBJECT)),
        )

    # ------------------------------------------------------------------ conditions and numbers

    def logic(self, node: Logic) -> Value:
        values = together([self.condition(part) for part in node.parts])
        if node.operator == "not":
            return Value("flag", values[0].level, lambda table: np.logical_not(values[0].run(table)))
        return _joined(np.logical_and if node.operator == "and" else np.logical_or, values)

    def arithmetic(self, node: Arithmetic) -> Value:
        first, *rest = together([self.number(part) for part in (node.first, *(part for _, part in node.rest))])
        steps = [_ARITHMETIC[sign] for sign, _ in node.rest]

        def run(table: Table) -> Any:
            result = np.asarray(first.run(table), np.float64)
            for step, value in zip(steps, rest, strict=True):
                result = step(result, np.asarray(value.run(table), np.float64))
            return result

        return Value("number", first.level, run)

    def call(self, node: Call) -> Value:
        name = node.name.lower()
        if name not in _CALLS:
            self.refuse(node, f"there is no {node.name!r}", why="there are any, all and count", fix=meant(name, _CALLS))
        if self.is_inside:
            message = f"{name}(…) is asked of an image, and this is asked of objects"
            self.refuse(node, message, fix="name a field of the image: image.objects")
        if node.condition is None and name != "count":
            self.refuse(node, f"{name} needs a condition", fix=f"write {name}(category == 'dog')")
        inside = _Meaning(self.text, self.names, is_inside=True)
        condition = inside.condition(node.condition or Constant(node.span, True))
        run = (of_objects(condition) if condition.level == "image" else condition).run
        wanted = name != "all"

        def count(table: Table) -> Any:
            is_meant = np.broadcast_to(run(table), int(table.pointer[-1])) == wanted
            if table.is_counted is not None:
                is_meant = is_meant & table.is_counted
            return count_of_images(is_meant, table.pointer)

        if name == "count":
            return Value("number", "image", count)
        return Value("flag", "image", lambda table: (count(table) > 0) == wanted)

    # ------------------------------------------------------------------ comparisons

    def compared(self, node: Compared) -> Value:
        pairs = zip(node.values, node.operators, node.values[1:], strict=False)
        return _joined(np.logical_and, together([self.comparison(*pair) for pair in pairs]))

    def comparison(self, left: Node, sign: str, right: Node) -> Value:
        for one, other in ((left, right), (right, left)):
            if (field := self.as_text_field(one)) is not None:
                return self.equality(field.equal([other]), other, sign, "a text")
        for one, other in ((left, right), (right, left)):
            if isinstance(other, Constant) and other.value is None:
                return self.equality(self.is_unknown(one), other, sign, "none")
        values = [self.value(left), self.value(right)]
        if {value.kind for value in values} == {"number"}:
            first, second = together(values)
            return Value("flag", first.level, lambda table: _COMPARISONS[sign](first.run(table), second.run(table)))
        return self.equality(self.of_flags(left, right, values), right, sign, "a condition")

    def equality(self, equal: Value, node: Node, sign: str, what: str) -> Value:
        """A comparison of what is equal or not, and never more or less."""
        if sign == "==":
            return equal
        if sign != "!=":
            self.refuse(node, f"{what} is compared by == and != alone")
        return Value("flag", equal.level, lambda table: np.logical_not(equal.run(table)))

    def is_unknown(self, node: Node) -> Value:
        value = self.value(node)
        if value.is_unknown is None:
            self.refuse(node, f"{self.written(node)} is always known")
        return Value("flag", value.level, value.is_unknown)

    def of_flags(self, left: Node, right: Node, values: Sequence[Value]) -> Value:
        """Whether two conditions are the same; 1 and 0 stand for true and false."""
        flags = []
        for node, value in zip((left, right), values, strict=True):
            if value.kind == "number":
                if not isinstance(node, Constant) or node.value not in (0, 1):
                    self.refuse(node, "a condition is compared with true or false, or with another one")
                value = self.constant(Constant(node.span, bool(node.value)))
            flags.append(value)
        one, two = together(flags)
        unknown = [value.is_unknown for value in (one, two) if value.is_unknown is not None]

        def run(table: Table) -> Any:
            is_equal = one.run(table) == two.run(table)
            return reduce(lambda result, each: result & ~each(table), unknown, is_equal)

        return Value("flag", one.level, run)

    def among(self, node: Among) -> Value:
        field = self.as_text_field(node.value)
        if field is not None:
            return field.equal(node.items)
        value = self.number(node.value)
        numbers = [item.value for item in node.items if isinstance(item, Constant)]
        others = [item for item in node.items if not isinstance(item, Constant)]
        for item in node.items:
            if isinstance(item, Constant):
                self.number(item)
        results = [self.of_item(value, item) for item in others]
        if numbers:
            wanted = np.unique(np.array(numbers))
            results.append(Value("flag", value.level, lambda table: np.isin(value.run(table), wanted)))
        return _joined(np.logical_or, together(results))

    def of_item(self, value: Value, item: Node) -> Value:
        """Whether a number is another one, or within a range."""
        if not isinstance(item, Range):
            one, other = together([value, self.number(item)])
            return Value("flag", one.level, lambda table: one.run(table) == other.run(table))
        number, low, high = together([value, self.number(item.low), self.number(item.high)])

        def run(table: Table) -> Any:
            numbers = number.run(table)
            return (low.run(table) <= numbers) & (numbers <= high.run(table))

        return Value("flag", number.level, run)


def _joined(join: Function, values: Sequence[Value]) -> Value:
    """Conditions at one level, joined one after another."""
    return Value("flag", values[0].level, lambda table: reduce(join, (value.run(table) for value in values)))
