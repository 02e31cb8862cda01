"""Write the files of a pack: the shards, the file of splits and documents, and at last the index.

A shard holds consecutive samples and is written on its own, so that shards can be written in parallel and a stopped run
keeps the finished ones. `commit` makes them a pack by writing the index.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.rle import pointer_of
from segdata.core.sample import Instances, Sample, record_text
from segdata.errors import OF_THE_DATA, DamagedData, DiskError, InvalidInput
from segdata.pack import layout
from segdata.pack.entries import ARRAYS
from segdata.pack.hdf5 import FileLayout
from segdata.pack.images import check_image
from segdata.pack.tables import LARGEST, Limits, MappedFile
from segdata.system.files import crc32, disk_errors, real_path, sync_folder, write_whole
from segdata.version import __version__

_CHUNK = 1 << 22
_LEVEL = 3
"""Of zstd; label maps shrink to 1–2 % already here."""


def write_shard(
    folder: Path,
    number: int,
    samples: Iterable[Sample],
    labels: LabelSpace,
    *,
    images: layout.Images,
    image_bytes: int | None,
    findings: Findings,
    left_out: list[int],
) -> dict[str, Any]:
    """Write one shard's files into `folder` under temporary names.

    Until they are whole, their names are of this process alone: two that write the same shard write the same bytes.

    Args:
        samples: in the order of the pack.
        images: whether the image files are embedded, referenced or left out.
        image_bytes: size in bytes of all embedded images, as planned; None where it is not known before.
        findings: receives samples that cannot be stored.
        left_out: receives the positions of these samples in `samples`.

    Returns:
        The receipt: `entry`, the shard's entry in the index, and `files`, temporary → final names.
    """
    table = _Table(labels)
    attempt = f"{number:05d}.part-{platform.node()}-{os.getpid()}"
    blob = _ImageBlob(folder / f".images-{attempt}", image_bytes) if images == "embed" else None
    try:
        for position, sample in enumerate(samples):
            try:
                table.add(sample, _store_image(sample, images, blob, findings))
            except OF_THE_DATA as error:
                findings.skip(error.located(key=sample.key, file=sample.file or None))
                left_out.append(position)
        entry: dict[str, Any] = {"samples": len(table.keys), "instances": table.instances, "images": None}
        if blob is not None:
            entry["images"] = blob.finish()
    except BaseException:
        if blob is not None:
            blob.discard()
        raise
    part = folder / f".annotations-{attempt}"
    entry["annotations"] = write_arrays(part, table.arrays())
    _require_readable(folder, {**entry["annotations"], "file": part.name}, table, blob)
    files = file_names(number, entry)
    for written in (part,) if blob is None else (part, blob.path):
        with disk_errors(written):
            written.replace(folder / written.name.removesuffix(attempt.partition(".part")[2]))
    for kind, name in zip((kind for kind in _KINDS if entry[kind]), files.values(), strict=True):
        entry[kind]["file"] = name
    return {"entry": entry, "files": files}


_KINDS = ("images", "annotations")


def file_names(number: int, entry: Mapping[str, Any]) -> dict[str, str]:
    """Temporary → final names of a shard's files: a final one holds the beginning of the file's digest."""
    return {
        f".{kind}-{number:05d}.part": f"{kind}-{number:05d}-{entry[kind]['sha256'][:12]}.h5"
        for kind in _KINDS
        if entry[kind]
    }


def _require_readable(folder: Path, entry: Mapping[str, Any], table: _Table, blob: _ImageBlob | None) -> None:
    """Refuse to keep a table that a reader would refuse.

    Raises:
        InvalidInput: with the row that cannot be.
    """
    limits = Limits(max(len(table.labels), 1), 0, table.max_pixels, None if blob is None else blob.size)
    damage = MappedFile(folder, entry, limits).damage()
    if damage is not None:
        raise InvalidInput("the samples hold a value that a pack cannot", place=damage.place, why=damage.why)


def write_dataset(
    folder: Path, splits: Mapping[str, Sequence[int]], documents: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write the file that holds the splits and the documents; returns its receipt, like `write_shard`."""
    import zstandard

    text = json.dumps(documents, ensure_ascii=False, allow_nan=False, sort_keys=True).encode("utf-8", "surrogatepass")
    arrays: dict[str, npt.NDArray[Any]] = {
        f"split/{index}": np.asarray(members, "<i8") for index, members in enumerate(splits.values())
    }
    compressed = zstandard.ZstdCompressor(level=_LEVEL).compress(text)
    if len(text) > layout.most_text(len(compressed)):
        raise InvalidInput(
            "the source's files say more beyond single images than a pack holds", why=f"{len(text):,} bytes"
        )
    arrays["documents"] = np.frombuffer(compressed, np.uint8)
    part = folder / ".dataset.part"
    entry = write_arrays(part, arrays)
    entry["file"] = f"dataset-{entry['sha256'][:12]}.h5"
    return {"entry": entry, "files": {part.name: entry["file"]}}


