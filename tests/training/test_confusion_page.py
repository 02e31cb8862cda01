"""The confusion matrix of a semantic run on its page; a damaged one is a note."""

from __future__ import annotations

import json
from pathlib import Path

import segdata
from segdata.training.runs import report
from tests.helpers.tiny_training import SEMANTIC


def test_a_run_shows_where_pixels_went(pack: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    segdata.train(pack, run, {"model": "unet", "from_objects": True, **SEMANTIC}, device="cpu")
    written = json.loads((run / "confusion.json").read_text())
    assert written["step"] == 2 and len(written["names"]) == len(written["confusion"]) == len(written["unpredicted"])
    page = report.write(run).read_text()
    assert "in the last validation, after 2 updates" in page and "Confusion" in page
    for damaged in ({**written, "names": written["names"][1:]}, {**written, "confusion": [[-1]]}, {"step": 1}):
        (run / "confusion.json").write_text(json.dumps(damaged))
        assert "It cannot be shown: " in report.write(run).read_text()
