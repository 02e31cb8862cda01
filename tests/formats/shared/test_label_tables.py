"""Tables of names, values and colours as tools write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdata.catalog import manifest
from segdata.errors import InvalidAnnotation, InvalidManifest, NotThere, SegdataError
from segdata.formats.shared import label_tables

BACKGROUND, ROAD, PUDDLE = (0, "background", (0, 0, 0)), (1, "road", (128, 64, 128)), (2, "wet puddle", (250, 50, 83))

COLORS = {
    "R G B name": ("label_colors.txt", "0 0 0 background\n128 64 128\t\troad\n\n250 50 83 wet  puddle\n"),
    "name R G B": ("label_color.txt", "background 0 0 0\nroad 128 64 128\nwet puddle 250 50 83"),
    "with commas": ("label_color.txt", "background: 0, 0, 0\nroad: 128, 64, 128\nwet puddle: 250, 50, 83"),
    "in brackets": ("label_colors.txt", "(0, 0, 0) background\n(128, 64, 128) road\n(250, 50, 83) wet puddle"),
    "values before": ("label_colors.txt", "0 0 0 0 background\n1 128 64 128 road\n2 250 50 83 wet puddle"),
    "opacity": ("label_colors.txt", "0 0 0 255 background\n128 64 128 255 road\n250 50 83 255 wet puddle"),
    "titles": ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\nroad,128,64,128\nwet puddle,250,50,83\n"),
    "titles with spaces": (
        "class_dict_seg.csv",
        "name, r, g, b\nbackground, 0, 0, 0\nroad,128,64,128\nwet puddle,250,50,83",
    ),
    "semicolons": ("class_dict.csv", "Name;R;G;B\r\nbackground;0;0;0\r\nroad;128;64;128\r\nwet puddle;250;50;83\r\n"),
    "no titles": ("class_dict.csv", "background,0,0,0\nroad,128,64,128\nwet puddle,250,50,83"),
    "any order": ("class_dict.csv", "id,r,g,b,name\n2,250,50,83,wet puddle\n0,0,0,0,background\n1,128,64,128,road"),
    "hex": ("class_dict.csv", "class,color\nbackground,#000000\nroad,#804080\nwet puddle,#fa3253"),
    "labelmap": (
        "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\nwet puddle:250,50,83:a,b:c\n",
    ),
    "JSON": (
        "classes.json",
        '[{"name": "background", "color": [0, 0, 0]}, {"name": "road", "color": "#804080"},'
        ' {"name": "wet puddle", "color": [250, 50, 83]}]',
    ),
    "TOML": (
        "labels.toml",
        'labels = [{ name = "background", color = [0, 0, 0] }, { name = "road", id = 1, color = [128, 64, 128] },'
        ' { name = "wet puddle", id = 2, color = [250, 50, 83] }]',
    ),
}


@pytest.mark.parametrize("form", COLORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_with_colours(form: str, encoding: str, tmp_path: Path) -> None:
    name, text = COLORS[form]
    (tmp_path / name).write_bytes(text.encode("utf-8" if name.endswith("toml") else encoding))
    table = label_tables.parse((tmp_path / name).read_bytes(), tmp_path / name, name)
    assert sorted(table.rows) == [BACKGROUND, ROAD, PUDDLE]
    assert table.has_colors
    labels = label_tables.from_file(tmp_path / name)
    assert {labels[index].name: category for category, index in labels.index_of_id.items()}["wet puddle"] == 2
    assert {category.isthing for category in labels.categories} == {None}
    if name in label_tables.FILES:
        assert label_tables.in_folder(tmp_path) == table


NAMES = {
    "lines": ("classes.txt", "background\n\n  road \r\nwet puddle"),
    "values and colons": ("class_names.txt", "0: background\n1: road\n2: wet puddle"),
    "values and spaces": ("obj.names", "0 background\n1 road\n2 wet puddle\n"),
    "other names": ("codes.txt", "background\nroad\nwet puddle\n"),
    "predefined": ("predefined_classes.txt", "background\nroad\nwet puddle\n"),
    "Roboflow": ("_classes.csv", "Pixel Value, Class\n0, background\n1, road\n2, wet puddle\n"),
    "labelmap without colours": ("labelmap.txt", "background:::\nroad:::\nwet puddle:::\n"),
    "UTF-16": ("classes.txt", "background\nroad\nwet puddle\n"),
    "JSON list": ("classes.json", '["background", "road", "wet puddle"]'),
    "JSON by value": ("classes.json", '{"0": "background", "1": "road", "2": "wet puddle"}'),
    "JSON by name": ("classes.json", '{"labels": {"background": 0, "road": 1, "wet puddle": 2}}'),
    "JSON of COCO": (
        "x.json",
        '{"images": [], "categories": [{"id": 1, "name": "road"}, {"id": 0, "name": "background"},'
        ' {"id": 2, "name": "wet puddle", "supercategory": "none"}]}',
    ),
    "TOML of names": ("x.toml", 'labels = ["background", "road", "wet puddle"]'),
}


@pytest.mark.parametrize("form", NAMES)
def test_a_table_of_names(form: str, tmp_path: Path) -> None:
    name, text = NAMES[form]
    path = tmp_path / name
    path.write_bytes(text.encode("utf-16" if form == "UTF-16" else "utf-8"))
    labels = label_tables.from_file(path)
    assert {item.id: item.name for item in labels.categories} == {0: "background", 1: "road", 2: "wet puddle"}
    assert {item.color for item in labels.categories} == {None}


BAD = {
    "no colour": ("label_colors.txt", "background\nroad\n", "line 1", "R G B"),
    "one without colour": ("label_colors.txt", "0 0 0 background\nroad\n", "line 2", "'road'"),
    "no number": ("class_dict.csv", "name,r,g,b\nroad,0,x,0\n", "line 2", "0, x, 0"),
    "too large": ("label_colors.txt", "\n0 0 256 road\n", "line 2", "0, 0, 256"),
    "name twice": ("classes.txt", "road\npuddle\nroad\n", "line 3", "line 1"),
    "value twice": ("_classes.csv", "Pixel Value,Class\n1,road\n1,puddle\n", "line 3", "line 2"),
    "no value": ("_classes.csv", "Pixel Value,Class\n1,road\n,puddle\n", "line 3", "no value"),
    "short row": ("class_dict.csv", "name,r,g,b\nroad,0\n", "line 2", "2 of 4 columns"),
    "four numbers": ("label_colors.txt", "7 0 0 9 road\n7 1 1 8 puddle\n", "line 1", "four numbers"),
    "labelmap": ("labelmap.txt", "road:1,2,3::\npuddle\n", "line 2", "NAME:R,G,B:parts:actions"),
    "JSON row": ("x.json", '["road", 4]', "$[1]", "4"),
}


@pytest.mark.parametrize("form", BAD)
def test_a_bad_row_is_refused_with_its_line_and_a_way_on(form: str, tmp_path: Path) -> None:
    name, text, where, why = BAD[form]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidAnnotation) as refusal:
        label_tables.from_file(path)
    error = refusal.value
    assert (error.file, error.place) == (str(path), where)
    assert why in (error.why or "") and "--classes" in (error.fix or "")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name, text, kind in (
        ("a.txt", "\n# nothing\n", InvalidAnnotation),
        ("a.json", "{}", InvalidAnnotation),
        ("a.toml", 'title = "x"', InvalidAnnotation),
        ("b.toml", 'labels = [{ name = "a", from = ["b"] }]', InvalidManifest),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(kind):
            label_tables.from_file(tmp_path / name)
    with pytest.raises(NotThere):
        label_tables.from_file(tmp_path / "gone.txt")
    with pytest.raises(NotThere, match="is a file"):
        label_tables.from_file(tmp_path)
    assert label_tables.in_folder(tmp_path) is None


def test_tables_that_agree_and_tables_that_do_not(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background\nroad\n")
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nbackground,0,0,0\nroad,1,2,3\n")
    (tmp_path / "train").mkdir()
    (tmp_path / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, road\n")
    table = label_tables.in_folder(tmp_path, ("", "train"))
    assert table is not None
    assert (table.file, table.others) == ("class_dict.csv", ("classes.txt", "train/_classes.csv"))
    for text, why in (("road\nbackground\n", "0 is 'background', 0 is 'road'"), ("road\n", "2 and 1 rows")):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(InvalidAnnotation, match="two tables of labels disagree") as refusal:
            label_tables.in_folder(tmp_path)
        assert why in str(refusal.value)
        assert "class_dict.csv" in str(refusal.value.fix) and "--classes" in str(refusal.value.fix)
        assert "classes.txt" in str(refusal.value.fix)


def test_published_tables_say_what_a_file_leaves_open(tmp_path: Path) -> None:
    official = manifest.label_space("camvid-32")
    rows = [f"{' '.join(map(str, item.color or ()))} {item.name}" for item in official.categories]
    (tmp_path / "whole.txt").write_text("\n".join([*rows, "1 2 3 Bird"]))
    labels = label_tables.from_file(tmp_path / "whole.txt")
    assert labels.name == "camvid-32"
    assert labels.categories[:32] == official.categories
    assert labels[32].isthing is None
    assert label_tables.from_names([item.name for item in official.categories]) == official


def test_void_of_an_own_table_is_a_category(tmp_path: Path) -> None:
    official = manifest.label_space("camvid-32")
    table = label_tables.parse(b"22 139 228\tCar\n0 0 0\tVoid\n", tmp_path, "label_colors.txt")
    assert not table.is_part_of(official)
    assert [(item.isthing, item.ignore) for item in table.label_space(official).categories] == [(None, False)] * 2
    part = label_tables.parse(b"64 0 128\tCar\n0 0 0\tVoid\n", tmp_path, "label_colors.txt")
    assert part.is_part_of(official)
    assert [(item.isthing, item.ignore) for item in part.label_space(official).categories] == [
        (True, False),
        (False, True),
    ]
    assert [item.ignore for item in label_tables.from_names(["Void", "Car"]).categories] == [False, False]


def test_names_given_one_by_one() -> None:
    labels = label_tables.from_names(["road", " wet puddle"])
    assert [(item.name, item.id) for item in labels.categories] == [("road", 0), ("wet puddle", 1)]
    for names in ([], ["road", ""], ["road", "road"]):
        with pytest.raises(SegdataError):
            label_tables.from_names(names)
