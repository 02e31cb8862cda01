"""COCO documents and images that lie, are named or are numbered otherwise than in the official releases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import SegdataError
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused


def document(per_image: int = 1, **changes: Any) -> dict[str, Any]:
    """Two images of the same names, with squares of category 1, "person"."""
    square = [4.0, 4.0, 14.0, 4.0, 14.0, 14.0, 4.0, 14.0]
    return {
        "images": [
            {"id": n, "file_name": f"{n:04d}.jpg", "height": made.HEIGHT, "width": made.WIDTH} for n in (1, 2)
        ],
        "annotations": [
            {
                "id": 10 * image + n, "image_id": image, "category_id": 1, "bbox": [4, 4, 10, 10], "area": 100,
                "iscrowd": 0, "segmentation": [square],
            }
            for image in (1, 2)
            for n in range(per_image)
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        **changes,
    }  # fmt: skip


def images(folder: Path, seed: int = 0) -> None:
    for number in (1, 2):
        made.put(folder / f"{number:04d}.jpg", made.photo(seed=10 * seed + number))


def convert(source: Path, target: Path, **options: Any) -> tuple[Any, dict[str, int]]:
    """The open pack and the counts of remarks."""
    report = segdata.convert(source, target, workers=1, **options)
    return segdata.open(target), {kind: item["count"] for kind, item in report.problems["remarks"].items()}


def written_again(pack: Path, target: Path) -> dict[str, Any]:
    segdata.convert(pack, target, to="coco", workers=1)
    return {path.name: json.loads(path.read_bytes()) for path in target.rglob("*.json") if path.name[0] != "."}


def test_every_document_gets_the_images_of_its_own_split(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train_images", 1)
    images(root / "val_images", 2)
    made.put(root / "annotations/instances_train.json", document())
    made.put(root / "annotations/instances_val.json", document(2))
    pack, remarks = convert(root, tmp_path / "pack")
    assert {name: len(members) for name, members in pack.splits.items()} == {"train": 2, "val": 2}
    for split, folder, objects in (("train", "train_images", 1), ("val", "val_images", 2)):
        sample = segdata.open(tmp_path / "pack", split=split)[0]
        assert sample.encoded == (root / folder / "0001.jpg").read_bytes()
        assert len(sample.instances) == objects
    assert any("chosen among several" in kind for kind in remarks)


@pytest.mark.parametrize("folder", ["segmentation", "train_masks", "train"])
def test_masks_of_the_same_names_are_not_taken_for_images(folder: str, tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "images")
    for number in (1, 2):
        made.put(root / folder / f"{number:04d}.jpg", made.photo(made.WIDTH // 2, made.HEIGHT // 2, mode="L"))
    both = document()
    for number, split in enumerate(("train", "val")):
        part = {**both, "images": [both["images"][number]], "annotations": [both["annotations"][number]]}
        made.put(root / f"annotations/instances_{split}.json", part)
    pack, _ = convert(root, tmp_path / "pack")
    assert [sample.encoded for sample in pack] == [path.read_bytes() for path in sorted((root / "images").iterdir())]


def test_names_of_windows_are_looked_for_in_the_folder_of_their_split(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for number, split in enumerate(("train", "val")):
        images(root / f"{split}_images", number)
        text = document()
        for record in text["images"]:
            record["file_name"] = f"C:\\x\\{record['file_name']}"
        made.put(root / f"annotations/instances_{split}.json", text)
    convert(root, tmp_path / "pack")
    for split in ("train", "val"):
        sample = segdata.open(tmp_path / "pack", split=split)[0]
        assert sample.encoded == (root / f"{split}_images/0001.jpg").read_bytes()


def test_two_documents_of_one_split_that_disagree_are_remarked(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    for number, name in enumerate(("a", "b")):
        made.put(root / f"train/{name}.json", document(number + 1))
    _, remarks = convert(root, tmp_path / "pack")
    assert sum(count for kind, count in remarks.items() if "annotates otherwise" in kind) == 2


def test_a_split_that_is_not_there_has_no_folder_of_images(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    made.put(root / "annotations/instances_train.json", document())
    with pytest.raises(SegdataError, match="no split 'trian'"):
        segdata.convert(root, tmp_path / "pack", images_dir={"trian": root / "train"}, workers=1)


def test_folders_that_fit_equally_are_refused_with_the_option(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "first", 1)
    images(root / "second", 2)
    made.put(root / "annotations/instances_train.json", document())
    with pytest.raises(SegdataError) as error:
        segdata.convert(root, tmp_path / "pack", workers=1)
    assert "'first'" in str(error.value) and "'second'" in str(error.value) and "--images-dir" in str(error.value)
    pack, _ = convert(root, tmp_path / "pack", images_dir=root / "second")
    assert pack[0].encoded == (root / "second/0001.jpg").read_bytes()


def test_documents_that_annotate_the_same_images_otherwise_are_remarked(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "images")
    made.put(root / "annotations/instances_coarse.json", document(1))
    made.put(root / "annotations/instances_train.json", document(2))
    _, remarks = convert(root, tmp_path / "both")
    (count,) = (count for kind, count in remarks.items() if "annotates otherwise" in kind and "--split" in kind)
    assert count == 2
    pack, _ = convert(root, tmp_path / "pack", splits=["train"])
    assert [len(sample.instances) for sample in pack] == [2, 2]


def test_documents_of_other_splits_are_not_read(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    made.put(root / "annotations/instances_train.json", document())
    made.put(root / "annotations/instances_val.json", '{"images": [')
    pack, _ = convert(root, tmp_path / "pack", splits=["train"])
    assert len(pack) == 2


def test_split_folders_with_a_document_each_are_splits(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for number, split in enumerate(("train", "valid", "test")):
        images(root / split, number)
        made.put(root / split / "_annotations.coco.json", document(number + 1))
    pack, remarks = convert(root, tmp_path / "pack")
    assert {name: len(members) for name, members in pack.splits.items()} == {"train": 2, "valid": 2, "test": 2}
    assert sum(len(sample.instances) for sample in pack) == 2 + 4 + 6
    assert not remarks


def test_json_files_of_other_kinds_beside_are_remarked(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "images")
    made.put(root / "coco.json", document())
    made.put(root / "info.json", {"images": 7})
    pack, remarks = convert(root, tmp_path / "pack")
    assert len(pack) == 2 and remarks["file not read: no COCO document"] == 1


def test_images_elsewhere_are_given_by_an_option(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "source", tmp_path / "photos"
    images(elsewhere)
    made.put(root / "train.json", document())
    with pytest.raises(SegdataError, match="not on disk") as error:
        segdata.convert(root / "train.json", tmp_path / "pack", workers=1)
    assert "--images-dir" in str(error.value)
    for name, given in (("one", elsewhere), ("split", {"train": elsewhere})):
        pack, _ = convert(root / "train.json", tmp_path / name, images_dir=given)
        assert [sample.encoded for sample in pack] == [path.read_bytes() for path in sorted(elsewhere.iterdir())]


def test_links_are_followed_when_asked(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(tmp_path / "elsewhere")
    made.put(root / "annotations/instances_train.json", document())
    (root / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SegdataError, match="2 problems") as error:
        segdata.convert(root, tmp_path / "pack", workers=1)
    assert error.value.exit_code == 11 and "--follow-links" in str(error.value)
    assert len(convert(root, tmp_path / "pack", follow_links=True)[0]) == 2


@pytest.mark.parametrize(
    "form", ["images\\{}", "/home/user/data/{}", "../images/{}", "https://example.org/a/{}", "./images/{}"]
)
def test_file_names_of_other_forms_are_found_by_their_end(form: str, tmp_path: Path) -> None:
    root, original = tmp_path / "source", document()
    images(root / "images")
    for record in original["images"]:
        record["file_name"] = form.format(record["file_name"])
    made.put(root / "result.json", original)
    pack, remarks = convert(root, tmp_path / "pack")
    assert [sample.encoded for sample in pack] == [path.read_bytes() for path in sorted((root / "images").iterdir())]
    assert remarks["file_name is no plain path: found by its end"] == 2
    assert written_again(tmp_path / "pack", tmp_path / "again")["result.json"] == original


def test_a_record_without_file_name_has_the_end_of_its_address(tmp_path: Path) -> None:
    root, original = tmp_path / "source", document()
    images(root / "val2017")
    for record in original["images"]:
        record["coco_url"] = f"http://images.cocodataset.org/val2017/{record.pop('file_name')}"
    made.put(root / "annotations/lvis_v1_val.json", original)
    pack, remarks = convert(root, tmp_path / "pack")
    assert pack[0].encoded == (root / "val2017/0001.jpg").read_bytes()
    assert remarks["no file_name: taken from coco_url"] == 2
    assert written_again(tmp_path / "pack", tmp_path / "again")["lvis_v1_val.json"] == original


@pytest.mark.parametrize("size", [{}, {"height": 0, "width": 0}, {"height": None, "width": None}])
def test_sizes_that_records_lack_are_those_of_the_files(size: dict[str, Any], tmp_path: Path) -> None:
    root, original = tmp_path / "source", document()
    images(root / "train")
    for record in original["images"]:
        del record["height"], record["width"]
        record |= size
    made.put(root / "annotations/instances_train.json", original)
    pack, remarks = convert(root, tmp_path / "pack")
    assert {(sample.height, sample.width) for sample in pack} == {(made.HEIGHT, made.WIDTH)}
    assert remarks["no size of an image in its record: taken from the file"] == 2
    assert written_again(tmp_path / "pack", tmp_path / "again")["instances_train.json"] == original


def test_image_ids_that_are_text_are_numbered_anew(tmp_path: Path) -> None:
    root, original = tmp_path / "source", document()
    images(root / "train")
    for record in original["images"]:
        record["id"] = f"aachen_{record['id']}"
    for record in original["annotations"]:
        record["image_id"] = f"aachen_{record['image_id']}"
    made.put(root / "annotations/instances_train.json", original)
    pack, remarks = convert(root, tmp_path / "pack")
    assert [sample.id for sample in pack] == [1, 2] and [len(sample.instances) for sample in pack] == [1, 1]
    assert remarks["image id is a text: numbered anew"] == 2
    assert written_again(tmp_path / "pack", tmp_path / "again")["instances_train.json"] == original


def test_categories_of_one_name_are_joined_and_unused_ones_left_out(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    categories = [{"id": 0, "name": "person"}, {"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    original = document(categories=categories)
    made.put(root / "annotations/instances_train.json", original)
    pack, remarks = convert(root, tmp_path / "pack")
    assert [category.name for category in pack.labels.categories] == ["person", "car"]
    assert sum(remarks.values()) == 1
    assert written_again(tmp_path / "pack", tmp_path / "again")["instances_train.json"] == original


def test_documents_that_number_categories_otherwise_are_joined_by_name(tmp_path: Path) -> None:
    root = tmp_path / "source"
    other = document(categories=[{"id": 1, "name": "car"}, {"id": 2, "name": "person"}, {"id": 3, "name": "bus"}])
    for split, number, text in (("train", 1, document()), ("val", 2, other)):
        images(root / split, number)
        made.put(root / f"annotations/instances_{split}.json", text)
    pack, remarks = convert(root, tmp_path / "pack")
    names = {
        split: {pack.labels[int(index)].name for sample in segdata.open(tmp_path / "pack", split=split)
                for index in sample.instances.category}
        for split in ("train", "val")
    }  # fmt: skip
    assert names == {"train": {"person"}, "val": {"car"}}
    assert sum(remarks.values()) == 2
    again = written_again(tmp_path / "pack", tmp_path / "again")
    assert again["instances_val.json"] == other
    with pytest.raises(SegdataError, match="different names"):
        segdata.convert(root, tmp_path / "strict", strict=True, workers=1)


@pytest.mark.parametrize(
    "text, what",
    [
        ({"version": "5.0", "shapes": [], "imagePath": "a.jpg"}, "Labelme"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VIA"),
        ({"image": {}, "annotations": [{"segmentation": {}}]}, "SA-1B"),
    ],
)
def test_json_of_other_tools_is_named(text: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = made.put(tmp_path / "a.json", text)
    with pytest.raises(SegdataError) as error:
        segdata.convert(path, tmp_path / "pack", workers=1)
    assert what in str(error.value) and "captions_a.json" not in str(error.value)


def with_images(root: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """The hand-made dataset with other image records."""
    source = made.coco(root)
    path = source / "annotations/instances_val2017.json"
    document = json.loads(path.read_text())
    change(document["images"])
    path.write_text(json.dumps(document))
    return source


BROKEN_IMAGES: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "a negative size": lambda images: images[0].update(height=-4),
    "no file name": lambda images: images[0].pop("file_name"),
    "a null id": lambda images: images[0].update(id=None),
    "no size and no file": lambda images: images[0].update(height=0, file_name="nowhere.jpg"),
    "a path that leads out": lambda images: images[0].update(file_name="../../x.jpg"),
}


@pytest.mark.parametrize("what", BROKEN_IMAGES)
def test_an_image_record_that_is_not_valid_is_left_out_alone(what: str, tmp_path: Path) -> None:
    source = with_images(tmp_path / "source", BROKEN_IMAGES[what])
    stopped = run_segdata("convert", source, tmp_path / "pack")
    assert stopped.code in (4, 11) and "$.images[0]" in stopped.err, stopped.err
    report = segdata.convert(source, tmp_path / "pack", on_error="skip")
    pack = segdata.open(tmp_path / "pack")
    assert list(pack.keys) == ["000000000001", "000000000002"] and pack[0].instances.id.tolist() == [908400535506]
    assert (report.samples == 2 and "2 annotations" in json.dumps(report.problems)) or what == "a null id"


def test_images_of_one_id_are_left_out_and_an_image_named_twice_is_one(tmp_path: Path) -> None:
    source = with_images(tmp_path / "one id", lambda images: images[1].update(id=10))
    refused(source, tmp_path / "pack", 4, "the same id")
    segdata.convert(source, tmp_path / "pack", on_error="skip")
    assert list(segdata.open(tmp_path / "pack").keys) == ["000000000002"]
    source = with_images(tmp_path / "one name", lambda images: images[1].update(file_name=images[0]["file_name"]))
    report = segdata.convert(source, tmp_path / "joined")
    assert any("added to that one's" in kind for kind in report.problems["remarks"])
    pack = segdata.open(tmp_path / "joined")
    assert list(pack.keys) == ["000000000000", "000000000002"]
    assert sorted(pack[0].instances.id.tolist()) == [101, 102, 908400535506]
    for name in ("one id", "one name"):
        refused(tmp_path / name, tmp_path / "strict", 4, "twice", options=("--strict",))


def test_a_document_of_no_images_is_no_dataset(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source", {**made.coco_document(), "images": [], "annotations": []})
    refused(source, tmp_path / "pack", 4, "no images")
    source = made.coco(tmp_path / "missing")
    shutil.rmtree(source / "val2017")
    refused(source, tmp_path / "pack", 4, "nothing is left", options=("--on-error", "skip"))


SPELLINGS = {
    "0001.jpg": "0001.JPG",
    "0001.jpeg": "0001.jpg",
    "my%20photo.jpg": "my photo.jpg",
    "caf\u00e9.jpg": "cafe\u0301.jpg",
    "https://host/a/0001.jpg?w=640": "0001.jpg",
    "Train/0001.jpg": "train/0001.jpg",
}
"""Names in the document → names on the disk."""


@pytest.mark.parametrize("name", SPELLINGS)
def test_images_of_another_spelling_are_found_and_names_come_back(name: str, tmp_path: Path) -> None:
    root = tmp_path / "source"
    described = document()
    described["images"] = [{**described["images"][0], "file_name": name}]
    described["annotations"] = described["annotations"][:1]
    made.put(root / "annotations/instances_train.json", described)
    made.put(root / "train" / SPELLINGS[name], made.photo())
    pack, remarks = convert(root, tmp_path / "pack")
    assert len(pack) == 1 and len(pack[0].instances) == 1 and pack[0].image.shape == (made.HEIGHT, made.WIDTH, 3)
    assert sum(count for kind, count in remarks.items() if "spelling" in kind or "by its end" in kind) == 1
    written = written_again(tmp_path / "pack", tmp_path / "again")["instances_train.json"]
    assert written["images"][0]["file_name"] == name
    with pytest.raises(SegdataError):
        segdata.convert(root, tmp_path / "strict", strict=True)


def test_two_files_of_one_spelling_are_not_chosen_from(tmp_path: Path) -> None:
    root = tmp_path / "source"
    made.put(root / "annotations/instances_train.json", document())
    for number in (1, 2):
        made.put(root / f"train/{number:04d}.JPG", made.photo())
        made.put(root / f"train/{number:04d}.Jpg", made.photo())
    refused(root, tmp_path / "pack", 4, "not on disk", "0001.jpg")
    (root / "train/0001.Jpg").unlink()
    (root / "train/0002.Jpg").unlink()
    refused(root, tmp_path / "pack", 2, "another spelling", options=("--images", "reference"))


LAYOUTS = {
    "annotations beside folders of images": ("{}/annotations.json", "{}/images"),
    "annotations in folders of splits": ("annotations/{}/coco.json", "images/{}"),
    "annotations in each split": ("{}/annotations/instances.json", "{}/data"),
    "beside the images": ("{}/_annotations.coco.json", "{}"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_are_folders_wherever_the_documents_lie(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "source"
    annotations, folder = LAYOUTS[layout]
    for seed, split in enumerate(("train", "valid")):
        made.put(root / annotations.format(split), document(1 + seed))
        images(root / folder.format(split), seed)
        made.put(root / split / "notes.json", {"version": 3})
    pack, remarks = convert(root, tmp_path / "pack")
    assert {name: len(members) for name, members in pack.splits.items()} == {"train": 2, "valid": 2}
    for seed, split in enumerate(("train", "valid")):
        for sample in pack.split(split):
            file = root / folder.format(split) / f"{sample.key.rpartition('/')[2]}.jpg"
            assert sample.encoded == file.read_bytes() and len(sample.instances) == 1 + seed
    assert layout == "annotations in folders of splits" or remarks["file not read: no COCO document"] == 2


def test_images_of_another_spelling_are_read_and_shown_without_conversion(tmp_path: Path) -> None:
    root = tmp_path / "source"
    made.put(root / "annotations/instances_train.json", document())
    for number in (1, 2):
        made.put(root / f"train/{number:04d}.JPG", made.photo(seed=number))
    folder = segdata.read(root)
    assert folder[1].encoded == (root / "train/0002.JPG").read_bytes()
    (tmp_path / "one.toml").write_text('labels = [{ name = "vehicle", from = ["car"] }]\n')
    pictures = []
    for options in ((), ("--labels", tmp_path / "one.toml")):
        done = run_segdata("show", root, "0001", "-o", tmp_path / "picture.png", *options)
        assert done.code == 0, done.err
        pictures.append((tmp_path / "picture.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_declared_classes_never_shift_what_the_numbers_mean(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    described = document()
    described["annotations"][1]["category_id"] = 2
    for name, categories, classes, expected in (
        ("none", [], "person,car", {"person": 1, "car": 2}),
        ("key missing", None, "person,car", {"person": 1, "car": 2}),
        ("more than used", [], "person,car,bus", {"person": 1, "car": 2, "bus": 3}),
        ("other order", described["categories"], "car,person", {"car": 2, "person": 1}),
        ("the same", described["categories"], "person,car", {"person": 1, "car": 2}),
    ):
        changed = {**described, "categories": categories}
        if categories is None:
            del changed["categories"]
        made.put(root / "annotations/instances_train.json", changed)
        pack, remarks = convert(root, tmp_path / name, classes=classes)
        assert {category.name: category.id for category in pack.labels.categories} == expected, name
        assert list(expected) == [category.name for category in pack.labels.categories]
        objects = [pack.labels[index].name for sample in pack for index in sample.instances.category]
        assert objects == ["person", "car"], name
        assert name == "the same" or sum("declared" in kind for kind in remarks) == 1
        again = written_again(tmp_path / name, tmp_path / f"{name} again")["instances_train.json"]
        assert {item["name"]: item["id"] for item in again["categories"]} == expected
    refused(root, tmp_path / "pack", 4, "declared", "--labels", options=("--classes", "person,dog"))
    described["annotations"][1]["category_id"] = 0
    made.put(root / "annotations/instances_train.json", {**described, "categories": []})
    refused(root, tmp_path / "pack", 4, "--classes")
    pack, _ = convert(root, tmp_path / "from 0", classes="car,person")
    assert [pack.labels[index].name for sample in pack for index in sample.instances.category] == ["person", "car"]
    refused(root, tmp_path / "pack", 4, "TOML", options=("--classes", "car"))


def test_annotation_ids_that_are_text_are_numbered_anew_and_come_back(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    described = document()
    for number, record in enumerate(described["annotations"]):
        record["id"] = f"uuid-{number}"
    described["annotations"].append({**described["annotations"][0], "id": 7})
    made.put(root / "annotations/instances_train.json", described)
    pack, remarks = convert(root, tmp_path / "pack")
    assert sorted(sample.instances.id.tolist() for sample in pack) == [[8, 7], [9]]
    assert remarks["annotation id is a text: numbered anew"] == 2
    again = written_again(tmp_path / "pack", tmp_path / "again")["instances_train.json"]
    assert again["annotations"] == described["annotations"]


def test_documents_without_an_object_and_boxes_in_fractions_are_told(tmp_path: Path) -> None:
    root = tmp_path / "source"
    images(root / "train")
    made.put(root / "annotations/instances_train.json", document(annotations=[]))
    _, remarks = convert(root, tmp_path / "empty")
    assert [count for kind, count in remarks.items() if "no image has an object" in kind] == [1]
    described = document()
    for record in described["annotations"]:
        record.update(segmentation=[], bbox=[0.1, 0.1, 0.5, 0.6])
    made.put(root / "annotations/instances_train.json", described)
    _, remarks = convert(root, tmp_path / "fractions")
    assert [count for kind, count in remarks.items() if "fractions" in kind] == [2]


@pytest.mark.parametrize("prefix", ["", "../images/set{}/"])
def test_images_spread_over_folders_are_found_one_by_one(prefix: str, tmp_path: Path) -> None:
    root = tmp_path / "source"
    described = document()
    for number, record in enumerate(described["images"]):
        made.put(root / f"images/set{number}" / record["file_name"], made.photo(seed=number))
        made.put(root / "depth" / record["file_name"], made.photo(seed=9))
        record["file_name"] = prefix.format(number) + record["file_name"]
    made.put(root / "labels/coco.json", described)
    pack, remarks = convert(root, tmp_path / "pack")
    assert [sample.encoded for sample in pack] == [
        (root / f"images/set{number}/{number + 1:04d}.jpg").read_bytes() for number in (0, 1)
    ]
    assert sum(count for kind, count in remarks.items() if "found" in kind) == 2
    assert written_again(tmp_path / "pack", tmp_path / "again")["coco.json"]["images"] == described["images"]


def test_an_image_of_another_split_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for split in ("train", "val"):
        made.put(root / f"annotations/instances_{split}.json", document())
        images(root / split)
    (root / "val/0002.jpg").unlink()
    refused(root, tmp_path / "pack", 4, "1 of 4 images are not on disk")
