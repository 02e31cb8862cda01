"""Mask R-CNN as ONNX: the file finds what torchvision's own model finds in pixels of any size, or there is no file."""

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
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

import segdata
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.demo.synthetic import objects
from segdata.deployment import description, detector, detector_file, verification
from segdata.deployment.photos import photos as photos_of
from segdata.deployment.sessions import session
from segdata.errors import InvalidInput, UsageError
from segdata.models import registry
from segdata.models.contract import Prediction
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.model import Detector
from segdata.training.predict import load
from tests.helpers.command import run_segdata
from tests.test_repository import ROOT

TRAINED = ROOT / "segdata/demo/weights/tables.json"
"""A small Mask R-CNN that finds objects on drawn tables."""

TINY: dict[str, Any] = {
    "backbone": "resnet18",
    "backbone_width": 0.125,
    "fpn_channels": 8,
    "box_head_size": 8,
    "mask_head_channels": 8,
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> segdata.Pack:
    folder = tmp_path_factory.mktemp("tables")
    objects.draw(folder / "tables", train=3, val=1, seed=11)
    segdata.convert(folder / "tables", folder / "pack")
    return segdata.open(folder / "pack")


@pytest.fixture(scope="module")
def exported(tables: segdata.Pack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    target = tmp_path_factory.mktemp("exported") / "tables.onnx"
    outcome = run_segdata(
        *("export", TRAINED, "-o", target, "--with-preprocessing", "--photos", tables.path, "--threads", 1, "--json")
    )
    assert outcome.code == 0, outcome.err
    return target, outcome.document


def sizes(pack: segdata.Pack) -> list[npt.NDArray[np.uint8]]:
    """Images that are taken as they are, made larger, and made smaller."""
    image = pack[0].image.copy()
    return [image, np.ascontiguousarray(image[20:121, 33:110]), image.repeat(2, 0).repeat(2, 1)[:301, :402].copy()]


def torchvisions(model: Detector, image: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
    """What torchvision's own forward finds, which resizes, detects and pastes masks by itself."""
    with torch.inference_mode():
        (detections,) = model.network([torch.from_numpy(image).permute(2, 0, 1).float() / 255])
    return dict(detections)


def test_the_file_finds_what_torchvision_finds_in_pixels_of_any_size(
    exported: tuple[Path, Any], tables: segdata.Pack
) -> None:
    target, document = exported
    runtime, model = onnxruntime.InferenceSession(target), load(TRAINED, device="cpu")
    assert isinstance(model, Detector)
    for image in sizes(tables):
        expected = torchvisions(model, image)
        boxes, labels, scores, masks = runtime.run(None, {"image": image})
        assert len(boxes) == len(expected["boxes"]) >= 2
        assert np.abs(boxes - expected["boxes"].numpy()).max() < 0.02
        assert (labels == expected["labels"].numpy() - 1).all() and labels.dtype == np.int64
        assert np.abs(scores - expected["scores"].numpy()).max() < 1e-4
        inside = expected["masks"][:, 0].numpy() >= 0.5
        assert masks.dtype == np.uint8 and masks.shape == inside.shape
        assert (masks != inside).sum() <= 0.001 * inside.sum() and inside.sum() > 100
    assert (document["model"], document["precision"], document["agreement"]) == ("maskrcnn", "float32", 1.0)
    assert document["objects"] > 20 and document["box_difference"] < 0.02 and document["mask_difference"] < 0.001
    assert document["bytes"] == target.stat().st_size and [path.name for path in target.parent.iterdir()] == [
        target.name
    ]


def test_an_image_without_objects_gives_empty_arrays(exported: tuple[Path, Any], tables: segdata.Pack) -> None:
    none = detector.with_threshold(onnx.load(exported[0]), 1)
    image = tables[1].image
    boxes, labels, scores, masks = session(none.SerializeToString()).run(None, {"image": image})
    assert boxes.shape == (0, 4) and labels.shape == scores.shape == (0,) and masks.shape == (0, *image.shape[:2])


def test_the_file_describes_itself(exported: tuple[Path, Any]) -> None:
    model = onnx.load(exported[0])
    onnx.checker.check_model(model)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    trained = json.loads(TRAINED.read_text())["content"]
    names = [category["name"] for category in trained["labels"]["categories"]]
    assert json.loads(properties["class_names"]) == names
    assert [entry["name"] for entry in json.loads(properties["output"])] == ["boxes", "labels", "scores", "masks"]
    shown = json.loads(properties["input"])
    assert (shown["dtype"], shown["shape"], shown["order"]) == ("uint8", "H W 3", "RGB")
    assert (shown["resize"]["min_size"], shown["resize"]["max_size"]) == (192, 256)
    assert properties["score_threshold"] == "0.05" and [entry.name for entry in model.graph.input] == ["image"]
    assert json.loads(properties["mean"]) == [0.485, 0.456, 0.406]
    assert properties["weights_sha256"] == trained["tensors"]["sha256"]
    assert properties["pack_fingerprint"] == trained["data"]


def test_without_preprocessing_images_are_normalised_and_masks_are_within_boxes(
    tables: segdata.Pack, tmp_path: Path
) -> None:
    report = segdata.export(TRAINED, tmp_path / "a.onnx", photos=tables)
    assert report.agreement == 1 and report.objects is not None and report.objects > 20
    runtime, model = onnxruntime.InferenceSession(tmp_path / "a.onnx"), load(TRAINED, device="cpu")
    assert isinstance(model, Detector)
    image = tables[2].image[:192, :256]  # as large as the network wants it, and a multiple of its stride
    mean, std = (np.array(values, np.float32) for values in (model.config.mean, model.config.std))
    normalised = ((image.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
    boxes, labels, scores, masks = runtime.run(None, {"image": np.ascontiguousarray(normalised)})
    expected = model([image.copy()])[0]
    assert (labels == expected.category).all() and np.abs(scores - expected.score).max() < 1e-4
    assert np.abs(boxes - expected.boxes).max() < 0.01
    assert masks.shape == (len(boxes), 28, 28) and masks.dtype == np.float32 and 0 <= masks.min() < masks.max() <= 1


def test_classes_to_leave_out_are_not_in_the_file(photos: Path) -> None:
    """As of COCO's 91 numbers, of which 80 are used."""
    config = Config(norm="batch", min_size=(64,), max_size=96, **TINY)
    network = registry.build("maskrcnn", 4, **config.as_dict())
    assert isinstance(network, MaskRCNN)
    labels = LabelSpace.of(["cat", "dog", "cow"])
    model = Detector(network, config, labels, categories=np.array([2, -1, 0, -1]))
    known = description.of_source("torchvision:coco-v1")
    images = photos_of(photos).images
    exported = detector_file.of(model, "maskrcnn", known, images, with_preprocessing=True)
    assert exported.agreement == 1 and exported.objects is not None and exported.objects > 20
    properties = {entry.key: entry.value for entry in onnx.load_model_from_string(exported.data).metadata_props}
    assert json.loads(properties["class_names"]) == ["cow", "cat"]
    assert properties["began_with"] == "torchvision:coco-v1" and "BSD-3-Clause" in properties["began_with_licence"]
    (output,) = session(exported.data).run(["labels"], {"image": images[0]})
    assert [[2, 0][label] for label in output] == model([images[0]])[0].category.tolist() and len(output) > 5


def test_a_file_that_detects_otherwise_is_not_written(
    tables: segdata.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = detector._scaled_size
    monkeypatch.setattr(detector, "_scaled_size", lambda image, config: right(image, config) - 9)
    with pytest.raises(InvalidInput, match="does not predict what the trained one does") as refused:
        segdata.export(TRAINED, tmp_path / "a.onnx", photos=tables, with_preprocessing=True)
    assert "on 3 photos" in str(refused.value.why) and not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(
    make_run: Callable[..., Path], tables: segdata.Pack, tmp_path: Path
) -> None:
    def to_infinity(network: nn.Module) -> None:
        network.roi_heads.box_predictor.cls_score.weight.fill_(1e38)  # type: ignore[union-attr, operator]

    run = make_run("maskrcnn", to_infinity, norm="batch", min_size=(64,), max_size=96, **TINY)
    with pytest.raises(InvalidInput, match="weights that have diverged"):
        segdata.export(run, tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="no maskrcnn in int8"):
        segdata.export(run, tmp_path / "a.onnx", quantise=tables)
    (tmp_path / "a.h5").write_bytes(b"not looked at")
    with pytest.raises(UsageError, match="no export of matterport"):
        segdata.export(tmp_path / "a.h5", tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_padding_to_a_fixed_size_is_in_the_file(make_run: Callable[..., Path], photos: Path, tmp_path: Path) -> None:
    run = make_run("maskrcnn", norm="batch", min_size=(64,), max_size=96, fixed_size=True, **TINY)
    report = segdata.export(run, tmp_path / "a.onnx", photos=photos, with_preprocessing=True)
    assert report.agreement == 1 and report.objects is not None and report.objects > 20


def detected(*rows: tuple[int, float, int]) -> Prediction:
    """Objects with boxes of 4 × 4 pixels: category, score and x of each."""
    masks = [np.zeros((10, 40), np.uint8) for _ in rows]
    for mask, (_, _, x) in zip(masks, rows, strict=True):
        mask[2:6, x : x + 4] = 1
    instances = Instances.build(
        [category for category, _, _ in rows],
        Masks.from_dense(np.array(masks).reshape(-1, 10, 40)),
        score=[score for _, score, _ in rows],
        bbox=[(x, 2, 4, 4) for _, _, x in rows],
    )
    return Prediction(instances)


def test_objects_are_paired_by_category_score_and_box() -> None:
    one = detected((0, 0.9, 0), (1, 0.8, 10), (0, 0.7, 20), (0, 0.502, 30))
    other = detected((0, 0.9, 0), (0, 0.8, 10), (0, 0.701, 21))
    paired = verification.paired([one], [other], 0.5)
    # One pair; another category, a box one pixel off, and one near the threshold, which needs no partner.
    assert paired.objects == 4 and paired.agreement == pytest.approx(1 - 4 / 7)
    assert paired.box_difference == paired.mask_difference == 0
    with pytest.raises(InvalidInput, match="does not predict") as refused:
        verification.require_paired(paired, [], "run")
    assert "57.14% of the objects have no equal one; 2% may" in str(refused.value.why)
    assert verification.paired([detected()], [detected()], 0.5) == verification.Paired(0, 1, 0, 0)


def test_masks_of_partners_are_compared() -> None:
    one, other = detected((0, 0.9, 0)), detected((0, 0.9, 0))
    assert other.instances is not None
    dense = other.instances.masks.dense()
    dense[0, 5, 3] = 0
    smaller = Instances.build([0], Masks.from_dense(dense), score=[0.9], bbox=[(0, 2, 4, 4)])
    paired = verification.paired([one], [Prediction(smaller)], 0.5)
    assert paired[:3] == (1, 1, 0) and paired.mask_difference == pytest.approx(1 / 16)
    with pytest.raises(InvalidInput) as refused:
        verification.require_paired(paired, [], "run")
    assert "6.25% of the masks' pixels differ; 0.5% may" in str(refused.value.why)
