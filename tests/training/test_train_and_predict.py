"""Training and prediction by the real commands: the smallest model, two updates."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import shutil
import threading
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segdata
from segdata.core.masks import Masks
from segdata.demo.synthetic import objects
from segdata.models import checkpoint
from segdata.models.contract import Prediction
from segdata.models.maskrcnn import losses, network, weights
from segdata.models.maskrcnn import model as maskrcnn
from segdata.models.maskrcnn.average_precision import average_precision
from segdata.models.maskrcnn.model import Detector
from segdata.training import schedule
from segdata.training import trainer as engine
from segdata.training.config import RunConfig, TrainConfig
from segdata.training.predict import load
from segdata.training.runs import report
from segdata.training.trackers import background as services
from segdata.training.trackers import run_folder
from tests.helpers.command import Here, run_segdata

TINY = {
    "backbone": "resnet18",
    "fpn_channels": 16,
    "box_head_size": 16,
    "mask_head_channels": 16,
    "norm": "group",
    "min_size": [96],
    "max_size": 128,
    "anchor_sizes": [8.0, 16.0, 32.0, 64.0, 128.0],
    "rois_per_image": 32,
    "post_nms_rois_training": 100,
    "post_nms_rois": 50,
    "steps_per_epoch": 2,
    "epochs": 1,
    "warmup_steps": 0,
    "log_steps": 1,
    "validation_images": 2,
    "example_pictures": 1,
    "workers": 0,
}


@pytest.fixture(scope="module", autouse=True)
def without_pages() -> Iterator[None]:
    """Pages of curves are half of the time of a run in this process, and have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    segdata.convert(objects.draw(folder / "raw", train=4, val=2, height=96, width=128), folder / "pack")
    return folder / "pack"


def options(**changes: Any) -> list[str]:
    return [f"--set={name}={json.dumps(value)}" for name, value in {**TINY, **changes}.items()]


def arguments(pack: Path, run: Path, *more: object, **changes: Any) -> list[object]:
    return ["train", pack, "-o", run, "--threads", 1, "--json", *options(**changes), *more]


