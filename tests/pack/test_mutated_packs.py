"""Whatever is changed in a pack, every door ends in a result or in one declared error, in time, and never in silence.

Ten thousand mutants for every door with `scripts/test --full`, a few dozen without.
"""

from __future__ import annotations

import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.conversion.repair import repair
from segdata.loading.loader import Loader
from segdata.pack.verify import rebuild
from segdata.sources.describe import describe
from segdata.statistics.counts import statistics
from segdata.viz import overlay
from tests.helpers import made, pack_mutants
from tests.helpers.command import tree
from tests.helpers.ends import Fault, wrong
from tests.helpers.packs import pack_of

FORMATS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "coco": (made.coco, "voc"),
    "voc": (made.voc, "coco"),
    "cityscapes": (made.cityscapes, "coco"),
    "camvid": (made.camvid, "masks"),
}
"""Format → what makes such a dataset, and another format that it is converted to."""

SHORT, FULL = 12, 2500
ONCE_WRONG = (573,)
"""Seeds that are always tried: a size of an image in a table, with every checksum made right."""


class Doors:
    """Everything that opens a pack, over one folder in which the mutants are made."""

    def __init__(self, format: str, folder: Path) -> None:
        make, self.other = FORMATS[format]
        self.format, self.folder = format, folder
        self.source, self.original, self.pack = make(folder / "source"), folder / "original", folder / "pack"
        segdata.convert(self.source, self.original, workers=1)
        opened = segdata.open(self.original)
        scored = [
            sample.with_annotations(
                instances=replace(sample.instances, score=np.linspace(0.5, 1, len(sample.instances))),
                semantic=sample.semantic,
                extra=None,
            )
            for sample in opened
        ]
        self.predictions = pack_of(scored, opened.labels, folder / "predictions", split=next(iter(opened.splits)))
        self.digest = pack_mutants.digest_of(self.original)

    def mutate(self, seed: int) -> tuple[str, bool]:
        """Make the mutant of a seed; see `pack_mutants.mutate`."""
        shutil.rmtree(self.pack, ignore_errors=True)
        shutil.copytree(self.original, self.pack)
        return pack_mutants.mutate(self.pack, random.Random(seed))

    def readers(self) -> dict[str, Callable[[], object]]:
        """Name → what reads the pack and leaves it as it is."""
        return {
            "verify": lambda: segdata.verify(self.pack),
            "verify deep": lambda: segdata.verify(self.pack, deep=True),
            "info": lambda: json.dumps(describe(self.pack)),
            "stats": lambda: json.dumps(statistics(self.pack).as_dict()),
            "read": self.read,
            "show": self.show,
            "load": self.load,
            "evaluate as truth": lambda: segdata.evaluate(self.predictions, self.pack),
            "evaluate": lambda: segdata.evaluate(self.pack, self.original, metrics=["semantic"]),
            "convert to a pack": lambda: self.convert("pack", on_error="skip", workers=2, shard_samples=1),
            "convert back": lambda: self.convert(self.format),
            "convert": lambda: self.convert(self.other, on_error="skip"),
        }

    def writers(self) -> dict[str, Callable[[], object]]:
        """Name → what may change the pack."""
        return {
            "convert again": lambda: segdata.convert(self.source, self.pack, workers=1),
            "rebuild": lambda: rebuild(self.pack),
            "repair": lambda: repair(self.pack, self.source, workers=1),
        }

    def read(self) -> None:
        opened = segdata.open(self.pack)
        for key in list(opened.keys)[:1]:
            opened.find(key)
        for sample in opened:
            instances = sample.instances
            _ = (sample.image, sample.semantic, sample.captions, *instances.extra, *instances.polygons)
            _ = (instances.masks.dense(), instances.masks.rle(), instances.boxes, instances.polygons.areas)

    def show(self) -> None:
        opened = segdata.open(self.pack)
        for sample in opened:
            overlay.overlay(sample, opened.labels)

    def load(self) -> None:
        for batch in Loader(segdata.open(self.pack), batch_size=2, workers=2, masks="dense"):
            _ = (batch.images, batch.boxes, batch.category)

    def convert(self, to: str, **options: object) -> None:
        target = self.folder / "target"
        shutil.rmtree(target, ignore_errors=True)
        segdata.convert(self.pack, target, to=to, allow_loss=True, **{"workers": 1, **options})  # type: ignore[arg-type]

    def difference(self, *, is_consistent: bool) -> Fault:
        """What a pack says that is verified deep without a word and is not what was written."""
        if is_consistent or not (verified := segdata.verify(self.pack, deep=True)).is_good or verified.remarks:
            return Fault()
        return Fault("" if pack_mutants.digest_of(self.pack) == self.digest else "verified, and says something else")

    def mended(self, *, is_consistent: bool) -> Fault:
        """What `convert --force` leaves behind that is not as it should be."""
        segdata.convert(self.source, self.pack, workers=1, force=True)
        verified = segdata.verify(self.pack, deep=True)
        if not verified.is_good:
            return Fault(f"left damaged: {verified.damages[0]}")
        expected, after = tree(self.original), tree(self.pack)
        return Fault("" if is_consistent or expected.items() <= after.items() else "left other bytes")


def run(format: str, seeds: Iterable[int], folder: Path) -> list[str]:
    """The doors that fail at mutants."""
    doors = Doors(format, folder)
    failures = []

    def look(name: str, door: Callable[[], object]) -> None:
        if text := wrong(door):
            failures.append(f"seed {seed}, {what}: {name}: {text}")

    for seed in seeds:
        what, is_consistent = doors.mutate(seed)
        for name, door in doors.readers().items():
            look(name, door)
        look("silent", partial(doors.difference, is_consistent=is_consistent))
        for name, door in doors.writers().items():
            doors.mutate(seed)
            look(name, door)
        doors.mutate(seed)
        look("convert --force", partial(doors.mended, is_consistent=is_consistent))
    return failures


@pytest.fixture(autouse=True)
def _quiet() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("format", FORMATS)
def test_every_door_of_a_pack_ends_in_a_result_or_a_declared_error(format: str, tmp_path: Path) -> None:
    failures = run(format, (*range(SHORT), *ONCE_WRONG), tmp_path)
    assert not failures, "\n".join(failures)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("format", FORMATS)
def test_ten_thousand_mutated_packs(format: str, tmp_path: Path) -> None:
    failures = run(format, range(SHORT, SHORT + FULL), tmp_path)
    assert not failures, "\n".join(failures)
