"""A pack → samples: every file is mapped, nothing is read before it is asked for, HDF5 is never called.

Mappings are safe over fork and between threads, share one page cache between all workers, and stay readable when the
pack is replaced by a newer one.
"""

from __future__ import annotations

import bisect
import json
import mmap
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata import images
from segdata.errors import DamagedData, InvalidInput, NotThere
from segdata.files import inside
from segdata.labels import LabelMapping, LabelSpace
from segdata.masks import Masks
from segdata.pack import layout
from segdata.sample import Instances, Polygons, Records, Sample


def open_pack(
    path: str | Path,
    split: str | None = None,
    *,
    labels: str | LabelMapping | None = None,
    images_root: str | Path | None = None,
) -> Pack:
    """Open a pack.

    Args:
        path: the pack's folder.
        split: one of its splits; all samples by default.
        labels: a view of the pack's label space ("cityscapes-19"), applied when samples are read.
        images_root: where the images lie now, for a pack that references them.

    Raises:
        NotThere: no pack, or no such split.
        DamagedData: the index or a file's size is not what was recorded.
        InvalidInput: not a pack, or of another version.
    """
    folder = Path(path)
    store = _Store(folder, layout.read_index(folder), None if images_root is None else Path(images_root))
    pack = Pack(store)
    if split is not None:
        pack = pack.split(split)
    if labels is not None:
        pack = pack.viewed(labels)
    return pack


