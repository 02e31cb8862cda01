"""The files that a pack's index names: which arrays each of them has, and where in the file they lie.

What the index says of a shard's arrays is checked before it is used: for a pack of few shards when the index is read, else
when the shard is first asked for, since an index may name twenty thousand files with thirty arrays each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, overload

import msgspec
from msgspec import Meta, Raw, Struct

from segdata.errors import InvalidInput, SegdataError

FEW = 128
"""A pack of at most so many shards is checked and mapped as a whole when it is opened."""

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
Number = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Crc32 = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Array(Struct):
    crc32: Crc32
    dtype: str
    offset: Number | None
    shape: list[Number]


class FileEntry(Struct):
    """A file in the index."""

    arrays: dict[str, _Array]
    bytes: Annotated[int, Meta(ge=1, le=1 << 62)]
    file: str
    sha256: Sha256


class ShardEntry(Struct):
    """A shard in the index."""

    annotations: FileEntry
    images: FileEntry | None
    instances: Count
    samples: Count


class _RawFile(Struct):
    arrays: Raw
    bytes: Annotated[int, Meta(ge=1, le=1 << 62)]
    file: str
    sha256: Sha256


class RawShard(Struct):
    """A shard in the index whose arrays were not looked at yet."""

    annotations: _RawFile
    images: _RawFile | None
    instances: Count
    samples: Count


class ManyShards(Sequence[dict[str, Any]]):
    """The shards of an index that names many, each decoded and checked when it is asked for.

    Attributes:
        path: the index, for messages.
    """

    def __init__(self, shards: list[RawShard]) -> None:
        self._shards = shards
        self._decoded = lru_cache(_KEPT)(self._decode)
        self.path: Path | None = None

    def __len__(self) -> int:
        return len(self._shards)

    @overload
    def __getitem__(self, item: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, item: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, item: int | slice) -> Any:
        """The entry of a shard, as `ShardEntry` has it.

        Raises:
            InvalidInput: its arrays are not as the version has them.
        """
        if isinstance(item, slice):
            return [self._decoded(number) for number in range(len(self))[item]]
        return self._decoded(range(len(self))[item])

    def counts(self) -> Iterator[tuple[int, int, bool]]:
        """Of each shard: samples, instances, and whether it has a file of images."""
        return ((shard.samples, shard.instances, shard.images is not None) for shard in self._shards)

    def names(self) -> list[str]:
        """The names of all files."""
        pairs = ((shard.annotations, shard.images) for shard in self._shards)
        return [entry.file for pair in pairs for entry in pair if entry is not None]

    def files(self) -> Iterator[dict[str, Any]]:
        """The files' entries without their arrays."""
        for shard in self._shards:
            for entry in (shard.annotations, shard.images):
                if entry is not None:
                    yield {"file": entry.file, "bytes": entry.bytes, "sha256": entry.sha256}

    def _decode(self, number: int) -> dict[str, Any]:
        shard = self._shards[number]
        files = {"annotations": shard.annotations, "images": shard.images}
        entry = {
            **{name: None if file is None else self._file(file, number, name) for name, file in files.items()},
            "instances": shard.instances,
            "samples": shard.samples,
        }
        try:
            check_shard(number, entry)
        except SegdataError as error:
            raise self._located(error) from error
        return entry

    def _file(self, file: _RawFile, number: int, name: str) -> dict[str, Any]:
        try:
            arrays = msgspec.to_builtins(msgspec.json.decode(file.arrays, type=dict[str, _Array]))
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            place = f"$.shards[{number}].{name}.arrays"
            wrong = InvalidInput("the pack's index is not as its version has it", place=place, why=str(error)[:200])
            raise self._located(wrong) from error
        return {"arrays": arrays, "bytes": file.bytes, "file": file.file, "sha256": file.sha256}

    def _located(self, error: SegdataError) -> SegdataError:
        error.fix = error.fix or "segdata verify PACK --rebuild, or convert the dataset again with --force"
        return error if self.path is None else error.located(file=self.path)


_KEPT = 64
"""Decoded entries that are kept."""


def check_shard(number: int, shard: Mapping[str, Any]) -> None:
    """Refuse a shard's arrays that are missing, unknown, of another dtype or shape, or that do not fit into their file.

    Raises:
        InvalidInput: the first such array.
    """
    where, table = f"$.shards[{number}]", shard["annotations"]
    optional = _OPTIONAL if _POLYGONS & table["arrays"].keys() in (set(), _POLYGONS) else {"instance/score"}
    sizes = {"N": shard["samples"], "M": shard["instances"]}
    check_file(f"{where}.annotations", table, ARRAYS.keys() - optional, optional, sizes)
    if shard["images"] is not None:
        check_file(f"{where}.images", shard["images"], {"images/data"}, set(), {})


def check_file(
    where: str, entry: Mapping[str, Any], needed: set[str], optional: set[str], sizes: Mapping[str, int]
) -> None:
    """Refuse a file whose arrays are not those that it needs and may have, or do not fit into it.

    Args:
        where: the file's place in the JSON document.
        sizes: "N" and "M", the numbers of samples and instances.

    Raises:
        InvalidInput: the first such array.
    """
    arrays = entry["arrays"]
    for name in needed - arrays.keys():
        raise InvalidInput(
            f"the pack's index does not have the array {name}",
            place=f"{where}.arrays",
            why=f"{entry['file']} has {', '.join(sorted(arrays)) or 'none'}"[:500],
        )
    for name in arrays.keys() - needed - optional:
        raise InvalidInput(
            f"the pack's index names an array {name!r} that its version does not have"[:300],
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
