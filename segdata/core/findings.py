"""What was odd, dropped or skipped in a dataset, counted by kind with the first examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from segdata.errors import InvalidAnnotation, SegdataError, Unsafe

EXAMPLES = 10
"""Examples kept of each kind of remark."""

FIRST_PROBLEMS = 20
"""Skipped items shown in full when a dataset is refused."""

_SKIP = "--on-error skip"

FIRST_OF_KIND = 5
"""Those of one kind among them, so that every kind is shown."""


@dataclass
class Remarks:
    """One kind of oddity: how often it was met, and where first."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"count": self.count, "examples": self.examples}


@dataclass
class Dropped:
    """One kind of information that the target format cannot hold.

    Attributes:
        count: how many are dropped (objects, pixels, fields …, as the kind says).
        keys: the first samples concerned.
        ious: sum, minimum and number of IoUs of masks before and after, where masks change.
    """

    count: int = 0
    keys: list[str] = field(default_factory=list)
    ious: tuple[float, float, int] = (0.0, 1.0, 0)

    def add(self, count: int, keys: Iterable[str], ious: tuple[float, float, int]) -> None:
        """Count more of the kind."""
        self.count += count
        for key in keys:
            if len(self.keys) < EXAMPLES and key not in self.keys:
                self.keys.append(key)
        self.ious = (self.ious[0] + ious[0], min(self.ious[1], ious[1]), self.ious[2] + ious[2])

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        total, smallest, number = self.ious
        iou = {"iou": {"sum": total, "min": smallest, "masks": number}} if number else {}
        return {"count": self.count, "keys": self.keys, **iou}


class Findings:
    """Counts of remarks (odd, but kept), dropped information (the target cannot hold it) and skipped items (not valid).

    Args:
        fail_fast: raise the error of the first item that would be skipped.
        strict: what would be corrected is not valid.

    Attributes:
        remarks, dropped, skipped: by kind.
        first: the errors of the first skipped items.
    """

    def __init__(self, *, fail_fast: bool = False, strict: bool = False) -> None:
        self._fail_fast = fail_fast
        self.strict = strict
        self.remarks: dict[str, Remarks] = {}
        self.dropped: dict[str, Dropped] = {}
        self.skipped: dict[str, int] = {}
        self.first: list[SegdataError] = []
        self._worst: SegdataError | None = None

    def remark(self, kind: str, where: str, count: int = 1) -> None:
        """Count something odd that is legal and kept; `where` names the sample or file."""
        remarks = self.remarks.setdefault(kind, Remarks())
        remarks.count += count
        if len(remarks.examples) < EXAMPLES:
            remarks.examples.append(where)

    def correct(self, kind: str, where: str, error: SegdataError, count: int = 1) -> None:
        """Count something that is not valid and is corrected without doubt.

        Args:
            error: what is wrong, for those who want nothing to be corrected.

        Raises:
            SegdataError: `error`, where findings are strict.
        """
        if self.strict:
            raise error
        self.remark(kind, where, count)

    def drop(self, kind: str, key: str, count: int = 1, iou: float | None = None) -> None:
        """Count information of sample `key` that the target format cannot hold.

        Args:
            iou: of a mask before and after, where it only changes.
        """
        if count:
            self.dropped.setdefault(kind, Dropped()).add(count, [key], (0, 1, 0) if iou is None else (iou, iou, 1))

    def skip(self, error: SegdataError, count: int = 1) -> None:
        """Count `count` items that are not valid and are left out, with the error that says why."""
        if self._fail_fast:
            raise error
        kind = kind_of(error)
        self.skipped[kind] = self.skipped.get(kind, 0) + count
        if len(self.first) < FIRST_PROBLEMS and self._shown(kind) < FIRST_OF_KIND:
            self.first.append(error)
        if self._worst is None or (isinstance(error, Unsafe) and not isinstance(self._worst, Unsafe)):
            self._worst = error

    def _shown(self, kind: str) -> int:
        """How many errors of a kind are among the first."""
        return sum(kind_of(error) == kind for error in self.first)

    @property
    def skips(self) -> int:
        """Number of skipped items."""
        return sum(self.skipped.values())

    def merge(self, document: dict[str, Any]) -> None:
        """Add the counts of another `as_dict`."""
        for kind, item in document["remarks"].items():
            remarks = self.remarks.setdefault(kind, Remarks())
            remarks.count += item["count"]
            remarks.examples += item["examples"][: EXAMPLES - len(remarks.examples)]
        for kind, item in document["losses"].items():
            iou = item.get("iou", {"sum": 0.0, "min": 1.0, "masks": 0})
            self.dropped.setdefault(kind, Dropped()).add(
                item["count"], item["keys"], (iou["sum"], iou["min"], iou["masks"])
            )
        for item in document["skipped"]:
            self.skipped[item["kind"]] = self.skipped.get(item["kind"], 0) + item["count"]
        for item in document["first"]:
            error = _revive(item)
            if len(self.first) < FIRST_PROBLEMS and self._shown(kind_of(error)) < FIRST_OF_KIND:
                self.first.append(error)
            if self._worst is None or (item["exit"] == Unsafe.exit_code and not isinstance(self._worst, Unsafe)):
                self._worst = _revive(item)

    def as_dict(self) -> dict[str, Any]:
        """Everything counted, as JSON holds it; what the target cannot hold stands under `losses`."""
        return {
            "remarks": {kind: remarks.as_dict() for kind, remarks in sorted(self.remarks.items())},
            "losses": {kind: dropped.as_dict() for kind, dropped in sorted(self.dropped.items())},
            "skipped": [{"kind": kind, "count": count} for kind, count in sorted(self.skipped.items())],
            "first": [error.as_dict() for error in self.first],
        }

    def raise_if_any(self, what: str) -> None:
        """Raise one error for all skipped items of `what`, with the first of them and the count of each kind.

        Raises:
            SegdataError: of the kind of the first items where they are all of one kind, else `InvalidAnnotation`.
            Unsafe: where one of the items is unsafe.
        """
        if not self.skips:
            return
        if self.skips == 1:
            error = self.first[0]
            if _SKIP not in (error.fix or ""):
                error.fix = f"{error.fix or 'correct it'}\n          or leave it out: {_SKIP}"
            raise error
        kind: type[SegdataError] = type(self._worst) if isinstance(self._worst, Unsafe) else InvalidAnnotation
        if all(type(error) is type(self.first[0]) for error in self.first):
            kind = type(self.first[0])
        raise kind(
            f"{what} has {self.skips} problems: {summary(self.skipped.items())}",
            file=self.first[0].file,
            why="\n          ".join(["the first are:", *(one_line(error) for error in self.first)]),
            state="nothing was converted",
            fix="\n          ".join([*self.fixes(), f"or leave these items out: {_SKIP}"]),
        )

    def fixes(self) -> list[str]:
        """What to do about each kind, as its first error says; with the kind's name where there are several."""
        fix_of: dict[str, str] = {}
        for error in self.first:
            if error.fix:
                fix_of.setdefault(kind_of(error), error.fix)
        if not fix_of:
            return ["correct them"]
        if len(self.skipped) == 1:
            return list(fix_of.values())
        return [f"{kind}: {fix}" for kind, fix in fix_of.items()]