class Pack(Sequence[Sample]):
    """The samples of a pack, or some of them: `len`, `[i]`, slices, iteration, `find`, `select`, `split`.

    Attributes:
        labels: the label space of what the samples hold (that of the view, if one was asked for).
        splits: name → (K,) int64 indices of its samples in the whole pack; splits may overlap.
        info: where the pack comes from and what was odd, as stored in its index.
    """

    def __init__(
        self, store: _Store, members: npt.NDArray[np.int64] | None = None, mapping: LabelMapping | None = None
    ) -> None:
        self._store = store
        self._members = members
        self._mapping = mapping

    def __len__(self) -> int:
        return self._store.count if self._members is None else len(self._members)

    def __repr__(self) -> str:
        return f"Pack({str(self._store.folder)!r}, {len(self)} samples, labels {self.labels.name!r})"

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Pack: ...
    def __getitem__(self, index: int | slice) -> Sample | Pack:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a pack with {len(self)} samples")
        index = int(index) % len(self)
        return self._store.sample(index if self._members is None else int(self._members[index]), self._mapping)

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            yield self[index]

    @cached_property
    def labels(self) -> LabelSpace:
        """The label space of these samples."""
        return self._store.labels if self._mapping is None else self._mapping.target

    @property
    def splits(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Name → indices in the whole pack."""
        return self._store.splits

    @property
    def info(self) -> Mapping[str, Any]:
        """The pack's index: provenance, report, counts."""
        return self._store.index

    @property
    def path(self) -> Path:
        """The pack's folder."""
        return self._store.folder

    @property
    def keys(self) -> Sequence[str]:
        """The key of every sample, in order."""
        return _Keys(self)

    @property
    def documents(self) -> list[dict[str, Any]]:
        """What the source's files say beyond single images (headers, lists), by file."""
        return self._store.documents

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Which samples of the whole pack these are."""
        return np.arange(self._store.count) if self._members is None else self._members

    def key(self, index: int) -> str:
        """The key of sample `index`, without reading more."""
        return self._store.key(int(self.indices[index]) if self._members is not None else index)

    def place(self, index: int) -> str:
        """Where sample `index` lies: its shard and record, for messages."""
        shard, row = self._store.locate(int(self.indices[index]))
        return f"shard {self._store.shards.index(shard)} ({shard.table.path.name}), record {row}"

    def image_bytes(self, index: int) -> int:
        """Size of the image file of sample `index`, 0 where there is none."""
        shard, row = self._store.locate(int(self.indices[index]))
        return int(shard.table["image/length"][row])

    def find(self, key: str) -> Sample:
        """The sample with this key.

        Raises:
            NotThere: no such key, or several samples (of different splits) have it.
        """
        found = [self._position[index] for index in self._store.by_key.get(key, ()) if index in self._position]
        if len(found) == 1:
            return self[found[0]]
        if found:
            raise NotThere(
                f"{len(found)} samples have the key {key!r}",
                fix=f"open one split: {', '.join(self.splits)}",
            )
        import difflib

        close = difflib.get_close_matches(key, list(self.keys)[:20000], n=3)
        raise NotThere(
            f"no sample has the key {key!r}",
            file=self.path,
            why=f"close ones are {', '.join(map(repr, close))}"
            if close
            else f"the first is {next(iter(self.keys), None)!r}",
        )

    @cached_property
    def _position(self) -> Mapping[int, int]:
        if self._members is None:
            return _Identity(self._store.count)
        return {int(member): position for position, member in enumerate(self._members)}

    def select(self, which: Sequence[int] | npt.NDArray[Any] | Callable[[Sample], bool]) -> Pack:
        """Some of these samples: by index (in the order given) or by a predicate."""
        if callable(which):
            chosen = np.array([i for i in range(len(self)) if which(self[i])], np.int64)
        else:
            chosen = np.asarray(which, np.int64).reshape(-1)
        if len(chosen) and (chosen.min() < -len(self) or chosen.max() >= len(self)):
            raise IndexError(f"indices reach from {chosen.min()} to {chosen.max()}; there are {len(self)} samples")
        return Pack(self._store, self.indices[chosen], self._mapping)

    def split(self, name: str) -> Pack:
        """The samples of one split, in its order.

        Raises:
            NotThere: the pack has no such split.
        """
        if name not in self.splits:
            raise NotThere(
                f"the pack has no split {name!r}",
                file=self.path,
                why=f"it has {', '.join(map(repr, self.splits)) or 'none'}",
            )
        return Pack(self._store, self.splits[name], self._mapping)

    def viewed(self, labels: str | LabelMapping) -> Pack:
        """The same samples under another label space.

        Raises:
            NotThere: no view of that name exists for the pack's label space.
        """
        if isinstance(labels, str):
            from segdata import manifest

            labels = manifest.view(self._store.labels, labels)
        return Pack(self._store, self._members, labels)


class _Keys(Sequence[str]):
    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def __len__(self) -> int:
        return len(self._pack)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._pack.key(i) for i in range(len(self))[index]]
        return self._pack.key(range(len(self))[index])


class _Identity(Mapping[int, int]):
    def __init__(self, count: int) -> None:
        self._range = range(count)

    def __getitem__(self, key: int) -> int:
        return self._range[key]

    def __contains__(self, key: object) -> bool:
        return key in self._range

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


class _File:
    """One mapped file and its arrays; an array that the pack leaves out is None."""

    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        self.path = folder / entry["file"]
        self.entry = entry
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size != entry["bytes"]:
                    raise DamagedData(
                        "a file of the pack is not of the recorded size",
                        file=self.path,
                        why=f"expected {entry['bytes']:,} bytes, found {size:,}",
                        fix="convert the dataset again with --force, or restore this file",
                    )
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise DamagedData(
                "a file of the pack is missing", file=self.path, fix="convert the dataset again with --force"
            ) from error
        self._arrays: dict[str, npt.NDArray[Any] | None] = {}

    def __getitem__(self, name: str) -> Any:
        try:
            return self._arrays[name]
        except KeyError:
            self._arrays[name] = array = self._read(name)
            return array

    def _read(self, name: str) -> npt.NDArray[Any] | None:
        place = self.entry["arrays"].get(name)
        if place is None:
            return None
        dtype = layout.expected_dtype(name)
        shape = tuple(place["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        if count == 0:
            return np.zeros(shape, dtype)
        offset = place["offset"]
        if dtype != np.dtype(place["dtype"]) or min(shape) < 0 or offset + count * dtype.itemsize > len(self.map):
            raise InvalidInput(
                f"the pack's index places {name} where it cannot be",
                file=self.path,
                why=f"dtype {place['dtype']}, shape {shape}, offset {offset}; the file has {len(self.map)} bytes",
            )
        return np.ndarray(shape, dtype, self.map, offset)


class _Shard:
    def __init__(self, folder: Path, entry: Mapping[str, Any], first: int) -> None:
        self.first = first
        self.table = _File(folder, entry["annotations"])
        self.images = None if entry["images"] is None else _File(folder, entry["images"])


class _Store:
    """The mapped files of one pack, shared by all `Pack` objects made from it."""

    def __init__(self, folder: Path, index: dict[str, Any], images_root: Path | None) -> None:
        self.folder = folder
        self.index = index
        self.labels = LabelSpace.from_dict(index["labels"])
        self.dataset = _File(folder, index["dataset"])
        self.max_pixels: int = index.get("max_pixels", images.MAX_PIXELS)
        root = index.get("images_root")
        self.images_root = images_root or (None if root is None else Path(root))
        self.shards: list[_Shard] = []
        self.starts: list[int] = []
        self.count = 0
        for entry in index["shards"]:
            self.shards.append(_Shard(folder, entry, self.count))
            self.starts.append(self.count)
            self.count += entry["samples"]

    @cached_property
    def splits(self) -> dict[str, npt.NDArray[np.int64]]:
        return {split["name"]: self.dataset[f"split/{number}"] for number, split in enumerate(self.index["splits"])}

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        import zstandard

        data = self.dataset["documents"].tobytes()
        documents: list[dict[str, Any]] = json.loads(
            zstandard.ZstdDecompressor().decompress(data).decode("utf-8", "surrogatepass")
        )
        return documents

    @cached_property
    def by_key(self) -> dict[str, list[int]]:
        by_key: dict[str, list[int]] = {}
        for index in range(self.count):
            by_key.setdefault(self.key(index), []).append(index)
        return by_key

    def locate(self, index: int) -> tuple[_Shard, int]:
        shard = self.shards[bisect.bisect_right(self.starts, index) - 1]
        return shard, index - shard.first

    def key(self, index: int) -> str:
        shard, row = self.locate(index)
        return _text(shard.table, "image/key", row)

    def sample(self, index: int, mapping: LabelMapping | None = None) -> Sample:
        shard, row = self.locate(index)
        table = shard.table
        key = _text(table, "image/key", row)
        height, width = table["image/size"][row].tolist()
        flags = int(table["image/flags"][row])
        return Sample(
            key,
            height,
            width,
            file=_text(table, "image/file", row),
            id=int(table["image/id"][row]),
            encoded=(lambda: self._encoded(shard, row)) if table["image/codec"][row] else None,
            instances=(lambda: self._instances(table, row, height, width, mapping))
            if flags & layout.INSTANCES_ANNOTATED
            else None,
            semantic=(lambda: self._semantic(shard, row, height, width, mapping))
            if flags & layout.SEMANTIC_ANNOTATED
            else None,
            extra=lambda: Records(table["image/extra"], table["image/extra_offset"])[row],
            max_pixels=self.max_pixels,
        )

    def _encoded(self, shard: _Shard, row: int) -> bytes:
        table = shard.table
        length = int(table["image/length"][row])
        if shard.images is not None:
            offset = int(table["image/offset"][row])
            data: bytes = shard.images["images/data"][offset : offset + length].tobytes()
            source = shard.images.path
        else:
            if self.images_root is None:
                raise NotThere("the pack does not say where its images are", file=self.folder)
            name = _text(table, "image/file", row)
            source = inside(self.images_root, name, "the pack")
            try:
                data = source.read_bytes()
            except OSError as error:
                raise NotThere(
                    "a referenced image is not there",
                    file=source,
                    key=_text(table, "image/key", row),
                    why=error.strerror,
                    fix="restore it, or say where the images are now with images_root",
                ) from error
        if len(data) != length or zlib.crc32(data) != int(table["image/crc32"][row]):
            raise DamagedData(
                "an image is not the one that was converted",
                file=source,
                key=_text(table, "image/key", row),
                place=f"shard {self.shards.index(shard)}, record {row}",
                why=f"expected {length} bytes with crc32 {int(table['image/crc32'][row]):08x}, "
                f"found {len(data)} with {zlib.crc32(data):08x}",
                fix="restore the file, or convert the dataset again with --force",
            )
        return data

    def _instances(self, table: _File, row: int, height: int, width: int, mapping: LabelMapping | None) -> Instances:
        begin, end = table["instance/pointer"][row : row + 2].tolist()
        count = end - begin
        run_offset = table["instance/run_offset"][begin : end + 1]
        flags = table["instance/flags"][begin:end]
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
            has_mask=(flags & layout.HAS_MASK) != 0,
            iscrowd=(flags & layout.IS_CROWD) != 0,
            difficult=(flags & layout.IS_DIFFICULT) != 0,
            truncated=(flags & layout.IS_TRUNCATED) != 0,
            occluded=(flags & layout.IS_OCCLUDED) != 0,
            id=table["instance/id"][begin:end],
            bbox=table["instance/bbox"][begin:end],
            area=table["instance/area"][begin:end],
            score=np.full(count, np.nan) if score is None else score[begin:end],
            order=table["instance/order"][begin:end],
            polygons=_polygons(table, begin, end),
            extra=Records(table["instance/extra"], table["instance/extra_offset"][begin : end + 1]),
        )
        if mapping is None:
            return instances
        to = np.array([-1 if value is None else value for value in mapping.table], np.int64)
        category = to[instances.category]
        if np.all(category >= 0):
            return instances.with_category(category)
        return instances.with_category(category).take(category >= 0)

    def _semantic(
        self, shard: _Shard, row: int, height: int, width: int, mapping: LabelMapping | None
    ) -> npt.NDArray[Any]:
        import zstandard

        table = shard.table
        begin, end = table["semantic/offset"][row : row + 2].tolist()
        frame = table["semantic/data"][begin:end].tobytes()
        size = height * width * self.labels.dtype.itemsize
        if zlib.crc32(frame) != int(table["semantic/crc32"][row]):
            raise DamagedData(
                "a semantic map is damaged",
                file=table.path,
                key=_text(table, "image/key", row),
                place=f"shard {self.shards.index(shard)}, record {row}",
                why="its checksum differs from the recorded one",
                fix="convert the dataset again with --force",
            )
        data = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
        semantic: npt.NDArray[Any] = np.frombuffer(data, self.labels.dtype.newbyteorder("<")).reshape(height, width)
        if mapping is None:
            return semantic.astype(self.labels.dtype)
        lookup: npt.NDArray[Any] = mapping.lookup(self.labels)
        mapped: npt.NDArray[Any] = lookup[semantic]
        return mapped


def _text(table: _File, name: str, row: int) -> str:
    begin, end = table[name + "_offset"][row : row + 2].tolist()
    return str(table[name][begin:end].tobytes(), "utf-8", "surrogatepass")


_NO_VALUES = np.zeros(0, np.float64)
_NO_RINGS = np.zeros(1, np.int64)


def _polygons(table: _File, begin: int, end: int) -> Polygons:
    pointer = table["instance/polygon_offset"]
    if pointer is None:
        return Polygons(_NO_VALUES, _NO_RINGS, np.zeros(end - begin + 1, np.int64))
    pointer = pointer[begin : end + 1]
    rings = table["instance/ring_offset"][int(pointer[0]) : int(pointer[-1]) + 1]
    values = table["instance/polygon"][int(rings[0]) : int(rings[-1])]
    return Polygons(values, rings - rings[0], pointer - pointer[0])
