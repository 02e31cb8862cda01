"""`dedupe` finds images that packs have twice, `leakage` those that lie in several splits or packs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from segdata.core.arrays import IntArray
from segdata.core.findings import Findings
from segdata.derivation.duplicates import groups
from segdata.derivation.duplicates.inputs import Inputs
from segdata.derivation.duplicates.levels import LEVELS, Alike, Images, Progress, compare
from segdata.derivation.duplicates.report import Across, Duplicates, Group
from segdata.derivation.subset import subset
from segdata.errors import UsageError
from segdata.pack.layout import SEMANTIC_ANNOTATED
from segdata.pack.read import open_pack
from segdata.system.files import disk_errors

NEAR = 31
"""Bits of 256 in which hashes of one picture differ at most after it was compressed, scaled or brightened."""

MOST_BITS = 63
"""Pictures whose hashes differ in more bits do not look alike."""

Level = Literal["bytes", "pixels", "near"]
Keep = Literal["first", "largest", "most-annotated"]
KEEP: tuple[Keep, ...] = ("first", "largest", "most-annotated")


@disk_errors()
def dedupe(
    packs: str | Path | Sequence[str | Path],
    *,
    splits: Sequence[str] = (),
    level: Level = "near",
    distance: int = NEAR,
    flips: bool = False,
    keep: Keep = "first",
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Duplicates:
    """Find the images that packs have more than once, and make a pack without the superfluous ones.

    Images are equal as files, else as pixels, else they look alike: their perceptual hashes, by PDQ's rule, differ in few of
    256 bits, as they do after compression, scaling, brightening or without colours. Plain images are compared as equal
    pixels alone. Hashes are computed once and kept in the user's cache folder.

    Args:
        packs: a pack, or several.
        splits: names of the splits to compare; by default all samples.
        level: "bytes" compares files alone, "pixels" also what they decode to, "near" also how pictures look.
        distance: in how many bits hashes of pictures may differ that look alike, 0 … 63; unrelated ones differ in 128.
        flips: whether mirrored and turned pictures look alike, too.
        keep: which image of a group is kept: the "first" in the order of the packs, the "largest" by pixels and then bytes,
            or the "most-annotated" by objects. Of images that look alike only in steps, several are kept, so that every
            dropped one looks like a kept one.
        out: the folder of a pack without the others, made of links; only with one pack.
        force: replace a target that holds something else.
        progress: called as `progress(images hashed, images to hash)`.

    Raises:
        NotThere: no pack, or no such split.
        InvalidInput: no image to compare.
        UsageError: an option is out of its range, or more than 20 million pairs look alike.
    """
    if keep not in KEEP:
        raise UsageError(f"keep is {keep!r}", why=f"expected {', '.join(KEEP)}")
    inputs = Inputs.open(packs, splits)
    if out is not None and len(inputs.names) > 1:
        raise UsageError(
            "a pack without duplicates is made of one pack",
            why=f"there are {len(inputs.names)}",
            fix="merge them first: segdata merge PACK PACK -o OUT",
        )
    findings = Findings()
    alike = _compared(inputs.images, level, distance, findings, flips=flips, progress=progress)
    together = groups.everywhere(alike, _rank(inputs.images, keep))
    described = _sorted(map(inputs.described, together))
    derived = None
    if out is not None:
        stays = np.ones(len(open_pack(inputs.names[0])), bool)
        for group in described:
            stays[[member.index for position, member in enumerate(group.members) if position not in group.kept]] = False
        options = {"level": level, "distance": distance, "flips": flips, "keep": keep, "splits": list(splits)}
        derived = subset(inputs.names[0], stays, out, verb="dedupe", options=options, force=force)
    return Duplicates(inputs.names, len(inputs.images), tuple(described), derived=derived, problems=findings.as_dict())


@disk_errors()
def leakage(
    packs: str | Path | Sequence[str | Path],
    *,
    splits: Sequence[str] = (),
    level: Level = "near",
    distance: int = NEAR,
    flips: bool = False,
    progress: Progress | None = None,
) -> Duplicates:
    """Find the images that lie in several splits or packs, or look like one of another split or pack.

    Compares as `dedupe` does, with the same options and errors. Two samples are across where they are of different packs,
    or of different splits of one; where all are of one split, that is remarked.
    """
    inputs = Inputs.open(packs, splits)
    findings = Findings()
    if len(frozenset().union(*inputs.origins)) < 2:
        findings.remark("all images are in one split: name two splits or more, or another pack", inputs.names[0])
    alike = _compared(inputs.images, level, distance, findings, flips=flips, progress=progress)
    together, elsewhere = groups.across(alike, inputs.origin)
    return Duplicates(
        inputs.names,
        len(inputs.images),
        tuple(_sorted(map(inputs.described, together))),
        across=tuple(_across(inputs, elsewhere)),
        shared=tuple(_shared(inputs)),
        problems=findings.as_dict(),
    )


def _compared(
    images: Images, level: str, distance: int, findings: Findings, *, flips: bool, progress: Progress | None
) -> Alike:
    """The images compared, with options that are in their range."""
    if level not in LEVELS or not 0 <= distance <= MOST_BITS:
        raise UsageError(
            "options of comparing images are out of range",
            why=f"level {level!r} ({', '.join(LEVELS)}), distance {distance} (0 … {MOST_BITS})",
        )
    return compare(images, level, distance, findings, flips=flips, progress=progress)


def _rank(images: Images, keep: Keep) -> IntArray:
    """(N,) int64, the order in which images are preferred, the smallest first."""
    number = np.arange(len(images))
    order = number
    if keep == "largest":
        pixels = images.column("image/size").astype(np.int64).prod(axis=1)
        order = np.lexsort((number, -images.column("image/length"), -pixels))
    elif keep == "most-annotated":
        objects = [np.bincount(pack.object_categories()[0], minlength=len(pack)) for pack in images.packs]
        has_map = images.column("image/flags") & SEMANTIC_ANNOTATED
        order = np.lexsort((number, -has_map.astype(np.int64), -np.concatenate(objects)))
    rank = np.empty_like(number)
    rank[order] = number
    return rank


def _sorted(described: Iterator[Group]) -> list[Group]:
    """Groups across splits and packs first, then those whose annotations agree least, then in order."""
    return sorted(described, key=lambda group: (not group.is_across, 2.0 if group.iou is None else group.iou))


def _across(inputs: Inputs, elsewhere: IntArray) -> Iterator[Across]:
    """How many images each split has that are met in another one again, which does not contain it, nor lies in it.

    Args:
        elsewhere: (Q, 2) int64, as `groups.across` gives it.
    """
    met: dict[tuple[int, int], set[int]] = defaultdict(set)
    for image, other in elsewhere.tolist():
        for mine in inputs.origins[inputs.origin[image]]:
            for theirs in inputs.origins[other] - {mine}:
                met[mine, theirs].add(image)
    for (mine, theirs), images in sorted(met.items()):
        common, smaller = inputs.common(mine, theirs)
        if common < smaller:
            yield Across(*inputs.parts[mine], *inputs.parts[theirs], len(images))


def _shared(inputs: Inputs) -> Iterator[tuple[str, str, str, int]]:
    """Splits of one pack that have some samples in common, and how many."""
    for one, other in combinations(range(len(inputs.parts)), 2):
        (pack, split), (_, theirs) = inputs.parts[one], inputs.parts[other]
        common, smaller = inputs.common(one, other)
        if 0 < common < smaller and split is not None and theirs is not None:
            yield pack, split, theirs, common
