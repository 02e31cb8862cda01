"""The edits file: what is written survives, what is damaged or hostile is an error that names file and line."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.correction import edits as lines
from segdata.correction import journal
from segdata.errors import DamagedData, DiskError, InvalidInput, LockHeld, NotThere, UsageError
from segdata.pack.store import Store
from tests.correction import independent
from tests.correction.independent import Edit
from tests.helpers import made

ROOT = Path(__file__).resolve().parents[2]
WRITER = [sys.executable, "-m", "tests.correction.writer"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images: objects with ids 101 and 102, a crowd, none."""
    root = tmp_path_factory.mktemp("pack")
    segdata.convert(made.coco(root / "coco"), root / "pack", workers=1)
    return root / "pack"


@pytest.fixture
def store(pack: Path) -> Store:
    return segdata.open(pack)._store


FIRST: Edit = {"split": "train2017", "key": "000000000000"}
SQUARE = independent.runs_of(np.pad(np.ones((4, 6), bool), ((5, made.HEIGHT - 9), (7, made.WIDTH - 13))))


@pytest.fixture(autouse=True)
def _named(pack: Path) -> None:
    opened = segdata.open(pack)
    FIRST.update(split=next(iter(opened.splits)), key=opened.key(0))


def test_what_is_appended_is_read_by_others_as_documented(pack: Path, store: Store, tmp_path: Path) -> None:
    mask = segdata.Masks.from_dense(independent.mask_of(SQUARE, made.HEIGHT, made.WIDTH)[None])
    with journal.opened(tmp_path / "edits", store) as opened:
        assert opened.last == 0
        for fields in (
            {"op": "mask", "of": "0", **lines.wire(mask), "tool": {"grabcut": {"box": [1, 2, 3, 4]}}},
            {"op": "add", "category": 1, **lines.wire(mask), "flags": {"difficult": True}},
            {"op": "undo", "of": 1},
        ):
            opened.append(0, fields)
    written = (tmp_path / "edits").read_bytes().splitlines(keepends=True)
    parsed = [json.loads(item) for item in written]
    for item, raw in zip(parsed, written, strict=True):
        end = f',"crc":"{item.pop("crc")}"}}\n'.encode()
        assert raw.endswith(end) and f"{zlib.crc32(raw[: -len(end)]):08x}".encode() in end
    assert parsed[0] == independent.header(pack)
    assert [item["n"] for item in parsed[1:]] == [1, 2, 3] and parsed[2]["of"] == "new-2"
    assert {name: parsed[1][name] for name in ("frame", "runs")} == SQUARE
    assert all({name: item[name] for name in FIRST} == FIRST for item in parsed[1:])


def test_stale_edits_are_not_written(store: Store, tmp_path: Path) -> None:
    with journal.opened(tmp_path / "edits", store) as opened:
        assert opened.append(0, {"op": "note", "text": "a"}, after=0) is not None
        assert opened.append(0, {"op": "note", "text": "b"}, after=0) is None
        assert opened.append(1, {"op": "note", "text": "of another image"}, after=0) is not None
        assert opened.append(0, {"op": "note", "text": "b"}, after=1) is not None
        assert opened.last == 3
    assert [edit.n for edit in journal.read(tmp_path / "edits", store).histories.get(0).edits] == [1, 3]


def test_one_process_at_a_time(store: Store, tmp_path: Path) -> None:
    with journal.opened(tmp_path / "edits", store):
        with pytest.raises(LockHeld), journal.opened(tmp_path / "edits", store):
            pass
        journal.read(tmp_path / "edits", store)


