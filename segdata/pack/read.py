"""Open a pack as a lazy sequence of samples: `open_pack`, `Pack`.

All files are memory-mapped, without the HDF5 library. The mappings are safe over fork and between threads, workers
share one page cache, and an open pack stays readable when it is replaced by a newer one.
"""

from __future__ import annotations

import itertools
import json
import operator
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.reprs import counted, first, line
from segdata.core.sample import Sample
from segdata.errors import DamagedData, NotThere, no_sample, no_split, number_of
from segdata.pack import layout
from segdata.pack.columns import Columns
from segdata.pack.store import Files, Shard, Store
from segdata.places.address import Address, is_address, place
from segdata.query.fields import Of
from segdata.query.meaning import compiled
from segdata.system.files import disk_errors
from segdata.viz import gallery


@disk_errors()
def open_pack(
    path: str | Path,
    split: str | None = None,
    *,
    labels: str | LabelMapping | None = None,
    images_root: str | Path | None = None,
    allow_missing_shards: bool = False,
    cache: str | Path | None = None,
    cache_limit: int | None = None,
    allow_http: bool = False,
) -> Pack:
    """Open a pack.

    Args:
        path: the pack's folder, or its address: `s3://BUCKET/PACK`, `gs://…`, `az://…`, `https://…`.
        split: the name of one of its splits; by default all samples.
        labels: a view of the pack's label space ("cityscapes-19"), applied when samples are read.
        images_root: the present folder of the images, for a pack that references them.
        allow_missing_shards: leave out shards whose files are missing or of another size, with a warning; the other
            samples are numbered as if the pack had been made without them.
        cache, cache_limit, allow_http: how a pack at an address is read; see `segdata.place`.

    Raises:
        NotThere: no pack, or no such split.
        NetworkError: the place cannot be reached.
        SignInError: the place does not let us in.
        UsageError: an address that is none, or that holds a secret.
        Unsafe: plain http that was not allowed.
        DamagedData: the index or a file's size is not what was recorded.
        InvalidInput: not a pack, or of another version.
    """
    folder = Path(path)
    if is_address(path):
        folder = place(path, cache=cache, cache_limit=cache_limit, allow_http=allow_http)
    index = layout.read_index(folder)
    without = _unusable(folder, index) if allow_missing_shards else []
    pack = Pack(Store(folder, index, None if images_root is None else Path(images_root), without))
    if split is not None:
        pack = pack.split(split)
    if labels is not None:
        pack = pack.viewed(labels)
    return pack


def open_without(path: Path, shards: Collection[int]) -> Pack:
    """Open a pack as if it had been made without the samples of the shards with these numbers."""
    return Pack(Store(path, layout.read_index(path), None, shards))


def _unusable(folder: Path, index: Mapping[str, Any]) -> list[int]:
    """Numbers of the shards whose files cannot be mapped; warns of each."""
    without, files = [], Files(folder, index)
    for number, (samples, _, _) in enumerate(layout.shard_counts(index)):
        try:
            Shard(files, number, 0).map()
        except DamagedData as error:
            without.append(number)
            warnings.warn(f"shard {number} with {samples} samples is left out: {error}", stacklevel=3)
    return without


