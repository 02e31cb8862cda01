"""Our model against outputs of the original on the same weights and photos, stage by stage."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch.nn import functional

from segdata.models import matterport
from segdata.models.matterport.config import Config
from segdata.models.matterport.detection import unmold
from segdata.models.matterport.layers import layers_of
from segdata.models.matterport.network import Network
from tests.helpers.keras_weights import MATTERPORT, document, made, needs_matterport, photo

pytestmark = needs_matterport


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("weights"), "resnet50")


def check_detections(result: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same objects in the same order: boxes to a pixel, scores to 0.001, masks to 99.9 % of the pixels."""
    rois = np.array(expected["rois"], np.int32).reshape(-1, 4)
    assert {name: str(value.dtype) for name, value in result.items()} == expected["dtypes"]
    assert result["class_ids"].tolist() == expected["class_ids"]
    assert np.abs(result["rois"] - rois).max() <= 1
    assert np.abs(result["scores"] - expected["scores"]).max() <= 1e-3
    assert list(result["masks"].shape) == expected["masks_shape"]
    truth = np.stack([coco_mask.decode(rle) for rle in expected["masks_rle"]], axis=-1).astype(bool)
    overlap = (truth & result["masks"]).sum(axis=(0, 1)) / np.maximum((truth | result["masks"]).sum(axis=(0, 1)), 1)
    assert overlap.min() >= 0.99
    assert (truth != result["masks"]).sum() <= 0.001 * truth.sum()


