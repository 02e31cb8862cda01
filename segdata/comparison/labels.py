"""Which category of one label space is which of the other, and what differs between the two spaces."""

from __future__ import annotations

from typing import Any

import numpy as np

from segdata.core.arrays import IntArray
from segdata.core.labels import LabelSpace

_FIELDS = ("id", "color", "isthing", "supercategory", "ignore")


def partners(one: LabelSpace, other: LabelSpace) -> IntArray:
    """(K,) int64, of each category of `one` the same in `other`, −1 where there is none.

    Categories are the same by their names; else by their ids, where neither name is in the other space, and where ids tell:
    common names have the same ids in both, or there are none and all ids are the same.
    """
    common = [name for name in one.index_of_name if name in other.index_of_name]
    do_ids_tell = all(one[one.index_of_name[name]].id == other[other.index_of_name[name]].id for name in common)
    do_ids_tell &= bool(common) or one.index_of_id.keys() == other.index_of_id.keys()
    result = np.full(len(one), -1)
    for index, category in enumerate(one.categories):
        partner = other.index_of_name.get(category.name)
        if partner is None and do_ids_tell:
            partner = other.index_of_id.get(category.id)
            if partner is not None and other[partner].name in one.index_of_name:
                partner = None
        result[index] = -1 if partner is None else partner
    return result


def differences(one: LabelSpace, other: LabelSpace) -> dict[str, Any]:
    """What differs, by kind; empty where nothing does.

    Returns:
        `removed`, `added`: names; `renamed`: pairs of names; `changed`: name → field → [in one, in other];
        `reordered`: True where common categories have another order.
    """
    partner = partners(one, other).tolist()
    pairs = [(one[index], other[to]) for index, to in enumerate(partner) if to >= 0]
    taken = {to for to in partner if to >= 0}
    changed = {
        mine.name: {
            name: [_plain(each, name) for each in (mine, theirs)] for name in _FIELDS if _is_other(mine, theirs, name)
        }
        for mine, theirs in pairs
    }
    kinds: dict[str, Any] = {
        "removed": [one[index].name for index, to in enumerate(partner) if to < 0],
        "added": [category.name for index, category in enumerate(other.categories) if index not in taken],
        "renamed": [[mine.name, theirs.name] for mine, theirs in pairs if mine.name != theirs.name],
        "changed": {name: fields for name, fields in changed.items() if fields},
        "reordered": [to for to in partner if to >= 0] != sorted(taken),
    }
    return {kind: value for kind, value in kinds.items() if value}


def _is_other(mine: Any, theirs: Any, name: str) -> bool:
    return bool(getattr(mine, name) != getattr(theirs, name))


def _plain(category: Any, name: str) -> Any:
    value = getattr(category, name)
    return list(value) if isinstance(value, tuple) else value
