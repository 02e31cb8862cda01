"""Parquet tables: those that `datasets` writes are read, what is written is read by `datasets`, and what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import segdata
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.parquet import files
from tests.helpers import made
from tests.helpers.compare import compare

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def cell(number: int = 0, path: str | None = None) -> dict[str, Any]:
    return {"bytes": made.photo(seed=number), "path": path}


def table(root: Path, rows: list[dict[str, Any]], *columns: tuple[str, Any], file: str = "data/train.parquet") -> Path:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([("image", IMAGE), *columns])), path)
    return root


def detections(*fields: tuple[str, Any]) -> tuple[str, Any]:
    return "objects", pa.list_(pa.struct([("category", pa.string()), ("bbox", pa.list_(pa.float64())), *fields]))


def test_what_datasets_writes(tmp_path: Path) -> None:
    """Masks by pycocotools, label maps by Pillow."""
    root = made.parquet(tmp_path / "source")
    report = segdata.convert(root, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert [category.name for category in pack.labels.categories] == ["dog", "person"]
    assert [sample.key for sample in pack] == ["000", "001", "002"] and [*map(len, pack.splits.values())] == [2, 1]
    first, second, third = pack
    assert (first.id, second.id, third.id) == (40, 41, 42)
    assert len(second.instances) == 0 and second.has_instances and not third.has_instances
    square = [4.0, 4.0, 14.5, 4.0, 14.5, 12.25, 4.0, 12.25]
    expected = coco_mask.decode(coco_mask.frPyObjects([square], made.HEIGHT, made.WIDTH))[..., 0]
    assert np.array_equal(first.instances.masks[0], expected)
    assert first.instances.has_mask.tolist() == [True, False] and first.instances.iscrowd.tolist() == [False, True]
    assert first.instances.category.tolist() == [1, 0] and first.instances.id.tolist() == [5, 6]
    assert first.instances.bbox.tolist() == [[4, 4, 10.5, 8.25], [1, 2, 3, 4]]
    assert first.instances.extra[1] == {"note": "far away"} and first.extra["scene"] == "street"
    stored = pq.read_table(root / "data/train-00000-of-00001.parquet").to_pylist()[0]
    assert first.semantic is not None
    assert np.array_equal(first.semantic, np.array(Image.open(io.BytesIO(stored["annotation"]["bytes"]))))
    assert first.encoded == made.photo(seed=0) and not second.has_semantic
    assert not report.problems["skipped"]


def test_tables_come_back(tmp_path: Path) -> None:
    """Two files become one where there is one part; rows and schema are equal."""
    root = made.parquet(tmp_path / "source", files=2)
    segdata.convert(root, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="parquet")
    assert len(list((root / "data").iterdir())) == 3
    assert compare("parquet", made.parquet(tmp_path / "one"), tmp_path / "back") == []


@pytest.mark.parametrize("name", ["coco", "voc", "cityscapes", "camvid", "masks"])
def test_datasets_reads_what_is_written(name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    segdata.convert(made.ALL[name](tmp_path / "source"), tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "parquet", to="parquet", allow_loss=True)
    pack = segdata.open(tmp_path / "pack")
    loaded = datasets.load_dataset("parquet", data_dir=str(tmp_path / "parquet"), cache_dir=str(tmp_path / "cache"))
    rows = {row["key"]: row for split in loaded.values() for row in split}
    features = next(iter(loaded.values())).features
    names = features["objects"].feature["category"].names
    assert names == [category.name for category in pack.labels.categories]
    for sample in pack:
        row = rows[sample.key]
        assert np.array_equal(np.array(row["image"].convert("RGB")), sample.image)
        assert (row["objects"] is not None) == sample.has_instances
        for index, item in enumerate(row["objects"] or []):
            assert item["category"] == sample.instances.category[index]
            if sample.instances.has_mask[index]:
                assert np.array_equal(coco_mask.decode(item["segmentation"]), sample.instances.masks[index])
        if sample.semantic is not None:
            assert np.array_equal(np.array(row["semantic"]), sample.semantic)


@pytest.mark.parametrize("name", ["coco", "voc", "cityscapes", "camvid", "masks"])
def test_segdata_reads_what_it_writes(name: str, tmp_path: Path) -> None:
    """Label space, flags, boxes and masks come back; loss is what the report names."""
    segdata.convert(made.ALL[name](tmp_path / "source"), tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "parquet", to="parquet", allow_loss=True)
    segdata.convert(tmp_path / "parquet", tmp_path / "again")
    before, after = segdata.open(tmp_path / "pack"), segdata.open(tmp_path / "again")
    assert after.labels == before.labels
    others = {sample.key: sample for sample in after}
    for sample in before:
        other = others[sample.key]
        assert other.encoded == sample.encoded and other.id == sample.id
        assert (other.semantic is None) == (sample.semantic is None)
        assert sample.semantic is None or other.semantic is None or np.array_equal(other.semantic, sample.semantic)
        for column in ("category", "id", "iscrowd", "difficult", "truncated", "occluded", "bbox", "area", "has_mask"):
            mine, theirs = getattr(sample.instances, column), getattr(other.instances, column)
            assert np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f"), column
        for index in range(len(sample.instances)):
            assert np.array_equal(sample.instances.masks[index], other.instances.masks[index])


def test_a_struct_of_lists(tmp_path: Path) -> None:
    kind = pa.struct([("label", pa.list_(pa.int64())), ("boxes", pa.list_(pa.list_(pa.float64())))])
    rows = [{"image": cell(), "annotations": {"label": [1, 0], "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}}]
    root = table(tmp_path / "source", rows, ("annotations", kind))
    segdata.convert(root, tmp_path / "pack", classes=["a", "b"])
    (sample,) = segdata.open(tmp_path / "pack")
    assert sample.instances.category.tolist() == [1, 0] and sample.instances.bbox.tolist() == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
    ]
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="parquet")
    (written,) = (tmp_path / "back/data").iterdir()
    assert pq.read_table(written).to_pylist() == rows


def test_boxes_that_can_only_be_corners(tmp_path: Path) -> None:
    """Width and height of the second box would leave the image; areas say the same."""
    sizes = (("width", pa.int64()), ("height", pa.int64()))
    rows = [
        {"image": cell(), "width": made.WIDTH, "height": made.HEIGHT, "objects": [{"category": "cup", "bbox": box}]}
        for box in ([1.0, 2.0, 5.0, 9.0], [20.0, 10.0, 35.0, 28.0])
    ]
    root = table(tmp_path / "source", rows, *sizes, detections())
    report = segdata.convert(root, tmp_path / "pack", classes="from-data")
    assert any("corners" in remark for remark in report.problems["remarks"])
    boxes = [sample.instances.bbox.tolist() for sample in segdata.open(tmp_path / "pack")]
    assert boxes == [[[1, 2, 4, 7]], [[20, 10, 15, 18]]]
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="parquet")
    assert pq.read_table(next((tmp_path / "back/data").iterdir())).to_pylist() == rows


def test_a_label_map_needs_names(tmp_path: Path) -> None:
    label_map = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    label_map[5:9] = 2
    rows = [{"image": cell(), "label": {"bytes": made.png(label_map), "path": "/home/somebody/a.png"}}]
    root = table(tmp_path / "source", rows, ("label", IMAGE))
    with pytest.raises(SegdataError, match="what the categories are") as refused:
        segdata.convert(root, tmp_path / "pack")
    assert refused.value.exit_code == 4 and "--classes" in str(refused.value.fix)
    made.put(root / "id2label.json", json.dumps({"0": "background", "1": "road", "2": "sky"}))
    segdata.convert(root, tmp_path / "pack")
    (sample,) = segdata.open(tmp_path / "pack")
    assert sample.semantic is not None and np.array_equal(sample.semantic, label_map)
    with pytest.raises(SegdataError, match="no category") as refused:
        segdata.convert(root, tmp_path / "few", classes=["a", "b"])
    assert "2" in str(refused.value.why) and refused.value.exit_code == 4


def test_paths_of_other_machines(tmp_path: Path) -> None:
    """Names stay inside the dataset."""
    paths = ["/home/somebody/a.jpg", "..\\..\\b.jpg", "../../c.jpg", "C:/d.jpg", "sub/e.jpg"]
    rows = [{"image": cell(number, path)} for number, path in enumerate(paths)]
    segdata.convert(table(tmp_path / "source", rows), tmp_path / "pack")
    samples = list(segdata.open(tmp_path / "pack"))
    assert [sample.key for sample in samples] == ["a", "b", "c", "d", "sub/e"]
    assert [sample.file for sample in samples] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "sub/e.jpg"]


def test_images_without_names_are_numbered(tmp_path: Path) -> None:
    segdata.convert(table(tmp_path / "source", [{"image": cell(number)} for number in range(3)]), tmp_path / "pack")
    assert [sample.key for sample in segdata.open(tmp_path / "pack")] == [f"{number:09d}" for number in range(3)]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"category": "cup", "bbox": [1.0, 2.0, 3.0]}, "bbox"),
        ({"category": "plate", "bbox": [1.0, 2.0, 3.0, 4.0]}, "plate"),
        ({"category": None, "bbox": [1.0, 2.0, 3.0, 4.0]}, "category"),
    ],
)
def test_a_wrong_object_is_named(tmp_path: Path, item: dict[str, Any], words: str) -> None:
    good = {"category": "cup", "bbox": [1.0, 2.0, 3.0, 4.0]}
    root = table(tmp_path / "source", [{"image": cell(), "objects": [good, item]}], detections())
    with pytest.raises(SegdataError) as refused:
        segdata.convert(root, tmp_path / "pack", classes=["cup"])
    error = refused.value
    assert error.exit_code == 4 and words in f"{error.message} {error.why}" and "objects[1]" in str(error.place)
    segdata.convert(root, tmp_path / "pack", classes=["cup"], on_error="skip")
    assert len(segdata.open(tmp_path / "pack")[0].instances) == 1


def test_what_is_no_dataset(tmp_path: Path) -> None:
    made.put(tmp_path / "damaged/train.parquet", b"PAR1 and no more")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    made.put(tmp_path / "text/train.parquet", (tmp_path / "text.parquet").read_bytes())
    table(tmp_path / "outside", [{"image": {"bytes": None, "path": "a.jpg"}}])
    table(tmp_path / "two", [{"image": cell()}], file="a.parquet")
    table(tmp_path / "two", [{"image": cell(), "more": 1}], ("more", pa.int64()), file="b.parquet")
    expected = {
        "damaged": "no Parquet",
        "text": "no column",
        "outside": "does not hold the image",
        "two": "different columns",
    }
    for name, words in expected.items():
        with pytest.raises(SegdataError, match=words) as refused:
            segdata.convert(tmp_path / name, tmp_path / "pack")
        assert refused.value.exit_code == 4
    assert not (tmp_path / "pack/pack.json").exists()


_EVERY_BYTE = """
import sys
from pathlib import Path
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.parquet import files
from segdata.formats.parquet import files
path = Path(sys.argv[1])
whole = path.read_bytes()
size = int.from_bytes(whole[-8:-4], "little")
ends = {"read": 0, "refused": 0}
for place in range(len(whole) - 8 - size, len(whole) - 8):
    damaged = path.with_name(f"{place}.parquet")
    damaged.write_bytes(whole[:place] + b"\\x7f" + whole[place + 1 :])
    try:
        files.row(path.parent, damaged.name, 0)
        ends["read"] += 1
    except SegdataError:
        ends["refused"] += 1
    damaged.unlink()
