"""The files of a pack, and the samples in them; `pack.read` makes sequences of them."""

from __future__ import annotations

import bisect
import json
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.images import require_room
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.reprs import Splits
from segdata.core.sample import Instances, Records, Sample
from segdata.errors import DamagedData, NotThere
from segdata.pack import layout
from segdata.pack.entries import ARRAYS, FEW
from segdata.pack.layout import shard_counts
from segdata.pack.remote import FetchedFile, RangedFile
from segdata.pack.tables import REPAIR, Checked, Limits, MappedFile, texts
from segdata.places.address import Address
from segdata.system.files import crc32, inside
from segdata.system.reading import read_file


class Shard:
    """One shard: a file of annotations and, where images are embedded, a file of images.

    Attributes:
        number: its index in the pack's list of shards.
        first: the index of its first sample in the pack.
    """

    __slots__ = ("_checked", "_files", "_mapped", "first", "number")

    def __init__(self, files: Files, number: int, first: int) -> None:
        self.number = number
        self.first = first
        self._files = files
        self._mapped: tuple[MappedFile, MappedFile | RangedFile | None] | None = None
        self._checked: tuple[Checked, Checked] | None = None

    @property
    def table(self) -> MappedFile:
        """The columns of samples and instances."""
        return (self._mapped or self.map())[0]

    @property
    def images(self) -> MappedFile | RangedFile | None:
        """The image files' bytes; None where none are embedded."""
        return (self._mapped or self.map())[1]

    def record(self, name: str) -> str:
        """What an array of JSON records is called in messages."""
        return f"{self.table.path}, shard {self.number}: {name}"

    def map(self) -> tuple[MappedFile, MappedFile | RangedFile | None]:
        """Map the shard's files; those of another one are let go where many are mapped.

        Raises:
            DamagedData: a file is missing or of another size.
            InvalidInput: the index has another array than a pack's.
        """
        entry, files = self._files.index["shards"][self.number], self._files
        self._checked = self._checked or ({}, {})
        images = None if entry["images"] is None else files.images(entry["images"], self._checked[1])
        size = None if images is None else images.length("images/data")
        mapped = files.map(entry["annotations"], self._checked[0], size), images
        self._mapped = mapped
        files.keep(self)
        return mapped

    def release(self) -> None:
        """Let the mapped files go; they are mapped again when they are asked for."""
        self._mapped = None


def map_all(shards: Sequence[Shard], folder: Path) -> None:
    """Map shards; tables at an address are fetched several at once.

    Raises:
        SegdataError: of the first shard that cannot be mapped.
    """
    if not isinstance(folder, Address) or len(shards) < 2:
        for shard in shards:
            shard.map()
        return
    with ThreadPoolExecutor(_AT_ONCE, "segdata-tables") as pool:
        for _ in pool.map(Shard.map, shards):
            pass


_AT_ONCE = 8
"""Tables that are fetched at once."""


class Files:
    """The files of a pack, at most `FEW` shards of which are mapped at once."""

    def __init__(self, folder: Path, index: Mapping[str, Any]) -> None:
        self.folder = folder
        self.index = index
        self.limits = Limits.of(index)
        self._mapped: deque[Shard] = deque()

    def map(
        self, entry: Mapping[str, Any], checked: Checked | None = None, image_bytes: int | None = None
    ) -> MappedFile:
        """Map a file; one at an address is fetched first."""
        limits = replace(self.limits, image_bytes=image_bytes)
        if isinstance(self.folder, Address):
            return FetchedFile(self.folder, entry, limits, checked)
        return MappedFile(self.folder, entry, limits, checked)

    def images(self, entry: Mapping[str, Any], checked: Checked) -> MappedFile | RangedFile:
        """A file of images; of one at an address, parts are fetched when they are asked for."""
        return RangedFile(self.folder, entry) if isinstance(self.folder, Address) else self.map(entry, checked)

    def keep(self, shard: Shard) -> None:
        """Keep a shard mapped, and let go the one that was mapped first if there are too many."""
        self._mapped.append(shard)
        if len(self._mapped) > FEW:
            self._mapped.popleft().release()


