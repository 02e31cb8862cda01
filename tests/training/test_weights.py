"""Weights that a training or a prediction starts from: damaged, hostile, of another model, of other data."""

from __future__ import annotations

import argparse
import hashlib
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

import segdata
from segdata.errors import NotThere
from segdata.models.maskrcnn import network, weights
from segdata.models.maskrcnn.model import Detector
from segdata.training import trainer as engine
from segdata.training.config import TrainConfig
from segdata.training.predict import load
from tests.helpers.command import Here, run_segdata
from tests.helpers.tiny_training import TINY, arguments

pytestmark = pytest.mark.usefixtures("without_pages")


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
    assert (
        "backbone=resnet18, backbone_width=1.0, heads=v1, norm=group, fpn_channels=16"
        in outcome.document["error"]["fix"]
    )


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
    torch.save({"model": {}, "args": Fraction(1, 2)}, tmp_path / "theirs.pth")
    outcome = here("predict", tmp_path / "theirs.pth", pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 11 and outcome.document["error"]["why"].startswith("it names fractions.Fraction")
    assert 'torch.save(state["model"], "weights.pth")' in outcome.document["error"]["fix"]
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    outcome = here(*arguments(pack, tmp_path / "run", "--weights", tmp_path / "keras.h5", "--model", "maskrcnn"))
    assert outcome.code == 2 and "--model matterport" in outcome.document["error"]["fix"]
    (tmp_path / "text.pth").write_text("hello")
    outcome = here("predict", tmp_path / "text.pth", pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 8 and "Error: " in outcome.document["error"]["why"]
    torch.save({"model": {}}, tmp_path / "empty.pth")
    outcome = here("predict", tmp_path / "empty.pth", pack, "-o", tmp_path / "found", "--json")
    assert outcome.code == 4 and "no state dictionary" in outcome.document["error"]["message"]


def _prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


_SETTINGS = argparse.Namespace(lr=0.02, output_dir=Path("runs"), device="cuda", aspect_ratio_group_factor=3, resume="")


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"model": state, "optimizer": {"state": {}}, "args": _SETTINGS, "epoch": 1},
        lambda state: {"model": _prefixed(state, "module."), "args": _SETTINGS},
        lambda state: {"state_dict": _prefixed(state, "model."), "epoch": 3, "global_step": 7},
        lambda state: {"model_state_dict": _prefixed(state, "model.module."), "loss": torch.tensor(1.0)},
        lambda state: _prefixed(state, "_orig_mod.module."),
        lambda state: {"model_ema": {"n_averaged": torch.tensor(5), **_prefixed(state, "module.")}, "args": _SETTINGS},
    ],
)
def test_checkpoints_of_training_scripts_are_read(
    wrapped: Callable[[Mapping[str, Tensor]], Any], run: Path, tmp_path: Path
) -> None:
    """As torchvision's references, DistributedDataParallel, Lightning and torch.compile write them."""
    tensors = dict(weights.read(run).tensors)
    torch.save(wrapped(tensors), tmp_path / "theirs.pth")
    read = weights.read(tmp_path / "theirs.pth")
    assert read.tensors.keys() == tensors.keys() and read.remarks == ()
    assert all(torch.equal(read.tensors[name], tensors[name]) for name in tensors)


def test_of_several_state_dictionaries_one_is_taken_and_the_others_are_named(
    run: Path, pack: Path, tmp_path: Path
) -> None:
    tensors = dict(weights.read(run).tensors)
    average = {name: torch.zeros_like(value) for name, value in tensors.items()}
    file = tmp_path / "theirs.pth"
    torch.save({"model": tensors, "model_ema": {"n_averaged": torch.tensor(5), **_prefixed(average, "module.")}}, file)
    name = "rpn.head.cls_logits.weight"
    assert torch.equal(weights.read(file).tensors[name], tensors[name])
    assert torch.equal(weights.read(f"{file}#model_ema").tensors[name], average[name])
    assert weights.read(f"{file}#model_ema").remarks == ()
    with pytest.raises(NotThere, match="no 'state_dict'"):
        weights.read(f"{file}#state_dict")
    found = run_segdata("predict", file, pack, "-o", tmp_path / "found", "--json", *_TINY_SETTINGS)
    assert any("theirs.pth#model_ema" in kind for kind in found.document["problems"]["remarks"]), found.err