_NAMED = re.compile(r"(.* )'.*'", re.DOTALL)
_FEW = 5


def folded(items: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Counts by kind for people: more than five kinds that differ only in a quoted name become one."""
    by_prefix: dict[str, list[str]] = {}
    for kind in items:
        named = _NAMED.fullmatch(kind)
        by_prefix.setdefault(named[1] if named else kind, []).append(kind)
    short: dict[str, Mapping[str, Any]] = {}
    for prefix, kinds in by_prefix.items():
        if len(kinds) <= _FEW:
            short.update((kind, items[kind]) for kind in kinds)
            continue
        most = sorted(kinds, key=lambda kind: -items[kind]["count"])[:3]
        names = ", ".join(kind[len(prefix) :] for kind in most)
        count = sum(items[kind]["count"] for kind in kinds)
        short[f"{prefix}{names} and {len(kinds) - len(most)} more"] = {**items[most[0]], "count": count}
    return short


def summary(counts: Iterable[tuple[str, int]]) -> str:
    """(kind, count) pairs as "3 × this, 1 × that"."""
    return ", ".join(f"{count} × {kind}" for kind, count in counts)


def kind_of(error: SegdataError) -> str:
    """The kind under which a skipped item counts: its error's message up to a colon."""
    return error.message.split(":")[0]


def one_line(error: SegdataError) -> str:
    """Where and what of an error, in one line."""
    parts = [error.file, error.key, error.place]
    where = ", ".join(str(part) for part in parts if part)
    return ": ".join(part for part in (where, error.message, error.why) if part)


def _revive(item: dict[str, Any]) -> SegdataError:
    from segdata import errors

    kind = getattr(errors, item["id"], None)
    if not (isinstance(kind, type) and issubclass(kind, SegdataError) and kind.__init__ is SegdataError.__init__):
        kind = errors.InvalidInput
    error: SegdataError = kind(
        item["message"], **{name: item.get(name) for name in ("file", "place", "why", "state", "fix", "key")}
    )
    return error
