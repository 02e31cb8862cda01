"""The demo's second half: the weights that ship are whole, and find what they were not trained on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

import segdata
from segdata.demo import learn
from segdata.errors import DamagedData
from segdata.models import checkpoint
from tests.helpers.command import Here, run_segdata
from tests.test_repository import ROOT

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")

WEIGHTS = ROOT / "segdata/demo/weights"
ENOUGH = 0.4


def test_the_weights_are_those_whose_digest_was_recorded(tmp_path: Path) -> None:
    (file,) = WEIGHTS.glob("*.safetensors")
    stated = json.loads((WEIGHTS / "tables.json").read_text())["content"]["tensors"]
    assert stated["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    tensors, _ = checkpoint.load(WEIGHTS / "tables")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    shutil.copytree(WEIGHTS, tmp_path, dirs_exist_ok=True)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    (tmp_path / file.name).write_bytes(data)
    with pytest.raises(DamagedData):
        checkpoint.load(tmp_path / "tables")


def test_the_demo_evaluates_images_that_nothing_was_trained_on(tmp_path: Path, here: Here) -> None:
    learn.begin(tmp_path)
    script = (ROOT / "scripts/demo-weights").read_text()
    assert re.search(r"^SEED = (?!0$)\d", script, re.MULTILINE)  # the demo's is 0
    convert, _, predict, _ = (list(words) for words in learn.commands(tmp_path))
    assert run_segdata(*convert).code == 0
    pack = segdata.open(tmp_path / "tables")
    bytes_of = {name: {sample.encoded for sample in pack.split(name)} for name in pack.splits}
    assert [len(images) for images in bytes_of.values()] == [learn.TRAIN, learn.VAL]
    assert not bytes_of["train2017"] & bytes_of["val2017"]
    predict[1] = str(tmp_path / "small/tables.json")  # what ships, before the steps of the demo
    assert here(*predict).code == 0
    result = learn.result(tmp_path)
    assert result.ap >= ENOUGH and result.images == learn.VAL
    assert result.picture.stat().st_size > 10_000


@pytest.mark.full
def test_the_whole_demo_ends_with_what_to_type_next(tmp_path: Path) -> None:
    outcome = run_segdata("demo", tmp_path / "demo", timeout=600)
    assert outcome.code == 0, outcome.err
    match = re.search(r"^mask AP +(0\.\d+) on 16 images", outcome.out, re.MULTILINE)
    assert match is not None and float(match[1]) >= ENOUGH
    assert "segdata convert FOLDER packs/mine" in outcome.out
    again = run_segdata("demo", tmp_path / "demo", "--json", timeout=600)
    assert again.document["training"]["AP"] >= ENOUGH
