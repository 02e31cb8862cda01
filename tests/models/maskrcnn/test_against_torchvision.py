"""The model against torchvision: same weights and images → same detections and losses."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from torch.overrides import TorchFunctionMode
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.ops import FrozenBatchNorm2d

from segdata.core import images
from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.loading.crops import CropTransform
from segdata.models.contract import Losses
from segdata.models.maskrcnn import augment, detect, losses, targets, weights
from segdata.models.maskrcnn import network as maskrcnn
from segdata.models.maskrcnn.augment import TrainSample
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.model import Detector
from segdata.training import predict
from tests.helpers.samples import SAMPLES, needs_samples


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def photo(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Smooth colours, so that scaling matters and a few pixels do not decide."""
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, width // 8)))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (fine[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()


def ellipses(rng: np.random.Generator, count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(count, height, width) overlapping rings: ellipses with a hole."""
    rows, columns = np.mgrid[:height, :width]
    planes = []
    for _ in range(count):
        y, x = rng.uniform(0.2, 0.8, 2) * (height, width)
        b, a = rng.uniform(0.12, 0.4, 2) * (height, width)
        distance = ((rows - y) / b) ** 2 + ((columns - x) / a) ** 2
        planes.append((distance <= 1) & (distance > 0.1))
    return np.array(planes, np.uint8)


def item(
    image: npt.NDArray[np.uint8], masks: npt.NDArray[np.uint8], labels: list[int], transform: CropTransform, seed: int
) -> TrainSample:
    """A training image as the Loader's transform makes it."""
    runs = Masks.from_dense(masks)
    crops = [np.ascontiguousarray(crop).reshape(-1) for crop in runs.crops()]
    x0, y0, x1, y1 = transform.window
    return TrainSample(
        image[y0:y1, x0:x1],
        transform,
        transform.boxes(runs.boxes),
        np.array(labels, np.int64),
        runs.boxes_xywh.astype(np.int64),
        np.concatenate(crops),
        seed,
    )


@pytest.mark.parametrize(
    ("size", "scaled", "mirrored"),
    [
        ((90, 120), (90, 120), False),
        ((90, 120), (133, 178), False),
        ((90, 120), (60, 81), True),
        ((90, 121), (180, 242), True),
    ],
)
def test_mask_targets_are_those_of_dense_masks(size: Any, scaled: Any, mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    masks = ellipses(rng, 4, *size)
    view = CropTransform((0, 0, size[1], size[0]), scaled[0], scaled[1], mirrored)
    one = item(np.zeros((*size, 3), np.uint8), masks, [1] * 4, view, 0)
    corners = rng.uniform(-0.1, 1.1, (40, 2, 2)) * (scaled[1], scaled[0])
    boxes = torch.from_numpy(np.concatenate((corners.min(1), corners.max(1)), axis=1).astype(np.float32))
    owner = torch.from_numpy(rng.integers(0, 4, 40))
    dense = torch.from_numpy(masks[:, :, ::-1].copy() if mirrored else masks)
    dense = torch.nn.functional.interpolate(dense[:, None].float(), scaled)[:, 0]
    expected = torchvision.models.detection.roi_heads.project_masks_on_boxes(dense, boxes, owner, 28)
    assert expected.amax() > 0.9
    torch.testing.assert_close(targets.mask_targets(one, boxes, owner, 28), expected, atol=1e-5, rtol=0)


def test_a_window_gives_the_targets_of_the_cropped_masks() -> None:
    rng = np.random.default_rng(1)
    masks = ellipses(rng, 3, 80, 100)
    view = CropTransform((13, 7, 83, 67), 90, 105, True)
    one = item(np.zeros((80, 100, 3), np.uint8), masks, [1] * 3, view, 0)
    boxes = torch.tensor([[0.0, 0, 105, 90], [20.3, 11.2, 77.7, 61], [50, 3, 104, 40]])
    owner = torch.tensor([0, 1, 2])
    dense = torch.from_numpy(masks[:, 7:67, 13:83][:, :, ::-1].copy())[:, None].float()
    dense = torch.nn.functional.interpolate(dense, (90, 105))[:, 0]
    expected = torchvision.models.detection.roi_heads.project_masks_on_boxes(dense, boxes, owner, 28)
    torch.testing.assert_close(targets.mask_targets(one, boxes, owner, 28), expected, atol=1e-5, rtol=0)


SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "fpn_channels": 32,
    "box_head_size": 64,
    "mask_head_channels": 32,
    "min_size": (160,),
    "max_size": 224,
    "norm": "batch",
    "anchor_sizes": (16.0, 32.0, 64.0, 128.0, 256.0),
}


def small(**values: Any) -> Config:
    """The smallest model of the family."""
    return Config().changed(**{**SMALL, **values})


EVERYTHING: dict[str, Any] = {"rpn_anchors_per_image": 10**7, "rois_per_image": 10**7, "roi_positive_ratio": 0.5}
"""Nothing is left out by chance, so that torchvision's sampling and ours agree."""


class Example(NamedTuple):
    """Two images with objects, as photos with dense masks and as items."""

    photos: list[npt.NDArray[np.uint8]]
    given: list[dict[str, torch.Tensor]]
    items: list[TrainSample]

    def losses(self, model: MaskRCNN, config: Config) -> Losses:
        transforms, photos = [one.transform for one in self.items], [one.pixels for one in self.items]
        batch = augment.to_batch(photos, transforms, config, torch.device("cpu"))
        return losses.losses(model, batch, self.items, config)


def example(config: Config) -> Example:
    rng = np.random.default_rng(2)
    made = Example([photo(rng, 120, 160), photo(rng, 150, 130)], [], [])
    masks = [ellipses(rng, 3, 120, 160), ellipses(rng, 2, 150, 130)]
    for one, planes, names in zip(made.photos, masks, [[1, 2, 3], [3, 1]], strict=True):
        height, width = one.shape[:2]
        scaled_height, scaled_width = augment.scaled_size(height, width, config)
        transform = CropTransform((0, 0, width, height), scaled_height, scaled_width)
        made.items.append(item(one, planes, names, transform, 5))
        boxes = torch.from_numpy(Masks.from_dense(planes).boxes.astype(np.float32))
        made.given.append({"boxes": boxes, "labels": torch.tensor(names), "masks": torch.from_numpy(planes)})
    return made


@pytest.mark.parametrize("heads", ["v1", "v2"])
def test_losses_are_torchvisions(heads: str) -> None:
    config = small(heads=heads, **EVERYTHING)
    model = maskrcnn.build(config, 3).train()
    two = example(config)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model([torch.from_numpy(one).permute(2, 0, 1) / 255 for one in two.photos], two.given)
    model.load_state_dict(state)
    losses_of_ours = two.losses(model, config)
    values = dict(zip(losses.NAMES, (losses_of_ours.sums / losses_of_ours.counts).tolist(), strict=True))
    theirs = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
    for ours, name in zip(losses.NAMES, theirs, strict=True):
        assert values[ours] == pytest.approx(expected[name].item(), abs=1e-4), ours
        assert values[ours] > 0


def test_iou_balanced_moves_the_classification_loss_to_boxes_that_fit() -> None:
    """Weights as Wu et al. 2019 define them, from torchvision's decoded boxes and their IoU; the loss itself stays."""
    plain, config = small(norm="group", **EVERYTHING), small(norm="group", iou_balanced=1.5, **EVERYTHING)
    model = maskrcnn.build(config, 3).train()
    two, heads = example(config), model.roi_heads
    seen: dict[str, Any] = {}
    heads.box_roi_pool.register_forward_hook(lambda _, inputs, __: seen.update(rois=inputs[1]))
    heads.box_predictor.register_forward_hook(lambda _, __, outputs: seen.update(outputs=outputs))
    values = [two.losses(model, each).sums.tolist() for each in (plain, config)]
    assert (
        values[1] == pytest.approx(values[0], rel=1e-5)
        and values[1][:2] + values[1][3:] == values[0][:2] + values[0][3:]
    )

    (gradient,) = torch.autograd.grad(two.losses(model, config).sums[2], (scores := seen["outputs"][0]))
    decoded = heads.box_coder.decode(seen["outputs"][1], seen["rois"]).split([len(boxes) for boxes in seen["rois"]])
    labels, overlaps = [], []
    for boxes, predicted, one in zip(seen["rois"], decoded, two.items, strict=True):
        truth = augment.ground_truth(one, torch.device("cpu"))
        iou, match = torchvision.ops.box_iou(boxes, truth["boxes"]).max(1)
        labels.append(torch.where(iou >= config.roi_positive_iou, truth["labels"][match], 0))
        of_label = predicted[torch.arange(len(boxes)), labels[-1]]
        overlaps.append(torchvision.ops.box_iou(of_label, truth["boxes"])[torch.arange(len(boxes)), match])
    label, power = torch.cat(labels), torch.cat(overlaps) ** 1.5
    entropy = torch.nn.functional.cross_entropy(scores, label, reduction="none")
    share = entropy[label > 0].sum() / (entropy * power)[label > 0].sum()
    expected = (scores.softmax(1) - torch.eye(4)[label]) * torch.where(label > 0, power * share, 1.0)[:, None]
    assert (label > 0).sum() > 10 and (power * share)[label > 0].std() > 0.1
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)


