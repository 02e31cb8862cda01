"""Ultralytics reads what segdata writes: its own functions list images and labels, and draw the masks.

It is not among the packages of the tests (AGPL-3.0, and large); where it is not installed, these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.core.masks import Masks
from segdata.core.sample import Instances
from tests.helpers import made


@pytest.fixture
def ultralytics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its functions, which write their settings below the test's folder."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    pytest.importorskip("ultralytics", reason="ultralytics is not installed")
    from ultralytics.data import dataset, utils  # type: ignore[import-not-found,unused-ignore]

    return dataset, utils


def read_by(ultralytics: Any, root: Path, split: str, task: str) -> list[dict[str, Any]]:
    """The labels of a split, as Ultralytics' dataset has them."""
    dataset, utils = ultralytics
    data = utils.check_det_dataset(str(root / "data.yaml"), autodownload=False)
    labels: list[dict[str, Any]] = dataset.YOLODataset(img_path=data[split], data=data, task=task, augment=False).labels
    return labels


def drawn_by(ultralytics: Any, label: dict[str, Any]) -> np.ndarray:
    """(N, H, W) masks by Ultralytics' own function."""
    height, width = label["shape"]
    segments = [segment * [width, height] for segment in label["segments"]]
    masks: np.ndarray = ultralytics[1].polygons2masks((height, width), segments, 1)
    return masks


