"""Manifests of one's own data need a title, a format and where the files are; the tool writes and completes them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

import segdata
from segdata.catalog import manifest
from tests.helpers import made, server
from tests.helpers.command import Outcome, run_segdata

NEEDED = 'title = "Mine"\nformat = "coco"\n'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A COCO folder of three images."""
    made.coco(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def archive(photos: Path) -> Path:
    return Path(shutil.make_archive(str(photos.parent / "archive"), "zip", photos))


def good(*arguments: object) -> Outcome:
    done = run_segdata(*arguments)
    assert done.code == 0, done.err
    return done


def test_a_folder_becomes_a_manifest_and_a_pack(photos: Path, tmp_path: Path) -> None:
    file, root = tmp_path / "mine.toml", tmp_path / "data"
    told = good("manifest", "new", photos, "-o", file)
    assert f"segdata prepare {file}" in told.err
    assert file.read_text().startswith('title = "photos"\nformat = "coco"\nfolder = "photos"\n')
    assert good("fetch", file, "--root", root, "--json").document["files"] == []
    for was_done in (False, True):
        done = good("prepare", file, "--root", root, "--json").document
        assert (done["samples"], done["was_done"], done["pack"]) == (3, was_done, str(root / "mine/pack"))
    assert not (root / "mine/raw").exists()
    assert [category.name for category in segdata.open(root / "mine/pack").labels.categories][:1] == ["person"]
    listed = good("list", file, "--root", root, "--json").document["datasets"][0]
    assert listed["folder"] == str(photos) and listed["labels"][0] == "person" and listed["download"] == 0
    assert "good" in good("verify", file, "--root", root).out


def test_a_changed_folder_is_noticed(photos: Path, tmp_path: Path) -> None:
    file = made.put(tmp_path / "mine.toml", f'{NEEDED}folder = "{photos.as_uri()}"\n')
    good("prepare", file, "--root", tmp_path / "data")
    document = photos / "annotations/instances_val2017.json"
    document.write_text(document.read_text().replace('"iscrowd": 1', '"iscrowd": 0'))
    refused = run_segdata("prepare", file, "--root", tmp_path / "data")
    assert refused.code == 4 and "--force" in refused.err
    good("prepare", file, "--root", tmp_path / "data", "--force")


@pytest.mark.parametrize("how", ["relative", "absolute", "file"])
def test_files_of_this_machine_need_no_acceptance_and_stay(archive: Path, tmp_path: Path, how: str) -> None:
    url = {"relative": archive.name, "absolute": str(archive), "file": archive.as_uri()}[how]
    file = made.put(tmp_path / "mine.toml", f'{NEEDED}[[remotes]]\nurl = "{url}"\n')
    before = archive.read_bytes()
    assert good("prepare", file, "--root", tmp_path / "data", "--json").document["samples"] == 3
    assert archive.read_bytes() == before


def test_files_on_a_server_are_accepted_once_then_recorded(archive: Path, tmp_path: Path) -> None:
    file, root = tmp_path / "mine.toml", tmp_path / "data"
    with server.serving() as site:
        site.routes["/photos.zip"] = server.file(archive.read_bytes())
        told = good("manifest", "new", f"{site.url}/photos.zip", "--format", "coco", "-o", file)
        assert "--accept-unverified" in told.err
        assert run_segdata("prepare", file, "--root", root).code == 8
        assert run_segdata("prepare", file, "--root", root, "--accept-unverified").code == 3
        assert run_segdata("manifest", "record", file, "--root", root, "--check").code == 8
        good("manifest", "record", file, "--root", root)
        assert (
            str(manifest.load(file).remotes[0].digest) == "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
        )
        assert manifest.load(file).remotes[0].bytes == archive.stat().st_size
        good("prepare", file, "--root", tmp_path / "another")


def test_recording_fills_what_files_on_disk_say_and_leaves_the_rest(tmp_path: Path) -> None:
    comment = "# kept as it is\n"
    digests = {"a.txt": "unknown", "b.txt": f"md5:{hashlib.md5(b'bb').hexdigest()}", "c.txt": "unknown"}
    text = comment + NEEDED + "".join(
        f'[[remotes]]\nurl = "http://h.example/{name}"\nbytes = "unknown"  # nobody says\ndigest = "{digest}"\n'
        for name, digest in digests.items()
    ) + '\n[[remotes]]\nurl = "http://h.example/d.txt"\n\n[terms]\nid = "t"\nurl = "http://h.example"\ntext = "t"\n'  # fmt: skip
    path = made.put(tmp_path / "mine.toml", text)
    for name, content in (("a.txt", "a"), ("b.txt", "bb"), ("d.txt", "dddd")):
        made.put(tmp_path / "files" / name, content)
    command = ("manifest", "record", path, tmp_path / "files")
    assert run_segdata(*command, "--check").code == 8 and path.read_text() == text
    assert "c.txt: not on this machine" in good(*command).out
    assert [(row.bytes, str(row.digest)) for row in manifest.load(path).remotes] == [
        (1, "sha256:" + hashlib.sha256(b"a").hexdigest()),
        (2, "sha256:" + hashlib.sha256(b"bb").hexdigest()),
        (None, "None"),
        (4, "sha256:" + hashlib.sha256(b"dddd").hexdigest()),
    ]
    assert path.read_text().startswith(comment) and path.read_text().count("# nobody says") == 3
    good(*command, "--check")
    made.put(tmp_path / "files/a.txt", "x")
    assert run_segdata(*command).code == 8


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (NEEDED, 2, "folder = PATH or [[remotes]]"),
        (NEEDED + 'folder = "nowhere"\n', 10, "no such folder"),
        (NEEDED + 'folder = "mine.toml"\n', 10, "it is a file"),
        (NEEDED + 'folder = "file://host/photos"\n', 4, "not of this machine"),
        (NEEDED + 'folder = "photos"\n[[remotes]]\nurl = "a.zip"\n', 4, "both folder and remotes"),
        (NEEDED + '[[remotes]]\nurl = "nowhere.zip"\n', 10, "no such file"),
        (NEEDED + '[[remotes]]\nurl = "photos"\n', 10, 'folder = "PATH"'),
        (NEEDED + '[[remotes]]\nurl = "ftp://h.example/a.zip"\n', 4, "http:// or https://"),
        ('format = "coco"\nfolder = "photos"\n', 4, "lacks 'title'"),
        ('title = "Mine"\nformat = "tfrecord"\nfolder = "photos"\n', 2, "no reader"),
        ('title = "Mine"\nformat = "cocoo"\nfolder = "photos"\n', 2, 'write format = "coco" in'),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(text: str, code: int, message: str, photos: Path) -> None:
    file = made.put(photos.parent / "mine.toml", text)
    refused = run_segdata("prepare", file, "--root", photos.parent / "data")
    assert refused.code == code and message in refused.err, refused.err


def test_what_no_manifest_can_be_written_for_is_said(photos: Path, archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for sources, code, message in (
        ([archive], 2, "--format"),
        ([archive, photos, "--format", "coco"], 10, "not a file"),
        ([tmp_path / "nowhere"], 10, "nowhere does not exist"),
        ([photos / "annotations/instances_val2017.json", "--format", "tfrecord"], 2, "no format 'tfrecord'"),
        ([made.put(tmp_path / "empty/a.txt", "a").parent], 4, "with --format"),
    ):
        refused = run_segdata("manifest", "new", *sources, "-o", file)
        assert refused.code == code and message in refused.err and not file.exists(), refused.err
    good("manifest", "new", photos, "-o", file)
    assert run_segdata("manifest", "new", photos, "-o", file).code == 2
    good("manifest", "new", photos, "-o", file, "--force")
    assert run_segdata("manifest", "new", photos, "-o", tmp_path / "my photos.toml").code == 2


def test_images_that_lie_elsewhere_are_named_by_an_option(photos: Path, tmp_path: Path) -> None:
    images = (photos / "val2017").rename(tmp_path / "images")
    file, root = made.put(tmp_path / "mine.toml", f'{NEEDED}folder = "photos"\n'), tmp_path / "data"
    refused = run_segdata("prepare", file, "--root", root)
    assert refused.code == 4 and "--images-dir [SPLIT=]DIR" in refused.err
    for was_done in (False, True):
        done = good("prepare", file, "--root", root, "--images-dir", f"val2017={images}", "--json").document
        assert (done["samples"], done["was_done"]) == (3, was_done)
    assert all(sample.encoded for sample in segdata.open(root / "mine/pack"))


def test_images_of_archives_that_lie_elsewhere_are_part_of_what_was_asked(photos: Path, tmp_path: Path) -> None:
    images = (photos / "val2017").rename(tmp_path / "images")
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", photos))
    file, root = tmp_path / "mine.toml", tmp_path / "data"
    good("manifest", "new", archive, "--format", "coco", "-o", file)
    for was_done in (False, True):
        done = good("prepare", file, "--root", root, "--images-dir", images, "--json").document
        assert (done["samples"], done["was_done"]) == (3, was_done)
    refused = run_segdata("prepare", file, "--root", root)
    assert refused.code == 4 and f"images_dir: {{'': '{images}'}} then, None now" in refused.err


def test_what_comes_next_accepts_files_that_nobody_vouches_for(archive: Path, tmp_path: Path) -> None:
    told = good(
        *("manifest", "new", archive, "http://127.0.0.1:9/val.zip", "--format", "coco", "-o", tmp_path / "mine.toml")
    )
    assert "--accept-unverified" in told.err
    told = good("manifest", "new", archive, "--format", "coco", "-o", tmp_path / "other.toml")
    assert "next:" in told.err and "--accept-unverified" not in told.err


def test_labels_are_used_although_their_table_has_a_shipped_name(tmp_path: Path) -> None:
    """The name of a table is the file's where the manifest does not say; camvid-32 is a shipped one."""
    text = 'title = "Mine"\nformat = "camvid"\nfolder = "x"\nlabels = [{ name = "road", id = 0, color = [1, 2, 3] }]\n'
    file = made.put(tmp_path / "camvid-32.toml", text)
    from segdata.conversion.prepare import _labels

    labels = _labels(manifest.load(file))
    assert labels is not None and [category.name for category in labels.categories] == ["road"]


def test_a_plan_shows_where_files_come_from_and_hides_nothing(tmp_path: Path) -> None:
    private = made.put(tmp_path / "key.txt", "secret")
    private.chmod(0o600)
    text = 'title = "\\u001b[31mMine"\nformat = "coco"\n[[remotes]]\nurl = "key.txt"\n'
    text += '[[remotes]]\nurl = "https://files.example/a.zip"\nmirrors = ["http://mirror.example:8080/a.zip"]\n'
    file = made.put(tmp_path / "mine.toml", text)
    plan = good("fetch", file, "--root", tmp_path / "data", "--dry-run").out
    assert "files.example, mirror.example:8080" in plan
    assert f"from {private}" in plan and "\x1b" not in plan
    assert private.stat().st_mode & 0o777 == 0o600 and not (tmp_path / "data").exists()
