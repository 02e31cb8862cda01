"""Exported files: ONNX Runtime gives what the network gives, at any size; what does not is refused and leaves no file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import segdata
from segdata.deployment import semantic
from segdata.deployment.sessions import session
from segdata.deployment.tracing import quietly
from segdata.errors import InvalidInput, LabelMismatch, NotThere, UsageError
from segdata.training.predict import load
from tests.deployment.conftest import LABELS
from tests.helpers.command import run_segdata

MEAN, STD = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)


def images(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)


def logits_of(run: Path, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    network = load(run, device="cpu").network  # type: ignore[attr-defined]
    normalised = ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(normalised)).numpy())


@pytest.fixture(scope="module")
def plain(unet: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    target = tmp_path_factory.mktemp("plain") / "new" / "model.onnx"
    outcome = run_segdata("export", unet, "-o", target, "--photos", photos, "--threads", 1, "--json")
    assert outcome.code == 0, outcome.err
    return target, outcome.document


def test_the_file_gives_the_networks_logits_for_any_number_and_size(plain: tuple[Path, Any], unet: Path) -> None:
    target, document = plain
    session = onnxruntime.InferenceSession(target)
    for shape in ((1, 64, 64), (3, 61, 47), (2, 96, 33)):
        pixels = images(*shape)
        normalised = ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
        (got,) = session.run(["logits"], {"images": normalised})
        assert np.abs(got - logits_of(unet, pixels)).max() < 1e-4
    assert document["ok"] and document["bytes"] == target.stat().st_size
    assert (document["model"], document["photos"], document["agreement"]) == ("unet", 3, 1.0)
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]


def test_the_file_describes_itself(plain: tuple[Path, Any]) -> None:
    model = onnx.load(plain[0])
    onnx.checker.check_model(model)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["class_names"]) == ["sky", "road", "car"]
    assert json.loads(properties["classes"])[:2] == [
        {"output": 0, "category": 0, "name": "sky", "id": 3, "color": [10, 20, 30]},
        {"output": 1, "category": 2, "name": "road", "id": 7, "color": [1, 2, 3]},
    ]
    assert json.loads(properties["ignored_categories"]) == ["Void"] and properties["void"] == "255"
    assert json.loads(properties["mean"]) == [0.485, 0.456, 0.406]
    assert json.loads(properties["std"]) == [0.229, 0.224, 0.225]
    shown = json.loads(properties["input"])
    assert (shown["order"], shown["shape"], shown["dtype"]) == ("RGB", "N 3 H W", "float32")
    assert (properties["model"], properties["pack_fingerprint"]) == ("unet", "abc-1")
    assert properties["began_with"] == "torchvision:imagenet" and "BSD-3-Clause" in properties["began_with_licence"]
    assert json.loads(properties["settings"])["width"] == 4


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unet", {"width": 4, "padded": False}),
        ("fastfcn", {"head": "psp", "backbone": "resnet18", "backbone_width": 0.125, "jpu_channels": 8}),
        ("smp:pspnet", {"backbone": "resnet18"}),
    ],
)
def test_mirrored_borders_and_pools_to_a_grid_are_for_images_of_any_size(
    make_run: Callable[..., Path], tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    if name.startswith("smp:"):
        pytest.importorskip("segmentation_models_pytorch")
    run = make_run(name, **settings)
    assert segdata.export(run, tmp_path / "model.onnx").agreement > 0.999
    for shape in ((2, 61, 47), (1, 96, 130)):
        pixels = images(*shape)
        normalised = ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
        (got,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["logits"], {"images": normalised})
        assert np.abs(got - logits_of(run, pixels)).max() < 1e-4


@pytest.mark.parametrize("size", [7, 12, 31])
def test_a_pool_to_a_grid_is_that_of_pytorch(size: int) -> None:
    values = torch.rand(2, 3, size, size + 2, generator=torch.Generator().manual_seed(0))
    for rows, columns in ((1, 2), (3, 6), (5, 4)):
        expected = nn.functional.adaptive_avg_pool2d(values, (rows, columns))
        assert (semantic._GridPool(rows, columns)(values) - expected).abs().max() < 1e-6


def test_with_preprocessing_pixels_become_categories(unet: Path, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    report = segdata.export(unet, target, photos=photos, with_preprocessing=True)
    session = onnxruntime.InferenceSession(target)
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.type, taken.shape) == ("tensor(uint8)", ["N", "H", "W", 3]) and given.type == "tensor(uint8)"
    pixels = images(2, 61, 47)
    (got,) = session.run(["labels"], {"images": pixels})
    expected = np.array([0, 2, 3])[logits_of(unet, pixels).argmax(1)]
    assert got.shape == (2, 61, 47) and (got == expected).mean() > 0.999
    assert report.agreement > 0.999 and set(np.unique(got)) <= {0, 2, 3} and len(np.unique(got)) > 1


def test_a_file_that_labels_otherwise_is_not_written(
    make_run: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    def of_equal_classes(network: nn.Module) -> None:
        """Which class is larger depends on the last bit alone, which is another one in another program."""
        last = network.last
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        last.weight[1:] = last.weight[:1] * torch.tensor([1 + 2e-7, 1 - 2e-7])[:, None, None, None]
        last.bias[:] = 0

    run = make_run("unet", of_equal_classes, width=4)
    with pytest.raises(InvalidInput, match="does not predict what the trained one does") as refused:
        segdata.export(run, tmp_path / "model.onnx", photos=photos)
    assert "of 3 photos differ; 0.1% may" in str(refused.value.why)
    assert not list(tmp_path.iterdir())


def test_weights_that_have_diverged_are_refused(make_run: Callable[..., Path], photos: Path, tmp_path: Path) -> None:
    def to_infinity(network: nn.Module) -> None:
        network.last.weight.fill_(1e38)  # type: ignore[union-attr, operator]

    with pytest.raises(InvalidInput, match="weights that have diverged"):
        segdata.export(make_run("unet", to_infinity, width=4), tmp_path / "model.onnx", photos=photos)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused_before_any_work(unet: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "there.onnx").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists") as refused:
        segdata.export(unet, tmp_path / "there.onnx")
    assert "--force" in str(refused.value.fix) and (tmp_path / "there.onnx").read_bytes() == b"mine"
    for name, reason in (
        ("model.pte", "ExecuTorch"),
        ("model.mlpackage", "macOS"),
        ("model.tflite", r"works is \.onnx"),
    ):
        with pytest.raises(UsageError, match=rf"(?s)cannot be written as {name}.*{reason}"):
            segdata.export(unet, tmp_path / name)
    with pytest.raises(NotThere):
        segdata.export(tmp_path / "nowhere", tmp_path / "a.onnx")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "0.png").write_bytes((photos / "0.png").read_bytes())
    with pytest.raises(UsageError, match="compared on 3 photos"):
        segdata.export(unet, tmp_path / "a.onnx", photos=tmp_path / "few")
    outcome = run_segdata("export", unet, "-o", tmp_path / "a.txt")
    assert outcome.code == 2 and "endings that work are .onnx\n" in outcome.err
    outcome = run_segdata("export", unet, "-o", tmp_path / "a.pte")
    assert outcome.code == 2 and "docs/export.md has the lines" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "there.onnx"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> segdata.Pack:
    """Five images of smooth colours with label maps of three classes, and void."""
    rng = np.random.default_rng(5)
    samples = []
    for number in range(5):
        coarse = rng.integers(0, 256, (7, 9, 3), np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((80, 64), Image.Resampling.BICUBIC))
        label_map = np.array([0, 2, 3, 255], np.uint8)[rng.integers(0, 4, (64, 80))]
        samples.append(segdata.Sample.build(f"{number}", image, semantic=label_map))
    folder = tmp_path_factory.mktemp("calibration") / "pack"
    segdata.write(samples, folder, labels=LABELS)
    return segdata.open(folder)


def test_in_int8_the_file_is_smaller_and_judged(
    make_run: Callable[..., Path], pack: segdata.Pack, tmp_path: Path
) -> None:
    run = make_run("unet", width=8)
    report = segdata.export(run, tmp_path / "int8.onnx", quantise=pack, with_preprocessing=True)
    assert report.precision == "int8" and 0.97 <= report.agreement < 1
    assert report.judged == 5 and report.miou_before is not None and report.miou_after is not None
    assert abs(report.miou_before - report.miou_after) < 0.05
    model = onnx.load(tmp_path / "int8.onnx")
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
    assert report.bytes < 0.35 * sum(value.numel() * 4 for value in load(run, device="cpu").network.parameters())  # type: ignore[attr-defined]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["precision"] == "int8" and "onnx.quant.pre_process" not in properties
    pixels = images(2, 61, 47)
    (got,) = onnxruntime.InferenceSession(tmp_path / "int8.onnx").run(["labels"], {"images": pixels})
    assert got.shape == (2, 61, 47) and got.dtype == np.uint8


def test_a_pack_of_other_categories_is_no_calibration(unet: Path, pack: segdata.Pack, tmp_path: Path) -> None:
    other = segdata.LabelSpace("other", (segdata.Category("sky", 1), segdata.Category("sea", 2)))
    segdata.write(
        [segdata.Sample.build("0", pack[0].image, semantic=np.zeros((64, 80), np.uint8))],
        tmp_path / "pack",
        labels=other,
    )
    with pytest.raises(LabelMismatch, match="calibrate"):
        segdata.export(unet, tmp_path / "int8.onnx", quantise=tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_what_onnx_runtime_refuses_is_an_error_with_its_reason() -> None:
    with pytest.raises(InvalidInput, match="the network unet cannot be exported") as refused:
        quietly(lambda: session(b"no model"), "unet", "run")
    assert "protobuf parsing failed" in str(refused.value.why)
