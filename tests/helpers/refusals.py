"""Conversions that are refused, and what others remark and drop: exit code, messages, counts by kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.command import Outcome, run_segdata

Edit = Callable[[dict[str, Any]], None]


def refused(source: Path, target: Path, code: int, *texts: str, options: tuple[str, ...] = ()) -> Outcome:
    """The conversion ends with this exit code, says all of this, and leaves nothing behind."""
    outcome = run_segdata("convert", source, target, "--json", *options)
    assert outcome.code == code, outcome.err
    assert outcome.document["ok"] is False
    assert outcome.document["error"]["exit"] == code
    for text in texts:
        assert text in outcome.err, outcome.err
    assert not target.exists()
    assert not [path for path in target.parent.iterdir() if path.name.startswith(f".{target.name}")]
    return outcome


def remarks_of(source: Path, target: Path, *options: str) -> dict[str, int]:
    outcome = run_segdata("convert", source, target, "--json", *options)
    assert outcome.code == 0, outcome.err
    return {kind: item["count"] for kind, item in outcome.document["problems"]["remarks"].items()}


def losses(source: Path, to: str, target: Path) -> dict[str, int]:
    """Kind of loss → its count, of a conversion into another format."""
    outcome = run_segdata("convert", source, target, "--to", to, "--allow-loss", "--json")
    assert outcome.code == 0, outcome.err
    return {kind: item["count"] for kind, item in outcome.document["problems"]["losses"].items()}