class Store:
    """The memory-mapped files of one pack, shared by all `Pack` objects made from it.

    Args:
        images_root: the folder of the images that the pack references; by default the recorded one.
        without: numbers of the shards that are left out, as if the pack had been made without their samples.

    Attributes:
        shards: all of them; a pack of at most `FEW` has them mapped, others map each when it is asked for.
        starts: the first sample of each.
    """

    def __init__(
        self, folder: Path, index: dict[str, Any], images_root: Path | None, without: Collection[int] = ()
    ) -> None:
        self.folder = folder
        self.without = without
        self.index = index
        self.labels = LabelSpace.from_dict(index["labels"])
        files = Files(folder, index)
        self.dataset = files.map(index["dataset"])
        self.max_pixels = files.limits.max_pixels
        root = index.get("images_root")
        self.images_root = images_root or (None if root is None else Path(root))
        self.shards: list[Shard] = []
        self.starts: list[int] = []
        self.count = 0
        self._left_out: list[range] = []
        counts = shard_counts(index)
        for number, (samples, _, _) in enumerate(counts):
            if number in without:
                begin = self.count + sum(map(len, self._left_out))
                self._left_out.append(range(begin, begin + samples))
                continue
            self.shards.append(Shard(files, number, self.count))
            self.starts.append(self.count)
            self.count += samples
        if len(counts) <= FEW:
            map_all(self.shards, folder)

    @cached_property
    def splits(self) -> dict[str, npt.NDArray[np.int64]]:
        """Name → (K,) int64 indices of its samples."""
        splits = {split["name"]: self.dataset[f"split/{number}"] for number, split in enumerate(self.index["splits"])}
        if not self._left_out:
            return Splits(splits)
        missing = np.concatenate([np.arange(part.start, part.stop) for part in self._left_out])
        present = {name: members[~np.isin(members, missing)] for name, members in splits.items()}
        return Splits({name: members - np.searchsorted(missing, members) for name, members in present.items()})

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        """What the source's files say beyond single images, by file."""
        import zstandard

        data = self.dataset["documents"].tobytes()
        try:
            if zstandard.frame_content_size(data) > layout.most_text(len(data)):
                raise ValueError("it says that it expands to more than any documents do")
            text = zstandard.ZstdDecompressor().decompress(data).decode("utf-8", "surrogatepass")
            documents = json.loads(text, parse_constant=_no_number)
            if not isinstance(documents, list) or not all(isinstance(item, dict) for item in documents):
                raise ValueError("it is no list of JSON objects")
        except (zstandard.ZstdError, ValueError, RecursionError) as error:
            raise DamagedData(
                "the documents of the pack cannot be read",
                file=self.dataset.path,
                place="documents",
                why=str(error)[:200],
                fix=REPAIR,
            ) from error
        return documents

    @cached_property
    def _hashes(self) -> tuple[IntArray, IntArray]:
        """Of all keys, (N,) int64 ascending, and (N,) int64 the samples that they are of."""
        hashes = np.empty(self.count, np.int64)
        for shard in self.shards:
            keys = texts(shard.table, "image/key")
            hashes[shard.first : shard.first + len(keys)] = np.fromiter(map(hash, keys), np.int64, len(keys))
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order

    def with_key(self, key: str) -> list[int]:
        """The samples that have a key, in order; the first call reads all keys."""
        hashes, samples = self._hashes
        wanted = hash(key.encode("utf-8", "surrogatepass"))
        begin, end = np.searchsorted(hashes, wanted, "left"), np.searchsorted(hashes, wanted, "right")
        return [index for index in samples[begin:end].tolist() if self.key(index) == key]

    def keys(self, members: IntArray | None = None) -> list[str]:
        """The keys of some samples, in that order; by default of all."""
        keys: list[str] = [""] * (self.count if members is None else len(members))
        for shard, positions, rows in self._by_shard(np.arange(self.count) if members is None else members):
            of_shard = texts(shard.table, "image/key")
            for position, row in zip(positions.tolist(), rows.tolist(), strict=True):
                keys[position] = of_shard[row].decode("utf-8", "surrogatepass")
        return keys

    def shard_numbers(self, members: IntArray) -> IntArray:
        """(M,) int64, which of `shards` has each of these samples."""
        return np.searchsorted(self.starts, members, side="right") - 1

    def _by_shard(self, members: IntArray) -> Iterator[tuple[Shard, IntArray, IntArray]]:
        """Shard by shard: positions of those of `members` that it has, and their rows in it."""
        number = self.shard_numbers(members)
        order = np.argsort(number, kind="stable")
        for positions in np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else ():
            shard = self.shards[number[positions[0]]]
            yield shard, positions, members[positions] - shard.first

    def column(self, name: str, members: IntArray | None = None) -> npt.NDArray[Any]:
        """(N, …) a column of the samples, or (M, …) of the objects, of all shards.

        Args:
            members: the samples of a column of samples that are asked for, in that order; by default all.
        """
        dtype, (first, *columns) = ARRAYS[name]
        of_objects, shape = first == "M", [int(column) for column in columns]
        counts = [
            count[of_objects] for number, count in enumerate(shard_counts(self.index)) if number not in self.without
        ]
        if members is None:
            whole = np.empty((sum(counts), *shape), dtype)
            end = 0
            for shard, count in zip(self.shards, counts, strict=True):
                begin, end = end, end + count
                whole[begin:end] = shard.table[name]
            return whole
        values = np.empty((len(members), *shape), dtype)
        for shard, positions, rows in self._by_shard(members):
            values[positions] = shard.table[name][rows]
        return values

    @cached_property
    def _per_thread(self) -> _PerThread:
        return _PerThread()

    def locate(self, index: int) -> tuple[Shard, int]:
        """The shard of a sample, and its row in the shard's table."""
        shard = self.shards[bisect.bisect_right(self.starts, index) - 1]
        return shard, index - shard.first

    def key(self, index: int) -> str:
        """The key of a sample."""
        shard, row = self.locate(index)
        return _text(shard.table, "image/key", row)

    def sample(self, index: int, mapping: LabelMapping | None = None) -> Sample:
        """A sample that reads its parts on demand, its categories mapped by `mapping`."""
        shard, row = self.locate(index)
        table = shard.table
        key = _text(table, "image/key", row)
        height, width = table["image/size"][row].tolist()
        flags = table["image/flags"].item(row)
        return Sample(
            key,
            height,
            width,
            file=lambda: _text(table, "image/file", row),
            id=table["image/id"].item(row),
            encoded=(lambda: self._encoded(shard, row)) if table["image/codec"].item(row) else None,
            instances=(lambda: self._instances(shard, row, height, width, mapping))
            if flags & layout.INSTANCES_ANNOTATED
            else None,
            semantic=(lambda out: self._semantic(shard, row, height, width, mapping, out))
            if flags & layout.SEMANTIC_ANNOTATED
            else None,
            extra=lambda: self._records(shard, "image/extra", row, row + 1)[0],
            max_pixels=self.max_pixels,
        )

    def _records(self, shard: Shard, name: str, begin: int, end: int) -> Records:
        table = shard.table
        offset = table[name + "_offset"][begin : end + 1]
        return Records(table[name], offset, shard.record(name), begin)

    def _encoded(self, shard: Shard, row: int) -> bytes | memoryview:
        table = shard.table
        length = table["image/length"].item(row)
        if shard.images is not None:
            offset = table["image/offset"].item(row)
            data: bytes | memoryview = shard.images.image(offset, length, table["image/crc32"].item(row))
            path = shard.images.path
        else:
            if self.images_root is None:
                raise NotThere("the pack does not say where its images are", file=self.folder)
            name = _text(table, "image/file", row)
            path = inside(self.images_root, name, "the pack")
            try:
                data = read_file(path)
            except OSError as error:
                raise NotThere(
                    "a referenced image is not there",
                    file=path,
                    key=_text(table, "image/key", row),
                    why=error.strerror,
                    fix="restore it, or say where the images are now with images_root",
                ) from error
        if len(data) != length or crc32(data) != table["image/crc32"].item(row):
            raise DamagedData(
                "an image is not the one that was converted",
                file=path,
                key=_text(table, "image/key", row),
                place=f"shard {shard.number}, record {row}",
                why=f"expected {length} bytes with crc32 {int(table['image/crc32'][row]):08x}, "
                f"found {len(data)} with {crc32(data):08x}",
                fix="restore the file, or convert the dataset again with --force",
            )
        return data

    def _instances(self, shard: Shard, row: int, height: int, width: int, mapping: LabelMapping | None) -> Instances:
        table = shard.table
        begin, end = table["instance/pointer"][row : row + 2].tolist()
        count = end - begin
        run_offset = table["instance/run_offset"][begin : end + 1]
        has_mask, iscrowd, difficult, truncated, occluded = (table["instance/flags"][begin:end] & _FLAGS) != 0
        score = table["instance/score"]
        instances = Instances(
            category=table["instance/category"][begin:end].astype(np.int64),
            masks=Masks(
                height,
                width,
                table["instance/frame"][begin:end],
                table["instance/run"][int(run_offset[0]) : int(run_offset[-1])],
                run_offset - run_offset[0],
            ),
            has_mask=has_mask,
            iscrowd=iscrowd,
            difficult=difficult,
            truncated=truncated,
            occluded=occluded,
            id=table["instance/id"][begin:end],
            bbox=table["instance/bbox"][begin:end],
            area=table["instance/area"][begin:end],
            score=np.full(count, np.nan) if score is None else score[begin:end],
            order=table["instance/order"][begin:end],
            polygons=_polygons(table, begin, end),
            extra=self._records(shard, "instance/extra", begin, end),
        )
        if mapping is None:
            return instances
        category = mapping.indices[instances.category]
        mapped = instances.with_category(category)
        return mapped if np.all(category >= 0) else mapped.take(category >= 0)

    def _semantic(
        self,
        shard: Shard,
        row: int,
        height: int,
        width: int,
        mapping: LabelMapping | None,
        out: npt.NDArray[Any] | None,
    ) -> npt.NDArray[Any]:
        table = shard.table
        begin, end = table["semantic/offset"][row : row + 2].tolist()
        compressed = table["semantic/data"][begin:end]
        if crc32(compressed) != table["semantic/crc32"].item(row):
            why = "its checksum differs from the recorded one"
            raise _damaged_map("a semantic map is damaged", shard, row, why)
        stored = out
        if stored is None or mapping is not None:
            require_room(height, width)
            stored = np.empty((height, width), self.labels.dtype.newbyteorder("<"))
        reader, error = self._per_thread.decompressor.stream_reader(compressed), self._per_thread.error
        try:
            is_whole = reader.readinto(stored) == stored.nbytes and not reader.read(1)
        except error as cause:
            raise _damaged_map("a semantic map is damaged", shard, row, str(cause)) from cause
        if not is_whole:
            raise _damaged_map("a semantic map is not of its image's size", shard, row)
        if mapping is None:
            return stored
        lookup: npt.NDArray[Any] = mapping.lookup(self.labels)
        return np.take(lookup, stored, out=out, mode="clip" if out is not None else "raise")


