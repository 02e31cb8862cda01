"""The table of a shard in which some samples have other annotations; every other row is taken over as it lies there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.rle import pointer_of
from segdata.derivation.pieces import Piece
from segdata.pack.entries import ARRAYS
from segdata.pack.write import table_of

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Ranges = list[tuple[int, int, int]]
"""Consecutive rows of a new table: which of two tables they come from, the first row there, and the row after the last."""

_STORED = ("codec", "offset", "length", "crc32")


def annotated(piece: Piece, labels: LabelSpace) -> Arrays:
    """All columns of a piece's table, with the samples that its change gives other annotations.

    Raises:
        DamagedData: the parent's table is not what was written.
    """
    table, store = piece.shard.table, piece.parent.store
    rows = sorted(piece.change.annotations)
    samples = (piece.change.annotations[row](store.sample(piece.shard.first + row)) for row in rows)
    stored = (tuple(table[f"image/{name}"].item(row) for name in _STORED) for row in rows)
    others = table_of(zip(samples, stored, strict=True), labels)
    images = _ranges(rows, table.length("image/id"))
    pointers = table["instance/pointer"], others["instance/pointer"]
    objects = _below(images, pointers)
    arrays = {
        **_taken("image", images, table.__getitem__, others.get),
        **_taken("semantic", images, table.__getitem__, others.get),
        "instance/pointer": pointer_of(np.concatenate([np.diff(pointers[of])[begin:end] for of, begin, end in images])),
        **_taken("instance", objects, table.__getitem__, others.get),
        **_scores(objects, (table["instance/score"], others.get("instance/score"))),
        **_polygons(objects, (table.__getitem__, others.get)),
    }
    return {name: np.asarray(array, ARRAYS[name][0]) for name, array in arrays.items()}


def _ranges(rows: Iterable[int], count: int) -> Ranges:
    """All rows of the first table, with those of the second in place of `rows`."""
    ranges, after = [], 0
    for number, row in enumerate(rows):
        ranges += [(0, after, row), (1, number, number + 1)]
        after = row + 1
    return [*ranges, (0, after, count)]


def _below(ranges: Ranges, pointers: tuple[Array, Array]) -> Ranges:
    """The rows that belong to those of some ranges, one pointer for each table."""
    return [(of, int(pointers[of][begin]), int(pointers[of][end])) for of, begin, end in ranges]


def _taken(group: str, ranges: Ranges, *tables: Callable[[str], Any]) -> Arrays:
    """The columns of images, label maps or objects in these ranges, but those of objects that a table may lack."""
    arrays: Arrays = {}
    lists = {name.removesuffix("_offset") for name in ARRAYS if name.endswith("_offset")} | {"semantic/data"}
    for name in ARRAYS:
        if not name.startswith(f"{group}/") or name in _OTHERS or (name.endswith("offset") and name != "image/offset"):
            continue
        if name not in lists:
            arrays[name] = _joined(ranges, [table(name) for table in tables])
            continue
        offset = "semantic/offset" if name == "semantic/data" else f"{name}_offset"
        offsets = tables[0](offset), tables[1](offset)
        arrays[name] = _joined(_below(ranges, offsets), [table(name) for table in tables])
        arrays[offset] = pointer_of(_joined(ranges, [np.diff(each) for each in offsets]))
    return arrays


_OTHERS = ("instance/pointer", "instance/score", "instance/polygon", "instance/ring_offset", "instance/polygon_offset")


def _joined(ranges: Ranges, columns: list[Array]) -> Array:
    return np.concatenate([columns[of][begin:end] for of, begin, end in ranges])


def _scores(objects: Ranges, columns: tuple[Array | None, Array | None]) -> Arrays:
    """The scores, where an object has one."""
    parts = [
        np.full(end - begin, np.nan) if column is None else column[begin:end]
        for of, begin, end in objects
        for column in (columns[of],)
    ]
    scores = np.concatenate(parts)
    return {} if np.isnan(scores).all() else {"instance/score": scores}


def _polygons(objects: Ranges, tables: tuple[Callable[[str], Any], Callable[[str], Any]]) -> Arrays:
    """The polygons, where an object has some."""
    values, lengths, counts = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for of, begin, end in objects:
        pointer = tables[of]("instance/polygon_offset")
        if pointer is None:
            counts.append(np.zeros(end - begin, np.int64))
            continue
        rings = tables[of]("instance/ring_offset")[int(pointer[begin]) : int(pointer[end]) + 1]
        values.append(tables[of]("instance/polygon")[int(rings[0]) : int(rings[-1])])
        lengths.append(np.diff(rings))
        counts.append(np.diff(pointer[begin : end + 1]))
    number = np.concatenate(counts)
    if not number.any():
        return {}
    return {
        "instance/polygon": np.concatenate(values),
        "instance/ring_offset": pointer_of(np.concatenate(lengths)),
        "instance/polygon_offset": pointer_of(number),
    }
