"""The main job on data that segdata draws itself, from a web server to pictures.

ROOT/drawn/NAME              a dataset in its official layout
ROOT/server/NAME             its archives, named and packed as the official ones
ROOT/manifests/NAME.toml     where they are served, with sizes and digests
ROOT/datasets/NAME           what `prepare` makes of them: raw/, receipts/, pack/
ROOT/contact-sheet.png       some of the samples
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segdata.conversion.prepare import Prepared, prepare
from segdata.demo import synthetic
from segdata.demo.server import serving
from segdata.demo.synthetic import archives
from segdata.download.http.client import Patience
from segdata.errors import number_of
from segdata.pack.read import Pack, open_pack
from segdata.pack.verify import verify
from segdata.system.files import remove_tree, write_whole
from segdata.viz import overlay

DRAW: dict[str, Callable[[Path], Path]] = {
    "coco": synthetic.coco.draw,
    "voc": synthetic.voc.draw,
    "cityscapes": synthetic.cityscapes.draw,
    "camvid": synthetic.camvid.draw,
}
"""Format → what draws a dataset in its official layout."""

LICENCE = "Apache-2.0, drawn by a program"

PICTURES = 3
"""Samples of each dataset on the contact sheet."""


@dataclass(frozen=True)
class Row:
    """What came of one dataset; shares are of all pixels, crowds and overlaps counted."""

    name: str
    archives: int
    downloaded: int
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
    """Draw, pack, serve, fetch, convert, verify, open and picture; safe to run again.

    Args:
        root: a folder; see above for what it gets.
        tell: receives a line for each step.
    """
    rows, pictures = [], []
    for name, make in DRAW.items():
        source = drawn(root / "drawn" / name, make, tell)
        published = _published(name, source, root / "server" / name, tell)
        prepared = _prepared(root, name, published, tell)
        fetched = prepared.fetched.bytes if prepared.fetched else 0
        what = f"{fetched:,} bytes fetched, verified and extracted" if fetched else "all archives were here already"
        tell(f"{name}: {what}; {number_of(prepared.samples, 'sample')} in the pack; verifying it and drawing overlays")
        pack = open_pack(prepared.pack)
        rows.append(_row(name, pack, prepared.pack, archives=len(published), downloaded=fetched))
        richest = sorted(range(len(pack)), key=lambda i: -len(pack[i].instances))[:PICTURES]
        pictures += [overlay.overlay(pack[index], pack.labels) for index in sorted(richest)]
    picture = root / "contact-sheet.png"
    write_whole(picture, overlay.png(overlay.contact_sheet(pictures, columns=PICTURES, width=720)))
    return Demo(tuple(rows), picture)


def _prepared(root: Path, name: str, published: tuple[Path, ...], tell: Callable[[str], None]) -> Prepared:
    """The dataset from its archives, served by an unreliable server, as a pack."""
    largest = max(published, key=lambda path: path.stat().st_size).name
    manifest = root / "manifests" / f"{name}.toml"
    manifest.parent.mkdir(exist_ok=True)
    with serving(published[0].parent, cut=(largest,)) as address:
        write_whole(manifest, archives.manifest(name, published[0].parent, address, licence=LICENCE).encode())
        if not (root / "datasets" / name / "pack").exists():
            tell(f"{name}: fetching from {address}, where the first answer for {largest} ends half-way")
        return prepare(
            manifest,
            root=root / "datasets",
            force=True,
            clean=True,
            patience=Patience(first_wait=0.1),
            tell=partial(_tell_of, tell, name),
        )


def _row(name: str, pack: Pack, folder: Path, *, archives: int, downloaded: int) -> Row:
    categories: set[int] = set()
    crowds = 0
    for sample in pack:
        categories.update(sample.instances.category.tolist())
        crowds += int(sample.instances.iscrowd.sum())
        if sample.semantic is not None:
            categories.update(value for value in np.unique(sample.semantic).tolist() if value != pack.labels.void)
    return Row(
        name=name,
        archives=archives,
        downloaded=downloaded,
        pack=folder,
        samples=len(pack),
        instances=pack.info["instances"],
        categories=len(categories),
        crowds=crowds,
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        is_good=verify(folder, deep=True).is_good,
    )


def _tell_of(tell: Callable[[str], None], name: str, text: str) -> None:
    tell(f"{name}: {text}")


def _published(name: str, source: Path, folder: Path, tell: Callable[[str], None]) -> tuple[Path, ...]:
    """The dataset's archives, packed unless they are there already."""
    whole = tuple(folder / packed.file for packed in archives.PUBLISHED[name].archives)
    if folder.is_dir():
        return whole
    tell(f"{name}: packing {', '.join(path.name for path in whole)}")
    part = folder.with_name(f".{name}.part")
    remove_tree(part)
    archives.publish(name, source, part)
    part.rename(folder)
    return whole


def drawn(folder: Path, make: Callable[[Path], Path], tell: Callable[[str], None]) -> Path:
    """The dataset in `folder`, drawn unless it is there already."""
    note = folder / ".drawn"
    if note.is_file():
        return folder / os.fsdecode(note.read_bytes())
    tell(f"{folder.name}: drawing a dataset in the official layout")
    part = folder.with_name(f".{folder.name}.part")
    remove_tree(part)
    remove_tree(folder)
    part.mkdir(parents=True)
    source = make(part).relative_to(part)
    write_whole(part / ".drawn", os.fsencode(source))
    part.rename(folder)
    return folder / source
