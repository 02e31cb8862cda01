"""Prediction by the real commands: the smallest model after two updates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segdata
from tests.helpers.command import Here

pytestmark = pytest.mark.usefixtures("without_pages")


def test_predictions_are_a_pack_with_scores(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    target = tmp_path / "found"
    outcome = here(
        "predict", run, pack, "-o", target, "--split", "val2017", "--score-threshold", 0.001, "--threads", 1,
        "--coco", tmp_path / "results.json", "--pictures", tmp_path / "pictures", "--json", "--flip",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    truth, predictions = segdata.open(pack, split="val2017"), segdata.open(target)
    assert list(predictions.keys) == list(truth.keys) and list(predictions.splits) == ["val2017"]
    assert predictions.labels.digest == truth.labels.digest
    scores = np.concatenate([sample.instances.score for sample in predictions])
    assert len(scores) == outcome.document["instances"] > 0 and scores.min() >= 0.001
    assert segdata.verify(target, deep=True).is_good
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["image_id"] for row in results} <= {sample.id for sample in truth}
    assert len(results) == len(scores)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == len(truth)
    assert here("predict", run, pack, "-o", target, "--split", "val2017").code == 2


def test_a_threshold_that_nothing_reaches_names_the_best_score(
    run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    words = ("predict", run, pack, "--threads", 1, "--split", "val2017")
    everything = here(*words, "-o", tmp_path / "all", "--score-threshold", 0, "--json").document
    highest = max(sample.instances.score.max() for sample in segdata.open(tmp_path / "all"))
    nothing = here(*words, "-o", tmp_path / "nothing", "--score-threshold", 0.99, "--json").document
    assert (nothing["instances"], nothing["best_score"]) == (0, everything["best_score"])
    assert nothing["best_score"] == pytest.approx(highest, abs=1e-6)
    (kind,) = nothing["problems"]["remarks"]
    assert f"the best score is {highest:.3f}: --score-threshold 0." in kind


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate=0.1", "learning_rate has no effect on predictions"),
        ("rois_per_image=64", "rois_per_image has no effect on predictions"),
        ("flip=0.5", "flip is an option of predict, no setting"),
        ("max_size=64", "min_size is above max_size"),
    ],
)
def test_settings_that_change_no_prediction_are_refused(
    text: str, words: str, run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    outcome = here("predict", run, pack, "-o", tmp_path / "found", "--set", text, "--json")
    assert outcome.code == 2 and outcome.document["error"]["message"].startswith(words), outcome.err
    assert not (tmp_path / "found").exists()


def test_a_folder_of_photos_is_predicted(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for sample in segdata.open(pack)[:2]:
        (photos / f"{sample.key}.jpg").write_bytes(sample.encoded or b"")
    outcome = here("predict", run, photos, "-o", tmp_path / "found", "--threads", 1, "--json")
    assert outcome.code == 0, outcome.err
    assert len(segdata.open(tmp_path / "found")) == 2
    outcome = here("predict", run, tmp_path / "none", "-o", tmp_path / "other")
    assert outcome.code == 10


def test_coco_results_are_the_same_whichever_command_writes_them(
    run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for sample in segdata.open(pack)[:3]:
        (photos / f"{sample.key}.jpg").write_bytes(sample.encoded or b"")
    outcome = here(
        "predict", run, photos, "-o", tmp_path / "predictions", "--coco", tmp_path / "results.json",
        "--score-threshold", 0.001, "--threads", 1,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    outcome = here("convert", tmp_path / "predictions", tmp_path / "converted", "--to", "coco-results")
    assert outcome.code == 0, outcome.err
    predicted = json.loads((tmp_path / "results.json").read_text())
    assert {row["image_id"] for row in predicted} == {1, 2, 3}
    for kind, field, other in (("bbox", "bbox", "segmentation"), ("segm", "segmentation", "bbox")):
        converted = json.loads((tmp_path / f"converted/instances_all_{kind}_results.json").read_text())
        assert all(field in row for row in converted)
        assert converted == [{name: value for name, value in row.items() if name != other} for row in predicted]


def test_an_unreadable_photo_stops_or_is_left_out_and_reported(
    run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (sample,) = segdata.open(pack)[:1]
    whole = sample.encoded or b""
    (photos / "good.jpg").write_bytes(whole)
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 400] = b"\xff\xd9" * 200
    (photos / "rotten.jpg").write_bytes(damaged)
    outcome = here("predict", run, photos, "-o", tmp_path / "found", "--json")
    assert outcome.code == 4 and outcome.document["error"]["file"].endswith("cut.jpg")
    assert not (tmp_path / "found" / "pack.json").exists()
    outcome = here("predict", run, photos, "-o", tmp_path / "found", "--json", "--on-error", "skip")
    assert outcome.code == 3 and outcome.document["samples"] == 1, outcome.document
    assert list(segdata.open(tmp_path / "found").keys) == ["good"]
    assert segdata.verify(tmp_path / "found", deep=True).is_good


def test_every_photo_of_a_folder_has_a_key_and_a_picture_of_its_own(
    run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    pixels = Image.fromarray(segdata.open(pack)[0].image)
    for name in ("a.jpg", "a.png", "a b.jpg", "a_b.jpg", "sub/a.jpg", "sub_a.JPG", "w.webp", "notes.csv", ".hidden"):
        with (photos / name).open("wb") as file:
            pixels.save(file, {"png": "PNG", "webp": "WEBP"}.get(name.rpartition(".")[2], "JPEG"))
    outcome = here(
        "predict", run, photos, "-o", tmp_path / "found", "--pictures", tmp_path / "pictures", "--json",
        "--set", "detection_max_instances=1", "--threads", 1,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert list(segdata.open(tmp_path / "found").keys) == ["a b", "a.jpg", "a.png", "a_b", "sub/a", "sub_a", "w"]
    assert len(list((tmp_path / "pictures").iterdir())) == 7
    remarks = outcome.document["problems"]["remarks"]
    assert remarks["file not read"] == {"count": 1, "examples": ["notes.csv"]}


def test_predictions_have_the_limit_of_pixels_of_their_source(run: Path, pack: Path, tmp_path: Path) -> None:
    segdata.convert(pack, tmp_path / "limited", splits=["val2017"], max_pixels=96 * 128)
    segdata.predict(run, tmp_path / "limited", tmp_path / "found")
    assert segdata.open(tmp_path / "found")[0].max_pixels == 96 * 128
