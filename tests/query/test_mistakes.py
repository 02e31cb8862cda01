"""What a query is refused for: the column, and what was meant; and queries that are made to do harm."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata import Category, Instances, LabelSpace, Masks, Sample
from segdata.errors import InvalidQuery
from segdata.pack import columns
from segdata.pack.read import Pack
from segdata.query import fields
from tests.helpers import made
from tests.helpers.documents import code_blocks

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Categories person (1), traffic light (10) and the others of the hand-made COCO folder; split val2017."""
    root = tmp_path_factory.mktemp("coco")
    segdata.convert(made.coco(root / "coco"), root / "pack", images="none", workers=1)
    return segdata.open(root / "pack")


@pytest.mark.parametrize(
    ("query", "columns", "words"),
    [
        ("any(catgory == 'x')", (5, 11), "did you mean 'category'"),
        ("width > 5 and heigth < 3", (15, 20), "did you mean 'height'"),
        ("any(category == 'Toothbrush')", (17, 28), "did you mean 'toothbrush'?"),
        ("any(category == 'tootbrush')", (17, 27), "did you mean 'toothbrush'?"),
        ("split == 'vla2017'", (10, 18), "did you mean 'val2017'?"),
        ("category == 'dog'", (1, 8), "write any(category == 'a text')"),
        ("iscrowd", (1, 7), "write any(iscrowd)"),
        ("any(category == 1000)", (17, 20), "no category has the number 1000"),
        ("any(score > 0.5)", (5, 9), "predictions have scores"),
        ("count(iscrowd)", (1, 14), "write any(iscrowd), or compare it: count(iscrowd) > 0"),
        ("count > 3", (1, 5), "count needs brackets"),
        ("any()", (1, 5), "any needs a condition"),
        ("some(iscrowd)", (1, 13), "there are any, all and count"),
        ("any(any(iscrowd))", (5, 16), "asked of objects"),
        ("any(category == traffic light)", (25, 29), "'traffic light'"),
        ("width == 'x'", (10, 12), "a text is compared with a field that has texts"),
        ("key == width + 1", (8, 16), "a key is compared with a text"),
        ("split < 'x'", (9, 11), "there is no split 'x'"),
        ("key < 'x'", (7, 9), "by == and != alone"),
        ("key like 'a%'", (10, 13), "write like 'a*'"),
        ("key ~ '.*'", (5, 5), "like"),
        ("width == none", (1, 5), "always known"),
        ("any(area = 1..5)", (13, 14), "width in 100..200"),
        ("width in 5", (10, 10), "write in (5), or in 1..5"),
        ("width in (1, 2", (15, 15), "expected a comma or a closing bracket"),
        ("key == 'x", (8, 9), "close it with another '"),
        ("width >", (8, 8), "the query ends here"),
        ("(width > 5))", (12, 12), "expected and, or, or the end of the query"),
        ("width > 5 height > 3", (11, 16), "expected and, or"),
        ("", (1, 1), "the query is empty"),
        ("any(void)", (5, 8), "ignore says"),
        ("remark", (1, 6), "segdata info PACK"),
        ("object.width > 5", (1, 12), "write any(width > 0)"),
        ("any(iscrowd == 2)", (16, 16), "true or false"),
        ("not width", (5, 9), "compare it: width > 0"),
    ],
)
def test_an_error_points_at_the_column_and_says_what_may_be_meant(
    pack: Pack, query: str, columns: tuple[int, int], words: str
) -> None:
    with pytest.raises(InvalidQuery) as refused:
        pack.matching(query)
    assert refused.value.columns == columns, refused.value
    assert words in str(refused.value)
    assert refused.value.exit_code == 2 and refused.value.as_dict()["columns"] == list(columns)


def test_the_marks_are_below_what_they_point_at(pack: Pack) -> None:
    query = "width > 5 and\tkey like '*' and " + "width > 1 or " * 30 + "heigth > 3" + " or width > 1" * 30
    with pytest.raises(InvalidQuery) as refused:
        pack.matching(query)
    _, shown, marks, *_ = [line[10:] for line in str(refused.value).split("place:")[1].split("\n")]
    assert shown[marks.index("^") : marks.rindex("^") + 1] == "heigth" and len(shown) < 140


@pytest.mark.parametrize(
    ("query", "is_all"),
    [
        ("10 ** 10 ** 10 > width", True),
        ("width / 0 > 5", True),
        ("0 / 0 == width", False),
        ("width < 99999999999999999999999", True),
        ("id == 9223372036854775807 or id > -9223372036854775807", True),
        ("width in (" + "7, " * 20_000 + ")", False),
        (" or ".join(["width > 5"] * 5000), True),
        ("width > " + "+".join(["0"] * 5000), True),
        ("--width > 0", True),
        ("key like '" + "*a" * 500 + "'", False),
    ],
)
def test_hostile_numbers_and_lengths(pack: Pack, query: str, is_all: bool) -> None:
    assert pack.matching(query).all() == is_all


