"""An edits file written, and edits applied, with nothing of segdata: as docs/view.md has it."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Edit = dict[str, Any]


def line(item: Mapping[str, Any]) -> bytes:
    """An item with its checksum."""
    body = json.dumps(item).encode()[:-1]
    return body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def header(pack: Path) -> dict[str, Any]:
    """The first line of the edits of a pack."""
    index = json.loads((pack / "pack.json").read_bytes())
    categories = json.dumps(index["labels"]["categories"], sort_keys=True)
    return {
        "format": "segdata edits",
        "version": 1,
        "pack": index["crc32"],
        "shards": [shard["annotations"]["sha256"] for shard in index["shards"]],
        "labels": hashlib.sha256(categories.encode()).hexdigest(),
    }


def write(path: Path, pack: Path, edits: Sequence[Edit]) -> Path:
    """A file of edits; `n` and `at` are filled in."""
    numbered = [{"n": n, "at": "2026-05-04T09:30:00Z", **edit} for n, edit in enumerate(edits, 1)]
    path.write_bytes(b"".join(map(line, [header(pack), *numbered])))
    return path


def runs_of(mask: np.ndarray) -> dict[str, Any]:
    """Frame and runs of a mask (H, W), in its tight box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y, x = int(rows[0]), int(columns[0])
    h, w = int(rows[-1]) - y + 1, int(columns[-1]) - x + 1
    runs, value = [0], 0
    for pixel in mask[y : y + h, x : x + w].T.reshape(-1).tolist():
        if bool(pixel) != bool(value):
            runs.append(0)
            value = 1 - value
        elif runs[-1] == 65535:
            runs += [0, 0]
        runs[-1] += 1
    return {"frame": [x, y, w, h], "runs": base64.b64encode(np.array(runs, "<u2").tobytes()).decode()}


def mask_of(edit: Edit, height: int, width: int) -> np.ndarray:
    """The mask (H, W) of an edit."""
    x, y, w, h = edit["frame"]
    runs = np.frombuffer(base64.b64decode(edit["runs"]), "<u2").astype(int)
    mask = np.zeros((height, width), bool)
    mask[y : y + h, x : x + w] = np.repeat(np.arange(len(runs)) % 2, runs).reshape(w, h).T
    return mask


def digest(mask: np.ndarray) -> str:
    """What `was` says of a mask."""
    item = runs_of(mask)
    return hashlib.sha256(np.array(item["frame"], "<i4").tobytes() + base64.b64decode(item["runs"])).hexdigest()


def counting(edits: Sequence[Edit]) -> list[tuple[int, Edit]]:
    """The edits that count, each with its number: without undone ones and undos."""
    counts = dict.fromkeys(range(1, len(edits) + 1), True)
    for n in range(len(edits), 0, -1):
        if edits[n - 1]["op"] == "undo" and counts[n]:
            counts[edits[n - 1]["of"]] = False
    return [(n, edit) for n, edit in enumerate(edits, 1) if counts[n] and edit["op"] not in ("undo", "note")]


def apply(
    objects: list[dict[str, Any]], edits: Sequence[tuple[int, Edit]], size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Edits of one image applied to its objects: dictionaries with mask, category and flags; a changed one gets "touched"."""
    present = {str(row): {**item, "touched": set()} for row, item in enumerate(objects)}
    for n, edit in edits:
        if edit["op"] in ("add", "accept"):
            present[f"new-{n}"] = {
                "category": edit["category"],
                "mask": mask_of(edit, *size),
                "touched": {"new"},
                **dict.fromkeys(("iscrowd", "difficult", "truncated", "occluded"), False),
                **edit.get("flags", {}),
            }
        elif edit["op"] == "delete":
            del present[edit["of"]]
        elif edit["op"] != "map":
            item = present[edit["of"]]
            item["touched"].add(edit["op"])
            if edit["op"] == "mask":
                item["mask"] = mask_of(edit, *size)
            elif edit["op"] == "category":
                item["category"] = edit["category"]
            else:
                item.update(edit["flags"])
    return list(present.values())
