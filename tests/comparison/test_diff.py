"""`segdata diff`: edits that are made to records, counted as they are made, against what is said to differ."""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata import Category, Instances, LabelSpace, Masks, Sample
from segdata.comparison import objects as comparing
from segdata.conversion import write as writing
from tests.helpers import made
from tests.helpers.command import Here

Record = dict[str, Any]
NAMES = ("cat", "dog", "plant")
LABELS = LabelSpace("drawn", tuple(Category(name, 10 + index) for index, name in enumerate(NAMES)))
SIZE = 40


def rectangle(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


def drawn(seed: int, count: int = 40) -> list[Record]:
    """Images of two splits with objects that lie apart from each other, so that no other pairs are possible."""
    rng = random.Random(seed)
    images: list[Record] = []
    for index in range(count):
        places = rng.sample([(x, y) for x in (0, 10, 20, 30) for y in (0, 10, 20, 30)], rng.randint(0, 5))
        objects = [
            {"category": rng.randrange(3), "rectangle": (x, y, rng.randint(4, 8), 8), "crowd": False, "score": 0.5}
            for x, y in places
        ]
        images.append(
            {"key": f"{index:03d}", "split": rng.choice(("train", "val")), "objects": objects, "pixel": index}
        )
    number = 0
    for image in images:
        for each in image["objects"]:
            number += 1
            each["id"] = number
    return images


def sample_of(image: Record, *, has_images: bool) -> Sample:
    objects = image["objects"]
    dense = np.array([rectangle(*each["rectangle"]) for each in objects], np.uint8).reshape(-1, SIZE, SIZE)
    instances = Instances.build(
        [each["category"] for each in objects],
        Masks.from_dense(dense),
        id=[each["id"] for each in objects],
        iscrowd=[each["crowd"] for each in objects],
        bbox=[each["rectangle"] for each in objects],
        area=[math.prod(each["rectangle"][2:]) for each in objects],
        score=[each["score"] for each in objects],
    )
    encoded = made.photo(SIZE, SIZE, image["pixel"]) if has_images else None
    file = f"{image['key']}.jpg"
    return Sample(image["key"], SIZE, SIZE, file=file, encoded=encoded, instances=instances)


def write(images: list[Record], target: Path, *, has_images: bool = True, shard: int = 7) -> Path:
    splits = {
        name: iter([sample_of(image, has_images=has_images) for image in images if image["split"] == name])
        for name in ("train", "val")
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "_SHARD", shard)
        segdata.write(splits, target, labels=LABELS)
    return target


def edited(images: list[Record], seed: int) -> tuple[list[Record], Counter[str], Counter[str]]:
    """The images with random edits, and how many of each there are, of images and of objects."""
    rng = random.Random(seed)
    after: list[Record] = []
    of_images: Counter[str] = Counter()
    of_objects: Counter[str] = Counter()
    number = 10_000
    for image in copy.deepcopy(images):
        edit = rng.choice(("none", "none", "remove", "move", "pixels", "rename", "objects", "objects", "objects"))
        if edit == "remove":
            of_images["removed"] += 1
            continue
        after.append(image)
        if edit == "move":
            image["split"] = "val" if image["split"] == "train" else "train"
            of_images["moved"] += 1
        elif edit == "pixels":
            image["pixel"] += 1000
            of_images["changed"] += 1
        elif edit == "rename":
            image["key"] = "new-" + image["key"]
            of_images["renamed"] += 1
            of_images["changed"] += 1  # its file has another name, too
        elif edit == "objects" and image["objects"]:
            kind = rng.choice(("removed", "added", "category", "crowd", "shape", "score"))
            each = rng.choice(image["objects"])
            of_images["changed"] += 1
            if kind == "removed":
                image["objects"].remove(each)
                of_objects["removed"] += 1
            elif kind == "added":
                number += 1
                taken = {other["rectangle"][:2] for other in image["objects"]}
                x, y = next((x, y) for x in (0, 10, 20, 30) for y in (0, 10, 20, 30) if (x, y) not in taken)
                new = {"category": 1, "rectangle": (x, y, 5, 5), "crowd": False, "score": 0.1, "id": number}
                image["objects"].append(new)
                of_objects["added"] += 1
            else:
                of_objects["changed"] += 1
                if kind == "category":
                    each["category"] = (each["category"] + 1) % 3
                    of_objects["category"] += 1
                elif kind == "crowd":
                    each["crowd"] = True
                    of_objects["flags"] += 1
                elif kind == "score":
                    each["score"] = 0.25
                    of_objects["score"] += 1
                else:
                    x, y, w, h = each["rectangle"]
                    each["rectangle"] = (x, y, w, h - 2)
                    of_objects.update(("box", "area", "mask"))
    of_images["added"] += 1
    after.append({"key": "zzz", "split": "val", "objects": [], "pixel": 5000})
    of_images["equal"] = len(images) - sum(of_images[name] for name in ("removed", "moved", "changed"))
    return after, of_images, of_objects


@pytest.mark.parametrize("seed", range(8))
def test_every_edit_is_said_and_nothing_else(seed: int, tmp_path: Path) -> None:
    before = drawn(seed)
    after, of_images, of_objects = edited(before, seed)
    one = write(before, tmp_path / "one")
    other = write(after, tmp_path / "other", shard=5)
    difference = segdata.diff(one, other)
    assert +Counter(difference.images) == +of_images
    assert +Counter(difference.objects) == +of_objects
    assert not difference.labels and not difference.splits and not difference.documents
    assert [image["key"] for image in difference.added] == ["zzz"] and bool(difference)
    back = segdata.diff(other, one)
    swapped = {"removed": "added", "added": "removed"}
    assert +Counter({swapped.get(name, name): count for name, count in back.images.items()}) == +of_images
    assert +Counter({swapped.get(name, name): count for name, count in back.objects.items()}) == +of_objects


@pytest.mark.parametrize("shard", [7, 3])
def test_a_pack_and_the_same_samples_in_other_shards_do_not_differ(shard: int, tmp_path: Path, here: Here) -> None:
    images = drawn(1)
    one, other = write(images, tmp_path / "one"), write(images[::-1], tmp_path / "other", shard=shard)
    for pair in ((one, one), (one, other)):
        outcome = here("diff", *pair, "--json")
        assert outcome.code == 0 and outcome.document["differs"] is False
        assert outcome.document["images"]["equal"] == len(images)
        assert not any(outcome.document[name] for name in ("removed", "added", "changes", "objects", "labels"))


def test_equal_tables_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write(drawn(1), tmp_path / "one")
    shutil.copytree(one, tmp_path / "other")
    read: list[str] = []
    from segdata.pack.tables import MappedFile

    original = MappedFile._read

    def reading(file: MappedFile, name: str) -> Any:
        read.append(name)
        return original(file, name)

    monkeypatch.setattr(MappedFile, "_read", reading)
    assert not segdata.diff(one, tmp_path / "other")
    assert {name.partition("_")[0] for name in read} <= {"image/key", "split/0", "split/1"}


# ---------------------------------------------------------------------- details, by hand


def pair(tmp_path: Path, before: list[Record], after: list[Record], **options: Any) -> Any:
    return segdata.diff(write(before, tmp_path / "one", **options), write(after, tmp_path / "other", **options))


def image_of(*objects: Record, key: str = "a", split: str = "train", pixel: int = 1) -> Record:
    return {"key": key, "split": split, "objects": list(objects), "pixel": pixel}


def object_of(id: int, *rectangle: int, category: int = 0) -> Record:
    return {"id": id, "category": category, "rectangle": rectangle, "crowd": False, "score": 0.5}


def test_the_iou_of_a_changed_mask(tmp_path: Path) -> None:
    before, after = image_of(object_of(1, 0, 0, 10, 8)), image_of(object_of(1, 0, 2, 10, 8))
    (change,) = pair(tmp_path, [before], [after]).changes
    (each,) = change["objects"]["changed"]
    assert each["changes"]["mask"]["iou"] == pytest.approx(60 / 100)  # 10 × 6 pixels in common, 80 + 80 − 60 in all
    assert each["changes"]["box"] == [[0, 0, 10, 8], [0, 2, 10, 8]] and each["box"] == [0, 0, 10, 8]


def test_numbers_that_count_the_objects_of_an_image_pair_nothing(tmp_path: Path) -> None:
    """As in VOC: with the first object gone, the others have other numbers, and are the same by their masks."""
    before = [
        image_of(object_of(0, 0, 0, 8, 8), object_of(1, 20, 20, 8, 8)),
        image_of(object_of(0, 1, 1, 5, 5), key="b"),
    ]
    after = [image_of(object_of(0, 20, 20, 8, 8)), image_of(object_of(0, 1, 1, 5, 5), key="b")]
    difference = pair(tmp_path, before, after)
    assert difference.objects == {"removed": 1, "added": 0, "changed": 1, "id": 1}
    (change,) = difference.changes
    assert change["objects"]["removed"][0]["box"] == [0, 0, 8, 8]


def test_objects_pair_one_to_one_by_the_highest_iou(tmp_path: Path) -> None:
    """Both new masks overlap the old one by more than half; the closer one is it, the other was added."""
    before = image_of(object_of(1, 0, 0, 10, 10))
    after = image_of(object_of(7, 0, 0, 10, 8), object_of(8, 0, 0, 10, 9))
    difference = pair(tmp_path, [before], [after])
    (change,) = difference.changes
    assert [each["id"] for each in change["objects"]["added"]] == [7]
    assert change["objects"]["changed"][0]["changes"]["id"] == [1, 8]


def test_below_half_an_object_is_another(tmp_path: Path) -> None:
    before, after = image_of(object_of(1, 0, 0, 10, 10)), image_of(object_of(2, 0, 6, 10, 10))
    assert pair(tmp_path, [before], [after]).objects == {"removed": 1, "added": 1, "changed": 0}


def test_an_object_of_the_same_number_that_went_elsewhere(tmp_path: Path) -> None:
    before, after = image_of(object_of(1, 0, 0, 5, 5)), image_of(object_of(1, 30, 30, 5, 5))
    difference = pair(tmp_path, [before], [after])
    assert difference.objects == {"removed": 0, "added": 0, "changed": 1, "box": 1, "mask": 1}
    assert difference.changes[0]["objects"]["changed"][0]["changes"]["mask"]["iou"] == 0


def test_without_bytes_of_images_a_moved_sample_is_found_by_its_key(tmp_path: Path) -> None:
    before, after = [image_of(), image_of(key="b")], [image_of(split="val"), image_of(key="b")]
    difference = pair(tmp_path, before, after, has_images=False)
    assert difference.changes == [{"key": "a", "splits": ["train"], "moved": [["train"], ["val"]]}]


def test_the_same_key_in_another_split_with_another_picture_is_another_image(tmp_path: Path) -> None:
    before, after = [image_of(), image_of(key="b")], [image_of(split="val", pixel=9), image_of(key="b")]
    difference = pair(tmp_path, before, after)
    assert (difference.images["removed"], difference.images["added"], difference.images["moved"]) == (1, 1, 0)


def of_labels(tmp_path: Path, names: list[Category], name: str) -> Path:
    semantic = np.zeros((4, 4), np.uint8)
    semantic[0] = len(names) - 1
    instances = Instances.build([0], Masks.from_dense(np.ones((1, 4, 4), np.uint8)))
    sample = Sample("a", 4, 4, instances=instances, semantic=semantic)
    segdata.write([sample], tmp_path / name, labels=LabelSpace("x", tuple(names)), workers=1)
    return tmp_path / name


def test_label_spaces_that_differ(tmp_path: Path) -> None:
    one = of_labels(tmp_path, [Category("aeroplane", 1), Category("sky", 2, (1, 2, 3)), Category("cat", 3)], "one")
    other = of_labels(
        tmp_path, [Category("airplane", 1), Category("cat", 3), Category("sky", 2), Category("dog", 4)], "b"
    )
    difference = segdata.diff(one, other)
    assert difference.labels == {
        "added": ["dog"],
        "renamed": [["aeroplane", "airplane"]],
        "changed": {"sky": {"color": [[1, 2, 3], None]}},
        "reordered": True,
    }
    # The object is an aeroplane, or airplane, in both; in the first row of pixels cat became dog.
    assert difference.changes == [{"key": "a", "splits": ["train"], "label_map": {"pixels": 4}}]


def test_ids_of_other_tables_rename_nothing(tmp_path: Path) -> None:
    one = of_labels(tmp_path, [Category("cat", 1), Category("sofa", 2)], "one")
    other = of_labels(tmp_path, [Category("fire hydrant", 2), Category("cat", 7)], "other")
    difference = segdata.diff(one, other)
    assert "renamed" not in difference.labels and difference.labels["removed"] == ["sofa"]
    assert difference.changes[0]["objects"]["changed"][0]["changes"]["category"] == ["cat", "fire hydrant"]


def test_what_a_coco_document_says_beyond_the_columns(tmp_path: Path, here: Here) -> None:
    folder = made.coco(tmp_path / "coco")
    segdata.convert(folder, tmp_path / "one", workers=1)
    path = next((folder / "annotations").glob("*.json"))
    document = json.loads(path.read_text())
    document["info"]["year"] = 2030
    document["images"][2]["flickr_url"] = "x"
    document["annotations"][0]["segmentation"][0][0] += 0.01
    document["annotations"][1]["note"] = "y"
    path.write_text(json.dumps(document))
    segdata.convert(folder, tmp_path / "other", workers=1)
    outcome = here("diff", tmp_path / "one", tmp_path / "other", "--json")
    assert outcome.code == 1 and outcome.document["documents"] is True
    changes = {change["key"]: change for change in outcome.document["changes"]}
    assert changes["000000000002"]["extra"] is True
    (polygons,) = changes["000000000000"]["objects"]["changed"]
    assert polygons["id"] == 101 and polygons["changes"].keys() == {"polygons"}
    assert changes["000000000001"]["objects"]["changed"][0]["changes"] == {"extra": True}
    text = here("diff", tmp_path / "one", tmp_path / "other").out
    assert "~ val2017 000000000002: extra" in text and "101: polygons" in text


def test_a_size_that_differs(tmp_path: Path) -> None:
    for name, side in (("one", 8), ("other", 6)):
        picture = np.asarray(Image.new("RGB", (side, 8)))
        masks = np.zeros((1, 8, side), np.uint8)
        masks[:, :4, :4] = 1
        sample = Sample.build("a", picture, masks=masks, category=["cat"], labels=["cat"])
        segdata.write([sample], tmp_path / name, labels=["cat"], workers=1)
    (change,) = segdata.diff(tmp_path / "one", tmp_path / "other").changes
    assert change["size"] == [[8, 8], [8, 6]] and change["image"] is True


def test_a_folder_is_refused_with_the_way(tmp_path: Path, here: Here) -> None:
    folder = made.coco(tmp_path / "coco")
    segdata.convert(folder, tmp_path / "one", workers=1)
    outcome = here("diff", tmp_path / "one", folder)
    assert outcome.code == 2 and f"segdata convert {folder} PACK" in outcome.err
    assert here("diff", tmp_path / "one", tmp_path / "nowhere").code == 10


def test_many_objects_of_an_image_are_compared_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same objects in another order, with numbers that tell nothing: seven at a time, each finds its own."""
    places = [(x, y) for x in range(0, SIZE, 8) for y in range(0, SIZE, 8)]
    before = [object_of(number, *place, 6, 6) for number, place in enumerate(places)]
    after = [object_of(number, *place, 6, 5) for number, place in enumerate(places[::-1])]
    other = image_of(object_of(0, 1, 1, 5, 5), key="b")
    monkeypatch.setattr(comparing, "_AT_ONCE", 7 * len(places))
    difference = pair(tmp_path, [image_of(*before), other], [image_of(*after), other])
    count = len(places)
    renumbered = count - 1  # the one in the middle keeps its number
    assert difference.objects == {
        **{"removed": 0, "added": 0, "changed": count},
        **{"id": renumbered, "box": count, "area": count, "mask": count},
    }
    for change in difference.changes[0]["objects"]["changed"]:
        assert change["changes"]["mask"]["iou"] == pytest.approx(5 / 6)