UNFINISHED = (".work-", f".{layout.INDEX}.part-", f".{layout.COPY}.part-")
"""Prefixes of the names of unfinished work in a pack's folder."""


def is_unfinished(target: Path) -> bool:
    """Whether a folder holds nothing but the work of a run that was stopped before it had made a pack."""
    return (
        target.is_dir()
        and not (target / layout.INDEX).is_file()
        and all(
            path.name.startswith(UNFINISHED) or path.name == layout.COPY or path.suffix == ".h5"
            for path in target.iterdir()
        )
    )


def index_document(
    shards: Sequence[Mapping[str, Any]],
    dataset: Mapping[str, Any],
    *,
    labels: LabelSpace,
    splits: Mapping[str, Sequence[int]],
    images: layout.Images,
    images_root: Path | None = None,
    provenance: Mapping[str, Any],
    findings: Findings,
    max_pixels: int = image_files.MAX_PIXELS,
) -> dict[str, Any]:
    """Compose a pack's index.

    Args:
        shards: the receipts of `write_shard`, in order.
        dataset: the receipt of `write_dataset`.
        images_root: the folder of the image files that the pack refers to.
        provenance: what the pack was made of: `format`, `layout`, `root`, `fingerprint` and `options`.
        findings: what was odd or left out.
        max_pixels: readers refuse to decode larger images.
    """
    entries = [receipt["entry"] for receipt in shards]
    return {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "samples": sum(entry["samples"] for entry in entries),
        "instances": sum(entry["instances"] for entry in entries),
        "labels": labels.as_dict(),
        "splits": [{"name": name, "samples": len(members)} for name, members in splits.items()],
        "images": images,
        "images_root": None if images_root is None else str(real_path(images_root)),
        "max_pixels": max_pixels,
        "provenance": {**provenance, "segdata": __version__},
        "report": findings.as_dict(),
        "dataset": dataset["entry"],
        "shards": entries,
    }


def commit(target: Path, work: Path, receipts: Sequence[Mapping[str, Any]], index: Mapping[str, Any]) -> None:
    """Move finished files from `work` to `target`, then write the index; until then `target` holds the old pack."""
    move_finished(target, work, receipts)
    data = layout.encode_index(index)
    write_whole(target / layout.COPY, data)
    write_whole(target / layout.INDEX, data)


def move_finished(target: Path, work: Path, receipts: Sequence[Mapping[str, Any]]) -> None:
    """Move the files of these receipts from `work` to their final names in `target`.

    Raises:
        DamagedData: a file is in neither folder.
    """
    with disk_errors(target):
        for receipt in receipts:
            for part, name in receipt["files"].items():
                source, final = work / part, target / name
                if source.exists():
                    source.replace(final)
                elif not final.exists():
                    raise DamagedData("a finished shard is missing", file=final, fix="run the same command again")
        sync_folder(target)


def remove_unnamed(target: Path, index: Mapping[str, Any]) -> None:
    """Remove the files of an older pack, which its index does not name any more."""
    names = {entry["file"] for entry in layout.shard_files(index)}
    for path in target.glob("*.h5"):
        if path.name not in names:
            path.unlink()


def _store_image(
    sample: Sample, images: layout.Images, blob: _ImageBlob | None, findings: Findings
) -> tuple[int, int, int, int]:
    """Check a sample's image and store it where images are embedded; returns its codec, offset, length and crc32."""
    encoded = None if images == "none" else sample.encoded
    if encoded is None:
        return layout.CODECS["none"], 0, 0, 0
    image_files.require_size(sample.height, sample.width, sample.max_pixels)
    header = check_image(sample, encoded, findings)
    offset = blob.add(encoded) if blob is not None else 0
    return layout.CODECS[header.codec], offset, len(encoded), crc32(encoded)


