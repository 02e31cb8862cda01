"""WebDataset: tar files of samples; read, written, streamed by other readers, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import segdata
from segdata.errors import SegdataError
from tests.helpers import made
from tests.helpers.compare import compare


def streamed(root: Path) -> dict[str, dict[str, bytes]]:
    """Samples as a streaming reader groups them: names that follow each other with one part before the first dot."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(root.glob("*.tar")):
        last = ""
        with tarfile.open(path, mode="r|") as stream:
            for member in stream:
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                assert key == last or key not in samples, "files of a sample follow each other"
                file = stream.extractfile(member)
                samples.setdefault(key, {})[ending] = file.read() if file else b""
                last = key
    return samples


def test_it_is_read_and_comes_back(tmp_path: Path) -> None:
    root = made.webdataset(tmp_path / "source")
    segdata.convert(root, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    samples = {sample.key: sample for sample in pack}
    assert list(samples) == ["a", "sub/b", "c", "d"] and [category.id for category in pack.labels.categories] == [3, 9]
    first = samples["a"]
    assert first.id == 40 and first.extra["scene"] == "street" and first.instances.extra[0] == {"note": "left"}
    assert first.instances.category.tolist() == [1, 0] and first.instances.difficult.tolist() == [False, True]
    assert int(first.instances.masks[0].sum()) == 16 * 25
    assert samples["sub/b"].has_instances and not samples["d"].has_instances
    semantic = samples["c"].semantic
    assert semantic is not None and int((semantic == 1).sum()) == 6 * 16 and int((semantic == 255).sum()) == 1200 - 96
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="webdataset")
    assert compare("webdataset", root, tmp_path / "back") == []


@pytest.mark.parametrize("name", ["coco", "voc", "cityscapes", "camvid", "masks"])
def test_a_streaming_reader_finds_everything(name: str, tmp_path: Path) -> None:
    segdata.convert(made.ALL[name](tmp_path / "source"), tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "tars", to="webdataset", allow_loss=True)
    pack, samples = segdata.open(tmp_path / "pack"), streamed(tmp_path / "tars")
    names = [row["name"] for row in json.loads((tmp_path / "tars/labels.json").read_text())["categories"]]
    assert len(samples) == len(pack)
    for sample in pack:
        parts = samples[sample.key.replace(".", "_")]
        (image,) = (data for ending, data in parts.items() if ending in ("jpg", "png"))
        assert image == sample.encoded
        objects = json.loads(parts["json"]).get("objects")
        assert (objects is not None) == sample.has_instances
        for index, item in enumerate(objects or []):
            assert names[item["category"]] == pack.labels[int(sample.instances.category[index])].name
            if sample.instances.has_mask[index]:
                assert np.array_equal(coco_mask.decode(item["segmentation"]), sample.instances.masks[index])
        if sample.semantic is not None:
            assert np.array_equal(np.array(Image.open(io.BytesIO(parts["seg.png"]))), sample.semantic)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # its files stay open
def test_the_library_streams_it(tmp_path: Path) -> None:
    library = pytest.importorskip("webdataset", reason="the library webdataset is not installed")
    segdata.convert(made.coco(tmp_path / "source"), tmp_path / "tars", to="webdataset", allow_loss=True)
    (path,) = tmp_path.glob("tars/*.tar")
    rows = list(library.WebDataset(str(path), shardshuffle=False).decode("rgb8"))
    assert len(rows) == 3 and all(row["jpg"].shape == (made.HEIGHT, made.WIDTH, 3) for row in rows)
    assert [len(row["json"]["objects"]) for row in rows] == [
        len(s.instances) for s in segdata.read(tmp_path / "source")
    ]


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    root = made.coco(tmp_path / "source")
    for name in ("one", "two"):
        segdata.convert(root, tmp_path / name, to="webdataset", allow_loss=True)
    (one,), (two,) = (list((tmp_path / name).glob("*.tar")) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_dots_in_keys_are_remarked(tmp_path: Path) -> None:
    sample = segdata.Sample.build("a.b.c", np.zeros((30, 40, 3), np.uint8), masks=[], category=[])
    segdata.write([sample], tmp_path / "pack", labels=["cat"])
    report = segdata.convert(tmp_path / "pack", tmp_path / "tars", to="webdataset", allow_loss=True)
    assert any("dots in keys" in remark for remark in report.problems["remarks"])
    assert list(streamed(tmp_path / "tars")) == ["a_b_c"]


PHOTO = made.photo()


@pytest.mark.parametrize(
    ("members", "words", "code"),
    [
        ({"../a.jpg": PHOTO, "../a.json": b"{}"}, "leads out", 11),
        ({"/a.jpg": PHOTO, "/a.json": b"{}"}, "leads out", 11),
        ({"a.jpg": PHOTO, "a.json": b"{}", "b.jpg": PHOTO, "a.seg.png": b""}, "follow", 4),
        ({"a.jpg": PHOTO, "a.json": b'{"objects": 3}'}, "no list of objects", 4),
        ({"a.jpg": PHOTO, "a.json": b"{"}, "JSON", 4),
        ({"a.jpg": PHOTO, "a.json": b"{}", "b.json": b"{}"}, "no image", 4),
    ],
)
def test_what_is_refused(tmp_path: Path, members: dict[str, bytes], words: str, code: int) -> None:
    root = tmp_path / "source"
    made.put(root / "train-000000.tar", made.tar_of(members))
    made.put(root / "labels.json", {"name": "pets", "categories": [{"name": "cat", "id": 3}]})
    with pytest.raises(SegdataError) as refused:
        segdata.convert(root, tmp_path / "pack", source_format="webdataset")
    error = refused.value
    assert words in f"{error.message} {error.why}" and error.exit_code == code and "train-000000.tar" in str(error.file)


def test_a_tar_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    root = made.webdataset(tmp_path / "source")
    path = root / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(SegdataError, match="tar file") as refused:
        segdata.convert(root, tmp_path / "pack", source_format="webdataset")
    assert refused.value.exit_code == 4


def test_without_a_table_it_asks_for_one(tmp_path: Path) -> None:
    root = made.webdataset(tmp_path / "source")
    (root / "labels.json").unlink()
    with pytest.raises(SegdataError, match="what the categories are") as refused:
        segdata.convert(root, tmp_path / "pack")
    assert "--classes" in str(refused.value.fix)
    segdata.convert(root, tmp_path / "pack", classes=["cat", "dog"])
    assert len(segdata.open(tmp_path / "pack")) == 4
