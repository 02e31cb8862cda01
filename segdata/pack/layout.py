"""The pack format: file names, arrays, flags and the index. docs/pack.md specifies it for other readers.

    pack/
        pack.json                      the index: written last, the commit point
        pack-copy.json                 the same bytes, for when the index is damaged; no reader needs it
        dataset-3f21….h5               splits and documents
        annotations-00000-9f3a….h5     one per shard: tables and masks of a run of consecutive samples
        images-00000-51c2….h5          one per shard with embedded images: the files' bytes, one after another

Every array is contiguous, little-endian and unfiltered; its byte offset is in the index, so that a reader maps the
files and needs no HDF5 library.

What is in an index that was read can be used without another look: types and ranges are right and its parts agree with
each other; keys that this version does not know are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from segdata.core.images import MOST_PIXELS
from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, SegdataError, Unsafe
from segdata.pack.entries import (
    FEW,
    Count,
    Crc32,
    FileEntry,
    ManyShards,
    Number,
    RawShard,
    Sha256,
    ShardEntry,
    check_file,
    check_shard,
)
from segdata.places.address import Address
from segdata.places.bucket import bucket
from segdata.system.files import checked_name, crc32
from segdata.system.reading import open_file

FORMAT = "segdata pack"
VERSION = 1

INDEX = "pack.json"
COPY = "pack-copy.json"
INSTANCES_ANNOTATED = 1
SEMANTIC_ANNOTATED = 2

IS_CROWD = 1
IS_DIFFICULT = 2
IS_TRUNCATED = 4
IS_OCCLUDED = 8
HAS_MASK = 16

CODECS = {"none": 0, "jpeg": 1, "png": 2, "bmp": 3, "tiff": 4, "webp": 5, "gif": 6, "qoi": 7}

MAX_BYTES = 1 << 26
"""Bytes of the largest index that is read: some 19,000 shards."""

_FEW_BYTES = 1 << 18
"""An index of fewer bytes does not name many shards."""

Images = Literal["embed", "reference", "none"]

_Byte = Annotated[int, Meta(ge=0, le=255)]
_Scalar = bool | int | float | str | None
_Value: Any = _Scalar
for _ in range(4):
    _Value = _Scalar | list[_Value] | dict[str, _Value]

_PLAIN = re.compile(r"[a-z][a-z0-9-]{1,99}\.h5")
"""Names that need no closer look."""

_ZEROS = b"00000000"
_HEAD = b'{"crc32": "'


def is_pack(path: Path) -> bool:
    """Whether a folder holds a pack; at an address there is nothing else."""
    return isinstance(path, Address) or (path / INDEX).is_file()


def encode_index(index: Mapping[str, Any]) -> bytes:
    """The bytes of `pack.json`: `crc32` comes first and covers the file with its own eight digits set to "0"."""
    text = json.dumps(index, sort_keys=True, ensure_ascii=False, allow_nan=False, default=list)
    body = _HEAD + _ZEROS + b'", ' + text[1:].encode("utf-8", "surrogatepass")
    return _HEAD + f"{crc32(body):08x}".encode() + body[len(_HEAD) + 8 :]


def normalised(index: Mapping[str, Any]) -> dict[str, Any]:
    """A new index as it is read back."""
    return _checked_index(encode_index(index))


def read_index(folder: Path, name: str = INDEX) -> dict[str, Any]:
    """Read and check a pack's index, or its copy; what is in it can be used without another look.

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
        data = _index_bytes(folder, name)
    except (FileNotFoundError, NotADirectoryError) as error:
        make = f"segdata push PACK {folder}" if isinstance(folder, Address) else f"segdata convert SOURCE {folder}"
        where = "at" if isinstance(folder, Address) else "in"
        raise NotThere(f"there is no pack {where} {folder}", file=path, fix=rebuild or make) from error
    try:
        index = decoded_index(data)
    except SegdataError as error:
        error.fix = error.fix or f"{rebuild or 'restore this file'}, or convert the dataset again with --force"
        raise error.located(file=path) from error
    if isinstance(index["shards"], ManyShards):
        index["shards"].path = path
    return index


def decoded_index(data: bytes) -> dict[str, Any]:
    """The index in the bytes of a `pack.json`, checked; raises as `read_index` does."""
    _check_bytes(data)
    return _checked_index(data)


