"""A conversion that leaves nothing, or reads no annotation, is refused; every kind of problem keeps its own fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import segdata
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused


def test_an_empty_pack_is_never_written(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    for path in (source / "val2017").iterdir():
        path.write_bytes(b"<html>not found</html>")
    refused(source, tmp_path / "pack", 4, "every image was left out", options=("--on-error", "skip"))
    refused(
        source,
        tmp_path / "voc",
        4,
        "every image was left out",
        options=("--on-error", "skip", "--to", "voc", "--allow-loss"),
    )


def test_images_beside_annotations_that_are_not_read_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made.put(source / "JPEGImages/a.jpg", made.photo())
    made.put(source / "SegmentationClass/a.npy", b"\x93NUMPY")
    refused(source, tmp_path / "pack", 4, "no annotation was read", "SegmentationClass", "your-data")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3 and outcome.document["samples"] == 1


def test_images_alone_are_no_error(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source", {"images": made.coco_document()["images"]}, "test2017")
    document = source / "annotations/instances_test2017.json"
    document.rename(document.with_name("image_info_test2017.json"))
    (source / "notes.csv").write_text("a,b\n")
    assert run_segdata("convert", source, tmp_path / "pack").code == 0


def test_every_kind_is_shown_with_its_own_fix(tmp_path: Path) -> None:
    source = made.camvid_segnet(tmp_path / "source")
    label_files = sorted(source.glob("*annot/*.png"))
    assert len(label_files) > 1
    for path in label_files:
        path.write_bytes(made.png(np.full((made.HEIGHT, made.WIDTH), 200, np.uint8)))
    outcome = run_segdata("convert", source, tmp_path / "pack")
    assert outcome.code == 4
    fix = outcome.err.partition("fix:")[2]
    assert "--classes FILE" in fix and "--on-error skip" in fix


def test_crowds_become_objects_when_asked(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "kept")
    segdata.convert(source, tmp_path / "objects", crowds="objects")
    kept, objects = ([sample.instances for sample in segdata.open(tmp_path / name)] for name in ("kept", "objects"))
    assert sum(instances.iscrowd.sum() for instances in kept) > 0
    assert not any(instances.iscrowd.any() for instances in objects)
    assert all(a.masks == b.masks for a, b in zip(kept, objects, strict=True))


def test_the_limit_of_pixels_is_an_option_that_the_pack_keeps(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    options = ("--max-pixels", str(made.HEIGHT * made.WIDTH - 1))
    refused(source, tmp_path / "pack", 11, "larger than the limit", "--max-pixels", options=options)
    assert run_segdata("convert", source, tmp_path / "pack", "--max-pixels", str(made.HEIGHT * made.WIDTH)).code == 0
    assert segdata.open(tmp_path / "pack")[0].image.shape == (made.HEIGHT, made.WIDTH, 3)
    assert segdata.open(tmp_path / "pack")[0].max_pixels == made.HEIGHT * made.WIDTH


def test_the_limit_of_pixels_of_a_manifest_is_that_of_its_pack(tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    manifest = tmp_path / "mine.toml"
    for less, code in ((1, 11), (0, 0)):
        limit = made.HEIGHT * made.WIDTH - less
        manifest.write_text(f'title = "Mine"\nformat = "coco"\nfolder = "source"\nmax_pixels = {limit}\n')
        assert run_segdata("prepare", manifest, "--root", tmp_path / "root").code == code
    assert segdata.open(tmp_path / "root/mine/pack")[0].max_pixels == made.HEIGHT * made.WIDTH
