"""`segdata.torch.Dataset`: targets that torchvision's models take, through any `DataLoader`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import segdata
from segdata.demo import synthetic
from tests.helpers import made

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")
torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed (pip install 'segdata[torch]')")

from torch.utils.data import DataLoader  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from segdata.torch import Dataset, collate  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.coco.draw(tmp_path_factory.mktemp("coco") / "coco", images=5)


@pytest.fixture(scope="module")
def pack(folder: Path) -> segdata.Pack:
    segdata.convert(folder, folder.parent / "pack")
    return segdata.open(folder.parent / "pack", split="train2017")


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> segdata.Pack:
    root = tmp_path_factory.mktemp("cityscapes")
    segdata.convert(synthetic.cityscapes.draw(root / "cityscapes", images=2, size=(64, 128)), root / "pack")
    return segdata.open(root / "pack")


def test_detection_targets_are_the_annotations(pack: segdata.Pack, folder: Path) -> None:
    api = COCO(folder / "annotations" / "instances_train2017.json")
    dataset = Dataset(pack)
    names = ["background", *(item["name"] for item in api.dataset["categories"])]
    assert dataset.classes == names
    seen = 0
    for image, target in dataset:
        annotations = [item for item in api.imgToAnns[target["image_id"]] if not item["iscrowd"]]
        assert isinstance(image, tv_tensors.Image)
        assert image.dtype == torch.uint8
        assert target["labels"].tolist() == [names.index(api.cats[item["category_id"]]["name"]) for item in annotations]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (item["bbox"] for item in annotations)]
        assert target["boxes"].shape == (len(annotations), 4)
        assert target["masks"].shape == (len(annotations), *image.shape[1:])
        assert np.allclose(target["boxes"].numpy(), np.reshape(boxes, (-1, 4)))
        for mask, item in zip(target["masks"], annotations, strict=True):
            assert np.array_equal(mask.numpy(), api.annToMask(item))
        seen += len(annotations)
    assert seen > 10
    with_crowds = Dataset(pack, crowds=True)
    assert sum(int(target["iscrowd"].sum()) for _, target in with_crowds) == sum(
        item["iscrowd"] for item in api.dataset["annotations"]
    )


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (2, "spawn")])
def test_any_data_loader_gives_the_same(pack: segdata.Pack, workers: int, context: str | None) -> None:
    loader = DataLoader(Dataset(pack), 2, num_workers=workers, collate_fn=collate, multiprocessing_context=context)
    items = [(image, target) for images, targets in loader for image, target in zip(images, targets, strict=True)]
    assert len(items) == len(pack)
    for (image, target), (expected_image, expected) in zip(items, Dataset(pack), strict=True):
        assert torch.equal(image, expected_image)
        assert isinstance(target["masks"], tv_tensors.Mask)
        assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
        assert target["boxes"].canvas_size == tuple(image.shape[1:])
        assert list(target) == list(expected) and target["image_id"] == expected["image_id"]
        assert torch.equal(target["masks"], expected["masks"])
        assert torch.equal(target["boxes"], expected["boxes"])


def digest(item: tuple[Any, Any]) -> str:
    image, target = item
    made = hashlib.sha256(image.numpy().tobytes())
    for name in ("boxes", "labels", "masks", "area", "iscrowd", "difficult"):
        made.update(target[name].numpy().tobytes())
    return made.hexdigest()


def test_four_workers_read_what_one_process_reads(pack: segdata.Pack) -> None:
    dataset = Dataset(pack)
    expected = sorted(map(digest, dataset))
    loader = DataLoader(dataset, None, shuffle=True, num_workers=4, multiprocessing_context="fork")
    for _ in range(2):
        assert sorted(map(digest, loader)) == expected


def padded(items: list[tuple[Any, Any]]) -> Any:
    height, width = (max(image.shape[axis] for image, _ in items) for axis in (1, 2))
    pads = [(0, width - image.shape[2], 0, height - image.shape[1]) for image, _ in items]
    return torch.cat(
        [torch.nn.functional.pad(target["masks"], pad) for (_, target), pad in zip(items, pads, strict=True)]
    )


def test_a_collate_function_in_a_worker_finds_tensors(pack: segdata.Pack) -> None:
    here, there = (next(iter(DataLoader(Dataset(pack), 3, collate_fn=padded, num_workers=n))) for n in (0, 1))
    assert here.sum() > 0
    assert torch.equal(here, there)

    def changed(items: list[tuple[Any, Any]]) -> Any:
        masks = items[0][1]["masks"]
        assert masks.shape == (len(masks), *items[0][0].shape[1:])
        masks.zero_()
        return masks

    assert next(iter(DataLoader(Dataset(pack), 1, collate_fn=changed, num_workers=1))).sum() == 0
    for one, other in zip(DataLoader(Dataset(pack)), DataLoader(Dataset(pack), num_workers=1), strict=True):
        assert torch.equal(one[1]["masks"], other[1]["masks"])  # PyTorch's own collate function, one item a batch


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(workers: int, tmp_path: Path) -> None:
    source = made.coco(tmp_path / "coco")
    segdata.convert(source, tmp_path / "pack", images="reference")
    (file, *_) = sorted(source.rglob("*.jpg"))
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    with pytest.raises(segdata.errors.DamagedData, match=f"{file.stem}(.|\n)*shard 0, record"):
        list(DataLoader(Dataset(segdata.open(tmp_path / "pack")), num_workers=workers, collate_fn=collate))


def test_a_segmentation_model_trains_on_label_maps(cityscapes: segdata.Pack) -> None:
    pack = cityscapes.viewed("cityscapes-19")
    dataset = Dataset(pack, target="semantic", transform=v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}))
    model = torch.nn.Conv2d(3, 19, 1)
    for images, maps in DataLoader(dataset, 2):
        assert (maps.max() == 255) or maps.max() < 19
        loss = torch.nn.functional.cross_entropy(model(images), maps, ignore_index=255)
        loss.backward()
        assert torch.isfinite(loss)
    for (_, target), sample in zip(dataset, pack, strict=True):
        assert sample.semantic is not None and np.array_equal(target.numpy(), sample.semantic)


def test_a_v2_transform_moves_boxes_and_masks_along(pack: segdata.Pack) -> None:
    flipped = Dataset(pack, transform=v2.RandomHorizontalFlip(p=1.0))
    for (image, target), (plain_image, plain) in zip(flipped, Dataset(pack), strict=True):
        assert torch.equal(image, plain_image.flip(-1))
        assert torch.equal(target["masks"], plain["masks"].flip(-1))
        width = image.shape[-1]
        assert torch.allclose(target["boxes"][:, 0], width - plain["boxes"][:, 2], atol=1e-4)


def test_images_without_objects_are_well_formed(tmp_path: Path) -> None:
    document = made.coco_document()
    document["annotations"] = []
    made.coco(tmp_path / "coco", document)
    segdata.convert(tmp_path / "coco", tmp_path / "pack")
    for image, target in Dataset(segdata.open(tmp_path / "pack")):
        assert target["boxes"].shape == (0, 4)
        assert target["labels"].shape == target["area"].shape == target["iscrowd"].shape == (0,)
        assert target["masks"].shape == (0, *image.shape[1:])


def test_objects_that_are_no_targets_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = made.coco_document()
    image = document["images"][0]
    category = document["categories"][0]["id"]
    ring = [[1, 1, 6, 1, 6, 6, 1, 6]]
    common: dict[str, Any] = {"image_id": image["id"], "category_id": category, "iscrowd": 0, "area": 1.0}
    document["annotations"] = [
        {**common, "id": 1, "bbox": [1, 1, 5, 5], "segmentation": ring},
        {**common, "id": 2, "bbox": [1, 1, 5, 0], "segmentation": []},
        {**common, "id": 3, "bbox": [1, 1, 5, 5], "segmentation": []},
    ]
    made.coco(tmp_path / "coco", document)
    segdata.convert(tmp_path / "coco", tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    index = list(pack.keys).index(Path(image["file_name"]).stem)
    assert len(Dataset(pack, without_masks=True)[index][1]["labels"]) == 2
    assert not caplog.records
    dataset = Dataset(pack)
    assert [len(dataset[index][1]["labels"]) for _ in range(2)] == [1, 1]
    (record,) = caplog.records  # counted once, with what to do
    assert "2 of 3 objects, in 1 images, have no mask" in record.getMessage()
    assert "without_masks=True" in record.getMessage()


def a_pack(tmp_path: Path, annotations: list[dict[str, Any]]) -> segdata.Pack:
    document = made.coco_document()
    common = {"image_id": document["images"][0]["id"], "category_id": document["categories"][0]["id"], "iscrowd": 0}
    document["annotations"] = [{**common, "id": index + 1, **item} for index, item in enumerate(annotations)]
    made.coco(tmp_path / "coco", document)
    segdata.convert(tmp_path / "coco", tmp_path / "pack")
    return segdata.open(tmp_path / "pack").select(lambda sample: len(sample.instances) > 0)


def test_a_box_that_float32_closes_is_no_target(tmp_path: Path) -> None:
    ring = [[1, 1, 6, 1, 6, 6, 1, 6]]
    sizes = [(5, 5), (1e-9, 5), (5, 1e-9)]
    boxes = [{"bbox": [20, 20, *size], "segmentation": ring, "area": 25.0} for size in sizes]
    (target,) = [target for _, target in Dataset(a_pack(tmp_path, boxes))]
    assert target["boxes"].tolist() == [[20, 20, 25, 25]]
    assert target["masks"].shape[0] == 1


def test_difficult_objects_can_be_left_out(tmp_path: Path) -> None:
    root = made.voc(tmp_path / "voc")
    file = root / "Annotations/2007_000001.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    segdata.convert(root, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack", split="train")
    ((_, target),) = Dataset(pack)
    assert target["difficult"].tolist() == [1, 0]
    ((_, target),) = Dataset(pack, difficult=False)
    assert target["difficult"].tolist() == [0]


def test_labels_lead_back_to_categories(pack: segdata.Pack, folder: Path) -> None:
    dataset = Dataset(pack)
    api = COCO(folder / "annotations" / "instances_train2017.json")
    for _, target in dataset:
        ids = [pack.labels[int(dataset.indices[label])].id for label in target["labels"]]
        assert ids == [item["category_id"] for item in api.imgToAnns[target["image_id"]] if not item["iscrowd"]]
    assert dataset.indices[0] == -1


def test_what_was_never_annotated_is_no_empty_target(tmp_path: Path) -> None:
    segdata.convert(made.camvid_segnet(tmp_path / "camvid"), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    with pytest.raises(segdata.SegdataError, match="not annotated") as caught:
        Dataset(pack)[0]
    assert caught.value.key == pack.keys[0]


def test_labels_leave_no_gap(cityscapes: segdata.Pack) -> None:
    dataset = Dataset(cityscapes)
    things = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
    assert dataset.classes == ["background", *things]
    for (_, target), sample in zip(dataset, cityscapes, strict=True):
        names = [cityscapes.labels[index].name for index in sample.instances.take(~sample.instances.iscrowd).category]
        names = [name for name in names if name in things]
        assert [dataset.classes[label] for label in target["labels"].tolist()] == names


def test_panoptic_targets(cityscapes: segdata.Pack) -> None:
    for (_, target), sample in zip(Dataset(cityscapes, target="panoptic"), cityscapes, strict=True):
        segments = target["segments"].numpy()
        assert set(np.unique(segments)) - {0} == {item["id"] for item in target["info"]}
        assert sample.semantic is not None
        for item in target["info"]:
            inside = sample.semantic[segments == item["id"]]
            assert (inside == item["category"]).all()
            assert not cityscapes.labels[item["category"]].ignore


def test_objects_that_nobody_separated_are_a_crowd_segment(tmp_path: Path) -> None:
    root = made.cityscapes(tmp_path / "cityscapes")
    (file,) = root.rglob("*_instanceIds.png")
    numbers = np.array(Image.open(file))
    numbers[numbers == 26007] = 26
    made.put(file, made.png(numbers))
    segdata.convert(root, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    ((_, target),) = Dataset(pack, target="panoptic")
    cars = [item for item in target["info"] if pack.labels[item["category"]].name == "car"]
    areas = {item["iscrowd"]: int((target["segments"] == item["id"]).sum()) for item in cars}
    assert areas == {True: 8 * 15, False: 6 * 10}


def test_ignored_categories_are_no_semantic_target(cityscapes: segdata.Pack) -> None:
    ignored = [index for index, category in enumerate(cityscapes.labels.categories) if category.ignore]
    for (_, target), sample in zip(Dataset(cityscapes, target="semantic"), cityscapes, strict=True):
        assert sample.semantic is not None
        is_left_out = np.isin(sample.semantic, [*ignored, 255])
        assert np.isin(sample.semantic, ignored).any()
        assert np.array_equal(target.numpy() == 255, is_left_out)
        assert np.array_equal(target.numpy()[~is_left_out], sample.semantic[~is_left_out])


def test_unknown_targets_and_missing_maps(pack: segdata.Pack) -> None:
    with pytest.raises(segdata.SegdataError, match="no target"):
        Dataset(pack, target="boxes")  # type: ignore[arg-type]
    with pytest.raises(segdata.SegdataError, match="no label map"):
        Dataset(pack, target="semantic")[0]
