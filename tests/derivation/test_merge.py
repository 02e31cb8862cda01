"""Packs merged: the same as the conversion of the whole, or refused with what stands in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.derivation.merge import merge
from segdata.errors import InvalidInput, InvalidManifest, LabelMismatch, NotThere, UsageError
from tests.derivation.contents import columns, samples, splits
from tests.helpers import made
from tests.helpers.command import tree
from tests.helpers.compare import compare


def document(first: int, images: int = 3, categories: tuple[str, ...] = ("dog", "crowd")) -> dict[str, Any]:
    """A COCO document with ids from `first` on and an object or two on every image."""
    return {
        "info": {"description": f"from {first}"},
        "licenses": [],
        "categories": [{"id": 3 * n + 1, "name": name, "supercategory": "all"} for n, name in enumerate(categories)],
        "images": [
            {"id": first + n, "file_name": f"{first + n:06}.jpg", "width": made.WIDTH, "height": made.HEIGHT}
            for n in range(images)
        ],
        "annotations": [
            {
                "id": 10 * (first + n) + k,
                "image_id": first + n,
                "category_id": 3 * ((n + k) % len(categories)) + 1,
                "iscrowd": 0,
                "bbox": [1, 1, 5 + n, 4],
                "area": 20 + n,
                "segmentation": [[1, 1, 6 + n, 1, 6 + n, 5, 1, 5]],
                "note": f"{n} and {k}",
            }
            for n in range(images)
            for k in range(1 + n % 2)
        ],
    }


def coco(root: Path, first: int, split: str = "train", **options: Any) -> Path:
    return made.coco(root, document(first, **options), split=split)


def pack(folder: Path, source: Path, **options: Any) -> Path:
    segdata.convert(source, folder, **options)
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two packs of COCO in two splits."""
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, "train"), shard_samples=2)
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, "val"), shard_samples=2)
    return a, b


def inodes(folder: Path, pattern: str = "*.h5") -> set[int]:
    return {path.stat().st_ino for path in folder.glob(pattern)}


def test_merging_parts_is_converting_the_whole_column_by_column(tmp_path: Path) -> None:
    whole = coco(coco(tmp_path / "whole", 1, "train"), 100, "val")
    expected = pack(tmp_path / "expected", whole)
    parts = [pack(tmp_path / name, whole, splits=[name]) for name in ("train", "val")]
    done = merge(parts, tmp_path / "out")
    assert columns(tmp_path / "out") == columns(expected)
    assert samples(tmp_path / "out") == samples(expected)
    assert splits(tmp_path / "out") == splits(expected)
    merged, converted = segdata.open(tmp_path / "out"), segdata.open(expected)
    assert merged.documents == converted.documents
    assert merged.labels == converted.labels
    assert merged.info["provenance"]["format"] == "coco"
    assert done.copied == 0 and done.written == merged.info["dataset"]["bytes"]
    assert inodes(tmp_path / "out", "[ai]*.h5") == inodes(parts[0], "[ai]*.h5") | inodes(parts[1], "[ai]*.h5")
    segdata.convert(tmp_path / "out", tmp_path / "again", to="coco")
    assert compare("coco", whole, tmp_path / "again") == []


@pytest.mark.parametrize("name", ["coco", "voc", "cityscapes", "camvid_segnet"])
def test_merging_the_splits_of_any_format_is_the_whole(
    name: str, drawing: Callable[[str], Path], tmp_path: Path
) -> None:
    source = drawing(name)
    expected = pack(tmp_path / "expected", source)
    parts: list[Path] = []
    keys: set[str] = set()
    for split, members in splits(expected).items():
        if members and not keys & set(members):
            parts.append(pack(tmp_path / f"part-{split}", source, splits=[split]))
            keys |= set(members)
    assert len(parts) > 1
    merge(parts, tmp_path / "out")
    merged = {item["key"]: item for item in samples(tmp_path / "out")}
    assert merged == {item["key"]: item for item in samples(expected) if item["key"] in keys}
    assert segdata.open(tmp_path / "out").documents == segdata.open(expected).documents


def test_splits_of_one_name_become_one_or_keep_the_name_of_their_pack(tmp_path: Path) -> None:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, "train"))
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, "train"))
    done = merge([a, b], tmp_path / "out")
    keys = [item["key"] for item in samples(tmp_path / "out")]
    assert splits(tmp_path / "out") == {"train": keys}
    assert keys == ["000001", "000002", "000003", "000100", "000101", "000102"]
    # Both documents are instances_train.json: the pack has neither, and says so.
    assert segdata.open(tmp_path / "out").documents == []
    assert done.problems["losses"]["documents of the sources' files"]["count"] == 2
    assert segdata.open(tmp_path / "out").info["provenance"]["format"] == "changed"
    merge([a, b], tmp_path / "apart", prefix=True)
    assert splits(tmp_path / "apart") == {"a/train": keys[:3], "b/train": keys[3:]}
    segdata.convert(tmp_path / "out", tmp_path / "coco", to="coco", allow_loss=True)
    written = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert len({image["id"] for image in written["images"]}) == 6