@pytest.fixture(scope="module")
def run(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    outcome = run_segdata(*arguments(pack, folder))
    assert outcome.code == 0, outcome.err
    assert outcome.document["steps"] == 2
    assert (outcome.document["split"], outcome.document["validation"]) == ("train2017", "val2017")
    return folder


def test_a_run_folder_holds_everything(run: Path) -> None:
    names = {re.sub("-[0-9a-f]{12}", "", path.name) for path in run.iterdir()}
    assert names == {
        "best.json",
        "best.safetensors",
        "checkpoints",
        "config.json",
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "pictures",
        "report.html",
        "state.json",
    }
    assert TrainConfig.from_toml(run / "config.toml") == TrainConfig.from_dict(TINY)
    assert json.loads((run / "state.json").read_text()) == {"state": "done"}
    rows = run_folder.lines(run)
    assert [row["step"] for row in rows] == [1, 2, 2]
    assert rows[0]["train/loss"] == pytest.approx(sum(rows[0][f"train/{name}"] for name in losses.NAMES))
    assert "validation/AP" in rows[2]
    assert len(list((run / "pictures").rglob("*.png"))) == 1


def test_predictions_are_a_pack_with_scores(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    target = tmp_path / "found"
    outcome = here(
        "predict", run, pack, "-o", target, "--split", "val2017", "--score-threshold", 0.001, "--threads", 1,
        "--coco", tmp_path / "results.json", "--pictures", tmp_path / "pictures", "--json", "--flip",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    truth, found = segdata.open(pack, split="val2017"), segdata.open(target)
    assert list(found.keys) == list(truth.keys) and list(found.splits) == ["val2017"]
    assert found.labels.digest == truth.labels.digest
    scores = np.concatenate([sample.instances.score for sample in found])
    assert len(scores) == outcome.document["instances"] > 0 and scores.min() >= 0.001
    assert segdata.verify(target, deep=True).is_good
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["image_id"] for row in results} <= {sample.id for sample in truth}
    assert len(results) == len(scores)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == len(truth)
    assert here("predict", run, pack, "-o", target, "--split", "val2017").code == 2


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
    for name in ("a.jpg", "a.png", "a b.jpg", "a_b.jpg", "sub/a.jpg", "sub_a.JPG", "other.webp", ".hidden"):
        with (photos / name).open("wb") as file:
            pixels.save(file, {"png": "PNG", "webp": "WEBP"}.get(name.rpartition(".")[2], "JPEG"))
    outcome = here(
        "predict", run, photos, "-o", tmp_path / "found", "--pictures", tmp_path / "pictures", "--json",
        "--set", "detection_max_instances=1", "--threads", 1,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert list(segdata.open(tmp_path / "found").keys) == ["a b", "a.jpg", "a.png", "a_b", "sub/a", "sub_a"]
    assert len(list((tmp_path / "pictures").iterdir())) == 6
    remarks = outcome.document["problems"]["remarks"]
    assert remarks["file not read"] == {"count": 1, "examples": ["other.webp"]}


def test_a_device_that_is_not_there_is_named(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    for device, words in (("tpu", "cpu, cuda"), ("cuda:99", "GPUs")):
        outcome = here("predict", run, pack, "-o", tmp_path / "found", "--device", device, "--json")
        assert outcome.code == 2 and words in outcome.document["error"]["why"]
        outcome = here(*arguments(pack, tmp_path / "run", "--device", device))
        assert outcome.code == 2 and words in outcome.document["error"]["why"]


def test_a_damaged_table_is_found_before_the_training_begins(pack: Path, tmp_path: Path, here: Here) -> None:
    shutil.copytree(pack, tmp_path / "pack")
    (file, *_) = sorted((tmp_path / "pack").glob("annotations-*"))
    data = bytearray(file.read_bytes())
    data[-3] ^= 0x40
    file.write_bytes(data)
    outcome = here(*arguments(tmp_path / "pack", tmp_path / "run"))
    assert outcome.code == 8 and file.name in outcome.document["error"]["file"]
    assert not (tmp_path / "run").exists()


def test_crowds_alone_are_nothing_to_train_on(pack: Path) -> None:
    whole = segdata.open(pack)

    class Crowds:
        path, labels = whole.path, whole.labels

        def __len__(self) -> int:
            return len(whole)

        def __getitem__(self, index: int) -> segdata.Sample:
            own = whole[index].instances
            crowds = dataclasses.replace(own, iscrowd=np.ones(len(own), bool))
            return whole[index].with_annotations(instances=crowds, semantic=None, extra={})

    with pytest.raises(segdata.SegdataError, match="nothing to train on"):
        maskrcnn.MODEL.usable(Crowds())  # type: ignore[arg-type]


def test_the_same_command_again_is_done_at_once(run: Path, pack: Path, here: Here) -> None:
    again = here(*arguments(pack, run))
    assert again.code == 0 and again.document["was_done"]
    other = here(*arguments(pack, run, learning_rate=0.1))
    assert other.code == 2 and "learning_rate" in other.document["error"]["why"]


def test_settings_are_printed_and_read_back(tmp_path: Path, here: Here) -> None:
    printed = here("config", "maskrcnn", "--set", "learning_rate=0.06")
    file = tmp_path / "settings.toml"
    file.write_text(printed.out)
    assert TrainConfig.from_toml(file) == TrainConfig.from_dict({"learning_rate": 0.06})
    assert "[LEARNING_RATE]" in printed.out
    file.write_text("learning_rat = 1\n")
    wrong = here("config", "maskrcnn", "--config", file, "--json")
    assert wrong.code == 2 and "learning_rate" in wrong.document["error"]["why"]
    assert wrong.document["error"]["file"] == str(file)
    file.write_text('# mine\nbackbone = "resnet18"\n\nlearning_rate = "fast"\n')
    wrong = here("config", "maskrcnn", "--config", file, "--json")
    assert (wrong.code, wrong.document["error"]["place"]) == (2, "line 4: learning_rate")
    file.write_text("seed = 3\n")
    wrong = here("config", "maskrcnn", "--config", file, "--set", "seeds=3", "--json")
    assert "seed" in wrong.document["error"]["why"] and "file" not in wrong.document["error"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flip=2", "0 … 1"),
        ("flip=nan", "0 … 1"),
        ("backbone=resnet5", "resnet50"),
        ("epochs=1.5", "whole number"),
        ("fixed_size=1", "true or false"),
        ("stages=heads", "LAYERS:EPOCHS"),
        ("mean=1,2", "0 … 1"),
        ("min_size=", "min_size needs at least one"),
        ("anchor_sizes=8,16", "five"),
        ("scale_jitter=1.5,0.5", "scale_jitter[0] is above"),
        ("rpn_negative_iou=0.9", "rpn_negative_iou is above rpn_positive_iou"),
        ("LEARNING_RATE=1", "learning_rate"),
        ("DETECTION_MIN_CONFIDENCE=1", "detection_min_confidence"),
    ],
)
def test_bad_settings_are_refused(text: str, words: str) -> None:
    with pytest.raises(segdata.SegdataError) as error:
        TrainConfig.from_dict(TrainConfig.of().parsed([text]))
    assert words in str(error.value)


def test_validation_gives_the_numbers_of_pycocotools(pack: Path) -> None:
    """Detections are the truth, some moved, some doubled, some of another category, some left out."""
    val, rng = segdata.open(pack, split="val2017"), np.random.default_rng(0)
    found, rows = {}, []
    for place, sample in enumerate(val):
        own = sample.instances.take(np.repeat(np.arange(len(sample.instances)), 2)[1:])
        dense = np.stack([np.roll(mask, rng.integers(0, 9), axis=1) for mask in own.masks.dense()])
        category = np.where(rng.random(len(own)) < 0.2, 0, own.category)
        found[place] = segdata.Instances.build(
            category, Masks.from_dense(dense), score=rng.random(len(own)), bbox=own.bbox, area=own.area
        )
        for rle, box, index, score in zip(
            found[place].masks.rle(), own.bbox.tolist(), category, found[place].score, strict=True
        ):
            row = {"image_id": sample.id, "bbox": box, "score": float(score), "segmentation": rle}
            rows.append({**row, "category_id": val.labels[index].id})
    truth = COCO(str(pack.parent / "raw" / "annotations" / "instances_val2017.json"))
    numbers = average_precision(val, {index: Prediction(instances) for index, instances in found.items()})
    assert 0.05 < numbers["AP"] < 0.95 and len(numbers) > 4
    for kind, names in (("segm", {"AP": 0, "AP50": 1, "AP75": 2}), ("bbox", {"box_AP": 0})):
        judged = COCOeval(truth, truth.loadRes(rows), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        assert {name: numbers[name] for name in names} == {
            name: pytest.approx(judged.stats[place], abs=1e-12) for name, place in names.items()
        }


def test_categories_whose_names_differ_in_a_slash_have_numbers_of_their_own(tmp_path: Path) -> None:
    root = objects.draw(tmp_path / "raw", train=2, val=0, height=96, width=128)
    (root / "annotations/instances_val2017.json").unlink()
    file = root / "annotations/instances_train2017.json"
    document = json.loads(file.read_text())
    names = ["ship/boat", "ship_boat"]
    for category, name in zip(document["categories"], names, strict=False):
        category["name"] = name
    for number, annotation in enumerate(document["annotations"]):
        annotation["category_id"] = document["categories"][number % 2]["id"]
    file.write_text(json.dumps(document))
    segdata.convert(root, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    kept = {place: sample.instances for place, sample in enumerate(pack)}
    found = {
        place: dataclasses.replace(own, score=np.ones(len(own))).take(own.category == 0) for place, own in kept.items()
    }
    numbers = average_precision(pack, {index: Prediction(instances) for index, instances in found.items()})
    assert [numbers[f"category_AP/{name}"] for name in names] == [pytest.approx(1.0), 0.0]


# ---------------------------------------------------------------------- hostile checkpoints


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this code ran",)


def test_a_pickle_with_code_is_refused(pack: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"model": _Harmful()}, file)
    outcome = run_segdata("predict", file, pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 11 and outcome.document["error"]["id"] == "Unsafe"
    assert "this code ran" not in outcome.out + outcome.err
    assert not (tmp_path / "found").exists()


def test_damaged_weights_are_found(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (file,) = copy.glob("best-*.safetensors")
    data = bytearray(file.read_bytes())
    data[-3] ^= 0x40
    file.write_bytes(data)
    outcome = run_segdata("predict", copy, pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 8 and "sha256" in outcome.document["error"]["why"]
    file.write_bytes(data[:-100])
    outcome = here("predict", copy, pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 8 and "cut short" in outcome.document["error"]["message"]
    text = (copy / "best.json").read_text()
    (copy / "best.json").write_text(text.replace('"eps":1e-05', '"eps":2e-05'))
    assert text != (copy / "best.json").read_text()
    assert here("predict", copy, pack, "-o", tmp_path / "found").code == 8
    half = tmp_path / "half.pth"
    torch.save({"a": torch.zeros(1000)}, half)
    half.write_bytes(half.read_bytes()[:2000])
    assert here("predict", half, pack, "-o", tmp_path / "found").code == 8


def test_a_digest_beside_weights_or_in_their_name_is_compared(
    run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    """Even where the changed bit makes another weight that looks like any."""
    file = tmp_path / "mine.pth"
    torch.save(dict(weights.read(run).tensors), file)
    data = bytearray(file.read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    named = tmp_path / f"maskrcnn_resnet50_fpn_coco-{digest[:8]}.pth"
    more = ("-o", tmp_path / "found", "--json")
    (tmp_path / "mine.pth.sha256").write_text(f"{digest}  mine.pth\n")
    assert weights.read(file).tensors.keys() == weights.read(run).tensors.keys()
    data[len(data) // 2] ^= 1
    for path in (file, named):
        path.write_bytes(data)
        outcome = here("predict", path, pack, *more)
        assert outcome.code == 8 and "sha256" in outcome.document["error"]["why"], outcome.err
    (tmp_path / "mine.pth.sha256").write_text("<html>")
    assert here("predict", file, pack, *more).code == 4


def test_another_model_is_explained(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    outcome = here(*arguments(pack, tmp_path / "other", "--weights", run, fpn_channels=32))
    assert outcome.code == 4
    assert "[16" in outcome.document["error"]["why"] and "[32" in outcome.document["error"]["why"]
    assert "backbone=resnet18, heads=v1, norm=group, fpn_channels=16" in outcome.document["error"]["fix"]


def test_a_classifiers_resnet_begins_a_training_but_detects_nothing(pack: Path, tmp_path: Path, here: Here) -> None:
    body = torchvision.models.resnet18(weights=None, norm_layer=lambda channels: torch.nn.GroupNorm(16, channels))
    torch.save(body.state_dict(), tmp_path / "resnet18.pth")
    model = network.build(TrainConfig.from_dict(TINY).model, 3)
    (remark,) = weights.put(weights.read(tmp_path / "resnet18.pth"), model)
    assert "only the ResNet" in remark
    assert torch.equal(model.backbone.body.layer4[1].conv2.weight, body.layer4[1].conv2.weight)
    outcome = here("predict", tmp_path / "resnet18.pth", pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 4 and "segdata train" in outcome.document["error"]["fix"]


def test_a_file_with_more_than_tensors_says_what(pack: Path, tmp_path: Path, here: Here) -> None:
    torch.save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "theirs.pth")
    outcome = here("predict", tmp_path / "theirs.pth", pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 11 and outcome.document["error"]["why"].startswith("it names argparse.Namespace")
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    outcome = here(*arguments(pack, tmp_path / "run", "--weights", tmp_path / "keras.h5"))
    assert outcome.code == 2 and "matterport.Training" in outcome.document["error"]["fix"]
    (tmp_path / "text.pth").write_text("hello")
    outcome = here("predict", tmp_path / "text.pth", pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 8 and "Error: " in outcome.document["error"]["why"]


def test_weights_of_other_data_and_in_half_precision_are_taken(run: Path, pack: Path, tmp_path: Path) -> None:
    """What they were trained on is told; halves become what the model calculates with."""
    config = TrainConfig.from_dict({**TINY, "steps_per_epoch": 1, "validate_epochs": 0})
    data = segdata.open(pack, split="val2017")
    report = engine.train(data, tmp_path / "run", config, weights=run, device="cpu")
    assert any("trained on other data" in remark for remark in report.remarks), report.remarks
    model = network.build(TrainConfig.from_dict(TINY).model, len(data.labels))
    given = weights.read(run)
    torch.save({name: value.half() for name, value in given.tensors.items()}, tmp_path / "half.pth")
    assert weights.put(weights.read(tmp_path / "half.pth"), model) == []
    for name, value in model.state_dict().items():
        assert value.dtype == given.tensors[name].dtype
        torch.testing.assert_close(value, given.tensors[name], rtol=1e-3, atol=1e-4)


def test_heads_of_other_classes_start_afresh_but_for_same_names(run: Path) -> None:
    given = weights.read(run)
    assert given.labels is not None
    some = segdata.LabelSpace(
        "three",
        (
            segdata.Category(given.labels[1].name, 1, isthing=True),
            segdata.Category("toaster oven", 2, isthing=True),
            segdata.Category(given.labels[0].name, 3, isthing=True),
        ),
    )
    model = network.build(TrainConfig.from_dict(TINY).model, 3)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    (remark,) = weights.put(given, model, some)
    assert f"{len(given.labels)} classes" in remark and "2 of the same name" in remark
    assert "box_predictor.cls_score" in remark and "mask_predictor.mask_fcn_logits" in remark
    for part, each in (
        ("box_predictor.cls_score", 1),
        ("box_predictor.bbox_pred", 4),
        ("mask_predictor.mask_fcn_logits", 1),
    ):
        name = f"roi_heads.{part}.weight"
        old, new = given.tensors[name], model.state_dict()[name]
        for here, there in ((0, 0), (1, 2), (3, 1)):
            assert torch.equal(new[here * each : (here + 1) * each], old[there * each : (there + 1) * each])
        assert torch.equal(new[2 * each : 3 * each], fresh[name][2 * each : 3 * each])
    assert torch.equal(model.state_dict()["backbone.body.conv1.weight"], given.tensors["backbone.body.conv1.weight"])


def test_torchvision_weights_say_which_model_they_are(tmp_path: Path) -> None:
    config = TrainConfig.from_dict({**TINY, "norm": "batch"}).model
    state = network.build(config, 90).state_dict()
    older = {name.replace("rpn.head.conv.0.0", "rpn.head.conv"): value for name, value in state.items()}
    torch.save(older, tmp_path / "weights.pth")
    model = load(tmp_path / "weights.pth", device="cpu", min_size=[96], max_size=128, detection_min_confidence=0.0)
    assert isinstance(model, Detector)
    assert (model.config.backbone, model.config.fpn_channels, len(model.labels)) == ("resnet18", 16, 80)
    (found,) = model([np.zeros((60, 80, 3), np.uint8)])
    assert len(found) and 0 <= found.category.min() <= found.category.max() < 80


def test_frozen_norms_of_torchvisions_first_coco_weights_have_no_epsilon(tmp_path: Path) -> None:
    config = TrainConfig.from_dict({**TINY, "norm": "frozen"}).model
    torch.save(network.build(config, 90).state_dict(), tmp_path / "weights.pth")
    given = weights.read(tmp_path / "weights.pth")
    assert given.state["eps"] == 0.0
    model = network.build(config, 90)
    assert weights.frozen_eps(model) == 1e-5
    assert weights.put(given, model) == []
    assert weights.frozen_eps(model) == 0.0


# ---------------------------------------------------------------------- trackers and checkpoints


class _Broken:
    """A tracker that fails in one call."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in ("start", "log", "log_image", "log_artifact", "finish"):
            raise AttributeError(name)

        def call(*_: Any) -> None:
            self.calls.append(name)
            if name == self.where:
                raise RuntimeError("no connection")

        return call


def test_a_broken_tracker_never_stops_a_run(pack: Path, tmp_path: Path) -> None:
    broken, good = _Broken("log"), _Broken("nowhere")
    whole = segdata.open(pack)
    report = engine.train(
        whole.split("train2017"),
        tmp_path / "run",
        TrainConfig.from_dict(TINY),
        validate=whole.split("val2017"),
        trackers=[broken, good],
        device="cpu",
    )
    assert report.steps == 2
    assert broken.calls == ["start", "log"]
    assert good.calls == ["start", "log", "log", "log", "log_image", "log_artifact", "finish"]


def test_a_tracker_that_hangs_never_stops_a_run(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hung(_Broken):
        def __getattr__(self, name: str) -> Any:
            return lambda *_: threading.Event().wait()

    defaults = services.Background.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "finish_seconds", 0.1)
    report = engine.train(
        segdata.open(pack, split="train2017"),
        tmp_path / "run",
        TrainConfig.from_dict({**TINY, "validate_epochs": 0}),
        trackers=[Hung("")],
        device="cpu",
    )
    assert report.steps == 2


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(checkpoint.step_path(tmp_path, step), {"a": torch.full((2,), step)}, {"step": step})
        (tmp_path / ".step-00000009.json.part-1").write_text("left over")
        checkpoint.remove_old(tmp_path)
    assert sorted(re.sub("-[0-9a-f]{12}", "", path.name) for path in tmp_path.iterdir()) == [
        "step-00000002.json",
        "step-00000002.safetensors",
        "step-00000003.json",
        "step-00000003.safetensors",
    ]
    newest = checkpoint.newest(tmp_path)
    assert newest is not None and checkpoint.load(newest)[1]["step"] == 3
    last = checkpoint.newest(tmp_path)
    assert last is not None
    (file,) = tmp_path.glob(f"{last.name}-*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(segdata.SegdataError, match=rf"remove \S+{last.name}\.json to go on"):
        checkpoint.load(last)
    last.with_suffix(".json").unlink()
    before = checkpoint.newest(tmp_path)
    assert before is not None and before != last
    checkpoint.load(before)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "precision": "bf16",
            "channels_last": True,
            "optimizer": "adamw",
            "schedule": "cosine",
            "gradient_clip_norm": 1.0,
        },
        {"heads": "v2", "norm": "batch", "accumulate": 2, "large_scale_jitter": True, "mask_targets": "binary"},
        {"stages": ["heads:1", "4+:1:0.5"], "norm": "frozen", "scale_jitter": [0.7, 1.4], "min_size": [80, 96]},
    ],
    ids=["bf16", "v2", "stages"],
)
def test_ways_to_train(changes: dict[str, Any], pack: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_dict({**TINY, "steps_per_epoch": 1, "validate_epochs": 0, **changes})
    whole = segdata.open(pack, split="train2017")
    fresh = network.build(config.model, len(whole.labels)).state_dict()
    report = engine.train(whole, tmp_path / "run", config, device="cpu")
    state = weights.read(tmp_path / "run").tensors
    changed = {name for name, value in fresh.items() if not torch.equal(value, state[name])}
    assert report.steps == len(config.run.plan)
    assert any(name.startswith("roi_heads.mask_head") for name in changed)
    if config.run.stages:
        assert any(name.startswith("backbone.body.layer3") for name in changed)
        assert not any(name.startswith(("backbone.body.conv1", "backbone.body.layer2")) for name in changed)
    rows = run_folder.lines(tmp_path / "run")
    assert rows and all(np.isfinite(row["train/loss"]) for row in rows)


@pytest.mark.full
def test_half_precision_goes_on_with_its_scale(pack: Path, tmp_path: Path) -> None:
    """The first scale is too large for half numbers, so updates are left out until it fits; it belongs to the state."""
    config = TrainConfig.from_dict(
        {**TINY, "precision": "fp16", "schedule": "constant", "validate_epochs": 0, "epochs": 2}
    )
    data = segdata.open(pack, split="train2017")
    engine.train(data, tmp_path / "whole", config, device="cpu")
    engine.train(data, tmp_path / "parts", config.changed(epochs=1), device="cpu")
    assert engine.train(data, tmp_path / "parts", config, device="cpu").resumed_at == 2
    (one, about), (two, again) = (
        checkpoint.load(tmp_path / run / "checkpoints" / "step-00000004") for run in ("whole", "parts")
    )
    assert about["scaler"] == again["scaler"] and about["scaler"]["scale"] > 0
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    assert np.isfinite(run_folder.lines(tmp_path / "whole")[-1]["train/loss"])


@pytest.mark.full
@pytest.mark.parametrize("heads", ["v1", "v2"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_every_model_learns_is_saved_goes_on_and_detects(backbone: str, heads: str, pack: Path, tmp_path: Path) -> None:
    data = segdata.open(pack, split="train2017")
    config = TrainConfig.from_dict(
        {**TINY, "backbone": backbone, "heads": heads, "steps_per_epoch": 1, "validate_epochs": 0}
    )
    run = tmp_path / "run"
    engine.train(data, run, config, device="cpu")
    before = weights.read(run).tensors
    report = engine.train(data, run, config.changed(epochs=2), device="cpu")
    assert (report.resumed_at, report.steps) == (1, 2)
    after = weights.read(run).tensors
    for part in ("backbone.body.layer4", "backbone.fpn", "rpn.head", "roi_heads.box_head", "roi_heads.mask_head"):
        assert any(name.startswith(part) and not torch.equal(before[name], after[name]) for name in after), part
    torch.save(dict(after), tmp_path / "weights.pth")
    photo = data[0].image
    sizes: dict[str, Any] = {name: TINY[name] for name in ("min_size", "max_size", "anchor_sizes", "post_nms_rois")}
    one, two = (
        load(source, device="cpu", detection_min_confidence=0.0, **sizes).predict([photo])[0].instances
        for source in (run, tmp_path / "weights.pth")
    )
    assert one is not None and two is not None
    assert len(one) and one.score.tolist() == two.score.tolist() and one.boxes.tolist() == two.boxes.tolist()


def test_stages_and_rates() -> None:
    config = RunConfig(stages=("heads:1", "all:2:0.1"), warmup_steps=2, warmup_factor=0.5, learning_rate=1.0)
    plan = schedule.stages(config, 10)
    assert [(stage.layers, stage.begin, stage.end, stage.factor) for stage in plan] == [
        ("heads", 0, 10, 1.0),
        ("all", 10, 30, 0.1),
    ]
    assert [schedule.stage_at(plan, step).layers for step in (0, 9, 10, 29)] == ["heads", "heads", "all", "all"]
    rates = [schedule.learning_rate(config, step, 100) for step in (0, 1, 2, 66, 67, 91, 92)]
    assert rates == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.1, 0.1, 0.01])
    short = [schedule.learning_rate(config.changed(warmup_steps=500), step, 8) for step in (0, 1, 2, 3)]
    assert short == pytest.approx([0.5, 0.75, 1.0, 1.0]), "a small pack's training is more than its warm-up"
    cosine = config.changed(schedule="cosine", warmup_steps=0)
    assert [schedule.learning_rate(cosine, step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, 0.5, 0.0])


def test_a_loss_that_is_not_finite_stops_the_run(pack: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_dict(
        {**TINY, "learning_rate": 100.0, "steps_per_epoch": 20, "validate_epochs": 0, "rpn_bbox_loss": 1000.0}
    )
    with pytest.raises(segdata.SegdataError, match="not finite"):
        engine.train(segdata.open(pack, split="train2017"), tmp_path / "run", config, device="cpu")
    assert json.loads((tmp_path / "run" / "state.json").read_text()) == {"state": "failed"}


@pytest.mark.filterwarnings("ignore")
def test_the_data_module_of_the_guide_feeds_lightning(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    text = (Path(__file__).resolve().parents[2] / "docs" / "train.md").read_text()
    prepare = re.search(r"^def prepare\(.*?(?=\n\n\nfor )", text, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert prepare is not None
    seen: list[tuple[Any, ...]] = []

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            seen.extend(tuple(target["boxes"].shape) for _, target in batch)
            return torch.stack([self.layer(image[None].float()).mean() for image, _ in batch]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def trainer(**options: Any) -> Any:
        return lightning.Trainer(
            max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **options
        )

    there = types.SimpleNamespace(Trainer=trainer, LightningDataModule=lightning.LightningDataModule)
    names = {"segdata": segdata, "np": np, "torch": torch, "model": Model(), "lightning": there}
    monkeypatch.setattr(segdata, "open", lambda path, split, inner=segdata.open: inner(pack, split=f"{split}2017"))
    exec(compile(prepare[0] + "\n" + block, "docs/train.md", "exec"), names)
    train = segdata.open("packs/mine", split="train")
    assert sorted(seen) == sorted(2 * [(int((~sample.instances.iscrowd).sum()), 4) for sample in train])


@pytest.mark.full
def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = objects.draw(tmp_path / "raw", train=2, val=1, height=96, width=128)
    for split in ("train", "val"):
        (raw / f"{split}2017").rename(raw / split)
        (raw / "annotations" / f"instances_{split}2017.json").rename(raw / "annotations" / f"instances_{split}.json")
    segdata.convert(raw, tmp_path / "packs" / "mine")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).resolve().parents[2] / "docs" / "train.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(program, "docs/train.md", "exec"), names)
    assert names["report"].steps == 1 and len(names["names"]) == len(names["instances"])
    for block in re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        compile(block, "docs/train.md", "exec")
    for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        TrainConfig.from_dict(tomllib.loads(block))
