"""A Mask R-CNN as an ONNX graph, and such a graph as a predictor.

PyTorch's exporter from `torch.export` cannot follow NMS, which keeps a number of boxes that depends on their values; the
older one, from a trace, can.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx.operators import shape_as_tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks
from torchvision.models.detection.transform import resize_boxes

from segdata.core.masks import Masks
from segdata.deployment.sessions import session
from segdata.loading.crops import CropTransform
from segdata.models.contract import Image, Prediction
from segdata.models.maskrcnn import detect
from segdata.models.maskrcnn.augment import STRIDE, scaled_size, to_batch
from segdata.models.maskrcnn.config import Config

EXAMPLE = (154, 186)
"""Height and width of the image with which a graph is traced; it is for images of any size."""

OPSET = 17
"""What the older exporter goes up to with certainty; RoIAlign needs 16."""

OUTPUTS = ("boxes", "labels", "scores", "masks")

_THRESHOLD = "score_threshold"
"""Name of a constant of the graph."""


class Graph(nn.Module):
    """A Mask R-CNN as other programs call it, on one image.

    Args:
        categories: the category of each of the network's classes from 1 on, −1 for classes to leave out.
        with_preprocessing: (H, W, 3) uint8 RGB → `masks` (K, H, W) uint8 of 0 and 1; else (3, H, W) float32, normalised and
            resized → `masks` (K, M, M) float32 probabilities within the boxes. Both: `boxes` (K, 4) float32 x0 y0 x1 y1 in
            pixels of what came in, `labels` (K,) int64 from 0 on, −1 left out, and `scores` (K,) float32, highest first.
    """

    mean: Tensor
    std: Tensor
    output: Tensor

    def __init__(
        self, network: MaskRCNN, config: Config, categories: npt.NDArray[np.int64], *, with_preprocessing: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.with_preprocessing = with_preprocessing
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(config, name))[:, None, None])
        is_counted = np.asarray(categories) >= 0
        self.register_buffer("output", torch.from_numpy(np.where(is_counted, np.cumsum(is_counted) - 1, -1)))
        self.has_gaps = not bool(is_counted.all())

    def forward(self, image: Tensor, score_threshold: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes, labels, scores and masks of the objects with more than a score, () float32."""
        if not self.with_preprocessing:
            boxes, labels, scores, masks = self._detected(image, score_threshold)
            return boxes, labels, scores, masks[:, 0]
        pixels = image.permute(2, 0, 1).to(torch.float32).div(255).sub(self.mean).div(self.std)
        size: Any = _scaled_size(image, self.config)
        resized = functional.interpolate(pixels[None], (size[0], size[1]), mode="bilinear", align_corners=False)[0]
        boxes, labels, scores, masks = self._detected(resized, score_threshold)
        boxes = resize_boxes(boxes, [size[0], size[1]], [image.shape[0], image.shape[1]])
        return boxes, labels, scores, _pasted(masks, boxes, image, self.config.mask_threshold)

    def _detected(self, image: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes, labels, scores and (K, 1, M, M) masks of a normalised image of the network's size."""
        height, width = image.shape[-2:]
        least = self.config.max_size if self.config.fixed_size or self.config.large_scale_jitter else 1
        sides = shape_as_tensor(image)[1:]
        border: Any = (sides.clamp(min=least) + STRIDE - 1) // STRIDE * STRIDE - sides
        padded = functional.pad(image[None], (0, border[1], 0, border[0]))
        heads = self.network.roi_heads
        features = self.network.backbone(padded)
        images = ImageList(padded, [(height, width)])
        proposals, _ = self.network.rpn(images, features)
        before, heads.score_thresh = heads.score_thresh, threshold
        try:
            (detections,), _ = heads(features, proposals, images.image_sizes)
        finally:
            heads.score_thresh = before
        labels = self.output[detections["labels"] - 1]
        columns = detections["boxes"], labels, detections["scores"], detections["masks"]
        if self.has_gaps:
            boxes, labels, scores, masks = (column[labels >= 0] for column in columns)
            return boxes, labels, scores, masks
        return columns


def _scaled_size(image: Tensor, config: Config) -> Tensor:
    """`augment.scaled_size` of an (H, W, 3) image as (2,) int64, in the same double precision, for any size."""
    sides = shape_as_tensor(image)[:2].to(torch.float64)
    limits = torch.tensor((config.min_size[-1], config.max_size), dtype=torch.float64)
    scale = torch.div(
        limits, torch.stack((sides.min(), sides.max()))
    ).min()  # number / tensor would multiply by 1 / tensor
    return (sides * scale.clamp(min=config.min_scale)).floor().clamp(min=1).to(torch.int64)


def _pasted(masks: Tensor, boxes: Tensor, image: Tensor, threshold: float) -> Tensor:
    """`detect.pasted` as (K, H, W) uint8, by two products of matrices in place of a loop over objects of any size."""
    padded, scale = expand_masks(masks, padding=1)
    corners: Tensor = expand_boxes(boxes, scale).to(torch.int64)
    axes = []
    for axis, low in ((0, 1), (1, 0)):
        begin, end = corners[:, low, None], corners[:, low + 2, None]
        size = (end - begin + 1).clamp(min=1)
        position = torch.arange(image.shape[axis], device=image.device)[None] - begin
        is_inside = (position >= 0) & (position < size)
        cells = padded.shape[-1]
        cell = ((position + 0.5) * (cells / size) - 0.5).clamp(min=0, max=cells - 1)
        share = (1 - (cell[..., None] - torch.arange(cells, device=image.device)).abs()).clamp(min=0)
        axes.append((share, is_inside))
    (rows, is_row), (columns, is_column) = axes
    whole = rows @ padded[:, 0] @ columns.transpose(1, 2)
    pasted: Tensor = (whole >= threshold) & is_row[:, :, None] & is_column[:, None, :]
    return pasted.to(torch.uint8)


def traced(graph: Graph) -> Any:
    """The graph as an `onnx.ModelProto` for an image of any size, with the score threshold of the settings."""
    import onnx

    if graph.with_preprocessing:
        example, axes = torch.zeros(*EXAMPLE, 3, dtype=torch.uint8), {0: "H", 1: "W"}
    else:
        example, axes = torch.zeros(3, *EXAMPLE), {1: "H", 2: "W"}
    masks = {0: "K", 1: "H", 2: "W"} if graph.with_preprocessing else {0: "K"}
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="segdata-export-") as folder:
        torch.onnx.export(
            graph.eval(),
            (example, torch.tensor(0.0)),
            Path(folder) / "traced.onnx",
            dynamo=False,
            opset_version=OPSET,
            input_names=["image", _THRESHOLD],
            output_names=list(OUTPUTS),
            dynamic_axes={"image": axes, **{name: {0: "K"} for name in OUTPUTS[:3]}, "masks": masks},
        )
        model = onnx.load(Path(folder) / "traced.onnx")
    model.graph.input.remove(next(entry for entry in model.graph.input if entry.name == _THRESHOLD))
    return with_threshold(model, graph.config.detection_min_confidence)


