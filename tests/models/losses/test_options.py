"""Options of losses, checked by name, type and range."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segdata.errors import NotThere, SegdataError, UsageError
from segdata.models.losses import LOSSES, make
from tests.helpers.documents import code_blocks

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("lovaz", {}, NotThere, "did you mean 'lovasz'?"),
        ("hinge", {}, NotThere, "there is ce, focal, topk"),
        ("focal", {"gama": 1}, UsageError, "did you mean 'gamma'?"),
        ("focal", {"weight": [1]}, UsageError, "it takes ignore_index, gamma, alpha, form, reduction"),
        ("focal", {"gamma": -1}, UsageError, "the loss 'focal': gamma is out of its range"),
        ("focal", {"gamma": "two"}, UsageError, "gamma must be a number"),
        ("focal", {"alpha": 1.5}, UsageError, "alpha cannot be 1.5"),
        ("focal", {"alpha": [-1.0, 1.0]}, UsageError, "alpha cannot be"),
        ("focal", {"form": "softmx"}, UsageError, "did you mean softmax?"),
        ("topk", {"percent": 101}, UsageError, "0.001 … 100 is possible"),
        ("ohem", {"threshold": 0}, UsageError, "threshold is out of its range"),
        ("ce", {"weight": [float("nan")]}, UsageError, "weight cannot be"),
        ("dice", {"batch": "yes"}, UsageError, "batch must be true or false"),
        ("dice", {"ignore_index": 70000}, UsageError, "ignore_index is out of its range"),
    ],
)
def test_mistakes_name_the_loss_and_what_is_possible(
    name: str, options: dict[str, Any], kind: type[SegdataError], message: str
) -> None:
    with pytest.raises(kind) as error:
        make(name, **options)
    assert message in str(error.value)


def test_every_loss_can_be_made_and_says_what_it_takes() -> None:
    for name, options in LOSSES.items():
        assert make(name).options == options()
        assert all(rule.meaning for rule in options.rules().values()), name


def test_the_guide_has_every_loss_and_option_and_its_code_runs() -> None:
    guide = ROOT / "docs/losses.md"
    _, _, options = guide.read_text().partition("## Options")
    for name, kind in LOSSES.items():
        assert f"| `{name}` |" in guide.read_text(), name
        line = next(line for line in options.splitlines() if line.startswith(f"| `{name}` |"))
        assert not [each for each in kind.rules() if f"`{each}`" not in line and each != "ignore_index"], name
    values: dict[str, Any] = {}
    exec("\n".join(code_blocks(guide, "python")), values)
    assert values["value"].isfinite() and values["logits"].grad.any()


def test_the_names_are_known_without_torch() -> None:
    code = "import sys; from segdata.models.losses import LOSSES, parse; parse(['ce']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
