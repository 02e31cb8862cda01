"""What a fetch left for itself, with anything else in it, is read, is as good as not there, or is refused by a declared error.

Ten thousand mutants a door with `scripts/test --full`, some dozens without.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdata.catalog.remotes import SignIn, Terms
from segdata.download import receipts
from segdata.download.access import sessions, terms
from segdata.download.archives import receipt as members
from segdata.download.http.partial_file import Part
from tests.helpers import ends

SHORT, FULL = 60, 10_000

SITE = SignIn("cityscapes", "https://localhost")
TERMS = Terms("mine", "http://localhost/", "do")
DIGEST = "0" * 64


def downloaded(path: Path) -> object:
    receipt = receipts.read(path)
    assert receipt is not None
    (path.parent / "file").write_bytes(b"12345678")
    return receipts.bad_chunks(path.parent / "file", receipt), receipt.is_doubtful


def extracted(path: Path) -> object:
    receipt = members.read_receipt(path)
    return receipt and (members.is_whole(receipt, path.parent), members.differences(path.parent, [receipt]))


def begun(path: Path) -> object:
    part = path.with_name(path.name.removesuffix(".state"))
    part.write_bytes(b"12345")
    opened = Part(part, ("sha256",))
    try:
        opened.load()
        return opened.size, opened.source and opened.source.validator
    finally:
        opened.stop()


def kept(path: Path) -> object:
    path.chmod(0o600)
    return sessions.load(SITE)


DOORS: dict[str, tuple[str, list[Any], Callable[[Path], object]]] = {
    "download": (
        "a.zip.json",
        [
            {
                **{
                    "file": "a.zip",
                    "bytes": 8,
                    "sha256": DIGEST,
                    "digest": None,
                    "first_use": False,
                    "url": "from-dir",
                },
                **{"accepted": {"by": "me", "at": "now", "instead_of": "None"}, "etag": None, "last_modified": None},
                **{"fetched": "now", "chunk_bytes": 4194304, "crc32": [1], "unsynced": None},
            }
        ],
        downloaded,
    ),
    "extraction": (
        "a.zip.members.json",
        [
            {
                "archive": "a.zip",
                "source": {"digest": DIGEST, "prefix": "", "contains": [], "rename": {}, "allow_extra": False},
                "files": [["a/b.txt", 5, DIGEST], ["c", 0, DIGEST]],
                "extra": ["d"],
                "remarks": [],
            }
        ],
        extracted,
    ),
    "part": (
        ".a.zip.part.state",
        [
            {"url": "http://localhost/", "etag": '"a"', "last_modified": None, "total": 9, "chunk_bytes": 4194304},
            {"tail": 5, "crc32": 3421846044},
        ],
        begun,
    ),
    "session": (
        "session.json",
        [{"site": SITE.url, "expires": 2e9, "cookies": [["name", "value", "/"]]}],
        kept,
    ),
    "terms": (
        "terms.json",
        [{"mine": {"by": "me", "at": "now", "url": TERMS.url, "text": TERMS.text, "sha256": TERMS.sha256}}],
        lambda path: terms.accept(TERMS, path, accepted=["mine"], ask=None, command="segdata"),
    ),
}


@pytest.fixture(autouse=True)
def session_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "path", lambda _: tmp_path / "session.json")


def entered(door: str, folder: Path) -> Callable[[random.Random], object]:
    name, lines, enter = DOORS[door]
    path = folder / name

    def call(random_: random.Random) -> object:
        changed = ends.changed(lines, random_) if random_.random() < 0.7 else lines
        text = "".join(
            f"{json.dumps(line)}\n" for line in (changed if isinstance(changed, list) else [changed])
        ).encode()
        path.write_bytes(text if changed is not lines else ends.damaged(text, random_))
        return enter(path)

    return call


@pytest.mark.parametrize("door", DOORS)
def test_mutants_are_read_or_refused(door: str, tmp_path: Path) -> None:
    name, lines, enter = DOORS[door]
    (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert enter(tmp_path / name) or door == "terms"
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", DOORS)
def test_ten_thousand_mutants(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT, SHORT + FULL))
