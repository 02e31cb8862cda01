"""A trained Mask R-CNN of Matterport's: images → detections, equal to the original's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.errors import UsageError
from segdata.models.contract import DIVERGED, Prediction, at_most, is_plausible
from segdata.models.matterport.boxes import generate_pyramid_anchors, norm_boxes
from segdata.models.matterport.config import Config, ModelConfig
from segdata.models.matterport.crops import LEVELS, crop_and_resize, levels_of
from segdata.models.matterport.detection import have_sizes, propose, refine, unmold
from segdata.models.matterport.layers import Layer, layers_of
from segdata.models.matterport.molding import Letterbox, mold_image, resize_image
from segdata.models.matterport.network import Network

STRIDES = (4, 8, 16, 32, 64)
"""Strides of P2 … P6 in pixels."""

_BUILT = (
    "top_down_pyramid_size",
    "fpn_classif_fc_layers_size",
    "pool_size",
    "mask_pool_size",
    "rpn_anchor_ratios",
    "rpn_anchor_stride",
)
"""Settings that the shapes of the weights depend on."""


@dataclass(frozen=True, eq=False)
class Stages:
    """All outputs of the network for N images of one size.

    Attributes:
        pyramid: feature maps P2 … P6, each (N, C, H / stride, W / stride).
        rpn_logits: (N, A, 2) background and object, of every anchor.
        rpn_deltas: (N, A, 4).
        proposals: (N, R, 4) normalised, highest scores first, padded with zeros.
        class_logits: (N, R, K), class 0 is the background.
        deltas: (N, R, K, 4).
        detections: for each image (D, 6): normalised box, class, score.
        masks: for each image (D, 28, 28), probability of the detection's class.
        are_plausible: (N,) bool, whether all numbers of each image are finite and overflow nowhere.
    """

    pyramid: list[Tensor]
    rpn_logits: Tensor
    rpn_deltas: Tensor
    proposals: Tensor
    class_logits: Tensor
    deltas: Tensor
    detections: list[Tensor]
    masks: list[Tensor]
    are_plausible: Tensor


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its settings; `segdata.models.matterport.load` makes one from a weights file.

    Attributes:
        network: the torch module with all weights.
        config: its settings.
        backbone: "resnet50" or "resnet101".
        labels: the classes; class k of the network is `labels[k − 1]`, 0 is the background.
        source: the name of the weights file.
        fresh: names of layers that were not read from a file.
        unused: names of layers in the file that the network does not have.
        remarks: what a user may want to know of the file, such as settings that it does not hold.
    """

    network: Network
    config: Config
    backbone: str
    labels: LabelSpace
    source: str = ""
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes with the background."""
        return len(self.labels) + 1

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.network.parameters()).device

    @property
    def layers(self) -> list[Layer]:
        """All layers with weights, named as in Keras; `layer.weights()` are views of them."""
        return layers_of(self.network)

    def changed(self, **config: Any) -> Model:
        """The same weights (not a copy of them) with other settings.

        Raises:
            UsageError: an unknown setting, a bad value, or a setting that the weights depend on.
        """
        other = self.config.changed(**config)
        for name in _BUILT:
            if getattr(other, name) != getattr(self.config, name):
                raise UsageError(
                    f"{name} is part of the network and cannot change", fix=f"load the weights with {name}=…"
                )
        return replace(self, config=other)

    # ------------------------------------------------------------------ detect

    def detect(self, images: Sequence[npt.NDArray[Any]]) -> list[dict[str, Any]]:
        """Detect the objects of images.

        Args:
            images: each (H, W, 3) RGB, uint8, or float in 0 … 255.

        Returns:
            For each image a dictionary, highest scores first:
            `rois` (n, 4) int32 y1 x1 y2 x2 in pixels, y2 and x2 exclusive; `class_ids` (n,) int32, from 1 on;
            `scores` (n,) float32; `masks` (H, W, n) bool.

        Raises:
            UsageError: an image of another kind, or one that does not fit the resize mode.
        """
        return [result for result, _, _ in self._detected(images)]

    def __call__(self, images: Sequence[npt.NDArray[Any]]) -> list[Instances]:
        """The same as instances."""
        return [instances_of(result) for result, _, _ in self._detected(images)]

    def predict(self, images: Sequence[npt.NDArray[Any]]) -> list[Prediction]:
        """The same for `segdata.predict`; see `contract.Predictor`."""
        return [
            Prediction(instances_of(result), remarks=remarks, best=best)
            for result, remarks, best in self._detected(images)
        ]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return self.config.as_dict()

    def _detected(
        self, images: Iterable[npt.NDArray[Any]]
    ) -> Iterator[tuple[dict[str, Any], tuple[str, ...], float | None]]:
        """The detections of each image, remarks on them, and `Prediction.best`."""
        group: list[tuple[tuple[int, ...], Letterbox]] = []
        for image in images:
            boxed = self.mold(image)
            if group and (len(group) == self.config.images_per_gpu or group[0][1].image.shape != boxed.image.shape):
                yield from self._of_group(group)
                group = []
            group.append((np.shape(image), boxed))
        if group:
            yield from self._of_group(group)

    def _of_group(
        self, group: Sequence[tuple[tuple[int, ...], Letterbox]]
    ) -> Iterator[tuple[dict[str, Any], tuple[str, ...], float | None]]:
        stages = self.stages([boxed for _, boxed in group])
        most = self.config.detection_max_instances
        highest, classes = torch.softmax(stages.class_logits, dim=2).max(dim=2)
        best = torch.where(classes > 0, highest, 0).amax(dim=1).tolist()
        for (shape, boxed), detections, masks, plausible, score in zip(
            group, stages.detections, stages.masks, stages.are_plausible.tolist(), best, strict=True
        ):
            remarks = []
            if not plausible:
                detections, masks = detections[:0], masks[:0]
                remarks.append(DIVERGED)
            if len(detections) >= most:
                remarks.append(at_most(most))
            result = unmold(detections.cpu().numpy(), masks.cpu().numpy(), shape, boxed.image.shape, boxed.window)
            yield result, tuple(remarks), score if plausible else None

    def mold(self, image: npt.NDArray[Any]) -> Letterbox:
        """An image resized and padded as the settings say."""
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind not in "uf" or not image.size:
            raise UsageError(
                "an image is (height, width, 3) RGB, uint8 or float",
                why=f"got {image.dtype} {image.shape}",
                fix="convert it: numpy.asarray(PIL.Image.open(path).convert('RGB'))",
            )
        if image.dtype.kind == "u" and image.dtype != np.uint8:
            raise UsageError("an image has values 0 … 255", why=f"got {image.dtype}")
        config = self.config
        if config.image_resize_mode == "crop":
            raise UsageError("resize mode 'crop' is for training", fix="use image_resize_mode='square'")
        return resize_image(
            image, config.image_min_dim, config.image_max_dim, config.image_min_scale, config.image_resize_mode
        )

    def tensor(self, images: Sequence[npt.NDArray[Any]]) -> Tensor:
        """Resized images of one size → (N, 3, H, W) float32, the mean subtracted, on the model's device."""
        arrays = np.stack([mold_image(image, self.config.mean_pixel) for image in images])
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).to(self.device)

    def anchors(self, shape: Sequence[int]) -> Tensor:
        """(A, 4) float32, the anchors of an input of `shape` (H, W, …), normalised, on the model's device."""
        return norm_boxes(pixel_anchors(self.config, shape), shape).to(self.device)

    @torch.inference_mode()
    def stages(self, boxed: Sequence[Letterbox]) -> Stages:
        """All outputs of the network for resized images of one size; `detect` uses the last two."""
        self.network.eval()
        shape = boxed[0].image.shape[:2]
        pyramid = self.network.pyramid(self.tensor([item.image for item in boxed]))
        rpn_logits, rpn_deltas = self.network.proposals(pyramid)
        scores = torch.softmax(rpn_logits, dim=2)[:, :, 1]
        anchors = self.anchors(shape)
        count = self.config.post_nms_rois_inference
        proposals = torch.stack(
            [propose(scores[i], rpn_deltas[i], anchors, self.config, count) for i in range(len(boxed))]
        )
        logits, deltas = self.network.classes(roi_features(pyramid, list(proposals), shape, self.config.pool_size))
        logits, deltas = (item.reshape(len(boxed), count, *item.shape[1:]) for item in (logits, deltas))
        windows = norm_boxes(np.array([item.window for item in boxed]), shape).to(self.device)
        detections = [
            refine(proposals[i], torch.softmax(logits[i], dim=1), deltas[i], windows[i], self.config)
            for i in range(len(boxed))
        ]
        maps = self.network.masks(
            roi_features(pyramid, [boxes[:, :4] for boxes in detections], shape, self.config.mask_pool_size)
        )
        classes = torch.cat([rows[:, 4] for rows in detections]).to(torch.int64)
        chosen = torch.sigmoid(maps[torch.arange(len(maps), device=maps.device), classes])
        masks = list(torch.split(chosen, [len(rows) for rows in detections]))
        parts = (rpn_logits, rpn_deltas, logits, deltas, masks)
        return Stages(
            pyramid=pyramid,
            rpn_logits=rpn_logits,
            rpn_deltas=rpn_deltas,
            proposals=proposals,
            class_logits=logits,
            deltas=deltas,
            detections=detections,
            masks=masks,
            are_plausible=torch.stack(
                [
                    torch.stack(
                        [
                            *(is_plausible(part[i]) for part in parts),
                            have_sizes(rpn_deltas[i], self.config.rpn_bbox_std_dev),
                            have_sizes(deltas[i], self.config.bbox_std_dev),
                        ]
                    ).all()
                    for i in range(len(boxed))
                ]
            ),
        )


