"""Hostile archives through the real command: message, exit code, what is on disk, and that a good archive then works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import hostile
from tests.helpers.command import Outcome, run_segdata
from tests.helpers.dataset import Dataset, archive


def fetch(dataset: Dataset, *options: object) -> Outcome:
    return run_segdata("fetch", dataset.manifest, "--root", dataset.home.parent, *options, NO_PROXY="127.0.0.1")


def offer(dataset: Dataset, name: str, data: bytes) -> Path:
    """Put an archive into a folder of the user's, and describe it in the manifest."""
    folder = dataset.folder / "mine"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    head, _, _ = dataset.manifest.read_text().partition("[[remotes]]")
    dataset.manifest.write_text(head)
    dataset.offer(data, name=name)
    return folder


FIRST_OF_ITS_KIND = set({(kind, code): name for name, (kind, _, code, _) in reversed(hostile.CASES.items())}.values())
"""One case for each kind of archive and exit code: what comes after does not depend on more."""


@pytest.mark.parametrize("case", hostile.CASES)
def test_it_is_refused_and_nothing_is_written(case: str, dataset: Dataset) -> None:
    ending, data, code, texts = hostile.CASES[case]
    folder = offer(dataset, f"mine.{ending}", data)
    done = fetch(dataset, "--from-dir", folder, "--json")
    assert done.code == code, done.err
    assert done.document["ok"] is False and done.document["error"]["exit"] == code
    for text in (f"mine.{ending}", *texts):
        assert text in done.err, done.err
    assert dataset.files() == {f"archives/mine.{ending}"}
    assert not list((dataset.home / "raw").iterdir())
    assert not [path.name for path in dataset.home.iterdir() if path.name.startswith(".staging")]
    assert (folder / f"mine.{ending}").read_bytes() == data
    assert not Path("/tmp/escaped").exists()
    if case not in FIRST_OF_ITS_KIND:
        return
    (dataset.home / f"archives/mine.{ending}").unlink()
    folder = offer(dataset, "a.zip", archive())
    done = fetch(dataset, "--from-dir", folder)
    assert done.code == 0, done.err
    assert dataset.is_whole()


def test_members_that_are_not_expected_are_listed_and_left_out(dataset: Dataset) -> None:
    data = hostile.zip_of(hostile.Entry(b"photos/a.png"), hostile.Entry(b"notes/b.txt"))
    dataset.offer(data, contains=["photos/*"])
    done = fetch(dataset, "--keep-archives", "--json")
    assert done.code == 3 and done.document["extra"] == ["a.zip/notes/b.txt"]
    assert "1 member left out that the manifest does not expect (a.zip/notes/b.txt)" in done.err
    assert dataset.files() == {"archives/a.zip", "raw/photos/a.png"}
    done = fetch(dataset, "--allow-extra")
    assert done.code == 0, done.err
    assert {"raw/photos/a.png", "raw/notes/b.txt"} <= dataset.files()


def test_members_that_are_missing_are_named(dataset: Dataset) -> None:
    dataset.offer(hostile.zip_of(hostile.Entry(b"photos/a.png")), contains=["photos/*", "labels/*.png"])
    done = fetch(dataset)
    assert done.code == 4 and "'labels/*.png'" in done.err
    assert dataset.files() == {"archives/a.zip"}


def test_a_stated_size_is_the_limit(dataset: Dataset) -> None:
    data = hostile.zip_of(hostile.Entry(b"zeros.bin", bytes(3 << 20), 8))
    dataset.offer(data, extracted=3 << 20)
    assert fetch(dataset).code == 0
    other = data.replace(b"zeros.bin", b"other.bin")
    dataset.offer(other, name="b.zip", extracted=1 << 20)
    done = fetch(dataset)
    assert done.code == 11 and "the manifest says 1,048,576 bytes, the archive holds 3,145,728" in done.err