class Waits(TorchFunctionMode):
    """Counts where the processor reads what a device has calculated: there, with a GPU, it waits."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", str(function))
        reads = {"tolist", "item", "__bool__", "__int__", "__float__", "__index__", "nonzero", "nms", "unique"}
        if name in reads | {"masked_select", "bincount", "cpu", "numpy", "equal", "repeat_interleave"}:
            self.found[name] += 1
        if name == "where" and len(args) == 1:
            self.found["nonzero"] += 1
        keys = args[1] if name in ("__getitem__", "__setitem__") else ()
        for key in keys if isinstance(keys, tuple) else (keys,):
            self.found["nonzero"] += isinstance(key, torch.Tensor) and key.dtype == torch.bool
        return function(*args, **(kwargs or {}))


def test_rows_that_fill_up_change_no_loss_and_save_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU calculates with, on a CPU: samples of one size, and few places where the processor waits."""
    config = small(rois_per_image=128, rpn_anchors_per_image=64, pre_nms_limit_training=30, norm="group")
    model = maskrcnn.build(config, 3).train()
    two = example(config)
    expected = two.losses(model, config)
    torch.autograd.backward(expected.sums.sum())
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    monkeypatch.setattr(targets, "has_fixed_size", lambda device: True)
    with Waits() as waits:
        losses_of_ours = two.losses(model, config)
    torch.autograd.backward(losses_of_ours.sums.sum())
    assert losses_of_ours.counts.tolist() == expected.counts.tolist()
    assert losses_of_ours.counts[2] < 256, "nothing was filled up"
    torch.testing.assert_close(losses_of_ours.sums, expected.sums, rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name in gradients:
            assert parameter.grad is not None
            torch.testing.assert_close(
                parameter.grad, gradients[name], rtol=1e-3, atol=1e-4 * gradients[name].abs().amax()
            )
    # of each image: proposals of some size, those that survive, the extent of mask targets; of all: regions by level
    assert waits.found == {"nonzero": 2 + 2 * 4, "nms": 2, "tolist": 2}, waits.found


def check_detections(theirs: MaskRCNN, ours: MaskRCNN, config: Config, photos: list[Any], least: int) -> int:
    with torch.inference_mode():
        expected = theirs([torch.from_numpy(one).permute(2, 0, 1) / 255 for one in photos])
    categories = np.arange(len(ours.roi_heads.box_predictor.cls_score.bias) - 1)
    predictions = detect.detect(ours, photos, config, categories)
    detections = [prediction.instances for prediction in predictions if prediction.instances is not None]
    for one, wanted in zip(detections, expected, strict=True):
        assert len(one) >= least
        np.testing.assert_array_equal(one.category + 1, wanted["labels"].numpy())
        check_same(one, wanted)
    return sum(map(len, detections))


def check_same(detections: Instances, wanted: dict[str, torch.Tensor]) -> None:
    """Scores, boxes and masks of one photo."""
    assert len(detections) == len(wanted["scores"])
    np.testing.assert_allclose(detections.score, wanted["scores"].numpy(), atol=1e-5)
    np.testing.assert_allclose(detections.boxes, wanted["boxes"].numpy(), atol=1e-3)
    masks = (wanted["masks"][:, 0] >= 0.5).numpy()
    assert 0 < masks.mean() < 1
    assert (detections.masks.dense() != masks).mean() < 1e-6


def test_detections_of_the_small_model_are_torchvisions() -> None:
    config = small(detection_min_confidence=0.2)
    model = maskrcnn.build(config, 3).eval()
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.normal_(std=0.5)
        model.roi_heads.mask_predictor.mask_fcn_logits.weight.normal_(std=0.3)
    rng = np.random.default_rng(4)
    check_detections(model, model, config, [photo(rng, 120, 200), photo(rng, 190, 104)], 5)


SIZES: dict[str, Any] = {"min_size": 128, "max_size": 200, "box_detections_per_img": 24}


def first_model(**settings: Any) -> MaskRCNN:
    """`maskrcnn_resnet50_fpn` as it is with its published weights: norms are frozen, with an epsilon of 0."""
    detection = torchvision.models.detection
    body = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    model = MaskRCNN(detection.backbone_utils._resnet_fpn_extractor(body, 3), 91, **settings)
    detection._utils.overwrite_eps(model, 0.0)
    return model


def published(heads: str) -> MaskRCNN:
    """Torchvision's model as its published weights are made for, with random weights that see many objects."""
    torch.manual_seed(3)
    second = torchvision.models.detection.maskrcnn_resnet50_fpn_v2
    model = first_model(**SIZES) if heads == "v1" else second(weights=None, weights_backbone=None, **SIZES)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (FrozenBatchNorm2d, torch.nn.BatchNorm2d)):
                assert module.running_var is not None and module.running_mean is not None
                variance = torch.rand(len(module.running_var)) * 1e-3 + 1e-4  # so small that an epsilon counts
                module.running_var.copy_(variance)
                module.weight.copy_(variance.sqrt() * (1 + 0.1 * torch.randn(len(variance))))
                module.running_mean.normal_(std=1e-3)
    heads_of = model.eval().roi_heads
    hooks = [
        module.register_forward_hook(partial(scaled_to, spread))
        for module, spread in (
            (heads_of.box_predictor.cls_score, 2.0),
            (heads_of.box_predictor.bbox_pred, 0.5),
            (heads_of.mask_predictor.mask_fcn_logits, 2.0),
        )
    ]
    with torch.inference_mode():
        model([torch.from_numpy(photo(np.random.default_rng(1), 160, 200)).permute(2, 0, 1) / 255])
    for hook in hooks:
        hook.remove()
    return model


