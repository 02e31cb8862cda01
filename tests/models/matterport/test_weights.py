"""Weights files that are damaged, hostile, of another model, or laid out otherwise; saving and loading again."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import segdata
from segdata.core import png
from segdata.core.labels import Category, LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, SegdataError, Unsafe, UsageError
from segdata.models import contract, matterport
from segdata.models.matterport import weights
from segdata.models.matterport.config import Config
from segdata.models.matterport.keras import _arranged
from segdata.models.matterport.layers import initialise
from segdata.models.matterport.model import Model
from segdata.models.matterport.network import Network
from segdata.training import predict
from tests.helpers.command import Here
from tests.helpers.keras_weights import made, needs_matterport


def little(path: Path, arrays: dict[str, Any] | None = None) -> Path:
    """A weights file with the layers that tell the backbone, far too small for it."""
    layers: dict[str, Any] = {
        f"res4{letter}_branch2a": {f"res4{letter}_branch2a/kernel:0": np.ones((1, 1, 2, 2))} for letter in "abcdef"
    }
    layers["mrcnn_class_logits"] = {
        "mrcnn_class_logits/kernel:0": np.zeros((4, 3), np.float32),
        "mrcnn_class_logits/bias:0": np.zeros(3, np.float32),
    }
    layers.update(arrays or {})
    weights.write(path, list(layers.items()))
    Path(f"{path}.sha256").unlink()  # so that what is changed in the file is looked at
    return path


def external_link(file: h5py.File) -> None:
    file["conv1"] = h5py.ExternalLink("/etc/hostname", "/x")


def soft_link(file: h5py.File) -> None:
    file["conv1"] = h5py.SoftLink("/mrcnn_class_logits")


def external_storage(file: h5py.File) -> None:
    file.create_group("conv1").create_dataset("bias:0", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_group("conv1").create_virtual_dataset("bias:0", layout)


def foreign_filter(file: h5py.File) -> None:
    file.create_group("conv1").create_dataset("bias:0", (4,), "f4", chunks=(4,), compression="lzf")


def absurd_chunk(file: h5py.File) -> None:
    file.create_dataset("conv1", (1 << 24,), "f4", chunks=(1 << 24,), compression="gzip")


def circle(file: h5py.File) -> None:
    file["mrcnn_class_logits"]["again"] = file["/"]


@pytest.mark.parametrize(
    "harm", [external_link, soft_link, external_storage, virtual, foreign_filter, absurd_chunk, circle]
)
def test_what_leads_out_of_the_file_is_refused_before_reading(
    harm: Callable[[h5py.File], None], tmp_path: Path
) -> None:
    path = little(tmp_path / "weights.h5")
    with h5py.File(path, "r+") as file:
        harm(file)
    with pytest.raises(Unsafe) as caught:
        matterport.load(path)
    assert caught.value.exit_code == 11 and caught.value.file == str(path)


def test_an_array_that_claims_more_than_is_stored_is_refused(tmp_path: Path) -> None:
    path = little(tmp_path / "weights.h5")
    with h5py.File(path, "r+") as file:
        del file["mrcnn_class_logits/mrcnn_class_logits/kernel:0"]
        file["mrcnn_class_logits"].create_dataset("mrcnn_class_logits/kernel:0", (1 << 20, 1 << 16), "f4")
    with pytest.raises(Unsafe, match="larger than what is stored"):
        matterport.load(path)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _linked(path: Path) -> None:
    with h5py.File(little(path), "r+") as file:
        external_link(file)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_bytes(pickle.dumps({"a": 1})), 11),
        (_linked, 11),
        (_bytes(b""), 8),
        (lambda path: path.write_bytes(little(path).read_bytes()[:3000]), 8),
        (
            lambda path: little(path, {"mrcnn_class_logits": {"mrcnn_class_logits/kernel:0": np.full((4, 3), np.nan)}}),
            4,
        ),
        (_bytes(b"<html>not found</html>"), 4),
        (little, 4),
        (lambda path: None, 10),
    ],
    ids=["pickle", "link", "empty", "cut", "one array", "html", "small", "absent"],
)
def test_the_command_refuses_and_leaves_nothing(
    make: Callable[[Path], object], code: int, tmp_path: Path, here: Here
) -> None:
    path = tmp_path / "weights.h5"
    make(path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png.encode_png(np.zeros((8, 8, 3), np.uint8)))
    outcome = here("predict", path, tmp_path / "photos", "-o", tmp_path / "found", "--json")
    assert outcome.code == code == outcome.document["error"]["exit"], outcome.err
    assert outcome.document["error"]["file"] == str(path)
    assert not (tmp_path / "found").exists()


def test_pickles_and_other_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    cases: list[tuple[bytes, type[SegdataError]]] = [
        (pickle.dumps({"a": 1}), Unsafe),
        (b"PK\x03\x04 torch archive", Unsafe),
        (b"", DamagedData),
        (b"<html>not found</html>", InvalidInput),
        (little(tmp_path / "whole.h5").read_bytes()[:3000], DamagedData),
    ]
    for content, error in cases:
        path.write_bytes(content)
        with pytest.raises(error):
            matterport.load(path)
    with pytest.raises(NotThere):
        matterport.load(tmp_path / "nowhere.h5")


def test_flipped_bytes_never_end_in_anything_but_one_of_our_errors(tmp_path: Path) -> None:
    path = little(tmp_path / "weights.h5")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        harmed = bytearray(whole)
        for position in rng.integers(8, len(whole), 5):
            harmed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(harmed)
        with pytest.raises(SegdataError):
            matterport.load(path)


def test_another_model_is_told_by_its_layers_and_shapes(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        matterport.load(little(tmp_path / "weights.h5"))
    text = str(caught.value)
    assert "resnet50 model of 3 classes" in text and "missing: conv1" in text
    assert "res4a_branch2a kernel (1, 1, 2, 2) instead of (1, 1, 512, 256)" in text or "1 arrays instead of 2" in text
    weights.write(tmp_path / "other.h5", [("dense", {"dense/kernel:0": np.zeros((2, 2), np.float32)})])
    with pytest.raises(InvalidInput, match="no ResNet"):
        matterport.load(tmp_path / "other.h5")
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.create_group("layers/conv2d/vars")
    with pytest.raises(InvalidInput, match="layer_names is missing; it looks like a file of Keras 3"):
        matterport.load(tmp_path / "new.h5")


def test_settings_are_checked_and_named_as_in_the_original() -> None:
    config = Config().changed(DETECTION_MIN_CONFIDENCE=0.71, image_min_dim=None, RPN_ANCHOR_RATIOS=[0.5, 1, 2])
    assert (config.detection_min_confidence, config.image_min_dim) == (0.71, 0)
    assert config == Config(detection_min_confidence=0.71, image_min_dim=0)
    wrong: list[dict[str, Any]] = [
        {"detection_min_confidence": 1.5},
        {"image_max_dim": 1000},
        {"image_resize_mode": "stretch"},
        {"mean_pixel": (1, 2)},
        {"mean_pixel": 5},
        {"bbox_std_dev": (0, 1, 1, 1)},
        {"rpn_anchor_stride": 3},
        {"pre_nms_limit": 2.5},
        {"train_bn": 1},
        {"detection_nms_threshold": float("nan")},
        {"loss_weights": {"other": 1.0}},
    ]
    for values in wrong:
        with pytest.raises(UsageError):
            Config(**values)
    with pytest.raises(UsageError, match="detection_min_confidence"):
        Config().changed(detection_confidence=0.5)


def test_arrays_are_found_by_name_even_when_names_were_numbered_or_shuffled() -> None:
    shared = [("rpn_conv_shared", "kernel"), ("rpn_conv_shared", "bias"), ("rpn_class_raw", "kernel")]
    assert _arranged(["rpn_class_raw/kernel:0", "rpn_conv_shared_1/kernel:0", "rpn_conv_shared_1/bias:0"], shared) == [
        "rpn_conv_shared_1/kernel:0",
        "rpn_conv_shared_1/bias:0",
        "rpn_class_raw/kernel:0",
    ]
    single = [("conv1", "kernel"), ("conv1", "bias")]
    assert _arranged(["conv1_1/bias:0", "conv1_1/kernel:0"], single) == ["conv1_1/kernel:0", "conv1_1/bias:0"]
    assert _arranged(["conv1_W:0", "conv1_b:0"], single) == ["conv1_W:0", "conv1_b:0"]


@pytest.fixture(scope="module")
def fresh() -> Model:
    """A model with narrow heads and three classes."""
    config = Config(
        top_down_pyramid_size=16, fpn_classif_fc_layers_size=24, pool_size=5, image_max_dim=128, image_min_dim=128
    )
    model = Model(
        Network("resnet50", 3, config).eval(),
        config,
        "resnet50",
        LabelSpace("two", (Category("a", 1), Category("b", 2))),
    )
    torch.manual_seed(0)
    for layer in model.layers:
        initialise(layer)
    model.network.to(memory_format=torch.channels_last)  # as `load` leaves it, so that sums are made in one order
    return model


@pytest.fixture(scope="module")
def saved(fresh: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "weights.h5"
    matterport.save(fresh, path)
    return path


def test_numbers_beyond_all_measure_give_no_objects_and_a_note(fresh: Model) -> None:
    """Deltas whose exp overflows gave boxes that are no numbers, and an index out of bounds."""
    image = np.random.default_rng(0).integers(0, 256, (120, 128, 3), np.uint8)
    network = copy.deepcopy(fresh.network)
    model = replace(fresh, network=network, config=fresh.config.changed(detection_min_confidence=0))
    with torch.no_grad():
        for layer in model.layers:
            if layer.name == "rpn_bbox_pred":
                for values in layer.weights().values():
                    values.mul_(1e6).add_(1e6)
    (prediction,) = model.predict([image])
    assert prediction.instances is not None and len(prediction.instances) == 0
    assert prediction.remarks == (contract.DIVERGED,)


@pytest.mark.parametrize(("delta", "has_diverged"), [(443.0, False), (444.0, True)])
def test_sizes_overflow_where_exp_does(delta: float, has_diverged: bool, fresh: Model) -> None:
    """exp(88.72) is the largest of float32; deltas are multiplied by 0.2 before, and 88.72 / 0.2 = 443.6."""
    network = copy.deepcopy(fresh.network)
    model = replace(fresh, network=network, config=fresh.config.changed(detection_min_confidence=0))
    with torch.no_grad():
        for layer in model.layers:
            if layer.name == "rpn_bbox_pred":
                for kind, values in layer.weights().items():
                    values.fill_(delta if kind == "bias" else 0.0)
    (prediction,) = model.predict([np.zeros((120, 128, 3), np.uint8)])
    assert (contract.DIVERGED in prediction.remarks) == has_diverged


def test_settings_that_the_file_does_not_hold_are_named(saved: Path, fresh: Model) -> None:
    (remark,) = matterport.load(saved, labels="a,b").remarks
    for text in ("rpn_anchor_scales=[32.0,64.0,128.0,256.0,512.0]", "image_min_dim=800", "mean_pixel=[123.7", "--set"):
        assert text in remark
    (remark,) = matterport.load(saved, labels="a,b", RPN_ANCHOR_SCALES=[8, 16, 32, 64, 128], image_min_dim=128).remarks
    assert "rpn_anchor_scales" not in remark and "image_min_dim" not in remark and "image_max_dim=1024" in remark


def test_classes_of_a_keras_file_are_named_or_numbered(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("BG\ncat\ndog\n")
    for names in ("cat,dog", "BG,cat,dog", tmp_path / "classes.txt"):
        model = predict.load(saved, device="cpu", labels=names)
        assert [(row.id, row.name) for row in model.labels.categories] == [(1, "cat"), (2, "dog")]
        assert not any("--labels" in remark for remark in model.remarks)
    model = predict.load(saved, device="cpu")
    assert [row.name for row in model.labels.categories] == ["class_1", "class_2"]
    assert any("--labels" in remark for remark in model.remarks)
    with pytest.raises(UsageError) as refused:
        predict.load(saved, labels="cat")
    assert "1 names; the network has 2 classes" in str(refused.value.why)
    (tmp_path / "gaps.json").write_text('[{"id": 2, "name": "dog"}]')
    with pytest.raises(UsageError, match="do not fit"):
        predict.load(saved, labels=tmp_path / "gaps.json")


def test_predictions_of_a_keras_file_become_a_pack_with_scores(saved: Path, tmp_path: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (2, 90, 128, 3), dtype=np.uint8)
    for number, photo in enumerate(photos):
        (tmp_path / f"photos/{number}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"photos/{number}.png").write_bytes(png.encode_png(photo))
    settings: dict[str, Any] = {"detection_min_confidence": 0.4, "image_max_dim": 128, "image_min_dim": 128}
    settings |= {"detection_max_instances": 8, "post_nms_rois_inference": 50}
    model = predict.load(saved, device="cpu", **settings)
    report = predict.predict(model, tmp_path / "photos", tmp_path / "found")
    pack = segdata.open(tmp_path / "found")
    assert report.samples == 2 and pack.labels == model.labels and list(pack.keys) == ["0", "1"]
    assert pack.info["provenance"] is not None
    direct = matterport.load(saved, **settings)
    for sample, result, again in zip(pack, direct.detect(list(photos)), direct.predict(list(photos)), strict=True):
        instances = sample.instances
        assert instances.score.tolist() == result["scores"].tolist() == again.on(sample).instances.score.tolist()
        assert (instances.category + 1).tolist() == result["class_ids"].tolist()
        assert instances.boxes[:, [1, 0, 3, 2]].tolist() == result["rois"].tolist()
        assert np.array_equal(np.moveaxis(instances.masks.dense(), 0, -1), result["masks"])
    with pytest.raises(UsageError, match="flipped"):
        predict.load(saved, flip=True)


def test_saved_weights_come_back_equal_also_from_under_model_weights(fresh: Model, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(saved.read_bytes())
    again = matterport.load(path, image_max_dim=128, image_min_dim=128)
    assert again.config == fresh.config and again.num_classes == 3 and again.labels[0].name == "class_1"
    counters = [value for name, value in again.network.named_buffers() if name.endswith("num_batches_tracked")]
    assert counters and not any(counters)
    other = matterport.load(path, num_classes=6, exclude=matterport.LABELLED, seed=1)
    assert other.fresh == ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask") and other.num_classes == 6
    assert torch.equal(other.network.backbone.conv1.weight, fresh.network.backbone.conv1.weight)
    with pytest.raises(InvalidInput, match=r"mrcnn_class_logits kernel \(24, 3\) instead of \(24, 6\)"):
        matterport.load(path, num_classes=6)
    with pytest.raises(InvalidInput, match="lacks layers of a resnet101 model"):
        matterport.load(path, backbone="resnet101")
    with h5py.File(path, "r+") as file:
        group = file.create_group("model_weights")
        for name, value in file.attrs.items():
            group.attrs[name] = value
        for name in file.attrs["layer_names"]:
            file.move(name.decode(), f"model_weights/{name.decode()}")
        group.create_group("odd").create_dataset("kernel:0", data=np.zeros(3, np.float32))
        group["odd"].attrs["weight_names"] = np.array([b"kernel:0"])
        names = [*(name.decode() for name in file.attrs["layer_names"]), "odd"]
        del group.attrs["layer_names"], file.attrs["layer_names"]
        group.attrs["layer_names0"] = np.array(names[:40], dtype=h5py.string_dtype())
        group.attrs["layer_names1"] = np.array(names[40:], dtype=h5py.string_dtype())
        file.attrs["model_config"] = "never looked at"
    with pytest.warns(UserWarning, match="1 layers have no place .* odd"):
        nested = matterport.load(path)
    assert nested.unused == ("odd",)
    states = [model.network.state_dict() for model in (fresh, again, nested)]
    for name, value in states[0].items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, states[1][name]) and torch.equal(value, states[2][name]), name

    image = np.random.default_rng(0).integers(0, 256, (90, 128, 3), dtype=np.uint8)
    one, two = (
        model.changed(detection_min_confidence=0, detection_max_instances=8).detect([image])[0]
        for model in (fresh, again)
    )
    assert all(np.array_equal(one[name], two[name]) for name in one)

    with h5py.File(path, "r+") as file:
        file["model_weights/conv1/conv1/bias:0"][3] = np.nan
    with pytest.raises(DamagedData, match="a number that no weight is"):
        matterport.load(path)


def test_a_saved_file_has_its_digest_beside_it_and_a_changed_bit_is_found(saved: Path, tmp_path: Path) -> None:
    side = Path(f"{saved}.sha256")
    data = bytearray(saved.read_bytes())
    assert side.read_text() == f"{hashlib.sha256(data).hexdigest()}  {saved.name}\n"
    data[len(data) // 2] ^= 1
    path = tmp_path / saved.name
    path.write_bytes(data)
    matterport.load(path)  # a weight that looks like any other
    (tmp_path / side.name).write_text(side.read_text())
    with pytest.raises(DamagedData, match="sha256"):
        matterport.load(path)


@needs_matterport
@pytest.mark.full
def test_the_keras_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = made(tmp_path, "resnet50")
    model = matterport.load(path)
    matterport.save(model, tmp_path / "again.h5")
    with h5py.File(path) as one, h5py.File(tmp_path / "again.h5") as two:
        names: list[str] = []
        one.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) == 384
        for name in names:
            assert np.array_equal(one[name][()], two[name][()]), name


def test_images_of_other_kinds_are_refused(fresh: Model) -> None:
    for image in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.int64)):
        with pytest.raises(UsageError):
            fresh.detect([image])
    with pytest.raises(UsageError, match="part of the network"):
        fresh.changed(pool_size=7)
