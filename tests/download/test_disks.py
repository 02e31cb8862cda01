"""Disks that refuse, locks that do not work, verify beside a fetch: the real command, and that it goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import run_segdata
from tests.helpers.dataset import Dataset, archive, mounted, until
from tests.helpers.server import file, hanging

LARGE = 9 << 20

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (apt-get install strace)")


def command(dataset: Dataset, *options: object, verb: str = "fetch", root: Path | None = None) -> list[str]:
    words = [sys.executable, "-m", "segdata", verb, dataset.manifest, "--root", root or dataset.home.parent, *options]
    return [str(word) for word in words]


def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, **options)


def strace(fault: str, *options: str) -> list[str]:
    return ["strace", "-f", "-qq", "-o", "/dev/null", *options, "-e", f"inject={fault}"]


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small disk, mounted with the options that the test names."""
    with mounted(tmp_path / "disk", request.param) as folder:
        yield folder


@needs_strace
def test_a_quota_counts_as_the_space_that_is_left(dataset: Dataset) -> None:
    """The kernel's answer is given by strace: 5 MiB are allowed (in KiB), 4 MiB are used (in bytes)."""
    dataset.offer(archive(LARGE))
    answer = struct.pack("<9Q", 5120, 0, 4 << 20, 0, 0, 0, 0, 0, 1).hex()
    done = run([*strace(f"quotactl_fd:retval=0:poke_exit=@arg4={answer}"), *command(dataset)])
    if "invalid inject" in done.stderr:
        pytest.skip("this strace cannot change what a call gives")
    assert done.returncode == 7 and f"{1 << 20:,} are free" in done.stderr, done.stderr
    assert not dataset.server.requests
    assert dataset.fetch().code == 0


@pytest.mark.parametrize("disk", ["size=6m"], indirect=True)
def test_a_disk_that_fills_up_keeps_the_part_and_says_what_is_missing(disk: Path, dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data)
    words = command(dataset, "--ignore-space", root=disk)
    done = run(words)
    part = disk / "mine/archives/.a.zip.part"
    size = part.stat().st_size
    assert done.returncode == 7 and "the disk is full" in done.stderr, done.stderr
    assert size > 5 << 20 and f"{len(data) - size:,} of its {len(data):,} bytes are still to come" in done.stderr
    assert f"kept in {part}; delete it to have its {size:,} bytes back" in done.stderr
    assert [path.name for path in (disk / "mine/archives").glob("[!.]*")] == []
    dataset.server.requests.clear()
    subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
    assert run(words).returncode == 0 and (disk / "mine/raw/photos/0.bin").stat().st_size == LARGE
    assert (4 << 20) <= int(dataset.server.requests[0].headers["range"][6:-1]) <= size


@needs_strace
@pytest.mark.parametrize(
    ("fault", "text", "is_kept"),
    [
        ("write:error=EDQUOT:when=3", "quota is used up", True),
        ("write:error=EIO:when=3", "may be failing", False),  # what the disk lost is not trusted later
    ],
)
def test_what_the_disk_refuses_half_way(fault: str, text: str, is_kept: bool, dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data)
    part = dataset.home / "archives/.a.zip.part"
    done = run([*strace(fault, "-P", str(part)), *command(dataset)])
    assert done.returncode == 7 and text in done.stderr, done.stderr
    assert not (dataset.home / "archives/a.zip").exists() and not list((dataset.home / "receipts").glob("*.json"))
    assert part.exists() is is_kept and (f"kept in {part}" in done.stderr) is is_kept
    dataset.server.requests.clear()
    assert dataset.fetch().code == 0 and dataset.is_whole(0, LARGE)
    assert ("range" in dataset.server.requests[0].headers) is is_kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")
def test_a_folder_of_another_user_is_named_before_any_download(dataset: Dataset) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed (util-linux)")
    dataset.offer(archive())
    dataset.home.parent.mkdir(mode=0o755)
    for folder in (dataset.folder, *dataset.folder.parents):  # down to the manifest, as far as it is the test's
        if folder.stat().st_mode & 0o005 != 0o005 and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if run([*nobody, *command(dataset, "--dry-run")]).returncode:
        pytest.skip("another user cannot run this installation")
    done = run([*nobody, *command(dataset)])
    assert done.returncode == 7 and "permission denied" in done.stderr, done.stderr
    assert f"{dataset.home.parent} belongs to user 0 (mode 0755); this command runs as user 65534" in done.stderr
    assert not dataset.server.requests and not list(dataset.home.parent.iterdir())
    os.chown(dataset.home.parent, 65534, 65534)
    assert run([*nobody, *command(dataset)]).returncode == 0 and dataset.is_whole()


