"""What `dedupe` and `leakage` tell: groups of images, and how many images splits share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from segdata.core.reprs import counted, line
from segdata.derivation.derive import Derived
from segdata.errors import InvalidInput

DISAGREE = 0.9
"""Annotations of equal images whose IoU is below this disagree."""


@dataclass(frozen=True)
class Member:
    """An image of a group.

    Attributes:
        pack: the folder of its pack, as it was given.
        index: of its sample in the pack.
        splits: of the chosen splits those that have it.
    """

    pack: str
    index: int
    key: str
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two images of a group.

    Attributes:
        one, other: their positions in the group.
        level: "bytes" (equal files), "pixels" (equal pixels) or "near" (they look alike).
        bits: in how many of 256 their hashes differ; 0 for equal pixels.
        orientation: how the one has to be turned to look like the other: EXIF's 1 … 8, 1 as it is.
        iou: how well their annotations agree, 0 … 1; None where that cannot be said (`agreement` says when).
    """

    one: int
    other: int
    level: str
    bits: int
    orientation: int
    iou: float | None


@dataclass(frozen=True)
class Group:
    """Images that are equal or look alike.

    Attributes:
        members: the images, in the order of the packs.
        pairs: of `dedupe`, every image that is not kept with the one that is kept for it; of `leakage`, every image with
            the nearest one of another split or pack.
        kept: positions of the members to keep; empty for `leakage`.
    """

    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]
    kept: tuple[int, ...] = ()

    @property
    def is_across(self) -> bool:
        """Whether the images are of several packs, or of several splits."""
        return len({(member.pack, member.splits) for member in self.members}) > 1

    @property
    def iou(self) -> float | None:
        """The worst agreement of annotations among the pairs; None where none can be said."""
        return min((pair.iou for pair in self.pairs if pair.iou is not None), default=None)

    @property
    def disagrees(self) -> bool:
        """Whether annotations of a pair have an IoU below 0.9."""
        return self.iou is not None and self.iou < DISAGREE

    def as_dict(self) -> dict[str, Any]:
        """The group as JSON holds it."""
        return {
            "across": self.is_across,
            "iou": self.iou,
            "members": [vars(member) for member in self.members],
            "pairs": [vars(pair) for pair in self.pairs],
            "kept": list(self.kept),
        }


class Across(NamedTuple):
    """How many images of a split lie in another one, too, or look like one of it.

    Attributes:
        pack, split: whose images are counted; the split is None for samples in none.
        other_pack, other_split: where they are met again.
        images: how many.
    """

    pack: str
    split: str | None
    other_pack: str
    other_split: str | None
    images: int


@dataclass(frozen=True)
class Duplicates:
    """What `dedupe` or `leakage` has found.

    Attributes:
        packs: the folders of the packs, as they were given.
        images: how many were compared.
        groups: those across packs and splits first, then by the agreement of annotations, the worst first.
        across: of `leakage`, how many images each split shares with another; splits of one pack that contain one
            another are left out.
        shared: of `leakage`, splits of one pack that have samples in common without one containing the other:
            (pack, split, split, samples).
        dropped: how many images there are less without duplicates.
        derived: the pack without duplicates, where one was asked for.
        problems: images that could not be read or are plain, as `Findings.as_dict` gives them.
    """

    packs: tuple[str, ...]
    images: int
    groups: tuple[Group, ...]
    across: tuple[Across, ...] = ()
    shared: tuple[tuple[str, str, str, int], ...] = ()
    derived: Derived | None = None
    problems: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return line(self, counted(self.images, "image"), counted(len(self.groups), "group"))

    @property
    def dropped(self) -> int:
        """How many images the groups have beyond those to keep."""
        return sum(len(group.members) - len(group.kept) for group in self.groups)

    @property
    def skipped(self) -> int:
        """How many images could not be read."""
        return sum(item["count"] for item in self.problems.get("skipped", ()))

    def error(self) -> InvalidInput | None:
        """The error of having duplicates, for those who want none; None where there are none."""
        if not self.groups and not self.shared:
            return None
        images = sum(len(group.members) for group in self.groups)
        facts = [f"{counted(len(self.groups), 'group')} of {counted(images, 'image')}"] if self.groups else []
        facts += [f"{counted(count, 'sample')} in both {one!r} and {other!r}" for _, one, other, count in self.shared]
        return InvalidInput(
            "there are duplicates",
            file=self.packs[0] if len(self.packs) == 1 else None,
            why="; ".join(facts),
            fix="look at the groups; segdata dedupe PACK -o OUT makes a pack without them",
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "packs": list(self.packs),
            "images": self.images,
            "groups": [group.as_dict() for group in self.groups],
            "across": [row._asdict() for row in self.across],
            "shared": [
                {"pack": pack, "splits": [one, other], "samples": count} for pack, one, other, count in self.shared
            ],
            "derived": None if self.derived is None else self.derived.as_dict(),
            "problems": dict(self.problems),
        }