def _index_bytes(folder: Path, name: str) -> bytes:
    if isinstance(folder, Address):
        return bucket(folder).whole(name, MAX_BYTES)[0]
    with open_file(folder / name) as file:
        return file.read(MAX_BYTES + 1)


def _check_bytes(data: bytes) -> None:
    """Refuse what does not begin as an index does, is larger than any, or has another checksum than it says."""
    if not data.startswith(_HEAD):
        raise DamagedData("this is not the index of a pack", why='it does not begin with {"crc32": "')
    if len(data) > MAX_BYTES:
        raise Unsafe("this is larger than any index of a pack", why=f"it has more than {MAX_BYTES:,} bytes")
    start = len(_HEAD)
    recorded = data[start : start + 8]
    if f"{crc32(memoryview(data)[start + 8 :], crc32(_HEAD + _ZEROS)):08x}".encode() != recorded:
        stated = recorded.decode("ascii", "replace")
        raise DamagedData("the pack's index is damaged", why=f"its checksum is not the stated {stated}")


def most_text(compressed: int) -> int:
    """Most bytes that documents of so many compressed bytes may expand to; more is a bomb."""
    return max(1 << 25, min(compressed << 6, 1 << 28))


def shard_files(index: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of all files that an index names, in order; those of many shards without their arrays."""
    shards = index["shards"]
    if isinstance(shards, ManyShards):
        return [index["dataset"], *shards.files()]
    files = [shard[name] for shard in shards for name in ("annotations", "images")]
    return [index["dataset"], *(entry for entry in files if entry is not None)]


def shard_counts(index: Mapping[str, Any]) -> list[tuple[int, int, bool]]:
    """Of each shard: samples, instances, and whether it has a file of images."""
    shards = index["shards"]
    if isinstance(shards, ManyShards):
        return list(shards.counts())
    return [(shard["samples"], shard["instances"], shard["images"] is not None) for shard in shards]


class _Split(Struct):
    name: str
    samples: Count


class _Category(Struct):
    id: Number
    name: str
    color: Annotated[list[_Byte], Meta(min_length=3, max_length=3)] | UnsetType | None = UNSET
    ignore: bool | UnsetType = UNSET
    isthing: bool | UnsetType | None = UNSET
    supercategory: str | UnsetType | None = UNSET


class _Labels(Struct):
    categories: list[_Category]
    name: str


class _Parent(Struct):
    name: str
    sha256: Sha256


class _Provenance(Struct):
    fingerprint: str
    format: str
    layout: str
    options: dict[str, _Value]
    root: str
    segdata: str
    parents: list[_Parent] | UnsetType = UNSET


class _Remarks(Struct):
    count: Count
    examples: list[str]


class _Iou(Struct):
    masks: Count
    min: float
    sum: float


class _Losses(Struct):
    count: Count
    keys: list[str]
    iou: _Iou | UnsetType = UNSET


class _Skipped(Struct):
    count: Count
    kind: str


class _Problem(Struct):
    exit: int
    id: str
    message: str
    file: str | UnsetType = UNSET
    fix: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    place: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    why: str | UnsetType = UNSET


class Report(Struct):
    """`Findings.as_dict`."""

    first: list[_Problem]
    losses: dict[str, _Losses]
    remarks: dict[str, _Remarks]
    skipped: list[_Skipped]


class _Kind(Struct):
    format: Any = None
    version: Any = None


class _Index(Struct):
    crc32: Crc32
    dataset: FileEntry
    format: str
    images: Images
    images_root: str | None
    instances: Count
    labels: _Labels
    provenance: _Provenance
    report: Report
    samples: Count
    shards: list[ShardEntry]
    splits: list[_Split]
    version: int
    max_pixels: Annotated[int, Meta(ge=1, le=MOST_PIXELS)] | UnsetType = UNSET


class _RawIndex(_Index):
    shards: list[RawShard]  # type: ignore[assignment]


def _checked_index(data: bytes) -> dict[str, Any]:
    """The index in the bytes of a `pack.json` whose checksum is right.

    Raises:
        InvalidInput: not an index, of another version, or not as this version has it; `place` names the field.
        DamagedData: it contradicts itself.
        Unsafe: a file name that leads out of the folder.
    """
    index = _index_of_many(data) if len(data) > _FEW_BYTES else None
    kind = _decoded(data, _Kind) if index is None else _Kind(index["format"], index["version"])
    if kind.format != FORMAT or type(kind.version) is not int:
        raise InvalidInput("this is not the index of a pack", why=f"format is {kind.format!r}"[:200])
    if kind.version != VERSION:
        raise InvalidInput(
            f"the pack is of version {kind.version}; this segdata reads version {VERSION}"[:200],
            fix="update segdata: git pull in its clone, then pip install ."
            if kind.version > VERSION
            else "convert the dataset again",
        )
    if index is None:
        index = msgspec.to_builtins(_decoded(data, _Index))
    _check_names(index)
    _check_counts(index)
    _check_arrays(index)
    LabelSpace.from_dict(index["labels"])
    return index


def _index_of_many(data: bytes) -> dict[str, Any] | None:
    """An index that names many shards, their arrays as they are; None where they are few."""
    try:
        raw = msgspec.json.decode(data, type=_RawIndex)
    except (ValueError, RecursionError):
        return None
    if len(raw.shards) <= FEW:
        return None
    shards, raw.shards = raw.shards, []
    return {**msgspec.to_builtins(raw), "shards": ManyShards(shards)}


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except UnicodeDecodeError:  # a folder's name that is no text, which our writer keeps as surrogates
            return msgspec.convert(json.loads(data), kind)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at ")
        raise InvalidInput(
            "the pack's index is not as its version has it", place=where.strip("`") or None, why=why
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the pack's index is not JSON", why=str(error)[:200]) from error


def _check_names(index: Mapping[str, Any]) -> None:
    """Refuse names of files that are no plain names, and what has the same name twice."""
    shards = index["shards"]
    names = shards.names() if isinstance(shards, ManyShards) else [entry["file"] for entry in shard_files(index)[1:]]
    names.append(index["dataset"]["file"])
    for name in names:
        if _PLAIN.fullmatch(name):
            continue
        if "/" in name:
            raise Unsafe("the pack's index names a file outside its folder", why=f"{name!r}")
        checked_name(name, "the pack's index")
        if not name.isascii() or not name.isprintable() or not name.endswith(".h5") or len(name) > 255:
            raise InvalidInput("the pack's index names a file as no file of a pack is named", why=f"{name!r}"[:300])
    splits = [split["name"] for split in index["splits"]]
    for what, values in (("file", names), ("split", splits)):
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise DamagedData("the pack's index contradicts itself", why=f"it names the {what} {twice!r} twice")


def _check_counts(index: Mapping[str, Any]) -> None:
    """Refuse counts that contradict each other or the shapes of the arrays."""
    for wrong in _wrong_counts(index):
        raise DamagedData("the pack's index contradicts itself", why=wrong)


def _wrong_counts(index: Mapping[str, Any]) -> Iterator[str]:
    counts = shard_counts(index)
    for column, name in enumerate(("samples", "instances")):
        total = sum(count[column] for count in counts)
        if index[name] != total:
            yield f"it says {index[name]:,} {name}, the shards have {total:,}"
    for number, (_, _, has_images) in enumerate(counts):
        if has_images != (index["images"] == "embed"):
            yield f"images are {index['images']!r}, shard {number} has {'a' if has_images else 'no'} file of images"
    for number, shard in enumerate(() if isinstance(index["shards"], ManyShards) else index["shards"]):
        for name, array in (("samples", "image/size"), ("instances", "instance/id")):
            shape = _shape(shard["annotations"], array)
            if shape and shard[name] != shape[0]:
                yield f"shard {number} says {shard[name]:,} {name}, its table has {shape[0]:,}"
    for number, split in enumerate(index["splits"]):
        shape = _shape(index["dataset"], f"split/{number}") or [0]
        if shape != [split["samples"]]:
            yield f"split {split['name']!r} says {split['samples']:,} samples, its list has {shape[0]:,}"


def _shape(entry: Mapping[str, Any], name: str) -> list[int] | None:
    array = entry["arrays"].get(name)
    return None if array is None else array["shape"]


def _check_arrays(index: Mapping[str, Any]) -> None:
    """Refuse arrays that are not as the version has them.

    Raises:
        InvalidInput: the first such array.
    """
    splits = {f"split/{number}" for number in range(len(index["splits"]))}
    check_file("$.dataset", index["dataset"], {"documents", *splits}, set(), {})
    if not isinstance(index["shards"], ManyShards):
        for number, shard in enumerate(index["shards"]):
            check_shard(number, shard)
