"""Other splits for a pack: every part with its share of every category, what belongs together in one part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.derivation import stratify
from segdata.derivation.derive import CHANGED, Derived, Plan, derive
from segdata.derivation.pieces import Parent, Piece
from segdata.derivation.stratify import Units
from segdata.errors import NotThere, UsageError, number_of, require_choice
from segdata.loading.balance import occurrences
from segdata.pack.read import Pack, open_pack
from segdata.places.address import require_folder
from segdata.sets.splits import group_of, require_match, require_pattern
from segdata.system.files import disk_errors

if TYPE_CHECKING:
    from segdata.conversion.job import Progress

By = Literal["category", "image"]
"""What parts have their share of: the objects of every category, or images alone."""

_FIELD = "extra."


@disk_errors()
def split(
    pack: str | Path,
    out: str | Path,
    into: Mapping[str, float],
    *,
    by: By = "category",
    group: str | None = None,
    seed: int = 0,
    force: bool = False,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> Derived:
    """Make a pack of the same samples in other splits; nothing but splits and index is written.

    Each part has its share of the images, rounded, and within this size its share of the objects of every category, as
    nearly as whole images allow; where images have label maps alone, of the images with a category. Sizes of parts of
    groups are off by half a group of mean size at most, where groups allow. The same pack, shares and seed give the
    same splits on every machine.

    Args:
        pack: the folder of a pack.
        out: the folder to make.
        into: split → share of the samples: {"train": 0.8, "val": 0.1, "test": 0.1}; they sum up to 1.
        by: "category", or "image" for the number of images alone.
        group: samples of one group stay in one split: a regular expression, whose first group (else the whole match) in
            the key is the group's name; or "extra.NAME", a field that the source's record of the image has
            ("extra.video", "extra.meta.patient"). Samples without match or field are groups of their own.
        seed: decides among samples that are equally good.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        progress: called with (samples done, samples in all) of those whose label maps are read.

    Returns:
        What was made; `details` has `groups`, and the largest and mean `deviation` of a category's share in a split from
        the share that was asked for, with the `category` that has the largest.

    Raises:
        UsageError: shares that do not sum up to 1, more splits than groups, or what is no regular expression.
        NotThere: there is no pack; or no sample has the field.
        DamagedData: the pack is damaged where it is read.
    """
    require_choice("by", by, By)
    shares = _shares(into)
    parent = Parent.open(pack)
    require_folder(pack, "files of packs are linked, not copied")
    whole = open_pack(pack)
    names = groups(parent, whole, group)
    number = len(set(names))
    if number < len(shares):
        raise UsageError(
            f"there are more splits than {'samples' if group is None else 'groups'}",
            file=parent.folder,
            why=f"{number_of(number, 'sample' if group is None else 'group')}, {len(shares)} splits",
            fix="ask for fewer splits" if group is None else "ask for fewer splits, or group by something else",
        )
    part_of, deviations = _dealt(whole, names, list(shares.values()), by, seed, progress)
    del names  # which are large
    plan = Plan(
        verb="split",
        parents=[parent],
        pieces=[Piece(parent, shard) for shard, _ in parent.rows()],
        labels=parent.store.labels,
        splits={name: np.flatnonzero(part_of == number) for number, name in enumerate(shares)},
        documents=parent.store.documents,
        origin=CHANGED,
        images=parent.index["images"],
        images_root=parent.store.images_root,
        options={"into": dict(into), "by": by, "group": group, "seed": seed},
        details={"groups": number, **deviations},
    )
    return derive(plan, Path(out), force=force, wait=wait)


def _shares(into: Mapping[str, float]) -> dict[str, Fraction]:
    """Split → share, exactly as it was written: 0.1 is a tenth.

    Raises:
        UsageError: not shares of a whole.
    """
    values = list(into.values())
    is_valid = bool(values) and all(math.isfinite(value) and value > 0 for value in values) and all(into)
    if not is_valid or abs(math.fsum(values) - 1) > 1e-6:
        given = ", ".join(f"{name}={share:g}" for name, share in into.items()) or "nothing"
        raise UsageError(
            "shares of splits do not make up the whole",
            why=f"{given} sums up to {math.fsum(values):g}",
            fix="give shares above 0 that sum up to 1: --into train=0.8,val=0.1,test=0.1",
        )
    shares = {name: Fraction(str(float(value))).limit_denominator(10**9) for name, value in into.items()}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def groups(parent: Parent, pack: Pack, group: str | None) -> list[str]:
    """The name of each sample's group; see `split`.

    Args:
        pack: the same pack.

    Raises:
        UsageError: it is no regular expression, or no key matches it.
        NotThere: no sample has the field.
    """
    keys = [key.decode("utf-8", "surrogatepass") for key in parent.read_keys()]
    if group is None:
        return [
            f"{key}\0{index}" for index, key in enumerate(keys)
        ]  # a key may stand in several splits for several samples
    if not group.startswith(_FIELD):
        require_pattern(group)
        require_match(group, keys)
        return [f"{group_of(group, key)}" for key in keys]
    path = group.removeprefix(_FIELD).split(".")
    values = [_field(sample.extra, path) for sample in pack]
    if all(value is None for value in values):
        raise NotThere(
            f"no sample has the field {group!r}",
            file=pack.path,
            why=f"the first has {', '.join(sorted(pack[0].extra)) or 'none'}" if len(pack) else "there are no samples",
            fix="name a field of the images' records, or give a regular expression of keys",
        )
    return [
        f"key {key}\0{index}" if value is None else f"group {value}"
        for index, (key, value) in enumerate(zip(keys, values, strict=True))
    ]


def _field(record: Any, path: list[str]) -> str | None:
    """The value of a field in words; None where there is none."""
    for name in path:
        if not isinstance(record, Mapping) or record.get(name) is None:
            return None
        record = record[name]
    return repr(record)


def _dealt(
    pack: Pack, names: list[str], shares: list[Fraction], by: By, seed: int, progress: Progress | None
) -> tuple[npt.NDArray[np.int64], dict[str, float | str]]:
    """The part of every image, (N,), and how far shares are off."""
    nothing = np.zeros(0, np.int64)
    of_objects = occurrences(pack, progress) if by == "category" else (nothing, nothing)
    units = Units.of(names, *of_objects, len(pack.labels))
    del of_objects  # which are large
    part_of = stratify.parts(units, shares, seed)
    return part_of[units.unit_of], _deviations(units, part_of, shares, pack.labels)


def _deviations(
    units: Units, part_of: npt.NDArray[np.int64], shares: list[Fraction], labels: LabelSpace
) -> dict[str, float | str]:
    """How far the share of a category in a part is from the one that was asked for; nothing without categories."""
    rows = part_of[units.unit] * units.categories + units.category
    counts = np.bincount(rows, units.count, len(shares) * units.categories).reshape(len(shares), units.categories)
    there = np.flatnonzero(counts.sum(0))
    if not len(there):
        return {}
    shown = counts[:, there] / counts[:, there].sum(0)
    deviation = np.abs(shown - np.array([float(share) for share in shares])[:, None]).max(0)
    return {
        "largest_deviation": float(deviation.max()),
        "mean_deviation": float(deviation.mean()),
        "category": labels[int(there[deviation.argmax()])].name,
    }
