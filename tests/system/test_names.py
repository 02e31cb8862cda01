"""Names of files and categories that no one expects: commands keep them, and show them escaped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import segdata
from segdata.errors import NotThere
from segdata.system.files import disk_errors
from tests.helpers.command import run_segdata

NAMES = {
    "not UTF-8": os.fsdecode(b"a\xff\xfeb"),
    "a line break": "a\nb",
    "an escape sequence": "a\x1b[31mb",
    "a backslash": "a\\b",
    "a colon": "c:a",
    "quotes": "a\"'b",
    "a leading dash": "-x",
    "a right-to-left override": "a\u202eb",
    "a trailing dot and space": "a. ",
    "a letter of two code points": "e\u0301",
    "a long one": "n" * 240,
}


@pytest.mark.parametrize("what", NAMES)
def test_packs_and_targets_may_have_any_name(drawing: Callable[[str], Path], tmp_path: Path, what: str) -> None:
    target = tmp_path / NAMES[what]
    outcome = run_segdata("convert", drawing("camvid_segnet"), target, "--workers", "1")
    assert outcome.code == 0, outcome
    assert "\x1b" not in outcome.out
    outcome = run_segdata("info", target, "--json")
    assert outcome.code == 0, outcome
    assert outcome.document["samples"] == 3
    outcome = run_segdata("convert", target, tmp_path / "out", "--to", "masks", "--allow-loss", "--workers", "1")
    assert outcome.code == 0, outcome


@pytest.mark.parametrize("what", ["a line break", "an escape sequence", "a right-to-left override"])
def test_keys_and_categories_are_drawn_and_shown_escaped(
    drawing: Callable[[str], Path], tmp_path: Path, what: str
) -> None:
    name = NAMES[what]
    others = shutil.ignore_patterns("person_keypoints_*", "captions_*")  # which name the images, too
    shutil.copytree(drawing("coco"), tmp_path / "coco", ignore=others)
    for document in (tmp_path / "coco/annotations").glob("instances_*.json"):
        content = json.loads(document.read_text())
        for category in content["categories"]:
            category["name"] += name
        file = tmp_path / "coco" / document.stem.removeprefix("instances_") / content["images"][0]["file_name"]
        content["images"][0]["file_name"] = f"{name}.jpg"
        file.rename(file.with_name(f"{name}.jpg"))
        document.write_text(json.dumps(content))
    outcome = run_segdata("show", tmp_path / "coco", "--count", "6", "-o", tmp_path / "one.png")
    assert outcome.code == 0, outcome
    outcome = run_segdata("stats", tmp_path / "coco")
    assert outcome.code == 0, outcome
    assert name not in outcome.out + outcome.err


def test_a_name_in_an_error_is_no_line_of_its_own() -> None:
    text = str(segdata.errors.NotThere("not there", file="a\n  fix:    rm -r /", key="b\n"))
    assert text == "not there\n  file:   a\\n  fix:    rm -r /\n  key:    b\\n"
    assert NotThere("not there", file="a\nb").file == "a\nb"
    with pytest.raises(NotThere) as error, disk_errors():
        Path("a\n\x1b[31mb").read_bytes()
    assert str(error.value).splitlines()[0] == "a\\n\\x1b[31mb does not exist"
    assert str(NotThere("\x1b[31m is not there")) == "\\x1b[31m is not there"
