"""The pack format: file names, arrays, flags and the index. docs/pack.md specifies it for other readers.

    pack/
        pack.json                      the index: written last, the commit point
        pack-copy.json                 the same bytes, for when the index is damaged; no reader needs it
        dataset-3f21….h5               splits and documents
        annotations-00000-9f3a….h5     one per shard: tables and masks of a run of consecutive samples
        images-00000-51c2….h5          one per shard with embedded images: the files' bytes, one after another

Every array is contiguous, little-endian and unfiltered; its byte offset is in the index, so that a reader maps the
files and needs no HDF5 library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segdata.errors import DamagedData, InvalidInput, NotThere, Unsafe
from segdata.system.files import checked_name, crc32

INDEX = "pack.json"
COPY = "pack-copy.json"
FORMAT = "segdata pack"
VERSION = 1

Images = Literal["embed", "reference", "none"]

INSTANCES_ANNOTATED = 1
SEMANTIC_ANNOTATED = 2

IS_CROWD = 1
IS_DIFFICULT = 2
IS_TRUNCATED = 4
IS_OCCLUDED = 8
HAS_MASK = 16

CODECS = {"none": 0, "jpeg": 1, "png": 2, "bmp": 3, "tiff": 4, "webp": 5, "gif": 6}

ARRAYS: dict[str, str] = {
    "image/key": "u1",
    "image/key_offset": "<i8",
    "image/file": "u1",
    "image/file_offset": "<i8",
    "image/id": "<i8",
    "image/size": "<i4",
    "image/flags": "u1",
    "image/codec": "u1",
    "image/offset": "<i8",
    "image/length": "<i8",
    "image/crc32": "<u4",
    "image/extra": "u1",
    "image/extra_offset": "<i8",
    "instance/pointer": "<i8",
    "instance/id": "<i8",
    "instance/order": "<i8",
    "instance/category": "<u2",
    "instance/flags": "u1",
    "instance/bbox": "<f8",
    "instance/area": "<f8",
    "instance/score": "<f8",
    "instance/frame": "<i4",
    "instance/run": "<u2",
    "instance/run_offset": "<i8",
    "instance/polygon": "<f8",
    "instance/ring_offset": "<i8",
    "instance/polygon_offset": "<i8",
    "instance/extra": "u1",
    "instance/extra_offset": "<i8",
    "semantic/data": "u1",
    "semantic/offset": "<i8",
    "semantic/crc32": "<u4",
    "images/data": "u1",
    "documents": "u1",
}
"""dtype of every array; `split/0`, `split/1` … in the dataset file are "<i8"."""

_ZEROS = b"00000000"
_HEAD = b'{"crc32": "'


def is_pack(path: Path) -> bool:
    """Whether a folder holds a pack."""
    return (path / INDEX).is_file()


def encode_index(index: Mapping[str, Any]) -> bytes:
    """The bytes of `pack.json`: `crc32` comes first and covers the file with its own eight digits set to "0"."""
    text = json.dumps(index, sort_keys=True, ensure_ascii=False, allow_nan=False)
    body = _HEAD + _ZEROS + b'", ' + text[1:].encode("utf-8", "surrogatepass")
    return _HEAD + f"{crc32(body):08x}".encode() + body[len(_HEAD) + 8 :]


def read_index(folder: Path, name: str = INDEX) -> dict[str, Any]:
    """Read and check a pack's index, or its copy. Unknown keys are ignored.

    Args:
        name: `INDEX` or `COPY`.

    Raises:
        NotThere: there is no pack in this folder.
        DamagedData: the index is cut short or changed.
        InvalidInput: another kind of file, or a version that this segdata does not know.
        Unsafe: a file name that leads out of the folder.
    """
    path = folder / name
    other = folder / (COPY if name == INDEX else INDEX)
    rebuild = f"segdata verify {folder} --rebuild" if other.is_file() else None
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotThere(
            f"there is no pack in {folder}",
            file=path,
            fix=rebuild or f"segdata convert SOURCE {folder}",
        ) from error
    fix = f"{rebuild or 'restore this file'}, or convert the dataset again with --force"
    start = len(_HEAD)
    recorded = data[start : start + 8]
    if not data.startswith(_HEAD):
        why = 'it does not begin with {"crc32": "'
        raise DamagedData("this is not the index of a pack", file=path, why=why, fix=fix)
    if f"{crc32(data[:start] + _ZEROS + data[start + 8 :]):08x}".encode() != recorded:
        raise DamagedData(
            "the pack's index is damaged",
            file=path,
            why=f"its checksum is not the stated {recorded.decode('ascii', 'replace')}",
            fix=fix,
        )
    index: dict[str, Any] = json.loads(data)
    if index.get("format") != FORMAT or not isinstance(index.get("version"), int):
        raise InvalidInput("this is not the index of a pack", file=path, why=f"format is {index.get('format')!r}")
    if index["version"] != VERSION:
        raise InvalidInput(
            f"the pack is of version {index['version']}; this segdata reads version {VERSION}",
            file=path,
            fix="pip install --upgrade segdata" if index["version"] > VERSION else "convert the dataset again",
        )
    try:
        for entry in shard_files(index):
            name = entry["file"]
            if "/" in name:
                raise Unsafe("the pack's index names a file outside its folder", file=path, why=f"{name!r}")
            checked_name(name, "the pack's index")
        wrong = _wrong_count(index)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        why = f"{type(error).__name__}: {error}"
        raise InvalidInput("the pack's index is not as its version has it", file=path, why=why, fix=fix) from error
    if wrong:
        raise DamagedData("the pack's index contradicts itself", file=path, why=wrong, fix=fix)
    return index


def _wrong_count(index: Mapping[str, Any]) -> str | None:
    """The first count that contradicts the shapes of the arrays, as a sentence; None where all agree."""
    for name in ("samples", "instances"):
        total = sum(shard[name] for shard in index["shards"])
        if index[name] != total:
            return f"it says {index[name]:,} {name}, the shards have {total:,}"
    for number, shard in enumerate(index["shards"]):
        arrays = shard["annotations"]["arrays"]
        for name, array in (("samples", "image/size"), ("instances", "instance/id")):
            if shard[name] != arrays[array]["shape"][0]:
                return f"shard {number} says {shard[name]:,} {name}, its table has {arrays[array]['shape'][0]:,}"
    for number, split in enumerate(index["splits"]):
        shape = index["dataset"]["arrays"].get(f"split/{number}", {"shape": [0]})["shape"]
        if shape != [split["samples"]]:
            return f"split {split['name']!r} says {split['samples']:,} samples, its list has {shape[0]:,}"
    return None


def shard_files(index: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of all files that an index names, in order."""
    files = [index["dataset"]]
    for shard in index["shards"]:
        files.append(shard["annotations"])
        if shard["images"] is not None:
            files.append(shard["images"])
    return files