def test_every_stage_equals_the_original(weights: Path) -> None:
    expected, arrays = document("resnet50_3132016470.json"), np.load(MATTERPORT / "resnet50_3132016470.npz")
    model = matterport.load(weights)
    assert (model.backbone, model.num_classes, model.fresh, model.unused) == ("resnet50", 81, (), ())
    assert (model.labels[0].name, model.labels[79].name) == ("person", "toothbrush")
    image = photo(expected["photo"])
    boxed = model.mold(image)
    assert list(boxed.window) == expected["input"]["window"]
    stages = model.stages([boxed])

    for level, maps in enumerate(stages.pyramid):
        name = f"fpn_p{level + 2}"
        values = maps[0].permute(1, 2, 0).numpy()
        step = len(values) // 8
        assert np.abs(values[step // 2 :: step, step // 2 :: step, :32] - arrays[f"grid_{name}"]).max() <= 1e-4, name
        assert values.std() == pytest.approx(expected["layers"][name]["std"], abs=1e-5)

    rows = arrays["anchor_rows"]
    assert np.array_equal(model.anchors(boxed.image.shape).numpy()[rows], arrays["anchors_norm"])
    logits = stages.rpn_logits[0].numpy()[rows]
    assert np.abs(np.diff(logits) - np.diff(arrays["rpn_class_logits"])).max() <= 2e-4
    assert np.abs(stages.rpn_deltas[0].numpy()[rows] - arrays["rpn_bbox"]).max() <= 2e-4

    distance = 1023 * np.abs(stages.proposals[0].numpy()[:, None] - arrays["rois"]).max(axis=2)
    assert distance.min(axis=0).max() <= 0.05 and distance.min(axis=1).max() <= 0.05
    same = distance.argmin(axis=0)
    assert np.abs(stages.class_logits[0].numpy()[same] - arrays["mrcnn_class_logits"]).max() <= 2e-3
    deltas = stages.deltas[0].numpy()[same, arrays["mrcnn_class_argmax"]]
    assert np.abs(deltas - arrays["mrcnn_bbox_argmax"]).max() <= 2e-3

    count = int((arrays["detections"][:, 4] > 0).sum())
    truth, detections = arrays["detections"][:count], stages.detections[0].numpy()
    assert detections[:, 4].tolist() == truth[:, 4].tolist()
    assert 1023 * np.abs(detections[:, :4] - truth[:, :4]).max() <= 0.1
    assert np.abs(detections[:, 5] - truth[:, 5]).max() <= 1e-3
    assert np.abs(stages.masks[0].numpy() - arrays["detection_masks"]).max() <= 5e-3

    check_detections(
        unmold(detections, stages.masks[0].numpy(), image.shape, boxed.image.shape, boxed.window), expected["detect"]
    )


@pytest.mark.full
@pytest.mark.parametrize("name", ["batch2_square512", "pad64"])
def test_other_settings_equal_the_original(name: str, weights: Path) -> None:
    expected = document(f"variant_resnet50_{name}.json")
    model = matterport.load(weights, **expected["config_changes"])
    images = [photo(file) for file in expected["photos"]]
    for image, item in zip(images, expected["images"], strict=True):
        assert list(model.mold(image).window) == item["window"]
    for result, item in zip(model.detect(images), expected["images"], strict=True):
        check_detections(result, item["detect"])


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_layers_are_those_of_the_keras_model(backbone: str) -> None:
    with torch.device("meta"):
        network = Network(backbone, 81, Config())
    ours = [
        (f"{layer.group}/{layer.name}/{kind}:0", list(view.shape))
        for layer in layers_of(network)
        for kind, view in layer.weights().items()
    ]
    layout = document(f"layout_{backbone}.json")["layers"]
    assert sorted(ours) == sorted((weight["path"], weight["shape"]) for layer in layout for weight in layer["weights"])


def pyramid_by_hand(file: h5py.File, images: torch.Tensor, blocks: tuple[int, ...]) -> list[torch.Tensor]:
    """P2 … P5 straight from the Keras arrays, by what the layers are said to do; images are (1, 3, H, W)."""

    def array(layer: str, kind: str) -> torch.Tensor:
        return torch.from_numpy(file[f"{layer}/{layer}/{kind}:0"][()])

    def convolve(x: torch.Tensor, layer: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        kernel = array(layer, "kernel").permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, array(layer, "bias"), stride, padding)

    def norm(x: torch.Tensor, layer: str) -> torch.Tensor:
        gamma, beta, mean, variance = (
            array(layer, kind)[:, None, None] for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (x - mean) / torch.sqrt(variance + 1e-3) + beta

    def block(x: torch.Tensor, name: str, stride: int, *, has_shortcut: bool) -> torch.Tensor:
        y = norm(convolve(x, f"res{name}_branch2a", stride), f"bn{name}_branch2a").relu()
        y = norm(convolve(y, f"res{name}_branch2b", padding=1), f"bn{name}_branch2b").relu()
        y = norm(convolve(y, f"res{name}_branch2c"), f"bn{name}_branch2c")
        side = norm(convolve(x, f"res{name}_branch1", stride), f"bn{name}_branch1") if has_shortcut else x
        return (y + side).relu()

    x = norm(convolve(functional.pad(images, (3, 3, 3, 3)), "conv1", 2), "bn_conv1").relu()
    x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)
    stages = []
    for stage, count in enumerate(blocks, 2):
        for number in range(count):
            stride = 2 if number == 0 and stage > 2 else 1
            x = block(x, f"{stage}{'abcdefghijklmnopqrstuvw'[number]}", stride, has_shortcut=number == 0)
        stages.append(x)
    top = convolve(stages[3], "fpn_c5p5")
    tops = [top]
    for level in (4, 3, 2):
        top = top.repeat_interleave(2, 2).repeat_interleave(2, 3)
        top = top + convolve(stages[level - 2], f"fpn_c{level}p{level}")
        tops.append(top)
    return [convolve(item, f"fpn_p{5 - number}", padding=1) for number, item in enumerate(tops)][::-1]


@pytest.mark.full
def test_resnet101_is_wired_as_its_layers_say(tmp_path: Path) -> None:
    path = made(tmp_path, "resnet101")
    model = matterport.load(path, image_min_dim=320, image_max_dim=320, detection_min_confidence=0.3)
    assert (model.backbone, model.num_classes) == ("resnet101", 81)
    images = [photo(file) for file in ("3132016470_c27baa00e8_z.jpg", "4782628554_668bc31826_z.jpg")]
    boxed = [model.mold(image) for image in images]
    stages = model.stages(boxed[:1])
    with h5py.File(path) as file, torch.inference_mode():
        expected = pyramid_by_hand(file, model.tensor([boxed[0].image]), (3, 4, 23, 3))
    for ours, theirs in zip(stages.pyramid, expected, strict=False):
        assert (ours - theirs).abs().max() <= 1e-4
    assert torch.equal(stages.pyramid[4], stages.pyramid[3][:, :, ::2, ::2])
    for one, two in zip(model.detect(images), model.changed(images_per_gpu=2).detect(images), strict=True):
        assert len(one["rois"]) > 0
        assert np.array_equal(one["class_ids"], two["class_ids"]) and np.array_equal(one["rois"], two["rois"])
        assert np.abs(one["scores"] - two["scores"]).max() <= 1e-4
        assert np.mean(one["masks"] != two["masks"]) <= 1e-4


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_guide_runs(weights: Path, tmp_path: Path) -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "matterport.md"
    text = guide.read_text().replace("0.71", "0.8")  # so that something goes
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "mask_rcnn_coco.h5").symlink_to(weights)
    (tmp_path / "photo.jpg").write_bytes((MATTERPORT / "photos" / "3132016470_c27baa00e8_z.jpg").read_bytes())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scores = document("resnet50_3132016470.json")["detect"]["scores"]
    surer = sum(score >= 0.8 for score in scores)
    assert 0 < surer < len(scores)
    assert "resnet50 81 person" in done.stdout
    assert f"{len(scores)} objects before, {surer} after" in done.stdout
    assert done.stdout.count("gone:") == len(scores) - surer
    assert {"first.png", "surer.png", "runs.png", "weights.png", "mine.h5"} <= {
        path.name for path in tmp_path.iterdir()
    }
