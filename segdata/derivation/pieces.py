"""A pack that others are made of, and its shards with what changes in them; nothing is written here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelMapping
from segdata.core.sample import Sample
from segdata.pack import layout
from segdata.pack.store import Shard, Store
from segdata.pack.tables import texts
from segdata.places.address import require_folder
from segdata.system.files import disk_errors, real_path
from segdata.system.reading import read_file

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Parent:
    """A pack that others are made of.

    Attributes:
        folder: where it lies.
        store: its files.
        sha256: of its index, which names all of its files by their digests.
    """

    folder: Path
    store: Store
    sha256: str

    @classmethod
    def open(cls, folder: str | Path) -> Parent:
        """Open a pack; no table is read.

        Raises:
            NotThere: there is no pack.
            DamagedData: its index is damaged, or a file is missing or of another size.
        """
        require_folder(folder, "files of packs are linked, not copied")
        folder = Path(folder)
        index = layout.read_index(folder)
        with disk_errors(folder):
            digest = hashlib.sha256(read_file(folder / layout.INDEX)).hexdigest()
        return cls(folder, Store(folder, index, None), digest)

    @property
    def index(self) -> dict[str, Any]:
        """The pack's index."""
        return self.store.index

    @property
    def origin(self) -> str:
        """The format whose samples these are, as the pack records it."""
        return str(self.index["provenance"]["format"])

    def recorded(self) -> dict[str, str]:
        """The pack as those that are made of it name it."""
        return {"name": real_path(self.folder).name, "sha256": self.sha256}

    def read_keys(self) -> list[bytes]:
        """The keys of all samples, in UTF-8."""
        return [key for shard in self.store.shards for key in texts(shard.table, "image/key")]

    def rows(self) -> Iterator[tuple[Shard, slice]]:
        """Each shard with the numbers of its samples."""
        counts = layout.shard_counts(self.index)
        for shard in self.store.shards:
            yield shard, slice(shard.first, shard.first + counts[shard.number][0])


@dataclass(frozen=True)
class Change:
    """What is other in a shard's table than in its parent's.

    Attributes:
        rows: (N,) bool, the samples that stay; None for all.
        objects: (M,) bool, the objects that stay, if their samples do; None for all.
        mapping: of categories, in objects and label maps. Objects of categories that it leaves out go.
        key_prefix, file_prefix: put before every key, and before every image's path.
        annotations: row of a sample → what makes of it the one with other annotations; not together with the others.
    """

    rows: Mask | None = None
    objects: Mask | None = None
    mapping: LabelMapping | None = None
    key_prefix: str = ""
    file_prefix: str = ""
    annotations: Mapping[int, Callable[[Sample], Sample]] = field(default_factory=dict)

    @property
    def is_none(self) -> bool:
        """Whether everything stays as it is."""
        return (
            (self.rows is None or bool(self.rows.all()))
            and (self.objects is None or bool(self.objects.all()))
            and self.mapping is None
            and not self.key_prefix
            and not self.file_prefix
            and not self.annotations
        )


@dataclass(frozen=True)
class Piece:
    """A shard of the new pack: one of a parent's, as it is or changed."""

    parent: Parent
    shard: Shard
    change: Change = Change()

    @property
    def entry(self) -> dict[str, Any]:
        """The shard in its parent's index."""
        entry: dict[str, Any] = self.parent.index["shards"][self.shard.number]
        return entry

    @property
    def samples(self) -> int:
        """How many samples it has in the new pack."""
        return int(self.entry["samples"] if self.change.rows is None else np.count_nonzero(self.change.rows))
