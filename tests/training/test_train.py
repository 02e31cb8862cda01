"""Training by the real commands: the smallest model, two updates."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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
from segdata.training import narration
from segdata.training import trainer as engine
from segdata.training.config import RunConfig, TrainConfig
from segdata.training.predict import load
from segdata.training.step import learning_rate, stage_at, stages
from segdata.training.trackers import run_folder
from tests.helpers.command import Here
from tests.helpers.tiny_training import TINY, arguments, described

pytestmark = pytest.mark.usefixtures("without_pages")


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
            instances = whole[index].instances
            crowds = dataclasses.replace(instances, iscrowd=np.ones(len(instances), bool))
            return whole[index].with_annotations(instances=crowds, semantic=None, extra={})

    with pytest.raises(segdata.SegdataError, match="nothing to train on"):
        maskrcnn.MODEL.usable(Crowds(), TrainConfig.of().model)  # type: ignore[arg-type]


def test_the_same_command_again_is_done_at_once(run: Path, pack: Path, here: Here) -> None:
    again = here(*arguments(pack, run))
    assert again.code == 0 and again.document["was_done"]
    state = run / "state.json"
    state.write_text('{"state": "running"}')  # it was killed after its last checkpoint, before it ended
    again = here(*arguments(pack, run))
    assert again.code == 0 and not again.document["was_done"] and again.document["resumed_at"] == 2
    assert json.loads(state.read_text()) == {"state": "done"}
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
        ("flip=nan", "must be a number"),
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


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["max_size=512"], "min_size is above max_size"),
        (["min_size=256,900", "max_size=800"], "min_size is above max_size"),
        (["schedule=cosine", "milestones=0.5"], "milestones has no effect with schedule = 'cosine'"),
        (["warmup_steps=0", "warmup_factor=0.5"], "warmup_factor has no effect with warmup_steps = 0"),
        (["stages=heads:1", "epochs=3"], "epochs has no effect with stages"),
        (["stages=heads:1", "layers=heads"], "layers has no effect with stages"),
        (["large_scale_jitter=true", "scale_jitter=0.5,1"], "scale_jitter has no effect with large_scale_jitter"),
    ],
)
def test_settings_that_contradict_or_do_nothing_are_refused_before_a_run_begins(
    texts: list[str], words: str, pack: Path, tmp_path: Path
) -> None:
    config = TrainConfig.from_dict(TrainConfig.of().parsed(["backbone=resnet18", "fpn_channels=16", *texts]))
    with pytest.raises(segdata.SegdataError, match=re.escape(words)):
        engine.train(segdata.open(pack, split="val2017"), tmp_path / "run", config, device="cpu")
    assert not (tmp_path / "run/config.toml").exists()


def test_the_start_says_what_is_trained_and_each_validation_leaves_a_line(
    pack: Path, tmp_path: Path, here: Here
) -> None:
    words = arguments(pack, tmp_path / "run", "--no-progress", epochs=2, steps_per_epoch=1)
    outcome = here(*(word for word in words if word != "--json"))
    assert outcome.code == 0, outcome.err
    lines = outcome.err.splitlines()
    assert lines[0] == (
        "training on cpu: 4 images of train2017, 11 classes, 2 epochs of 1 update (2 in all), "
        "validation on 2 images of val2017"
    )
    assert re.fullmatch(r"epoch 1 of 2: mask AP 0\.\d{3}, the best so far \(AP50 .*\); about \d+ s left", lines[1])
    assert re.fullmatch(
        r"epoch 2 of 2: mask AP 0\.\d{3}, (the best so far|best so far 0\.\d{3}) \(AP50 [^;]*", lines[2]
    )
    assert len(lines) == 3


def test_a_training_that_nothing_judges_and_a_large_model_on_a_cpu_are_remarked(pack: Path) -> None:
    part, config = segdata.open(pack, split="train2017"), TrainConfig.of()
    (alone,) = narration.warnings(part, None, config.run, config.model, device="cuda", parameters=44_000_000)
    assert "nothing is validated" in alone and "--validation names a split (val2017)" in alone
    (large,) = narration.warnings(part, part, config.run, config.model, device="cpu", parameters=44_000_000)
    assert "44 million parameters on a CPU" in large and "--set backbone=resnet18" in large
    assert narration.warnings(part, part, config.run, config.model, device="cpu", parameters=30_000_000) == []
    for name, smaller in (
        ("maskrcnn", {"max_size": 256}),
        ("matterport", {"image_max_dim": 256}),
        ("unet", {"crop": (256, 96)}),
    ):
        chosen, small = TrainConfig.of(name), TrainConfig.of(name).changed(**smaller)
        assert narration.warnings(part, part, chosen.run, chosen.model, device="cpu", parameters=44_000_000), name
        assert narration.warnings(part, part, small.run, small.model, device="cpu", parameters=44_000_000) == [], name
    assert [narration.duration(seconds) for seconds in (0.4, 59, 61, 3600, 7260, 90_000)] == [
        "0 s", "59 s", "1 min 1 s", "1 h", "2 h 1 min", "1 d 1 h",
    ]  # fmt: skip


def test_validation_gives_the_numbers_of_pycocotools(pack: Path) -> None:
    """Detections are the truth, some moved, some doubled, some of another category, some left out."""
    val, rng = segdata.open(pack, split="val2017"), np.random.default_rng(0)
    detections, rows = {}, []
    for index, sample in enumerate(val):
        instances = sample.instances.take(np.repeat(np.arange(len(sample.instances)), 2)[1:])
        dense = np.stack([np.roll(mask, rng.integers(0, 9), axis=1) for mask in instances.masks.dense()])
        category = np.where(rng.random(len(instances)) < 0.2, 0, instances.category)
        detections[index] = segdata.Instances.build(
            category,
            Masks.from_dense(dense),
            score=rng.random(len(instances)),
            bbox=instances.bbox,
            area=instances.area,
        )
        for rle, box, label, score in zip(
            detections[index].masks.rle(), instances.bbox.tolist(), category, detections[index].score, strict=True
        ):
            row = {"image_id": sample.id, "bbox": box, "score": float(score), "segmentation": rle}
            rows.append({**row, "category_id": val.labels[label].id})
    truth = COCO(str(pack.parent / "raw" / "annotations" / "instances_val2017.json"))
    numbers = average_precision(val, {index: Prediction(instances) for index, instances in detections.items()})
    assert numbers["AP"] is not None and 0.05 < numbers["AP"] < 0.95 and len(numbers) > 4
    for kind, names in (("segm", {"AP": 0, "AP50": 1, "AP75": 2}), ("bbox", {"box_AP": 0})):
        judged = COCOeval(truth, truth.loadRes(rows), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        assert {name: numbers[name] for name in names} == {
            name: pytest.approx(judged.stats[row], abs=1e-12) for name, row in names.items()
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
    truth = {index: sample.instances for index, sample in enumerate(pack)}
    detections = {
        index: dataclasses.replace(instances, score=np.ones(len(instances))).take(instances.category == 0)
        for index, instances in truth.items()
    }
    numbers = average_precision(pack, {index: Prediction(instances) for index, instances in detections.items()})
    assert [numbers[f"category_AP/{name}"] for name in names] == [pytest.approx(1.0), 0.0]


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(checkpoint.step_path(tmp_path, step), {"a": torch.full((2,), step)}, described(step))
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
        {
            "stages": ["heads:1", "4+:1:0.5"],
            "epochs": 12,
            "norm": "frozen",
            "scale_jitter": [0.7, 1.4],
            "min_size": [80, 96],
        },
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
    plan = stages(config, 10)
    assert [(stage.layers, stage.begin, stage.end, stage.factor) for stage in plan] == [
        ("heads", 0, 10, 1.0),
        ("all", 10, 30, 0.1),
    ]
    assert [stage_at(plan, step).layers for step in (0, 9, 10, 29)] == ["heads", "heads", "all", "all"]
    rates = [learning_rate(config, step, 100) for step in (0, 1, 2, 66, 67, 91, 92)]
    assert rates == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.1, 0.1, 0.01])
    short = [learning_rate(config.changed(warmup_steps=500), step, 8) for step in (0, 1, 2, 3)]
    assert short == pytest.approx([0.5, 0.75, 1.0, 1.0]), "a small pack's training is more than its warm-up"
    cosine = config.changed(schedule="cosine", warmup_steps=0)
    assert [learning_rate(cosine, step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, 0.5, 0.0])


def test_a_loss_that_is_not_finite_stops_the_run(pack: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_dict(
        {**TINY, "learning_rate": 100.0, "steps_per_epoch": 20, "validate_epochs": 0, "rpn_bbox_loss": 1000.0}
    )
    with pytest.raises(segdata.SegdataError, match="not finite"):
        engine.train(segdata.open(pack, split="train2017"), tmp_path / "run", config, device="cpu")
    assert json.loads((tmp_path / "run" / "state.json").read_text()) == {"state": "failed"}
