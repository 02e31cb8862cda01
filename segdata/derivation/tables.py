"""The changed table of a shard, computed by columns; the images' positions in the shard's other file stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.rle import pointer_of
from segdata.derivation.annotations import annotated
from segdata.derivation.pieces import Change, Mask, Piece
from segdata.pack.entries import ARRAYS
from segdata.pack.tables import MappedFile
from segdata.pack.write import compressed_map, map_compressor
from segdata.system.files import crc32

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


def changed(piece: Piece, labels: LabelSpace) -> Arrays:
    """All columns of a piece's table by their names in the pack, as `convert` would write them.

    Args:
        labels: the label space of the new pack.

    Raises:
        DamagedData: the parent's table is not what was written.
    """
    table, change = piece.shard.table, piece.change
    if change.annotations:
        return annotated(piece, labels)
    rows = np.ones(table.length("image/id"), bool) if change.rows is None else change.rows
    objects = staying(table, change)
    arrays: Arrays = {
        **_text(table, "image/key", rows, change.key_prefix),
        **_text(table, "image/file", rows, change.file_prefix),
        **{f"image/{name}": table[f"image/{name}"][rows] for name in _OF_IMAGES},
        **_list(table, "image/extra", rows),
        **_maps(piece, rows, labels),
        **_of_objects(table, rows, objects, change.mapping),
    }
    return {name: np.asarray(array, ARRAYS[name][0]) for name, array in arrays.items()}


def staying(table: MappedFile, change: Change) -> Mask:
    """(M,) bool: the objects of a table that a change leaves in it."""
    objects = np.ones(table.length("instance/id"), bool) if change.objects is None else change.objects
    if change.rows is not None:
        objects = objects & change.rows.repeat(np.diff(table["instance/pointer"]))
    if change.mapping is not None:
        objects = objects & (change.mapping.indices >= 0)[table["instance/category"]]
    return objects


_OF_IMAGES = ("id", "size", "flags", "codec", "offset", "length", "crc32")


def _list(table: MappedFile, name: str, keep: Mask) -> Arrays:
    """Some items of an array of variable lengths, with their offsets."""
    values, offset = _some(table[name], table[f"{name}_offset"], keep)
    return {name: values, f"{name}_offset": offset}


def _some(values: Array, offset: Array, keep: Mask) -> tuple[Array, Array]:
    if keep.all():
        return values, offset
    lengths = np.diff(offset)
    return values[keep.repeat(lengths)], pointer_of(lengths[keep])


def _text(table: MappedFile, name: str, keep: Mask, prefix: str) -> Arrays:
    """Some texts, each with a prefix; a text that is empty stays so."""
    values, offset = _some(table[name], table[f"{name}_offset"], keep)
    if prefix:
        before = np.frombuffer(prefix.encode("utf-8", "surrogatepass"), np.uint8)
        lengths = np.diff(offset)
        added = np.where(lengths > 0, len(before), 0)
        longer = pointer_of(lengths + added)
        text = np.empty(longer[-1], np.uint8)
        is_before = np.zeros(len(text), bool)
        begin = longer[:-1][added > 0]
        is_before[(begin[:, None] + np.arange(len(before))).reshape(-1)] = True
        text[is_before] = np.tile(before, len(begin))
        text[~is_before] = values
        values, offset = text, longer
    return {name: values, f"{name}_offset": offset}


def _maps(piece: Piece, rows: Mask, labels: LabelSpace) -> Arrays:
    """The label maps of some samples, as they are or with other categories."""
    table = piece.shard.table
    if piece.change.mapping is None or not len(table["semantic/data"]):
        data, offset = _some(table["semantic/data"], table["semantic/offset"], rows)
        return {"semantic/data": data, "semantic/offset": offset, "semantic/crc32": table["semantic/crc32"][rows]}
    frames = list(_mapped(piece, rows, labels))
    return {
        "semantic/data": np.frombuffer(b"".join(frames), np.uint8),
        "semantic/offset": pointer_of(np.array([len(frame) for frame in frames], np.int64)),
        "semantic/crc32": np.array([crc32(frame) for frame in frames], np.uint32),
    }


def _mapped(piece: Piece, rows: Mask, labels: LabelSpace) -> Iterator[bytes]:
    compressor = map_compressor()
    for row in np.flatnonzero(rows).tolist():
        semantic = piece.parent.store.sample(piece.shard.first + row, piece.change.mapping).semantic
        yield b"" if semantic is None else compressed_map(semantic, labels.dtype, compressor)


def _of_objects(table: MappedFile, rows: Mask, keep: Mask, mapping: LabelMapping | None) -> Arrays:
    pointer = table["instance/pointer"]
    category = table["instance/category"][keep]
    kept_before = pointer_of(keep)
    arrays: Arrays = {
        "instance/pointer": pointer_of(np.diff(kept_before[pointer])[rows]),
        "instance/id": table["instance/id"][keep],
        "instance/order": table["instance/order"][keep],
        "instance/category": category if mapping is None else mapping.indices[category],
        **{f"instance/{name}": table[f"instance/{name}"][keep] for name in ("flags", "bbox", "area", "frame")},
    }
    arrays["instance/run"], arrays["instance/run_offset"] = _some(
        table["instance/run"], table["instance/run_offset"], keep
    )
    arrays |= _list(table, "instance/extra", keep)
    score, polygons = table["instance/score"], table["instance/polygon_offset"]
    if score is not None and not np.isnan(score[keep]).all():
        arrays["instance/score"] = score[keep]
    rings = None if polygons is None else np.diff(polygons)
    if rings is not None and rings[keep].any():
        arrays["instance/polygon"], arrays["instance/ring_offset"] = _some(
            table["instance/polygon"], table["instance/ring_offset"], keep.repeat(rings)
        )
        arrays["instance/polygon_offset"] = pointer_of(rings[keep])
    return arrays
