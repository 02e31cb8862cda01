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
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from segdata.core.images import MOST_PIXELS
from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, SegdataError, Unsafe
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

CODECS = {"none": 0, "jpeg": 1, "png": 2, "bmp": 3, "tiff": 4, "webp": 5, "gif": 6}

MAX_BYTES = 1 << 26
"""Bytes of the largest index that is read: some 19,000 shards."""

Images = Literal["embed", "reference", "none"]

ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "image/key": ("|u1", ("*",)),
    "image/key_offset": ("<i8", ("N + 1",)),
    "image/file": ("|u1", ("*",)),
    "image/file_offset": ("<i8", ("N + 1",)),
    "image/id": ("<i8", ("N",)),
    "image/size": ("<i4", ("N", 2)),
    "image/flags": ("|u1", ("N",)),
    "image/codec": ("|u1", ("N",)),
    "image/offset": ("<i8", ("N",)),
    "image/length": ("<i8", ("N",)),
    "image/crc32": ("<u4", ("N",)),
    "image/extra": ("|u1", ("*",)),
    "image/extra_offset": ("<i8", ("N + 1",)),
    "instance/pointer": ("<i8", ("N + 1",)),
    "instance/id": ("<i8", ("M",)),
    "instance/order": ("<i8", ("M",)),
    "instance/category": ("<u2", ("M",)),
    "instance/flags": ("|u1", ("M",)),
    "instance/bbox": ("<f8", ("M", 4)),
    "instance/area": ("<f8", ("M",)),
    "instance/score": ("<f8", ("M",)),
    "instance/frame": ("<i4", ("M", 4)),
    "instance/run": ("<u2", ("*",)),
    "instance/run_offset": ("<i8", ("M + 1",)),
    "instance/polygon": ("<f8", ("*",)),
    "instance/ring_offset": ("<i8", ("* + 1",)),
    "instance/polygon_offset": ("<i8", ("M + 1",)),
    "instance/extra": ("|u1", ("*",)),
    "instance/extra_offset": ("<i8", ("M + 1",)),
    "semantic/data": ("|u1", ("*",)),
    "semantic/offset": ("<i8", ("N + 1",)),
    "semantic/crc32": ("<u4", ("N",)),
}
"""Of a shard's table: dtype and shape, N samples, M instances, `*` any number."""

_POLYGONS = {"instance/polygon", "instance/ring_offset", "instance/polygon_offset"}
_OPTIONAL = {"instance/score", *_POLYGONS}

_OTHERS = {"images/data": ("|u1", ("*",)), "documents": ("|u1", ("*",)), "split/": ("<i8", ("*",))}

