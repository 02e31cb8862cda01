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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdata.errors import DamagedData, NotThere, SegdataError, Unsafe
from segdata.pack import schema
from segdata.pack.schema import FORMAT as FORMAT
from segdata.pack.schema import VERSION as VERSION
from segdata.pack.schema import Images as Images
from segdata.system.files import crc32
from segdata.system.reading import open_file

INDEX = "pack.json"
COPY = "pack-copy.json"
INSTANCES_ANNOTATED = 1
SEMANTIC_ANNOTATED = 2

IS_CROWD = 1
IS_DIFFICULT = 2
IS_TRUNCATED = 4
IS_OCCLUDED = 8
HAS_MASK = 16

CODECS = {"none": 0, "jpeg": 1, "png": 2, "bmp": 3, "tiff": 4, "webp": 5, "gif": 6}

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


def normalised(index: Mapping[str, Any]) -> dict[str, Any]:
    """A new index as it is read back."""
    return schema.decode(encode_index(index))


def read_index(folder: Path, name: str = INDEX) -> dict[str, Any]:
    """Read and check a pack's index, or its copy; what is in it can be used as `schema` describes it.

    Args:
        name: `INDEX` or `COPY`.

    Raises:
        NotThere: there is no pack in this folder.
        DamagedData: the index is cut short or changed, or contradicts itself.
        InvalidInput: another kind of file, a version that this segdata does not know, or not as this version has it.
        Unsafe: a file name that leads out of the folder, or a file that is larger than any index.
    """
    path = folder / name
    other = folder / (COPY if name == INDEX else INDEX)
    rebuild = f"segdata verify {folder} --rebuild" if other.is_file() else None
    try:
        with open_file(path) as file:
            data = file.read(schema.MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotThere(
            f"there is no pack in {folder}",
            file=path,
            fix=rebuild or f"segdata convert SOURCE {folder}",
        ) from error
    try:
        _check_bytes(data)
        return schema.decode(data)
    except SegdataError as error:
        error.fix = error.fix or f"{rebuild or 'restore this file'}, or convert the dataset again with --force"
        raise error.located(file=path) from error


def _check_bytes(data: bytes) -> None:
    """Refuse what does not begin as an index does, is larger than any, or has another checksum than it says."""
    if not data.startswith(_HEAD):
        raise DamagedData("this is not the index of a pack", why='it does not begin with {"crc32": "')
    if len(data) > schema.MAX_BYTES:
        raise Unsafe("this is larger than any index of a pack", why=f"it has more than {schema.MAX_BYTES:,} bytes")
    start = len(_HEAD)
    recorded = data[start : start + 8]
    if f"{crc32(data[:start] + _ZEROS + data[start + 8 :]):08x}".encode() != recorded:
        stated = recorded.decode("ascii", "replace")
        raise DamagedData("the pack's index is damaged", why=f"its checksum is not the stated {stated}")


def most_text(compressed: int) -> int:
    """Most bytes that documents of so many compressed bytes may expand to; more is a bomb."""
    return max(1 << 25, min(compressed << 6, 1 << 28))


def shard_files(index: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of all files that an index names, in order."""
    return [entry for _, entry in schema.files(index)]
