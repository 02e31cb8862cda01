#!/usr/bin/env python3
"""Duplicates: variants of photos that are found, photos that are taken for another, and processor time.

    python scripts/bench/duplicates.py FOLDER [FOLDER …] [--variants 500] [--hashes 120000] [--report]

FOLDER holds photos, at any depth; files that are equal count once. Variants are made of them, as many of each kind. The
hashes of the last figure are random, with 500 pairs planted among them that differ in 0 … 31 bits.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import ROOT, report, table
from PIL import Image

import segdata
from segdata.derivation.duplicates import neighbours

sys.path.insert(0, str(ROOT))
from tests.helpers.pictures import TURNS, VARIANTS, encoded

PLANTED = 500


def photos(folders: Sequence[Path]) -> list[tuple[str, bytes]]:
    """Name and bytes of each photo, of files that are equal the first."""
    first: dict[str, tuple[str, bytes]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                data = path.read_bytes()
                first.setdefault(hashlib.sha256(data).hexdigest(), (f"{len(first):05d} {path.name}", data))
    return list(first.values())


def variants(originals: Sequence[tuple[str, bytes]], kinds: Sequence[str], count: int) -> dict[str, bytes]:
    """So many variants, of the kinds in turn: "kind/name of the original" → the bytes of a file."""
    made: dict[str, bytes] = {}
    for number, (kind, (name, data)) in enumerate(itertools.product(kinds, originals)):
        if number % len(originals) < count // len(kinds):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            turn = TURNS.get(int(kind)) if kind.isdecimal() else None
            made[f"{kind}/{name}"] = VARIANTS[kind](image) if turn is None else encoded(image.transpose(turn))
    return made


def measure(
    work: Path, originals: Sequence[tuple[str, bytes]], kinds: Sequence[str], count: int, flips: bool
) -> dict[str, object]:
    """Variants that are found, groups with several photos, and processor time of an image."""
    made = variants(originals, kinds, count)
    for name, images in (("photos", dict(originals)), ("variants", made)):
        samples = [segdata.Sample.build(key, data) for key, data in images.items()]
        segdata.write(samples, work / name, labels=["thing"], workers=1)
    begin = time.process_time()
    result = segdata.leakage([work / "photos", work / "variants"], flips=flips)
    seconds = time.process_time() - begin
    group_of = {
        (Path(member.pack).name, member.key): number
        for number, group in enumerate(result.groups)
        for member in group.members
    }
    recall = [
        group_of.get(("variants", key), -1) == group_of.get(("photos", key.partition("/")[2]), -2) for key in made
    ]
    mixed = [group for group in result.groups if len({member.key.rpartition("/")[2] for member in group.members}) > 1]
    alone = segdata.dedupe(work / "photos", flips=flips).groups
    for group in alone:
        print("photos that look alike:", ", ".join(member.key for member in group.members), group.pairs[0].bits, "bits")
    return {
        "photos": len(originals),
        "variants": len(made),
        "found": f"{sum(recall):,} ({sum(recall) / len(recall):.1%})",
        "taken for another photo's": len(mixed),
        "photos alike among themselves": sum(len(group.pairs) for group in alone),
        "ms an image": f"{seconds / result.images * 1000:.2f}",
    }


def all_pairs(count: int) -> tuple[int, float]:
    """Planted pairs of random hashes that are found, and seconds of processor time."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 64, (count, 4), dtype=np.uint64)
    rows = rng.choice(count, 2 * PLANTED, replace=False)
    bits = np.unpackbits(hashes[rows[:PLANTED]].view(np.uint8), axis=1)
    for row in bits:
        row[rng.choice(256, rng.integers(0, 32), replace=False)] ^= 1
    hashes[rows[PLANTED:]] = np.packbits(bits, axis=1).view(np.uint64)
    begin = time.process_time()
    one, other, _ = neighbours.near(hashes, None, 31)
    seconds = time.process_time() - begin
    met = {*map(frozenset, zip(one.tolist(), other.tolist(), strict=True))}
    return len(met & {*map(frozenset, zip(rows[:PLANTED].tolist(), rows[PLANTED:].tolist(), strict=True))}), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--variants", type=int, default=500)
    parser.add_argument("--hashes", type=int, default=120_000)
    parser.add_argument("--report", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    originals = photos(options.folders)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for name, kinds in (("", [*VARIANTS]), ("`--flips`", [str(turn) for turn in TURNS])):
            work = Path(folder) / (name or "plain")
            figures = measure(work, originals, kinds, options.variants, flips=bool(name))
            rows.append((name or ", ".join(kinds), *map(str, figures.values())))
            print(*rows[-1], flush=True)
    pairs, seconds = all_pairs(options.hashes)
    lines = [
        "Photos and variants of them, compared as two packs by `segdata leakage`; a variant counts as found when its photo is "
        "in its group. Processor time is that of the whole comparison with an empty cache, for each of the images.",
        "",
        *table(["variants", *figures], rows),
        "",
        f"All pairs of {options.hashes:,} random hashes that differ in at most 31 bits: {seconds:.1f} s of processor time, "
        f"{pairs} of {PLANTED} planted pairs.",
    ]
    command = f"python scripts/bench/duplicates.py FOLDER … --variants {options.variants} --hashes {options.hashes}"
    if options.report:
        report("Duplicates", lines, command)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