_TINY_SETTINGS = [
    text for name, value in TINY.items() if name in ("min_size", "max_size") for text in ("--set", f"{name}={value}")
]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_weights_that_are_not_finite_are_refused(
    value: float, run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    """1e39 is finite in float64 and not in the network's float32."""
    tensors = {name: tensor.clone() for name, tensor in weights.read(run).tensors.items()}
    name = "backbone.body.conv1.weight"
    tensors[name] = tensors[name].double()
    tensors[name][0, 0, 0, 0] = value
    torch.save(tensors, tmp_path / "theirs.pth")
    outcome = here("predict", tmp_path / "theirs.pth", pack, "-o", tmp_path / "found", "--json", *_TINY_SETTINGS)
    assert outcome.code == 8 and outcome.document["error"]["place"] == name
    assert "before the loss became nan" in outcome.document["error"]["fix"]


def test_numbers_beyond_all_measure_give_no_objects_and_a_note(
    run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    tensors = {name: tensor.clone() for name, tensor in weights.read(run).tensors.items()}
    tensors["rpn.head.bbox_pred.weight"] *= 1e30
    torch.save(tensors, tmp_path / "theirs.pth")
    outcome = here("predict", tmp_path / "theirs.pth", pack, "-o", tmp_path / "found", "--json", *_TINY_SETTINGS)
    assert outcome.code == 0 and outcome.document["instances"] == 0, outcome.err
    (note,) = [item for kind, item in outcome.document["problems"]["remarks"].items() if "have diverged" in kind]
    assert note["count"] == outcome.document["samples"] and note["examples"][0] == segdata.open(pack).keys[0]


def test_large_scores_of_a_trained_network_are_no_divergence(run: Path, pack: Path, tmp_path: Path) -> None:
    """Softmax of thousands is as good as of tens: here a class that is sure beyond doubt."""
    tensors = {name: tensor.clone() for name, tensor in weights.read(run).tensors.items()}
    tensors["roi_heads.box_predictor.cls_score.bias"][1] += 5000
    torch.save(tensors, tmp_path / "theirs.pth")
    sizes: dict[str, Any] = {name: TINY[name] for name in ("min_size", "max_size", "anchor_sizes", "post_nms_rois")}
    (prediction,) = load(tmp_path / "theirs.pth", device="cpu", **sizes).predict([segdata.open(pack)[0].image])
    assert prediction.instances is not None and len(prediction.instances) > 0
    assert set(prediction.instances.category.tolist()) == {0} and set(prediction.instances.score.tolist()) == {1.0}
    assert not any("diverged" in remark for remark in prediction.remarks)


def test_as_many_objects_as_the_settings_allow_are_noted(run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    more = ("--set", "detection_max_instances=1", "--score-threshold", "0")
    outcome = here("predict", run, pack, "-o", tmp_path / "found", "--json", *more)
    counts = [len(sample.instances) for sample in segdata.open(tmp_path / "found")]
    (note,) = [item for kind, item in outcome.document["problems"]["remarks"].items() if "allows (1)" in kind]
    assert note["count"] == counts.count(1) > 0


def test_weights_of_other_data_and_in_half_precision_are_taken(run: Path, pack: Path, tmp_path: Path) -> None:
    """What they were trained on is told; halves become what the model calculates with."""
    config = TrainConfig.from_dict({**TINY, "steps_per_epoch": 1, "validate_epochs": 0})
    data = segdata.open(pack, split="val2017")
    report = engine.train(data, tmp_path / "run", config, weights=run, device="cpu")
    assert any("trained on other data" in remark for remark in report.remarks), report.remarks
    model = network.build(TrainConfig.from_dict(TINY).model, len(data.labels))
    trained = weights.read(run)
    torch.save({name: value.half() for name, value in trained.tensors.items()}, tmp_path / "half.pth")
    assert weights.put(weights.read(tmp_path / "half.pth"), model) == []
    for name, value in model.state_dict().items():
        assert value.dtype == trained.tensors[name].dtype
        torch.testing.assert_close(value, trained.tensors[name], rtol=1e-3, atol=1e-4)


def test_heads_of_other_classes_start_afresh_but_for_same_names(run: Path) -> None:
    trained = weights.read(run)
    assert trained.labels is not None
    some = segdata.LabelSpace(
        "three",
        (
            segdata.Category(trained.labels[1].name, 1, isthing=True),
            segdata.Category("toaster oven", 2, isthing=True),
            segdata.Category(trained.labels[0].name, 3, isthing=True),
        ),
    )
    model = network.build(TrainConfig.from_dict(TINY).model, 3)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    (remark,) = weights.put(trained, model, some)
    assert f"{len(trained.labels)} classes" in remark and "2 of the same name" in remark
    assert "box_predictor.cls_score" in remark and "mask_predictor.mask_fcn_logits" in remark
    for part, each in (
        ("box_predictor.cls_score", 1),
        ("box_predictor.bbox_pred", 4),
        ("mask_predictor.mask_fcn_logits", 1),
    ):
        name = f"roi_heads.{part}.weight"
        old, new = trained.tensors[name], model.state_dict()[name]
        for here, there in ((0, 0), (1, 2), (3, 1)):
            assert torch.equal(new[here * each : (here + 1) * each], old[there * each : (there + 1) * each])
        assert torch.equal(new[2 * each : 3 * each], fresh[name][2 * each : 3 * each])
    assert torch.equal(model.state_dict()["backbone.body.conv1.weight"], trained.tensors["backbone.body.conv1.weight"])


def test_torchvision_weights_say_which_model_they_are(tmp_path: Path) -> None:
    config = TrainConfig.from_dict({**TINY, "norm": "batch"}).model
    state = network.build(config, 90).state_dict()
    older = {name.replace("rpn.head.conv.0.0", "rpn.head.conv"): value for name, value in state.items()}
    torch.save(older, tmp_path / "weights.pth")
    model = load(tmp_path / "weights.pth", device="cpu", min_size=[96], max_size=128, detection_min_confidence=0.0)
    assert isinstance(model, Detector)
    assert (model.config.backbone, model.config.fpn_channels, len(model.labels)) == ("resnet18", 16, 80)
    (detections,) = model([np.zeros((60, 80, 3), np.uint8)])
    assert len(detections) and 0 <= detections.category.min() <= detections.category.max() < 80


def test_frozen_norms_of_torchvisions_first_coco_weights_have_no_epsilon(tmp_path: Path) -> None:
    config = TrainConfig.from_dict({**TINY, "norm": "frozen"}).model
    torch.save(network.build(config, 90).state_dict(), tmp_path / "weights.pth")
    stored = weights.read(tmp_path / "weights.pth")
    assert stored.state["eps"] == 0.0
    model = network.build(config, 90)
    assert network.frozen_eps(model) == 1e-5
    assert weights.put(stored, model) == []
    assert network.frozen_eps(model) == 0.0