def ious(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) of masks (N, H, W)."""
    both, any_ = (one & other).sum(axis=(1, 2)), (one | other).sum(axis=(1, 2))
    values: np.ndarray = both / any_
    return values


def real_coco() -> Path:
    root = os.environ.get("SEGDATA_SAMPLES")
    if not root:
        pytest.skip("SEGDATA_SAMPLES is not set")
    return Path(root, "coco")


def test_objects_and_classes_are_the_same(ultralytics: Any, tmp_path: Path) -> None:
    source = real_coco()
    segdata.convert(source, tmp_path / "yolo", to="yolo", allow_loss=True)
    before = segdata.read(source)
    assert before.labels is not None
    objects = 0
    for split, theirs in (("train2017", "train"), ("val2017", "val")):
        by_name = {
            Path(label["im_file"]).stem: label for label in read_by(ultralytics, tmp_path / "yolo", theirs, "segment")
        }
        for index in before.splits[split]:
            sample = before[int(index)]
            label, kept = by_name.pop(sample.key), sample.instances.take(~sample.instances.iscrowd)
            assert label["shape"] == (sample.height, sample.width)
            names = [category.name for category in before.labels.categories]
            ordered = {name: number for number, name in enumerate(names)}
            expected = sorted(ordered[names[index]] for index in kept.category.tolist())
            assert sorted(int(number) for number in label["cls"].ravel()) == expected, sample.key
            objects += len(kept)
        assert not by_name
    assert objects > 500


def test_borders_of_masks_are_drawn_as_they_are(ultralytics: Any, tmp_path: Path) -> None:
    """Objects of run lengths, from 32² pixels on: IoU 1 where an object is one part without hole, else 0.98 for 99 %."""
    source = tmp_path / "masks"
    samples = []
    for number, sample in enumerate(segdata.read(real_coco())):
        masks = sample.instances.masks[~sample.instances.iscrowd & (sample.instances.masks.areas >= 1024)]
        objects = Instances.build([0] * len(masks), masks)
        new = segdata.Sample(f"{number:03}", sample.height, sample.width, file=f"{number:03}.jpg", instances=objects)
        samples.append(new.with_encoded(sample.encoded or b""))
    segdata.write(samples, source, labels=["thing"])
    segdata.convert(source, tmp_path / "yolo", to="yolo", allow_loss=True)
    values, are_simple = [], []
    for label in read_by(ultralytics, tmp_path / "yolo", "train", "segment"):
        masks = samples[int(Path(label["im_file"]).stem)].instances.masks
        assert len(label["cls"]) == len(masks)
        if len(masks):
            values += ious(drawn_by(ultralytics, label).astype(bool), masks.dense().astype(bool)).tolist()
            are_simple += [len(masks.outlines(index)) == 1 for index in range(len(masks))]
    assert len(values) > 200
    assert min(value for value, is_simple in zip(values, are_simple, strict=True) if is_simple) == 1
    assert min(values) >= 0.97  # OpenCV draws the seam between parts that lie far apart
    assert np.mean(np.array(values) >= 0.98) >= 0.99


def test_polygons_are_drawn_as_those_of_coco(ultralytics: Any, tmp_path: Path) -> None:
    """An object of one polygon keeps it: Ultralytics draws what it draws from the polygon itself."""
    source = real_coco()
    segdata.convert(source, tmp_path / "yolo", to="yolo", allow_loss=True)
    labels = [
        label for split in ("train", "val") for label in read_by(ultralytics, tmp_path / "yolo", split, "segment")
    ]
    by_name = {Path(label["im_file"]).stem: label for label in labels}
    same = 0
    for sample in segdata.read(source):
        kept = sample.instances.take(~sample.instances.iscrowd)
        segments = by_name[sample.key]["segments"]
        for index, rings in enumerate(kept.polygons):
            if len(rings) == 1 and len(segments) == len(kept):
                expected = ultralytics[1].polygon2mask((sample.height, sample.width), [rings[0].reshape(-1)])
                scaled = segments[index] * [sample.width, sample.height]
                mask = ultralytics[1].polygon2mask((sample.height, sample.width), [scaled.reshape(-1)])
                assert ious(mask[None].astype(bool), expected[None].astype(bool))[0] > 0.9 or expected.sum() < 1024
                same += 1
    assert same > 400


def test_pictures_that_exif_turns(ultralytics: Any, tmp_path: Path) -> None:
    dense = np.zeros((1, made.HEIGHT, made.WIDTH), np.uint8)
    dense[0, 3:9, 4:20] = 1
    samples = []
    for orientation in range(1, 9):
        objects = Instances.build([0], Masks.from_dense(dense))
        sample = segdata.Sample(f"{orientation}", made.HEIGHT, made.WIDTH, file=f"{orientation}.jpg", instances=objects)
        samples.append(sample.with_encoded(made.turned_photo(orientation)))
    segdata.write(samples, tmp_path / "pack", labels=["cat"])
    segdata.convert(tmp_path / "pack", tmp_path / "yolo", to="yolo", allow_loss=True)
    for label in read_by(ultralytics, tmp_path / "yolo", "train", "segment"):
        orientation = int(Path(label["im_file"]).stem)
        upright = dense[0].T if orientation >= 5 else dense[0]
        upright = upright[::-1] if orientation in (3, 4, 7, 8) else upright
        upright = upright[:, ::-1] if orientation in (2, 3, 6, 7) else upright
        assert np.array_equal(drawn_by(ultralytics, label)[0], upright), orientation


def test_boxes_are_the_same(ultralytics: Any, tmp_path: Path) -> None:
    objects = Instances.build([1], Masks.empty(made.HEIGHT, made.WIDTH, 1), has_mask=[False], bbox=[[10, 6, 20, 12]])
    sample = segdata.Sample("a", made.HEIGHT, made.WIDTH, file="a.jpg", instances=objects)
    segdata.write([sample.with_encoded(made.photo())], tmp_path / "pack", labels=["cat", "dog"])
    segdata.convert(tmp_path / "pack", tmp_path / "yolo", to="yolo", allow_loss=True)
    (label,) = read_by(ultralytics, tmp_path / "yolo", "train", "detect")
    assert label["cls"].tolist() == [[1]]
    assert np.allclose(label["bboxes"], [[0.5, 0.4, 0.5, 0.4]])


def test_label_maps_are_the_same(ultralytics: Any, tmp_path: Path) -> None:
    dataset, utils = ultralytics
    semantic = np.full((made.HEIGHT, made.WIDTH), 255, np.uint8)
    semantic[4:9], semantic[12:] = 0, 1
    sample = segdata.Sample("a", made.HEIGHT, made.WIDTH, file="a.jpg", semantic=semantic)
    segdata.write([sample.with_encoded(made.photo())], tmp_path / "pack", labels=["road", "sky"])
    segdata.convert(tmp_path / "pack", tmp_path / "yolo", to="yolo", allow_loss=True)
    data = utils.check_det_dataset(str(tmp_path / "yolo/data.yaml"), autodownload=False)
    theirs = dataset.SemanticDataset(img_path=data["train"], data=data, augment=False)
    assert np.array_equal(theirs.load_mask(0), semantic)
