"""Hostile archives through the real command: message, exit code, what is on disk, and that a good archive then works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import hostile
from tests.helpers.command import Outcome, run_segdata
from tests.helpers.places import Place, archive


def fetch(place: Place, *options: object) -> Outcome:
    return run_segdata("fetch", place.manifest, "--root", place.home.parent, *options, NO_PROXY="127.0.0.1")


def offer(place: Place, name: str, data: bytes) -> Path:
    """Put an archive into a folder of the user's, and describe it in the manifest."""
    folder = place.folder / "mine"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    head, _, _ = place.manifest.read_text().partition("[[remotes]]")
    place.manifest.write_text(head)
    place.offer(data, name=name)
    return folder


FIRST_OF_ITS_KIND = set({(kind, code): name for name, (kind, _, code, _) in reversed(hostile.CASES.items())}.values())
"""One case for each kind of archive and exit code: what comes after does not depend on more."""


@pytest.mark.parametrize("case", hostile.CASES)
def test_it_is_refused_and_nothing_is_written(case: str, place: Place) -> None:
    ending, data, code, texts = hostile.CASES[case]
    folder = offer(place, f"mine.{ending}", data)
    done = fetch(place, "--from-dir", folder, "--json")
    assert done.code == code, done.err
    assert done.document["ok"] is False and done.document["error"]["exit"] == code
    for text in (f"mine.{ending}", *texts):
        assert text in done.err, done.err
    assert place.files() == {f"archives/mine.{ending}"}
    assert not list((place.home / "raw").iterdir())
    assert not [path.name for path in place.home.iterdir() if path.name.startswith(".staging")]
    assert (folder / f"mine.{ending}").read_bytes() == data
    assert not Path("/tmp/escaped").exists()
    if case not in FIRST_OF_ITS_KIND:
        return
    (place.home / f"archives/mine.{ending}").unlink()
    folder = offer(place, "a.zip", archive())
    done = fetch(place, "--from-dir", folder)
    assert done.code == 0, done.err
    assert place.is_whole()


def test_members_that_are_not_expected_are_listed_and_left_out(place: Place) -> None:
    data = hostile.zip_of(hostile.Entry(b"photos/a.png"), hostile.Entry(b"notes/b.txt"))
    place.offer(data, contains=["photos/*"])
    done = fetch(place, "--keep-archives", "--json")
    assert done.code == 3 and done.document["extra"] == ["a.zip/notes/b.txt"]
    assert "1 members that the manifest does not expect were left out (a.zip/notes/b.txt)" in done.err
    assert place.files() == {"archives/a.zip", "raw/photos/a.png"}
    done = fetch(place, "--allow-extra")
    assert done.code == 0, done.err
    assert {"raw/photos/a.png", "raw/notes/b.txt"} <= place.files()


def test_members_that_are_missing_are_named(place: Place) -> None:
    place.offer(hostile.zip_of(hostile.Entry(b"photos/a.png")), contains=["photos/*", "labels/*.png"])
    done = fetch(place)
    assert done.code == 4 and "'labels/*.png'" in done.err
    assert place.files() == {"archives/a.zip"}


def test_a_stated_size_is_the_limit(place: Place) -> None:
    data = hostile.zip_of(hostile.Entry(b"zeros.bin", bytes(3 << 20), 8))
    place.offer(data, extracted=3 << 20)
    assert fetch(place).code == 0
    other = data.replace(b"zeros.bin", b"other.bin")
    place.offer(other, name="b.zip", extracted=1 << 20)
    done = fetch(place)
    assert done.code == 11 and "the manifest says 1,048,576 bytes, the archive holds 3,145,728" in done.err