class _Table:
    """Collects the samples of a shard and gives the columns of its table."""

    def __init__(self, labels: LabelSpace) -> None:
        self.labels = labels
        self.keys: list[bytes] = []
        self.files: list[bytes] = []
        self.rows: list[tuple[int, int, int, int, int, int, int, int]] = []
        self.extras: list[bytes] = []
        self.instance_extras: list[bytes] = []
        self.columns: list[Instances] = []
        self.semantic: list[bytes] = []
        self.semantic_crc: list[int] = []
        self.instances = 0
        self.max_pixels = 1
        self._compressor: Any = None

    def add(self, sample: Sample, stored: tuple[int, int, int, int]) -> None:
        instances = sample.instances
        if len(instances) > 65535:
            raise InvalidInput(f"the image has {len(instances)} instances; a pack holds at most 65,535 an image")
        semantic = sample.semantic
        flags = (layout.INSTANCES_ANNOTATED if sample.has_instances else 0) | (
            layout.SEMANTIC_ANNOTATED if semantic is not None else 0
        )
        if semantic is not None and semantic.shape != (sample.height, sample.width):
            raise InvalidInput(
                "the semantic map is of another size than the image",
                why=f"map {semantic.shape}, image {(sample.height, sample.width)} (height, width)",
            )
        has_pixels = semantic is not None or stored[0] != layout.CODECS["none"]
        image_files.require_size(sample.height, sample.width, sample.max_pixels if has_pixels else LARGEST)
        self.max_pixels = max(self.max_pixels, sample.max_pixels)
        # What is read on access may be damaged: all of it is read before anything of the sample is kept.
        file, extra = sample.file.encode("utf-8", "surrogatepass"), record_text(sample.extra)
        instance_extras = [record_text(record) for record in instances.extra]
        compressed = self._compress(semantic) if semantic is not None else b""
        self.semantic.append(compressed)
        self.semantic_crc.append(crc32(compressed))
        self.keys.append(sample.key.encode("utf-8", "surrogatepass"))
        self.files.append(file)
        self.rows.append((sample.id, sample.height, sample.width, flags, *stored))
        self.extras.append(extra)
        self.instance_extras += instance_extras
        self.columns.append(instances)
        self.instances += len(instances)

    def _compress(self, semantic: npt.NDArray[Any]) -> bytes:
        if self._compressor is None:
            self._compressor = map_compressor()
        return compressed_map(semantic, self.labels.dtype, self._compressor)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All columns by their name in the pack; polygons and scores only if there are any."""
        rows = np.array(self.rows, np.int64).reshape(-1, 8)
        arrays: dict[str, npt.NDArray[Any]] = {
            "image/key": np.frombuffer(b"".join(self.keys), np.uint8),
            "image/key_offset": _offsets(self.keys),
            "image/file": np.frombuffer(b"".join(self.files), np.uint8),
            "image/file_offset": _offsets(self.files),
            "image/id": rows[:, 0],
            "image/size": rows[:, 1:3],
            "image/flags": rows[:, 3],
            "image/codec": rows[:, 4],
            "image/offset": rows[:, 5],
            "image/length": rows[:, 6],
            "image/crc32": rows[:, 7],
            "image/extra": np.frombuffer(b"".join(self.extras), np.uint8),
            "image/extra_offset": _offsets(self.extras),
            "semantic/data": np.frombuffer(b"".join(self.semantic), np.uint8),
            "semantic/offset": _offsets(self.semantic),
            "semantic/crc32": np.array(self.semantic_crc, np.uint32),
        }
        arrays.update(self._instance_arrays())
        return {name: array.astype(ARRAYS[name][0], copy=False) for name, array in arrays.items()}

    def _instance_arrays(self) -> dict[str, npt.NDArray[Any]]:
        columns = self.columns

        def joined(values: list[npt.NDArray[Any]], shape: tuple[int, ...] = (0,)) -> npt.NDArray[Any]:
            return np.concatenate(values) if values else np.zeros(shape)

        flags = [
            item.iscrowd * layout.IS_CROWD
            + item.difficult * layout.IS_DIFFICULT
            + item.truncated * layout.IS_TRUNCATED
            + item.occluded * layout.IS_OCCLUDED
            + item.has_mask * layout.HAS_MASK
            for item in columns
        ]
        category = joined([item.category for item in columns])
        if len(category) and not 0 <= category.min() <= category.max() < max(len(self.labels), 1):
            raise InvalidInput(f"an instance has a category outside 0 … {len(self.labels) - 1}")
        arrays = {
            "instance/pointer": pointer_of(np.array([len(item) for item in columns], np.int64)),
            "instance/id": joined([item.id for item in columns]),
            "instance/order": joined([item.order for item in columns]),
            "instance/category": category,
            "instance/flags": joined(flags),
            "instance/bbox": joined([item.bbox for item in columns], (0, 4)),
            "instance/area": joined([item.area for item in columns]),
            "instance/frame": joined([item.masks.boxes_xywh for item in columns], (0, 4)),
            "instance/run": joined([item.masks.runs for item in columns]),
            "instance/run_offset": _stacked([item.masks.pointer for item in columns]),
            "instance/extra": np.frombuffer(b"".join(self.instance_extras), np.uint8),
            "instance/extra_offset": _offsets(self.instance_extras),
        }
        score = joined([item.score for item in columns])
        if not np.all(np.isnan(score)):
            arrays["instance/score"] = score
        if any(len(item.polygons.rings) > 1 for item in columns):
            arrays["instance/polygon"] = joined([item.polygons.values for item in columns])
            arrays["instance/ring_offset"] = _stacked([item.polygons.rings for item in columns])
            arrays["instance/polygon_offset"] = _stacked([item.polygons.pointer for item in columns])
        return arrays


def map_compressor() -> Any:
    """A compressor for `compressed_map`; making one costs more than compressing a label map."""
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL)


def compressed_map(semantic: npt.NDArray[Any], dtype: np.dtype[Any], compressor: Any) -> bytes:
    """A label map (H, W) as a pack holds it: a zstd frame of values of its label space's `dtype`, row by row."""
    values = semantic.astype(dtype, copy=False).astype(dtype.newbyteorder("<"), copy=False)
    compressed: bytes = compressor.compress(np.ascontiguousarray(values).tobytes())
    return compressed


