"""Folders of predictions through the real command: numbers, and mistakes that are caught before numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command import run_segdata
from tests.helpers.samples import METRICS
from tests.metrics.test_pixel_metrics import assert_equal, expected

CITY = METRICS / "cityscapes"
SIZE = (40, 60)
FRAMES = ("aachen_000000_000019", "bonn_000001_000019")


def test_the_command_gives_the_official_numbers() -> None:
    pixel = run_segdata("evaluate", CITY / "pred_pixel", CITY, "--metric", "cityscapes-pixel", "--json")
    assert_equal(pixel.document["metrics"]["cityscapes-pixel"], expected("cityscapes")["pixel"])
    evaluated = run_segdata("evaluate", CITY / "pred_inst", CITY, "--metric", "cityscapes-instance", "--json")
    assert_equal(evaluated.document["metrics"]["cityscapes-instance"], expected("cityscapes")["instance"])


def labels(seed: int) -> np.ndarray:
    """A street by hand: sky, buildings, road, and a car of 8 × 12."""
    ids = np.full(SIZE, 23, np.uint8)
    ids[10:22] = 11
    ids[22:] = 7
    ids[24:32, 10 + seed : 22 + seed] = 26
    return ids


def city(root: Path) -> Path:
    for seed, frame in enumerate(FRAMES):
        folder = root / "gtFine/val" / frame.partition("_")[0]
        folder.mkdir(parents=True)
        ids = labels(seed)
        Image.fromarray(ids).save(folder / f"{frame}_gtFine_labelIds.png")
        numbers = np.where(ids == 26, np.uint16(26000), ids)
        Image.fromarray(numbers).save(folder / f"{frame}_gtFine_instanceIds.png")
    return root


def predict(root: Path, suffix: str = "_pred_labelIds.png", change: Any = lambda ids: ids) -> Path:
    root.mkdir()
    for seed, frame in enumerate(FRAMES):
        Image.fromarray(change(labels(seed))).save(root / f"{frame}{suffix}")
    return root


TRAIN = np.full(256, 255, np.uint8)
TRAIN[[7, 11, 23, 26]] = [0, 2, 10, 13]
COLORS = np.zeros((256, 3), np.uint8)
COLORS[[7, 11, 23, 26]] = [(128, 64, 128), (70, 70, 70), (70, 130, 180), (0, 0, 142)]  # as Cityscapes publishes them


def test_label_ids_and_train_ids_are_told_by_name(tmp_path: Path) -> None:
    truth = city(tmp_path / "city")
    cases: list[tuple[str, Any]] = [
        ("_pred_labelIds.png", lambda ids: ids),
        ("_labelTrainIds.png", lambda ids: TRAIN[ids]),
        (".png", lambda ids: ids),
        ("_color.png", lambda ids: COLORS[ids]),
    ]
    for number, (suffix, change) in enumerate(cases):
        predictions = predict(tmp_path / str(number), suffix, change)
        outcome = run_segdata("evaluate", predictions, truth, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.document["metrics"]["semantic"]["mIoU"] == 1
        assert outcome.document["metrics"]["cityscapes-pixel"]["averageScoreInstClasses"] == 1


@pytest.mark.parametrize(
    ("suffix", "change", "error", "text"),
    [
        ("_pred.png", lambda ids: TRAIN[ids], "LabelMismatch", "trainIds"),
        ("_labelTrainIds.png", lambda ids: ids, "InvalidAnnotation", "label ids"),
        ("_pred.png", lambda ids: np.where(ids == 26, 255, ids).astype(np.uint8), "InvalidAnnotation", "trainId"),
        ("_pred.png", lambda ids: ids + np.uint8(1), "LabelMismatch", "counted from 1"),
        ("_pred.png", lambda ids: ids[::2, ::2], "InvalidAnnotation", "30 × 20, ground truth 60 × 40"),
        ("_pred.png", lambda ids: np.stack([ids] * 3, -1), "InvalidAnnotation", "(23, 23, 23)"),
        ("_labelIds.png", lambda ids: COLORS[ids], "InvalidImage", "label ids are expected"),
        ("_pred.png", lambda ids: np.full(SIZE, 77, np.uint8), "InvalidAnnotation", "value 77"),
    ],
)
def test_mistakes_are_caught_before_numbers(suffix: str, change: Any, error: str, text: str, tmp_path: Path) -> None:
    outcome = run_segdata("evaluate", predict(tmp_path / "p", suffix, change), city(tmp_path / "city"), "--json")
    assert outcome.code == 4
    assert outcome.document["error"]["id"] == error
    assert text in json.dumps(outcome.document["error"], ensure_ascii=False)
    assert "metrics" not in outcome.document


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    truth, predictions = city(tmp_path / "city"), predict(tmp_path / "p")
    (predictions / f"{FRAMES[1]}_pred_labelIds.png").unlink()
    outcome = run_segdata("evaluate", predictions, truth)
    assert outcome.code == 4 and "1 of 2 images have no label map" in outcome.err and FRAMES[1] in outcome.err


def test_void_truth_is_undefined_never_zero(tmp_path: Path) -> None:
    truth = city(tmp_path / "city")
    for path in (*truth.rglob("*_labelIds.png"), *truth.rglob("*_instanceIds.png")):
        image = np.asarray(Image.open(path))
        Image.fromarray(np.zeros_like(image)).save(path)
    outcome = run_segdata("evaluate", predict(tmp_path / "p"), truth, "--json")
    assert outcome.code == 0
    numbers = outcome.document["metrics"]["semantic"]
    assert [numbers[name] for name in ("mIoU", "fwIoU", "pACC", "mACC", "IoU-road")] == [None] * 5
    assert "all of the ground truth is void: nothing is defined" in outcome.document["notes"]


def instances(root: Path, rows: dict[str, str]) -> Path:
    (root / "masks").mkdir(parents=True)
    for seed, frame in enumerate(FRAMES):
        mask = (labels(seed) == 26).astype(np.uint8)
        Image.fromarray(mask).save(root / f"masks/{frame}.png")
        (root / f"{frame}_pred.txt").write_text(rows.get(frame, f"masks/{frame}.png 26 0.5\n"))
    return root


@pytest.mark.parametrize(
    ("row", "code", "text"),
    [
        ("../city/secret.png 26 0.5", 11, "leads out of the folder"),
        ("/etc/passwd 26 0.5", 11, "leads out of the folder"),
        ("masks/../../city/x.png 26 0.5", 11, "leads out of the folder"),
        ("link/x.png 26 0.5", 11, "through a link"),
        ("masks/none.png 26 0.5", 10, "does not exist"),
        (f"masks/{FRAMES[0]}.png 26 nan", 4, "not a prediction"),
        (f"masks/{FRAMES[0]}.png car 0.5", 4, "not a prediction"),
        (f"masks/{FRAMES[0]}.png 26", 4, "expected mask path, label id and score"),
        (f"masks/{FRAMES[0]}.png 99 0.5", 4, "label id"),
    ],
)
def test_lines_are_hostile_until_checked(row: str, code: int, text: str, tmp_path: Path) -> None:
    truth = city(tmp_path / "city")
    predictions = instances(tmp_path / "p", {FRAMES[0]: row + "\n"})
    (predictions / "link").symlink_to(tmp_path / "city")
    outcome = run_segdata("evaluate", predictions, truth)
    assert outcome.code == code and text in outcome.err, outcome.err


def test_masks_may_lie_above_their_text_file(tmp_path: Path) -> None:
    truth, predictions = city(tmp_path / "city"), instances(tmp_path / "p", {})
    for frame in FRAMES:
        folder = predictions / frame.partition("_")[0]
        folder.mkdir()
        (predictions / f"{frame}_pred.txt").unlink()
        (folder / f"{frame}_pred.txt").write_text(f"../masks/{frame}.png 26 0.5\n")
    outcome = run_segdata("evaluate", predictions, truth, "--metric", "cityscapes-instance", "--json")
    # 8 × 12 pixels are fewer than 100: nothing is to be found.
    assert outcome.document["metrics"]["cityscapes-instance"]["allAp"] is None


def test_void_of_an_own_table_counts_unless_the_table_says_otherwise(tmp_path: Path) -> None:
    car, void = (22, 139, 228), (0, 0, 0)
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[30:40, 10:30] = car
    for folder, picture in (("val", pixels + 9), ("val_labels", pixels), ("predicted", np.full_like(pixels, car))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        name = "a_L.png" if folder == "val_labels" else "a.png"
        Image.fromarray(picture).save(tmp_path / "data" / folder / name)
    (tmp_path / "data/predicted").rename(tmp_path / "predicted")
    table = "".join(f"{' '.join(map(str, color))}\t{name}\n" for color, name in ((car, "Car"), (void, "Void")))
    (tmp_path / "data/label_colors.txt").write_text(table)
    rows = '{ name = "Car", from = ["Car"] }, { name = "Void", from = ["Void"], ignore = true }'
    (tmp_path / "table.toml").write_text(f"labels = [{rows}]\n")
    run_segdata("convert", tmp_path / "data", tmp_path / "pack")
    share = 200 / (48 * 64)
    for truth in (tmp_path / "data", tmp_path / "pack"):
        counted = run_segdata("evaluate", tmp_path / "predicted", truth, "--metric", "semantic", "--json").document
        numbers = counted["metrics"]["semantic"]
        assert numbers["pACC"] == pytest.approx(share) and numbers["IoU-Car"] == pytest.approx(share)
        assert numbers["IoU-Void"] == 0 and numbers["mIoU"] == pytest.approx(share / 2)
        assert truth.name == "pack" or any("'Void'" in note for note in counted["notes"])
        options = ("--labels", tmp_path / "table.toml", "--metric", "semantic", "--json")
        ignored = run_segdata("evaluate", tmp_path / "predicted", truth, *options).document["metrics"]["semantic"]
        assert ignored["pACC"] == 1 and "IoU-Void" not in ignored
