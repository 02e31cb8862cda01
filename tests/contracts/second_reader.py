"""A second reader of packs, written from docs/pack.md alone: json, mmap, struct, numpy and zstandard; no segdata."""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zstandard


class File:
    """A mapped file; `[name]` is an array, or None where the pack leaves it out."""

    def __init__(self, folder: Path, entry: dict[str, Any]) -> None:
        with (folder / entry["file"]).open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert len(self.map) == entry["bytes"]
        self.arrays = entry["arrays"]

    def __getitem__(self, name: str) -> Any:
        if name not in self.arrays:
            return None
        facts = self.arrays[name]
        if 0 in facts["shape"]:
            assert facts["offset"] is None
            return np.zeros(facts["shape"], facts["dtype"])
        assert facts["offset"] % 64 == 0
        array = np.ndarray(facts["shape"], facts["dtype"], self.map, facts["offset"])
        assert f"{zlib.crc32(array.tobytes()):08x}" == facts["crc32"]
        return array

    def item(self, name: str, index: int) -> bytes:
        begin, end = self[name + "_offset"][index : index + 2]
        data: bytes = self[name][begin:end].tobytes()
        return data


def index(folder: Path) -> dict[str, Any]:
    data = (folder / "pack.json").read_bytes()
    head = len('{"crc32": "')
    assert f"{zlib.crc32(data[:head] + b'0' * 8 + data[head + 8 :]):08x}".encode() == data[head : head + 8]
    document: dict[str, Any] = json.loads(data)
    assert (document["format"], document["version"]) == ("segdata pack", 1)
    return document


def samples(folder: Path) -> Iterator[dict[str, Any]]:
    """Every sample: key, size, encoded image, category, bbox, dense masks, semantic map."""
    top = index(folder)
    wide = len(top["labels"]["categories"]) > 255
    for shard in top["shards"]:
        table = File(folder, shard["annotations"])
        images = File(folder, shard["images"])["images/data"] if shard["images"] else None
        pointer, runs, run_offset = table["instance/pointer"], table["instance/run"], table["instance/run_offset"]
        for i in range(shard["samples"]):
            height, width = table["image/size"][i].tolist()
            of = slice(*pointer[i : i + 2].tolist())
            masks = np.zeros((of.stop - of.start, height, width), np.uint8)
            for mask, m in zip(masks, range(of.start, of.stop), strict=True):
                x, y, w, h = table["instance/frame"][m].tolist()
                lengths = runs[run_offset[m] : run_offset[m + 1]]
                crop = np.repeat(np.arange(len(lengths)) % 2, lengths).reshape(w, h).T
                mask[y : y + h, x : x + w] = crop
            begin, end = table["semantic/offset"][i : i + 2].tolist()
            frame = table["semantic/data"][begin:end].tobytes()
            semantic = None
            if table["image/flags"][i] & 2:
                values = np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), "<u2" if wide else "u1")
                semantic = values.reshape(height, width)
            offset, length = table["image/offset"][i], table["image/length"][i]
            encoded = None if images is None else images[offset : offset + length].tobytes()
            assert encoded is None or zlib.crc32(encoded) == table["image/crc32"][i]
            yield {
                "key": table.item("image/key", i).decode(),
                "encoded": encoded,
                "category": table["instance/category"][of],
                "iscrowd": table["instance/flags"][of] & 1 > 0,
                "bbox": table["instance/bbox"][of],
                "masks": masks,
                "semantic": semantic,
            }


def splits(folder: Path) -> dict[str, list[int]]:
    top = index(folder)
    file = File(folder, top["dataset"])
    return {split["name"]: file[f"split/{k}"].tolist() for k, split in enumerate(top["splits"])}
