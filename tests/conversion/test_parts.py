"""A pack that several commands make together, each a share of its shards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import segdata
from segdata.conversion.job import ConvertOptions, Job, Part
from segdata.conversion.shards import begin_work
from segdata.errors import UsageError
from segdata.sources.dataset import open_dataset
from segdata.system.files import locked
from tests.helpers import made
from tests.helpers.command import run_segdata, tree

SHARDS = ("--shard-samples", "1", "--workers", "1", "--no-progress")


def started(source: Path, target: Path, part: str) -> subprocess.Popen[bytes]:
    words = ["convert", str(source), str(target), *SHARDS, "--part", part, "--json"]
    return subprocess.Popen([sys.executable, "-m", "segdata", *words], stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOC's folder with remarks and two images, and 19 more images without objects."""
    root = made.voc(tmp_path_factory.mktemp("parts") / "source")
    first = root / "Annotations/2007_000001.xml"
    for number in range(3, 22):
        name = f"2007_{number:06d}"
        made.put(root / f"JPEGImages/{name}.jpg", made.photo(seed=number))
        made.put(root / f"Annotations/{name}.xml", first.read_bytes().replace(b"2007_000001", name.encode()))
    lists = root / "ImageSets/Main/train.txt"
    lists.write_text(lists.read_text() + "".join(f"2007_{number:06d}\n" for number in range(3, 22)))
    return root


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    target = tmp_path_factory.mktemp("whole") / "pack"
    segdata.convert(source, target, shard_samples=1)
    return tree(target)


def test_parts_at_once_make_the_same_pack_also_when_one_is_killed(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "pack"
    processes = [started(source, target, f"{number}/4") for number in range(1, 5)]
    deadline = time.monotonic() + 60
    while not list(target.glob(".work-*/receipt-*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(processes[2].pid, signal.SIGKILL)
    codes = [process.wait(timeout=120) for process in processes]
    assert codes[:2] + codes[3:] == [0, 0, 0] and codes[2] in (0, -signal.SIGKILL)
    again = run_segdata("convert", source, target, *SHARDS, "--part", "3/4", "--json")
    assert again.code == 0 and again.document["missing"] == 0, again.err
    assert tree(target) == whole
    assert not list(tmp_path.glob(".*"))


def test_what_is_missing_is_said_and_a_run_without_part_goes_on(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    target, shards = tmp_path / "pack", len([name for name in whole if name.startswith("annotations-")])
    report = segdata.convert(source, target, shard_samples=1, part=(2, 3))
    share = len(range(1, shards, 3))
    assert (report.samples, report.missing) == (share, shards - share) and not (target / "pack.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in target.glob(".work-*/receipt-*")}
    outcome = run_segdata("convert", source, target, *SHARDS, "--part", "2/3")
    assert f"{shards - share} shards, of other parts" in outcome.out and outcome.code == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in target.glob(".work-*/receipt-*")}
    assert segdata.convert(source, target, shard_samples=1).missing == 0
    assert tree(target) == whole
    assert segdata.convert(source, target, shard_samples=1, part=(1, 3)).was_done


def test_what_a_killed_run_was_writing_is_removed_by_the_next_one(source: Path, tmp_path: Path) -> None:
    for part, is_kept in ((None, False), (Part(1, 2), True)):
        job = Job(open_dataset(source), tmp_path / "pack", ConvertOptions(part=part))
        work = begin_work(job)
        (work / ".images-00000.part-host-1").touch()
        (work / ".images-00000.part").touch()
        assert begin_work(job) == work
        assert (work / ".images-00000.part").exists()
        assert (work / ".images-00000.part-host-1").exists() == is_kept, part


def test_parts_of_another_conversion_are_not_mixed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    segdata.convert(source, target, shard_samples=1, part="1/2")
    outcome = run_segdata("convert", source, target, *SHARDS, "--part", "2/2", "--limit", "5")
    assert outcome.code == 4 and "parts of another conversion" in outcome.err
    assert len(list(target.glob(".work-*"))) == 1


def test_parts_wait_for_nobody_but_a_run_without_part(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    with locked(target):
        assert run_segdata("convert", source, target, *SHARDS, "--part", "1/2").code == 9
    with locked(target, is_shared=True):
        assert run_segdata("convert", source, target, *SHARDS, "--part", "1/2").code == 0
        outcome = run_segdata("convert", source, target, *SHARDS)
        assert outcome.code == 9 and "another segdata process" in outcome.err
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("part", ["3/2", "0/4", "2", "a/b", "1/-2", "-1/2"])
def test_no_such_part(part: str, source: Path, tmp_path: Path) -> None:
    outcome = run_segdata("convert", source, tmp_path / "pack", f"--part={part}")
    assert outcome.code == 2 and "--part 2/4" in outcome.err and not (tmp_path / "pack").exists()


def test_a_folder_is_not_written_in_parts(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="convert PACK FOLDER --to coco"):
        segdata.convert(source, tmp_path / "coco", to="coco", part="1/2")
