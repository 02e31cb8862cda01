"""Variants of real photos are found, and no photo is taken for another."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

import segdata
from tests.derivation.duplicates.conftest import Write
from tests.helpers.pictures import TURNS, VARIANTS, encoded
from tests.helpers.samples import SAMPLES, needs_samples


@pytest.fixture(scope="module")
def photos() -> Mapping[str, bytes]:
    """Photos of COCO and VOC, which are no frames of films."""
    folders = [SAMPLES / "coco", SAMPLES / "voc/VOCdevkit/VOC2012/JPEGImages"]
    paths = sorted(path for folder in folders for path in folder.rglob("*.jpg"))
    assert len(paths) >= 70
    return {f"{path.parent.name}-{path.stem}": path.read_bytes() for path in paths}


def judge(write: Write, photos: Mapping[str, bytes], variants: Mapping[str, bytes], *, flips: bool) -> None:
    """Each variant is in the group of its photo, and no group has two photos."""
    result = segdata.dedupe(write("pack", {"train": photos, "val": variants}), flips=flips)
    group_of = {member.key: number for number, group in enumerate(result.groups) for member in group.members}
    recall = [group_of.get(key, -1) == group_of.get(key.partition(" ")[0], -2) for key in variants]
    assert sum(recall) / len(recall) >= 0.99
    for group in result.groups:
        assert len({member.key.partition(" ")[0] for member in group.members}) == 1


@needs_samples
def test_variants_of_photos_are_found(write: Write, photos: Mapping[str, bytes]) -> None:
    variants = {
        f"{key} {kind}": make(Image.open(io.BytesIO(data)).convert("RGB"))
        for key, data in photos.items()
        for kind, make in VARIANTS.items()
    }
    judge(write, photos, variants, flips=False)


@needs_samples
def test_turned_photos_are_found(write: Write, photos: Mapping[str, bytes], tmp_path: Path) -> None:
    turns = [*TURNS.items()]
    variants = {}
    for number, (key, data) in enumerate(photos.items()):
        orientation, turn = turns[number % len(turns)]
        variants[f"{key} {orientation}"] = encoded(Image.open(io.BytesIO(data)).convert("RGB").transpose(turn))
    judge(write, photos, variants, flips=True)
