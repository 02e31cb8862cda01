"""A training that is stopped, killed or spread over processes comes to the same weights."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import segdata
from segdata.demo.synthetic import objects
from segdata.models import checkpoint
from segdata.models.maskrcnn import average_precision, losses
from segdata.models.maskrcnn import model as maskrcnn
from segdata.training import trainer as engine
from segdata.training.config import TrainConfig
from segdata.training.trackers import run_folder
from tests.helpers.command import Here
from tests.helpers.tiny_training import TINY, described

pytestmark = pytest.mark.usefixtures("without_pages")

LIMIT = 200
"""Seconds that one command may take."""

STEPS = {
    **TINY,
    "steps_per_epoch": 2,
    "epochs": 2,
    "checkpoint_steps": 1,
    "log_steps": 3,
    "validation_images": 4,
    "workers": 1,
}
"""Four updates, validated after the second and the fourth; batches of two."""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    segdata.convert(objects.draw(folder / "raw", train=6, val=4, height=96, width=128), folder / "pack")
    return folder / "pack"


def words(pack: Path, run: Path, **changes: Any) -> list[str]:
    options = [f"--set={name}={json.dumps(value)}" for name, value in {**STEPS, **changes}.items()]
    return ["train", str(pack), "-o", str(run), "--threads", "1", "--json", "--device", "cpu", *options]


def command(pack: Path, run: Path, **changes: Any) -> list[str]:
    return [sys.executable, "-m", "segdata", *words(pack, run, **changes)]


def to_the_end(arguments: list[str]) -> Any:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def numbers(run: Path) -> list[dict[str, float]]:
    """What was logged, but for what the machine did."""
    return [{name: row[name] for name in row if not name.startswith("system/")} for row in run_folder.lines(run)]


def newest(run: Path) -> Path:
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    return path


def assert_same(run: Path, other: Path) -> None:
    """Weights, the optimiser's sums, the best weights, metrics, and which files there are."""
    for mine, theirs in ((newest(run), newest(other)), (run / "best", other / "best")):
        (tensors, document), (expected, wanted) = checkpoint.load(mine), checkpoint.load(theirs)
        assert document == wanted and tensors.keys() == expected.keys()
        for name, value in tensors.items():
            assert torch.equal(value, expected[name]), name
    assert any(name.startswith("optimizer.") for name in checkpoint.load(newest(run))[0])
    assert numbers(run) == numbers(other)
    files = [{path.relative_to(one).as_posix() for path in one.rglob("*")} for one in (run, other)]
    assert files[0] ^ files[1] <= {"report.html"}


