"""The memory-mapped files of a pack: every array is compared with its checksum, and its values checked, on first access.

An array is looked at once in a process, as a whole: what reads single samples afterwards needs no guard. Images and
label maps, which are large, are compared with checksums of their own each time one is read.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.images import MAX_PIXELS
from segdata.errors import DamagedData
from segdata.pack import layout
from segdata.system.files import crc32
from segdata.system.reading import map_file, open_file

BY_RECORD = ("images/data", "semantic/data")
"""Arrays of which every record has its own checksum."""

Checked = dict[tuple[int, int], set[str]]
"""(inode, time of change in nanoseconds) of a file → its arrays that were checked."""

REPAIR = "segdata verify PACK --repair --source FOLDER, or convert the dataset again with --force"

LARGEST = 1 << 30
"""Pixels of the largest image that has neither a picture nor a label map, which the pack's `max_pixels` bounds."""


@dataclass(frozen=True)
class Limits:
    """What the values of a pack's tables must stay within.

    Attributes:
        categories: number of categories of the label space.
        samples: number of samples of the pack.
        max_pixels: of an image or label map.
        image_bytes: size of the shard's `images/data`; None where the images are elsewhere.
    """

    categories: int
    samples: int
    max_pixels: int
    image_bytes: int | None = None

    @classmethod
    def of(cls, index: Mapping[str, Any]) -> Limits:
        """Those of the pack with this index."""
        return cls(
            categories=max(len(index["labels"]["categories"]), 1),
            samples=index["samples"],
            max_pixels=index.get("max_pixels", MAX_PIXELS),
        )


class MappedFile(dict[str, Any]):
    """One memory-mapped file: name → array, checked and made on first access; None for an array that it does not have.

    Args:
        entry: the file's entry in the index.
        checked: the arrays that were checked when the same file was mapped before, and what it was; filled here.

    Raises:
        DamagedData: the file is missing or of another size; on access: an array is not what was written.
    """

    def __init__(self, folder: Path, entry: Mapping[str, Any], limits: Limits, checked: Checked | None = None) -> None:
        self.path = folder / entry["file"]
        self.entry = entry
        self.limits = limits
        self._damages: dict[str, DamagedData] = {}
        self._all_checked = checked if checked is not None else {}
        self._map()

    def _map(self) -> None:
        self.map_at(self.path)

    def map_at(self, path: Path) -> None:
        """Map the file, which is at this path.

        Raises:
            DamagedData: it is missing or of another size.
        """
        try:
            with open_file(path) as file:
                size = file.seek(0, 2)
                if size != self.entry["bytes"]:
                    raise DamagedData(
                        "a file of the pack is not of the recorded size",
                        file=self.path,
                        why=f"expected {self.entry['bytes']:,} bytes, found {size:,}",
                        fix="convert the dataset again with --force, or restore this file",
                    )
                self.map = map_file(file)
                status = os.fstat(file.fileno())
                self._checked = self._all_checked.setdefault((status.st_ino, status.st_mtime_ns), set())
        except FileNotFoundError as error:
            raise DamagedData(
                "a file of the pack is missing", file=self.path, fix="convert the dataset again with --force"
            ) from error

    def __missing__(self, name: str) -> npt.NDArray[Any] | None:
        if name in self._damages:
            raise self._damages[name]
        try:
            array = self._read(name)
        except DamagedData as error:
            self._damages[name] = error
            raise
        self[name] = array
        return array

    def length(self, name: str) -> int:
        """Number of rows of an array, from the index."""
        return int(self.entry["arrays"][name]["shape"][0])

    def image(self, offset: int, length: int, checksum: int) -> memoryview:
        """(length,) uint8, bytes of an image; their checksum is the caller's to compare."""
        data: memoryview = self["images/data"][offset : offset + length].data
        return data

    def damage(self) -> DamagedData | None:
        """The first damage of this file's arrays; images and label maps are not read."""
        for name in self.entry["arrays"]:
            try:
                _ = self[name]
            except DamagedData as error:
                return error
        return None

    def _read(self, name: str) -> npt.NDArray[Any] | None:
        entry = self.entry["arrays"].get(name)
        if entry is None:
            return None
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        array = np.ndarray(shape, dtype, self.map, entry["offset"]) if 0 not in shape else np.zeros(shape, dtype)
        if name in self._checked:
            return array
        if name not in BY_RECORD and (crc := f"{crc32(array):08x}") != entry["crc32"]:
            raise DamagedData(
                "a part of the pack is damaged",
                file=self.path,
                place=f"{name}, bytes {entry['offset'] or 0:,} …",
                why=f"expected crc32 {entry['crc32']}, found {crc}",
                fix=REPAIR,
            )
        check = _CHECKS.get(name if name in _CHECKS else name.rpartition("/")[0])
        if check is not None:
            check(self, name, array)
        self._checked.add(name)
        return array


def texts(table: MappedFile, name: str) -> list[bytes]:
    """The texts of an array, such as "image/key", in UTF-8."""
    data, offset = table[name].tobytes(), table[f"{name}_offset"].tolist()
    return [data[begin:end] for begin, end in itertools.pairwise(offset)]


def _refuse(
    table: MappedFile, name: str, is_wrong: npt.NDArray[np.bool_], array: npt.NDArray[Any], expected: str
) -> None:
    """Refuse an array of which some rows are wrong.

    Args:
        is_wrong: (R,) or (R, …) bool.

    Raises:
        DamagedData: with the first of them.
    """
    if is_wrong.any():
        row = int(np.argwhere(is_wrong)[0, 0])
        raise DamagedData(
            "a table of the pack holds a value that cannot be",
            file=table.path,
            place=f"{name}, row {row}",
            why=f"found {array[row].tolist()}; expected {expected}",
            fix=REPAIR,
        )