def checked_array(
    name: str, entry: Mapping[str, Any], size: int, path: Path
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """dtype, shape and size in bytes of an array, from its entry in the index.

    Args:
        size: bytes of the file.

    Raises:
        InvalidInput: another dtype than this version's, or the array does not fit into the file.
    """
    dtype, shape, offset = expected_dtype(name), tuple(entry["shape"]), entry["offset"]
    length = math.prod(shape) * dtype.itemsize
    is_possible = all(isinstance(side, int) and side >= 0 for side in shape) and (
        not length or (isinstance(offset, int) and 0 <= offset <= size - length)
    )
    if dtype.str != entry["dtype"] or not is_possible:
        raise InvalidInput(
            f"the pack's index places {name} where it cannot be",
            file=path,
            why=f"dtype {entry['dtype']}, shape {shape}, offset {offset}; expected dtype {dtype.str}, "
            f"and the file has {size:,} bytes",
            fix="convert the dataset again with --force",
        )
    return dtype, shape, length


def expected_dtype(name: str) -> np.dtype[Any]:
    """dtype of the array called `name`.

    Raises:
        InvalidInput: no array of that name exists in this version.
    """
    if name.startswith("split/"):
        return np.dtype("<i8")
    if name not in ARRAYS:
        raise InvalidInput(f"the pack's index names an array {name!r} that version {VERSION} does not have")
    return np.dtype(ARRAYS[name])
