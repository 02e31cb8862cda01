"""What a stopped conversion left for the next run, with anything else in it, is used, made anew or refused: never in silence.

Ten thousand mutants a door with `scripts/test --full`, some dozens without.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import segdata
from segdata.conversion import job, to_pack
from segdata.system.files import canonical_json, crc32
from tests.helpers import ends, made
from tests.helpers.command import tree

SHORT, FULL = 30, 10_000
DOORS = {"pack": "pack", "folder": "voc"}
STOPS = {"pack": (to_pack, "_commit"), "folder": (job.Job, "report")}
"""Door → what is done when all shards are."""


def convert(source: Path, target: Path, door: str) -> None:
    segdata.convert(source, target, to=DOORS[door], workers=1, shard_samples=1, allow_loss=True)


def stopped(door: str, folder: Path) -> Path:
    """A folder with a conversion that was stopped when all its shards were done; its source is beside it."""

    def stop(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    source = made.coco(folder / "source")
    convert(source, folder / "mutant/target", door)
    (folder / "mutant/target").rename(folder / "expected")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*STOPS[door], stop)
        convert(source, folder / "work/target", door)
    return folder / "work"


def entered(door: str, folder: Path) -> Callable[[random.Random], object]:
    work = stopped(door, folder)
    expected, outside = tree(folder / "expected"), tree(folder / "source")

    def call(random_: random.Random) -> object:
        mutant = folder / "mutant"
        shutil.rmtree(mutant, ignore_errors=True)
        shutil.copytree(work, mutant)
        path = random_.choice(sorted(mutant.rglob("receipt-*.json")))
        data = path.read_bytes()
        if is_forged := random_.random() < 0.5:
            content = ends.changed(whole := json.loads(data)["content"], random_)
            if door == "folder" and isinstance(content, dict):
                content["written"] = whole[
                    "written"
                ]  # whoever forges this knows the start of the machine, which it names
            path.write_text(json.dumps({"crc32": crc32(canonical_json(content)), "content": content}))
        else:
            path.write_bytes(ends.damaged(data, random_))
        try:
            convert(folder / "source", mutant / "target", door)
        finally:
            others = {file.name for file in mutant.iterdir()} - {"target", *(file.name for file in work.iterdir())}
            assert not others and tree(folder / "source") == outside, others
        if not is_forged and tree(mutant / "target") != expected:
            return ends.Fault("another result")
        return None

    return call


@pytest.mark.parametrize("door", DOORS)
def test_mutants_are_used_made_anew_or_refused(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", DOORS)
def test_ten_thousand_mutants(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT, SHORT + FULL))


def test_a_receipt_moves_no_file_out_of_the_target(tmp_path: Path) -> None:
    work = stopped("pack", tmp_path)
    path = next(work.rglob("receipt-00000.json"))
    content = json.loads(path.read_bytes())["content"]
    (work / "mine").write_text("mine")
    part, final = content["files"].popitem()
    content["files"][part] = "../mine"
    for entry in (content["entry"]["images"], content["entry"]["annotations"]):
        entry["file"] = "../mine" if entry["file"] == final else entry["file"]
    path.write_bytes(canonical_json({"crc32": crc32(canonical_json(content)), "content": content}))
    convert(tmp_path / "source", work / "target", "pack")
    assert (work / "mine").read_text() == "mine" and tree(work / "target") == tree(tmp_path / "expected")


def test_a_link_in_the_work_of_a_pack_is_not_written_through(tmp_path: Path) -> None:
    work = stopped("pack", tmp_path)
    (tmp_path / "mine").write_text("mine")
    path = next(work.rglob("receipt-00000.json"))
    path.with_name(".images-00000.part").unlink()
    path.with_name(".images-00000.part").symlink_to(tmp_path / "mine")
    path.unlink()
    convert(tmp_path / "source", work / "target", "pack")
    assert (tmp_path / "mine").read_text() == "mine" and tree(work / "target") == tree(tmp_path / "expected")
