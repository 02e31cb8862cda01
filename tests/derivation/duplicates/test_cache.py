"""Hashes are computed once, kept by what they are of, and never trusted where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from segdata.demo import synthetic
from segdata.derivation.duplicates import hashes
from tests.derivation.duplicates.conftest import Write
from tests.helpers.pictures import encoded, waves


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the image files that were decoded for a hash."""
    lengths: list[int] = []
    real = hashes.reduced

    def counting(data: bytes, *, max_pixels: int) -> object:
        lengths.append(len(data))
        return real(data, max_pixels=max_pixels)

    monkeypatch.setattr(hashes, "reduced", counting)
    return lengths


@pytest.fixture
def pack(write: Write) -> Path:
    near = {"a": encoded(waves(1)), "b": encoded(waves(1), quality=50)}
    return write("pack", {"train": near | {str(seed): encoded(waves(seed)) for seed in (2, 3, 4)}})


def test_hashes_are_computed_once(pack: Path, cache: Path, decoded: list[int], tmp_path: Path) -> None:
    first = segdata.dedupe(pack, flips=True)
    assert len(decoded) == 5 and len(first.groups) == 1
    assert segdata.dedupe(pack, flips=True) == first
    segdata.leakage(pack)
    segdata.dedupe(pack, out=tmp_path / "once")
    segdata.dedupe(tmp_path / "once")  # its images are the same file
    assert len(decoded) == 5
    assert len([*cache.iterdir()]) == 1


def test_hashes_of_a_split_are_completed(tmp_path: Path, cache: Path, decoded: list[int]) -> None:
    folder = synthetic.voc.draw(tmp_path / "voc", images=8)
    segdata.convert(folder, tmp_path / "pack", workers=1)
    pack = segdata.open(tmp_path / "pack")
    assert len(pack.info["shards"]) == 1
    segdata.dedupe(tmp_path / "pack", splits=["val"])
    assert len(decoded) == len(pack.split("val")) < len(pack)
    for _ in range(2):
        segdata.dedupe(tmp_path / "pack")
        assert len(decoded) == len(pack)
    assert len([*cache.iterdir()]) == 1


@pytest.mark.parametrize("damage", ["byte", "cut", "empty", "other", "folder"])
def test_a_damaged_file_is_made_anew(pack: Path, cache: Path, decoded: list[int], damage: str) -> None:
    expected = segdata.dedupe(pack)
    (file,) = cache.iterdir()
    data = file.read_bytes()
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        middle = len(data) // 2
        changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"byte": changed, "cut": data[:middle], "empty": b"", "other": b"\0" * 5000}[damage])
    assert segdata.dedupe(pack) == expected
    assert len(decoded) == 10
    if damage != "folder":
        assert file.read_bytes() == data


def test_nothing_is_kept_where_nothing_can_be_written(pack: Path, cache: Path, decoded: list[int]) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file stands where a folder is expected")
    assert len(segdata.dedupe(pack).groups) == len(segdata.dedupe(pack).groups) == 1
    assert len(decoded) == 10


def test_images_that_lie_elsewhere_are_kept_by_their_table(
    pack: Path, tmp_path: Path, cache: Path, decoded: list[int]
) -> None:
    segdata.convert(pack, tmp_path / "coco", to="coco", allow_loss=True)
    segdata.convert(tmp_path / "coco", tmp_path / "reference", images="reference", workers=1)
    for _ in range(2):
        assert len(segdata.dedupe(tmp_path / "reference").groups) == 1
    assert len(decoded) == 5


def test_an_image_that_cannot_be_decoded_is_left_out(write: Write, cache: Path) -> None:
    good = encoded(waves(1))
    begin = good.index(b"\xff\xda") + 40
    bad = good[:begin] + b"\xff\xc4\x00\x02" * 40 + good[begin + 160 :]
    images = {"a": good, "b": encoded(waves(1), quality=50), "c": bad}
    pack = write("pack", {"train": images})
    for _ in range(2):
        result = segdata.dedupe(pack)
        assert [[member.key for member in group.members] for group in result.groups] == [["a", "b"]]
        assert result.skipped == 1 and result.problems["first"][0]["key"] == "c"
