"""Promptable models, by stand-ins of the same signatures that answer with the box they are asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdata.correction.tools.promptable import open_model
from segdata.errors import InvalidInput, NotThere, Unsafe, UsageError

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'segdata[onnx]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'segdata[onnx]')")
pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")

helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
FLOAT = TensorProto.FLOAT


def value(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, shape)


def saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> Path:
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def box_nodes(coords: str, height: str, width: str, scale: str) -> list[Any]:
    """Nodes that make `logits` (1, 1, height, width): above 0 inside the last two points of `coords`, divided by `scale`."""
    node = helper.make_node
    nodes = [node("Div", [coords, scale], ["at"])]
    for name, row in (("first", -2), ("last", -1)):
        nodes.append(node("Gather", ["at", f"row{row}"], [name], axis=0))
        for axis in (0, 1):
            nodes.append(node("Gather", [name, f"axis{axis}"], [f"{name}{axis}"], axis=0))
    for axis, length in ((0, width), (1, height)):
        nodes += [
            node("Range", ["zero", length, "one"], [f"whole{axis}"]),
            node("Cast", [f"whole{axis}"], [f"steps{axis}"], to=FLOAT),
            node("Add", [f"steps{axis}", "half"], [f"centre{axis}"]),
            node("Sub", [f"centre{axis}", f"first{axis}"], [f"after{axis}"]),
            node("Sub", [f"last{axis}", f"centre{axis}"], [f"before{axis}"]),
            node("Min", [f"after{axis}", f"before{axis}"], [f"within{axis}"]),
        ]
    nodes += [
        node("Unsqueeze", ["within0", "to_row"], ["across"]),
        node("Unsqueeze", ["within1", "to_column"], ["down"]),
        node("Min", ["across", "down"], ["flat"]),
        node("Unsqueeze", ["flat", "two_axes"], ["logits"]),
        node("Neg", ["logits"], ["others"]),
    ]
    return nodes


CONSTANTS = {
    "row-2": np.int64(-2),
    "row-1": np.int64(-1),
    "axis0": np.int64(0),
    "axis1": np.int64(1),
    "zero": np.int64(0),
    "one": np.int64(1),
    "half": np.float32(0.5),
    "to_row": np.array([0]),
    "to_column": np.array([1]),
    "two_axes": np.array([0, 1]),
    "scores": np.array([[0.2, 0.9]], np.float32),
}

PROMPT = [
    value("point_coords", 1, "n", 2),
    value("point_labels", 1, "n"),
    value("mask_input", 1, 1, 256, 256),
    value("has_mask_input", 1),
]


def sam(folder: Path) -> Path:
    """The signature of SAM's official export, and an encoder of (1, 3, 1024, 1024)."""
    folder.mkdir()
    node = helper.make_node
    saved(
        folder / "encoder.onnx",
        [
            node("AveragePool", ["images"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
            node("Slice", ["pooled", "begin", "end", "axis"], ["first"]),
            node("Concat", ["pooled"] * 85 + ["first"], ["image_embeddings"], axis=1),
        ],
        [value("images", 1, 3, 1024, 1024)],
        [value("image_embeddings", 1, 256, 64, 64)],
        {"begin": np.array([0]), "end": np.array([1]), "axis": np.array([1])},
    )
    saved(
        folder / "decoder.onnx",
        [
            node("ReduceMax", ["orig_im_size"], ["longest"], keepdims=0),
            node("Div", ["side", "longest"], ["scale"]),
            node("Cast", ["orig_im_size"], ["sizes"], to=TensorProto.INT64),
            node("Gather", ["sizes", "axis0"], ["height"], axis=0),
            node("Gather", ["sizes", "axis1"], ["width"], axis=0),
            node("Squeeze", ["point_coords", "to_row"], ["coords"]),
            *box_nodes("coords", "height", "width", "scale"),
            node("Concat", ["others", "logits"], ["masks"], axis=1),
            node("Identity", ["scores"], ["iou_predictions"]),
            node("Identity", ["mask_input"], ["low_res_masks"]),
        ],
        [value("image_embeddings", 1, 256, 64, 64), *PROMPT, value("orig_im_size", 2)],
        [value("masks", 1, 2, "h", "w"), value("iou_predictions", 1, 2), value("low_res_masks", 1, 1, 256, 256)],
        {**CONSTANTS, "side": np.float32(1024)},
    )
    return folder


def sam2(folder: Path) -> Path:
    """The signature of samexporter's SAM 2: masks of 256 × 256, of the image stretched to a square."""
    folder.mkdir()
    node = helper.make_node
    saved(
        folder / "any name.encoder.onnx",
        [node("AveragePool", ["image"], [name], kernel_shape=[s, s], strides=[s, s]) for name, s in SAM2.items()],
        [value("image", 1, 3, 1024, 1024)],
        [value(name, 1, 3, 1024 // s, 1024 // s) for name, s in SAM2.items()],
        {},
    )
    saved(
        folder / "any name.decoder.onnx",
        [
            node("Squeeze", ["point_coords", "to_row"], ["coords"]),
            *box_nodes("coords", "side", "side", "scale"),
            node("Concat", ["others", "logits"], ["masks"], axis=1),
            node("Identity", ["scores"], ["iou_predictions"]),
        ],
        [*(value(name, 1, 3, 1024 // s, 1024 // s) for name, s in SAM2.items()), *PROMPT],
        [value("masks", 1, 2, 256, 256), value("iou_predictions", 1, 2)],
        {**CONSTANTS, "side": np.int64(256), "scale": np.float32(4)},
    )
    return folder


SAM2 = {"image_embed": 16, "high_res_feats_0": 4, "high_res_feats_1": 8}


def efficient_sam(folder: Path) -> Path:
    folder.mkdir()
    node = helper.make_node
    saved(
        folder / "efficient_sam_vitt.onnx",
        [
            node("Shape", ["batched_images"], ["shape"]),
            node("Gather", ["shape", "two"], ["height"], axis=0),
            node("Gather", ["shape", "three"], ["width"], axis=0),
            node("Squeeze", ["batched_point_coords", "two_axes"], ["coords"]),
            *box_nodes("coords", "height", "width", "scale"),
            node("Concat", ["others", "logits"], ["both"], axis=1),
            node("Unsqueeze", ["both", "to_row"], ["output_masks"]),
            node("Unsqueeze", ["scores", "to_row"], ["iou_predictions"]),
        ],
        [
            value("batched_images", 1, 3, "h", "w"),
            value("batched_point_coords", 1, 1, "n", 2),
            value("batched_point_labels", 1, 1, "n"),
        ],
        [value("output_masks", 1, 1, 2, "h", "w"), value("iou_predictions", 1, 1, 2)],
        {**CONSTANTS, "two": np.int64(2), "three": np.int64(3), "scale": np.float32(1)},
    )
    return folder


@pytest.mark.parametrize(
    ("make", "kind", "near"), [(sam, "sam", 0), (sam2, "sam2", 2), (efficient_sam, "efficient-sam", 0)]
)
def test_the_box_comes_back_in_pixels_of_the_image(make: Any, kind: str, near: int, tmp_path: Path) -> None:
    model = open_model(make(tmp_path / "model"))
    assert model.kind == kind
    for height, width in ((120, 200), (200, 120), (64, 64)):
        image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        embedding = model.embed(image)
        mask = model.mask(embedding, (10, 20, 50, 61), foreground=[(30, 30)], background=[(1, 1)])
        assert mask.shape == (height, width) and mask.dtype == bool
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        found_box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(np.array(found_box) - (10, 20, 50, 61)).max() <= near
        with pytest.raises(UsageError):
            model.mask(embedding, (10, 20, float("nan"), 61))


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotThere):
        open_model(tmp_path / "nothing")
    with pytest.raises(NotThere, match="no ONNX file"):
        open_model(tmp_path)
    sam(tmp_path / "half")
    (tmp_path / "half" / "encoder.onnx").unlink()
    with pytest.raises(InvalidInput, match="no encoder"):
        open_model(tmp_path / "half")
    sam(tmp_path / "other")
    (tmp_path / "other" / "decoder.onnx").unlink()
    with pytest.raises(InvalidInput, match=r"encoder\.onnx takes images"):
        open_model(tmp_path / "other")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "decoder.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidInput, match=r"no ONNX model") as caught:
        open_model(tmp_path / "broken")
    assert caught.value.file == str(tmp_path / "broken" / "decoder.onnx")


def test_files_of_more_than_2_gb_are_not_opened(tmp_path: Path) -> None:
    sam(tmp_path / "model")
    with (tmp_path / "model" / "weights.data").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(Unsafe, match="larger"):
        open_model(tmp_path / "model")


def test_parts_outside_the_folder_are_refused(tmp_path: Path) -> None:
    sam(tmp_path / "model")
    path = tmp_path / "model" / "encoder.onnx"
    model = onnx.load(path)
    constant = model.graph.initializer[0]
    (tmp_path / "secret").write_bytes(bytes(8))
    for location in ("../secret", str(tmp_path / "secret")):
        constant.ClearField("raw_data")
        del constant.external_data[:]
        constant.data_location = TensorProto.EXTERNAL
        constant.external_data.add(key="location", value=location)
        constant.external_data.add(key="length", value="8")
        path.write_bytes(model.SerializeToString())
        with pytest.raises(Unsafe) as caught:
            open_model(tmp_path / "model")
        assert caught.value.file == str(path)
    other = sam(tmp_path / "linked")
    (other / "decoder.onnx").rename(tmp_path / "decoder.onnx")
    (other / "decoder.onnx").symlink_to(tmp_path / "decoder.onnx")
    with pytest.raises(Unsafe):
        open_model(other)
