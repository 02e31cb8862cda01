"""Work over processes: a worker that dies, hangs or raises loses nothing, and the bytes do not depend on who did it."""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import InvalidInput, WorkerLost
from segdata.sources import dataset as inputs
from segdata.system import workers
from tests.helpers.command import run_segdata, tree


def run(task: workers.Task, count: int = 6, hang_seconds: float = 60) -> dict[int, Any]:
    results: dict[int, Any] = {}
    workers.run(
        range(count),
        task,
        workers=2,
        name_of=lambda item: f"item {item}",
        done=results.__setitem__,
        progress=lambda _: None,
        hang_seconds=hang_seconds,
    )
    return results


def test_every_task_is_done_in_other_processes() -> None:
    assert {number: value for number, (value, _) in run(lambda n, beat: (n * n, os.getpid())).items()} == {
        n: n * n for n in range(6)
    }
    assert os.getpid() not in {pid for _, pid in run(lambda n, beat: (n, os.getpid())).values()}


def test_a_worker_killed_once_costs_nothing(tmp_path: Path) -> None:
    def task(number: int, beat: workers.Beat) -> int:
        beat(number)
        if number == 3 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert run(task) == {n: n for n in range(6)}


def test_a_task_that_kills_its_worker_is_named_after_three_attempts_and_the_others_finish(tmp_path: Path) -> None:
    done: list[int] = []

    def task(number: int, beat: workers.Beat) -> int:
        for item in range(10 * number, 10 * number + 3):
            beat(item)
            if item == 21:
                with (tmp_path / "tries").open("a") as file:
                    file.write("x")
                faulthandler.disable()  # the death is meant: no report of it
                os.kill(os.getpid(), signal.SIGSEGV)
        return number

    with pytest.raises(WorkerLost) as caught:
        workers.run(
            range(6),
            task,
            workers=2,
            name_of=lambda item: f"item {item}",
            done=lambda number, _: done.append(number),
            progress=lambda _: None,
            hang_seconds=60,
        )
    assert caught.value.key == "item 21"
    assert caught.value.exit_code == 12
    assert "SIGSEGV" in str(caught.value)
    assert (tmp_path / "tries").read_text() == "xxx"
    assert sorted(done) == [0, 1, 3, 4, 5]


def test_a_worker_that_hangs_is_stopped_and_its_stack_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def a_place_to_hang_in() -> None:
        time.sleep(1000)

    def task(number: int, beat: workers.Beat) -> int:
        beat(number)
        if number == 1:
            a_place_to_hang_in()
        return number

    with pytest.raises(WorkerLost, match="lost again") as caught:
        run(task, 3, hang_seconds=1)
    assert "hung for 1 s" in str(caught.value)
    (log,) = tmp_path.rglob("hung-workers.txt")
    assert "a_place_to_hang_in" in log.read_text()


def test_what_a_task_raises_comes_out() -> None:
    def task(number: int, beat: workers.Beat) -> int:
        if number == 2:
            raise InvalidInput("no good", file="here", why="because", fix="that")
        return number

    with pytest.raises(InvalidInput, match="no good") as caught:
        run(task)
    assert (caught.value.file, caught.value.why, caught.value.fix) == ("here", "because", "that")


@pytest.mark.parametrize("count", [1, 2])
def test_when_a_task_raises_the_others_finish_unless_asked_otherwise(count: int) -> None:
    def task(number: int, beat: workers.Beat) -> int:
        beat(10 * number)
        if number in (0, 3):
            raise InvalidInput(f"no good: {number}")
        time.sleep(0.05)
        return number

    def results(*, fail_fast: bool) -> list[int]:
        done: list[int] = []
        with pytest.raises(InvalidInput, match="no good: 0"):
            workers.run(
                range(6),
                task,
                workers=count,
                name_of=str,
                done=lambda number, _: done.append(number),
                progress=lambda _: None,
                hang_seconds=60,
                fail_fast=fail_fast,
            )
        return sorted(done)

    assert results(fail_fast=False) == [1, 2, 4, 5]
    assert results(fail_fast=True) == []


@pytest.mark.parametrize("count", [1, 2])
def test_a_bug_in_a_task_names_the_item(count: int) -> None:
    def task(number: int, beat: workers.Beat) -> int:
        beat(10 * number)
        return 1 // number

    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError at item 0: ") as caught:
        run(task, count)
    assert "return 1 // number" in caught.value.__notes__[0]