def test_never_in_the_pack(pack: Path, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in the pack"), journal.opened(pack / "edits", store):
        pass
    (tmp_path / "link").symlink_to(pack)
    with pytest.raises(UsageError, match="in the pack"), journal.opened(tmp_path / "link" / "edits", store):
        pass
    assert journal.default_path(pack) == pack.parent / "pack.edits.jsonl"


# ---------------------------------------------------------------------- what stops in the middle


@pytest.mark.parametrize("cut", [1, 5, 30, 120])
def test_a_torn_end_is_cut_off_and_said(pack: Path, store: Store, tmp_path: Path, cut: int) -> None:
    file = independent.write(tmp_path / "edits", pack, [{**FIRST, "op": "note", "text": "a"}] * 3)
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    read = journal.read(file, store)
    assert read.histories.count == (3 if cut == 1 else 2)
    assert file.read_bytes() == whole[:-cut]
    with journal.opened(file, store) as opened:
        assert opened.cut == (0 if cut == 1 else len(whole.splitlines()[-1]) + 1 - cut)
        opened.append(0, {"op": "note", "text": "b"})
    assert file.read_bytes().startswith(whole if cut == 1 else b"".join(whole.splitlines(keepends=True)[:-1]))
    assert journal.read(file, store).torn == 0


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (apt-get install strace)")
@pytest.mark.parametrize("call", ["write", "fsync", "ftruncate", "rename", "flock"])
def test_killed_at_every_step_at_most_the_edit_in_flight_is_lost(
    call: str, pack: Path, store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "edits"
    command = [*WRITER, str(pack), str(file), "3"]
    for step in range(1, 40):
        file.unlink(missing_ok=True)
        inject = f"inject={call}:signal=KILL:when={step}"
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject, *command],
            capture_output=True,
            check=False,
            timeout=120,
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        told = [int(number) for number in done.stdout.split()]
        if file.exists():
            count = journal.read(file, store).histories.count
            assert len(told) <= count <= len(told) + 1
            with journal.opened(file, store) as opened:
                assert opened.append(0, {"op": "note", "text": "next"}) is not None
            assert journal.read(file, store).histories.count == count + 1
        else:
            assert told == []
        if done.returncode == 0:
            assert told == [1, 2, 3] and step > 1
            return
    pytest.fail("never unharmed")


def test_killed_by_a_signal_while_it_writes(pack: Path, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "edits"
    command = [*WRITER, str(pack), str(file), "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        told += [int(number) for number in process.stdout.read().split("\n")[:-1]]
    assert len(told) <= journal.read(file, store).histories.count <= len(told) + 1


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_an_edit_that_cannot_be_written_leaves_the_file_as_it_was(
    call: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "edits"
    with journal.opened(file, store) as opened:
        opened.append(0, {"op": "delete", "of": "0"})
        before = file.read_bytes()
        original = getattr(os, call)

        def fails(descriptor: int, *data: bytes) -> Any:
            if data:
                original(descriptor, data[0][:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            with pytest.raises(DiskError, match="full"):
                opened.append(0, {"op": "delete", "of": "1"})
        assert file.read_bytes() == before and opened.last == 1
        edit = opened.append(0, {"op": "delete", "of": "1"})
        assert edit is not None and edit.n == 2
        file.unlink()
        with pytest.raises(DiskError, match="removed"):
            opened.append(0, {"op": "note", "text": "x"})


# ---------------------------------------------------------------------- what may follow what


def note(**fields: Any) -> Edit:
    return {**FIRST, "op": "note", "text": "x", **fields}


def delete(of: str) -> Edit:
    return {**FIRST, "op": "delete", "of": of}


def undo(of: int) -> Edit:
    return {**FIRST, "op": "undo", "of": of}


def add(number: int) -> Edit:
    return {**FIRST, "op": "add", "of": f"new-{number}", "category": 0, **SQUARE}


def counted(pack: Path, store: Store, tmp_path: Path, edits: list[Edit]) -> list[int]:
    """The numbers of the edits of the first sample that count."""
    file = independent.write(tmp_path / "edits", pack, edits)
    return [edit.n for edit in journal.read(file, store).histories.get(0).active()]


def test_undo_of_undo_without_end(pack: Path, store: Store, tmp_path: Path) -> None:
    for edits, expected in (
        ([delete("0"), undo(1)], []),
        ([delete("0"), undo(1), undo(2)], [1]),
        ([delete("0"), undo(1), undo(2), undo(3)], []),
        ([delete("0"), undo(1), undo(2), undo(1)], []),
        ([delete("0"), undo(1), delete("0"), undo(3), undo(4)], [3]),
        ([add(1), delete("new-1"), undo(2), undo(1)], []),
        ([delete("0"), *(undo(n) for n in range(1, 501))], [1]),
    ):
        assert counted(pack, store, tmp_path, edits) == expected


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([undo(1)], "edit 1 is not one of this sample"),
        ([note(), undo(1), undo(1)], "is undone already"),
        ([delete("0"), undo(1), undo(2), undo(2)], "counts already"),
        ([delete("0"), delete("0")], "edit 1 deleted this object"),
        ([delete("2")], "has no object in row 2"),
        ([delete("new-1")], "adds 'new-1'"),
        ([add(7)], "not called 'new-7'"),
        ([add(1), delete("new-1"), undo(1)], "edit 2 is of the same object"),
        ([add(1), undo(1), delete("new-1")], "was undone"),
        (
            [delete("0"), undo(1), {**FIRST, "op": "category", "of": "0", "category": 0}, undo(2)],
            "edit 3 is of the same",
        ),
        ([note(of="5")], "row 5"),
        ([{**FIRST, "op": "category", "of": "0", "category": 99}], "no category 99"),
        ([{**FIRST, "op": "flags", "of": "0", "flags": {}}], "no flag"),
        ([{**FIRST, "key": "nothing", "op": "note", "text": ""}], "no sample"),
        ([{**FIRST, "split": "nowhere", "op": "note", "text": ""}], "no split 'nowhere'"),
        ([{**FIRST, "split": None, "op": "note", "text": ""}], "no sample of no split"),
        ([note(n=2)], "expected 1"),
    ],
)
def test_edits_that_cannot_be(edits: list[Edit], message: str, pack: Path, store: Store, tmp_path: Path) -> None:
    file = independent.write(
        tmp_path / "edits", pack, [{**edit, "key": edit["key"] or FIRST["key"]} for edit in _placed(edits)]
    )
    with pytest.raises(InvalidInput) as caught:
        journal.read(file, store)
    assert message in str(caught.value) and caught.value.file == str(file)
    assert (caught.value.place or "").startswith(f"line {len(edits) + 1}")


def _placed(edits: list[Edit]) -> list[Edit]:
    """Edits that were written before the pack was there, with its split."""
    return [{**edit, "split": FIRST["split"] if edit["split"] == "train2017" else edit["split"]} for edit in edits]


# ---------------------------------------------------------------------- hostile files


def runs(*values: int) -> str:
    return base64.b64encode(np.array(values, "<u2").tobytes()).decode()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"op": "paint"}, "paint"),
        ({"op": "delete"}, "missing required field `of`"),
        ({"op": "delete", "of": 3}, "Expected `str`"),
        ({"op": "delete", "of": "-1"}, "matching regex"),
        ({"op": "delete", "of": "0", "why": "x"}, "unknown field `why`"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2, 2], "runs": "%%%"}, "base64"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2, 2], "runs": runs(1, 2)}, "sum to 3"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2, 2], "runs": runs(4)}, "no pixel"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2, 2], "runs": base64.b64encode(b"abc").decode()}, "two bytes"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 0, 0], "runs": ""}, "frame is empty"),
        ({"op": "mask", "of": "0", "frame": [39, 0, 2, 1], "runs": runs(0, 2)}, "leaves the image"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2**31 - 1, 2**31 - 1], "runs": runs(0, 9)}, "leaves the image"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2**40, 1], "runs": runs(0, 9)}, "frame"),
        ({"op": "mask", "of": "0", "frame": [-1, 0, 2, 2], "runs": runs(0, 4)}, "frame"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2, 2], "runs": runs(*[65535] * 100_000)}, "sum to 6,553,500,000"),
        ({"op": "mask", "of": "0", "frame": [0, 0, 2, 2], "runs": runs(0, 4), "was": "x"}, "was"),
        ({"op": "category", "of": "0", "category": 10**30}, "category"),
        ({"op": "note", "text": "x" * 10_001}, "text"),
        ({"op": "note", "text": "x", "tool": {"a": float("nan")}}, "NaN"),
        ({"op": "flags", "of": "0", "flags": {"is_crowd": True}}, "is_crowd"),
    ],
)
def test_lines_that_are_no_edits(
    fields: dict[str, Any], message: str, pack: Path, store: Store, tmp_path: Path
) -> None:
    file = independent.write(tmp_path / "edits", pack, [{**FIRST, "op": "note", "text": "a"}, {**FIRST, **fields}])
    with pytest.raises(InvalidInput) as caught:
        journal.read(file, store)
    assert message in str(caught.value) and (caught.value.place or "").startswith("line 3")
    assert caught.value.file == str(file)