Count = Annotated[int, Meta(ge=0, le=1 << 62)]
_Number = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Byte = Annotated[int, Meta(ge=0, le=255)]
_Crc32 = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Scalar = bool | int | float | str | None
_Value: Any = _Scalar
for _ in range(4):
    _Value = _Scalar | list[_Value] | dict[str, _Value]

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
        with open_file(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotThere(
            f"there is no pack in {folder}",
            file=path,
            fix=rebuild or f"segdata convert SOURCE {folder}",
        ) from error
    try:
        _check_bytes(data)
        return _checked_index(data)
    except SegdataError as error:
        error.fix = error.fix or f"{rebuild or 'restore this file'}, or convert the dataset again with --force"
        raise error.located(file=path) from error


def _check_bytes(data: bytes) -> None:
    """Refuse what does not begin as an index does, is larger than any, or has another checksum than it says."""
    if not data.startswith(_HEAD):
        raise DamagedData("this is not the index of a pack", why='it does not begin with {"crc32": "')
    if len(data) > MAX_BYTES:
        raise Unsafe("this is larger than any index of a pack", why=f"it has more than {MAX_BYTES:,} bytes")
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
    return [entry for _, entry in _files(index)]


class _Array(Struct):
    crc32: _Crc32
    dtype: str
    offset: _Number | None
    shape: list[_Number]


class _File(Struct):
    arrays: dict[str, _Array]
    bytes: Annotated[int, Meta(ge=1, le=1 << 62)]
    file: str
    sha256: _Sha256


class ShardEntry(Struct):
    """A shard in the index."""

    annotations: _File
    images: _File | None
    instances: Count
    samples: Count


class _Split(Struct):
    name: str
    samples: Count


class _Category(Struct):
    id: _Number
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
    sha256: _Sha256


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
    crc32: _Crc32
    dataset: _File
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


def _checked_index(data: bytes) -> dict[str, Any]:
    """The index in the bytes of a `pack.json` whose checksum is right.

    Raises:
        InvalidInput: not an index, of another version, or not as this version has it; `place` names the field.
        DamagedData: it contradicts itself.
        Unsafe: a file name that leads out of the folder.
    """
    kind = _decoded(data, _Kind)
    if kind.format != FORMAT or type(kind.version) is not int:
        raise InvalidInput("this is not the index of a pack", why=f"format is {kind.format!r}"[:200])
    if kind.version != VERSION:
        raise InvalidInput(
            f"the pack is of version {kind.version}; this segdata reads version {VERSION}"[:200],
            fix="update segdata: git pull in its clone, then pip install ."
            if kind.version > VERSION
            else "convert the dataset again",
        )
    index: dict[str, Any] = msgspec.to_builtins(_decoded(data, _Index))
    _check_names(index)
    _check_counts(index)
    _check_arrays(index)
    LabelSpace.from_dict(index["labels"])
    return index


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
    names = [entry["file"] for _, entry in _files(index)]
    for name in names:
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
    for name in ("samples", "instances"):
        total = sum(shard[name] for shard in index["shards"])
        if index[name] != total:
            yield f"it says {index[name]:,} {name}, the shards have {total:,}"
    for number, shard in enumerate(index["shards"]):
        for name, array in (("samples", "image/size"), ("instances", "instance/id")):
            shape = _shape(shard["annotations"], array)
            if shape and shard[name] != shape[0]:
                yield f"shard {number} says {shard[name]:,} {name}, its table has {shape[0]:,}"
        if (shard["images"] is None) != (index["images"] != "embed"):
            yield f"images are {index['images']!r}, shard {number} has {'no' if shard['images'] is None else 'a'} file of images"
    for number, split in enumerate(index["splits"]):
        shape = _shape(index["dataset"], f"split/{number}") or [0]
        if shape != [split["samples"]]:
            yield f"split {split['name']!r} says {split['samples']:,} samples, its list has {shape[0]:,}"


def _shape(entry: Mapping[str, Any], name: str) -> list[int] | None:
    array = entry["arrays"].get(name)
    return None if array is None else array["shape"]


def _files(index: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All file entries of an index, in order, each with its path in the JSON document."""
    yield "$.dataset", index["dataset"]
    for number, shard in enumerate(index["shards"]):
        yield f"$.shards[{number}].annotations", shard["annotations"]
        if shard["images"] is not None:
            yield f"$.shards[{number}].images", shard["images"]


def _check_arrays(index: Mapping[str, Any]) -> None:
    """Refuse arrays that are missing, unknown, of another dtype or shape, or that do not fit into their file.

    Raises:
        InvalidInput: the first such array.
    """
    splits = {f"split/{number}" for number in range(len(index["splits"]))}
    _check_file("$.dataset", index["dataset"], {"documents", *splits}, set(), {})
    for number, shard in enumerate(index["shards"]):
        where, table = f"$.shards[{number}]", shard["annotations"]
        optional = _OPTIONAL if _POLYGONS & table["arrays"].keys() in (set(), _POLYGONS) else {"instance/score"}
        sizes = {"N": shard["samples"], "M": shard["instances"]}
        _check_file(f"{where}.annotations", table, ARRAYS.keys() - optional, optional, sizes)
        if shard["images"] is not None:
            _check_file(f"{where}.images", shard["images"], {"images/data"}, set(), {})


def _check_file(
    where: str, entry: Mapping[str, Any], needed: set[str], optional: set[str], sizes: Mapping[str, int]
) -> None:
    arrays = entry["arrays"]
    for name in needed - arrays.keys():
        raise InvalidInput(
            f"the pack's index does not have the array {name}",
            place=f"{where}.arrays",
            why=f"{entry['file']} has {', '.join(sorted(arrays)) or 'none'}"[:500],
        )
    for name in arrays.keys() - needed - optional:
        raise InvalidInput(
            f"the pack's index names an array {name!r} that version {VERSION} does not have"[:300],
            place=f"{where}.arrays",
        )
    for name, array in arrays.items():
        dtype, letters = ARRAYS[name] if name in ARRAYS else _OTHERS[name if name in _OTHERS else "split/"]
        shape, offset = array["shape"], array["offset"]
        length = math.prod(shape) * int(dtype[2])
        is_possible = (
            array["dtype"] == dtype
            and len(shape) == len(letters)
            and all(_is_side(side, letter, sizes) for side, letter in zip(shape, letters, strict=True))
            and (not length or (offset is not None and 0 <= offset <= entry["bytes"] - length))
        )
        if not is_possible:
            expected = ", ".join(_in_numbers(letter, sizes) for letter in letters)
            raise InvalidInput(
                f"the pack's index places {name} where it cannot be",
                place=f"{where}.arrays[{name!r}]",
                why=f"found dtype {array['dtype']}, shape {shape}, offset {offset}; expected dtype {dtype}, "
                f"shape [{expected}], and {entry['file']} has {entry['bytes']:,} bytes",
            )


def _is_side(side: int, letter: str | int, sizes: Mapping[str, int]) -> bool:
    if isinstance(letter, int):
        return side == letter
    name, _, more = letter.partition(" + ")
    return side >= int(more or 0) if name == "*" else side == sizes[name] + int(more or 0)


def _in_numbers(letter: str | int, sizes: Mapping[str, int]) -> str:
    if isinstance(letter, int) or letter[0] == "*":
        return str(letter)
    name, _, more = letter.partition(" + ")
    return str(sizes[name] + int(more or 0))