def test_a_key_of_both_is_refused_and_can_be_rewritten(tmp_path: Path) -> None:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, "train"))
    b = pack(tmp_path / "b", coco(tmp_path / "two", 3, "train"))
    with pytest.raises(InvalidInput, match="both have a sample of this key in the split 'train'") as error:
        merge([a, b], tmp_path / "out")
    assert error.value.exit_code == 4 and error.value.key == "000003"
    assert str(a) in str(error.value) and str(b) in str(error.value)
    assert not (tmp_path / "out").exists()
    merge([a, b], tmp_path / "out", prefix_keys=True)
    keys = [item["key"] for item in samples(tmp_path / "out")]
    assert keys == ["a/000001", "a/000002", "a/000003", "b/000003", "b/000004", "b/000005"]
    before = [*samples(a), *samples(b)]
    assert [{**item, "key": item["key"][2:]} for item in samples(tmp_path / "out")] == before
    assert segdata.verify(tmp_path / "out", deep=True).is_good
    merge([a, b], tmp_path / "splits", prefix=True)  # of other splits: the same key is no question
    assert len(segdata.open(tmp_path / "splits")) == 6


def test_a_key_of_both_outside_of_all_splits_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        image = np.zeros((4, 5, 3), np.uint8)
        segdata.write([segdata.Sample.build("same", image)], tmp_path / f"{name}0", labels=["cat"])
        other = segdata.Sample.build(name, image)
        segdata.write({"train": [other], "val": [segdata.Sample.build("same", image)]}, tmp_path / name, labels=["cat"])
    merge([tmp_path / "a", tmp_path / "b0"], tmp_path / "ok")
    with pytest.raises(InvalidInput, match="in the split 'val'"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_label_spaces_that_differ_are_refused_with_the_difference(tmp_path: Path) -> None:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, categories=("dog", "cat")))
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, categories=("cat", "dog")))
    with pytest.raises(LabelMismatch, match=r"'dog' \(id 1\) ≠ 'cat' \(id 1\)") as error:
        merge([a, b], tmp_path / "out")
    assert error.value.exit_code == 4 and "--labels" in str(error.value.fix)
    assert not (tmp_path / "out").exists()


def test_categories_that_differ_in_colour_alone_are_told_and_linked_when_one_counts(tmp_path: Path) -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    for name, color in (("a", (1, 2, 3)), ("b", None)):
        sample = segdata.Sample.build(name, image, masks=[np.ones((4, 5), bool)], category=["cat"], labels=["cat"])
        segdata.write([sample], tmp_path / name, labels=[segdata.Category("cat", 1, color)])
    with pytest.raises(LabelMismatch, match=r"0: 'cat' has color \(1, 2, 3\) ≠ None"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    done = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out", labels=tmp_path / "a")
    assert segdata.open(tmp_path / "out").labels[0].color == (1, 2, 3)
    assert done.written == segdata.open(tmp_path / "out").info["dataset"]["bytes"]


def names(folder: Path) -> list[list[str]]:
    """The names of the categories of each sample's objects."""
    whole = segdata.open(folder)
    return [[whole.labels[index].name for index in sample.instances.category.tolist()] for sample in whole]


def test_a_pack_says_which_categories_count(tmp_path: Path) -> None:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, categories=("dog", "cat")))
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, "val", categories=("cat", "Dog", "cow")))
    done = merge([a, b], tmp_path / "out", labels=a)
    expected = [[name.replace("Dog", "dog") for name in row if name != "cow"] for row in names(b)]
    assert names(tmp_path / "out") == [*names(a), *expected]
    count = sum(row.count("cow") for row in names(b))
    assert done.problems["remarks"]["left out as asked: objects of category 'cow'"]["count"] == count > 0
    tables = inodes(tmp_path / "out", "annotations*")
    assert inodes(a, "annotations*") <= tables and not inodes(b, "annotations*") & tables
    assert inodes(tmp_path / "out", "images*") == inodes(a, "images*") | inodes(b, "images*")
    assert segdata.verify(tmp_path / "out", deep=True).is_good
    assert segdata.open(tmp_path / "out").info["provenance"]["format"] == "changed"


