"""Settings as frozen structs: type, range and meaning stand at each field; values are checked when a struct is made.

    class Config(Settings, frozen=True, kw_only=True):
        learning_rate: Annotated[float, Meta(ge=0, le=100, description="peak learning rate")] = 0.005

`Meta(extra={"original": …})` names the same setting of Matterport's Mask R-CNN. Which settings there are say
`segdata.models.maskrcnn.config`, `segdata.models.matterport.config` and `segdata.training.config`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
from msgspec import inspect, structs

from segdata.errors import UsageError, close_names
from segdata.system import documents
from segdata.system.files import disk_errors
from segdata.system.reading import read_text

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}
_TYPES: dict[type[inspect.Type], type] = {
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
    inspect.BoolType: bool,
}


@dataclass(frozen=True)
class Rule:
    """What one setting may be.

    Attributes:
        type: as declared, for `msgspec.convert`.
        item: the type of the value, or of each item of a list.
        is_list: whether it is a list.
        low, high: range of numbers, of every item of a list; None for no limit.
        choices: the possible values; None for any.
        least, most: how many items a list has; None for any number.
        meaning: what it is, for help and TOML comments.
        original: the same setting's name in Matterport's `Config`.
    """

    name: str
    default: Any
    type: Any
    item: type
    is_list: bool
    low: float | None
    high: float | None
    choices: tuple[Any, ...] | None
    least: int | None
    most: int | None
    meaning: str
    original: str | None

    def checked(self, value: Any) -> Any:
        """The value as the declared type.

        Raises:
            UsageError: it is of another type, out of its range, or none of the choices.
        """
        if self.is_list and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            value = (value,)
        try:
            return msgspec.convert(value, self.type)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise self._refusal(value, error) from None

    def _refusal(self, value: Any, error: Exception) -> UsageError:
        """Why a value is not accepted: its type, a choice, the range, or the number of items, in this order."""
        got = f"got {value!r}"
        items = value if isinstance(value, (list, tuple)) else [value]
        is_other = self.is_list and not isinstance(value, (list, tuple))
        if self.choices is not None:
            wrong = [item for item in items if item not in self.choices]
            if wrong:
                close = close_names(str(wrong[0]), [str(choice) for choice in self.choices], 1)
                why = f"choices are {', '.join(map(str, self.choices))}"
                why += f"; did you mean {close[0]}?" if close else ""
                return UsageError(f"{self.name} cannot be {wrong[0]!r}", place=self.name, why=why)
        elif self.item in _WORDS:
            word = _WORDS[self.item]
            if is_other or not all(_is_of(item, self.item) for item in items):
                expected = f"a list, each {word}" if self.is_list else word
                return UsageError(f"{self.name} must be {expected}", place=self.name, why=got)
            for item in items if self.low is not None else ():
                if not self.low <= item <= self.high:
                    why = f"got {item!r}; {self.low} … {self.high} is possible"
                    return UsageError(f"{self.name} is out of its range", place=self.name, why=why)
            if self.least is not None and self.least == self.most:
                usual = ",".join(map(str, self.default))
                return UsageError(
                    f"{self.name} needs {_COUNTS[self.least]} numbers",
                    place=self.name,
                    why=got,
                    fix=f"such as {self.name}={usual}",
                )
            if not items:
                return UsageError(f"{self.name} needs at least one number", place=self.name)
        return UsageError(f"{self.name} cannot be {value!r}", place=self.name, why=str(error))

    def as_dict(self, value: Any) -> dict[str, Any]:
        """The setting with a value, as `segdata config --json` prints it."""
        return {
            "name": self.name,
            "value": _plain(value),
            "default": _plain(self.default),
            "meaning": self.meaning,
            "low": self.low,
            "high": self.high,
            "choices": self.choices,
            "original": self.original,
        }


def _is_of(value: Any, kind: type) -> bool:
    return type(value) is kind or (kind is float and type(value) is int)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one thing.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    SECTIONS: ClassVar[Mapping[str, str]] = {}
    """The first setting of each section → the section's name."""
    HELP: ClassVar[str] = "segdata config lists all settings"
    """Where a user finds the names."""
    TRAINING: ClassVar[frozenset[str]] = frozenset()
    """Settings that matter in training alone: a prediction refuses them."""

    def __post_init__(self) -> None:
        for rule in self.rules().values():
            structs.force_setattr(self, rule.name, rule.checked(self.converted(rule, getattr(self, rule.name))))

    @classmethod
    def converted(cls, rule: Rule, value: Any) -> Any:
        """A value before it is checked; for settings that also take another spelling."""
        return value

    @classmethod
    @functools.cache
    def rules(cls) -> Mapping[str, Rule]:
        """Name → rule, in the order of declaration."""
        return {field.name: _rule(field) for field in structs.fields(cls)}

    @classmethod
    def sections(cls) -> dict[str, list[str]]:
        """Section → names of its settings, in order."""
        sections: dict[str, list[str]] = {}
        section = ""
        for name in cls.rules():
            section = cls.SECTIONS.get(name, section)
            sections.setdefault(section, []).append(name)
        return sections

    def changed(self, **values: Any) -> Self:
        """The same settings but for some.

        Raises:
            UsageError: an unknown name (close ones are named), or a bad value.
        """
        require_known(values, self.rules(), fix=self.HELP)
        return type(self)(**{**structs.asdict(self), **values})

    def as_dict(self) -> dict[str, Any]:
        """Names and values as JSON holds them."""
        return {name: _plain(getattr(self, name)) for name in self.rules()}

    def require_consistent(self) -> None:
        """Check that no setting contradicts another or, where it is not the default, is without effect beside it.

        Raises:
            UsageError: the first that does, and what it stands against.
        """

    def require_effect(self, name: str, cause: str, *, has_effect: bool) -> None:
        """Refuse a setting that is not the default and without effect because of `cause`."""
        value = getattr(self, name)
        if not has_effect and value != self.rules()[name].default:
            raise UsageError(
                f"{name} has no effect with {cause}", place=name, why=f"got {_plain(value)!r}", fix=f"leave out {name}"
            )


