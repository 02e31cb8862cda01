"""What no document of ours holds: deep nesting, and numbers beyond 64 bits. Found at the door, nothing behind it looks."""

from __future__ import annotations

import math
from typing import Any


def beyond(document: Any, deepest: int, *, is_finite: bool) -> tuple[str, str] | None:
    """Why a document of dictionaries and lists cannot be meant, and where in it; None for one that can.

    Args:
        deepest: levels that it may have.
        is_finite: whether NaN and infinity are refused, too.
    """
    level: list[tuple[str, Any]] = [("", document)]
    for _ in range(deepest):
        below: list[tuple[str, Any]] = []
        for where, value in level:
            if isinstance(value, dict):
                below += [(f"{where}.{key}", item) for key, item in value.items()]
            elif isinstance(value, list):
                below += [(f"{where}[{index}]", item) for index, item in enumerate(value)]
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                return "a number has more than 64 bits", where.lstrip(".")
            elif is_finite and isinstance(value, float) and not math.isfinite(value):
                return f"a number is {value}", where.lstrip(".")
        level = below
        if not level:
            return None
    return f"it is nested deeper than {deepest} levels", level[0][0].lstrip(".")[:80]
