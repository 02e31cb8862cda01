"""A box and points → a mask, by a promptable model in ONNX files that the user has; nothing is ever downloaded.

    folder/encoder.onnx, decoder.onnx       any names: files are told apart by what they take

    SAM, MobileSAM      decoder: image_embeddings, point_coords, point_labels, mask_input, has_mask_input, orig_im_size
                        encoder: an image, (1, 3, 1024, 1024) normalised, or (H, W, 3) as it is
    EfficientSAM        batched_images, batched_point_coords, batched_point_labels in one file
    SAM 2               decoder: image_embed, high_res_feats_0, high_res_feats_1, point_coords, point_labels, mask_input,
                        has_mask_input; encoder: an image, (1, 3, 1024, 1024) normalised

An image is embedded once; each prompt is one call of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray
from segdata.errors import InvalidInput, NotThere, Unsafe, UsageError
from segdata.system.files import disk_errors, inside

MAX_BYTES = 2 << 30
"""Of all files of a model."""

_SIDE = 1024
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
_THREADS = 2

_PROMPT = ("point_coords", "point_labels", "mask_input", "has_mask_input")
_DECODERS = {
    "sam": ({"image_embeddings", *_PROMPT, "orig_im_size"}, set()),
    "sam2": ({"image_embed", "high_res_feats_0", "high_res_feats_1", *_PROMPT}, {"orig_im_size"}),
    "efficient-sam": ({"batched_images", "batched_point_coords", "batched_point_labels"}, set()),
}
"""Kind → the inputs by which its decoder is known, and those that it may have, too."""

Embedding = Mapping[str, Any]


def open_model(folder: Path) -> PromptableModel:
    """Open the model in a folder.

    Raises:
        NotThere: there is no such folder, or no file *.onnx in it.
        InvalidInput: a file is no ONNX model, or they are no model of a known kind: their inputs are named.
        Unsafe: a file has parts outside the folder, or all have more than 2 GB.
    """
    with disk_errors(folder):
        files = sorted(path for path in folder.iterdir() if path.is_file())
    models = [inside(folder, path.name, "the model's folder") for path in files if path.suffix == ".onnx"]
    if not models:
        raise NotThere(
            "there is no ONNX file in the folder", file=folder, fix="export the model to ONNX, and put it there"
        )
    if (total := sum(path.stat().st_size for path in files)) > MAX_BYTES:
        raise Unsafe(
            "the model's files are larger than any that is opened", file=folder, why=f"{total:,} bytes; 2 GB at most"
        )
    sessions = {path: _session(path) for path in models}
    inputs = {path: {item.name for item in session.get_inputs()} for path, session in sessions.items()}
    for kind, (needed, further) in _DECODERS.items():
        for path, names in inputs.items():
            if needed <= names <= needed | further:
                return _model(kind, path, sessions, folder)
    listed = "; ".join(f"{path.name} takes {', '.join(sorted(names))}" for path, names in inputs.items())
    raise InvalidInput("this is no promptable model of a known kind", file=folder, why=listed[:600])


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind for each reason, without a common one
        text = " ".join(str(error).split())[:300]
        if "external" in text.lower():
            raise Unsafe(
                "the model has parts outside its folder, or that are not there", file=path, why=text
            ) from error
        raise InvalidInput("this is no ONNX model that can be opened", file=path, why=text) from error


def _model(kind: str, decoder: Path, sessions: Mapping[Path, Any], folder: Path) -> PromptableModel:
    if kind == "efficient-sam":
        return PromptableModel(kind, None, sessions[decoder])
    others = [path for path in sessions if path != decoder]
    fitting = [path for path in others if _takes_image(sessions[path])]
    if len(fitting) != 1:
        raise InvalidInput(
            "the model has no encoder, or several",
            file=folder,
            why=f"{decoder.name} is the decoder; one other file takes an image alone, found {len(fitting)} of {len(others)}",
        )
    return PromptableModel(kind, sessions[fitting[0]], sessions[decoder])


def _takes_image(session: Any) -> bool:
    (*others, image) = session.get_inputs()
    return not others and image.type == "tensor(float)" and len(image.shape) in (3, 4) and 3 in image.shape


@dataclass(frozen=True)
class PromptableModel:
    """A model of SAM's kind.

    Attributes:
        kind: "sam", "sam2" or "efficient-sam".
    """

    kind: str
    _encoder: Any
    _decoder: Any

    def embed(self, image: npt.NDArray[np.uint8]) -> Embedding:
        """What prompts of an image (H, W, 3) uint8 RGB need; it takes the longest, and is the same for all of them."""
        height, width = image.shape[:2]
        scale = _SIDE / max(height, width)
        size = (_SIDE, _SIDE) if self.kind == "sam2" else (max(1, round(height * scale)), max(1, round(width * scale)))
        known = {"height": height, "width": width, "scales": (size[1] / width, size[0] / height)}
        if self._encoder is None:
            pixels = image.astype(np.float32).transpose(2, 0, 1)[None] / 255
            return {**known, "scales": (1.0, 1.0), "batched_images": pixels}
        (given,) = self._encoder.get_inputs()
        resized = _resized(image, size)
        if len(given.shape) == 3:
            fed = resized.astype(np.float32)
        else:
            fed = np.zeros((1, 3, _SIDE, _SIDE), np.float32)
            fed[0, :, : size[0], : size[1]] = ((resized - _MEAN) / _STD).transpose(2, 0, 1)
        names = [item.name for item in self._encoder.get_outputs()]
        values = dict(zip(names, _run(self._encoder, names, {given.name: fed}), strict=True))
        wanted = {item.name for item in self._decoder.get_inputs()}
        if self.kind == "sam":
            values = {"image_embeddings": values.get("image_embeddings", next(iter(values.values())))}
        if missing := {"image_embed", "high_res_feats_0", "high_res_feats_1"} & wanted - values.keys():
            raise InvalidInput("the encoder does not give what the decoder takes", why=f"{', '.join(sorted(missing))}")
        return {**known, **{name: value for name, value in values.items() if name in wanted}}

    def mask(
        self,
        embedding: Embedding,
        box: Sequence[float],
        foreground: Sequence[tuple[float, float]] = (),
        background: Sequence[tuple[float, float]] = (),
    ) -> BoolArray:
        """The object in a box.

        Args:
            embedding: of the image.
            box: x0 y0 x1 y1 in pixels.
            foreground, background: points (x, y) on what is the object, and on what is not.

        Returns:
            (H, W) bool, of the masks that the model proposes the one that it takes for the best.

        Raises:
            UsageError: a coordinate is no number.
            InvalidInput: the model gives something else than masks.
        """
        points = np.array([*foreground, *background, box[:2], box[2:]], np.float32)
        if not np.isfinite(points).all():
            raise UsageError("a box or point has a coordinate that is no number")
        labels = np.array([1.0] * len(foreground) + [0.0] * len(background) + [2.0, 3.0], np.float32)
        points *= np.array(embedding["scales"], np.float32)
        height, width = int(embedding["height"]), int(embedding["width"])
        feed: dict[str, Any] = {name: value for name, value in embedding.items() if isinstance(value, np.ndarray)}
        if self.kind == "efficient-sam":
            feed |= {"batched_point_coords": points[None, None], "batched_point_labels": labels[None, None]}
        else:
            feed |= {
                "point_coords": points[None],
                "point_labels": labels[None],
                "mask_input": np.zeros((1, 1, 256, 256), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array([height, width], np.float32),
            }
        types = {item.name: item.type for item in self._decoder.get_inputs()}
        feed = {
            name: value.astype(_DTYPES.get(types[name], value.dtype)) for name, value in feed.items() if name in types
        }
        names = [item.name for item in self._decoder.get_outputs()]
        results = dict(zip(names, _run(self._decoder, names, feed), strict=True))
        return self._best(results, height, width)

    def _best(self, results: Mapping[str, Any], height: int, width: int) -> BoolArray:
        masks = next((results[name] for name in ("masks", "output_masks") if name in results), None)
        scores = results.get("iou_predictions")
        if (
            masks is None
            or scores is None
            or masks.ndim < 3
            or scores.size != masks.size // max(np.prod(masks.shape[-2:]), 1)
        ):
            raise InvalidInput("the model gives no masks with their scores", why=f"it gives {', '.join(results)}")
        logits = masks.reshape(-1, *masks.shape[-2:])[int(np.argmax(scores))].astype(np.float32)
        if logits.shape != (height, width):
            logits = _enlarged(logits, height, width)
        return np.asarray(logits > 0, bool)


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
}


def _run(session: Any, names: Sequence[str], feed: Mapping[str, Any]) -> Any:
    try:
        return session.run(list(names), dict(feed))
    except Exception as error:  # as when it is opened
        raise InvalidInput("the model fails on this image", why=" ".join(str(error).split())[:300]) from error


def _resized(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _enlarged(logits: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
