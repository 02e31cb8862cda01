"""Extraction of archives of every kind, also of hostile ones: all or nothing, and never outside the folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from segdata.download.archives.extract import extract
from segdata.download.archives.receipt import Receipt, differences, read_receipt
from segdata.errors import DamagedData, DiskError, InvalidArchive, SegdataError
from tests.helpers.command import tree
from tests.helpers.hostile import Entry, tar_header, tar_member, tar_of, zip_of

KINDS = {"zip": "zip", "tar": "tar", "tgz": "tar.gz", "txt": "file"}

FILES = {
    "data/train/1.bin": bytes(range(256)) * 500,
    "data/train/2.txt": b"second\n",
    "data/empty": b"",
    "data/ünï/深い.txt": "content of é".encode(),
    "top.txt": b"top\n",
}


def run(archive: Path, folder: Path, **options: Any) -> Receipt:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return extract(
        archive,
        folder / "raw",
        receipt=folder / f"{archive.name}.members.json",
        kind=KINDS[archive.suffix[1:]],
        digest=digest,
        **options,
    )


def pack(path: Path, files: dict[str, bytes], *, mode: int = 0o600) -> Path:
    """An archive made by the standard library."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.mkdir("data")
            for name, data in files.items():
                file.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("./data/")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o2770
        tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode, info.uid, info.uname = len(data), mode, 4711, "nobody"
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_an_empty_file_is_cut_short(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"mine.{ending}").touch()
    with pytest.raises(DamagedData, match="cut short at byte 0"):
        run(tmp_path / f"mine.{ending}", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"mine.{ending}"]


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_files_come_out_with_plain_permissions_and_are_listed(ending: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / f"a.{ending}", FILES)
    calls: list[tuple[int, int]] = []
    before = os.umask(0o077)
    try:
        receipt = run(archive, tmp_path, progress=lambda done, total: calls.append((done, total)))
    finally:
        os.umask(before)
    assert tree(tmp_path / "raw") == FILES
    for path in (tmp_path / "raw").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)
        assert path.stat().st_uid == os.getuid()
    total = sum(map(len, FILES.values()))
    assert calls[-1] == (total, total)
    listed = {file.path: (file.bytes, file.sha256) for file in receipt.files}
    assert listed == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
    assert read_receipt(tmp_path / f"a.{ending}.members.json") == receipt
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [archive.name, f"{archive.name}.members.json", "raw"]
    )


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_the_second_time_nothing_is_written(ending: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / f"a.{ending}", FILES)
    first = run(archive, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(archive, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


@pytest.mark.full
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_of_more_than_four_gibibytes(kind: str, tmp_path: Path) -> None:
    size = (4 << 30) + 4096
    plain = tmp_path / "plain"
    with plain.open("wb") as file:
        file.truncate(size)
    archive = tmp_path / f"large.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as out:
            out.write(plain, "large.bin")
    else:
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as out:
            out.add(plain, "large.bin")
    with plain.open("rb") as content:
        expected = hashlib.file_digest(content, "sha256")
    plain.unlink()
    receipt = extract(
        archive, tmp_path / "raw", receipt=tmp_path / "receipt.json", kind=kind, digest="any", archive_bytes=None
    )
    assert [(file.bytes, file.sha256) for file in receipt.files] == [(size, expected.hexdigest())]


@pytest.mark.full
def test_as_many_files_as_a_large_dataset_has(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as file:
        for number in range(70_000):
            file.writestr(f"train/{number:012d}.jpg", b"%d" % number)
    receipt = run(tmp_path / "many.zip", tmp_path)
    assert len(receipt.files) == 70_000
    assert (tmp_path / "raw/train/000000069999.jpg").read_bytes() == b"69999"


def test_a_stated_size_allows_what_the_ratio_would_refuse(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_of(Entry(b"sparse.bin", bytes(4 << 20), 8)))
    with pytest.raises(SegdataError, match="the manifest says 4,000,000 bytes, the archive holds 4,194,304"):
        run(archive, tmp_path, extracted_bytes=4_000_000)
    assert run(archive, tmp_path, extracted_bytes=4_160_000).bytes == 4 << 20  # one part in a hundred more


def test_expected_members(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", FILES)
    with pytest.raises(InvalidArchive, match="lacks members") as caught:
        run(archive, tmp_path, contains=["data/*", "val/*.png"])
    assert caught.value.exit_code == 4 and "'val/*.png'" in str(caught.value)
    assert not (tmp_path / "raw").exists()
    receipt = run(archive, tmp_path, contains=["data/*"])
    assert receipt.extra == ("top.txt",)
    assert "top.txt" not in tree(tmp_path / "raw") and "data/train/1.bin" in tree(tmp_path / "raw")
    receipt = run(archive, tmp_path, contains=["data/*"], allow_extra=True)
    assert receipt.extra == () and tree(tmp_path / "raw") == FILES


def test_archives_share_a_folder_and_may_rename_what_would_collide(tmp_path: Path) -> None:
    one = pack(tmp_path / "one.zip", {"README": b"first", "gtFine/train/a.png": b"a"})
    two = pack(tmp_path / "two.zip", {"README": b"second", "gtFine/train/b.png": b"b", "leftImg8bit/c.png": b"c"})
    run(one, tmp_path, rename={"README": "README-one"})
    run(two, tmp_path, rename={"README": "README-two"})
    assert tree(tmp_path / "raw") == {
        "README-one": b"first",
        "README-two": b"second",
        "gtFine/train/a.png": b"a",
        "gtFine/train/b.png": b"b",
        "leftImg8bit/c.png": b"c",
    }


def test_a_file_of_another_archive_is_not_overwritten(tmp_path: Path) -> None:
    one = pack(tmp_path / "one.zip", {"README": b"first", "same": b"same", "a": b"a"})
    two = pack(tmp_path / "two.zip", {"README": b"second", "same": b"same", "b": b"b"})
    run(one, tmp_path)
    before = tree(tmp_path)
    with pytest.raises(DamagedData, match="1 file in raw: not as two") as caught:
        run(two, tmp_path)
    assert "README" in str(caught.value) and "--force" in str(caught.value)
    assert tree(tmp_path) == before
    run(two, tmp_path, force=True)
    assert tree(tmp_path / "raw") == {"README": b"second", "same": b"same", "a": b"a", "b": b"b"}


def test_a_prefix_and_a_file_that_is_no_archive(tmp_path: Path) -> None:
    run(pack(tmp_path / "a.zip", {"1_L.png": b"1"}), tmp_path, prefix="LabeledApproved_full")
    (tmp_path / "label_colors.txt").write_bytes(b"0 0 0 Void\n")
    run(tmp_path / "label_colors.txt", tmp_path)
    assert tree(tmp_path / "raw") == {"LabeledApproved_full/1_L.png": b"1", "label_colors.txt": b"0 0 0 Void\n"}
    assert (tmp_path / "label_colors.txt").exists()


def test_what_was_changed_later_is_found_and_not_overwritten(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar", FILES)
    receipt = run(archive, tmp_path)
    raw = tmp_path / "raw"
    assert differences(raw, [receipt]).is_good
    (raw / "data/train/2.txt").write_bytes(b"SECOND\n")  # of the same size
    (raw / "data/empty").unlink()
    (raw / "data/new.txt").write_bytes(b"new")
    changes = differences(raw, [receipt])
    assert (changes.modified, changes.missing, changes.extra) == (
        ("data/train/2.txt",),
        ("data/empty",),
        ("data/new.txt",),
    )
    assert not changes.is_good
    with pytest.raises(DamagedData, match=r"data/train/2\.txt"):
        run(archive, tmp_path)
    assert (raw / "data/train/2.txt").read_bytes() == b"SECOND\n" and not (raw / "data/empty").exists()
    run(archive, tmp_path, force=True)
    assert tree(raw) == {**FILES, "data/new.txt": b"new"}


def test_a_missing_file_comes_back(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tgz", FILES)
    run(archive, tmp_path)
    (tmp_path / "raw/top.txt").unlink()
    run(archive, tmp_path)
    assert tree(tmp_path / "raw") == FILES


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SegdataError, match="a link stands") as caught:
        run(pack(tmp_path / "a.zip", FILES), tmp_path)
    assert caught.value.exit_code == 11
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "elsewhere", "raw"]


def test_a_staging_folder_that_was_left_is_used_when_whole_and_removed_otherwise(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", FILES)
    staging, staged = tmp_path / ".staging-a.zip", tmp_path / ".a.zip.members.json.staged"
    (staging / "data").mkdir(parents=True)
    (staging / "data/half").write_bytes(b"half")
    receipt = run(archive, tmp_path)
    assert tree(tmp_path / "raw") == FILES and not staging.exists() and not staged.exists()
    # Stopped while files were moved: some are in place, the others in the staging folder, and its receipt is written.
    (tmp_path / "a.zip.members.json").rename(staged)
    (staging / "data").mkdir(parents=True)
    (tmp_path / "raw/data/train").rename(staging / "data/train")
    assert run(archive, tmp_path) == receipt
    assert tree(tmp_path / "raw") == FILES and not staging.exists() and not staged.exists()
    # Stopped just before the last step.
    (tmp_path / "a.zip.members.json").rename(staged)
    assert run(archive, tmp_path) == receipt
    assert (tmp_path / "a.zip.members.json").exists() and not staged.exists()


def test_names_that_differ_in_case_are_noted(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(Entry(b"A.png"), Entry(b"a.png"), Entry(b"aux.txt")))
    receipt = run(tmp_path / "a.zip", tmp_path)
    assert len(receipt.files) == 3
    assert receipt.remarks == (
        "'aux.txt' is a name that Windows cannot hold",
        "'A.png' and 'a.png' differ only in case",
    )


def test_data_behind_a_tar_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(tar_member(b"a")) + tar_of(tar_member(b"b")))
    receipt = run(tmp_path / "a.tar", tmp_path)
    assert [file.path for file in receipt.files] == ["a"]
    assert "data behind the mark of the end" in receipt.remarks[0]


def test_old_and_foreign_archives(tmp_path: Path) -> None:
    """A tar from before POSIX with a folder, and a zip with an entry for its own root."""
    old = tar_header(b"folder/", 0, b"\0")[:257] + bytes(255)
    member = bytearray(old)
    member[148:156] = b"        "
    member[148:156] = b"%06o\0 " % sum(member)
    (tmp_path / "old.tar").write_bytes(tar_of(bytes(member), tar_header(b"./", 0, b"5"), tar_member(b"./folder/a")))
    assert [file.path for file in run(tmp_path / "old.tar", tmp_path).files] == ["folder/a"]
    (tmp_path / "own.zip").write_bytes(zip_of(Entry(b"./", b"", mode=0o040755), Entry(b"./b")))
    assert [file.path for file in run(tmp_path / "own.zip", tmp_path).files] == ["b"]
    assert json.loads((tmp_path / "own.zip.members.json").read_text())["files"][0][0] == "b"


def test_a_folder_that_vanishes_is_a_clean_stop(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", FILES)

    def unmount(done: int, total: int) -> None:
        shutil.rmtree(tmp_path / ".staging-a.zip")

    with pytest.raises(DiskError, match="vanished while files were written") as caught:
        run(archive, tmp_path, progress=unmount)
    assert caught.value.exit_code == 7
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
