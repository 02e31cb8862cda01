"""Packs sent to a bucket and fetched from one: whole or unseen, and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import segdata
from segdata.errors import DamagedData, LockHeld, NetworkError, NotThere, UsageError
from segdata.places import connection
from tests.helpers import made
from tests.helpers.bucket import Bucket, bucket
from tests.helpers.command import Here
from tests.helpers.packs import flip
from tests.helpers.server import Exchange

__all__ = ["bucket"]

PLACE = "s3://data/sets/pack"


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pack of two shards, and another pack."""
    folder = tmp_path_factory.mktemp("packs")
    segdata.convert(made.coco(folder / "source"), folder / "one", shard_samples=2)
    segdata.convert(made.voc(folder / "voc"), folder / "other")
    return folder / "one", folder / "other"


def names(pack: Path) -> set[str]:
    """The files that a bucket has of a pack: all but the copy of the index."""
    return {f"sets/pack/{path.name}" for path in pack.iterdir() if path.name != "pack-copy.json"}


def test_what_was_pushed_is_pulled_again(packs: tuple[Path, Path], bucket: Bucket, tmp_path: Path) -> None:
    sent = segdata.push(packs[0], PLACE, allow_http=True)
    assert bucket.objects.keys() == names(packs[0])
    puts = [request for request in bucket.server.requests if request.method == "PUT"]
    assert puts[-1].path.endswith("/sets/pack/pack.json") and puts[-1].headers["if-none-match"] == "*"
    assert (sent.counts.files, sent.counts.kept, sent.was_done) == (len(names(packs[0])) - 1, 0, False)
    segdata.pull(PLACE, tmp_path / "pack", allow_http=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "pack").iterdir()} == {
        path.name: path.read_bytes() for path in packs[0].iterdir()
    }
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    assert segdata.push(packs[0], PLACE, allow_http=True).was_done
    assert segdata.pull(PLACE, tmp_path / "pack", allow_http=True).was_done


def test_a_stopped_push_is_unseen_and_goes_on(
    packs: tuple[Path, Path], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRIES", 0)
    last = f"sets/pack/{max(path.name for path in packs[0].glob('images-*'))}"
    bucket.faults[last] = lambda x: x.answer(404 if x.request.method == "HEAD" else 500, b"")
    with pytest.raises(NetworkError, match="500"):
        segdata.push(packs[0], PLACE, allow_http=True)
    with pytest.raises(NotThere, match="there is no pack at s3://data/sets/pack"):
        segdata.open(PLACE, allow_http=True)
    bucket.faults.clear()
    there = len(bucket.objects)
    assert there >= 1
    report = segdata.push(packs[0], PLACE, allow_http=True)
    assert (report.counts.kept, report.counts.files) == (there, len(names(packs[0])) - 1 - there)


def test_a_stopped_pull_goes_on_within_a_file(packs: tuple[Path, Path], bucket: Bucket, tmp_path: Path) -> None:
    bucket.add(packs[0], "sets/pack")
    name = bucket.the("images-00000")
    data = bucket.objects[name]
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / f".{Path(name).name}.part").write_bytes(data[:1000])
    segdata.pull(PLACE, tmp_path / "pack", allow_http=True)
    assert [headers["range"] for headers in bucket.of("GET", name)] == [f"bytes=1000-{len(data) - 1}"]
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    assert not list((tmp_path / "pack").glob(".*"))


def test_another_pack_needs_force_and_is_replaced_as_it_was_read(packs: tuple[Path, Path], bucket: Bucket) -> None:
    bucket.add(packs[1], "sets/pack")
    with pytest.raises(UsageError, match="another pack is there") as refused:
        segdata.push(packs[0], PLACE, allow_http=True)
    assert "samples" in str(refused.value.why)
    segdata.push(packs[0], PLACE, force=True, clean=True, allow_http=True)
    assert bucket.of("PUT", "/pack.json")[-1]["if-match"]
    assert bucket.objects.keys() == names(packs[0]) | {"sets/pack/pack-copy.json"}
    assert len(segdata.open(PLACE, allow_http=True)) == len(segdata.open(packs[0]))


def other_first(bucket: Bucket, other: Path) -> Callable[[Exchange], None]:
    """Lets another push win: its index is put when ours arrives."""

    def route(x: Exchange) -> None:
        del bucket.faults["sets/pack/pack.json"]
        if x.request.method == "PUT":
            bucket.add(other, "sets/pack")
        else:
            bucket.faults["sets/pack/pack.json"] = route
            x.answer(404, b"")
            return
        bucket._answer(x)

    return route


def test_a_lost_race_names_the_other(packs: tuple[Path, Path], bucket: Bucket, here: Here) -> None:
    bucket.faults["sets/pack/pack.json"] = other_first(bucket, packs[1])
    done = here("push", packs[0], PLACE, "--allow-http", "--json")
    assert done.code == LockHeld.exit_code == 9
    error = json.loads(done.out)["error"]
    assert error["why"].startswith("3 samples") or "samples (" in error["why"]
    assert json.loads(bucket.objects["sets/pack/pack.json"]) == json.loads((packs[1] / "pack.json").read_bytes())


def test_a_store_without_conditional_writes_is_found_out(packs: tuple[Path, Path], bucket: Bucket) -> None:
    bucket.has_conditions = False
    with pytest.raises(UsageError, match="does not know conditional writes"):
        segdata.push(packs[0], PLACE, allow_http=True)
    assert bucket.objects == {}
    segdata.push(packs[0], PLACE, conditional=False, allow_http=True)
    assert bucket.objects.keys() == names(packs[0])


def test_a_damaged_file_is_neither_sent_nor_kept(packs: tuple[Path, Path], bucket: Bucket, tmp_path: Path) -> None:
    segdata.push(packs[0], PLACE, allow_http=True)
    name = bucket.the("annotations-00001")
    bucket.objects[name] = bucket.objects[name][:-1] + b"#"
    with pytest.raises(DamagedData, match="not what was recorded") as damaged:
        segdata.pull(PLACE, tmp_path / "pack", allow_http=True)
    assert damaged.value.file == f"s3://data/{name}"
    assert not (tmp_path / "pack" / "pack.json").exists()
    assert segdata.push(packs[0], PLACE, check=True, allow_http=True).counts.files == 1
    segdata.pull(PLACE, tmp_path / "pack", allow_http=True)
    flip(next((tmp_path / "pack").glob("images-00000*")), 3000)
    bucket.objects.clear()
    with pytest.raises(DamagedData, match="not what was recorded"):
        segdata.push(tmp_path / "pack", PLACE, allow_http=True)
    assert "sets/pack/pack.json" not in bucket.objects


def test_what_cannot_be_pushed_or_pulled_says_why(packs: tuple[Path, Path], bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a web server is only read from"):
        segdata.push(packs[0], "https://example.org/pack")
    segdata.convert(packs[0].parent / "source", tmp_path / "reference", images="reference")
    with pytest.raises(UsageError, match="would be missing there"):
        segdata.push(tmp_path / "reference", PLACE, allow_http=True)
    bucket.add(packs[0], "sets/pack")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else"):
        segdata.pull(PLACE, tmp_path / "mine", allow_http=True)
