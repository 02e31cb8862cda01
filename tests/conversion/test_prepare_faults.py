"""Two processes, stops and full disks under fetch, extraction and prepare, through the real command."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import segdata
from segdata.demo.synthetic import archives
from tests.helpers import made
from tests.helpers.command import Outcome, run_segdata, tree
from tests.helpers.dataset import mounted
from tests.helpers.server import Exchange, Server, file, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def offer(server: Server, folder: Path, name: str = "voc") -> Path:
    """A drawn dataset's archives on the server, and a manifest of them."""
    source = made.ALL[name](folder / "source")
    archives.publish(name, source, folder / "archives")
    server.routes.clear()
    server.requests.clear()
    for path in (folder / "archives").iterdir():
        server.routes[f"/{path.name}"] = file(path.read_bytes())
    manifest = folder / "mine.toml"
    manifest.write_text(archives.manifest(name, folder / "archives", server.url, licence="mine"))
    return manifest


def command(verb: str, manifest: Path, root: Path, *options: object) -> list[str]:
    waits = ("--retry-wait", "0.01", "--timeout", "60") if verb in ("fetch", "prepare") else ()
    return [sys.executable, "-m", "segdata", verb, str(manifest), "--root", str(root), *waits, *map(str, options)]


def run(verb: str, manifest: Path, root: Path, *options: object) -> Outcome:
    return run_segdata(*command(verb, manifest, root, *options)[3:], NO_PROXY="127.0.0.1")


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def wait_for(path: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def expected(manifest: Path, root: Path) -> dict[str, bytes]:
    """The tree of a run that nobody disturbs, without what names the time of the download."""
    assert run("prepare", manifest, root).code == 0
    return state(root)


def state(root: Path) -> dict[str, bytes]:
    files = tree(root)
    return {name: data for name, data in files.items() if "/receipts/" not in name or ".members." in name}


def held(server: Server, path: str, data: bytes) -> None:
    """The file's first half comes at once, the rest when `released` is set."""

    def route(x: Exchange) -> None:
        if x.request.headers.get("range"):
            file(data)(x)
            return
        x.head(200, content_length=len(data), etag='"one"')
        x.send(data[: len(data) // 2])
        x.handler.wfile.flush()
        server.released.wait(60)
        x.send(data[len(data) // 2 :])

    server.released.clear()
    server.routes[path] = route


TAR = "VOCtrainval_11-May-2012.tar"


def test_a_second_process_is_told_who_works_or_waits_for_it(server: Server, tmp_path: Path) -> None:
    manifest = offer(server, tmp_path)
    held(server, f"/{TAR}", (tmp_path / "archives" / TAR).read_bytes())
    root = tmp_path / "root"
    first = start(*command("prepare", manifest, root))
    try:
        wait_for(root / f"mine/archives/.{TAR}.part")
        second = run("prepare", manifest, root)
        assert second.code == 9, second.err
        assert f"pid {first.pid}" in second.err and "--wait" in second.err
        third = start(*command("prepare", manifest, root, "--wait", "60"))
        time.sleep(1.0)
        assert third.poll() is None
        server.released.set()
        assert first.wait(60) == 0, first.communicate()
        assert third.wait(60) == 0, third.communicate()
        first.communicate()
        third.communicate()
    finally:
        server.released.set()
        first.kill()
    assert len(server.of(f"/{TAR}")) == 1  # each byte was fetched once
    assert segdata.verify(root / "mine/pack", deep=True).is_good


def test_who_waits_goes_on_when_the_holder_is_killed(server: Server, tmp_path: Path) -> None:
    manifest = offer(server, tmp_path)
    data = (tmp_path / "archives" / TAR).read_bytes()
    held(server, f"/{TAR}", data)
    root = tmp_path / "root"
    first = start(*command("prepare", manifest, root))
    wait_for(root / f"mine/archives/.{TAR}.part")
    second = start(*command("prepare", manifest, root, "--wait", "60", "--json"))
    time.sleep(1.0)
    server.routes[f"/{TAR}"] = file(data)
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=60)
    server.released.set()
    assert second.returncode == 0, err
    assert '"was_done": false' in out
    assert segdata.verify(root / "mine/pack", deep=True).is_good


def large(server: Server, folder: Path, files: int) -> Path:
    """An archive whose extraction takes a while."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for number in range(files):
            target.writestr(f"photos/{number:06d}.bin", b"%d" % number * 100)
    (folder / "archives").mkdir()
    (folder / "archives/many.zip").write_bytes(buffer.getvalue())
    server.routes = {"/many.zip": file(buffer.getvalue())}
    server.requests.clear()
    manifest = folder / "mine.toml"
    manifest.write_text(
        f'title = "t"\nhomepage = "h"\nlicence = "l"\ncitation = "c"\nformat = "coco"\nlabel_space = "mine"\n'
        f'labels = [{{ name = "a", id = 1 }}]\n[[remotes]]\npart = "photos"\nurl = "{server.url}/many.zip"\n'
        f'bytes = {len(buffer.getvalue())}\ndigest = "unknown"\n'
    )
    return manifest


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_stop_during_extraction(number: int, code: int, server: Server, tmp_path: Path) -> None:
    manifest = large(server, tmp_path, 4_000)
    root = tmp_path / "root"
    process = start(*command("fetch", manifest, root, "--accept-unverified", "--keep-archives"))
    wait_for(root / "mine/.staging-many.zip/photos/000010.bin")
    process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert time.monotonic() - began < 5 and "Traceback" not in err
    assert code < 0 or "the same command goes on" in err
    assert not list((root / "mine/raw").iterdir())
    assert not (root / "mine/receipts/many.zip.members.json").exists()
    done = run("fetch", manifest, root, "--offline", "--accept-unverified")
    assert done.code in (0, 3), done.err
    assert len(list((root / "mine/raw/photos").iterdir())) == 4_000
    assert not list((root / "mine").glob(".staging-*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB."""
    with mounted(tmp_path / "disk", "size=6m") as folder:
        yield folder


def test_a_disk_that_fills_up_during_extraction(server: Server, tmp_path: Path, small_disk: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for number in range(6):
            target.writestr(f"photos/{number}.bin", bytes(1 << 20))
    manifest = large(server, tmp_path, 1)
    server.routes["/zeros.zip"] = file(buffer.getvalue())
    text = manifest.read_text().replace("many.zip", "zeros.zip")
    lines = [line for line in text.splitlines() if not line.startswith("bytes")]
    manifest.write_text("\n".join([*lines, f"bytes = {len(buffer.getvalue())}", f"extracted = {6 << 20}"]) + "\n")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(3 << 20))
    early = run("fetch", manifest, small_disk, "--accept-unverified", "--keep-archives")
    assert early.code == 7 and "to extract" in early.err and not list(small_disk.glob("mine/archives/*")), early.err
    late = run("fetch", manifest, small_disk, "--accept-unverified", "--keep-archives", "--ignore-space")
    assert late.code == 7, late.err
    assert "there is not enough space to extract zeros.zip" in late.err and "more are needed" in late.err
    assert [path.name for path in (small_disk / "mine/archives").iterdir()] == ["zeros.zip"]
    assert not list((small_disk / "mine/raw").iterdir()) and not list((small_disk / "mine").glob(".staging-*"))
    filler.write_bytes(b"")
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    done = run("fetch", manifest, small_disk, "--offline", "--accept-unverified", "--keep-archives")
    assert done.code in (0, 3), done.err
    assert len(list((small_disk / "mine/raw/photos").iterdir())) == 6


def test_prepare_counts_the_pack_before_it_begins(server: Server, tmp_path: Path, small_disk: Path) -> None:
    manifest = large(server, tmp_path, 1)
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("bytes")]
    manifest.write_text("\n".join([*lines, f"bytes = {2 << 20}", f"extracted = {5 << 19}"]) + "\n")
    # 2 MiB to download and 2.5 to extract fit into 6 MiB; another 2.5 for the pack do not.
    done = run("prepare", manifest, small_disk, "--accept-unverified")
    assert done.code == 7 and "2,097,152 bytes to download, 2,621,440 to extract and 2,621,440 to convert" in done.err
    assert not list(small_disk.iterdir()) and not server.requests


def test_a_limit_on_the_size_of_files(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("photos/large.bin", os.urandom(1 << 18) * 16)
    manifest = large(server, tmp_path, 1)
    server.routes = {"/many.zip": file(buffer.getvalue())}
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("bytes")]
    manifest.write_text("\n".join([*lines, f"bytes = {len(buffer.getvalue())}"]) + "\n")
    root = tmp_path / "root"
    assert len(buffer.getvalue()) > 1 << 20
    # The archive is there; the limit stops extraction.
    (tmp_path / "have").mkdir()
    (tmp_path / "have/many.zip").write_bytes(buffer.getvalue())
    process = subprocess.run(
        command("fetch", manifest, root, "--accept-unverified", "--from-dir", tmp_path / "have"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert process.returncode == 7 and "larger than allowed" in process.stderr, process.stderr
    assert not list((root / "mine/raw").iterdir()) and not list((root / "mine").glob(".staging-*"))
    assert run("fetch", manifest, root, "--accept-unverified").code in (0, 3)


def test_what_verify_finds(server: Server, tmp_path: Path) -> None:
    manifest = offer(server, tmp_path)
    root = tmp_path / "root"
    assert run("verify", manifest, root).code == 10
    before = expected(manifest, root)
    assert run("verify", manifest, root, "--deep", "--json").document["good"] is True
    raw = root / "mine/raw/VOCdevkit/VOC2012"
    changed, gone = raw / "JPEGImages/2007_000001.jpg", raw / "Annotations/2007_000002.xml"
    original = changed.read_bytes()
    changed.write_bytes(bytes(len(original)))
    gone.unlink()
    (raw / "mine.txt").write_text("mine")
    verified = run("verify", manifest, root, "--json")
    assert verified.code == 8
    assert verified.document["modified"] == ["VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg"]
    assert verified.document["missing"] == ["VOCdevkit/VOC2012/Annotations/2007_000002.xml"]
    assert verified.document["extra"] == ["VOCdevkit/VOC2012/mine.txt"]
    text = run("verify", manifest, root)
    assert text.code == 8 and "1 extracted file is missing" in text.err and "--force" in text.err
    refused = run("fetch", manifest, root)
    assert refused.code == 8 and "2007_000001.jpg" in refused.err
    assert changed.read_bytes() == bytes(len(original)) and not gone.exists()
    assert run("fetch", manifest, root, "--force").code == 0
    assert run("verify", manifest, root, "--json").document["good"] is True
    assert changed.read_bytes() == original and (raw / "mine.txt").read_text() == "mine"
    after = state(root)
    after.pop("mine/raw/VOCdevkit/VOC2012/mine.txt")
    assert after == before


def test_a_changed_file_of_the_same_size_is_replaced_only_with_force(server: Server, tmp_path: Path) -> None:
    manifest = offer(server, tmp_path)
    root = tmp_path / "root"
    assert run("fetch", manifest, root, "--keep-archives").code == 0
    photo = root / "mine/raw/VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg"
    original = photo.read_bytes()
    photo.write_bytes(bytes(len(original)))
    assert run("fetch", manifest, root, "--keep-archives").code == 0
    assert photo.read_bytes() == bytes(len(original))
    asked = len(server.requests)
    assert run("fetch", manifest, root, "--keep-archives", "--force").code == 0
    assert photo.read_bytes() == original and len(server.requests) == asked


def test_a_rotten_shard_of_a_prepared_dataset_is_made_anew_alone(server: Server, tmp_path: Path) -> None:
    manifest, root = offer(server, tmp_path), tmp_path / "root"
    assert run("prepare", manifest, root).code == 0
    before = tree(root / "mine/pack")
    (path,) = (root / "mine/pack").glob("images-00000-*")
    (other,) = (root / "mine/pack").glob("dataset-*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    untouched = other.stat().st_ino
    verified = run("verify", manifest, root, "--deep")
    assert (
        verified.code == 8
        and path.name in verified.err
        and f"segdata prepare {manifest} --root {root} --force" in verified.err
    )
    asked = len(server.requests)
    assert run("prepare", manifest, root, "--force").code == 0
    assert tree(root / "mine/pack") == before and other.stat().st_ino == untouched
    assert len(server.requests) == asked  # what was fetched is still there


def test_a_damaged_pack_is_made_anew_with_force(server: Server, tmp_path: Path) -> None:
    manifest = offer(server, tmp_path)
    root = tmp_path / "root"
    before = expected(manifest, root)
    shard = next((root / "mine/pack").glob("annotations-*.h5"))
    shard.write_bytes(shard.read_bytes()[:-100])
    again = run("prepare", manifest, root)
    assert again.code == 8 and "--force" in again.err
    assert run("prepare", manifest, root, "--force").code == 0
    assert state(root) == before


def test_list_says_what_is_there(server: Server, tmp_path: Path) -> None:
    manifest = offer(server, tmp_path)
    root = tmp_path / "root"
    empty = run("list", manifest, root, "--json").document["datasets"][0]
    assert (empty["fetched"], empty["prepared"], empty["on_disk"]) == ([], None, 0)
    assert run("fetch", manifest, root).code == 0
    raw = sum(len(data) for data in tree(root / "mine/raw").values())
    fetched = run("list", manifest, root, "--json").document["datasets"][0]
    assert (fetched["fetched"], fetched["prepared"], fetched["on_disk"]) == ([TAR], None, raw)
    assert run("prepare", manifest, root).code == 0
    done = run("list", manifest, root, "--json").document["datasets"][0]
    pack = sum(len(data) for name, data in tree(root / "mine/pack").items() if name.endswith(".h5"))
    assert done["samples"] == 2 and done["on_disk"] == raw + pack
    assert "prepared" in run("list", manifest, root).out and "mine" in run("list", manifest, root).out
    overview = run_segdata("list", "--root", root).out
    for name in ("coco-2017", "voc-2012", "cityscapes", "camvid", "sbd"):
        assert name in overview
    assert "non-commercial" in overview and "without a published digest" in overview