def test_a_table_maps_the_categories_of_all_packs(tmp_path: Path) -> None:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, categories=("dog", "cat")))
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, "val", categories=("kitten", "tree")))
    table = tmp_path / "table.toml"
    table.write_text(
        'labels = [{ name = "tree", from = ["tree"] }, { name = "pet", from = ["dog", "cat", "kitten"] }]\n'
    )
    merge([a, b], tmp_path / "out", labels=table)
    to = {"dog": "pet", "cat": "pet", "kitten": "pet", "tree": "tree"}
    assert names(tmp_path / "out") == [[to[name] for name in row] for row in [*names(a), *names(b)]]
    assert [category.name for category in segdata.open(tmp_path / "out").labels.categories] == ["tree", "pet"]
    table.write_text('labels = [{ name = "pet", from = ["mouse"] }]\n')
    with pytest.raises(InvalidManifest, match="mouse"):
        merge([a, b], tmp_path / "wrong", labels=table)
    with pytest.raises(NotThere):
        merge([a, b], tmp_path / "wrong", labels="nothing")


def test_label_maps_are_mapped_as_convert_maps_them(tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path / "source")
    a = pack(tmp_path / "a", source)
    fine = pack(tmp_path / "b", source, labels="cityscapes-19", split_by={"other": 1.0})
    expected = pack(tmp_path / "expected", source, labels="cityscapes-19")
    merge([a, fine], tmp_path / "out", labels=fine)
    mapped = samples(tmp_path / "out")
    assert [item["semantic"] for item in mapped] == [item["semantic"] for item in [*samples(expected), *samples(fine)]]
    assert [item["category"] for item in mapped[: len(samples(a))]] == [item["category"] for item in samples(expected)]
    assert inodes(fine, "annotations*") <= inodes(tmp_path / "out")
    assert segdata.verify(tmp_path / "out", deep=True).is_good


def test_more_than_255_categories_widen_label_maps(tmp_path: Path) -> None:
    image, semantic = np.zeros((4, 5, 3), np.uint8), np.array([[0, 1, 255, 0, 1]] * 4, np.uint8)
    small = segdata.LabelSpace.of(["c0", "c1"])
    large = segdata.LabelSpace.of([f"c{number}" for number in range(300)])
    segdata.write([segdata.Sample.build("a", image, semantic=semantic)], tmp_path / "a", labels=small)
    segdata.write(
        {"val": [segdata.Sample.build("b", image, semantic=np.full((4, 5), 299, np.uint16))]},
        tmp_path / "b",
        labels=large,
    )
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out", labels=large)
    first, second = segdata.open(tmp_path / "out")
    assert first.semantic is not None and second.semantic is not None
    assert first.semantic.tolist() == [[0, 1, 65535, 0, 1]] * 4
    assert second.semantic.tolist() == [[299] * 5] * 4


def test_packs_that_refer_to_images_need_no_common_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    one = coco(tmp_path / "data/one", 1, "train")
    two = coco(tmp_path / "data/deep/two", 100, "val")
    a = pack(tmp_path / "a", one, images="reference")
    b = pack(tmp_path / "b", two, images="reference")
    merge([a, b], tmp_path / "out")
    merged = segdata.open(tmp_path / "out")
    assert merged.info["images_root"] == str(tmp_path / "data")
    assert [item["image"] for item in samples(tmp_path / "out")] == [
        item["image"] for item in [*samples(a), *samples(b)]
    ]
    assert samples(tmp_path / "out")[0]["file"] == "one/" + samples(a)[0]["file"]
    assert segdata.verify(tmp_path / "out", deep=True).is_good


def test_packs_that_refer_to_one_folder_are_linked(tmp_path: Path) -> None:
    whole = coco(coco(tmp_path / "whole", 1, "train"), 100, "val")
    parts = [pack(tmp_path / name, whole, splits=[name], images="reference") for name in ("train", "val")]
    expected = pack(tmp_path / "expected", whole, images="reference")
    merge(parts, tmp_path / "out")
    assert columns(tmp_path / "out") == columns(expected)
    assert samples(tmp_path / "out") == samples(expected)
    assert inodes(tmp_path / "out", "a*") == inodes(parts[0], "a*") | inodes(parts[1], "a*")


