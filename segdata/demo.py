"""The main job on data that segdata draws itself: four datasets drawn, converted, verified, opened and pictured."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdata import draw, drawn
from segdata.files import remove_tree, write_whole
from segdata.pack.read import open_pack
from segdata.pack.verify import verify
from segdata.prepare import convert

DRAW: dict[str, Callable[[Path], Path]] = {
    "coco": drawn.coco.draw,
    "voc": drawn.voc.draw,
    "cityscapes": drawn.cityscapes.draw,
    "camvid": drawn.camvid.draw,
}
"""Format → what draws a dataset in its official layout."""

PICTURES = 3
"""Samples of each dataset on the contact sheet."""


@dataclass(frozen=True)
class Row:
    """What came of one dataset; shares are of all pixels, crowds and overlaps counted."""

    name: str
    pack: Path
    samples: int
    instances: int
    categories: int
    crowds: int
    bytes: int
    is_good: bool


@dataclass(frozen=True)
class Demo:
    """A row for each dataset, and the picture of some of their samples."""

    rows: tuple[Row, ...]
    picture: Path


def run(root: Path, *, tell: Callable[[str], None] = lambda text: None) -> Demo:
    """Draw, convert, verify, open and picture; safe to run again.

    Args:
        root: a folder; gets `raw/` (official layouts), `packs/` and `contact-sheet.png`.
        tell: receives a line for each step.
    """
    rows = []
    pictures = []
    for name, make in DRAW.items():
        source = _drawn(root / "raw" / name, make, tell)
        pack_folder = root / "packs" / name
        tell(f"{name}: converting and verifying")
        convert(source, pack_folder, force=True, clean=True)
        verification = verify(pack_folder, deep=True)
        pack = open_pack(pack_folder)
        seen: set[int] = set()
        crowds = 0
        for sample in pack:
            seen.update(sample.instances.category.tolist())
            crowds += int(sample.instances.iscrowd.sum())
            if sample.semantic is not None:
                seen.update(value for value in np.unique(sample.semantic).tolist() if value != pack.labels.void)
        rows.append(
            Row(
                name,
                pack_folder,
                len(pack),
                pack.info["instances"],
                len(seen),
                crowds,
                sum(path.stat().st_size for path in pack_folder.iterdir()),
                verification.is_good,
            )
        )
        tell(f"{name}: drawing its overlays")
        richest = sorted(range(len(pack)), key=lambda i: -len(pack[i].instances))[:PICTURES]
        pictures += [draw.overlay(pack[index], pack.labels) for index in sorted(richest)]
    buffer = io.BytesIO()
    from PIL import Image

    Image.fromarray(draw.contact_sheet(pictures, columns=PICTURES, width=720)).save(buffer, "PNG")
    picture = root / "contact-sheet.png"
    write_whole(picture, buffer.getvalue())
    return Demo(tuple(rows), picture)


def _drawn(folder: Path, make: Callable[[Path], Path], tell: Callable[[str], None]) -> Path:
    """The dataset in `folder`, drawn unless it is there already."""
    note = folder / ".drawn"
    if note.is_file():
        return folder / note.read_text()
    tell(f"{folder.name}: drawing")
    part = folder.with_name(f".{folder.name}.part")
    remove_tree(part)
    remove_tree(folder)
    part.mkdir(parents=True)
    source = make(part).relative_to(part)
    write_whole(part / ".drawn", source.as_posix().encode())
    part.rename(folder)
    return folder / source
