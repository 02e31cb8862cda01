"""A metric added by the steps of CONTRIBUTING.md, in a copy of the package: a function and one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.test_new_format import ROOT, copy_of_segdata
from tests.helpers import made

TABLE = "segdata/metrics/evaluate.py"
MODULE = "segdata/metrics/image_share.py"
EXCHANGED = '"exchanged": Metric(lambda truth, predictions: image_share.image_share(truth, predictions).numbers),'
MISSPELLED = '"misspelled": Metric(image_share.image_share, Default({"bboxes"})),'
"""Lines that break the contract: no `Result`; predictions cannot hold this."""


def section() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a metric\n")[2].partition("\n## ")[0]


def code() -> tuple[str, str]:
    """The module and the line of the table, as CONTRIBUTING.md has them."""
    module, line = (
        textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)   ```", section(), re.MULTILINE | re.DOTALL)
    )
    return module, line.strip()


def with_metric(folder: Path, *lines: str) -> Path:
    """A copy of segdata with the metric in it, and these lines in the table."""
    package = copy_of_segdata(folder)
    (package / MODULE).write_text(code()[0])
    table = package / TABLE
    text = table.read_text()
    changed = text.replace("from segdata.metrics import voc\n", "from segdata.metrics import image_share, voc\n")
    changed = changed.replace("Metric] = {\n", "Metric] = {\n" + "".join(f"    {line}\n" for line in lines))
    assert changed.count("\n") == text.count("\n") + len(lines) and "import image_share" in changed
    table.write_text(changed)
    return package


def evaluated(package: Path, *arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "segdata", "evaluate", *map(str, arguments), "--json"]
    done = subprocess.run(
        command,
        cwd=package.parent,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_metric_is_a_function_and_one_line(tmp_path: Path) -> None:
    assert (
        MODULE == "segdata/metrics/image_share.py"
        and "`segdata/metrics/NAME.py` (here `image_share`)" in section()
        and f"`METRICS` in `{TABLE}`" in section()
    )
    package = with_metric(tmp_path / "package", code()[1])
    root = made.coco(tmp_path / "coco")
    document = made.coco_document()
    image, category = document["images"][0]["id"], document["categories"][0]["id"]
    detections = [{"image_id": image, "category_id": category, "bbox": [1, 1, 5, 5], "score": 0.5}]
    results = made.put(tmp_path / "results.json", json.dumps(detections))
    by_default = evaluated(package, results, root)["metrics"]
    assert set(by_default) == {"coco-bbox", "image-share"}
    assert by_default["image-share"] == {"share": pytest.approx(1 / len(document["images"]))}
    assert set(evaluated(package, results, root, "--metric", "image-share")["metrics"]) == {"image-share"}


def test_the_type_checker_refuses_metrics_that_break_the_contract(tmp_path: Path) -> None:
    package = with_metric(tmp_path / "package", code()[1], EXCHANGED, MISSPELLED)
    options = ("--strict", "--ignore-missing-imports", "--cache-dir", tmp_path / "cache", "--no-error-summary")
    command = [sys.executable, "-m", "mypy", *map(str, options), TABLE]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    lines = (package / TABLE).read_text().splitlines()
    assert {lines[int(error.split(":")[1]) - 1].strip() for error in errors} == {EXCHANGED, MISSPELLED}, done.stdout