@pytest.mark.parametrize(("first", "second"), [("embed", "none"), ("none", "embed"), ("reference", "none")])
def test_packs_without_images_merge_with_others(first: str, second: str, tmp_path: Path) -> None:
    one, two = coco(tmp_path / "one", 1, "train"), coco(tmp_path / "two", 100, "val")
    a, b = pack(tmp_path / "a", one, images=first), pack(tmp_path / "b", two, images=second)
    merge([a, b], tmp_path / "out")
    assert samples(tmp_path / "out") == [*samples(a), *samples(b)]
    assert segdata.verify(tmp_path / "out", deep=True).is_good


def test_images_here_and_images_elsewhere_do_not_merge(two: tuple[Path, Path], tmp_path: Path) -> None:
    c = pack(tmp_path / "c", coco(tmp_path / "three", 200, "test"), images="reference")
    with pytest.raises(InvalidInput, match=r"a has its images, .*c refers to them"):
        merge([*two, c], tmp_path / "out")


def test_parts_of_one_pack_merge_although_they_share_files(two: tuple[Path, Path], tmp_path: Path) -> None:
    from segdata.derivation.subset import subset

    subset(two[0], np.array([True, False, True]), tmp_path / "first")
    subset(two[0], np.array([False, True, False]), tmp_path / "second")
    merge([tmp_path / "first", tmp_path / "second"], tmp_path / "out")
    before = samples(two[0])
    assert samples(tmp_path / "out") == [before[0], before[2], before[1]]
    assert segdata.verify(tmp_path / "out", deep=True).is_good


def test_ids_stay_and_parents_are_named(two: tuple[Path, Path], tmp_path: Path) -> None:
    merge(two, tmp_path / "out")
    assert [item["id"] for item in samples(tmp_path / "out")] == [
        item["id"] for item in [*samples(two[0]), *samples(two[1])]
    ]
    parents = segdata.open(tmp_path / "out").info["provenance"]["parents"]
    assert [parent["name"] for parent in parents] == ["a", "b"]


@pytest.mark.parametrize("first", [1, 50])
def test_ids_of_both_are_numbered_anew_where_a_format_needs_them_distinct(first: int, tmp_path: Path) -> None:
    """Of images and objects, or of objects alone."""
    packs = []
    for name in "ab":
        document_of_one = document(1 if name == "a" else first)
        for image in document_of_one["images"]:
            image["file_name"] = f"{name}{image['file_name']}"
        for number, annotation in enumerate(document_of_one["annotations"], 1):
            annotation["id"] = number
        source = made.coco(tmp_path / f"source-{name}", document_of_one, split="train")
        packs.append(pack(tmp_path / name, source))
    merge(packs, tmp_path / "out")
    done = segdata.convert(tmp_path / "out", tmp_path / "coco", to="coco", allow_loss=True)
    kind = "image" if first == 1 else "object"
    assert f"{kind} ids that are not distinct: all are numbered anew" in done.problems["remarks"]
    written = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    ids = [image["id"] for image in written["images"]]
    assert len(set(ids)) == 6 and (first == 1 or ids == [1, 2, 3, 50, 51, 52])
    assert len({annotation["id"] for annotation in written["annotations"]}) == 8
    names_of = {image["id"]: image["file_name"] for image in written["images"]}
    notes = [(names_of[item["image_id"]], item["note"]) for item in written["annotations"]]
    assert notes == [
        (f"{item['key']}.jpg", extra["note"]) for item in samples(tmp_path / "out") for extra in item["instance_extra"]
    ]


def test_the_same_merge_does_nothing_and_another_needs_force(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not merge(two, out).was_done
    before = tree(out)
    assert merge(two, out).was_done
    with pytest.raises(UsageError, match="holds something else"):
        merge(two[::-1], out)
    merge(two[::-1], out, force=True)
    merge(two, out, force=True)
    assert tree(out) == before


def test_what_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    for packs in ([], [two[0]], two[0]):
        with pytest.raises(UsageError, match="nothing to merge"):
            merge(packs, tmp_path / "out")  # type: ignore[arg-type]
    (tmp_path / "link").symlink_to(two[0])
    with pytest.raises(UsageError, match="named twice"):
        merge([two[0], tmp_path / "link"], tmp_path / "out")
    with pytest.raises(UsageError, match="made of itself"):
        merge(two, two[1], force=True)
    with pytest.raises(NotThere):
        merge([two[0], tmp_path / "nowhere"], tmp_path / "out")


def test_names_for_prefixes_are_the_folders_that_differ(tmp_path: Path) -> None:
    a = pack(tmp_path / "coco/pack", coco(tmp_path / "one", 1, "train"))
    b = pack(tmp_path / "more/pack", coco(tmp_path / "two", 100, "train"))
    merge([a, b], tmp_path / "out", prefix=True)
    assert list(splits(tmp_path / "out")) == ["coco/train", "more/train"]
