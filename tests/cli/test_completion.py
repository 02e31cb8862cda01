"""Completion in the shell, by the protocol that the shells' scripts speak, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segdata.catalog import manifest
from tests.helpers import made
from tests.helpers.command import run_segdata


def completed(*words: object) -> list[str]:
    """What bash is offered for the last word."""
    line = " ".join(["segdata", *map(str, words)])
    outcome = run_segdata(_SEGDATA_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words)))
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out.split()


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    outcome = run_segdata("convert", made.voc(folder / "voc"), folder / "pack")
    assert outcome.code == 0, outcome.err
    return folder / "pack"


def test_commands_options_and_choices() -> None:
    assert completed("pre") == ["predict", "prepare"][::-1]
    assert completed("convert", "--all") == ["--allow-loss", "--allow-http"]
    assert completed("convert", "a", "b", "--allow-loss", "ids,li") == ["ids,licences"]
    assert completed("convert", "a", "b", "--crowds", "") == ["keep", "drop", "objects"]
    assert completed("convert", "a", "b", "--to", "vo") == ["voc", "voc-results"]
    assert completed("convert", "a", "b", "--from", "coco") == [
        *("coco-panoptic", "coco", "coco-stuff", "coco-results")
    ]
    assert completed("evaluate", "a", "b", "--metric", "cityscapes-") == ["cityscapes-pixel", "cityscapes-instance"]
    assert completed("evaluate", "a", "b", "--from", "label") == ["label-maps"]
    assert completed("evaluate", "a", "b", "--images-of", "p") == ["predictions"]
    assert completed("train", "a", "--weights", "torchvision") == [
        "torchvision:coco-v1",
        "torchvision:coco-v2",
        "torchvision:imagenet",
    ]
    assert completed("train", "a", "--tracker", "") == ["tensorboard", "mlflow", "neptune", "wandb"]
    assert "cityscapes-19" in completed("convert", "a", "b", "--labels", "")
    assert "cityscapes-19" in completed("merge", "a", "b", "--labels", "")
    assert completed("split", "a", "--by", "") == ["category", "image"]


def test_datasets() -> None:
    names = [name for name in [*manifest.names(), *manifest.ALIASES] if name.startswith("c")]
    assert len(names) > 3
    for command in ("fetch", "prepare", "list", "login"):
        assert completed(command, "c") == names


def test_settings() -> None:
    assert completed("train", "a", "--set", "optim") == ["optimizer="]
    assert completed("train", "a", "--set", "optimizer=") == ["optimizer=sgd", "optimizer=adamw"]
    assert completed("train", "a", "--set", "learning_r") == ["learning_rate="]
    assert completed("predict", "a", "b", "--set", "learning_r") == []  # predictions do not learn
    assert completed("predict", "a", "b", "--set", "detection_min") == ["detection_min_confidence="]


def test_splits_categories_and_keys_of_the_pack(pack: Path) -> None:
    folder = pack.parent / "voc/ImageSets"
    files = {"train": "Segmentation/train", "val": "Segmentation/val", "Main/train": "Main/train"}
    lists = {name: {*(folder / f"{file}.txt").read_text().split()} for name, file in files.items()}
    for words in (("show", pack), ("stats", pack), ("train", pack), ("convert", pack, "x"), ("predict", "run", pack)):
        assert {*completed(*words, "--split", "")} == {*lists}
    assert {*completed("evaluate", "results.json", pack, "--split", "")} == {*lists}
    assert completed("convert", pack, "x", "--keep", "per") == ["person"]
    assert {*completed("show", pack, "")} == {path.stem for path in (pack.parent / "voc/JPEGImages").iterdir()}
    assert {*completed("show", pack, "--split", "Main/train", "")} == lists["Main/train"]
    assert {*completed("show", pack, "--split", "train", "")} == lists["train"] < lists["Main/train"]


def test_what_is_no_pack_completes_to_nothing(tmp_path: Path) -> None:
    assert completed("show", tmp_path, "") == completed("show", tmp_path / "none", "--split", "") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "segdata"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m segdata "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_SEGDATA_COMPLETE=source_bash segdata)"; complete -p segdata; COMP_WORDS=(segdata convert --to vo); '
        'COMP_CWORD=3; _segdata_completion segdata; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["complete -o default -F _segdata_completion segdata", "voc", "voc-results"]


@pytest.mark.parametrize(("shell", "command"), [("zsh", "compdef"), ("fish", "complete --command segdata")])
def test_scripts_of_other_shells(shell: str, command: str) -> None:
    script = run_segdata(_SEGDATA_COMPLETE=f"source_{shell}")
    assert script.code == 0 and command in script.out
    outcome = run_segdata(
        _SEGDATA_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="segdata evaluate a b --metric pan",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert outcome.code == 0 and "panoptic" in outcome.out
