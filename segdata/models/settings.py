"""Settings as fields of a frozen dataclass: declared with meaning and range, checked, read from text and TOML, written.

What settings there are says `segdata.models.maskrcnn.config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from segdata.errors import UsageError
from segdata.system.files import disk_errors

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    original: str | None = None,
) -> Any:
    """A setting: a field of the dataclass.

    Args:
        low, high: between which a number lies, or every number of a list.
        original: its name in Matterport's `Config`.
    """
    return dataclasses.field(
        default=default,
        metadata={"meaning": meaning, "low": low, "high": high, "choices": choices, "original": original},
    )


def types(settings: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Name → the type of a setting, and of its items where it is a tuple."""
    hints = get_type_hints(settings)
    return {
        name: (tuple, hint.__args__[0]) if hasattr(hint, "__args__") else (hint, hint) for name, hint in hints.items()
    }


def check(settings: Any) -> None:
    """Bring every value of a new dataclass of settings into the type of its field.

    Raises:
        UsageError: it is of another type, out of its range, or none of the choices.
    """
    kinds = types(type(settings))
    for field in dataclasses.fields(settings):
        kind, inner = kinds[field.name]
        value = _checked(field.name, field.metadata, getattr(settings, field.name), inner, many=kind is tuple)
        object.__setattr__(settings, field.name, value)


def _checked(name: str, rules: Mapping[str, Any], value: Any, inner: type[Any], *, many: bool) -> Any:
    if many and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        value = (value,)
    items = tuple(value) if many and isinstance(value, (list, tuple)) else (value,)
    if inner is float:
        items = tuple(float(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items)
    wrong = many and not isinstance(value, (list, tuple))
    if wrong or any(type(item) is not inner for item in items):
        expected = f"a list, each {_WORDS[inner]}" if many else _WORDS[inner]
        raise UsageError(f"{name} must be {expected}", place=name, why=f"got {value!r}")
    low, high, choices = rules["low"], rules["high"], rules["choices"]
    for item in items:
        if choices is not None and item not in choices:
            close = difflib.get_close_matches(str(item), choices, n=1)
            raise UsageError(
                f"{name} cannot be {item!r}",
                place=name,
                why=f"choices are {', '.join(choices)}" + (f"; did you mean {close[0]}?" if close else ""),
            )
        if low is not None and not low <= item <= high:
            raise UsageError(f"{name} is out of its range", place=name, why=f"got {item!r}; {low} … {high} is possible")
    return items if many else items[0]


def parsed(text: str) -> Any:
    """The value that a text stands for, as in TOML; a text that is no TOML stands for itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def read_toml(path: Path) -> dict[str, Any]:
    """Names and values of a TOML file.

    Raises:
        UsageError: not TOML.
    """
    try:
        with disk_errors(path), path.open("rb") as opened:
            return tomllib.load(opened)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("the settings file is not TOML", file=path, why=str(error)) from error


def line_of(path: Path, name: str | None) -> str | None:
    """The line of a TOML file that sets `name`, as a place in messages; None when there is none."""
    pattern = re.compile(rf"\s*(?:\[\s*)?[\"']?{re.escape(name or '')}[\"']?\s*[=.\]]")
    with disk_errors(path):
        lines = path.read_text().splitlines()
    return next((f"line {number}: {name}" for number, line in enumerate(lines, 1) if pattern.match(line)), None)


def toml_lines(row: Mapping[str, Any], *, explained: bool) -> list[str]:
    """A setting, as `config.describe` has it, in TOML; when `explained`, after a comment on what it is."""
    line = f"{row['name']} = {json.dumps(row['value'])}"
    if not explained:
        return [line]
    words = row["meaning"]
    if row["choices"]:
        words += f" ({', '.join(row['choices'])})"
    elif row["low"] is not None:
        words += f" ({row['low']:g} … {row['high']:g})"
    if row["original"]:
        words += f" [{row['original']}]"
    return [f"# {words}", line, ""]