def pixel_anchors(config: ModelConfig, shape: Sequence[int]) -> Tensor:
    """(A, 4) float64, the anchors of an input of `shape` (H, W, …), in pixels."""
    return generate_pyramid_anchors(
        config.rpn_anchor_scales, config.rpn_anchor_ratios, STRIDES, config.rpn_anchor_stride, shape
    )


def roi_features(pyramid: Sequence[Tensor], boxes: Sequence[Tensor], shape: Sequence[int], size: int) -> Tensor:
    """RoIs of the feature maps, (R, C, size, size), for the normalised boxes of each image, image by image."""
    together = torch.cat(list(boxes))
    counts = torch.tensor([len(item) for item in boxes], device=together.device)
    image = torch.repeat_interleave(torch.arange(len(boxes), device=together.device), counts)
    return crop_and_resize(pyramid[:LEVELS], together, image, levels_of(together, shape), size)


def instances_of(result: dict[str, Any]) -> Instances:
    """A dictionary as `detect` returns it → instances, with category = class − 1."""
    rois = result["rois"].astype(np.float64)
    bbox = np.stack((rois[:, 1], rois[:, 0], rois[:, 3] - rois[:, 1], rois[:, 2] - rois[:, 0]), axis=1)
    masks = Masks.from_dense(np.moveaxis(result["masks"], -1, 0))
    return Instances.build(
        result["class_ids"].astype(np.int64) - 1, masks, bbox=bbox, score=result["scores"].astype(np.float64)
    )
