"""A few samples of a pack that stand for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segdata.derivation import stratify
from segdata.derivation.derive import Derived
from segdata.derivation.stratify import Units
from segdata.derivation.subset import subset
from segdata.errors import UsageError, number_of
from segdata.loading.balance import occurrences
from segdata.pack.read import Pack, open_pack
from segdata.places.address import require_folder
from segdata.system.files import disk_errors

if TYPE_CHECKING:
    from segdata.conversion.job import Progress


@disk_errors()
def sample(
    pack: str | Path,
    out: str | Path,
    number: int,
    *,
    balance: bool = False,
    seed: int = 0,
    force: bool = False,
    wait: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Derived:
    """Make a pack of so many samples of another, chosen so that they stand for all; no image is copied.

    Every split and every category has its share among them, as nearly as whole images allow. The same pack, number and
    seed give the same samples on every machine. They keep their order, ids and splits.

    Args:
        pack: the folder of a pack.
        out: the folder to make.
        number: of samples.
        balance: choose so that all categories are in about as many images, instead of in the pack's shares.
        seed: decides among samples that are equally good.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        workers: processes that write tables; by default as many as there are processors.
        progress: called with (samples done, samples in all), first of those whose label maps are read, then of the tables
            that are written.

    Returns:
        What was made.

    Raises:
        UsageError: the number is not between 1 and the pack's number of samples; or the target holds something else.
        NotThere: there is no pack.
        DamagedData: the pack is damaged where it is read.
    """
    require_folder(pack, "files of packs are linked, not copied")
    whole = open_pack(pack)
    if not 1 <= number <= len(whole):
        raise UsageError(
            f"the pack cannot give {number_of(number, 'sample')}",
            file=whole.path,
            why=f"it has {number_of(len(whole), 'sample')}",
            fix=f"--number can be 1 … {len(whole)}",
        )
    image, category = occurrences(whole, progress)
    if balance:
        keep = stratify.balanced(_units(whole, np.arange(len(whole)), image, category), number, seed)
    else:
        keep = _in_proportion(whole, image, category, number, seed)
    return subset(
        pack,
        keep,
        out,
        verb="sample",
        options={"number": number, "balance": balance, "seed": seed},
        force=force,
        wait=wait,
        workers=workers,
        progress=progress,
    )


Integers = npt.NDArray[np.int64]


def _in_proportion(pack: Pack, image: Integers, category: Integers, number: int, seed: int) -> npt.NDArray[np.bool_]:
    """(N,) bool: the samples that are chosen, of those in the same splits each a share."""
    in_split = np.zeros((len(pack), len(pack.splits)), bool)
    for column, members in enumerate(pack.splits.values()):
        in_split[members, column] = True
    kinds, kind_of = np.unique(in_split, axis=0, return_inverse=True)
    sizes = np.bincount(kind_of.reshape(-1), minlength=len(kinds)).tolist()
    keep = np.zeros(len(pack), bool)
    for kind, chosen in enumerate(_allotted(sizes, number)):
        members = np.flatnonzero(kind_of.reshape(-1) == kind)
        if 0 < chosen < len(members):
            share = Fraction(chosen, len(members))
            units = _units(pack, members, image, category)
            members = members[stratify.parts(units, [share, 1 - share], seed) == 0]
        if chosen:
            keep[members] = True
    return keep


def _allotted(sizes: Sequence[int], number: int) -> list[int]:
    """A number shared out in proportion to sizes: rounded down, and the rest to the largest remainders."""
    total = sum(sizes)
    given = [number * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda index: (-(number * sizes[index] % total), index))
    for index in by_remainder[: number - sum(given)]:
        given[index] += 1
    return given


def _units(pack: Pack, members: Integers, image: Integers, category: Integers) -> Units:
    """Some samples as units, in their order."""
    position = np.full(len(pack), -1, np.int64)
    position[members] = np.arange(len(members))
    is_member = position[image] >= 0
    names = [f"{pack.key(index)}\0{index}" for index in members.tolist()]
    return Units.of(names, position[image[is_member]], category[is_member], len(pack.labels))