@pytest.fixture(scope="module")
def whole(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    opened = segdata.open(pack)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    engine.train(
        opened.split("train2017"), run, TrainConfig.from_dict(STEPS), validate=opened.split("val2017"), device="cpu"
    )
    torch.set_num_threads(before)
    assert [row["step"] for row in numbers(run)] == [2, 3, 4, 4]
    return run


MOMENTS: dict[str, tuple[Any, str, int]] = {
    "an update": (losses, "losses", 2),
    "the first photos of a validation": (maskrcnn, "detect", 1),
    "the last photos of a validation": (maskrcnn, "detect", 2),
    "the metrics of a validation": (average_precision, "average_precision", 1),
    "the best weights are written": (checkpoint, "save", 2),
}
"""Which call of which function signals come before."""

ORDINARY = {
    ("the first photos of a validation", signal.SIGINT, 1),
    ("the best weights are written", signal.SIGINT, 2),
}


CASES = [
    pytest.param(*case, marks=() if case in ORDINARY else pytest.mark.full, id=f"{case[0]}-{case[1].name}-{case[2]}")
    for case in itertools.product(MOMENTS, (signal.SIGINT, signal.SIGTERM), (1, 2))
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("moment", "number", "count"), CASES)
def test_a_signal_stops_the_run_which_goes_on_to_the_same_weights(
    moment: str, number: int, count: int, pack: Path, whole: Path, tmp_path: Path, here: Here
) -> None:
    run = tmp_path / "run"
    room, name, call = MOMENTS[moment]
    inner: Callable[..., Any] = getattr(room, name)
    calls = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            for _ in range(count):
                signal.raise_signal(number)
        return inner(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, name, interrupted)
        done = here(*words(pack, run))
    assert calls >= call and done.code == 128 + number == done.document["error"]["exit"], done.err
    assert json.loads((run / "state.json").read_text()) == {"state": "stopped"}
    again = here(*words(pack, run)).document
    assert again["steps"] == 4 and again["resumed_at"] == (2 if count == 1 else 1)
    assert_same(run, whole)
    assert json.loads((run / "state.json").read_text()) == {"state": "done"}


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_process_that_is_stopped_from_outside_goes_on_to_the_same_weights(
    number: int, code: int, pack: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(command(pack, run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        limit = time.monotonic() + LIMIT
        while not checkpoint.step_path(run / "checkpoints", 1).with_suffix(".json").exists():
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT)
    if process.returncode == 0:
        pytest.skip("the training was over before the signal came")
    assert process.returncode == code, err
    assert to_the_end(command(pack, run))["resumed_at"] >= 1
    assert_same(run, whole)


class _Killed(BaseException):
    """Stands for a kill: from the call on that raises it, nothing reaches the disk any more."""


def _disk_until(step: int, patch: pytest.MonkeyPatch) -> None:
    """Let the calls that change the disk go through until the one with this number."""
    left = step

    def counted(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                raise _Killed
            return inner(*arguments, **options)

        return call

    for name in ("open", "fsync", "replace", "unlink", "listdir"):
        patch.setattr(os, name, counted(getattr(os, name)))


def test_a_kill_at_any_step_of_replacing_the_best_weights_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "best"
    old, new = torch.zeros(3), torch.ones(3)
    seen = []
    for step in range(1, 100):
        checkpoint.save(path, {"model.a": old}, described(1))
        with pytest.MonkeyPatch.context() as patch:
            _disk_until(step, patch)
            try:
                checkpoint.save(path, {"model.a": new}, described(2))
                is_done = True
            except _Killed:
                is_done = False
        tensors, document = checkpoint.load(checkpoint.of_run(tmp_path))
        assert torch.equal(tensors["model.a"], new if document["step"] == 2 else old)
        seen.append(document["step"])
        checkpoint.save(path, {"model.a": new}, described(2))
        assert torch.equal(checkpoint.load(path)[0]["model.a"], new)
        if is_done:
            break
    assert seen == sorted(seen) and set(seen) == {1, 2} and step > 8
    assert len(list(tmp_path.iterdir())) == 2


_KILLED_AT = """
import os, sys
from segdata.models import checkpoint
from segdata.training.step import TrainStep
count, limit = 0, int(sys.argv.pop(1))
inner = {"write": checkpoint.write_whole, "update": TrainStep.update}

def tick(name):
    def call(*arguments, **options):
        global count
        count += 1
        if count == limit:
            os.kill(os.getpid(), 9)
        return inner[name](*arguments, **options)
    return call

checkpoint.write_whole, TrainStep.update = tick("write"), tick("update")
from segdata.cli import main
main(sys.argv[1:])
"""


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_killed_at_every_step_it_goes_on_to_the_same_weights(pack: Path, whole: Path, tmp_path: Path) -> None:
    """Killed before every update and every file of a checkpoint, one after another in the same run."""
    run = tmp_path / "run"
    arguments = words(pack, run)
    # an update with the best weights and a checkpoint is five calls, so each attempt gets further
    for attempt in range(20):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED_AT, str(6 + attempt % 3), *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
    else:
        pytest.fail("the run never ended")
    assert_same(run, whole)


_TOLD_ALONE = """
import os, signal, sys
from segdata.training import trainer as engine
inner = engine._Training._log
def told(self):
    inner(self)
    if os.environ["RANK"] == "1" and self.step == 2:
        signal.raise_signal(signal.SIGTERM)
engine._Training._log = told
from segdata.cli import main
main(sys.argv[1:])
"""


@pytest.mark.full
@pytest.mark.timeout(600)
def test_all_processes_stop_when_one_is_told_to_between_updates(pack: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_TOLD_ALONE)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(
        [*launcher, *words(pack, tmp_path / "run", batch_size=1, log_steps=1)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode != 0
    assert newest(tmp_path / "run").name == "step-00000002"
    assert json.loads((tmp_path / "run" / "state.json").read_text()) == {"state": "stopped"}


_DOUBLE = """
import sys, torch
torch.set_default_dtype(torch.float64)
torch.float32, torch.Tensor.float = torch.float64, torch.Tensor.double
from segdata.models.maskrcnn import losses
inner = losses.ground_truth
def doubled(item, device):
    return {name: values.double() if name == "boxes" else values for name, values in inner(item, device).items()}
losses.ground_truth = doubled
from segdata.cli import main
main(sys.argv[1:])
"""
"""The command with numbers of twice the length, so that rounding hides nothing."""


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("double", "tolerance"), [(False, 1e-4), (True, 1e-12)], ids=["float32", "float64"])
def test_two_processes_follow_one(double: bool, tolerance: float, pack: Path, tmp_path: Path) -> None:
    """Ten updates with the same four images each: by one process, and by two of two. Also the optimiser's sums."""
    same = {
        "norm": "frozen", "fixed_size": True, "steps_per_epoch": 10, "epochs": 1, "log_steps": 1, "aspect_batches": False,
        "checkpoint_steps": 0, "learning_rate": 0.001, "validate_epochs": 0,
        "seed": 1,  # with which no rank of a proposal is left to rounding
    }  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    program = tmp_path / "program.py"
    program.write_text(_DOUBLE if double else "import sys\nfrom segdata.cli import main\nmain(sys.argv[1:])\n")
    to_the_end([sys.executable, str(program), *words(pack, one, batch_size=4, **same)])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(
        [*launcher, *words(pack, two, batch_size=2, **same)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = numbers(one), numbers(two)
    assert len(first) == 10
    for mine, theirs in zip(first, second, strict=True):
        assert mine["step"] == theirs["step"]
        assert mine["train/loss"] == pytest.approx(theirs["train/loss"], rel=tolerance)
    tensors, others = checkpoint.load(newest(one))[0], checkpoint.load(newest(two))[0]
    for name, value in tensors.items():
        assert value.dtype == (torch.float64 if double else torch.float32)
        if double or name.startswith("model."):
            assert torch.allclose(value, others[name], atol=tolerance / 10, rtol=tolerance), name
