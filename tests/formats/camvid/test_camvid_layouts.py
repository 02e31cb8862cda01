"""Layouts of CamVid's relatives: other names of folders and files, tables of other tools, label files of other kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.contract import ReadOptions
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare

Files = dict[str, bytes | str | np.ndarray]

SIZE = (12, 16)
COLORS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (250, 50, 83)}
TXT = "0 0 0 background\n128 64 128 road\n250 50 83 puddle\n"
CSV = "name,r,g,b\nbackground,0,0,0\nroad,128,64,128\npuddle,250,50,83\n"
NAMES = "background\nroad\npuddle\n"
LIST = "/default/a.png /defaultannot/a.png\n"


def there_and_back(source: Path, tmp_path: Path) -> tuple[list[str], dict[str, Any]]:
    """Convert to a pack and back; the differences that are left, and what was remarked."""
    report = segdata.convert(source, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="camvid")
    return compare("camvid", source, tmp_path / "back"), report.problems["remarks"]


def semantic(sample: segdata.Sample) -> np.ndarray:
    assert sample.semantic is not None
    return sample.semantic


def values() -> np.ndarray:
    """Two rows of background, road below, a puddle of four pixels."""
    image = np.ones(SIZE, np.uint8)
    image[:2] = 0
    image[5:7, 3:5] = 2
    return image


def colors(table: Mapping[int, tuple[int, int, int]] = COLORS) -> np.ndarray:
    lookup = np.zeros((256, 3), np.uint8)
    for value, color in table.items():
        lookup[value] = color
    pixels: np.ndarray = lookup[values()]
    return pixels


def dataset(root: Path, files: Files) -> Path:
    for number, (name, content) in enumerate(files.items()):
        if isinstance(content, np.ndarray):
            content = made.png(content)
        elif content == b"":
            kind = "JPEG" if name.lower().endswith((".jpg", ".jpeg")) else "PNG"
            content = made.photo(SIZE[1], SIZE[0], seed=number, kind=kind)
        made.put(root / name, content)
    return root


LAYOUTS: dict[str, tuple[Files, dict[str, list[str]]]] = {
    "CVAT's split": (
        {"default/a.png": b"", "defaultannot/a.png": colors(), "default.txt": LIST, "label_colors.txt": TXT},
        {"default": ["a"]},
    ),
    "splits of other names": (
        {
            "Train/a.png": b"",
            "Trainannot/a.png": colors(),
            "validation/b.jpg": b"",
            "validationannot/b.png": colors(),
            "label_colors.txt": TXT,
        },
        {"Train": ["a"], "validation": ["b"]},
    ),
    "Kaggle": (
        {
            "train/a.png": b"",
            "train_labels/a_L.png": colors(),
            "val/b.png": b"",
            "val_labels/b_L.png": colors(),
            "test/c.png": b"",
            "class_dict.csv": CSV,
        },
        {"train": ["a"], "val": ["b"], "test": ["c"]},
    ),
    "Kaggle, same names, values": (
        {"train/a.JPG": b"", "train_masks/a.PNG": values(), "classes.txt": NAMES},
        {"train": ["a"]},
    ),
    "fast.ai without the suffix": (
        {"images/a.jpg": b"", "labels/a.png": values(), "codes.txt": NAMES},
        {"train": ["a"]},
    ),
    "images and masks": (
        {"images/a.jpg": b"", "masks/a_mask.png": values(), "class_names.txt": NAMES, "val.txt": "a\n"},
        {"val": ["a"]},
    ),
    "datumaro": (
        {
            "images/a.jpg": b"",
            "masks/a.png": colors(),
            "dataset_meta.json": '{"label_map": {"0": "background", "1": "road", "2": "puddle"}, '
            '"segmentation_colors": [[0, 0, 0], [128, 64, 128], [250, 50, 83]]}',
        },
        {"all": ["a"]},
    ),
    "folders of splits in both": (
        {
            "images/train/a.jpg": b"",
            "images/val/b.jpg": b"",
            "annotations/train/a.png": values(),
            "annotations/val/b.png": values(),
            "classes.txt": NAMES,
        },
        {"train": ["a"], "val": ["b"]},
    ),
    "both in folders of splits": (
        {
            "train/images/a.jpg": b"",
            "train/masks/a.png": values(),
            "valid/images/b.jpg": b"",
            "valid/masks/b.png": values(),
            "classes.txt": NAMES,
        },
        {"train": ["a"], "valid": ["b"]},
    ),
    "Roboflow": (
        {
            "train/a.jpg": b"",
            "train/a_mask.png": values(),
            "train/_classes.csv": "Pixel Value, Class\n0, background\n1, road\n2, puddle\n",
            "valid/b.jpg": b"",
            "valid/b_mask.png": values(),
            "valid/_classes.csv": "Pixel Value, Class\n0, background\n1, road\n2, puddle\n",
        },
        {"train": ["a"], "valid": ["b"]},
    ),
    "the original with values": (
        {"701_StillsRaw_full/a.png": b"", "LabeledApproved_full/a_L.png": values(), "label_color.txt": TXT},
        {"all": ["a"]},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_and_written_again(name: str, tmp_path: Path) -> None:
    files, splits = LAYOUTS[name]
    dataset(tmp_path / "source", files)
    folder = segdata.read(tmp_path / "source")
    assert [category.name for category in folder.labels.categories] == ["background", "road", "puddle"]
    keys = folder.keys
    assert {split: [keys[index] for index in members] for split, members in folder.splits.items()} == splits
    for sample in folder:
        assert sample.semantic is None if sample.key == "c" else np.array_equal(semantic(sample), values())
    differences, remarks = there_and_back(tmp_path / "source", tmp_path)
    assert differences == []
    assert remarks == {}


KINDS: dict[str, tuple[Callable[[np.ndarray], Image.Image], str | None]] = {
    "16 bits": (lambda m: Image.fromarray(m.astype(np.uint16)), None),
    "palette": (lambda m: _palette(m), None),
    "RGB of equal channels": (lambda m: Image.fromarray(np.dstack([m] * 3)), "colour file with three equal channels"),
    "void": (lambda m: Image.fromarray(np.where(m == 2, 255, m).astype(np.uint8)), "pixels of value 255, read as void"),
}


def _palette(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image)
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return picture


@pytest.mark.parametrize("kind", KINDS)
def test_label_files_of_other_kinds(kind: str, tmp_path: Path) -> None:
    make, remark = KINDS[kind]
    source = dataset(tmp_path / "source", {"train/a.png": b"", "label_colors.txt": TXT})
    (source / "trainannot").mkdir()
    make(values()).save(source / "trainannot/a.png")
    expected = np.where(values() == 2, 255, values()) if kind == "void" else values()
    assert np.array_equal(semantic(segdata.read(source)[0]), expected)
    differences, remarks = there_and_back(source, tmp_path)
    assert differences == []
    assert [name.startswith(remark or "") for name in remarks] == [True] * (remark is not None)


@pytest.mark.parametrize("ending", ["gif", "bmp", "tif"])
def test_label_files_that_are_no_png_keep_every_value(ending: str, tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", {"train/a.jpg": b"", "classes.txt": NAMES})
    (source / "train_masks").mkdir()
    _palette(values()).save(source / f"train_masks/a_mask.{ending}")
    assert np.array_equal(semantic(segdata.read(source)[0]), values())
    assert there_and_back(source, tmp_path)[0] == []
    Image.fromarray(values()).save(source / f"train_masks/a_mask.{ending}", "WEBP")
    with pytest.raises(SegdataError, match="not a PNG") as refusal:
        segdata.read(source)[0]
    assert "WebP, which changes label values" in (refusal.value.why or "")


@pytest.mark.parametrize("mode", ["1", "L"])
def test_masks_of_two_values(mode: str, tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", {"images/a.jpg": b"", "classes.txt": "background\nroad\n"})
    (source / "masks").mkdir()
    Image.fromarray((values() > 0).astype(np.uint8) * 255).convert(mode).save(source / "masks/a.png")
    assert np.array_equal(semantic(segdata.read(source)[0]), values() > 0)
    differences, remarks = there_and_back(source, tmp_path)
    assert differences == []
    assert bool(remarks) == (mode == "L")  # 0 and 255 are 0 and 1 only for want of another reading


def test_values_and_colours_name_categories_where_asked(tmp_path: Path) -> None:
    options = ReadOptions(classes_from_data=True)
    grey = dataset(tmp_path / "grey", {"images/a.jpg": b"", "labels/a.png": values() * 5})
    folder = segdata.read(grey, options=options)
    assert [(item.name, item.id) for item in folder.labels.categories] == [
        ("class 0", 0),
        ("class 5", 5),
        ("class 10", 10),
    ]
    assert np.array_equal(semantic(folder[0]), values())
    rgb = dataset(tmp_path / "rgb", {"train/a.jpg": b"", "train_labels/a.png": colors()})
    folder = segdata.read(rgb, options=options)
    assert [item.color for item in folder.labels.categories] == [(0, 0, 0), (128, 64, 128), (250, 50, 83)]
    assert np.array_equal(semantic(folder[0]), values())
    noisy = dataset(tmp_path / "noisy", {"train/a.png": b"", "trainannot/a.png": b""})
    with pytest.raises(InvalidAnnotation, match="more than 256 colours"):
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
        made.put(noisy / "trainannot/a.png", made.png(noise))
        segdata.read(noisy, options=options)


def test_images_elsewhere(tmp_path: Path) -> None:
    dataset(tmp_path / "labels", {"trainannot/a.png": colors(), "valannot/b.png": colors(), "label_colors.txt": TXT})
    dataset(tmp_path / "photos", {"train/a.jpg": b"", "other/b.png": b""})
    where = {"": tmp_path / "photos", "val": tmp_path / "photos/other"}
    folder = segdata.read(tmp_path / "labels", options=ReadOptions(images_dir=where))
    expected = [(tmp_path / "photos" / name).read_bytes() for name in ("train/a.jpg", "other/b.png")]
    assert [sample.encoded for sample in folder] == expected


@pytest.mark.parametrize("labels", ["train_labels/a_L.png", "masks/a.png"])
def test_images_of_relatives_elsewhere(labels: str, tmp_path: Path) -> None:
    dataset(tmp_path / "labels", {labels: colors(), "class_dict.csv": CSV})
    dataset(tmp_path / "photos", {"a.jpg": b""})
    (sample,) = segdata.read(tmp_path / "labels", options=ReadOptions(images_dir={"": tmp_path / "photos"}))
    assert sample.encoded == (tmp_path / "photos/a.jpg").read_bytes()
    assert np.array_equal(semantic(sample), values())
    outcome = run_segdata("convert", tmp_path / "labels", tmp_path / "pack")
    assert outcome.code == 4
    assert "1 of 1 image is not on disk" in outcome.err


def test_images_of_one_name_in_two_splits(tmp_path: Path) -> None:
    files: Files = {"label_colors.txt": TXT}
    for split in ("train", "val"):
        files |= {f"{split}/1.png": b"", f"{split}annot/1.png": colors(), f"{split}.txt": f"{split}/1.png\n"}
    source = dataset(tmp_path / "source", files)
    assert segdata.read(source).keys == ["train/1", "val/1"]
    assert there_and_back(source, tmp_path)[0] == []
    (source / "val/1.png").write_bytes((source / "train/1.png").read_bytes())
    refused = run_segdata("convert", source, tmp_path / "leak")
    assert refused.code == 4
    assert "both train and val" in refused.err


# ---------------------------------------------------------------------- what is refused or remarked


def test_camvid_s_own_table_is_assumed_only_where_nothing_speaks_against_it(tmp_path: Path) -> None:
    for name, label, kind in (
        ("values", values(), "CamVid's own 12 categories are assumed"),
        ("colours", colors({0: (0, 0, 0), 1: (128, 0, 0), 2: (128, 128, 0)}), "CamVid's own 32 categories are assumed"),
    ):
        own = dataset(tmp_path / name, {"train/a.png": b"", "trainannot/a.png": label})
        outcome = run_segdata("convert", own, tmp_path / f"{name}.pack", "--json")
        assert outcome.code == 0
        assert any(kind in remark for remark in outcome.document["problems"]["remarks"])
        official = dataset(tmp_path / f"{name}2", {"train/0001TP_1.png": b"", "trainannot/0001TP_1.png": label})
        remarks = segdata.convert(official, tmp_path / f"{name}2.pack").problems["remarks"]
        assert not any("assumed" in remark for remark in remarks)
    for name, label, why in (
        ("twelve", values() * 12, "values 0, 12, 24"),
        ("binary", (values() > 0) * np.uint8(255), "values 0, 255"),
        ("own colours", colors(), "colour (250, 50, 83)"),
    ):
        own = dataset(tmp_path / name, {"train/a.png": b"", "trainannot/a.png": label})
        with pytest.raises(InvalidAnnotation, match="no table says") as refusal:
            segdata.read(own)
        assert why in str(refusal.value)
        assert "--classes FILE|NAMES|from-data" in (refusal.value.fix or "")
    own = dataset(tmp_path / "masks", {"images/a.png": b"", "masks/a.png": values()})
    with pytest.raises(InvalidAnnotation, match="no table says"):
        segdata.read(own)


@pytest.mark.parametrize(
    ("files", "texts"),
    [
        ({"images/a.jpg": b"", "labels/b.png": values(), "labels/c.txt": "x", "codes.txt": NAMES}, ("images/a.jpg", "labels/b.png")),
        ({"train/a.jpg": b"", "trainannot/a.jpg": b"", "label_colors.txt": TXT}, ("JPEG, which changes label values", "a.jpg")),
        ({"images/a.jpg": b"", "labels/a.txt": "0 1 1", "codes.txt": NAMES}, ("no image has a label file", "labels/a.txt")),
        (
            {"train/a.jpg": b"", "trainannot/a.png": values(), "train_labels/a.png": values()},
            ("two folders hold label files of 'train'", "train_labels and trainannot"),
        ),
        (
            {"train/a.jpg": b"", "trainannot/a.png": values(), "classes.txt": NAMES, "label_colors.txt": "0 0 0 sky\n"},
            ("two tables of labels disagree", "--classes"),
        ),
        ({"train/a.jpg": b"", "trainannot/a.png": colors(), "classes.txt": NAMES}, ("no category has one", "--classes FILE")),
        (
            {"train/a.jpg": b"", "trainannot/a.png": colors(), "label_colors.txt": TXT.replace("250 50 83", "0 0 0")},
            ("two categories", "'background' and 'puddle'"),
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(files: Files, texts: tuple[str, ...], tmp_path: Path) -> None:
    outcome = run_segdata("convert", dataset(tmp_path / "source", files), tmp_path / "pack")
    assert outcome.code == 4
    assert all(text in outcome.err for text in texts), outcome.err
    assert "fix:" in outcome.err


def test_void_of_an_own_table_counts_and_that_of_camvid_does_not(tmp_path: Path) -> None:
    own: Files = {
        "train/a.png": b"",
        "trainannot/a.png": colors(),
        "label_colors.txt": TXT.replace("background", "Void"),
    }
    outcome = run_segdata("convert", dataset(tmp_path / "own", own), tmp_path / "pack", "--json")
    assert outcome.document["problems"]["remarks"]["category 'Void' of the dataset's own table counts like any other"]
    assert [item.ignore for item in segdata.open(tmp_path / "pack").labels.categories] == [False] * 3
    codes: Files = {"images/a.png": b"", "labels/a_P.png": values(), "codes.txt": "Void\nRoad\nCar\n"}
    folder = segdata.read(dataset(tmp_path / "codes", codes))
    assert [item.ignore for item in folder.labels.categories] == [False] * 3
    assert "category 'Void' of the dataset's own table counts like any other" in folder.findings.remarks
    made.camvid(tmp_path / "camvid")
    assert [item.ignore for item in segdata.read(tmp_path / "camvid").labels.categories] == [False, False, False, True]
    segdata.convert(made.coco(tmp_path / "coco"), tmp_path / "turned", to="camvid", allow_loss=True)
    assert segdata.read(tmp_path / "turned").labels[-1].ignore


def test_a_declared_label_space_wins_over_the_table(tmp_path: Path) -> None:
    from segdata.core.findings import Findings
    from segdata.formats import scan
    from segdata.formats.shared import label_tables

    files: Files = {"train/a.png": b"", "trainannot/a.png": values(), "label_colors.txt": TXT, "classes.txt": "a\n"}
    declared = label_tables.from_names(["x", "y", "z"])
    _, source = scan(dataset(tmp_path, files), None, findings := Findings(), labels=declared)
    assert source.labels == declared
    assert "table of labels passed over for the one that was named" in findings.remarks
    with pytest.raises(SegdataError):
        scan(tmp_path, None, Findings())


@pytest.mark.parametrize("folder", ["", "train/"])
def test_masks_beside_images_with_declared_categories(folder: str, tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", {f"{folder}a.jpg": b"", f"{folder}a_mask.png": values()})
    segdata.convert(source, tmp_path / "pack", classes="background,road,puddle", workers=1)
    pack = segdata.open(tmp_path / "pack")
    assert list(pack.keys) == ["a"] and np.array_equal(semantic(pack[0]), values())


def test_a_table_says_which_value_is_which(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", {"images/a.jpg": b"", "masks/a.png": values() * np.uint8(100)})
    with pytest.raises(SegdataError, match="does not have") as refusal:
        segdata.convert(source, tmp_path / "pack", classes="background,road,puddle", workers=1)
    assert "Pixel Value, Class" in (refusal.value.fix or "") and "100, NAME" in (refusal.value.fix or "")
    table = made.put(tmp_path / "table.csv", "Pixel Value, Class\n0, background\n100, road\n200, puddle\n")
    segdata.convert(source, tmp_path / "pack", classes=str(table), workers=1)
    assert np.array_equal(semantic(segdata.open(tmp_path / "pack")[0]), values())


def test_void_of_16_bits_and_masks_of_another_size_are_called_what_they_are(tmp_path: Path) -> None:
    label = np.where(values() == 2, np.uint16(65535), values().astype(np.uint16))
    source = dataset(tmp_path / "source", {"train/a.jpg": b"", "trainannot/a.png": b""})
    Image.fromarray(label).save(source / "trainannot/a.png")
    report = segdata.convert(source, tmp_path / "pack", classes="background,road", workers=1)
    assert report.problems["remarks"]["pixels of value 65535, read as void"]["count"] == 4
    made.put(source / "trainannot/a.png", made.png(values()[::2, ::2]))
    with pytest.raises(SegdataError, match="size") as refusal:
        segdata.convert(source, tmp_path / "small", classes="background,road,puddle", workers=1)
    assert "label map" in (refusal.value.why or "") and "NEAREST" in (refusal.value.fix or "")


def test_a_table_in_the_folder_of_a_split_is_read(tmp_path: Path) -> None:
    table = '{"label_map": {"0": "ground", "1": "sky", "2": "puddle"}}'
    files = {f"{split}/{name}": data for split in ("train", "val") for name, data in (
        ("images/a.png", b""), ("masks/a.png", values()), ("dataset_meta.json", table))}  # fmt: skip
    own = dataset(tmp_path / "own", files)
    segdata.convert(own, tmp_path / "pack", workers=1)
    assert [category.name for category in segdata.open(tmp_path / "pack").labels.categories] == [
        "ground",
        "sky",
        "puddle",
    ]