def test_damage_in_the_middle_and_what_is_no_file_of_edits(pack: Path, store: Store, tmp_path: Path) -> None:
    whole = independent.write(tmp_path / "edits", pack, [{**FIRST, "op": "note", "text": "abc"}] * 3).read_bytes()
    first, *others = whole.splitlines(keepends=True)
    for number, (data, kind, place) in enumerate(
        (
            (whole.replace(b"abc", b"abd", 1), DamagedData, "line 2"),
            (first + others[0][:-9] + b"\n" + others[1], DamagedData, "line 2"),
            (first + others[0] + b"\0" * 300 + b"\n" + others[1], DamagedData, "line 3"),
            (first + others[1], InvalidInput, "line 2, n"),
            (first + others[0] + others[0], InvalidInput, "line 3, n"),
            (first + others[0] + b"\n" + others[1], DamagedData, "line 3"),
            (first + b"x" * (lines.MAX_LINE + 5) + b"\n" + others[0], InvalidInput, "line 2"),
            (first[:-1], None, None),
            (first[:-4], DamagedData, "line 1"),
            (b"", InvalidInput, None),
            (b"{}\n", DamagedData, "line 1"),
            (independent.line({"format": "something", "version": 1}), InvalidInput, "line 1"),
            (independent.line({**independent.header(pack), "version": 2}), InvalidInput, "line 1"),
            (independent.line({**independent.header(pack), "pack": "0" * 8}), InvalidInput, "line 1"),
            (b"[" * 100_000, DamagedData, "line 1"),
            (first + independent.line({"tool": []})[:0] + _deep(), InvalidInput, "line 2"),
        )
    ):
        file = tmp_path / f"file-{number}"
        file.write_bytes(data)
        if kind is None:
            assert journal.read(file, store).histories.count == 0
            continue
        with pytest.raises(kind) as caught:
            journal.read(file, store)
        assert caught.value.file == str(file) and caught.value.place == place, (number, str(caught.value))
    with pytest.raises(NotThere):
        journal.read(tmp_path / "nothing", store)
    with pytest.raises(DiskError):
        journal.read(tmp_path, store)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DiskError):
        journal.read(tmp_path / "pipe", store)


def _deep() -> bytes:
    """An edit that is nested deeper than any parser goes, with the right checksum."""
    body = b'{"n":1,"tool":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000
    return body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def test_keys_of_any_bytes(tmp_path: Path) -> None:
    sample = segdata.Sample.build(
        "a\udcff/\u202eb", size=(8, 8), masks=np.ones((1, 8, 8)), category=["x"], labels=["x"]
    )
    segdata.write([sample], tmp_path / "pack", labels=["x"])
    store = segdata.open(tmp_path / "pack")._store
    with journal.opened(tmp_path / "edits", store) as opened:
        opened.append(0, {"op": "delete", "of": "0"})
    assert journal.read(tmp_path / "edits", store).histories.get(0).active()
    segdata.apply(tmp_path / "edits", tmp_path / "pack", tmp_path / "out")
    assert len(segdata.open(tmp_path / "out")[0].instances) == 0