@pytest.mark.parametrize("disk", ["size=20m"], indirect=True)
def test_a_read_only_place(disk: Path, dataset: Dataset) -> None:
    dataset.offer(archive())
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = run(command(dataset, root=disk))
    assert done.returncode == 7 and "read-only" in done.stderr and str(disk) in done.stderr, done.stderr
    assert not dataset.server.requests
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert run(command(dataset, root=disk)).returncode == 0


@pytest.mark.parametrize("disk", ["size=20m,nr_inodes=13"], indirect=True)
def test_a_disk_without_inodes_is_not_called_full(disk: Path, dataset: Dataset) -> None:
    dataset.offer(archive())
    for number in range(7):
        (disk / f"{number}").touch()
    done = run(command(dataset, root=disk))
    assert done.returncode == 7 and "no inodes left" in done.stderr and "disk is full" not in done.stderr, done.stderr
    for number in range(7):
        (disk / f"{number}").unlink()
    assert run(command(dataset, root=disk)).returncode == 0


def test_few_files_are_open_at_once_and_too_many_are_named(dataset: Dataset) -> None:
    for number in range(12):
        dataset.offer(archive(seed=number), name=f"{number}.zip", part=f"part{number}")

    def limited(most: int) -> subprocess.CompletedProcess[str]:
        words = command(dataset, "--jobs", "12", "--retries", "1")
        return run(words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))

    done = limited(9)
    assert done.returncode == 7 and "too many open files" in done.stderr, done.stderr
    done = limited(64)
    assert done.returncode == 0 and all(dataset.is_whole(number) for number in range(12)), done.stderr


def test_dates_decide_nothing(dataset: Dataset) -> None:
    dataset.offer(archive())
    assert dataset.fetch("--keep-archives").code == 0
    for path in [*dataset.home.rglob("*"), dataset.manifest]:
        os.utime(path, (1 << 32, 1 << 32))
    dataset.server.requests.clear()
    assert dataset.fetch("--keep-archives").code == 0 and not dataset.server.requests
    assert run_segdata("verify", dataset.manifest, "--root", dataset.home.parent).code == 0


@needs_strace
def test_a_network_without_a_way_out(dataset: Dataset) -> None:
    dataset.offer(archive())
    done = run([*strace("connect:error=EHOSTUNREACH"), *command(dataset, "--retries", "2", "--retry-wait", "0.01")])
    assert done.returncode == 5 and "127.0.0.1 cannot be reached (No route to host)" in done.stderr, done.stderr
    assert "attempt 2 of 2" in done.stderr and dataset.files() == set()
    assert dataset.fetch().code == 0 and dataset.is_whole()


@needs_strace
def test_without_working_locks_it_says_so(dataset: Dataset) -> None:
    dataset.offer(archive())
    words = [*strace("flock:error=ENOLCK"), *command(dataset, verb="prepare")]
    done = run(words)
    assert done.returncode == 7 and "no working locks" in done.stderr and "--no-lock" in done.stderr
    done = run([*words, "--no-lock"])
    assert done.returncode == 4 and "COCO" in done.stderr and dataset.is_whole(), done.stderr  # it holds no dataset


