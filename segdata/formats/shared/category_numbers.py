"""What category numbers and names in results mean: the ground truth's categories, or those before `--labels` mapped them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.predictions import GroundTruth
from segdata.errors import LabelMismatch, close_names

_SHOWN = 8
_Key = TypeVar("_Key", int, str)


@dataclass(frozen=True)
class Meaning:
    """The categories that results speak of.

    Attributes:
        labels: these categories, with the ids that the results use.
        mapping: from them to the ground truth's; None where they are the same.
    """

    labels: LabelSpace
    mapping: LabelMapping | None = None

    @property
    def index_of_id(self) -> dict[int, int]:
        """Id → index in the ground truth's labels, −1 for a category that `--labels` leaves out."""
        return _indices(self.labels.index_of_id, self.mapping)


def by_number(numbers: Iterable[int], truth: GroundTruth, findings: Findings, path: Path) -> Meaning:
    """Whether bare category numbers are those of the ground truth or of what its `--labels` maps.

    Numbers that neither has are left to the caller, where nothing is mapped.

    Raises:
        LabelMismatch: they fit neither, or both with other meanings.
    """
    mine = Meaning(truth.labels)
    if truth.mapped_from is None:
        return mine
    used = set(numbers)
    before = Meaning(*truth.mapped_from)
    of_number = mine.index_of_id, before.index_of_id
    fits = [used <= known.keys() for known in of_number]
    if not any(fits):
        unknown = sorted(used.difference(*of_number)) or sorted(used)
        raise _mismatch(
            "the categories of the results are neither those of --labels nor those that it maps",
            f"category numbers {_some(unknown)}",
            truth,
            path,
        )
    differ = [number for number in sorted(used) if len({known.get(number) for known in of_number}) > 1]
    if all(fits) and differ:
        raise _mismatch(
            "the category numbers of the results have two meanings",
            f"number {differ[0]} is {_named(differ[0], truth.labels)} of --labels, and "
            f"{_named(differ[0], truth.mapped_from[0])} of what it maps",
            truth,
            path,
            "give the categories of the table numbers of their own (id = …), or make a pack of the results, which has "
            "names: segdata convert RESULTS PACK --truth TRUTH",
        )
    if fits[0]:
        if differ:
            findings.remark("category numbers of the results are those of --labels", str(path))
        return mine
    _remark_mapped(
        "category numbers", [number for number in used if before.index_of_id[number] < 0], before, findings, path
    )
    return before


def by_name(labels: LabelSpace, truth: GroundTruth, findings: Findings, path: Path) -> Meaning:
    """Predicted categories with names of their own: joined with the ground truth's, or with those that `--labels` maps.

    Raises:
        LabelMismatch: there are names that neither has, with the closest ones.
    """
    candidates = [Meaning(truth.labels)]
    if truth.mapped_from is not None:
        candidates.append(Meaning(*truth.mapped_from))
    names = labels.index_of_name
    fits = [item for item in candidates if names.keys() <= item.labels.index_of_name.keys()]
    if not fits:
        raise different_names(labels, candidates[-1].labels, path)
    tables = [_indices(item.labels.index_of_name, item.mapping) for item in fits]
    differ = [name for name in names if len({table[name] for table in tables}) > 1]
    if differ:
        raise _mismatch(
            "the categories of the predictions have two meanings",
            f"{differ[0]!r} is a category of --labels, and one that it maps otherwise",
            truth,
            path,
            "give the categories of the table names of their own",
        )
    table = tables[0]
    if fits[0].mapping is None:
        _remark_joined(labels, truth.labels, findings, path)
    else:
        _remark_mapped("categories", [name for name in names if table[name] < 0], fits[0], findings, path)
    indices = tuple(None if table[name] < 0 else table[name] for name in names)
    return Meaning(labels, LabelMapping(truth.labels, indices))


def different_names(labels: LabelSpace, expected: LabelSpace, path: Path) -> LabelMismatch:
    """The error of predicted categories that the ground truth does not have, with the closest of both sides."""
    known = list(expected.index_of_name)
    unknown = [name for name in labels.index_of_name if name not in expected.index_of_name]
    pairs = []
    for name in unknown[:_SHOWN]:
        close = close_names(name.lower(), [item.lower() for item in known], 1)
        near = [item for item in known if close and item.lower() == close[0]]
        pairs.append(f"{name!r}" + (f" (close is {near[0]!r})" if near else ""))
    first, target = (unknown or [""])[0], (known or [""])[0]
    return LabelMismatch(
        "predictions and ground truth: their categories differ",
        file=path,
        why=f"predicted are {_names(labels)}; the ground truth has {_names(expected)}; "
        f"not in the ground truth: {', '.join(pairs)}{' …' if len(unknown) > _SHOWN else ''}",
        fix="give the predicted categories the ground truth's names: segdata convert PREDICTIONS PACK --labels "
        f"TABLE.toml, with labels = [{{ name = {target!r}, from = [{first!r}] }}, …]; or evaluate both under a view "
        "with --labels",
    )


def _indices(known: Mapping[_Key, int], mapping: LabelMapping | None) -> dict[_Key, int]:
    if mapping is None:
        return dict(known)
    return {key: int(mapping.indices[index]) for key, index in known.items()}


def _remark_joined(labels: LabelSpace, expected: LabelSpace, findings: Findings, path: Path) -> None:
    names = labels.index_of_name
    if any(expected[expected.index_of_name[name]].id != labels[index].id for name, index in names.items()):
        findings.remark("predicted categories joined with the ground truth's by name: their numbers differ", str(path))


def _remark_mapped(what: str, left_out: Sequence[object], before: Meaning, findings: Findings, path: Path) -> None:
    findings.remark(f"{what} of the results are those before --labels: mapped alike", str(path))
    names = [item if isinstance(item, str) else _name(item, before.labels) for item in left_out]
    for name in sorted(names):
        findings.remark(f"left out as asked: predictions of category {name!r}", str(path))


def _name(number: object, labels: LabelSpace) -> str:
    return next((item.name for item in labels.categories if item.id == number), str(number))


def _named(number: int, labels: LabelSpace) -> str:
    return repr(_name(number, labels))


def _mismatch(message: str, why: str, truth: GroundTruth, path: Path, fix: str | None = None) -> LabelMismatch:
    sides = [("--labels has", truth.labels)]
    if truth.mapped_from is not None:
        sides.append(("it maps", truth.mapped_from[0]))
    known = "; ".join(f"{text} {_some(f'{c.name!r} (id {c.id})' for c in side.categories)}" for text, side in sides)
    return LabelMismatch(
        message,
        file=path,
        why=f"{why}; {known}",
        fix=fix or "give a table for --labels whose categories (id = …) or sources (from = …) these are",
    )


def _names(labels: LabelSpace) -> str:
    return _some(map(repr, labels.index_of_name)) or "nothing"


def _some(items: Iterable[object]) -> str:
    texts = list(map(str, items))
    return ", ".join(texts[:_SHOWN]) + (f" … ({len(texts)})" if len(texts) > _SHOWN else "")
