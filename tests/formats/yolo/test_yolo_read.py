"""YOLO folders read: where images lie, what lines mean, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from pycocotools import mask as coco_mask

import segdata
from segdata.errors import InvalidAnnotation, SegdataError
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare
from tests.helpers.refusals import refused, remarks_of

HEIGHT, WIDTH = made.HEIGHT, made.WIDTH
SQUARE = "0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"


def folder(root: Path, text: str | None, yaml: str = "train: images\nnames: [cat, dog]\n", photo: bytes = b"") -> Path:
    """One image with a label file."""
    made.put(root / "data.yaml", yaml)
    made.put(root / "images/a.jpg", photo or made.photo())
    if text is not None:
        made.put(root / "labels/a.txt", text)
    return root


def only(root: Path, format: str = "yolo") -> segdata.Sample:
    samples = list(segdata.read(root, format=format))
    assert len(samples) == 1
    return samples[0]


# ---------------------------------------------------------------------- lines


def test_a_box_is_centre_and_size(tmp_path: Path) -> None:
    sample = only(folder(tmp_path / "d", "1 0.5 0.5 0.25 0.5\n"))
    assert sample.instances.bbox.tolist() == [[15, 7.5, 10, 15]]  # of 40 × 30
    assert sample.instances.category.tolist() == [1] and not sample.instances.has_mask.any()


def test_an_outline_is_drawn_as_pycocotools_does(tmp_path: Path) -> None:
    shares = [0.11, 0.2, 0.93, 0.31, 0.57, 0.97, 0.3, 0.6]
    sample = only(folder(tmp_path / "d", "0 " + " ".join(map(str, shares))))
    pixels = [value * side for value, side in zip(shares, [WIDTH, HEIGHT] * 4, strict=True)]
    expected = coco_mask.decode(coco_mask.frPyObjects([pixels], HEIGHT, WIDTH))[:, :, 0]
    assert np.array_equal(sample.instances.masks[0], expected) and expected.any()


def test_seams_cancel_and_holes_stay_open(tmp_path: Path) -> None:
    outer, inner = [(4, 3), (36, 3), (36, 27), (4, 27)], [(12, 9), (12, 21), (24, 21), (24, 9)]
    path = [*outer, outer[0], *inner, inner[0], outer[0]]
    text = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in path)
    mask = only(folder(tmp_path / "d", f"0 {text}\n")).instances.masks[0]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[3:27, 4:36], expected[9:21, 12:24] = 1, 0
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_lines_are_of_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    """The picture has a white square where the line says, when Pillow has turned it upright."""
    upright = Image.new("RGB", (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH))
    ImageDraw.Draw(upright).rectangle((4, 6, 11, 23), fill="white")
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo.get(orientation, ()):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    stored.save(path, exif=exif)
    assert ImageOps.exif_transpose(Image.open(path)).tobytes() == upright.tobytes()
    w, h = upright.size
    numbers = [4 / w, 6 / h, 12 / w, 6 / h, 12 / w, 24 / h, 4 / w, 24 / h]
    source = folder(tmp_path / "d", "0 " + " ".join(f"{value:.6f}" for value in numbers), photo=path.read_bytes())
    sample = only(source)
    assert (sample.height, sample.width) == stored.size[::-1]
    assert np.array_equal(sample.instances.masks[0] != 0, np.asarray(stored)[:, :, 0] > 128)
    remarks = remarks_of(source, tmp_path / "pack")
    assert (
        any(kind.startswith(f"EXIF orientation {orientation}: annotations of the upright") for kind in remarks)
    ) == (orientation > 1)
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="yolo")
    assert compare("yolo", source, tmp_path / "back") == []


def test_pictures_that_are_turned_for_good_have_lines_that_are_not(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", f"0 {SQUARE}\n", photo=made.turned_photo(6))
    segdata.convert(source, tmp_path / "pack", exif="apply")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="yolo")
    (text,) = (tmp_path / "back/labels").rglob("a.txt")
    assert [float(word) for word in text.read_text().split()] == [float(word) for word in f"0 {SQUARE}".split()]
    one, other = only(source), only(tmp_path / "back")
    assert other.height == one.width and other.width == one.height
    assert abs(int(other.instances.masks.areas[0]) - int(one.instances.masks.areas[0])) <= 2 * (WIDTH + HEIGHT) * 0.4


def test_a_repeated_line_is_one_object_and_comes_back(tmp_path: Path) -> None:
    text = f"0 {SQUARE}\n1 {SQUARE}\n0 {SQUARE}\n"
    source = folder(tmp_path / "d", text)
    assert remarks_of(source, tmp_path / "pack")["line that repeats another one: one object"] == 1
    assert len(segdata.open(tmp_path / "pack")[0].instances) == 2
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="yolo")
    assert (tmp_path / "back/labels/a.txt").read_text() == text


def test_missing_and_empty_files_say_that_there_is_no_object(tmp_path: Path) -> None:
    source = made.yolo(tmp_path / "d")
    samples = {sample.key: sample for sample in segdata.read(source)}
    for key in ("missing", "empty", "blank", "b"):
        assert samples[key].has_instances and not len(samples[key].instances), key
    segdata.convert(source, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="yolo")
    assert (tmp_path / "back/train/labels/empty.txt").read_bytes() == b""
    assert not (tmp_path / "back/train/labels/missing.txt").exists()


BAD: dict[str, tuple[str, str, str]] = {
    "a class that is none": ("0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n", "line 2", "a class is out of range"),
    "a class that is no number": ("cat .5 .5 .1 .1\n", "line 1", "a class is out of range"),
    "an odd number": (f"0 {SQUARE} 0.5\n", "line 1", "an outline has no pairs of numbers"),
    "two points": (f"0 {SQUARE}\n0 .1 .1 .2 .2\n", "line 2", "five words among outlines"),
    "pixels": ("0 100 200 50 50\n", "line 1", "this looks like pixels"),
    "past 1.01": ("0 0.5 0.5 1.02 0.1\n", "line 1", "coordinates are no shares of the image"),
    "below -0.01": ("0 -0.02 0.5 0.2 0.1\n", "line 1", "coordinates are no shares of the image"),
    "a negative size": ("0 0.5 0.5 -0.005 0.1\n", "line 1", "coordinates are no shares of the image"),
    "too few": ("0 0.5 0.5 0.1\n", "line 1", "a line is no box"),
    "a confidence": ("0 0.5 0.5 0.1 0.1 0.9\n", "line 1", "save_conf"),
    "not a number": ("0 0.5 x 0.1 0.1\n", "line 1", "a line holds no numbers"),
    "NaN": ("0 0.5 nan 0.1 0.1\n", "line 1", "a number is not finite"),
    "another text": ("ä 0.5\n", "labels/a.txt", "a label file is no text of numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_valid_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    text, place, message = BAD[case]
    source = folder(tmp_path / "d", text)
    outcome = refused(source, tmp_path / "pack", 4, place, message, "a.txt")
    assert outcome.document["error"]["fix"] or outcome.document["error"]["why"]
    skipped = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert skipped.code == (4 if case == "another text" else 3), skipped.err
    if skipped.code == 3:
        good = text.count("\n") - 1
        assert skipped.document["instances"] == good


@pytest.mark.parametrize("value", ["1.01", "-0.01", "1.005"])
def test_a_little_beyond_the_image_is_kept(value: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "d", f"0 {value} 0.5 0.1 0.1\n")
    assert len(only(source).instances) == 1


# ---------------------------------------------------------------------- folders and data.yaml


def keys_by_split(root: Path) -> dict[str, list[str]]:
    data = segdata.read(root)
    return {name: [data.keys[index] for index in members] for name, members in data.splits.items()}


def test_lists_folders_and_lists_of_folders_are_splits(tmp_path: Path) -> None:
    source = made.yolo_ultralytics(tmp_path / "d")
    assert keys_by_split(source) == {
        "train": ["a", "more/x"],
        "val": ["a", "val/b"],
        "test": ["c"],
        "minival": ["d"],
    }
    data = segdata.read(source)
    assert [category.name for category in data.labels.categories] == ["cat", "dog", "bird"]
    a = data.find("a")
    assert a.instances.category.tolist() == [2]
    assert a.semantic is not None
    assert np.unique(a.semantic).tolist() == [1, 2, 255]


def test_names_are_texts_whatever_yaml_takes_them_for(tmp_path: Path) -> None:
    names = [category.name for category in segdata.read(made.yolo(tmp_path / "d")).labels.categories]
    assert names == ["a cat", "no", "12", "ä: #"]


@pytest.mark.parametrize("path", ["C:\\Users\\me\\data\\", "/content/data", "../datasets/d", "datasets/d"])
def test_a_path_of_another_machine_is_not_used(path: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "d", None, f"path: {path}\ntrain: images\nnames: [cat]\n")
    kinds = remarks_of(source, tmp_path / "pack")
    assert kinds["path of the YAML file is not used: paths are relative to its folder"] == 1


def test_notes_of_an_export_are_not_lists(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "0 .5 .5 .1 .1\n")
    made.put(source / "README.roboflow.txt", "images/a.jpg\n")
    assert remarks_of(source, tmp_path / "pack") == {"file not read": 1}


def test_a_path_within_the_folder_is_used(tmp_path: Path) -> None:
    source = folder(tmp_path / "d/inner", "0 .5 .5 .1 .1\n")
    (source / "data.yaml").rename(tmp_path / "d/data.yaml")
    made.put(tmp_path / "d/data.yaml", "path: ./inner\ntrain: images\nnames: [cat]\n")
    assert len(only(tmp_path / "d").instances) == 1


def test_the_yaml_file_stands_for_its_folder(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "0 .5 .5 .1 .1\n")
    (source / "data.yaml").rename(source / "mine.yaml")
    report = segdata.convert(source / "mine.yaml", tmp_path / "pack")
    assert (report.source_format, report.samples) == ("yolo", 1)


def test_two_yaml_files_are_asked_about(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", None)
    (source / "data.yaml").rename(source / "one.yaml")
    made.put(source / "two.yaml", (source / "one.yaml").read_bytes())
    refused(source, tmp_path / "pack", 4, "one.yaml", "two.yaml")


def test_val_and_valid_are_one(tmp_path: Path) -> None:
    source = folder(tmp_path / "d/val", "0 .5 .5 .1 .1\n", "val: ../valid/images\nnames: [cat]\n")
    (source / "data.yaml").rename(tmp_path / "d/data.yaml")
    assert keys_by_split(tmp_path / "d") == {"val": ["a"]}


def test_a_split_that_is_not_there_is_left_out_with_a_remark(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", None, "train: images\nval: ../gone/images\nnames: [cat]\n")
    assert remarks_of(source, tmp_path / "pack")["split without its images on disk: left out"] == 1
    with pytest.raises(SegdataError, match="images of a split are not there"):
        segdata.convert(source, tmp_path / "strict", strict=True)


def test_folders_without_yaml_need_names(tmp_path: Path) -> None:
    source = made.yolo_alone(tmp_path / "d")
    assert [category.name for category in segdata.read(source).labels.categories] == ["cat", "dog"]
    (source / "labels/classes.txt").unlink()
    refused(source, tmp_path / "pack", 4, "nothing names the classes", "classes.txt", "--classes from-data")
    report = segdata.convert(source, tmp_path / "pack", classes="from-data")
    assert report.instances == 2
    assert [category.name for category in segdata.open(tmp_path / "pack").labels.categories] == ["0", "1"]
    segdata.convert(source, tmp_path / "named", classes="cat,dog")
    assert [category.name for category in segdata.open(tmp_path / "named").labels.categories] == ["cat", "dog"]


def test_names_come_from_a_yaml_file_elsewhere(tmp_path: Path) -> None:
    source = made.yolo_alone(tmp_path / "d")
    (source / "labels/classes.txt").unlink()
    for names in ("[wolf, no]", "{0: wolf, 1: no}"):
        yaml = made.put(tmp_path / "other/data.yaml", f"train: elsewhere\nnames: {names}\n")
        segdata.convert(source, tmp_path / "pack", classes=yaml, force=True)
        assert [category.name for category in segdata.open(tmp_path / "pack").labels.categories] == ["wolf", "no"]
    with pytest.raises(InvalidAnnotation):
        segdata.convert(source, tmp_path / "other pack", classes=made.put(tmp_path / "x.yaml", "names: [[a]]\n"))


def test_images_elsewhere_are_no_option(tmp_path: Path) -> None:
    source = made.yolo(tmp_path / "d")
    assert run_segdata("convert", source, tmp_path / "pack", "--images-dir", tmp_path).code == 2


def test_a_project_in_a_folder_is_no_split(tmp_path: Path) -> None:
    made.yolo_alone(tmp_path / "d/project")
    assert keys_by_split(tmp_path / "d") == {"all": ["a", "b"]}


@pytest.mark.parametrize("kind_first", [True, False])
def test_folders_are_splits_without_yaml(kind_first: bool, tmp_path: Path) -> None:
    made.put(tmp_path / "d/classes.txt", "cat\n")
    for split in ("train", "valid"):
        for kind, data, ending in (("images", made.photo(), "jpg"), ("labels", "0 .5 .5 .1 .1\n", "txt")):
            folders = f"{kind}/{split}" if kind_first else f"{split}/{kind}"
            made.put(tmp_path / "d" / folders / f"{split}.{ending}", data)
    assert keys_by_split(tmp_path / "d") == {"train": ["train"], "valid": ["valid"]}


def test_a_split_of_a_dataset_is_answered_with_the_whole(tmp_path: Path) -> None:
    made.yolo(tmp_path / "d")
    refused(tmp_path / "d/train", tmp_path / "pack", 4, f"segdata convert {tmp_path / 'd'} PACK --split train")


# ---------------------------------------------------------------------- hostile and contradictory


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: &x images\nval: *x\nnames: [cat]\n", "alias"),
        ("train: images\nnames: [cat]\nmore: " + "[" * 30 + "]" * 30 + "\n", "nested"),
        ("train: images\nnames: [cat]\n# " + "x" * (1 << 20), "larger"),
        ("train: ../../../etc\nnames: [cat]\n", "leads out"),
    ],
)
def test_what_could_grow_or_leave_is_refused(yaml: str, message: str, tmp_path: Path) -> None:
    refused(folder(tmp_path / "d", None, yaml), tmp_path / "pack", 11, message)


def test_a_line_of_a_list_that_leaves_is_refused(tmp_path: Path) -> None:
    made.put(tmp_path / "out.jpg", made.photo())
    source = folder(tmp_path / "d", None, "train: train.txt\nnames: [cat]\n")
    made.put(source / "train.txt", "images/a.jpg\n../out.jpg\n")
    refused(source, tmp_path / "pack", 11, "train.txt", "line 2", "../out.jpg")


def test_a_link_that_leaves_is_refused(tmp_path: Path) -> None:
    made.put(tmp_path / "secret.txt", "0 .5 .5 .1 .1\n")
    source = folder(tmp_path / "d", None)
    (source / "labels").mkdir()
    (source / "labels/a.txt").symlink_to(tmp_path / "secret.txt")
    refused(source, tmp_path / "pack", 11, "labels/a.txt")


def test_label_files_without_image_and_images_without_file_are_listed(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "0 .5 .5 .1 .1\n")
    made.put(source / "labels/b.txt", "0 .5 .5 .1 .1\n")
    refused(source, tmp_path / "pack", 4, "labels/b.txt", "label file without image", "images/b.jpg")
    skipped = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert skipped.code == 3 and skipped.document["samples"] == 1
    (source / "labels/b.txt").unlink()
    made.put(source / "data.yaml", "train: train.txt\nnames: [cat, dog]\n")
    made.put(source / "train.txt", "images/a.jpg\nimages/gone.jpg\n")
    refused(source, tmp_path / "pack2", 4, "images/gone.jpg", "not on disk")


def _names(text: str) -> Callable[[Path], Path]:
    return lambda root: folder(root, None, f"train: images\n{text}\n")


@pytest.mark.parametrize(
    "make",
    [
        _names("names: 3"),
        _names("names: {a: cat}"),
        _names("names: [[cat]]"),
        _names("names: {0: cat, 0.0: dog}"),
        _names("nc: many"),
        _names("names: {-1: cat}"),
    ],
)
def test_names_of_another_form_are_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidAnnotation):
        segdata.convert(make(tmp_path / "d"), tmp_path / "pack")


def test_a_count_that_differs_is_remarked_and_the_same_name_twice_told_apart(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "1 .5 .5 .1 .1\n", "train: images\nnc: 3\nnames: [cat, cat]\n")
    kinds = remarks_of(source, tmp_path / "pack")
    assert kinds["nc is not the number of names: the names count"] == 1
    assert [category.name for category in segdata.open(tmp_path / "pack").labels.categories] == ["cat", "cat (1)"]


def test_a_folder_of_two_formats_is_asked_about(tmp_path: Path) -> None:
    source = made.yolo(made.coco(tmp_path / "d"))
    refused(source, tmp_path / "pack", 4, "--from yolo", "--from coco")
    assert segdata.convert(source, tmp_path / "pack", source_format="yolo").samples == 11
    assert segdata.convert(source, tmp_path / "other", source_format="coco").samples == 3


def test_label_maps_of_classes_are_wanted_in_grey_and_in_range(tmp_path: Path) -> None:
    source = made.yolo_ultralytics(tmp_path / "d")
    made.put(source / "masks/train/a.png", made.png(np.full((HEIGHT, WIDTH), 5, np.uint8)))
    refused(source, tmp_path / "pack", 4, "masks/train/a.png", "found 5")


def test_values_of_label_maps_are_mapped(tmp_path: Path) -> None:
    source = folder(
        tmp_path / "d", None, "train: images\nmasks_dir: masks\nnames: [a, b]\nlabel_mapping: {7: 0, 11: 1, 0: 255}\n"
    )
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[2:5], values[9:] = 7, 11
    made.put(source / "masks/a.png", made.png(values))
    semantic = only(source).semantic
    assert semantic is not None
    assert [semantic[row, 0] for row in (0, 2, 9)] == [255, 0, 1]
    segdata.convert(source, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="yolo")
    assert compare("yolo", source, tmp_path / "back") == []


# ---------------------------------------------------------------------- real data


def samples_of(name: str) -> Path:
    root = os.environ.get("SEGDATA_SAMPLES")
    path = Path(root or "", "formats", name)
    if not root or not path.is_dir():
        pytest.skip("SEGDATA_SAMPLES names no folder with formats/")
    return path


@pytest.mark.parametrize(
    ("name", "ignored"),
    [("yolo_seg_holes", ("LICENSE",)), ("yolo_seg_roboflow", ("README*", "test/*"))],
)
def test_published_datasets_come_back_to_the_digit(name: str, ignored: tuple[str, ...], tmp_path: Path) -> None:
    source = samples_of(name)
    segdata.convert(source, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="yolo")
    assert compare("yolo", source, tmp_path / "back", ignored) == []


def test_donuts_have_holes(tmp_path: Path) -> None:
    """Donuts whose outlines are joined by seams: pycocotools itself draws the same masks, with holes."""
    holes = 0
    for sample in segdata.read(samples_of("yolo_seg_holes")):
        for index, rings in enumerate(sample.instances.polygons):
            rle = coco_mask.frPyObjects([rings[0].reshape(-1).tolist()], sample.height, sample.width)
            assert np.array_equal(sample.instances.masks[index], coco_mask.decode(rle)[:, :, 0])
            holes += len(sample.instances.masks.outlines(index)) > 1
    assert holes >= 4
