"""Datasets in Cityscapes' folders that are not its release: own labels, fewer kinds of files, other names."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import segdata
from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, SegdataError, Unsafe
from segdata.formats import FORMATS, scan
from segdata.formats.contract import ReadOptions
from segdata.formats.shared import label_tables
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare

SIZE = (12, 16)
FRAME = "town/town_000000_000019"
CITY = manifest.label_space("cityscapes")
Content = bytes | str | np.ndarray | Image.Image | dict[str, Any] | None


def ids(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """Two rows of the first value, the second below, four pixels of the third."""
    image: np.ndarray = np.full(SIZE, values[1], dtype)
    image[:2] = values[0]
    image[5:7, 3:5] = values[2]
    return image


def dataset(root: Path, files: Mapping[str, Content]) -> Path:
    """Files by name; None stands for an image."""
    for name, content in files.items():
        if content is None:
            kind = "JPEG" if name.lower().endswith(".jpg") else "PNG"
            content = made.photo(SIZE[1], SIZE[0], kind=kind)
        elif isinstance(content, np.ndarray):
            content = made.png(content)
        elif isinstance(content, Image.Image):
            content.save(buffer := io.BytesIO(), "PNG")
            content = buffer.getvalue()
        made.put(root / name, content)
    return root


def frame(root: Path, split: str = "val", name: str = FRAME, **files: Content) -> Path:
    """A frame with its image, and label files by kind."""
    labels = {
        f"gtFine/{split}/{name}_gtFine_{kind}.{'json' if kind == 'polygons' else 'png'}": content
        for kind, content in files.items()
    }
    return dataset(root, {f"leftImg8bit/{split}/{name}_leftImg8bit.png": None, **labels})


def semantic(sample: segdata.Sample) -> np.ndarray:
    assert sample.semantic is not None
    return sample.semantic


def names(sample: segdata.Sample, labels: segdata.LabelSpace) -> list[str]:
    """Names at the pixels of the three values of `ids`."""
    values = [int(semantic(sample)[row, column]) for row, column in ((0, 0), (11, 0), (5, 3))]
    return [labels[value].name if value != labels.void else "void" for value in values]


def there_and_back(source: Path, tmp_path: Path) -> dict[str, Any]:
    """Convert to a pack and back, which must give the files again; returns what was remarked, with counts."""
    report = segdata.convert(source, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="cityscapes")
    assert compare("cityscapes", source, tmp_path / "back") == []
    return {kind: remark["count"] for kind, remark in report.problems["remarks"].items()}


# ---------------------------------------------------------------------- whose labels

TABLES = {
    "label_colors.txt": "0 0 0 unlabeled\n128 64 128 road\n244 35 232 puddle\n",
    "class_dict.csv": "name,r,g,b\nunlabeled,0,0,0\nroad,128,64,128\npuddle,244,35,232\n",
    "gtFine/classes.txt": "unlabeled\nroad\npuddle\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_beside_the_folders_names_the_ids(name: str, tmp_path: Path) -> None:
    numbers = ids(0, 1, 2000, dtype=np.uint16)
    source = frame(tmp_path / "source", labelIds=ids(0, 1, 2), instanceIds=numbers)
    made.put(source / name, TABLES[name])
    folder = segdata.read(source)
    assert names(folder[0], folder.labels) == ["unlabeled", "road", "puddle"]
    assert folder.labels[int(folder[0].instances.category[0])].name == "puddle"
    assert not any(category.ignore for category in folder.labels.categories)
    remarks = there_and_back(source, tmp_path)
    assert remarks == {
        "category 'unlabeled' of the dataset's own table counts like any other": 1,
        "no polygon document": 1,
    }


def test_cityscapes_own_table_is_known_however_it_is_spelled(tmp_path: Path) -> None:
    source = frame(tmp_path / "source", labelIds=ids(0, 7, 26))
    rows = [category for category in CITY.categories if category.id >= 0]
    lines = [f"{' '.join(map(str, row.color or ()))} {row.name.replace(' ', '')}" for row in rows]
    made.put(source / "label_colors.txt", "\n".join([*lines, "0 0 142 licenseplate"]))
    assert segdata.read(source).labels == CITY
    assert there_and_back(source, tmp_path) == {"no polygon document": 1}


def test_own_names_are_assumed_loudly_declared_or_taken_from_the_data(tmp_path: Path) -> None:
    source = frame(tmp_path / "own", labelIds=ids(0, 40, 12))
    with pytest.raises(InvalidAnnotation, match="an id that the label space") as refusal:
        segdata.read(source)[0]
    assert "--classes FILE|NAMES|from-data" in (refusal.value.fix or "")
    folder = segdata.read(source, options=ReadOptions(classes_from_data=True))
    assert [(item.name, item.id) for item in folder.labels.categories] == [
        ("class 0", 0),
        ("class 12", 12),
        ("class 40", 40),
    ]
    assert names(folder[0], folder.labels) == ["class 0", "class 40", "class 12"]
    declared = label_tables.from_names([f"n{number}" for number in range(41)])
    _, given = scan(source, None, findings := Findings(), labels=declared)
    sample = FORMATS["cityscapes"].format.load(given, given.entries[0], findings)
    assert names(sample, declared) == ["n0", "n40", "n12"]
    assumed = frame(tmp_path / "assumed", labelIds=ids(0, 7, 26))
    assert there_and_back(assumed, tmp_path)[
        "no table of labels and no polygon documents: ids are taken for Cityscapes' own"
    ]
    remarks = there_and_back(made.cityscapes(tmp_path / "as-released"), tmp_path / "2")
    assert {kind: count for kind, count in remarks.items() if "iscrowd" not in kind} == {
        "deleted polygon: kept in the document": 1,
        "empty polygon: kept in the document": 1,
    }


# ---------------------------------------------------------------------- label files of other kinds


def test_255_is_void_and_is_written_again(tmp_path: Path) -> None:
    source = frame(tmp_path / "source", labelIds=ids(255, 7, 26), instanceIds=ids(255, 7, 26, dtype=np.uint16))
    folder = segdata.read(source)
    assert names(folder[0], folder.labels) == ["void", "road", "car"]
    assert there_and_back(source, tmp_path)["pixels of 255 in labelIds, read as void"] == 32
    with pytest.raises(InvalidAnnotation, match="an id that the label space"):
        segdata.read(source, options=ReadOptions(strict=True))[0]
    load = FORMATS["cityscapes"].shortcuts
    _, given = scan(source, None, Findings())
    assert load.label_map is not None and load.instance_ids is not None
    quick = load.label_map(given, given.entries[0])
    assert quick is not None and np.array_equal(quick, semantic(folder[0]))
    numbers = load.instance_ids(given, given.entries[0])
    assert numbers is not None and set(np.unique(numbers)) == {0, 7, 26}


def test_train_ids_under_the_name_of_label_ids_are_pointed_out(tmp_path: Path) -> None:
    source = frame(tmp_path / "source", labelIds=ids(255, 0, 13))
    assert any("are these trainIds?" in kind for kind in there_and_back(source, tmp_path))


def test_train_ids_alone_are_those_of_the_nineteen(tmp_path: Path) -> None:
    source = frame(tmp_path / "source", labelTrainIds=ids(255, 0, 13))
    folder = segdata.read(source)
    assert len(folder.labels) == 19
    assert names(folder[0], folder.labels) == ["void", "road", "car"]
    remarks = there_and_back(source, tmp_path)
    assert remarks["labelTrainIds alone: label maps of cityscapes-19"] == 1
    frame(source, "train", labelIds=ids(3, 7, 26))  # another frame with label ids: all 35 labels
    folder = segdata.read(source)
    assert len(folder.labels) == 35
    assert [names(sample, folder.labels)[1:] for sample in folder] == [["road", "car"]] * 2
    bad = frame(tmp_path / "bad", labelTrainIds=ids(255, 0, 19))
    with pytest.raises(InvalidAnnotation, match="an id that"):
        segdata.read(bad)[0]


def test_colours_alone_are_the_table_s(tmp_path: Path) -> None:
    lookup = np.zeros((256, 4), np.uint8)
    for number, color in ((7, (128, 64, 128)), (26, (0, 0, 142))):
        lookup[number] = (*color, 255)
    source = frame(tmp_path / "source", color=lookup[ids(1, 7, 26)])
    folder = segdata.read(source)
    assert names(folder[0], folder.labels) == ["void", "road", "car"]  # black: four categories, none of them evaluated
    assert there_and_back(source, tmp_path)["no labelIds file: label map taken from colours"] == 1
    made.put(source / "label_colors.txt", "0 0 0 a\n128 64 128 b\n128 64 128 c\n0 0 142 d\n")
    with pytest.raises(SegdataError, match="does not tell two categories apart"):
        segdata.read(source)[0]
    made.put(source / "label_colors.txt", "0 0 0 a\n128 64 128 b\n")
    with pytest.raises(InvalidAnnotation, match="a colour that no category has"):
        segdata.read(source)[0]


@pytest.mark.parametrize(("mode", "values"), [("1", (0, 1, 0)), ("I;16", (0, 1, 300))])
def test_label_ids_of_one_bit_and_of_sixteen(mode: str, values: tuple[int, int, int], tmp_path: Path) -> None:
    picture = Image.fromarray(ids(*values, dtype=bool if mode == "1" else np.uint16))
    source = frame(tmp_path / "source", labelIds=picture)
    rows = ", ".join(f'{{ name = "n{value}", id = {value} }}' for value in sorted(set(values)))
    made.put(tmp_path / "labels.toml", f"labels = [{rows}]")
    declared = label_tables.from_file(tmp_path / "labels.toml")
    _, given = scan(source, None, findings := Findings(), labels=declared)
    sample = FORMATS["cityscapes"].format.load(given, given.entries[0], findings)
    assert names(sample, declared) == [f"n{value}" for value in values]


def test_maps_that_contradict_each_other_are_counted_in_pixels(tmp_path: Path) -> None:
    numbers = ids(0, 7, 24005, dtype=np.uint16)
    source = frame(tmp_path / "source", labelIds=ids(0, 7, 26), instanceIds=numbers)
    assert there_and_back(source, tmp_path)["instanceIds and labelIds disagree: pixels"] == 4
    numbers = ids(8, 8, 26005, dtype=np.uint16)
    other = frame(tmp_path / "other", labelIds=ids(0, 7, 26), instanceIds=numbers)
    assert there_and_back(other, tmp_path / "2")["instanceIds and labelIds disagree: pixels"] == 12 * 16 - 4


# ---------------------------------------------------------------------- polygons


def polygon(label: str, x0: int, y0: int, x1: int, y1: int, **more: Any) -> dict[str, Any]:
    return {"label": label, "polygon": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], **more}


def document(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": list(objects)}


STREET = document(
    polygon("road", 0, 2, 15, 11),
    polygon("car", 1, 3, 6, 8),
    polygon("persongroup", 5, 4, 9, 9),
    polygon("car", 3, 5, 8, 10),
    polygon("person", 0, 0, 3, 3, deleted=1),
    polygon("license plate", 4, 6, 5, 7),
    {"label": "sky", "polygon": [[0, 0], [15, 0], [7.5, 3.5]]},
    polygon("polegroup", 12, 1, 13, 10),
    {"label": "person", "polygon": []},
)


def test_polygons_alone_are_drawn_in_their_order(tmp_path: Path) -> None:
    source = frame(tmp_path / "source", polygons=STREET)
    expected, numbers = Image.new("L", SIZE[::-1], 0), Image.new("I", SIZE[::-1], 0)
    drawn = ((7, 7, 0), (26, 26000, 1), (24, 24, 2), (26, 26001, 3), (23, 23, 6), (18, 18, 7))
    for label, number, index in drawn:
        points = [tuple(point) for point in STREET["objects"][index]["polygon"]]
        ImageDraw.Draw(expected).polygon(points, fill=label)
        ImageDraw.Draw(numbers).polygon(points, fill=number)
    folder = segdata.read(source)
    sample = folder[0]
    assert np.array_equal(np.array([item.id for item in CITY.categories])[semantic(sample)], np.asarray(expected))
    assert sample.instances.id.tolist() == [24, 26000, 26001]
    assert sample.instances.iscrowd.tolist() == [True, False, False]
    for mask, number in zip(sample.instances.masks.dense(), (24, 26000, 26001), strict=True):
        assert np.array_equal(mask, np.asarray(numbers) == number)
    assert there_and_back(source, tmp_path)["no label files: drawn from polygons, in their order"] == 1


def test_polygons_of_own_labels_are_kept_beside_label_files_and_need_classes_without(tmp_path: Path) -> None:
    own = document(polygon("road", 0, 2, 15, 11), polygon("autorickshaw", 3, 5, 4, 6))
    source = frame(tmp_path / "source", labelIds=ids(0, 7, 26), polygons=own)
    remarks = there_and_back(source, tmp_path)
    assert remarks == {"polygon of a label beyond the label space: kept, not drawn 'autorickshaw'": 1}
    with pytest.raises(InvalidAnnotation, match="label that the label space does not have"):
        segdata.read(source, options=ReadOptions(strict=True))[0]
    alone = frame(tmp_path / "alone", polygons=own)
    with pytest.raises(InvalidAnnotation, match="label that the label space does not have") as refusal:
        segdata.read(alone)[0]
    assert "--classes FILE|NAMES|from-data" in (refusal.value.fix or "")
    folder = segdata.read(alone, options=ReadOptions(classes_from_data=True))
    assert [item.name for item in folder.labels.categories] == ["autorickshaw", "road"]
    assert names(folder[0], folder.labels) == ["void", "road", "autorickshaw"]


# ---------------------------------------------------------------------- other names of folders and files

OTHERS: dict[str, tuple[dict[str, Content], dict[str, list[str]]]] = {
    "CVAT": (
        {
            "imgsFine/leftImg8bit/default/town/a_leftImg8bit.png": None,
            "gtFine/default/town/a_gtFine_labelIds.png": ids(0, 7, 26),
        },
        {"default": ["town/a"]},
    ),
    "no city": (
        {
            "imgsFine/leftImg8bit/train/a_leftImg8bit.png": None,
            "gtFine/train/a_gtFine_labelIds.png": ids(0, 7, 26),
        },
        {"train": ["a"]},
    ),
    "JPEG frames and capitals": (
        {
            "leftImg8bit/Valid/town/a_leftImg8bit.JPG": None,
            "gtFine/Valid/town/a_gtFine_labelIds.PNG": ids(0, 7, 26),
        },
        {"Valid": ["town/a"]},
    ),
    "bare names": (
        {"leftImg8bit/train/town/a.png": None, "gtFine/train/town/a_labelIds.png": ids(0, 7, 26)},
        {"train": ["town/a"]},
    ),
    "ACDC": (
        {
            "rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png": None,
            "gt/fog/train/GOPR0475/GOPR0475_frame_000041_gt_labelIds.png": ids(0, 7, 26),
        },
        {"fog/train": ["GOPR0475/GOPR0475_frame_000041"]},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_of_folders_and_files(name: str, tmp_path: Path) -> None:
    files, splits = OTHERS[name]
    source = dataset(tmp_path / "source", files)
    folder = segdata.read(source)
    keys = folder.keys
    assert {split: [keys[index] for index in members] for split, members in folder.splits.items()} == splits
    assert [names(sample, folder.labels) for sample in folder] == [["unlabeled", "road", "car"]]
    report = segdata.convert(source, tmp_path / "pack")
    assert not {"file not read", "folder not read"} & report.problems["remarks"].keys()
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="cityscapes")
    written = {path.relative_to(tmp_path / "back").as_posix() for path in (tmp_path / "back").rglob("*.*")}
    assert set(files) <= written
    for file in files:
        with Image.open(source / file) as there, Image.open(tmp_path / "back" / file) as here:
            assert np.array_equal(np.asarray(there), np.asarray(here))


def test_level_ids_are_not_cityscapes_own(tmp_path: Path) -> None:
    files = {
        "leftImg8bit/train/0/frame1_leftImg8bit.jpg": None,
        "gtFine/train/0/frame1_gtFine_labellevel3Ids.png": ids(255, 0, 4),
    }
    source = dataset(tmp_path / "source", files)
    with pytest.raises(InvalidAnnotation, match="no table says") as refusal:
        segdata.read(source)
    assert "--classes FILE|NAMES|from-data" in (refusal.value.fix or "")
    folder = segdata.read(source, options=ReadOptions(classes_from_data=True))
    assert names(folder[0], folder.labels) == ["void", "class 0", "class 4"]


def test_folders_that_are_links_are_read_where_links_are_trusted(tmp_path: Path) -> None:
    frame(tmp_path / "elsewhere", labelIds=ids(0, 7, 26))
    (tmp_path / "source").mkdir()
    for name in ("leftImg8bit", "gtFine"):
        (tmp_path / "source" / name).symlink_to(tmp_path / "elsewhere" / name)
    with pytest.raises(Unsafe) as refusal:
        segdata.read(tmp_path / "source")[0]
    assert "--follow-links" in (refusal.value.fix or "")
    folder = segdata.read(tmp_path / "source", options=ReadOptions(follow_links=True))
    assert names(folder[0], folder.labels) == ["unlabeled", "road", "car"]


def test_images_elsewhere(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", {f"gtFine/val/{FRAME}_gtFine_labelIds.png": ids(0, 7, 26)})
    for number, name in enumerate((f"{FRAME}_leftImg8bit.png", "town_000000_000019.jpg", "unlisted.jpg")):
        dataset(tmp_path / f"photos{min(number, 1)}", {name: None})
    for folder, name in (("photos0", f"{FRAME}_leftImg8bit.png"), ("photos1", "town_000000_000019.jpg")):
        options = ReadOptions(images_dir={"val": tmp_path / folder})
        (sample,) = segdata.read(source, options=options)
        assert sample.encoded == (tmp_path / folder / name).read_bytes()


@pytest.mark.parametrize(
    ("files", "texts"),
    [
        (
            {f"leftImg8bit/val/{FRAME}_leftImg8bit.png": None, f"gtFine/val/{FRAME}_mask.png": ids(0, 7, 26)},
            ("no frame has label files", f"{FRAME}_mask.png", "_gtFine_labelIds.png"),
        ),
        (
            {f"leftImg8bit/val/{FRAME}_leftImg8bit.png": None, "imgsFine/leftImg8bit/val/a.png": None},
            ("two folders hold images", "--images-dir"),
        ),
    ],
)
def test_what_cannot_be_read_says_why(files: dict[str, Content], texts: tuple[str, ...], tmp_path: Path) -> None:
    outcome = run_segdata("convert", dataset(tmp_path / "source", files), tmp_path / "pack")
    assert outcome.code == 4
    assert all(text in outcome.err for text in (*texts, "fix:")), outcome.err