def test_without_kernel_locks_a_second_process_is_still_refused(dataset: Dataset) -> None:
    data = archive(LARGE)

    dataset.offer(data, hanging(data, 5_000_000))
    first = subprocess.Popen(command(dataset, "--no-lock"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until((dataset.home / "archives/.a.zip.part").exists)
    lock = dataset.home / ".raw.lock"
    second = dataset.fetch("--no-lock")
    assert second.code == 9 and f"pid {first.pid} on " in second.err and f"delete {lock}" in second.err
    first.send_signal(signal.SIGKILL)
    first.communicate()
    # The file of a killed process on this machine does not count; one of another machine does, until it is removed.
    ours = lock.read_text()
    lock.write_text(ours.replace(" on ", " on elsewhere."))
    assert dataset.fetch("--no-lock").code == 9
    lock.write_text(ours)
    dataset.server.routes["/a.zip"] = file(data)
    assert dataset.fetch("--no-lock").code == 0 and dataset.is_whole(0, LARGE)
    assert sorted(path.name for path in dataset.home.iterdir()) == ["archives", "raw", "receipts"]


def test_verify_beside_a_fetch_reads_what_is_committed(dataset: Dataset) -> None:
    data = archive(LARGE, seed=1)

    def verify(*options: str) -> Any:
        return run_segdata("verify", dataset.manifest, "--root", dataset.home.parent, "--json", *options)

    dataset.offer(archive(), part="a")
    dataset.offer(data, hanging(data, 5_000_000), name="b.zip", part="b")
    first = subprocess.Popen(command(dataset, "--jobs", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 30
    while (
        not (dataset.home / "archives/.b.zip.part").exists()
        or not (dataset.home / "receipts/a.zip.members.json").exists()
    ):
        assert time.monotonic() < end
        time.sleep(0.02)
    verified = verify("--deep")
    assert verified.code == 0 and verified.document["files"] == 1 and verified.document["extra"] == []
    first.kill()
    first.communicate()
    dataset.server.routes["/b.zip"] = file(data)
    assert dataset.fetch().code == 0
    # Another process puts files in place, and has not said so yet: they are neither damage nor from nowhere.
    receipts = dataset.home / "receipts"
    (receipts / "b.zip.members.json").rename(receipts / ".b.zip.members.json.staged")
    verified = verify()
    assert verified.code == 0 and verified.document["extra"] == [], verified.err
    # It has not moved everything yet.
    (dataset.home / ".staging-b.zip/photos").mkdir(parents=True)
    (dataset.home / "raw/photos/1.bin").rename(dataset.home / ".staging-b.zip/photos/1.bin")
    assert verify().code == 0
    assert dataset.fetch().code == 0 and verify().code == 0 and dataset.is_whole(1, LARGE)


def test_a_second_signal_ends_it_at_once(dataset: Dataset) -> None:
    data = archive(LARGE)

    dataset.offer(data, hanging(data, 5_000_000))
    first = subprocess.Popen(command(dataset, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = dataset.home / "archives/.a.zip.part"
    until(lambda: part.exists() and part.stat().st_size == 5_000_000)
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # both signals wait when it goes on
        first.send_signal(number)
    out, _ = first.communicate(timeout=20)
    assert first.returncode == 143 and out == "", out  # no time for a last word
    assert not (dataset.home / "archives/a.zip").exists()
    dataset.server.routes["/a.zip"] = file(data)
    assert dataset.fetch().code == 0 and dataset.is_whole(0, LARGE)


def test_a_reader_that_goes_away_is_no_error(dataset: Dataset) -> None:
    dataset.offer(archive())
    for words in (
        ["list", "--json"],
        ["fetch", str(dataset.manifest), "--dry-run", "--root", str(dataset.home.parent)],
    ):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "segdata", *words], stdout=writer, stderr=subprocess.PIPE, check=False
        )
        os.close(writer)
        assert done.returncode in (0, 141) and done.stderr == b"", done


def test_errors_of_prepare_tell_to_type_prepare_again(dataset: Dataset) -> None:
    dataset.manifest.write_text(
        dataset.manifest.read_text() + '[terms]\nid = "mine"\nurl = "https://h.example"\ntext = "Be kind."\n'
    )
    dataset.offer(archive(), digest="unknown")
    words = command(dataset, "--json", "--images", "reference", verb="prepare")[3:]
    done = run_segdata(*words)
    assert done.code == 6
    fix = json.loads(done.out)["error"]["fix"].partition("segdata ")[2]
    assert fix == " ".join([*words, "--accept-license", "mine"])
    assert "--accept-unverified" in run_segdata(*fix.split()).document["error"]["fix"]


def test_what_nobody_knows_the_size_of_is_not_counted_as_nothing(dataset: Dataset) -> None:
    dataset.offer(archive(), bytes="unknown")
    done = dataset.fetch("--dry-run")
    assert "0 B and 1 file of unknown size" in done.out
    verified = run_segdata("verify", dataset.manifest, "--root", dataset.home.parent)
    assert verified.code == 10 and f"segdata fetch {dataset.manifest} --root {dataset.home.parent}" in verified.err
