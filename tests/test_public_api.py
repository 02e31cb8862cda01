"""The names of `segdata` itself: the documents list them all, and type checkers see what they take and return."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

import segdata
from tests.helpers.documents import code_blocks

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "fixtures" / "user_script.py"

MISSPELLED = {
    "list_datasets": "segdata.list_datasets(rooot=None)",
    "fetch": "segdata.fetch('camvid', acept_license=['camvid'])",
    "prepare": "segdata.prepare('camvid', acept_license=['camvid'])",
    "read": "segdata.read('folder', formt='voc')",
    "convert": "segdata.convert('folder', 'pack', worker=2)",
    "write": "segdata.write([], 'pack', labels=['cat'], split='train')",
    "merge": "segdata.merge(['a', 'b'], 'both', label='voc')",
    "split": "segdata.split('pack', 'other', {'train': 1.0}, groups='x')",
    "filter": "segdata.filter('pack', 'dogs', query='true')",
    "apply": "segdata.apply('pack.edits.jsonl', 'pack', 'out', ops=['mask'])",
    "diff": "segdata.diff('pack', 'other', json=True)",
    "sample": "segdata.sample('pack', 'small', 5, balanced=True)",
    "open": "segdata.open('pack', splits='train')",
    "place": "segdata.place('s3://bucket/pack', caches='folder')",
    "push": "segdata.push('pack', 's3://bucket/pack', forced=True)",
    "pull": "segdata.pull('s3://bucket/pack', 'pack', forced=True)",
    "verify": "segdata.verify('pack', depp=True)",
    "stats": "segdata.stats('pack', split='train')",
    "dedupe": "segdata.dedupe('pack', level='near', flip=True)",
    "suggest_labels": "segdata.suggest_labels('pack', 'other', output='table.toml')",
    "leakage": "segdata.leakage('pack', split='train')",
    "overlay": "segdata.overlay(sample, labels, legends=True)",
    "view": "segdata.view('pack', splits='train')",
    "train": "segdata.train(pack, run, config, validation=pack)",
    "predict": "segdata.predict(model, source, target, batch=2)",
    "export": "segdata.export('run', 'file.onnx', photo='folder')",
    "evaluate": "segdata.evaluate('results.json', 'instances.json', metric=['coco-segm'])",
}
"""Function → a call with an option that it does not have."""


def documented_names() -> list[str]:
    """The names in the table of docs/api/index.md, but for those of modules, which have a dot."""
    rows = re.findall(r"^\| \[.*?\| (.*) \|$", (ROOT / "docs/api/index.md").read_text(), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row) if "." not in name]


def test_the_documents_list_the_public_names() -> None:
    assert sorted(documented_names()) == sorted(segdata.__all__)
    pages = "\n".join(path.read_text() for path in sorted((ROOT / "docs/api").glob("*.md")))
    for name in segdata.__all__:
        assert re.search(rf"^::: segdata\.{name}$", pages, re.MULTILINE) or name == "SegdataError", name


def test_every_public_name_is_there_and_documented() -> None:
    needs_torch = {"train", "predict", "export", "PredictReport"} if find_spec("torch") is None else set()
    for name in set(segdata.__all__) - needs_torch:
        assert getattr(segdata, name).__doc__, name
    assert segdata.errors.SegdataError is segdata.SegdataError
    assert set(segdata.__all__) <= set(dir(segdata))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = segdata.nothing


@pytest.mark.parametrize("name", MISSPELLED)
def test_a_misspelled_option_is_an_error(name: str) -> None:
    if name in ("train", "predict", "export"):
        pytest.importorskip("torch")
    names = dict.fromkeys(("sample", "labels", "pack", "run", "config", "model", "source", "target"))
    for _ in range(2):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            eval(MISSPELLED[name], {"segdata": segdata, **names})


def mypy(folder: Path, cache: Path) -> list[str]:
    """What `mypy --strict` says about the scripts in a folder, a line an error."""
    settings = "[mypy]\nstrict = True\nfollow_imports = silent\nuntyped_calls_exclude = torch\n"
    settings += "[mypy-torchvision.*,albumentations.*]\nignore_missing_imports = True\n"  # they have no types
    (folder / "mypy.ini").write_text(settings)
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", f"--cache-dir={cache}", "."]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def pyright(folder: Path) -> list[str]:
    """What pyright says about the scripts in a folder, a line an error."""
    if find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        pytest.skip(f"pyright does not run here: {done.stderr.strip()[-300:]}")
    errors = json.loads(done.stdout)["generalDiagnostics"]
    return [
        f"{Path(error['file']).name}:{error['range']['start']['line'] + 1}: {error['message']}"
        for error in errors
        if error["severity"] == "error"
    ]


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's script, the README's Python as one script, and misspelled calls, one a line."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "user_script.py").write_text(SCRIPT.read_text())
    (folder / "readme.py").write_text("\n".join(code_blocks(ROOT / "README.md", "python")))
    values = "from typing import Any\nimport segdata\n"
    values += "sample: Any; labels: Any; pack: Any; run: Any; config: Any; model: Any; source: Any; target: Any\n"
    (folder / "misspelled.py").write_text(values + "\n".join(MISSPELLED.values()) + "\n")
    return folder


def judge(errors: Sequence[str]) -> None:
    """Every misspelled call is an error, and nothing else is."""
    lines = {int(match[1]) for error in errors if (match := re.match(r"misspelled\.py:(\d+)", error))}
    assert lines == set(range(4, 4 + len(MISSPELLED))), errors
    assert not [error for error in errors if not error.startswith("misspelled.py")]


def test_scripts_of_users_pass_mypy(scripts: Path, pytestconfig: pytest.Config) -> None:
    pytest.importorskip("mypy")
    pytest.importorskip("torch")
    pytest.importorskip("albumentations")
    cache = getattr(pytestconfig, "cache", None)
    judge(mypy(scripts, cache.mkdir("mypy") if cache else scripts / "cache"))


def test_scripts_of_users_pass_pyright(scripts: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("albumentations")
    judge(pyright(scripts))


def test_the_user_script_calls_every_public_function() -> None:
    text = SCRIPT.read_text()
    for name in segdata.__all__:
        if name != "LabelMapping":
            assert f"segdata.{name}" in text, name
