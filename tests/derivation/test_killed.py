"""A merge and a subset killed at every file-system step: whole or absent, and the next run ends with the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.derivation.merge import merge
from segdata.derivation.subset import subset
from tests.conversion.test_killed_conversion import steps, strace
from tests.derivation.test_merge import coco, pack
from tests.helpers.command import tree


@pytest.fixture
def parents(tmp_path: Path) -> tuple[Path, Path]:
    """Packs of two and one shards, of which the second has its categories in another order."""
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, "train"), shard_samples=2)
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, "val", categories=("crowd", "dog")))
    return a, b


def fork_and_die(call: Callable[[], object], step: int) -> bool:
    """Run a call in a process that is killed when it is about to do this step; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(name: str, owner: Any) -> None:
            before = getattr(owner, name)

            def call_or_die(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                if count == step:
                    os._exit(77)
                count += 1
                return before(*arguments, **options)

            setattr(owner, name, call_or_die)

        for name in ("link", "rename", "replace", "fsync", "mkdir", "unlink", "rmdir"):
            counted(name, os)
        for name in ("replace", "unlink", "mkdir", "rmdir", "open"):
            counted(name, Path)
        try:
            call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 77)
    return code == 77


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("is_copied", [False, True])
def test_killed_before_any_step(
    is_copied: bool, force: bool, parents: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = parents
    before = tree(a), tree(b)
    merge([a, b], tmp_path / "expected", labels=a, workers=1)
    expected = tree(tmp_path / "expected")
    if is_copied:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(os, "link", refuse)
    out = tmp_path / "out"
    old: dict[str, bytes] = {}
    for step in range(200):
        shutil.rmtree(out, ignore_errors=True)
        if force:
            subset(a, np.array([True, False, True]), out)
            old = tree(out)
        if not fork_and_die(lambda: merge([a, b], out, labels=a, workers=1, force=force), step):
            break
        if (out / "pack.json").is_file():
            there = {name: data for name, data in tree(out).items() if not name.startswith(".")}
            assert segdata.verify(out, deep=True).is_good
            assert (out / "pack.json").read_bytes() in (expected["pack.json"], old.get("pack.json"))
            assert force or there == expected
        merge([a, b], out, labels=a, workers=1, force=force)
        assert tree(out) == expected
        assert (tree(a), tree(b)) == before
    else:
        raise AssertionError("it never ended")
    assert step > 15


def test_a_link_that_a_killed_run_left_is_never_written_to(parents: tuple[Path, Path], tmp_path: Path) -> None:
    """Neither by the next run nor by a conversion to the same place."""
    a, b = parents
    before = tree(a), tree(b)
    for step in range(200):
        out = tmp_path / f"out-{step}"
        if not fork_and_die(lambda out=out: merge([a, b], out, labels=a, workers=1), step):  # type: ignore[misc]
            break
        segdata.convert(tmp_path / "two", out, force=True)
        assert (tree(a), tree(b)) == before
        assert segdata.verify(out, deep=True).is_good


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (apt-get install strace)")
@pytest.mark.parametrize("call", ["link", "linkat", "rename", "fsync", "write", "unlink", "mkdir", "ftruncate"])
def test_the_command_killed_at_every_call(call: str, parents: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = parents
    merge([a, b], tmp_path / "expected", labels=a)
    expected, out = tree(tmp_path / "expected"), tmp_path / "out"
    words = ["merge", str(a), str(b), "-o", str(out), "--labels", str(a), "-q", "--workers", "1"]
    command = [sys.executable, "-m", "segdata", *words]
    count = steps(command, call, tmp_path / "log")
    shutil.rmtree(out)
    for step in range(1, count + 1):
        strace(command, "-e", f"inject={call}:signal=KILL:when={step}")
        if (out / "pack.json").exists():
            assert segdata.verify(out, deep=True).is_good
        subprocess.run(command, check=True, capture_output=True)
        assert tree(out) == expected
        shutil.rmtree(out)
