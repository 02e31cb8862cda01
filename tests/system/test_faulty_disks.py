"""What lies on the disk is not as expected: closed, of another user, a pipe, a loop. Every command says what and where."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import segdata
from segdata.errors import DiskError, NotThere
from segdata.system.files import disk_errors
from segdata.system.reading import open_file, read_file, read_text
from tests.helpers.command import Outcome, run_segdata
from tests.helpers.warm import UNPRIVILEGED

EXIT_CODES = {4, 7, 8, 10}
"""Not valid, disk, damaged, not there: what one may say of a file that cannot be read."""


def run(*words: object) -> Outcome:
    return run_segdata(*words, timeout=20, **{UNPRIVILEGED: "1"})  # type: ignore[arg-type]


def _closed(path: Path) -> None:
    path.chmod(0)


def _pipe(path: Path) -> None:
    _removed(path)
    os.mkfifo(path)


def _loop(path: Path) -> None:
    _removed(path)
    path.symlink_to(path.name)


def _device(path: Path) -> None:
    _removed(path)
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    _removed(path)
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket has at most 107 bytes
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def _other_kind(path: Path) -> None:
    if path.is_dir():
        _removed(path)
        path.write_text("a file")
    else:
        _removed(path)
        path.mkdir()


def _removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


FAULTS: dict[str, Callable[[Path], None]] = {
    "closed": _closed,
    "pipe": _pipe,
    "loop": _loop,
    "device": _device,
    "socket": _socket,
    "other kind": _other_kind,
}


@pytest.fixture(scope="module")
def coco(drawing: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, `raw`, and a pack of it, `pack`; nobody writes into it."""
    root = tmp_path_factory.mktemp("disks")
    others = shutil.ignore_patterns("person_keypoints_*", "captions_*")  # which say the same, and more
    shutil.copytree(drawing("coco"), root / "raw", ignore=others)
    segdata.convert(root / "raw", root / "pack", workers=1)
    (root / "closed").touch()
    (root / "closed").chmod(0)
    if run("info", root / "closed", "--from", "coco-results").code == 0:
        pytest.skip("the commands cannot be kept from reading closed files here")
    return root