class _PerThread(threading.local):
    """A decompressor for each thread: making one costs more than decompressing a label map."""

    def __init__(self) -> None:
        import zstandard

        self.decompressor = zstandard.ZstdDecompressor()
        self.error = zstandard.ZstdError


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _damaged_map(message: str, shard: Shard, row: int, why: str | None = None) -> DamagedData:
    return DamagedData(
        message,
        file=shard.table.path,
        key=_text(shard.table, "image/key", row),
        place=f"shard {shard.number}, record {row}",
        why=why,
        fix="convert the dataset again with --force",
    )


def _text(table: MappedFile, name: str, row: int) -> str:
    offset = table[name + "_offset"]
    return str(table[name][offset.item(row) : offset.item(row + 1)], "utf-8", "surrogatepass")


_FLAGS = np.array(
    [[layout.HAS_MASK], [layout.IS_CROWD], [layout.IS_DIFFICULT], [layout.IS_TRUNCATED], [layout.IS_OCCLUDED]], np.uint8
)
_NO_VALUES = np.zeros(0, np.float64)
_NO_RINGS = np.zeros(1, np.int64)


def _polygons(table: MappedFile, begin: int, end: int) -> Polygons:
    pointer = table["instance/polygon_offset"]
    if pointer is None:
        return Polygons(_NO_VALUES, _NO_RINGS, np.zeros(end - begin + 1, np.int64))
    pointer = pointer[begin : end + 1]
    rings = table["instance/ring_offset"][int(pointer[0]) : int(pointer[-1]) + 1]
    values = table["instance/polygon"][int(rings[0]) : int(rings[-1])]
    return Polygons(values, rings - rings[0], pointer - pointer[0])
