"""Predictions as label maps: what values and colours mean, by names of files, by tables beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segdata.errors import InvalidAnnotation
from tests.helpers import made
from tests.helpers.command import run_segdata

SIZE = (12, 16)


def truth(root: Path, table: str, label: np.ndarray) -> Path:
    made.put(root / "val/a.png", made.photo(SIZE[1], SIZE[0], kind="PNG"))
    made.put(root / "valannot/a.png", made.png(label))
    made.put(root / "label_colors.txt", table)
    return root


def numbers(predictions: Path, data: Path) -> dict[str, float]:
    outcome = run_segdata("evaluate", predictions, data, "--metric", "semantic", "--json")
    assert outcome.code == 0, outcome.err
    values: dict[str, float] = outcome.document["metrics"]["semantic"]
    return values


def halves(first: int, second: int) -> np.ndarray:
    image = np.full(SIZE, first, np.uint8)
    image[6:] = second
    return image


def test_a_category_called_void_in_an_own_table_is_evaluated(tmp_path: Path) -> None:
    data = truth(tmp_path / "data", "22 139 228\tCar\n0 0 0\tVoid\n", halves(0, 1))
    made.put(tmp_path / "predictions/a.png", made.png(halves(0, 0)))
    values = numbers(tmp_path / "predictions", data)
    assert (values["pACC"], values["IoU-Car"], values["IoU-Void"]) == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("is_color", [False, True])
def test_a_table_beside_the_predictions_says_what_they_mean(tmp_path: Path, *, is_color: bool) -> None:
    data = truth(tmp_path / "data", "0 0 0 sky\n9 9 9 wet road\n", halves(0, 1))
    made.put(tmp_path / "predictions/class_dict.csv", "name,r,g,b\nWet_Road,200,0,0\nsky,0,200,0\ncat,0,0,200\n")
    image = halves(1, 0)  # sky above, road below, by the predictions' own table
    pixels = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    made.put(tmp_path / "predictions/a.png", made.png(pixels[image] if is_color else image))
    assert numbers(tmp_path / "predictions", data)["pACC"] == 1.0
    image[0, 0] = 2
    made.put(tmp_path / "predictions/a.png", made.png(pixels[image] if is_color else image))
    outcome = run_segdata("evaluate", tmp_path / "predictions", data, "--metric", "semantic")
    assert outcome.code == InvalidAnnotation.exit_code
    assert "row 0, column 0" in outcome.err


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    data = truth(tmp_path / "data", "0 0 0 sky\n9 9 9 road\n", halves(0, 1))
    made.put(tmp_path / "predictions/a.png", made.png(halves(0, 255)))
    assert numbers(tmp_path / "predictions", data)["pACC"] == 1.0


def test_label_ids_of_own_categories(tmp_path: Path) -> None:
    base = tmp_path / "data/gtFine/val/town/town_000000_000019_gtFine_labelIds.png"
    made.put(
        tmp_path / "data/leftImg8bit/val/town/town_000000_000019_leftImg8bit.png",
        made.photo(SIZE[1], SIZE[0], kind="PNG"),
    )
    made.put(base, made.png(halves(3, 40)))
    made.put(tmp_path / "data/_classes.csv", "Pixel Value, Class\n3, sky\n40, road\n")
    made.put(tmp_path / "predictions/town_000000_000019_pred_labelIds.png", made.png(halves(3, 3)))
    values = numbers(tmp_path / "predictions", tmp_path / "data")
    assert (values["IoU-sky"], values["IoU-road"]) == (0.5, 0.0)