def table_of(
    samples: Iterable[tuple[Sample, tuple[int, int, int, int]]], labels: LabelSpace
) -> dict[str, npt.NDArray[Any]]:
    """The columns of samples, by their names in the pack.

    Args:
        samples: each with its image's codec, offset, length and crc32.

    Raises:
        InvalidInput: what a pack does not hold.
    """
    table = _Table(labels)
    for sample, stored in samples:
        table.add(sample, stored)
    return table.arrays()


def _offsets(parts: Sequence[bytes]) -> npt.NDArray[np.int64]:
    return pointer_of(np.array([len(part) for part in parts], np.int64))


def _stacked(pointers: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Pointers that each begin at 0 → one pointer into the concatenated values."""
    return pointer_of(np.concatenate([np.diff(pointer) for pointer in pointers]) if pointers else np.zeros(0))


# ---------------------------------------------------------------------- files


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Write arrays as one HDF5 file; returns its entry in the index: size, SHA-256, and offsets of the arrays."""
    hdf5 = FileLayout.of({name: (array.shape, array.dtype) for name, array in arrays.items()})
    entry: dict[str, Any] = {"bytes": hdf5.size, "arrays": {}}
    with disk_errors(path), path.open("w+b") as file:
        hdf5.write(file)
        for name, array in arrays.items():
            data = np.ascontiguousarray(array).tobytes()
            if data:
                file.seek(hdf5.offsets[name] or 0)
                file.write(data)
            entry["arrays"][name] = {
                "offset": hdf5.offsets[name],
                "shape": list(array.shape),
                "dtype": array.dtype.newbyteorder("<").str,
                "crc32": f"{crc32(data):08x}",
            }
        file.flush()
        file.seek(0)
        entry["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return entry


class _ImageBlob:
    """An HDF5 file with one array of bytes, to which images are appended."""

    def __init__(self, path: Path, size: int | None) -> None:
        self.path = path
        self._is_planned = size is not None
        with disk_errors(path):
            self._open(1 if size is None else size)

    def _open(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._crc = 0
        self._hdf5 = FileLayout.of({"images/data": ((size,), np.dtype(np.uint8))})
        self._file: BinaryIO = self.path.open("w+b")
        self._hdf5.write(self._file)
        self._file.seek(0)
        self._digest = hashlib.sha256(self._file.read(self._hdf5.offsets["images/data"] or 0))

    def add(self, encoded: bytes) -> int:
        """Append an image; returns its offset in the array."""
        if self._is_planned and self.used + len(encoded) > self.size:
            raise DiskError(
                "an image grew while it was read", why="there are more bytes than were planned", fix="run again"
            )
        offset = self.used
        with disk_errors(self.path):
            self._file.write(encoded)
        self._digest.update(encoded)
        self._crc = crc32(encoded, self._crc)
        self.used += len(encoded)
        return offset

    def finish(self) -> dict[str, Any]:
        """Close the file; returns its entry in the index."""
        with disk_errors(self.path):
            if self.used != self.size:
                self._fit()
            self._file.flush()
            self._digest.update(self._file.read())
            os.fsync(self._file.fileno())
            self._file.close()
        return {
            "bytes": self._hdf5.size,
            "sha256": self._digest.hexdigest(),
            "arrays": {
                "images/data": {
                    "offset": self._hdf5.offsets["images/data"],
                    "shape": [self.size],
                    "dtype": "|u1",
                    "crc32": f"{self._crc:08x}",
                }
            },
        }

    def _fit(self) -> None:
        """Copy the images into a file of the right size, which was not known before, or some were left out."""
        full, start, remaining = self._file, self._hdf5.offsets["images/data"] or 0, self.used
        full.flush()
        self.path.unlink()  # the open file keeps the bytes until it is closed
        self._open(remaining)
        with full:
            full.seek(start)
            while remaining:
                chunk = full.read(min(remaining, _CHUNK))
                self.add(chunk)
                remaining -= len(chunk)

    def discard(self) -> None:
        """Remove the unfinished file."""
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)