@pytest.fixture
def world(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder, which is the working folder."""
    shutil.copytree(coco, tmp_path / "world", ignore=shutil.ignore_patterns("closed"))
    monkeypatch.chdir(tmp_path / "world")
    yield tmp_path / "world"
    for path in (tmp_path / "world").rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)


def check(outcome: Outcome, what: str) -> None:
    is_usage = outcome.code == 2 and ", and a folder has this name" in outcome.err
    assert outcome.code in EXIT_CODES or is_usage or (outcome.code == 0 and "not read" in outcome.err), (what, outcome)
    assert "error[Bug]" not in outcome.err, (what, outcome)
    if outcome.code == 7:
        assert "  file:" in outcome.err, (what, outcome)
        assert "  fix:" in outcome.err, (what, outcome)


READERS = {
    "convert": ["convert", "SOURCE", "out", "--workers", "1"],
    "workers": ["convert", "SOURCE", "out", "--workers", "2", "--shard-samples", "2"],
    "info": ["info", "SOURCE"],
    "verify": ["verify", "SOURCE", "--deep"],
    "stats": ["stats", "SOURCE"],
    "evaluate": ["evaluate", "SOURCE", "raw"],
}


def parts_of(source: str) -> list[Path]:
    """The source itself, and one file or folder of each kind in it; the index's copy is read only when it is needed."""
    if source == "pack":
        return [Path(source), *sorted(path for path in Path(source).iterdir() if path.name != "pack-copy.json")]
    documents = Path(source, "annotations")
    instances = next(iter(sorted(documents.glob("instances_train*.json"))))
    return [Path(source), documents, instances]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("source", ["raw", "pack"])
def test_what_cannot_be_read_is_named(world: Path, source: str, fault: str) -> None:
    parts = parts_of(source)
    for number, part in enumerate(parts):
        verb = list(READERS)[(number + list(FAULTS).index(fault)) % len(READERS)]
        if source == "raw" and verb == "evaluate":
            continue
        aside = world.parent / "aside"
        (shutil.copytree if part.is_dir() else shutil.copy)(part, aside)
        FAULTS[fault](part)
        check(run(*[source if word == "SOURCE" else word for word in READERS[verb]]), f"{verb}, {part}")
        part.chmod(0o700) if not part.is_symlink() else None
        _removed(part) if not part.is_symlink() else part.unlink()
        shutil.move(aside, part)


WRITERS = {
    "a pack": (["convert", "raw", "up/out", "--workers", "1"], "up/out"),
    "a folder": (["convert", "pack", "up/out", "--to", "masks", "--allow-loss", "--workers", "1"], "up/out"),
    "a picture": (["show", "pack", "-o", "up/one.png"], "up/one.png"),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_target_that_cannot_be_is_refused(world: Path, what: str) -> None:
    words, target = WRITERS[what]
    for fault in FAULTS:
        for path in (Path(target).parent, Path(target)):
            path.parent.mkdir(exist_ok=True)
            if what == "a picture" and path == Path(target):
                path.touch()
            else:
                path.mkdir()
            FAULTS[fault](path)
            before = path.lstat().st_mode
            outcome = run(*words)
            if not (what == "a picture" and path == Path(target) and fault == "closed"):  # it is replaced
                check(outcome, f"{what}, {fault}, {path}")
                assert path.lstat().st_mode == before
            path.chmod(0o700) if not path.is_symlink() else None
            shutil.rmtree("up") if not Path("up").is_symlink() and Path("up").is_dir() else Path("up").unlink()


def test_a_file_of_another_user_is_named_with_its_owner(world: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the superuser can give files away")
    index = Path("pack/pack.json")
    index.chmod(0o600)
    os.chown(index, 12345, 12345)
    outcome = run("info", "pack")
    assert outcome.code == 7
    assert "belongs to user 12345 (mode 0600)" in outcome.err


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DiskError, match="stands where a file is expected"):
            read_file(path)
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    (tmp_path / "file").write_bytes(b"bytes")
    assert read_file(tmp_path / "file") == b"bytes"


@pytest.mark.parametrize("how", ["whole", "text", "opened", "in parts"])
def test_an_error_of_a_read_names_the_file(how: str) -> None:
    """The memory of a process is a file whose first bytes cannot be read."""
    path = "/proc/self/mem"
    reads: dict[str, Callable[[], object]] = {
        "whole": lambda: read_file(path),
        "text": lambda: read_text(path),
        "opened": lambda: file.read(),
        "in parts": lambda: file.read(10),
    }
    with pytest.raises(OSError, match="Input/output error") as error, open_file(path) as file:
        reads[how]()
    assert (error.value.filename, error.value.errno) == (path, errno.EIO)


def test_errors_that_are_not_of_a_disk_stay_as_they_are() -> None:
    with pytest.raises(ConnectionResetError), disk_errors():
        raise ConnectionResetError(104, "reset")
    with pytest.raises(OSError, match="unknown host") as error, disk_errors():
        raise OSError(-2, "unknown host")
    assert not isinstance(error.value, DiskError)
    with pytest.raises(NotThere, match="there does not exist"), disk_errors():
        open("there")  # noqa: SIM115, PTH123


@pytest.mark.parametrize("verb", [["list"], ["list", "--json"], ["config", "maskrcnn"], ["--help"], ["--version"]])
def test_a_result_that_cannot_be_written_is_no_success(verb: list[str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "segdata", *verb], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 7, done
    assert "could not be written to the output" in done.stderr


@pytest.mark.parametrize("stream", ["2>/dev/full", "2</dev/null", ">/dev/full 2>/dev/full"])
def test_the_exit_code_tells_what_happened_when_nothing_can_be_written(stream: str, tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m segdata info {tmp_path / 'nothing'} {stream}"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 10


def test_closed_streams_are_nothing_to_read_or_write(coco: Path) -> None:
    command = f"exec {sys.executable} -m segdata info {coco / 'pack'} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
