"""A dataset with something changed is read as other programs read it, or refused, or remarked: never otherwise in silence.

Ten thousand mutants with `scripts/test --full`, a few hundred without.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import SegdataError
from tests.helpers import independent, made, mutants


def two_splits(root: Path) -> Path:
    """COCO with two documents whose images have the same names."""
    made.coco(root, split="train2017")
    document = made.coco_document(2)
    document["annotations"] = document["annotations"][:1]
    return made.coco(root, document)


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], independent.Images]]] = {
    "coco": (made.coco, independent.coco),
    "voc": (made.voc, independent.voc),
    "cityscapes": (made.cityscapes, independent.cityscapes),
    "coco-splits": (two_splits, independent.coco),
    "camvid": (made.camvid_segnet, independent.camvid),
}
SHORT, FULL = 50, 2000


def counts(problems: Any) -> dict[str, int]:
    """Every remark and every kind of skipped item, counted."""
    remarks = {kind: int(item["count"]) for kind, item in problems["remarks"].items()}
    return remarks | {item["kind"]: int(item["count"]) for item in problems["skipped"]}


def difference(source: Path, folder: Path, kind: str, base: dict[str, int]) -> str:
    """What a conversion that remarks nothing new finds otherwise than the independent reader; "" where it is nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        report = segdata.convert(source, folder, workers=1)
    except SegdataError:
        return ""
    if any(count > base.get(name, 0) for name, count in counts(report.problems).items()):
        return ""
    try:
        expected = KINDS[kind][1](source)
    except Exception as error:
        return f"converted; an independent reader fails: {error!r}"
    images = dict(independent.of_pack(segdata.open(folder), kind))
    for name, image in expected.items():
        if name not in images:
            return f"{name} is not in the pack, which has {sorted(images)}"
        if not image.is_known:
            continue
        if image.objects != images[name].objects:
            return f"{name} has {image.objects}; the pack {images[name].objects}"
        if image.label_map != images[name].label_map:
            return f"{name} has label map {image.label_map}; the pack {images[name].label_map}"
    return ""


def run(kind: str, seeds: range, folder: Path) -> list[str]:
    """The mutants that were converted otherwise in silence."""
    make = KINDS[kind][0]
    original = make(folder / "original")
    report = segdata.convert(original, folder / "base", workers=1)
    base = counts(report.problems)
    assert not difference(original, folder / "pack", kind, base)
    wrong = []
    for seed in seeds:
        source = folder / "mutant"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(original, source)
        random_ = random.Random(seed)
        changes = [mutants.mutate(source, random_) for _ in range(random_.choice((1, 1, 2)))]
        text = difference(source, folder / "pack", kind, base)
        if text:
            wrong.append(f"seed {seed}: {'; '.join(changes)}: {text}")
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_mutants_are_read_as_elsewhere_or_remarked(kind: str, tmp_path: Path) -> None:
    wrong = run(kind, range(SHORT), tmp_path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_mutants(kind: str, tmp_path: Path) -> None:
    wrong = run(kind, range(SHORT, SHORT + FULL), tmp_path)
    assert not wrong, "\n".join(wrong)
