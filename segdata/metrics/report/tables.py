"""Numbers of metrics → what a page shows of them: headlines, and columns over categories.

Metrics name their numbers as their official evaluators do. Whatever is keyed by category (by name, by id, or as
`IoU-NAME`) becomes a column; single numbers, and groups of few that are not about categories, become headlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segdata.core.labels import LabelSpace

Column = Mapping[int, float | int | None]
"""Category index → value."""

_MOST = 24
"""Most headlines of a metric."""


def headlines(numbers: Mapping[str, Any], labels: LabelSpace) -> list[tuple[str, Any]]:
    """Name and value of what is not about a single category: single numbers first, then groups of defined ones."""
    single: list[tuple[str, Any]] = []
    grouped: list[tuple[str, Any]] = []
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            is_series = all(key.replace(".", "").isdecimal() for key in value)
            if not is_series and not _is_by_category(value, labels) and all(map(_is_number, value.values())):
                grouped += [(f"{name} {key}", item) for key, item in value.items() if item is not None]
        elif _is_number(value) and _prefixed(name, labels) is None:
            single.append((name, value))
    return [*single, *grouped][:_MOST]


def columns(numbers: Mapping[str, Any], labels: LabelSpace) -> dict[str, Column]:
    """Title → values by category."""
    by_title: dict[str, dict[int, Any]] = {}
    for name, value in numbers.items():
        prefixed = _prefixed(name, labels)
        if prefixed is not None:
            title, index = prefixed
            by_title.setdefault(title, {})[index] = value
        elif isinstance(value, Mapping) and _is_by_category(value, labels):
            for key, item in value.items():
                category = _index(key, labels)
                values = item if isinstance(item, Mapping) else {"": item}
                for part, number in values.items():
                    title = part or name.removeprefix("per_category_")
                    if _is_number(number) and category is not None:
                        by_title.setdefault(title, {})[category] = number
    return {title: column for title, column in by_title.items() if column}


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _prefixed(name: str, labels: LabelSpace) -> tuple[str, int] | None:
    kind, dash, category = name.partition("-")
    return (kind, labels.index_of_name[category]) if dash and category in labels.index_of_name else None


def _index(key: str, labels: LabelSpace) -> int | None:
    if key in labels.index_of_name:
        return labels.index_of_name[key]
    return labels.index_of_id.get(int(key)) if key.lstrip("-").isdecimal() else None


def _is_by_category(value: Mapping[str, Any], labels: LabelSpace) -> bool:
    return bool(value) and all(_index(str(key), labels) is not None for key in value)
