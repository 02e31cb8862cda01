"""Pictures of samples."""

from __future__ import annotations

import numpy as np
import pytest

import segdata
from segdata.core.masks import Masks
from segdata.viz import overlay as draw


@pytest.mark.parametrize(("one", "other"), [("кошка", "мышка"), ("γάτα", "σαύα"), ("žaba", "ćaba"), ("äba", "öba")])
def test_names_in_other_letters_can_be_read(one: str, other: str) -> None:
    """Letters that a font lacks all look alike."""
    pytest.importorskip("matplotlib", reason="it brings a font with these letters")
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 15:30, 5:50] = True
    instances = segdata.Instances.build(np.zeros(1, np.int64), Masks.from_dense(mask))
    sample = segdata.Sample("a", 40, 60, instances=instances)
    pictures = []
    for name in (one, other):
        labels = segdata.LabelSpace("animals", (segdata.Category(name, 1, isthing=True, color=(200, 0, 0)),))
        pictures.append(draw.overlay(sample, labels, title=False))
    assert not np.array_equal(pictures[0], pictures[1])