def scaled_to(spread: float, module: torch.nn.Module, _: Any, out: torch.Tensor) -> torch.Tensor:
    """Give a layer weights with which its output has this spread: scores of all sizes, and few that are equal."""
    factor = spread / out.std()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor)
    return out * factor


@pytest.mark.parametrize("heads", ["v1", pytest.param("v2", marks=pytest.mark.full)])
def test_a_file_of_torchvisions_weights_detects_what_torchvision_detects(heads: str, tmp_path: Path) -> None:
    theirs = published(heads)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    settings: dict[str, Any] = {"min_size": [128], "max_size": 200, "detection_max_instances": 24}
    ours = predict.load(tmp_path / "weights.pth", device="cpu", **settings)
    assert isinstance(ours, Detector) and (ours.config.backbone, ours.config.heads) == ("resnet50", heads)
    rng = np.random.default_rng(5)
    photos = [photo(rng, 120, 160), photo(rng, 240, 176), photo(rng, 200, 360)]
    ids = [category.id for category in ours.labels.categories]  # torchvision's labels are COCO's numbers
    with torch.inference_mode():
        expected = theirs([torch.from_numpy(one).permute(2, 0, 1) / 255 for one in photos])
    for detections, wanted in zip(ours(photos), expected, strict=True):
        named = np.isin(wanted["labels"].numpy(), ids)
        assert len(detections) == named.sum() >= 20
        assert np.array(ids)[detections.category].tolist() == wanted["labels"][named].tolist()
        assert len(np.unique(detections.score)) == len(detections) and detections.score.max() < 0.999
        check_same(detections, {name: values[named] for name, values in wanted.items()})


@pytest.mark.full
@pytest.mark.skipif("SEGDATA_TORCHVISION_WEIGHTS" not in os.environ, reason="SEGDATA_TORCHVISION_WEIGHTS names no file")
@needs_samples
def test_detections_of_trained_weights_are_torchvisions() -> None:
    """On real photos, with a file of maskrcnn_resnet50_fpn's published weights."""
    file = os.environ["SEGDATA_TORCHVISION_WEIGHTS"]
    theirs = first_model()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    ours = maskrcnn.build(Config(), 90).eval()
    assert weights.put(weights.read(file), ours) == []
    photos = [images.decode(path.read_bytes()) for path in sorted((SAMPLES / "coco" / "val2017").glob("*.jpg"))[:8]]
    assert check_detections(theirs.eval(), ours, Config(), photos, 1) >= 20 * len(photos)
