"""A network for semantic segmentation as an ONNX graph, and such a graph as a predictor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segdata.core.labels import LabelSpace
from segdata.deployment.sessions import session
from segdata.models.contract import Image, Prediction
from segdata.models.semantic.classes import categories_of
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.network import Network

EXAMPLE = (154, 186)
"""Height and width of the images with which a graph is traced; it is for images of any size."""

OPSET = 20


class Graph(nn.Module):
    """A network as other programs call it.

    Args:
        with_preprocessing: (N, H, W, 3) uint8 RGB → (N, H, W) categories; else (N, 3, H, W) float32 normalised →
            (N, C, H, W) float32 logits.
    """

    mean: Tensor
    std: Tensor
    category: Tensor

    def __init__(
        self, network: Network, settings: SemanticConfig, labels: LabelSpace, *, with_preprocessing: bool
    ) -> None:
        super().__init__()
        self.network = _of_any_size(network)
        self.with_preprocessing = with_preprocessing
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(settings, name))[:, None, None])
        self.register_buffer("category", torch.from_numpy(categories_of(labels)))
        self.dtype = torch.uint8 if labels.dtype == np.uint8 else torch.int32

    def forward(self, images: Tensor) -> Tensor:
        if not self.with_preprocessing:
            return self._logits(images)
        pixels = images.permute(0, 3, 1, 2).to(torch.float32).div(255)
        classes = self._logits(pixels.sub(self.mean).div(self.std)).argmax(1)
        return self.category[classes].to(self.dtype)

    def _logits(self, images: Tensor) -> Tensor:
        """`Network.outputs` without a branch that depends on the size, which a graph would not have."""
        stride = self.network.stride
        if stride == 1 or not getattr(self.network, "padded", True):
            return self.network(images)  # type: ignore[no-any-return]
        height, width = images.shape[-2:]
        padded = images
        for axis, size in ((-2, height), (-1, width)):
            whole = (torch.sym_max(size, self.network.least) + stride - 1) // stride * stride
            index = torch.arange(whole)
            is_inside = (index < size).to(images.dtype)
            padded = padded.index_select(axis, index.clamp(max=size - 1))
            padded = padded * (is_inside[:, None] if axis == -2 else is_inside)
        return self.network.outputs_of_padded(padded).logits[..., :height, :width]


def _of_any_size(network: Network) -> Network:
    """The network, or a copy whose pools to a grid do not depend on the size that is traced."""
    if not any(_is_grid(module) for module in network.modules()):
        return network
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for name, module in parent.named_children():
            if _is_grid(module):
                setattr(parent, name, _GridPool(*_cells(module)))
    return copied


def _is_grid(module: nn.Module) -> bool:
    return isinstance(module, nn.AdaptiveAvgPool2d) and _cells(module) != (1, 1)


def _cells(module: Any) -> tuple[int, int]:
    """Rows and columns of an adaptive pool."""
    size = module.output_size
    return size if isinstance(size, tuple) else (size, size)


class _GridPool(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two products of matrices, whose cells are calculated from the size of what comes in."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        return _shares(x.shape[-2], self.rows, x) @ x @ _shares(x.shape[-1], self.columns, x).T


def _shares(size: int, cells: int, like: Tensor) -> Tensor:
    """(cells, size) the share of each position in each cell: from ⌊i size / cells⌋ on, below ⌈(i + 1) size / cells⌉."""
    cell = torch.arange(cells, device=like.device)[:, None]
    position = torch.arange(size, device=like.device)[None]
    is_inside = (position >= cell * size // cells) & (position < ((cell + 1) * size + cells - 1) // cells)
    shares = is_inside.to(like.dtype)
    return shares / shares.sum(1, keepdim=True)


def traced(graph: Graph) -> Any:
    """The graph as an `onnx.ModelProto` for any number of images of any size."""
    size = torch.export.Dim
    batch, height, width = size("N"), size("H", min=32), size("W", min=32)
    if graph.with_preprocessing:
        example, axes = torch.zeros(2, *EXAMPLE, 3, dtype=torch.uint8), {0: batch, 1: height, 2: width}
    else:
        example, axes = torch.zeros(2, 3, *EXAMPLE), {0: batch, 2: height, 3: width}
    # Not within `torch.onnx.export`, since networks of segmentation-models-pytorch take other ways there.
    captured = torch.export.export(
        graph.eval(), (example,), dynamic_shapes=(axes,), strict=False, prefer_deferred_runtime_asserts_over_guards=True
    )
    program = torch.onnx.export(
        captured,
        dynamic_shapes=(axes,),  # for their names
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["labels" if graph.with_preprocessing else "logits"],
        verbose=False,
    )
    assert program is not None
    return program.model_proto


class OnnxSegmenter:
    """An exported network: images → label maps; see `contract.Predictor`.

    Args:
        data: the bytes of the file.
    """

    def __init__(self, data: bytes, settings: SemanticConfig, labels: LabelSpace, *, with_preprocessing: bool) -> None:
        self.labels = labels
        self._settings, self._with_preprocessing = settings, with_preprocessing
        self._session = session(data)
        self._category = categories_of(labels).astype(labels.dtype)

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """The label map of each image, one after the other."""
        return [Prediction(semantic=self._label_map(image)) for image in images]

    def _label_map(self, image: Image) -> npt.NDArray[Any]:
        (output,) = self._session.run(None, {"images": inputs(image, self._settings, self._with_preprocessing)})
        if self._with_preprocessing:
            return np.asarray(output[0], self.labels.dtype)
        label_map: npt.NDArray[Any] = self._category[output[0].argmax(0)]
        return label_map


def inputs(image: Image, settings: SemanticConfig, with_preprocessing: bool) -> npt.NDArray[Any]:
    """An image as a graph takes it, as a program without PyTorch would calculate it."""
    if with_preprocessing:
        return image[None]
    mean, std = (np.array(values, np.float32) for values in (settings.mean, settings.std))
    pixels = (image.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
