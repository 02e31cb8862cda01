"""A run, a checkpoint or a file of weights with anything else in it is read, or refused by a declared error: never otherwise.

Ten thousand mutants a door with `scripts/test --full`, some dozens without.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import segdata
from segdata.demo.synthetic import objects
from segdata.models import checkpoint
from segdata.models.maskrcnn import weights
from segdata.models.maskrcnn.augment import categories_of
from segdata.models.maskrcnn.network import build
from segdata.system.files import canonical_json
from segdata.training import trainer
from segdata.training.config import TrainConfig
from segdata.training.distributed import World
from segdata.training.runs import comparison, history, report
from segdata.training.trackers import run_folder
from segdata.training.trackers.base import All
from segdata.training.trackers.run_folder import RunFolder
from tests.helpers import ends
from tests.helpers.tiny_training import TINY

SHORT, FULL = 5, 10_000
SETTINGS = {**TINY, "backbone_width": 0.125, "checkpoint_steps": 1, "validation_images": 1, "optimizer": "adamw"}


def make(folder: Path) -> Path:
    """A pack and a run of two updates on it; the run's folder."""
    segdata.convert(objects.draw(folder / "raw", train=2, val=1, height=96, width=128), folder / "pack")
    pack = segdata.open(folder / "pack")
    run = folder / "run"
    config = TrainConfig.from_dict(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda *_, **__: None)
        trainer.train(pack.split("train2017"), run, config, validate=pack.split("val2017"), device="cpu")
    return run


def described(path: Path, random_: random.Random) -> None:
    """Change a checkpoint's description, and correct its checksum."""
    document = json.loads(path.read_bytes())["content"]
    changed = ends.changed(document, random_)
    text = canonical_json(changed)
    path.write_bytes(canonical_json({"crc32": f"{zlib.crc32(text):08x}", "content": changed}))


def tensors(path: Path, random_: random.Random) -> None:
    """Change the header or the bytes of a checkpoint's tensors, and correct their digest and the checksum."""
    document = json.loads(path.read_bytes())["content"]
    file = path.with_name(document["tensors"]["file"])
    data = safetensors(file.read_bytes(), random_)
    file.write_bytes(data)
    document["tensors"] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    text = canonical_json(document)
    path.write_bytes(canonical_json({"crc32": f"{zlib.crc32(text):08x}", "content": document}))


def safetensors(data: bytes, random_: random.Random) -> bytes:
    """The bytes of a safetensors file with another header, or with anything else."""
    size = int.from_bytes(data[:8], "little")
    if random_.random() < 0.3:
        return ends.damaged(data[: 8 + size], random_) + data[8 + size :]
    header = json.loads(data[8 : 8 + size])
    entries = list(header)
    action = random_.choice(("any", "shape", "kind", "name", "swap", "drop"))
    one, other = random_.choice(entries), random_.choice(entries)
    if action == "any":
        header = ends.changed(header, random_)
    elif action == "shape":
        header[one]["shape"] = [1, *header[one]["shape"]]
    elif action == "kind":
        header[one]["dtype"] = random_.choice(("I32", "F16", "U8", "C64", "F8_E4M3", "BF16", "BOOL", "x"))
    elif action == "name":
        header[f"{one}.x" if random_.random() < 0.5 else "optimizer.x"] = header.pop(one)
    elif action == "swap":
        header[one], header[other] = header[other], header[one]
    else:
        del header[one]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def newest(run: Path) -> Path:
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    return path.with_suffix(".json")


def predicting(run: Path) -> object:
    """Everything that prediction reads of a run; the network has no values, so that thousands do not take an hour."""
    source = weights.read(run)
    assert source.labels is not None and source.config is not None
    config = TrainConfig.from_dict(source.config, file=run)
    with torch.device("meta"):
        network = build(config.model, len(categories_of(source.labels)))
    weights.fits(source, network)
    return config.as_toml()


def resuming(run: Path) -> Callable[[Path], object]:
    """Everything that a training reads of a run to go on from it."""
    pack = segdata.open(run.parent / "pack").split("train2017")
    world = World(0, 1, torch.device("cpu"))
    config = TrainConfig.from_dict(SETTINGS)
    training = trainer._Training(
        pack, run, config, world, validate=None, tracker=All(RunFolder(run), []), progress=None, tell=None
    )

    def begin(mutant: Path) -> object:
        training.run = mutant
        run_folder.cut_back(mutant, 1)
        training.begin(None)
        return training.step

    return begin


def logged(run: Path) -> object:
    """Everything that is shown of runs side by side."""
    return [json.dumps(comparison.compare([run, run]).as_dict()), history.read(run).metric]


def any_file(run: Path, random_: random.Random) -> None:
    """Change one of the files that are no checkpoint."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.parent.name != "checkpoints")
    path = random_.choice([path for path in files if not path.name.startswith("best")])
    data = path.read_bytes()
    if path.suffix == ".json" and random_.random() < 0.7:
        path.write_text(json.dumps(ends.changed(json.loads(data), random_)))
    elif path.suffix == ".jsonl" and random_.random() < 0.7:
        rows = ends.changed([json.loads(line) for line in data.splitlines()], random_)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) if isinstance(rows, list) else "x")
    else:
        path.write_bytes(ends.damaged(data, random_))


Change = Callable[[Path, random.Random], None]
DOORS: dict[str, tuple[Change, Callable[[Path], Callable[[Path], object]]]] = {
    "description": (lambda run, random_: described(run / "best.json", random_), lambda _: predicting),
    "tensors": (lambda run, random_: tensors(run / "best.json", random_), lambda _: predicting),
    "resumed description": (lambda run, random_: described(newest(run), random_), resuming),
    "resumed tensors": (lambda run, random_: tensors(newest(run), random_), resuming),
    "shown tensors": (lambda run, random_: tensors(newest(run), random_), lambda _: history.weights),
    "history": (any_file, lambda _: logged),
    "page": (any_file, lambda _: report.write),
}
SLOW = ("page",)


def entered(door: str, original: Path) -> Callable[[random.Random], object]:
    change, made = DOORS[door]
    enter = made(original)

    def call(random_: random.Random) -> object:
        mutant = original.parent / "mutant"
        shutil.rmtree(mutant, ignore_errors=True)
        shutil.copytree(original, mutant)
        change(mutant, random_)
        return enter(mutant)

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("door", DOORS)
def test_mutants_are_read_or_refused(door: str, run: Path) -> None:
    if door not in SLOW:
        DOORS[door][1](run)(run)
    assert not ends.all_wrong(entered(door, run), range(SHORT if door not in SLOW else 1))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"data": {"images": {}}}),
        ("config.json", {"data": {"validation_images": "3"}}),
        ("config.json", {"data": {"labels": 2}}),
        ("config.json", {"data": {"remarks": [1]}}),
        ("config.json", {"data": "coco"}),
        ("environment.json", {"gpus": [[]]}),
        ("environment.json", {"command": ["segdata"]}),
    ],
)
def test_what_a_page_says_of_a_run_is_checked_when_it_is_read(
    run: Path, tmp_path: Path, file: str, change: dict[str, object]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(segdata.errors.DamagedData, match=f"(?s)the run's file is damaged.*{file}"):
        report.write(tmp_path / "run")


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("door", DOORS)
def test_ten_thousand_mutants(door: str, run: Path) -> None:
    assert not ends.all_wrong(entered(door, run), range(SHORT, SHORT + (FULL if door not in SLOW else FULL // 20)))