def test_workers_end_with_their_parent() -> None:
    code = (
        "import os, sys, time\n"
        "from segdata.system import workers\n"
        "def task(n, beat):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(100)\n"
        "workers.run(range(2), task, workers=2, name_of=str, done=print, progress=lambda _: None, hang_seconds=99)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    parent.stdout.close()


# ---------------------------------------------------------------------- conversions


@pytest.fixture(scope="module")
def coco(drawing: Callable[[str], Path]) -> Path:
    return drawing("coco")


def without_receipt(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(root).items() if name != ".segdata.json"}


@pytest.mark.parametrize("to", ["pack", "voc", "coco"])
def test_same_bytes_however_many_workers(to: str, coco: Path, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        outcome = run_segdata(
            "convert", coco, tmp_path / str(count), "--to", to, "--workers", count, "--shard-samples", 2, "--allow-loss"
        )
        assert outcome.code == 0, outcome.err
    assert without_receipt(tmp_path / "1") == without_receipt(tmp_path / "2") == without_receipt(tmp_path / "3")


@pytest.mark.parametrize("to", ["pack", "voc"])
def test_same_bytes_after_a_worker_was_killed(
    to: str, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"to": to, "workers": 2, "shard_samples": 2, "allow_loss": True}
    segdata.convert(coco, tmp_path / "expected", **options)
    read = inputs.open_dataset

    def deadly(*arguments: Any, **named: Any) -> Any:
        data = read(*arguments, **named)
        get = data.get

        def once(index: int, findings: Any) -> Any:
            if index == 5 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return get(index, findings)

        return dataclasses.replace(data, get=once)

    monkeypatch.setattr("segdata.conversion.convert.open_dataset", deadly)
    segdata.convert(coco, tmp_path / "target", **options)
    assert (tmp_path / "died").exists()
    assert without_receipt(tmp_path / "target") == without_receipt(tmp_path / "expected")


@pytest.mark.parametrize("to", ["pack", "voc"])
def test_a_sample_that_kills_every_worker_is_named_and_the_next_run_goes_on(
    to: str, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"to": to, "workers": 2, "shard_samples": 2, "allow_loss": True}
    segdata.convert(coco, tmp_path / "expected", **options)
    read = inputs.open_dataset
    loaded = tmp_path / "loaded"

    def deadly(*arguments: Any, **named: Any) -> Any:
        data = read(*arguments, **named)
        get = data.get

        def sometimes(index: int, findings: Any) -> Any:
            with loaded.open("a") as file:
                file.write(f"{index}\n")
            if index == 5 and not (tmp_path / "good").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return get(index, findings)

        return dataclasses.replace(data, get=sometimes)

    monkeypatch.setattr("segdata.conversion.convert.open_dataset", deadly)
    with pytest.raises(WorkerLost) as caught:
        segdata.convert(coco, tmp_path / "target", **options)
    assert caught.value.key == segdata.read(coco).keys[5]
    assert not (tmp_path / "target" / "pack.json").exists()
    loaded.unlink()
    (tmp_path / "good").touch()
    segdata.convert(coco, tmp_path / "target", **options)
    assert sorted(map(int, loaded.read_text().split())) == [4, 5]
    assert without_receipt(tmp_path / "target") == without_receipt(tmp_path / "expected")


@pytest.mark.parametrize("to", ["pack", "voc"])
@pytest.mark.parametrize("count", [1, 2])
def test_fail_fast_stops_at_the_first_bad_image(count: int, to: str, coco: Path, tmp_path: Path) -> None:
    source = shutil.copytree(coco, tmp_path / "source")
    images = sorted(source.rglob("*.jpg"))
    good = [path.read_bytes() for path in images]
    for path in images[1:]:
        path.write_bytes(path.read_bytes()[:-9])
    command = ("convert", source, tmp_path / "target", "--to", to, "--workers", count, "--shard-samples", 1)
    outcome = run_segdata(*command, "--allow-loss")
    assert outcome.code == 4 and f"{len(images) - 1} problems" in outcome.err
    outcome = run_segdata(*command, "--allow-loss", "--fail-fast")
    assert outcome.code == 4 and "JPEG is cut short" in outcome.err
    match = re.search(r"file: +(.+)\n +key: +(.+)", outcome.err)
    assert match and source / match[1] in images[1:] and match[2] in match[1]
    assert "problems" not in outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {"source"}
    outcome = run_segdata(*command, "--fail-fast", "--on-error", "skip")
    assert outcome.code == 2
    for path, data in zip(images, good, strict=True):
        path.write_bytes(data)
    assert run_segdata(*command, "--allow-loss", "--fail-fast").code == 0


@pytest.mark.parametrize("to", ["pack", "voc"])
def test_same_bytes_after_the_parent_was_killed(to: str, coco: Path, tmp_path: Path) -> None:
    options = ("--to", to, "--workers", "2", "--shard-samples", "1", "--allow-loss", "-q")
    began = time.monotonic()
    assert run_segdata("convert", coco, tmp_path / "expected", *options).code == 0
    took = time.monotonic() - began
    for share in (0.3, 0.6, 0.8):
        run_segdata("convert", coco, tmp_path / "target", *options, "--wait", "10", kill_after=share * took)
    done = run_segdata("convert", coco, tmp_path / "target", *options, "--wait", "10")
    assert done.code == 0, done.err
    assert without_receipt(tmp_path / "target") == without_receipt(tmp_path / "expected")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".target.staging")] == []
