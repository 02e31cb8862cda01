"""Names of metrics and settings, as trackers and pages show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_CATEGORY = re.compile(r"(validation/category_\w+/)(.+)", re.DOTALL)


def category_of(metric: str) -> str | None:
    """The category that a metric is about, as in `validation/category_AP/dog`; None where it is about all."""
    match = _CATEGORY.fullmatch(metric)
    return None if match is None else match[2]


def numbers(values: Mapping[str, float | str]) -> dict[str, float]:
    """The numbers among logged values, with slashes in names of categories replaced, which services take for folders."""
    return {
        _CATEGORY.sub(lambda match: match[1] + match[2].replace("/", "_"), name): float(value)
        for name, value in values.items()
        if not isinstance(value, str)
    }


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with names joined by dots; lists stay values."""
    values: dict[str, Any] = {}
    for name, value in document.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return values
