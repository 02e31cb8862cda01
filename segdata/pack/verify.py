"""Verify a pack against its checksums; every damage is named with shard, record and key.

Quick: the index, the files' sizes, and the checksum of every table. Deep: the files' SHA-256, every image decoded,
every semantic map and mask, every reference, and images that occur in more than one split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core import images
from segdata.core.reprs import counted, line
from segdata.core.sample import Sample
from segdata.errors import DamagedData, InvalidImage, SegdataError
from segdata.pack import layout
from segdata.pack.read import Pack, open_without
from segdata.pack.remote import open_entry, size_of
from segdata.pack.store import Files, Shard, Store
from segdata.pack.tables import BY_RECORD
from segdata.places.address import Address, located, require_folder
from segdata.places.cache import PUSH_AGAIN
from segdata.system.files import crc32, disk_errors, write_whole
from segdata.system.reading import read_file

_CHUNK = 1 << 22


@dataclass
class Verification:
    """The result of a verification.

    Attributes:
        path: the pack's folder.
        deep: whether everything was read.
        samples: number of samples in the pack.
        damages: one error for every file or record that is not as recorded.
        remarks: what is no damage but worth knowing (the same image in two splits).
    """

    path: Path
    deep: bool
    samples: int = 0
    damages: list[SegdataError] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        state = "good" if self.is_good else counted(len(self.damages), "damage")
        return line(
            self, repr(str(self.path)), counted(self.samples, "sample"), "deep" if self.deep else "quick", state
        )

    @property
    def is_good(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "path": str(self.path),
            "deep": self.deep,
            "samples": self.samples,
            "good": self.is_good,
            "damages": [error.as_dict() for error in self.damages],
            "remarks": self.remarks,
        }


@disk_errors()
def verify(path: str | Path, *, deep: bool = False, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check a pack; damages are collected in the result, not raised.

    Args:
        path: the pack's folder.
        deep: read everything, not only the tables.
        progress: called as `progress(samples done, samples in all)`, when `deep`.

    Raises:
        NotThere: there is no pack.
        InvalidInput: it is of another version.
    """
    folder = located(path)
    result = Verification(folder, deep)
    try:
        index = layout.read_index(folder)
    except DamagedData as error:
        result.damages.append(error)
        return result
    result.samples = index["samples"]
    _check_dataset(folder, index, result)
    has_splits = not result.damages
    damaged = [number for number in range(len(index["shards"])) if not _check_shard(folder, index, number, result)]
    _check_copy(folder, index["crc32"], result)
    if deep and has_splits:
        _check_samples(open_without(folder, damaged), result, progress)
    return result


@disk_errors()
def rebuild(path: str | Path) -> bool:
    """Restore a pack's index from its copy, or the copy from the index; False when both are intact and equal.

    The other files are not read; `verify` checks them against the restored index.

    Raises:
        NotThere: neither is there.
        SegdataError: what is wrong with the index, where neither is intact.
    """
    require_folder(path, "its index is written")
    folder = Path(path)
    index, copy = folder / layout.INDEX, folder / layout.COPY
    try:
        layout.read_index(folder)
    except SegdataError as error:
        try:
            layout.read_index(folder, layout.COPY)
        except SegdataError:
            error.fix = f"convert the dataset again with --force: segdata convert SOURCE {folder} --force"
            raise error from None
        good, bad = copy, index
    else:
        good, bad = index, copy
    with disk_errors(good):
        data = read_file(good)
        if bad.is_file() and read_file(bad) == data:
            return False
    write_whole(bad, data)
    return True


def _check_copy(folder: Path, crc_of_index: str, result: Verification) -> None:
    """The copy of the index must be intact; it is newer after a replacement that was stopped in its last step."""
    if not (folder / layout.COPY).is_file():
        return
    try:
        copy = layout.read_index(folder, layout.COPY)
    except SegdataError as error:
        result.damages.append(error)
    else:
        if copy["crc32"] != crc_of_index:
            result.remarks.append(f"{layout.COPY} differs from {layout.INDEX}, which counts")


def require_intact(path: str | Path) -> None:
    """Check every table's checksum, in a fraction of the time that reading all samples takes.

    A flipped bit in a table would silently give other annotations; images and label maps are checked when read.

    Raises:
        DamagedData: the first damage.
    """
    for error in damaged_shards(path).values():
        raise error


def damaged_shards(path: str | Path) -> dict[int, SegdataError]:
    """Number of a damaged shard → its first damage: a file missing, of another size, or a table with another checksum.

    Raises:
        DamagedData: a file that is not a shard's is damaged; the pack cannot be read without it.
    """
    folder = located(path)
    index = layout.read_index(folder)
    quick = Verification(folder, deep=False)
    _check_dataset(folder, index, quick)
    for error in quick.damages:
        raise error
    damaged = {}
    for number in range(len(index["shards"])):
        _check_shard(folder, index, number, quick)
        if quick.damages:
            damaged[number] = quick.damages[0]
            quick.damages.clear()
    return damaged


def damaged_files(folder: Path, index: Mapping[str, Any]) -> set[str]:
    """Names of the files that are missing or not what is recorded; reads everything."""
    damaged = set()
    for entry in layout.shard_files(index):
        result = Verification(folder, deep=True)
        with disk_errors(folder / entry["file"]):
            _check_file(folder, entry, result)
        if result.damages:
            damaged.add(entry["file"])
    return damaged


def is_whole(folder: Path) -> bool:
    """Whether a pack is what `verify` with `deep` calls good, but for pictures that are whole and cannot be decoded."""
    result = verify(folder)
    if result.is_good:
        _check_samples(open_without(folder, ()), result, None, decode=False)
    return result.is_good


