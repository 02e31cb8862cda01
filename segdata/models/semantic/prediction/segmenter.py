"""A trained network for semantic segmentation: images → label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from segdata.core.labels import LabelSpace
from segdata.models.contract import FULL, LARGEST_OUTPUT, Autocast, Image, Prediction
from segdata.models.semantic import crf
from segdata.models.semantic.classes import categories_of
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.network import Network
from segdata.models.semantic.prediction import windows

DIVERGED = "no label map: the network's numbers are not finite or beyond all measure; these weights have diverged"
"""Remark of a prediction that is void alone."""


class Segmenter:
    """A trained network with its settings and categories: images → label maps.

    Args:
        flip: also predict the horizontally flipped image, and average.
        source: where the weights come from.
        record: all settings by name, as a pack of predictions records them.
        remarks: what a user may want to know of the weights.
    """

    def __init__(
        self,
        network: Network,
        settings: SemanticConfig,
        labels: LabelSpace,
        *,
        autocast: Autocast = FULL,
        flip: bool = False,
        source: str = "",
        record: Mapping[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.network = network.eval()
        self.labels = labels
        self.source = source
        self.settings = record
        self.remarks = remarks
        self._config, self._autocast, self._flip = settings, autocast, flip
        self._device = next(network.parameters()).device
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None] for values in (settings.mean, settings.std)
        )
        self._category = np.full(len(categories_of(labels)) + 1, labels.void, labels.dtype)
        self._category[:-1] = categories_of(labels)

    @torch.inference_mode()
    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """See `contract.Predictor`."""
        if self._config.crf:
            return [self._refined(image) for image in images]
        if self._config.infer == "whole" and len({image.shape for image in images}) == 1:
            height, width = images[0].shape[:2]
            values = self._probabilities(list(images), [(0, 0, width, height)] * len(images))
            return [self._prediction(self._label_map(value)) for value in values]
        return [self._in_bands(image) for image in images]

    def _in_bands(self, image: Image) -> Prediction:
        label_map = np.empty(image.shape[:2], self.labels.dtype)
        for top, band in self._bands(image):
            label_map[top : top + band.shape[1]] = self._label_map(band)
        return self._prediction(label_map)

    def _refined(self, image: Image) -> Prediction:
        whole = self.probabilities(image)
        refined = crf.refine(image, whole) if np.isfinite(whole).all() else whole
        return self._prediction(self._label_map(torch.from_numpy(refined)))

    @torch.inference_mode()
    def probabilities(self, image: Image) -> npt.NDArray[np.float32]:
        """(C, H, W) float32 probabilities of the classes for an image, (H, W, 3) uint8 RGB; of all its pixels in memory."""
        return np.concatenate([band.cpu().numpy().copy() for _, band in self._bands(image)], axis=1)

    def _bands(self, image: Image) -> Any:
        height, width = image.shape[:2]
        config = self._config
        window = (height, width) if config.infer == "whole" else (config.window[0], config.window[1])

        def of_windows(chosen: list[tuple[int, int, int, int]]) -> Tensor:
            return self._probabilities([image] * len(chosen), chosen)

        return windows.bands(height, width, window, config.overlap, of_windows)

    def _probabilities(self, images: list[Image], chosen: list[tuple[int, int, int, int]]) -> Tensor:
        """(N, C, h, w) float32 probabilities within windows of equal size; NaN where the network's numbers are none."""
        pixels = np.stack([image[y0:y1, x0:x1] for image, (x0, y0, x1, y1) in zip(images, chosen, strict=True)])
        batch = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).to(torch.float32).div(255)
        batch = batch.sub(self._mean).div(self._std)
        total: Tensor | None = None
        count = 0
        for scale in self._config.scales:
            size = (max(1, round(batch.shape[2] * scale)), max(1, round(batch.shape[3] * scale)))
            scaled = batch if scale == 1 else functional.interpolate(batch, size, mode="bilinear", antialias=scale < 1)
            for is_flipped in (False, True) if self._flip else (False,):
                view = (scaled.flip(3) if is_flipped else scaled).contiguous(memory_format=self._autocast.memory_format)
                with self._autocast.on(self._device):
                    logits = self.network(view)
                logits = logits.float().flip(3) if is_flipped else logits.float()
                if logits.shape[2:] != batch.shape[2:]:
                    logits = functional.interpolate(logits, batch.shape[2:], mode="bilinear")
                values = logits.softmax(1)
                largest = logits.abs().amax(dim=(1, 2, 3), keepdim=True)
                values = torch.where(largest < LARGEST_OUTPUT, values, torch.nan)
                total, count = values if total is None else total.add_(values), count + 1
        assert total is not None
        return total.div_(count) if count > 1 else total

    def _label_map(self, probabilities: Tensor) -> npt.NDArray[Any]:
        """(h, w) category of each pixel of (C, h, w) probabilities; void where they are no numbers."""
        best, classes = probabilities.max(0)
        classes = torch.where(best.isfinite(), classes, len(self._category) - 1)
        label_map: npt.NDArray[Any] = self._category[classes.cpu().numpy()]
        return label_map

    def _prediction(self, label_map: npt.NDArray[Any]) -> Prediction:
        is_diverged = bool((label_map == self.labels.void).any())
        return Prediction(semantic=label_map, remarks=(DIVERGED,) if is_diverged else ())
