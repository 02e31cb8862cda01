"""Without PyTorch, safetensors, SciPy and matplotlib: every verb does its work or says what to install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import segdata
from segdata.demo.synthetic import objects

BLOCKED = ("torch", "torchvision", "safetensors", "scipy", "matplotlib")
"""What only extras install."""

LIGHT = f"""
import json, sys

class Light:
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec is not None), None)

sys.meta_path[:] = [Light(list(sys.meta_path))]
"""
"""Python whose imports are those of an environment without these packages."""

VERBS = """
import contextlib, io
from segdata import cli

outcomes = {}
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(words)
        except SystemExit as end:
            code = end.code
    outcomes[" ".join(words[:2])] = [code, err.getvalue()]
print(json.dumps(outcomes))
"""

NAMES = """
import segdata

outcomes = {}
for name in [*segdata.__all__, "errors", "torch"]:
    try:
        getattr(segdata, name)
    except ImportError as error:
        outcomes[name] = str(error)
print(json.dumps(outcomes))
"""


def light(script: str, given: object = None) -> dict[str, Any]:
    """What a script prints in an environment without the packages."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT + script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=Path(segdata.__file__).resolve().parents[1],
        check=True,
    )
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


def test_every_verb_works_or_says_what_to_install(tmp_path: Path) -> None:
    raw = objects.draw(tmp_path / "raw", train=2, val=1, height=64, width=96)
    segdata.convert(raw, tmp_path / "pack")
    pack, run, weights = (str(tmp_path / name) for name in ("pack", "run", "weights.h5"))
    made = [str(tmp_path / f"made-{number}") for number in range(9)]
    needs = {
        ("train", pack): (["-o", run], "segdata[train]"),
        ("predict", run): ([pack, "-o", made[0]], "segdata[train]"),
        ("predict", weights): ([pack, "-o", made[1]], "segdata[train]"),
        ("runs", run): ([], "segdata[train]"),
        ("stats", f"--plots={made[2]}"): ([pack], "segdata[plots]"),
        ("evaluate", f"--report={made[3]}"): ([pack, pack, "--metric", "panoptic"], "segdata[plots]"),
    }
    works: list[list[str]] = [
        ["convert", str(raw), made[4]],
        ["info", pack],
        ["verify", pack],
        ["stats", pack],
        ["show", pack, "-o", f"{made[5]}.png"],
        ["evaluate", pack, pack, "--metric", "panoptic"],
        ["config", "maskrcnn"],
        ["list", "--root", made[6]],
    ]
    outcomes = light(VERBS, [*([*words, *more] for words, (more, _) in needs.items()), *works])
    for words, (_, extra) in needs.items():
        code, text = outcomes[" ".join(words)]
        assert code == 2 and "error[UsageError]" in text and f"pip install '{extra}'" in text, text
    assert "torch, torchvision, safetensors, scipy" in outcomes[f"train {pack}"][1]
    for one in works:
        assert outcomes[" ".join(one[:2])][0] == 0, outcomes
    assert not Path(run).exists()


def test_public_names_that_need_pytorch_say_so_and_all_others_are_there() -> None:
    outcomes = light(NAMES)
    assert outcomes.keys() == {"train", "predict", "export", "PredictReport", "torch"}
    for name, text in outcomes.items():
        assert text.startswith(f"segdata.{name} needs torch") and "pip install 'segdata[train]'" in text
