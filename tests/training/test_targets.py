"""What a pack gives a training to learn from: nothing at all, some images without targets, boxes without masks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks_of
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segdata
from segdata.core.masks import Masks
from segdata.models.contract import Prediction
from segdata.models.maskrcnn import model as maskrcnn
from segdata.models.maskrcnn.augment import filled
from segdata.models.maskrcnn.average_precision import average_precision
from segdata.training import trainer as engine
from segdata.training.config import TrainConfig
from tests.helpers import made
from tests.helpers.command import Here
from tests.helpers.tiny_training import TINY, arguments

pytestmark = pytest.mark.usefixtures("without_pages")

_SIDE = 48


def _object(number: int, image: int, box: list[int], **more: Any) -> dict[str, Any]:
    """A rectangle, annotated as a polygon."""
    x, y, width, height = box
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    fields = {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": width * height, "iscrowd": 0}
    return {**fields, "segmentation": [polygon], **more}


def _document(annotations: list[dict[str, Any]], images: int = 3) -> dict[str, Any]:
    sizes = {"height": _SIDE, "width": _SIDE}
    return {
        "images": [{"id": number, "file_name": f"{number}.png", **sizes} for number in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}],
    }


def _pack(folder: Path, train: list[dict[str, Any]], val: list[dict[str, Any]] | None = None) -> Path:
    """Three images in each split."""
    for split, objects in (("train", train), ("val", val)):
        if objects is not None:
            made.coco(folder / "raw", _document(objects), split)
    segdata.convert(folder / "raw", folder / "pack")
    return folder / "pack"


_CROWD = {"iscrowd": 1, "segmentation": {"size": [_SIDE, _SIDE], "counts": [0, 90, _SIDE * _SIDE - 90]}}
_BOX: dict[str, Any] = {"segmentation": []}


@pytest.mark.parametrize(
    ("annotations", "why", "fix"),
    [
        ([_object(n, 1 + n % 2, [2, 2, 20, 9], **_CROWD) for n in range(1, 6)], "5 objects are crowds", "--crowds objects"),
        ([_object(1, 1, [2, 2, 20, 9], **_BOX)], "1 object has a box and no mask", "--boxes-as-masks"),
        ([], "3 images have no object", "--split"),
        (
            [_object(1, 1, [2, 2, 20, 9], **_BOX), *(_object(n, 2, [2, 2, 20, 9], **_CROWD) for n in (2, 3))],
            "3 images, 2 objects are crowds, 1 object has a box and no mask, 1 image has no object",
            "--crowds objects",
        ),
    ],
    ids=["crowds", "boxes", "none", "both"],
)  # fmt: skip
def test_a_pack_without_a_target_says_which_of_them_it_is(
    annotations: list[dict[str, Any]], why: str, fix: str, tmp_path: Path, here: Here
) -> None:
    pack = _pack(tmp_path, annotations, [_object(1, 1, [2, 2, 20, 9])])
    outcome = here(*arguments(pack, tmp_path / "run"))
    assert outcome.code == 2, outcome.err
    error = outcome.document["error"]
    assert "nothing to train on" in error["message"] and why in error["why"] and fix in error["fix"]
    assert not (tmp_path / "run/checkpoints").exists()


class _Changed:
    """A pack whose samples are changed."""

    def __init__(self, pack: Path, change: Callable[[segdata.Sample], segdata.Sample]) -> None:
        self._pack, self._change = segdata.open(pack), change
        self.path, self.labels = self._pack.path, self._pack.labels

    def __len__(self) -> int:
        return len(self._pack)

    def __getitem__(self, index: int) -> segdata.Sample:
        return self._change(self._pack[index])


@pytest.mark.parametrize(
    ("value", "why", "fix"),
    [
        (0, "3 images have a label map and no objects", "--model unet"),
        (255, "3 images have a label map of void alone", "--classes"),
        (None, "3 images were not annotated", "--split"),
    ],
)
def test_label_maps_alone_and_void_alone_are_no_targets(value: int | None, why: str, fix: str, tmp_path: Path) -> None:
    semantic = None if value is None else np.full((_SIDE, _SIDE), value, np.uint8)
    pack: Any = _Changed(
        _pack(tmp_path, [_object(1, 1, [2, 2, 20, 9])]),
        lambda sample: sample.with_annotations(instances=None, semantic=semantic, extra={}),
    )
    with pytest.raises(segdata.SegdataError) as refused:
        maskrcnn.MODEL.usable(pack, TrainConfig.of().model)
    assert why in str(refused.value.why) and fix in str(refused.value.fix)


def test_masks_without_a_pixel_are_no_targets(tmp_path: Path) -> None:
    def emptied(sample: segdata.Sample) -> segdata.Sample:
        empty = Masks.empty(_SIDE, _SIDE, len(sample.instances))
        return sample.with_annotations(
            instances=dataclasses.replace(sample.instances, masks=empty), semantic=None, extra={}
        )

    pack: Any = _Changed(_pack(tmp_path, [_object(1, 1, [2, 2, 20, 9])]), emptied)
    with pytest.raises(segdata.SegdataError) as refused:
        maskrcnn.MODEL.usable(pack, TrainConfig.of().model)
    assert "1 object has a mask without a pixel" in str(refused.value.why)


def test_images_without_targets_are_counted_before_the_first_update(tmp_path: Path) -> None:
    pack = segdata.open(_pack(tmp_path, [_object(1, 1, [2, 2, 20, 9]), _object(2, 2, [2, 2, 20, 9], **_CROWD)]))
    said: list[str] = []
    counts_at_updates: list[int] = []
    report = engine.train(
        pack,
        tmp_path / "run",
        TrainConfig.from_dict({**TINY, "steps_per_epoch": 1, "validate_epochs": 0}),
        device="cpu",
        remark=said.append,
        progress=lambda status: counts_at_updates.append(len(said)),
    )
    assert said == list(report.remarks) and counts_at_updates == [len(said)] and report.images == 3
    text = " ".join(said)
    assert "2 of 3 images have no target" in text
    assert "1 have objects that are crowds" in text and "1 have no object" in text
    assert "1 of 2 objects are crowds and are not trained on" in text and "--crowds objects" in text
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["data"]["remarks"] == said


def test_images_that_all_have_targets_are_worth_no_word(tmp_path: Path) -> None:
    pack = segdata.open(_pack(tmp_path, [_object(number, number, [2, 2, 20, 9]) for number in (1, 2, 3)]))
    usable = maskrcnn.MODEL.usable(pack, TrainConfig.of().model)
    assert usable.remarks == () and usable.pack is pack
    assert maskrcnn.MODEL.judged(pack, TrainConfig.of().model, 3) == ()


# ---------------------------------------------------------------------- boxes as masks


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([2, 3, 4, 5], (3, 8), (2, 6)),
        ([2.5, 3.4, 1.0, 1.2], (3, 5), (2, 3)),  # centres 2.5; 3.5 and 4.5
        ([5.6, 7.1, 0.2, 0.3], (7, 8), (5, 6)),  # between the centres: the pixel that it lies in
        ([40, 44, 20, 30], (44, _SIDE), (40, _SIDE)),
        ([-3, -2, 5, 4], (0, 2), (0, 2)),
    ],
)
def test_a_filled_box_has_the_pixels_whose_centres_are_inside(
    box: list[float], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    dense = np.zeros((2, _SIDE, _SIDE), np.uint8)
    dense[0, 30:40, 20:25] = 1
    instances = segdata.Instances.build(
        [0, 0], Masks.from_dense(dense), has_mask=[True, False], bbox=[[20, 30, 5, 10], box]
    )
    dense[1, slice(*rows), slice(*columns)] = 1
    changed = filled(instances)
    assert changed.masks.dense().tolist() == dense.tolist() and changed.has_mask.all()
    assert changed.bbox.tolist() == instances.bbox.tolist()
    assert not instances.has_mask[1] and instances.masks.areas.tolist() == [50, 0]


def test_boxes_alone_are_left_out_or_trained_with_filled_masks(tmp_path: Path, here: Here) -> None:
    train = [_object(1, 1, [2, 2, 20, 9]), _object(2, 1, [30, 5, 10, 11], **_BOX), _object(3, 2, [9, 9, 20, 9], **_BOX)]
    pack = _pack(tmp_path, [*train, _object(4, 3, [5, 5, 20, 9])], train)
    left_out = here(*arguments(pack, tmp_path / "without", steps_per_epoch=1))
    assert left_out.code == 0 and left_out.document["images"] == 1, left_out.err
    (remark, judged) = left_out.document["remarks"]
    assert "2 of 3 images are left out" in remark and "some objects: 2" in remark and "--boxes-as-masks" in remark
    assert "validation: 2 objects have a box and no mask" in judged and "--boxes-as-masks" in judged
    trained = here(*arguments(pack, tmp_path / "with", "--boxes-as-masks", steps_per_epoch=1))
    assert trained.code == 0 and trained.document["images"] == 3, trained.err
    assert any("2 objects of 2 images" in remark and "filled" in remark for remark in trained.document["remarks"])
    assert "boxes_as_masks = true" in (tmp_path / "with/config.toml").read_text()
    other = here(*arguments(pack, tmp_path / "with", steps_per_epoch=1))
    assert other.code == 2 and "boxes_as_masks: True there, False here" in other.document["error"]["why"]
    again = here("train", pack, "-o", tmp_path / "with", "--resume", "--json")
    assert again.code == 0 and again.document["was_done"]


def test_a_filled_box_is_the_mask_target(tmp_path: Path) -> None:
    pack = segdata.open(_pack(tmp_path, [_object(1, 1, [2, 2, 20, 9]), _object(2, 1, [30, 5, 10, 11], **_BOX)]))
    for is_filled, frames in ((False, [[2, 2, 20, 9]]), (True, [[2, 2, 20, 9], [30, 5, 10, 11]])):
        config = TrainConfig.from_dict({**TINY, "boxes_as_masks": is_filled}).model
        sample = maskrcnn.MODEL.transform(config, pack.labels, None)(pack[0], np.random.default_rng(0))
        assert sample.frames.tolist() == frames
        assert len(sample.crops) == sum(width * height for *_, width, height in frames) == sample.crops.sum()


def _judged(truth: Path, rows: list[dict[str, Any]], kind: str) -> float:
    ground_truth = COCO(str(truth))
    judged = COCOeval(ground_truth, ground_truth.loadRes(rows), kind)
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return float(judged.stats[0])


def test_validation_counts_boxes_alone_for_boxes_and_filled_for_masks(tmp_path: Path) -> None:
    """As pycocotools does, where a filled box is the mask that is written in the ground truth."""
    boxes = [[2, 2, 20, 9], [30, 5, 10, 11], [9, 9, 20, 9]]
    train = [_object(n, n, box, **({} if n == 1 else _BOX)) for n, box in enumerate(boxes, 1)]
    pack = segdata.open(_pack(tmp_path, train))
    rng, rows, predicted = np.random.default_rng(0), [], {}
    for number, (x, y, width, height) in enumerate(boxes):
        dense = np.zeros((2, _SIDE, _SIDE), np.uint8)
        dense[0, y + 1 : y + height, x + 2 : x + width] = 1
        dense[1, y + 1 : y + height, x : x + width - number] = 1
        masks, scores = Masks.from_dense(dense), rng.random(2)
        moved = [[x + 2, y, width, height], [x, y + 1, width - number, height - 1]]
        instances = segdata.Instances.build([0, 0], masks, score=scores, bbox=moved)
        predicted[number] = Prediction(instances)
        rows += [
            {"image_id": number + 1, "category_id": 1, "bbox": box, "score": float(score), "segmentation": rle}
            for box, score, rle in zip(moved, scores, masks.rle(), strict=True)
        ]
    for annotation in train:
        x, y, width, height = annotation["bbox"]
        full = np.zeros((_SIDE, _SIDE), np.uint8, order="F")
        full[y : y + height, x : x + width] = 1
        rle = masks_of.encode(full)
        annotation["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    (tmp_path / "all.json").write_text(json.dumps(_document(train)))
    (tmp_path / "first.json").write_text(json.dumps(_document(train[:1])))
    box_ap, all_ap = (_judged(tmp_path / "all.json", rows, kind) for kind in ("bbox", "segm"))
    first_ap = _judged(tmp_path / "first.json", rows, "segm")
    assert len({box_ap, all_ap, first_ap}) == 3
    numbers = average_precision(pack, predicted)
    assert numbers["box_AP"] == pytest.approx(box_ap, abs=1e-12)
    assert numbers["AP"] == pytest.approx(first_ap, abs=1e-12)
    numbers = average_precision(pack, predicted, boxes_as_masks=True)
    assert numbers["box_AP"] == pytest.approx(box_ap, abs=1e-12)
    assert numbers["AP"] == pytest.approx(all_ap, abs=1e-12)


# ---------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    "val", [[], [_object(1, 1, [2, 2, 20, 9], **_CROWD)], [_object(1, 1, [2, 2, 20, 9], **_BOX)]],
    ids=["none", "crowd", "box"],
)  # fmt: skip
def test_a_validation_without_objects_is_told_and_gives_no_number(
    val: list[dict[str, Any]], tmp_path: Path, here: Here
) -> None:
    pack = _pack(tmp_path, [_object(number, number, [2, 2, 20, 9]) for number in (1, 2, 3)], val)
    outcome = here(*arguments(pack, tmp_path / "run", steps_per_epoch=1))
    assert outcome.code == 0, outcome.err
    assert outcome.document["metrics"]["AP"] is None and outcome.document["best"] is None
    assert any("AP is not defined and no best weights" in text for text in outcome.document["remarks"])
    assert not (tmp_path / "run/best.json").exists()
    predicted = here("predict", tmp_path / "run", pack, "-o", tmp_path / "found", "--json", "--limit", 1)
    assert predicted.code == 0, predicted.err
    words = here(*(word for word in arguments(pack, tmp_path / "words", steps_per_epoch=1) if word != "--json"))
    assert "AP is not defined" in words.err and "AP is not defined" in words.out and " -1" not in words.out


def test_more_objects_than_the_validation_counts_are_remarked(tmp_path: Path) -> None:
    for number, some in ((100, False), (101, True)):
        folder = tmp_path / str(number)
        pack = segdata.open(_pack(folder, [_object(n + 1, 1, [2, 2, 20, 9]) for n in range(number)]))
        remarks = " | ".join(maskrcnn.MODEL.judged(pack, TrainConfig.of().model, 3))
        assert ("101 objects" in remarks and "--max-detections" in remarks) is some
