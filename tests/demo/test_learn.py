"""The demo's second half: the weights that ship are whole, and are good on images that they were not trained on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

import segdata
from segdata.demo import learn
from segdata.demo.learn import LESSONS, Lesson
from segdata.errors import DamagedData
from segdata.models import checkpoint
from tests.helpers.command import Here, run_segdata
from tests.test_repository import ROOT

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")

WEIGHTS = ROOT / "segdata/demo/weights"
ENOUGH = {"tables": 0.4, "streets": 0.6}
"""The least mask AP and mIoU."""
BYTES = {"tables": 2_600_000, "streets": 1_500_000}
"""What the weights may take of the wheel."""

lessons = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


@lessons
def test_the_weights_are_those_whose_digest_was_recorded(lesson: Lesson, tmp_path: Path) -> None:
    (file,) = WEIGHTS.glob(f"{lesson.name}-*.safetensors")
    stated = json.loads((WEIGHTS / f"{lesson.name}.json").read_text())["content"]["tensors"]
    assert stated["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.stat().st_size <= BYTES[lesson.name]
    tensors, _ = checkpoint.load(WEIGHTS / lesson.name)
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float16}
    shutil.copytree(WEIGHTS, tmp_path, dirs_exist_ok=True)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    (tmp_path / file.name).write_bytes(data)
    with pytest.raises(DamagedData):
        checkpoint.load(tmp_path / lesson.name)


@lessons
def test_the_demo_evaluates_images_that_nothing_was_trained_on(lesson: Lesson, tmp_path: Path, here: Here) -> None:
    source = learn.begin(tmp_path, lesson)
    script = (ROOT / "scripts/demo-weights").read_text()
    assert re.search(r"^SEED = (?!0$)\d", script, re.MULTILINE)  # the demo's is 0
    convert, _, predict, _ = (list(words) for words in learn.commands(tmp_path, lesson, source))
    assert run_segdata(*convert).code == 0
    pack = segdata.open(tmp_path / "packs" / lesson.name)
    bytes_of = {name: {sample.encoded for sample in pack.split(name)} for name in pack.splits}
    train = bytes_of[next(name for name in bytes_of if name.startswith("train"))]
    assert (len(train), len(bytes_of[lesson.split])) == (lesson.train, lesson.val)
    assert not train & bytes_of[lesson.split]
    predict[1] = str(tmp_path / f"small/{lesson.name}.json")  # what ships, before the steps of the demo
    assert here(*predict).code == 0
    result = learn.result(tmp_path, lesson)
    assert result.score >= ENOUGH[lesson.name] and result.images == lesson.val
    assert result.picture.stat().st_size > 10_000


@pytest.mark.full
def test_the_whole_demo_ends_with_what_to_type_next(tmp_path: Path) -> None:
    outcome = run_segdata("demo", tmp_path / "demo", timeout=600)
    assert outcome.code == 0, outcome.err
    for lesson in LESSONS:
        match = re.search(rf"^{lesson.title} +(0\.\d+) on {lesson.val} images", outcome.out, re.MULTILINE)
        assert match is not None and float(match[1]) >= ENOUGH[lesson.name]
    assert "segdata convert FOLDER packs/mine" in outcome.out
    assert "segdata train packs/mine -o runs/mine --model deeplabv3" in outcome.out.rsplit("\n\n", 1)[1]
    again = run_segdata("demo", tmp_path / "demo", "--json", timeout=600)
    for lesson in LESSONS:
        assert again.document["training"][lesson.name][lesson.number] >= ENOUGH[lesson.name]
