"""Whatever lies on disk ends in a result or in one declared error, soon, and without much memory.

Ten thousand damaged inputs for each way in with `scripts/test --full`, some without; the number of the input is its seed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.helpers import ends
from tests.helpers.damage import damage
from tests.helpers.doors import DOORS

SHORT_OF_IMAGES, SHORT, FULL = 10, 2, 10_000
ONCE_WRONG = {"gif": (182, 258)}
"""Seeds that are always tried: a second frame that is cut short, and one of more pixels than Pillow reads."""


def run(name: str, seeds: Iterable[int], folder: Path) -> list[str]:
    """The inputs with which something went wrong."""
    part = DOORS[name].make(folder / "original").relative_to(folder / "original")
    (folder / "work").mkdir()
    assert not DOORS[name].enter(folder / "original" / part, folder / "work"), "what is not damaged"
    wrong = []
    for seed in seeds:
        random_ = random.Random(f"{name}{seed}")
        shutil.rmtree(folder / "damaged", ignore_errors=True)
        shutil.copytree(folder / "original", folder / "damaged")
        changes = [damage(folder / "damaged" / part, random_) for _ in range(random_.choice((1, 1, 1, 2)))]
        text = ends.wrong(lambda: ends.Fault(DOORS[name].enter(folder / "damaged" / part, folder / "work")))
        if text:
            wrong.append(f"seed {seed}: {'; '.join(changes)}: {text}")
    return wrong


@pytest.mark.parametrize("name", DOORS)
def test_damaged_inputs_end_in_a_result_or_a_declared_error(name: str, tmp_path: Path) -> None:
    is_image = len(name.partition("-")[0]) <= 4 and name not in ("coco", "voc")
    wrong = run(name, (*range(SHORT_OF_IMAGES if is_image else SHORT), *ONCE_WRONG.get(name, ())), tmp_path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", DOORS)
def test_ten_thousand_damaged_inputs(name: str, tmp_path: Path) -> None:
    wrong = run(name, range(FULL), tmp_path)
    assert not wrong, "\n".join(wrong)
