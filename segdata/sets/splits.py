"""Cut one set of samples into splits by shares, the same for the same keys and seed."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import UsageError, number_of


@dataclass(frozen=True)
class SplitBy:
    """Shares of the samples for each split; samples of one group stay together.

    Attributes:
        shares: (split, share) pairs; shares are above 0 and sum up to 1.
        seed: samples are shuffled by it before they are cut.
        group: a regular expression over keys: its first group, else the whole match, names a sample's group; samples
            without a match are groups of their own.
    """

    shares: tuple[tuple[str, float], ...]
    seed: int = 0
    group: str | None = None

    def __post_init__(self) -> None:
        total = sum(share for _, share in self.shares)
        if not self.shares or any(share <= 0 for _, share in self.shares) or abs(total - 1) > 1e-6:
            raise UsageError(
                "shares of splits do not make up the whole",
                why=f"{', '.join(f'{name}={share:g}' for name, share in self.shares) or 'nothing'} sums up to {total:g}",
                fix="give shares that sum up to 1: --split-by train=0.8,val=0.2",
            )
        if self.group is not None:
            require_pattern(self.group)

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space is unchanged."""
        return labels

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample is unchanged."""
        return sample

    def members(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """Split → indices of its samples, in order.

        Groups are taken in an order that the seed and their names decide; each goes to the first split that has not got
        its share yet.
        """
        groups: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(group_of(self.group, key), []).append(index)
        order = sorted(
            groups, key=lambda name: hashlib.sha256(f"{self.seed}\0{name}".encode("utf-8", "replace")).digest()
        )
        splits: dict[str, list[int]] = {name: [] for name, _ in self.shares}
        ends = [round(share * len(keys)) for share in itertools.accumulate(share for _, share in self.shares)]
        taken = number = 0
        for name in order:
            while taken >= ends[number] and number < len(ends) - 1:
                number += 1
            splits[self.shares[number][0]] += groups[name]
            taken += len(groups[name])
        return {name: sorted(indices) for name, indices in splits.items()}


def require_match(pattern: str, keys: Sequence[str]) -> None:
    """Refuse an expression that no key of samples matches: it would group nothing.

    Raises:
        UsageError: none does; a key is shown.
    """
    if keys and not any(re.search(pattern, key) for key in keys):
        raise UsageError(
            f"no key matches the group {pattern!r}",
            why=f"{number_of(len(keys), 'key')}, the first is {keys[0]!r}"[:300],
            fix="give a regular expression of a part of the keys, such as '^[^_]+'",
        )


def group_of(pattern: str | None, key: str) -> str:
    """The name of a sample's group: the first group of a regular expression in its key, else the whole match.

    Samples without a match, or all where there is no expression, are groups of their own.
    """
    match = re.search(pattern, key) if pattern is not None else None
    if match is None:
        return f"key {key}"
    return f"group {match[1] if match.re.groups and match[1] is not None else match[0]}"


def require_pattern(text: str) -> None:
    """Refuse what is no regular expression.

    Raises:
        UsageError: with the reason.
    """
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError("--group is no regular expression", why=f"{text!r}: {error}") from error