@pytest.mark.parametrize("part", ["(", "not ", "-", "any(", "2 ** ", "width in ("])
def test_deep_nesting_is_refused(pack: Pack, part: str) -> None:
    with pytest.raises(InvalidQuery):
        pack.matching(part * 5000)


def test_a_text_of_a_megabyte_is_refused(pack: Pack) -> None:
    with pytest.raises(InvalidQuery, match="1,000,000 characters"):
        pack.matching("x" * 1_000_000)


def test_patterns_take_no_longer_than_their_texts(tmp_path: Path) -> None:
    """A regular expression of this kind takes until the end of days."""
    sample = Sample("a" * 200, 4, 4)
    segdata.write([sample], tmp_path / "pack", labels=["x"], workers=1)
    pack = segdata.open(tmp_path / "pack")
    start = time.process_time()
    assert not pack.matching(f"key like '{'*a' * 60}*b'").any()
    assert time.process_time() - start < 2


def test_names_from_the_pack_do_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    segdata.write([Sample("k", 4, 4)], tmp_path / "pack", labels=["red\x1b[31m", "x"], workers=1)
    with pytest.raises(InvalidQuery) as refused:
        segdata.open(tmp_path / "pack").matching("any(category == 'red\x1b[30m')")
    assert "\x1b" not in str(refused.value)


# ---------------------------------------------------------------------- the page


def test_every_field_has_a_column_and_is_on_the_page() -> None:
    page = (ROOT / "docs/query.md").read_text()
    for table, read, title in (
        (fields.IMAGE, columns._OF_IMAGES, "image"),
        (fields.OBJECT, columns._OF_OBJECTS, "object"),
    ):
        listed = page.partition(f"## Fields of an {title}")[2].partition("\n## ")[0]
        rows = [line.split("|")[1:4] for line in listed.splitlines() if line.startswith("| `")]
        assert {name.strip(" `"): kind.strip() for name, kind, _ in rows} == {
            name: kind for name, (kind, _) in table.items()
        }
        assert read.keys() == {name for name, (kind, _) in table.items() if kind != "text"}
    listed = page.partition("## Fields of a comparison")[2].partition("\n## ")[0]
    rows = [
        [part.strip(" `") for part in line.split("|")[1:4]] for line in listed.splitlines() if line.startswith("| `")
    ]
    assert sorted(map(tuple, rows)) == sorted(
        (name, of, kind) for of, table in fields.COMPARED.items() for name, (kind, _) in table.items()
    )
    for alias in fields.ALIASES:
        assert f"`{alias}`" in page


@pytest.mark.parametrize("query", ["f1 < 0.5", "any(matched)", "any(image.iou > 0.5)", "not fp", "miou == none"])
def test_what_only_a_comparison_has_says_how_to_get_one(query: str, tmp_path: Path) -> None:
    segdata.write([Sample("k", 4, 4)], tmp_path / "pack", labels=["x"], workers=1)
    with pytest.raises(InvalidQuery, match="has a") as refused:
        segdata.open(tmp_path / "pack").matching(query)
    assert "segdata view PACK PREDICTIONS" in str(refused.value)


def test_the_queries_of_the_page_are_read(tmp_path: Path) -> None:
    names = {"dog": "animal", "cat": "animal", "person": "person"}
    labels = LabelSpace(
        "page", tuple(Category(name, 17 + n, supercategory=names[name]) for n, name in enumerate(names))
    )
    instances = Instances.build([0], Masks.from_dense(np.ones((1, 4, 9), np.uint8)), score=[0.95])
    splits = {"train": [Sample("a", 4, 4)], "val": [Sample("frankfurt_1", 4, 9, instances=instances)]}
    segdata.write(splits, tmp_path / "pack", labels=labels, workers=1)
    pack = segdata.open(tmp_path / "pack")
    examples, _ = code_blocks(ROOT / "docs/query.md", "text")
    queries = [line.partition("#")[0].strip() for line in examples.splitlines()]
    assert len(queries) > 10
    meant = {query: pack.matching(query).tolist() for query in queries}
    assert meant["any(score > 0.9)"] == meant["split == 'val'"] == meant["key like 'frankfurt*'"] == [False, True]
    assert meant["all(has_mask)"] == [True, True] and meant["id in (139, 285, 632)"] == [False, False]
