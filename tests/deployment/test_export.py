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
from torch import nn

import segdata
from segdata.errors import InvalidInput, NotThere, UsageError
from segdata.training.predict import load
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
    with pytest.raises(UsageError, match=r"cannot be written as model\.pte"):
        segdata.export(unet, tmp_path / "model.pte")
    with pytest.raises(NotThere):
        segdata.export(tmp_path / "nowhere", tmp_path / "a.onnx")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "0.png").write_bytes((photos / "0.png").read_bytes())
    with pytest.raises(UsageError, match="compared on 3 photos"):
        segdata.export(unet, tmp_path / "a.onnx", photos=tmp_path / "few")
    outcome = run_segdata("export", unet, "-o", tmp_path / "a.txt")
    assert outcome.code == 2 and "endings that work are .onnx\n" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "there.onnx"]
