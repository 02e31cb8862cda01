"""The packs that are compared: their images, and of which splits these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdata.core.arrays import IntArray
from segdata.derivation.duplicates import groups
from segdata.derivation.duplicates.agreement import agreement
from segdata.derivation.duplicates.levels import Images
from segdata.derivation.duplicates.report import Group, Member, Pair
from segdata.errors import InvalidInput, UsageError, no_split
from segdata.pack.read import Pack, open_pack
from segdata.system.files import real_path

Part = tuple[str, str | None]
"""A pack's folder and a split; None stands for the samples that are in none of the chosen ones."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The images of several packs.

    Attributes:
        names: the folders of the packs, as they were given.
        images: those of the chosen splits.
        parts: all splits that are compared.
        origin: (N,) int64, of each image the number of its origin.
        origins: of each origin the numbers of its parts: all images of an origin are in the same splits.
    """

    names: tuple[str, ...]
    images: Images
    parts: tuple[Part, ...]
    origin: IntArray
    origins: tuple[frozenset[int], ...]

    @classmethod
    def open(cls, packs: str | Path | Sequence[str | Path], splits: Sequence[str]) -> Inputs:
        """Open packs; one that is named twice counts once.

        Raises:
            NotThere: there is no such pack, or none of them has such a split.
            UsageError: no pack is named.
            InvalidInput: none of the samples has an image.
        """
        paths = [packs] if isinstance(packs, (str, Path)) else packs
        by_place: dict[Path, str] = {}
        for path in paths:
            by_place.setdefault(real_path(Path(path)), str(path))
        names = tuple(by_place.values())
        whole = [open_pack(name) for name in names]
        if not whole:
            raise UsageError("no pack is named")
        for name in splits:
            if not any(name in pack.splits for pack in whole):
                raise no_split(name, whole[0].splits, None, whole[0].path)
        chosen: list[Pack] = []
        parts: list[Part] = []
        origins: list[frozenset[int]] = []
        origin: list[IntArray] = []
        for name, pack in zip(names, whole, strict=True):
            of_pack = [split for split in pack.splits if not splits or split in splits]
            is_member = np.zeros((len(pack), len(of_pack) + 1), bool)
            for column, split in enumerate(of_pack):
                is_member[pack.splits[split], column] = True
            is_member[:, -1] = ~is_member.any(axis=1) & (not splits)
            selected = np.flatnonzero(is_member.any(axis=1) & (pack.column("image/codec") != 0))
            kinds, first, kind = np.unique(is_member[selected], axis=0, return_index=True, return_inverse=True)
            order = np.argsort(first)
            origin.append(np.argsort(order)[kind.reshape(-1)] + len(origins))
            origins += [frozenset((np.flatnonzero(row) + len(parts)).tolist()) for row in kinds[order]]
            parts += [(name, split) for split in (*of_pack, None)]
            chosen.append(pack.select(selected))
        if not any(map(len, chosen)):
            raise InvalidInput(
                "there is no image to compare",
                file=names[0],
                why="the samples have none",
                fix="convert the dataset with --images embed or --images reference",
            )
        return cls(names, Images(chosen), tuple(parts), np.concatenate(origin), tuple(origins))

    def described(self, group: groups.Group) -> Group:
        """A group with keys and splits, and with the agreement of annotations."""
        position = {number: position for position, number in enumerate(group.numbers)}
        return Group(
            tuple(map(self._member, group.numbers)),
            tuple(
                Pair(position[link.one], position[link.other], *link[2:], iou=self._agreement(link))
                for link in group.links
            ),
            tuple(position[number] for number in group.kept),
        )

    def common(self, one: int, other: int) -> tuple[int, int]:
        """How many samples two parts have in common, and how many the smaller of them has."""
        mine, theirs = (np.array([part in parts for parts in self.origins], bool)[self.origin] for part in (one, other))
        return int(np.count_nonzero(mine & theirs)), min(int(mine.sum()), int(theirs.sum()))

    def _member(self, number: int) -> Member:
        pack = int(self.images.pack[number])
        index = int(self.images.index[number])
        splits = [self.parts[part][1] for part in sorted(self.origins[int(self.origin[number])])]
        return Member(
            self.names[pack],
            int(self.images.packs[pack].indices[index]),
            self.images.packs[pack].key(index),
            tuple(split for split in splits if split is not None),
        )

    def _agreement(self, link: groups.Link) -> float | None:
        one, other = (self.images.packs[int(self.images.pack[number])].labels for number in link[:2])
        return agreement(self.images.sample(link.one), self.images.sample(link.other), (one, other), link.orientation)