def _below(limit: int) -> Callable[[MappedFile, str, npt.NDArray[Any]], None]:
    """A check that no value is as large as `limit`."""

    def check(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
        if array.max(initial=0) >= limit:
            _refuse(table, name, array >= limit, array, f"less than {limit}")

    return check


def _check_pointer(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    """Offsets begin at 0, never fall, and end with the values that they point into."""
    values = _POINTED[name]
    end = table.length("instance/id") if values is None else table.length(values)
    end -= name == "instance/polygon_offset"  # into the rings, which are bounded by one offset more
    expected = f"offsets from 0 to {end:,} that never fall"
    if array[0] != 0 or array[-1] != end:
        wrong = np.zeros(len(array), bool)
        wrong[0 if array[0] != 0 else -1] = True
        _refuse(table, name, wrong, array, expected)
    # Compared, not subtracted: a difference may overflow.
    _refuse(table, name, np.append(array[1:] < array[:-1], [False]), array, expected)
    if name == "instance/ring_offset":
        _refuse(table, name, array % 2 == 1, array, "an even number: x and y alternate")


_POINTED = {
    "image/key_offset": "image/key",
    "image/file_offset": "image/file",
    "image/extra_offset": "image/extra",
    "instance/pointer": None,
    "instance/run_offset": "instance/run",
    "instance/ring_offset": "instance/polygon",
    "instance/polygon_offset": "instance/ring_offset",
    "instance/extra_offset": "instance/extra",
    "semantic/offset": "semantic/data",
}
"""Array of offsets → what they point into; None stands for the rows of all `instance/…` arrays."""


def _check_text(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    """Texts are UTF-8, and none begins within a character."""
    try:
        array.tobytes().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        wrong = np.arange(len(array)) == error.start
        _refuse(table, name, wrong, array, "UTF-8")
    offset = table[f"{name}_offset"]
    begin = offset[offset < len(array)]
    _refuse(table, f"{name}_offset", (array[begin] & 0xC0) == 0x80, begin, "the first byte of a character")


def _check_size(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    """Height and width are positive, and an image is no larger than images of this pack may be."""
    _refuse(table, name, array < 1, array, "height and width of at least 1")
    pixels = array.astype(np.int64).prod(axis=1)
    has_map = (table["image/flags"] & layout.SEMANTIC_ANNOTATED) != 0
    limit = np.where(has_map | (table["image/codec"] != 0), table.limits.max_pixels, LARGEST)
    _refuse(table, name, pixels > limit, array, f"at most {table.limits.max_pixels:,} pixels")


def _check_offset(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    """Embedded images lie within the file of images."""
    length, end = table["image/length"], table.limits.image_bytes
    if end is not None:
        wrong = (array < 0) | (array > end) | (length > end - np.clip(array, 0, end))
        _refuse(table, name, wrong, array, f"an image of its length within {end:,} bytes")


def _check_length(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    _refuse(table, name, array < 0, array, "a number of bytes")


def _check_category(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    _below(table.limits.categories)(table, name, array)


def _check_finite(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    if not np.isfinite((array.min(initial=0), array.max(initial=0))).all():
        _refuse(table, name, ~np.isfinite(array), array, "a number")


def _check_not_infinite(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    _refuse(table, name, np.isinf(array), array, "a number, or NaN for none")


def _check_frame(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    """Masks lie within their images."""
    size = table["image/size"].repeat(np.diff(table["instance/pointer"]), axis=0)
    corner, extent = array[:, :2], array[:, 2:]
    room = size[:, ::-1] - np.clip(corner, 0, None)  # both are below 2³¹
    _refuse(table, name, (corner < 0) | (extent < 0) | (extent > room), array, "x y width height within the image")


def _check_run(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    """The runs of every mask add up to the pixels of its frame."""
    frame, offset = table["instance/frame"], table["instance/run_offset"]
    pixels = frame[:, 2].astype(np.int64) * frame[:, 3]
    begin, number = offset[:-1], np.diff(offset)
    sums = np.zeros(len(frame), np.int64)
    if len(array):
        # 65,536 runs cannot add up to more than 32 bits, which are added four times as fast.
        dtype = np.uint32 if number.max() <= 1 << 16 else np.int64
        sums[number > 0] = np.add.reduceat(array, begin[number > 0], dtype=dtype)
    wrong = sums != pixels
    if wrong.any():
        _refuse(table, name, wrong, sums, f"runs that add up to {int(pixels[wrong][0]):,}, as the mask's frame says")


def _check_split(table: MappedFile, name: str, array: npt.NDArray[Any]) -> None:
    count = table.limits.samples
    _refuse(table, name, (array < 0) | (array >= count), array, f"a sample, 0 … {count - 1}")


_CHECKS: dict[str, Callable[[MappedFile, str, npt.NDArray[Any]], None]] = {
    **dict.fromkeys(_POINTED, _check_pointer),
    "image/key": _check_text,
    "image/file": _check_text,
    "image/size": _check_size,
    "image/flags": _below(4),
    "image/codec": _below(len(layout.CODECS)),
    "image/offset": _check_offset,
    "image/length": _check_length,
    "instance/category": _check_category,
    "instance/flags": _below(32),
    "instance/bbox": _check_not_infinite,
    "instance/area": _check_not_infinite,
    "instance/polygon": _check_finite,
    "instance/frame": _check_frame,
    "instance/run": _check_run,
    "split": _check_split,
}
"""Array, or the part of its name before the last slash → its check, which may access arrays whose checks do not access it."""
