"""segdata fetch as a whole: plans, parts, archives of one's own, disks, kills and two at once."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from segdata.catalog import manifest
from segdata.download.paths import folders
from tests.helpers.command import run_segdata, tree
from tests.helpers.dataset import Dataset, archive, sha256, until
from tests.helpers.server import Exchange, file, hanging

A = "/a.zip"
LARGE = 9 << 20


def begun(dataset: Dataset, *options: object, **environment: str) -> subprocess.Popen[str]:
    """The real command, running."""
    command = [sys.executable, "-m", "segdata", "fetch", dataset.manifest, "--root", dataset.home.parent, *options]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(dataset.folder), **dataset.quiet, **environment},
    )


def part_size(dataset: Dataset) -> int:
    path = dataset.home / "archives/.a.zip.part"
    return path.stat().st_size if path.exists() else 0


# Plans.


@pytest.mark.parametrize("how", ["environment", "option"])
def test_a_tilde_in_the_root_is_the_home_folder(how: str, tmp_path: Path) -> None:
    """A shell leaves it as it is in quotes, in an environment file and in a Dockerfile."""
    home: dict[str, Any] = {
        "HOME": str(tmp_path / "home"),
        **({"SEGDATA_ROOT": "~/data"} if how == "environment" else {}),
    }
    option = ["--root", "~/data"] if how == "option" else []
    listed = run_segdata("list", "--json", *option, **home)
    assert json.loads(listed.out)["root"] == str(tmp_path / "home/data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path / "home"))
        patch.setenv("SEGDATA_ROOT", "~/data")
        root = None if how == "environment" else "~/data"
        assert folders("camvid", root).home == tmp_path / "home/data/camvid"
        assert folders("camvid", "~no_such_user/data").home == Path("~no_such_user/data/camvid")


@pytest.mark.parametrize("name", [*manifest.names(), "coco", "voc"])
def test_every_dataset_has_a_plan_without_network(name: str, tmp_path: Path) -> None:
    dead: dict[str, Any] = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": ""}
    root = tmp_path / "root"
    done = run_segdata("fetch", name, "--dry-run", "--root", root, **dead)
    assert done.code == 0 and done.err == "", done.err
    shipped = manifest.shipped(name)
    assert not root.exists()
    default = [remote for remote in shipped.remotes if not remote.is_optional]
    for text in (shipped.title, shipped.licence, "free", *(remote.file for remote in default)):
        assert text in done.out
    assert shipped.terms is not None and f"--accept-license {shipped.terms.id}" in done.out
    if not all(remote.is_verifiable for remote in default):
        assert "--accept-unverified" in done.out and "unknown" in done.out
    if shipped.signin:
        assert "segdata login cityscapes" in done.out


def test_a_plan_as_json_adds_up(tmp_path: Path) -> None:
    plan = run_segdata("fetch", "coco", "--dry-run", "--json", "--root", tmp_path).document
    assert plan["download"] == 252_907_541 + 815_585_330 + 19_336_861_798
    assert [row["part"] for row in plan["files"]] == ["annotations", "val2017", "train2017"]
    one = run_segdata("fetch", "coco", "--only", "annotations", "--dry-run", "--json", "--root", tmp_path).document
    assert one["download"] == 252_907_541
    assert plan["free"] == pytest.approx(shutil.disk_usage(tmp_path).free, abs=1 << 32)


def test_parts_are_chosen_by_name(dataset: Dataset) -> None:
    for number, part in enumerate(("one", "two", "three")):
        more: dict[str, Any] = {"optional": True} if part == "three" else {}
        dataset.offer(archive(seed=number), name=f"{part}.zip", part=part, **more)
    assert dataset.fetch("--only", "two,three").code == 0
    assert [dataset.is_whole(seed) for seed in range(3)] == [False, True, True]
    assert dataset.fetch().code == 0 and dataset.is_whole(0)
    done = dataset.fetch("--only", "thre")
    assert done.code == 2 and "did you mean three" in done.err
    assert run_segdata("fetch", "camvit").code == 10
    assert run_segdata("fetch", "./none.toml").code == 10


def test_a_file_that_is_no_archive_lies_where_the_manifest_says(dataset: Dataset) -> None:
    dataset.offer(b"1 2 3\n", name="colors.txt", into="lists/all")
    assert dataset.fetch().code == 0
    assert (dataset.home / "raw/lists/all/colors.txt").read_bytes() == b"1 2 3\n"


def test_each_error_gives_a_command_that_leads_on(dataset: Dataset) -> None:
    """Terms and a missing digest: what each letter says to type is enough to get to the end."""
    text = dataset.manifest.read_text() + '[terms]\nid = "mine"\nurl = "https://h.example"\ntext = "Be kind."\n'
    dataset.manifest.write_text(text)
    dataset.offer(archive(), bytes="unknown", digest="unknown")
    first = dataset.fetch("--json")
    assert first.code == 6
    second = run_segdata(*first.document["error"]["fix"].partition("segdata ")[2].split(), "--json")
    assert second.code == 8
    third = run_segdata(*second.document["error"]["fix"].partition("segdata ")[2].split())
    assert third.code == 3 and dataset.is_whole(), third.err


def test_archives_are_kept_on_request(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    assert dataset.fetch("--keep-archives").code == 0
    assert (dataset.home / "archives/a.zip").read_bytes() == data
    shutil.rmtree(dataset.home / "raw")
    assert dataset.fetch().code == 0 and dataset.is_whole() and len(dataset.server.requests) == 1


@pytest.mark.parametrize("keep", [False, True])
def test_an_archive_that_a_killed_run_was_about_to_remove_is_removed(keep: bool, dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    assert dataset.fetch().code == 0
    assert list((dataset.home / "archives").iterdir()) == []
    (dataset.home / "archives/a.zip").write_bytes(data)
    (dataset.home / "archives/.a.zip.spent").touch()
    assert dataset.fetch("--offline", *(["--keep-archives"] if keep else [])).code == 0
    assert [path.name for path in (dataset.home / "archives").iterdir()] == (["a.zip"] if keep else [])


@pytest.mark.parametrize("keep", [False, True])
def test_a_file_that_is_no_archive_is_copied_only_when_both_are_kept(keep: bool, dataset: Dataset) -> None:
    data = bytes(range(256)) * 1000
    dataset.offer(data, name="table.bin")
    assert dataset.fetch(*(["--keep-archives"] if keep else [])).code == 0
    placed = dataset.home / "raw/table.bin"
    assert placed.read_bytes() == data and placed.stat().st_nlink == 1
    assert dataset.files() == {"raw/table.bin", *(["archives/table.bin"] if keep else [])}
    members = json.loads((dataset.home / "receipts/table.bin.members.json").read_text())
    assert members["files"] == [["table.bin", len(data), sha256(data).removeprefix("sha256:")]]


def restarted(dataset: Dataset, file: str) -> None:
    """Write into the receipt of a download that the machine ran another time then, and nobody waited for the disk."""
    path = dataset.home / f"receipts/{file}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "unsynced": "0c44b9c7-0000-4000-8000-000000000000"}))


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_large_file_is_read_again_after_a_restart_of_the_machine(is_kept: bool, dataset: Dataset) -> None:
    data = bytes(range(256)) * (260 << 10)  # 65 MiB
    dataset.offer(data, name="table.bin")
    assert dataset.fetch(*(["--keep-archives"] if is_kept else [])).code == 0
    path = dataset.home / "receipts/table.bin.json"
    assert json.loads(path.read_text())["unsynced"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    restarted(dataset, "table.bin")
    placed = dataset.home / ("archives" if is_kept else "raw") / "table.bin"
    if is_kept:
        (dataset.home / "raw/table.bin").unlink()
    dataset.server.requests.clear()
    assert dataset.fetch("--offline").code == 0 and (dataset.home / "raw/table.bin").read_bytes() == data
    assert json.loads(path.read_text())["unsynced"] is None
    # The restart has lost the end of the file.
    restarted(dataset, "table.bin")
    if is_kept:
        (dataset.home / "raw/table.bin").unlink()
        placed.write_bytes(data)
    with placed.open("r+b") as target:
        target.seek(len(data) - 4096)
        target.write(bytes(4096))
    done = dataset.fetch()
    assert done.code == 8 and "not what the manifest names" in done.err and "downloads it again" in done.err
    assert not placed.exists() and not dataset.server.requests
    assert dataset.fetch().code == 0 and (dataset.home / "raw/table.bin").read_bytes() == data


# Files that are there already.


def test_one_s_own_archives_are_verified_and_linked(dataset: Dataset) -> None:
    data, folder = archive(), dataset.folder / "own"
    folder.mkdir()
    (folder / "a.zip").write_bytes(data)
    dataset.offer(data)
    done = dataset.fetch("--from-dir", folder, "--offline", "--keep-archives")
    assert done.code == 0 and dataset.is_whole() and not dataset.server.requests
    assert (folder / "a.zip").read_bytes() == data
    assert (folder / "a.zip").stat().st_ino == (dataset.home / "archives/a.zip").stat().st_ino
    # A repair leaves the user's own file alone.
    with (folder / "a.zip").open("r+b") as target:
        target.write(b"rot")
    rotten = (folder / "a.zip").read_bytes()
    assert dataset.fetch("--repair", "--keep-archives").code == 0
    assert (folder / "a.zip").read_bytes() == rotten and (dataset.home / "archives/a.zip").read_bytes() == data


def test_a_wrong_archive_of_one_s_own_is_refused_and_left_alone(dataset: Dataset) -> None:
    folder = dataset.folder / "own"
    folder.mkdir()
    (folder / "a.zip").write_bytes(archive(seed=4))
    dataset.offer(archive())
    done = dataset.fetch("--from-dir", folder)
    assert done.code == 8 and "not what the manifest names" in done.err and str(folder / "a.zip") in done.err
    assert (folder / "a.zip").read_bytes() == archive(seed=4) and not dataset.server.requests
    assert dataset.fetch().code == 0 and dataset.is_whole()


def test_what_is_missing_in_the_folder_is_downloaded(dataset: Dataset) -> None:
    folder = dataset.folder / "own"
    folder.mkdir()
    (folder / "a.zip").write_bytes(archive())
    dataset.offer(archive(), part="a")
    dataset.offer(archive(seed=1), name="b.zip", part="b")
    assert dataset.fetch("--from-dir", folder, "--offline").code == 5
    assert dataset.fetch("--from-dir", folder).code == 0
    assert dataset.is_whole(0) and dataset.is_whole(1) and [r.path for r in dataset.server.requests] == ["/b.zip"]


def test_a_mirror_is_tried_first(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    dataset.server.routes["/copies/"] = file(data)
    assert dataset.fetch("--mirror", f"{dataset.server.url}/copies/").code == 0
    assert [request.path for request in dataset.server.requests] == ["/copies/a.zip"]


# Disks.


def test_too_little_space_is_said_before_the_start(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, bytes=1 << 50)
    done = dataset.fetch()
    assert done.code == 7 and not dataset.server.requests
    for text in (f"{1 << 50:,} bytes to download", "to extract", "are free", "--ignore-space"):
        assert text in done.err
    assert dataset.fetch("--ignore-space").code == 8  # the server has another size


def test_the_estimate_leaves_out_what_is_there(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    dataset.server.routes[A] = hanging(data, 1000)
    assert dataset.fetch("--timeout", "0.3", "--retries", "1").code == 5
    assert dataset.fetch("--dry-run", "--json").document["download"] == len(data) - 1000
    assert dataset.fetch().code == 0
    assert dataset.fetch("--dry-run", "--json").document["download"] == 0


def small_files_only() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))


def test_a_full_disk_keeps_what_is_finished(dataset: Dataset) -> None:
    """A limit of the file size stands in for a full disk: the same error at the same dataset."""
    data = archive(LARGE)
    dataset.offer(archive(seed=1), name="small.zip", part="small")
    dataset.offer(data)
    command = [sys.executable, "-m", "segdata", "fetch", dataset.manifest, "--root", dataset.home.parent, "--jobs", "1"]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_files_only,
    )
    assert done.returncode == 7 and "error[DiskError]" in done.stderr, done.stderr
    assert dataset.is_whole(1) and not (dataset.home / "archives/a.zip").exists()
    dataset.server.requests.clear()
    assert dataset.fetch().code == 0 and dataset.is_whole(0, LARGE)
    (request,) = dataset.server.requests
    assert request.path == A and (4 << 20) <= int(request.headers["range"][6:-1]) <= (5 << 20)


def test_a_place_that_cannot_be_written_is_found_before_any_download(dataset: Dataset) -> None:
    dataset.offer(archive())
    dataset.home.parent.mkdir()
    dataset.home.write_text("a file")
    done = dataset.fetch()
    assert done.code == 7 and str(dataset.home) in done.err and not dataset.server.requests
    dataset.home.unlink()
    assert dataset.fetch().code == 0


def test_a_folder_that_is_deleted_meanwhile_ends_it(dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data)
    run = begun(dataset, "--limit-rate", "2M")
    until(lambda: part_size(dataset) > 1 << 20)
    shutil.rmtree(dataset.home)
    error = run.communicate(timeout=30)[1]
    assert run.returncode == 7 and "deleted or unmounted" in error
    assert not [path for path in dataset.home.rglob("*") if path.is_file()]
    assert dataset.fetch().code == 0


def test_links_below_the_root_are_not_followed(dataset: Dataset) -> None:
    dataset.offer(archive())
    elsewhere = dataset.folder / "elsewhere"
    (elsewhere / "real").mkdir(parents=True)
    dataset.home.parent.symlink_to(elsewhere / "real")
    dataset.home.mkdir()
    (dataset.home / "archives").symlink_to(elsewhere)
    done = dataset.fetch()
    assert done.code == 11 and "is a link" in done.err and not dataset.server.requests
    (dataset.home / "archives").unlink()
    assert dataset.fetch().code == 0 and (elsewhere / "real/mine/raw/photos").is_dir()


# Kills and two at once.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_what_arrived(number: signal.Signals, dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data, hanging(data, 5_000_000))
    run = begun(dataset, "--json")
    until(lambda: part_size(dataset) == 5_000_000)
    run.send_signal(number)
    out, error = run.communicate(timeout=20)  # the server would be silent for longer
    assert run.returncode == 128 + number
    assert "the same command goes on" in error and json.loads(out)["error"]["exit"] == 128 + number
    dataset.server.requests.clear()
    assert dataset.fetch().code == 0 and dataset.is_whole(0, LARGE)
    assert dataset.server.requests[0].headers["range"] == "bytes=5000000-"


def test_a_killed_download_goes_on_from_its_last_whole_chunk(dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data, hanging(data, 5_000_000))
    run = begun(dataset)
    until(lambda: part_size(dataset) == 5_000_000)
    time.sleep(0.2)
    run.kill()
    run.communicate(timeout=20)
    assert not (dataset.home / "archives/a.zip").exists() and not list((dataset.home / "receipts").glob("*.json"))
    part = dataset.home / "archives/.a.zip.part"
    dataset.server.requests.clear()
    assert dataset.fetch().code == 0 and dataset.is_whole(0, LARGE) and not part.exists()
    assert dataset.server.requests[0].headers["range"] == f"bytes={4 << 20}-"


def test_a_part_that_rotted_is_cut_back_to_what_its_checksums_vouch_for(dataset: Dataset) -> None:
    data = archive(3 * (4 << 20))
    dataset.offer(data, hanging(data, 9_000_000))
    assert dataset.fetch("--timeout", "0.5", "--retries", "1").code == 5
    with (dataset.home / "archives/.a.zip.part").open("r+b") as target:
        target.seek(5 << 20)
        target.write(b"\0" * 4096)
    dataset.server.requests.clear()
    assert dataset.fetch().code == 0
    assert dataset.server.requests[0].headers["range"] == f"bytes={4 << 20}-"


def test_a_kill_between_the_file_and_its_receipt_costs_no_second_download(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    (dataset.home / "archives").mkdir(parents=True)
    (dataset.home / "archives/a.zip").write_bytes(data)
    assert dataset.fetch().code == 0 and dataset.is_whole() and not dataset.server.requests


def test_two_at_once_fetch_each_byte_once(dataset: Dataset) -> None:
    data, go_on = archive(LARGE), threading.Event()

    def halfway(x: Exchange) -> None:
        x.head(200, content_length=len(data), etag='"one"')
        x.send(data[:5_000_000])
        go_on.wait(60)
        x.send(data[5_000_000:])

    dataset.offer(data, halfway)
    first = begun(dataset)
    until(lambda: part_size(dataset) > 0)
    second = dataset.fetch()
    assert second.code == 9 and f"pid {first.pid}" in second.err and "--wait" in second.err
    third = begun(dataset, "--wait", "50")
    time.sleep(0.5)
    go_on.set()
    assert first.wait(40) == 0 and third.wait(40) == 0
    first.communicate()
    third.communicate()
    assert len(dataset.server.of(A)) == 1 and dataset.is_whole(0, LARGE)


def test_when_the_holder_is_killed_the_waiter_goes_on(dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data, hanging(data, 5_000_000))
    first = begun(dataset)
    until(lambda: part_size(dataset) == 5_000_000)
    second = begun(dataset, "--wait", "30")
    time.sleep(1)
    first.kill()
    first.communicate()
    assert second.wait(30) == 0 and dataset.is_whole(0, LARGE)
    second.communicate()
    assert dataset.server.of(A)[1].headers["range"] == f"bytes={4 << 20}-"


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (apt-get install strace)")
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("fsync:error=EIO", "may be failing"),
        ("fsync:error=ENOSPC", "disk is full"),
        ("rename:error=EXDEV", "file systems"),
    ],
)
def test_what_the_disk_refuses_at_the_end_does_not_become_visible(fault: str, text: str, dataset: Dataset) -> None:
    dataset.offer(archive())
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}"]
    command += [sys.executable, "-m", "segdata", "fetch", str(dataset.manifest), "--root", str(dataset.home.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7 and text in done.stderr, done.stderr
    assert not dataset.is_whole() and not (dataset.home / "archives/a.zip").exists()
    assert dataset.fetch().code == 0 and dataset.is_whole()


def test_what_is_on_disk_does_not_depend_on_how_it_came(dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data, hanging(data, 5_000_000))
    assert dataset.fetch("--timeout", "0.5", "--retry-wait", "0").code == 0
    cut = tree(dataset.home / "raw")
    shutil.rmtree(dataset.home)
    dataset.server.routes[A] = file(data)
    assert dataset.fetch().code == 0
    assert tree(dataset.home / "raw") == cut


# Output.


def test_plain_lines_where_there_is_no_terminal(dataset: Dataset) -> None:
    dataset.offer(archive(LARGE))
    done = dataset.fetch()
    assert done.code == 0 and "\r" not in done.err and "\x1b" not in done.err


def test_the_python_function_does_the_same(dataset: Dataset) -> None:
    dataset.offer(archive())
    program = (
        "import pathlib, segdata\n"
        f"done = segdata.fetch({str(dataset.manifest)!r}, root=pathlib.Path({str(dataset.home.parent)!r}))\n"
        "print(done.folder, done.bytes, [file.file for file in done.files])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == str(dataset.home / "raw") and done.stderr == "" and dataset.is_whole()