def _check_dataset(folder: Path, index: dict[str, Any], result: Verification) -> None:
    """Check the file of splits and documents; damages are added to `result`."""
    _check_file(folder, index["dataset"], result)
    if result.damages:
        return
    store = Store(folder, index, None, range(len(index["shards"])))
    damage = store.dataset.damage()
    try:
        _ = damage or store.documents
    except DamagedData as error:
        damage = error
    if damage is not None:
        result.damages.append(damage)


def _check_shard(folder: Path, index: Mapping[str, Any], number: int, result: Verification) -> bool:
    """Check the files of a shard, and whether its samples can be read; damages are added to `result`."""
    entry, before = index["shards"][number], len(result.damages)
    for part in (entry["annotations"], entry["images"]):
        if part is not None:
            _check_file(folder, part, result)
    damages = result.damages[before:]
    if not all(error.place for error in damages):  # a file is missing, or of another size
        return False
    table = Shard(Files(folder, index), number, 0).table
    damage = table.damage()
    if damage is not None and not any(error.file == damage.file for error in damages):
        result.damages.append(damage)
    return damage is None


def _check_file(folder: Path, entry: dict[str, Any], result: Verification) -> None:
    """Check size and checksums of one file; damages are added to `result`."""
    path = folder / entry["file"]
    fix = f"segdata verify {folder} --repair --source FOLDER makes it anew from the dataset; or restore this file"
    size = size_of(folder, entry)
    if isinstance(folder, Address):
        fix = PUSH_AGAIN
    if size is None:
        result.damages.append(DamagedData("a file of the pack is missing", file=path, fix=fix))
        return
    if size != entry["bytes"]:
        why = f"expected {entry['bytes']:,} bytes, found {size:,}"
        result.damages.append(
            DamagedData("a file of the pack is not of the recorded size", file=path, why=why, fix=fix)
        )
        return
    try:
        opened = open_entry(folder, entry)
    except DamagedData as error:  # it was fetched, and is not what was recorded
        result.damages.append(error)
        return
    is_damaged = False
    with opened as file:
        for name, array in entry["arrays"].items():
            length = math.prod(array["shape"]) * np.dtype(array["dtype"]).itemsize
            if name in BY_RECORD and not result.deep:
                continue
            crc = _crc(file, array["offset"] or 0, length)
            if f"{crc:08x}" != array["crc32"]:
                is_damaged = True
                result.damages.append(
                    DamagedData(
                        "a part of the pack is damaged",
                        file=path,
                        place=f"{name}, bytes {array['offset'] or 0:,} …",
                        why=f"expected crc32 {array['crc32']}, found {crc:08x}",
                        fix=fix,
                    )
                )
        if result.deep and not is_damaged:
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                result.damages.append(
                    DamagedData(
                        "a file of the pack was changed outside its arrays",
                        file=path,
                        place="between the arrays",
                        why="its SHA-256 differs from the recorded one",
                        fix=fix,
                    )
                )


def _crc(file: Any, offset: int, length: int) -> int:
    file.seek(offset)
    crc = 0
    while length:
        chunk = file.read(min(length, _CHUNK))
        if not chunk:
            break
        crc = crc32(chunk, crc)
        length -= len(chunk)
    return crc


def _check_samples(
    pack: Pack, result: Verification, progress: Callable[[int, int], None] | None, *, decode: bool = True
) -> None:
    """Read every sample, and compare the images of the splits."""
    samples_of_image: dict[bytes, list[int]] = {}
    is_intact = not result.damages
    for index in range(len(pack)):
        try:
            sample = pack[index]
            encoded = sample.encoded
            if encoded is not None:
                samples_of_image.setdefault(hashlib.sha256(encoded).digest()[:16], []).append(index)
                height, width = sample.image.shape[:2] if decode else _size(sample, encoded)
                if (height, width) != (sample.height, sample.width):
                    raise DamagedData(
                        "an image is not of the recorded size",
                        why=f"expected {sample.width} × {sample.height}, found {width} × {height}",
                    )
            _check_annotations(sample, len(pack.labels), pack.labels.void)
        except SegdataError as error:
            if isinstance(error, InvalidImage) and is_intact:
                error.state = "the pack has this image as the dataset's file was when it was converted"
                error.fix = "mend or replace that file, and convert again; convert --decode refuses such images"
            result.damages.append(error.located(key=pack.key(index), place=pack.place(index)))
        if progress is not None:
            progress(index + 1, len(pack))
    splits = [set(members.tolist()) for members in pack.splits.values()]
    for same in samples_of_image.values():
        if len(same) > 1 and not any(members.issuperset(same) for members in splits):
            result.remarks.append(f"the same picture: {', '.join(pack.key(index) for index in same[:5])}")


def _size(sample: Sample, encoded: bytes | memoryview) -> tuple[int, int]:
    """Height and width as the header of an image says."""
    header = images.probe(encoded, max_pixels=sample.max_pixels)
    return header.height, header.width


def _check_annotations(sample: Sample, categories: int, void: int) -> None:
    """Read what is read on access alone: the label map and the records; tables were checked as a whole.

    Raises:
        DamagedData: a label map or a record cannot be read, or a map holds a value that is no category.
    """
    semantic = sample.semantic
    if semantic is not None:
        counts = np.bincount(semantic.reshape(-1), minlength=void + 1)
        if counts[categories:void].any():
            raise DamagedData("a semantic map holds a value that is no category")
    _ = (sample.extra, *sample.instances.extra)