class Pack(Sequence[Sample]):
    """The samples of a pack, or some of them: `len`, `[i]`, slices, iteration, `find`, `select`, `split`.

    Attributes:
        labels: the label space of the samples (the view's, if the pack was opened with one).
        splits: name → (K,) int64 indices of its samples in the whole pack; splits may overlap.
        info: provenance, report and counts, as stored in the pack's index.
    """

    def __init__(
        self, store: Store, members: npt.NDArray[np.int64] | None = None, mapping: LabelMapping | None = None
    ) -> None:
        self._store = store
        self._members = members
        self._mapping = mapping
        self._count = store.count if members is None else len(members)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the selection: another process opens the files itself."""
        store = self._store
        return _reopen, (
            store.folder.absolute(),
            store.index["crc32"],
            store.images_root,
            store.without,
            self._members,
            self._mapping,
        )

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return line(self, repr(str(self._store.folder)), counted(len(self), "sample"), f"labels {self.labels.name!r}")

    def _repr_html_(self) -> str:
        """Its first samples, drawn, which notebooks show."""
        return gallery.of_sequence(self, self.labels, repr(self))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Pack: ...
    def __getitem__(self, index: int | slice) -> Sample | Pack:
        if isinstance(index, slice):
            return self.select(np.arange(*index.indices(len(self))))
        index = operator.index(index)
        if not -self._count <= index < self._count:
            raise IndexError(f"sample {index} of a pack with {number_of(self._count, 'sample')}")
        index %= self._count
        sample = self._store.sample(self._number(index), self._mapping)
        sample.labels = self.labels
        return sample

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            yield self[index]

    @property
    def labels(self) -> LabelSpace:
        """The label space of the samples."""
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
    def is_remote(self) -> bool:
        """Whether the pack is at an address, and no folder of this machine."""
        return isinstance(self._store.folder, Address)

    @property
    def keys(self) -> Sequence[str]:
        """The key of every sample, in order."""
        return _Keys(self)

    @property
    def documents(self) -> list[dict[str, Any]]:
        """What the source's files say beyond single images (headers, lists), one dictionary for each file."""
        return self._store.documents

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """(N,) int64, indices of these samples in the whole pack."""
        return np.arange(self._store.count) if self._members is None else self._members

    def key(self, index: int) -> str:
        """The key of sample `index`; nothing else is read."""
        return self._store.key(self._number(index))

    def _number(self, index: int) -> int:
        """The number of sample `index` in the whole pack."""
        return index if self._members is None else self._members.item(index)

    def locate(self, index: int) -> tuple[Shard, int]:
        """The shard of sample `index`, and its row in the shard's table."""
        return self._store.locate(self._number(index))

    def shard_numbers(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the shard of every sample; nothing is read."""
        return self._store.shard_numbers(self.indices)

    def column(self, name: str) -> npt.NDArray[Any]:
        """(N, …) one column of the samples: "image/id", "image/size" … as docs/pack.md names them."""
        return self._store.column(name, self._members)

    def instance_columns(self, name: str) -> Iterator[npt.NDArray[Any] | None]:
        """One column of all instances of the pack, "instance/score" …, shard by shard; None where a shard has none."""
        for shard in self._store.shards:
            yield shard.table[name]

    def object_categories(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each object's sample, and its category in `labels`, (M,) int64 each; columns alone are read.

        Objects of categories that the pack's view leaves out are left out.
        """
        image, category = self._of_objects("instance/category")
        if self._mapping is None:
            return image, category
        category = self._mapping.indices[category]
        return image[category >= 0], category[category >= 0]

    def object_ids(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each object's sample, and its id, (M,) int64 each; columns alone are read."""
        return self._of_objects("instance/id")

    def _of_objects(self, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each object's sample, and its value in a column of whole numbers that every shard has, (M,) int64 each."""
        empty = np.zeros(0, np.int64)
        counts = np.concatenate([empty, *(np.diff(shard.table["instance/pointer"]) for shard in self._store.shards)])
        values = self._store.column(name)
        begin = (np.cumsum(counts) - counts)[self.indices]
        counts = counts[self.indices]
        image = np.arange(len(self)).repeat(counts)
        return image, values[np.arange(len(image)) + (begin + counts - np.cumsum(counts))[image]]

    def count_without_mask(self) -> tuple[int, int, int]:
        """Objects without mask, objects in all, and images with an object without mask; columns alone are read."""
        without: list[npt.NDArray[np.int64]] = []
        objects: list[npt.NDArray[np.int64]] = []
        for shard in self._store.shards:
            pointer = np.asarray(shard.table["instance/pointer"], np.int64)
            flags = shard.table["instance/flags"]
            lacks = np.zeros(pointer[-1] + 1, np.int64)
            np.cumsum((np.asarray(flags) & layout.HAS_MASK) == 0, out=lacks[1:])
            without.append(np.diff(lacks[pointer]))
            objects.append(np.diff(pointer))
        if not without:
            return 0, 0, 0
        of_image = np.concatenate(without)[self.indices]
        return int(of_image.sum()), int(np.concatenate(objects)[self.indices].sum()), int(np.count_nonzero(of_image))

    def place(self, index: int) -> str:
        """Shard and record of sample `index`, for messages."""
        shard, row = self.locate(index)
        return f"shard {shard.number} ({shard.table.path.name}), record {row}"

    def image_bytes(self, index: int) -> int:
        """Bytes of the image file of sample `index`, 0 where there is none."""
        shard, row = self.locate(index)
        return int(shard.table["image/length"][row])

    def unused_image_bytes(self) -> int:
        """Bytes of embedded images that no sample of the whole pack has; there are some in a pack made of a part of another."""
        shards = [shard for shard in self._store.shards if shard.images is not None]
        there = sum(shard.images.length("images/data") for shard in shards if shard.images is not None)
        return there - sum(int(shard.table["image/length"].sum()) for shard in shards)

    def mentions(self, name: str) -> bool:
        """Whether what is kept beside the columns of images has a member of this name anywhere; quick, for rare names."""
        quoted = json.dumps(name).encode()
        return any(quoted in np.asarray(shard.table["image/extra"], np.uint8).tobytes() for shard in self._store.shards)

    def find(self, key: str) -> Sample:
        """The sample with this key.

        Raises:
            NotThere: no such key, or several samples (of different splits) have it.
        """
        matches = [position for index in self._store.with_key(key) for position in self._positions(index)]
        if len(matches) == 1:
            return self[matches[0]]
        if matches:
            raise NotThere(
                f"{len(matches)} samples have the key {key!r}",
                fix=f"open one split: {', '.join(self.splits)}",
            )
        raise no_sample(key, self.keys, self._where(key), self.splits, self.path)

    def _where(self, key: str) -> list[str] | None:
        """The splits that have the key; None where it is nowhere in the pack."""
        indices = self._store.with_key(key)
        if not indices:
            return None
        return [name for name, members in self.splits.items() if np.isin(members, indices).any()]

    @cached_property
    def _order(self) -> npt.NDArray[np.int64] | None:
        """(N,) int64, these samples by their numbers in the whole pack; None where they are all."""
        return None if self._members is None else np.argsort(self._members, kind="stable")

    def _positions(self, index: int) -> list[int]:
        """Where sample `index` of the whole pack is here: the last place, if anywhere."""
        if self._members is None or self._order is None:
            return [index]
        place = int(np.searchsorted(self._members, index, side="right", sorter=self._order)) - 1
        return [self._order.item(place)] if place >= 0 and self._members[self._order[place]] == index else []

    @cached_property
    def query_columns(self) -> Columns:
        """The columns of the whole pack that queries ask for, shard by shard."""
        return Columns(self._store, self._mapping)

    def matching(self, query: str) -> npt.NDArray[np.bool_]:
        """(N,) bool, which of these samples a query means: "any(category == 'dog') and width > 500".

        Tables alone are read; the language is described in docs/query.md.

        Raises:
            InvalidQuery: with the column of what is wrong, and what may be meant.
        """
        return self._matching(query, "image")[self.indices]

    def matching_objects(self, query: str) -> npt.NDArray[np.bool_]:
        """(M,) bool, which objects of the whole pack a query of objects means: "area < 32**2 and not iscrowd".

        Raises:
            InvalidQuery: with the column of what is wrong, and what may be meant.
        """
        return self._matching(query, "object")

    def _matching(self, query: str, of: Of) -> npt.NDArray[np.bool_]:
        meaning = compiled(query, self.query_columns.names, of)
        parts = [meaning(table) for table in self.query_columns.tables]
        return np.concatenate(parts) if parts else np.zeros(0, bool)

    def select(self, which: str | Sequence[int] | npt.NDArray[Any] | Callable[[Sample], bool]) -> Pack:
        """Some of these samples: by index (in that order), by one boolean for each, by a query, or by a predicate.

        A query is computed on columns, as `matching` does it; a predicate is called with every sample.

        Raises:
            InvalidQuery: with the column of what is wrong, and what may be meant.
            IndexError: an index out of range, or not one boolean for each sample.
            TypeError: neither integers nor booleans.
        """
        if isinstance(which, str):
            chosen = np.flatnonzero(self.matching(which))
        elif callable(which):
            chosen = np.array([i for i in range(len(self)) if which(self[i])], np.int64)
        else:
            values = np.asarray(which).reshape(-1)
            if values.size and values.dtype.kind not in "iub":
                raise TypeError(f"samples are chosen by integers or booleans, not {values.dtype}")
            chosen = np.arange(len(self))[values] if values.dtype == np.bool_ else values.astype(np.int64)
        if len(chosen) and (chosen.min() < -len(self) or chosen.max() >= len(self)):
            raise IndexError(
                f"indices reach from {chosen.min()} to {chosen.max()}; the pack has {number_of(len(self), 'sample')}"
            )
        if self._members is None:
            return Pack(self._store, np.where(chosen < 0, chosen + len(self), chosen), self._mapping)
        return Pack(self._store, self._members[chosen], self._mapping)

    def split(self, name: str) -> Pack:
        """The samples of one split, in the split's order.

        Raises:
            NotThere: the pack has no such split.
        """
        if name not in self.splits:
            raise no_split(name, self.splits, self._where(name), self.path)
        return Pack(self._store, self.splits[name], self._mapping)

    def viewed(self, labels: str | LabelMapping) -> Pack:
        """The same samples with their categories mapped to another label space.

        Args:
            labels: the name of a view ("cityscapes-19"), or a mapping.

        Raises:
            NotThere: no view of that name exists for the pack's label space.
        """
        if isinstance(labels, str):
            labels = manifest.view(self._store.labels, labels)
        return Pack(self._store, self._members, labels)


def _reopen(
    folder: Path,
    crc32: str,
    images_root: Path | None,
    without: Collection[int],
    members: npt.NDArray[np.int64] | None,
    mapping: LabelMapping | None,
) -> Pack:
    index = layout.read_index(folder)
    if index["crc32"] != crc32:
        raise DamagedData(
            "the pack was replaced after it was opened",
            file=folder / layout.INDEX,
            why="another process would read other samples than the one that sent it here",
            fix="open the pack again",
        )
    return Pack(Store(folder, index, images_root, without), members, mapping)


class _Keys(Sequence[str]):
    """The keys of a pack's samples, each read on access."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def __len__(self) -> int:
        return len(self._pack)

    def __repr__(self) -> str:
        return f"{counted(len(self), 'key')}: {first([*itertools.islice(self, 5)])}"

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._pack._store.keys(self._pack.indices[index])
        return self._pack.key(range(len(self))[index])