def with_threshold(model: Any, score: float) -> Any:
    """A graph that gives objects with more than a score."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    constants = changed.graph.initializer
    for constant in [constant for constant in constants if constant.name == _THRESHOLD]:
        constants.remove(constant)
    constants.append(onnx.numpy_helper.from_array(np.array(score, np.float32), _THRESHOLD))
    return changed


class OnnxDetector:
    """An exported Mask R-CNN: images → instances; see `contract.Predictor`.

    Args:
        data: the bytes of the file.
        categories: as `Graph` takes them.
    """

    def __init__(
        self, data: bytes, config: Config, categories: npt.NDArray[np.int64], *, with_preprocessing: bool
    ) -> None:
        self.config, self.with_preprocessing = config, with_preprocessing
        self._categories = categories[categories >= 0]
        self._session = session(data)

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """The instances of each image, one after the other."""
        return [self._prediction(image) for image in images]

    def _prediction(self, image: Image) -> Prediction:
        height, width = image.shape[:2]
        size = scaled_size(height, width, self.config)
        taken = image if self.with_preprocessing else _normalised(image, size, self.config)
        outputs = self._session.run(None, {"image": taken})
        boxes, labels, scores, masks = (torch.from_numpy(values) for values in outputs)
        if self.with_preprocessing:
            pasted = Masks.from_dense(masks.numpy())
        else:
            boxes = resize_boxes(boxes, list(size), [height, width])
            pasted = detect.pasted(masks[:, None], boxes, height, width, self.config.mask_threshold)
        return Prediction(detect.instances(self._categories[labels.numpy()], pasted, boxes, scores))


def _normalised(image: Image, size: tuple[int, int], config: Config) -> npt.NDArray[np.float32]:
    """(3, H, W) as a graph without preprocessing takes it."""
    height, width = image.shape[:2]
    batch = to_batch([image], [CropTransform((0, 0, width, height), *size, False)], config, torch.device("cpu"))
    return np.ascontiguousarray(batch.tensors[0, :, : size[0], : size[1]].numpy())
