"""Targets that cannot be written, and datasets that are legal but surprise: what is said, and what is on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import made
from tests.helpers.command import Outcome, run_segdata
from tests.helpers.refusals import remarks_of


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs Linux")
def test_a_target_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    made.put(tmp_path / "file", b"x")
    outcome = run_segdata("convert", source, tmp_path / "file", "--json")
    assert outcome.code == 7 and "file of that name" in outcome.err
    outcome = run_segdata("convert", source, "/proc/nowhere/pack", "--json")
    assert outcome.code in (7, 10) and outcome.document["error"]["id"] in ("DiskError", "NotThere")


def test_something_else_in_the_target_is_not_touched(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    precious = made.put(tmp_path / "target/precious.txt", "mine")
    outcome = run_segdata("convert", source, tmp_path / "target")
    assert outcome.code == 2 and "--force" in outcome.err
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["precious.txt"]
    assert precious.read_text() == "mine"


def test_missing_images_can_be_left_out_or_done_without(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    (source / "val2017/000000000001.jpg").unlink()
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert (outcome.code, outcome.document["samples"], outcome.document["splits"]) == (3, 2, {"val2017": 2})
    assert run_segdata("convert", source, tmp_path / "bare", "--images", "none").code == 0


def test_photos_of_another_split_are_counted(tmp_path: Path) -> None:
    document = made.coco_document()
    document["images"][1]["coco_url"] = "http://images.cocodataset.org/train2017/000000000001.jpg"
    document["images"][2]["coco_url"] = "http://images.cocodataset.org/val2017/000000000002.jpg"
    remarks = remarks_of(made.coco(tmp_path / "source", document), tmp_path / "pack")
    assert {kind: count for kind, count in remarks.items() if "coco_url" in kind} == {
        "photo of train2017 by its coco_url": 1
    }


def test_images_of_the_same_name_in_different_folders_have_their_own_keys(tmp_path: Path) -> None:
    import segdata

    document = made.coco_document()
    for image, name in zip(document["images"], ("a/x.jpg", "b/x.jpg", "x.jpg"), strict=True):
        image["file_name"] = name
    segdata.convert(made.coco(tmp_path / "source", document), tmp_path / "pack")
    assert list(segdata.open(tmp_path / "pack").keys) == ["a/x", "b/x", "x"]


def test_an_image_in_two_documents_is_stored_once_and_both_come_back(tmp_path: Path) -> None:
    import segdata
    from tests.helpers.compare import compare

    source = made.coco(tmp_path / "source", split="val2014")
    small = made.coco_document()
    small["images"] = small["images"][1::-1]
    small["annotations"][0]["area"] = 85
    made.put(source / "annotations/instances_minival2014.json", small)
    extra = {**made.coco_document(1), "annotations": [{"id": 5, "image_id": 10, "caption": "one"}]}
    del extra["categories"]
    extra["images"].append({"id": 77, "file_name": "more.jpg", "height": made.HEIGHT, "width": made.WIDTH})
    made.put(source / "annotations/captions_val2014.json", extra)
    made.put(source / "val2014/more.jpg", made.photo(seed=7))
    segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert len(pack) == 4
    assert {name: members.tolist() for name, members in pack.splits.items()} == {
        "val2014": [0, 1, 2, 3],
        "minival2014": [1, 0],
    }
    assert pack.find("000000000000").captions == ("one",)
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco")
    assert compare("coco", source, tmp_path / "back") == []


def test_ten_thousand_categories_and_none(tmp_path: Path) -> None:
    import segdata

    document = made.coco_document()
    document["categories"] += [{"id": 1000 + n, "name": f"☃ {n}", "supercategory": ""} for n in range(10_000)]
    document["annotations"][0]["category_id"] = 10_999
    segdata.convert(made.coco(tmp_path / "source", document), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert pack.labels[int(pack[0].instances.category[0])].name == "☃ 9999"
    document.update(categories=[], annotations=[])
    segdata.convert(made.coco(tmp_path / "empty", document), tmp_path / "empty-pack")
    assert len(segdata.open(tmp_path / "empty-pack").labels) == 0
    segdata.convert(tmp_path / "empty-pack", tmp_path / "back", to="coco")


def test_the_same_picture_in_two_splits_is_pointed_out(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    document = made.coco_document(1)
    document["annotations"] = []
    made.put(source / "annotations/instances_train2017.json", document)
    made.put(source / "train2017/000000000000.jpg", made.photo())
    assert run_segdata("convert", source, tmp_path / "pack").code == 0
    outcome = run_segdata("verify", tmp_path / "pack", "--deep", "--json")
    assert outcome.code == 0
    assert outcome.document["remarks"] == ["the same picture: 000000000000, 000000000000"]


def test_names_that_are_not_utf8_and_a_c_locale(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    odd = os.fsdecode(b"caf\xe9")
    for folder, ending in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        (source / folder / f"2007_000002{ending}").rename(source / folder / f"{odd}{ending}")
    text = (source / "Annotations" / f"{odd}.xml").read_text().replace("<filename>2007_000002.jpg</filename>", "")
    (source / "Annotations" / f"{odd}.xml").write_text(text)
    made.put(source / "ImageSets/Main/train.txt", b"2007_000001\n")
    made.put(source / "ImageSets/Main/dog_train.txt", b"2007_000001  1\n")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json", LC_ALL="C", PYTHONUTF8="0")
    assert outcome.code == 0, outcome.err
    assert run_segdata("info", tmp_path / "pack", LC_ALL="C", PYTHONUTF8="0").code == 0
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "voc").code == 0
    assert (tmp_path / "back/JPEGImages" / f"{odd}.jpg").read_bytes() == (
        source / "JPEGImages" / f"{odd}.jpg"
    ).read_bytes()


def test_progress_is_off_when_asked(tmp_path: Path, here: Callable[..., Outcome]) -> None:
    from segdata.cli import output

    source = made.coco(tmp_path / "source")
    for options, is_shown in (((), True), (("--no-progress",), False)):
        assert here("convert", source, tmp_path / "pack", *options).code == 0
        with output.progress("converting", quiet=False) as progress:
            assert (progress is not None) is is_shown
    assert here("convert", source, tmp_path / "pack").code == 0


def test_an_option_is_not_taken_for_the_folder_of_another() -> None:
    outcome = run_segdata("predict", "model", "photos", "-o", "found", "--pictures", "--quiet")
    assert outcome.code == 2 and "--pictures FOLDER" in outcome.err
