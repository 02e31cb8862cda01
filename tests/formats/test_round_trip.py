"""dataset → pack → dataset gives the dataset back, file by file, judged by `compare` (which knows nothing of segdata)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import segdata
from segdata.errors import SegdataError
from tests.helpers import made
from tests.helpers.command import run_segdata, tree
from tests.helpers.compare import compare
from tests.helpers.samples import METRICS, SAMPLES, needs_samples

NOT_READ = ("annotations/image_info_*", "annotations/labels_*", "annotations/panoptic_*", "annotations/stuff_*")

REAL = [
    ("coco", "coco"),
    ("voc", "voc/VOCdevkit/VOC2012"),
    ("camvid", "camvid/segnet/CamVid"),
    ("camvid", "camvid/rgb11/CamVid"),
    ("coco", "peer_datumaro/coco_dataset/coco"),
    ("voc", "peer_datumaro/voc_dataset/voc_dataset1"),
    ("cityscapes", "peer_datumaro/cityscapes_dataset/dataset"),
    ("cityscapes", "peer_datumaro/cityscapes_dataset/train_dataset"),
    ("camvid", "peer_datumaro/camvid_dataset"),
]


@needs_samples
@pytest.mark.parametrize(("format_name", "folder"), REAL)
def test_real_data_comes_back_exactly(format_name: str, folder: str, tmp_path: Path) -> None:
    source = SAMPLES / folder
    pack, back = tmp_path / "pack", tmp_path / "back"
    for command in (
        ("convert", source, pack),
        ("verify", pack, "--deep"),
        ("convert", pack, back, "--to", format_name),
    ):
        outcome = run_segdata(*command)
        assert outcome.code == 0, outcome.err
    assert compare(format_name, source, back, NOT_READ) == []


@needs_samples
def test_oddities_of_copies_are_counted(tmp_path: Path) -> None:
    kinds = {
        folder: set(
            run_segdata("convert", SAMPLES / folder, tmp_path / str(n), "--json").document["problems"]["remarks"]
        )
        for n, (_, folder) in enumerate(REAL)
        if "datumaro" in folder
    }
    assert "instance file is not 16-bit" in kinds["peer_datumaro/cityscapes_dataset/dataset"]
    assert "no labelIds file: label map taken from instanceIds" in kinds["peer_datumaro/cityscapes_dataset/dataset"]
    assert "labelTrainIds are not those of labelIds" in kinds["peer_datumaro/cityscapes_dataset/train_dataset"]
    assert (
        "mask of an object that the annotation does not list: kept" in kinds["peer_datumaro/voc_dataset/voc_dataset1"]
    )
    assert "labels are colours, where this layout has indices" in kinds["peer_datumaro/camvid_dataset"]
    assert "document not read: stuff" in kinds["peer_datumaro/coco_dataset/coco"]


def test_label_files_without_photos_come_back(tmp_path: Path) -> None:
    source = METRICS / "cityscapes"
    assert run_segdata("convert", source, tmp_path / "pack", "--images", "none").code == 0
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "cityscapes").code == 0
    assert compare("cityscapes", source, tmp_path / "back", ("pred_*", "expected.json")) == []


@pytest.mark.parametrize("name", made.ALL)
def test_hand_made_data_comes_back_exactly(name: str, tmp_path: Path) -> None:
    source = made.ALL[name](tmp_path / "source")
    format_name = name.split("_")[0]
    segdata.convert(source, tmp_path / "pack")
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    segdata.convert(tmp_path / "pack", tmp_path / "back", to=format_name)
    assert compare(format_name, source, tmp_path / "back") == []


@pytest.mark.parametrize("name", made.ALL)
def test_the_same_format_without_a_pack_comes_out_the_same(name: str, tmp_path: Path) -> None:
    source = made.ALL[name](tmp_path / "source")
    segdata.convert(source, tmp_path / "copy", to=name.split("_")[0])
    assert compare(name.split("_")[0], source, tmp_path / "copy") == []


@pytest.mark.parametrize("name", made.ALL)
def test_two_runs_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = made.ALL[name](tmp_path / "source")
    segdata.convert(source, tmp_path / "one")
    segdata.convert(source, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


HOLD_THEIR_IMAGES = ("parquet", "webdataset")


@pytest.mark.parametrize("name", [name for name in made.ALL if name not in HOLD_THEIR_IMAGES])
def test_a_pack_of_references_opens_and_comes_back(name: str, tmp_path: Path) -> None:
    source = made.ALL[name](tmp_path / "source")
    segdata.convert(source, tmp_path / "pack", images="reference")
    assert not list((tmp_path / "pack").glob("images-*"))
    for sample in segdata.open(tmp_path / "pack"):
        assert sample.encoded == (source / sample.file).read_bytes()
    segdata.convert(tmp_path / "pack", tmp_path / "back", to=name.split("_")[0])
    assert compare(name.split("_")[0], source, tmp_path / "back") == []


@pytest.mark.parametrize("name", HOLD_THEIR_IMAGES)
def test_images_within_annotation_files_cannot_be_referred_to(name: str, tmp_path: Path) -> None:
    with pytest.raises(SegdataError, match="--images reference") as refused:
        segdata.convert(made.ALL[name](tmp_path / "source"), tmp_path / "pack", images="reference")
    assert refused.value.exit_code == 2


def one_split_only(make: Callable[[Path], Path], tmp_path: Path, format_name: str, split: str) -> Path:
    segdata.convert(make(tmp_path / "source"), tmp_path / "pack", splits=[split])
    segdata.convert(tmp_path / "pack", tmp_path / "back", to=format_name)
    return tmp_path / "back"


def test_one_split_of_voc_leaves_the_others_names_out_of_the_lists(tmp_path: Path) -> None:
    back = one_split_only(made.voc, tmp_path, "voc", "train")
    assert (back / "ImageSets/Main/dog_train.txt").read_text() == "2007_000001  1\n"
    assert sorted(path.name for path in (back / "Annotations").iterdir()) == ["2007_000001.xml"]


def test_one_split_of_camvid_is_that_split(tmp_path: Path) -> None:
    back = one_split_only(made.camvid_segnet, tmp_path, "camvid", "val")
    assert sorted(path.name for path in back.iterdir() if path.is_dir()) == ["val", "valannot"]