@dataclass(frozen=True)
class Metric:
    """The validation metric that says which weights are the best.

    Attributes:
        name: among those that the model evaluates; a higher value is better.
        title: for people.
    """

    name: str
    title: str


class ModelSettings(Settings, frozen=True, kw_only=True):
    """Settings of a model that can be trained."""

    METRIC: ClassVar[Metric]
    RUN: ClassVar[Mapping[str, Any]] = {}
    """Settings of the training itself, by name, whose defaults are others with this model."""
    ON_CPU: ClassVar[str] = ""
    """Options that make the model small enough for a CPU, for a remark; "" where it is."""

    @property
    def least_batch_size(self) -> int:
        """How many images a batch needs."""
        return 1

    @property
    def has_fixed_size(self) -> bool:
        """Whether all training images have one size, so that any of them can be in a batch together."""
        return False


def _rule(field: structs.FieldInfo) -> Rule:
    """The rule that a field's annotation declares."""
    declared = inspect.type_info(field.type)
    notes: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}
    if isinstance(declared, inspect.Metadata):
        notes, extra, declared = declared.extra_json_schema or {}, declared.extra or {}, declared.type
    is_list = isinstance(declared, inspect.VarTupleType)
    item: Any = declared.item_type if isinstance(declared, inspect.VarTupleType) else declared
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return Rule(
        name=field.name,
        default=default,
        type=field.type,
        item=_TYPES.get(type(item), object),
        is_list=is_list,
        low=getattr(item, "ge", None),
        high=getattr(item, "le", None),
        choices=_choices(field.type) if isinstance(item, inspect.LiteralType) else None,
        least=getattr(declared, "min_length", None) if is_list else None,
        most=getattr(declared, "max_length", None) if is_list else None,
        meaning=notes.get("description", ""),
        original=extra.get("original"),
    )


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal in the order of declaration, which msgspec does not keep."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    return tuple(annotation.__args__)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def require_known(
    values: Iterable[str], rules: Mapping[str, Rule], *, fix: str = Settings.HELP, file: Path | str | None = None
) -> None:
    """Raise when a name is none of the settings'.

    Raises:
        UsageError: the first unknown name, with close ones and those that the original calls so.
    """
    for name in values:
        if name not in rules:
            close = close_names(name.lower(), rules) or sorted(
                rule.name for rule in rules.values() if rule.original and name.upper() in rule.original.split()
            )
            raise UsageError(
                f"there is no setting {name!r}",
                file=file,
                place=name,
                why=f"close ones are {', '.join(close)}" if close else None,
                fix=fix,
            )


def require_effect_in_prediction(
    values: Iterable[str], training: Iterable[str], fixes: Mapping[str, str] | None = None
) -> None:
    """Refuse settings that matter in training alone.

    Args:
        values: names that were given.
        training: names that matter in training alone.
        fixes: name → what else may have been meant.

    Raises:
        UsageError: the first that does.
    """
    training = set(training)
    for name in values:
        if name in training:
            raise UsageError(
                f"{name} has no effect on predictions",
                place=name,
                why="it is a setting of the training",
                fix=(fixes or {}).get(name, f"leave out {name}"),
            )


def parsed(text: str) -> Any:
    """The value that a text stands for, as in TOML; a text that is no TOML stands for itself."""
    try:
        return documents.parse_toml(f"value = {text}", "", UsageError)["value"]
    except UsageError:
        return text


def line_of(path: Path, name: str | None) -> str | None:
    """The line of a TOML file that sets `name`, as a place in messages; None when there is none."""
    if name is None:
        return None
    pattern = re.compile(rf"\s*(?:\[\s*)?[\"']?{re.escape(name)}[\"']?\s*[=.\]]")
    with disk_errors(path):
        lines = read_text(path, "replace").splitlines()
    return next((f"line {number}: {name}" for number, line in enumerate(lines, 1) if pattern.match(line)), None)


def toml_lines(rule: Rule, value: Any, *, explained: bool) -> list[str]:
    """A setting in TOML; when `explained`, after a comment with its meaning, its range and the original's name."""
    line = f"{rule.name} = {json.dumps(_plain(value))}"
    if not explained:
        return [line]
    words = rule.meaning
    if rule.choices:
        words += f" ({', '.join(map(str, rule.choices))})"
    elif rule.low is not None and rule.high is not None:
        words += f" ({rule.low:g} … {rule.high:g})"
    if rule.original:
        words += f" [{rule.original}]"
    return [f"# {words}", line, ""]
