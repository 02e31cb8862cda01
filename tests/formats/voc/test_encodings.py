"""VOC's XML in other encodings than UTF-8: read as declared, or refused with the file and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from segdata.errors import InvalidAnnotation, SegdataError, Unsafe
from tests.helpers import made

NAMES = {
    "gbk": "猫",
    "GB2312": "猫",
    "gb18030": "猫",
    "shift_jis": "ねこ",
    "euc-jp": "ねこ",
    "iso-2022-jp": "ねこ",
    "big5": "貓",
    "euc-kr": "고양이",
    "windows-1252": "Bär",
    "koi8-r": "кот",
}


def source(root: Path, declared: str, text: str, encoding: str, more: str = "") -> Path:
    xml = made.voc_xml("a", made.voc_object(text), width=40, height=30, segmented=0)
    xml = xml[xml.index("<annotation") :]
    made.put(root / "JPEGImages/a.jpg", made.photo(40, 30))
    made.put(root / "Annotations/a.xml", f'<?xml version="1.0" encoding="{declared}"?>{more}{xml}'.encode(encoding))
    return root


@pytest.mark.parametrize("encoding", NAMES)
def test_the_declared_encoding(encoding: str, tmp_path: Path) -> None:
    root = source(tmp_path / "source", encoding, NAMES[encoding], encoding)
    report = segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)
    pack = segdata.open(tmp_path / "pack")
    assert [category.name for category in pack.labels.categories] == ["background", NAMES[encoding]]
    assert len(pack[0].instances) == 1
    is_decoded = encoding not in ("windows-1252", "koi8-r")  # which the parser knows
    assert any("encoding" in kind for kind in report.problems["remarks"]) == is_decoded


def test_the_wider_encoding_that_programs_mean(tmp_path: Path) -> None:
    root = source(tmp_path / "source", "gb2312", "貓", "gbk")  # this letter is in GBK alone
    segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)
    assert segdata.open(tmp_path / "pack").labels[1].name == "貓"


@pytest.mark.parametrize(
    ("declared", "encoding", "why"),
    [
        ("x-user", "utf-8", "x-user"),
        ("rot13", "utf-8", "rot13"),
        ("utf-32", "utf-8", "utf-32"),
        ("gbk", "latin-1", "gbk"),
        ("utf-8", "cp1252", "invalid token"),
    ],
)
def test_encodings_that_are_not_known_or_not_their_own(declared: str, encoding: str, why: str, tmp_path: Path) -> None:
    root = source(tmp_path / "source", declared, "\u00fc\u00ff", encoding)
    with pytest.raises(InvalidAnnotation) as refusal:
        segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)
    error = refusal.value
    assert str(error.file).endswith("a.xml") and why in str(error.why)
    assert "UTF-8" in str(error.fix) and "--on-error skip" in str(error.fix)


@pytest.mark.parametrize("more", ['<!DOCTYPE a [<!ENTITY b "c">]>', '<!DOCTYPE a SYSTEM "file:///etc/hostname">'])
def test_entities_are_refused_in_every_encoding(more: str, tmp_path: Path) -> None:
    root = source(tmp_path / "source", "gbk", "猫", "gbk", more)
    with pytest.raises(Unsafe):
        segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)


def test_a_single_problem_says_how_to_leave_it_out(tmp_path: Path) -> None:
    root = source(tmp_path / "source", "utf-8", "cat", "utf-8")
    xml = (root / "Annotations/a.xml").read_text()
    begin, end = xml.index("<bndbox>"), xml.index("</bndbox>") + len("</bndbox>")
    made.put(root / "Annotations/a.xml", xml[:begin] + xml[end:])
    with pytest.raises(SegdataError, match="no box") as refusal:
        segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)
    assert "bndbox" in str(refusal.value.fix) and "--on-error skip" in str(refusal.value.fix)
