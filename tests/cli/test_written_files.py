"""Files and folders that commands are told to write: what the name says, or a refusal before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.voc(tmp_path_factory.mktemp("written") / "voc")


@pytest.mark.parametrize(
    ("ending", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP"), ("pdf", "PDF")]
)
def test_a_picture_is_what_its_name_says(source: Path, tmp_path: Path, ending: str, kind: str) -> None:
    target = tmp_path / f"picture.{ending}"
    outcome = run_segdata("show", source, "-o", target, "--json")
    assert outcome.code == 0, outcome.err
    if kind == "PDF":
        assert target.read_bytes().startswith(b"%PDF-") and b"/Image" in target.read_bytes()
        return
    with Image.open(target) as image:
        assert image.format == kind
        assert [image.height, image.width] == outcome.document["size"]


def test_other_endings_are_refused_with_those_that_work(source: Path, tmp_path: Path) -> None:
    for command, name, works in (
        (("show", source, "-o"), "a.xyz", ".png, .jpg, .jpeg, .webp, .pdf"),
        (("show", source, "-o"), "a", ".png, .jpg, .jpeg, .webp, .pdf"),
        (("runs", tmp_path, "-o"), "a.pdf", ".html, .htm"),
        (("predict", "weights.pth", source, "-o", tmp_path / "x", "--coco"), "a.txt", ".json"),
    ):
        outcome = run_segdata(*command, tmp_path / name)
        assert outcome.code == 2 and f"endings that work are {works}\n" in outcome.err
        assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_is_to_be_is_a_mistake_in_the_command(source: Path, tmp_path: Path) -> None:
    file = made.put(tmp_path / "file.txt", "mine")
    for command in (
        ("evaluate", source, source, "--report"),
        ("stats", source, "--plots"),
        ("predict", "weights.pth", source, "-o"),
        ("predict", "weights.pth", source, "-o", tmp_path / "x", "--pictures"),
        ("train", source, "-o"),
    ):
        outcome = run_segdata(*command, file)
        assert outcome.code == 2 and "is a folder, and a file has this name" in outcome.err
        assert outcome.err.rstrip().endswith(f"see segdata {command[0]} --help")
    assert file.read_text() == "mine" and list(tmp_path.iterdir()) == [file]


def test_a_run_is_no_dataset(tmp_path: Path) -> None:
    for name in ("config.toml", "metrics.jsonl"):
        made.put(tmp_path / "run" / name, "")
    made.put(tmp_path / "run/state.json", "{}")
    for command in ("info", "stats", "verify", "show"):
        outcome = run_segdata(command, tmp_path / "run")
        assert outcome.code == 4 and f"segdata runs {tmp_path / 'run'} " in outcome.err
