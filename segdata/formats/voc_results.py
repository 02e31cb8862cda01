"""PASCAL VOC results, as the challenge's server takes them.

    results/VOC2012/Segmentation/comp5_test_cls/2008_000006.png    palette PNG, 0 (background) … 20, every pixel

The part `test` is the name of the image set. The folder name VOC2012 is the one that the devkit expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdata import images
from segdata.formats.contract import Header, write_file
from segdata.formats.voc_lists import PALETTE
from segdata.sample import Sample

_SEGMENTATION = "results/VOC2012/Segmentation/comp5_{split}_cls/{name}.png"


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write the label map of every sample that has one, for every image set that it is in."""
    count = 0
    for index, sample in samples:
        count += 1
        if sample.semantic is None:
            continue
        encoded = images.encode_png(sample.semantic, palette=PALETTE)
        for split, members in header.splits.items():
            if index in members:
                write_file(root, _SEGMENTATION.format(split=split, name=sample.key), encoded)
    return {"samples": count}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Nothing: every file belongs to one image."""