assert min(ends.values()) > 100 and sum(ends.values()) == size, ends
"""


def test_no_byte_of_the_metadata_ends_the_process(tmp_path: Path) -> None:
    """pyarrow gives way to C++ errors only where it reads, not where it is asked about a column."""
    rows = [{"image": cell(), "objects": [{"category": "dog", "bbox": [1.0, 2, 3, 4]}]}]
    path = table(tmp_path, rows, detections()) / "data/train.parquet"
    done = subprocess.run([sys.executable, "-c", _EVERY_BYTE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_row_group_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = table(tmp_path, [{"image": cell(n)} for n in range(3)])
    size = pq.ParquetFile(root / "data/train.parquet").metadata.row_group(0).total_byte_size
    monkeypatch.setattr(files, "MOST", size)
    segdata.convert(root, tmp_path / "pack")
    monkeypatch.setattr(files, "MOST", size - 1)
    with pytest.raises(InvalidAnnotation, match=r"(?s)a row group is larger than segdata reads.*row group 0"):
        segdata.convert(root, tmp_path / "other")


def test_images_dir_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(SegdataError, match="images-dir") as refused:
        segdata.convert(made.parquet(tmp_path / "source"), tmp_path / "pack", images_dir=tmp_path)
    assert refused.value.exit_code == 2


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made.parquet(tmp_path / "source")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SegdataError, match="pyarrow") as refused:
        segdata.convert(root, tmp_path / "pack")
    assert refused.value.exit_code == 2 and "segdata[parquet]" in str(refused.value.fix)
