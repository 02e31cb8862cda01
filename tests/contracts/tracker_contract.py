"""What every tracker promises: it takes the calls of a run and of a resumed run, in a thread of its own, without an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segdata.training.trackers import run_folder
from segdata.training.trackers.background import Background
from segdata.training.trackers.base import All, Tracker
from segdata.training.trackers.run_folder import RunFolder

CONFIG = {"learning_rate": 0.02, "min_size": [800], "data": {"labels": ["<b>ship</b>", "ship/boat"], "images": 3}}
ENVIRONMENT = {"python": "3.11", "gpus": []}
VALUES: dict[str, float | str] = {
    "train/loss": 0.5,
    "system/device": "cpu",
    "validation/category_AP/ship/boat": 0.25,
    "validation/category_AP/<b>ü</b>": 0.5,
}
"""Numbers, a text, and names that no service takes as they are."""


class Watched:
    """A tracker whose errors are kept: a run would switch it off and go on."""

    def __init__(self, tracker: Tracker) -> None:
        self.errors: list[BaseException] = []
        self._tracker = tracker
        self.calls: list[str] = []

    def __getattr__(self, method: str) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            self.calls.append(method)
            try:
                getattr(self._tracker, method)(*arguments)
            except BaseException as error:
                self.errors.append(error)
                raise

        return call


def check_run(make: Callable[[], Tracker], run: Path) -> None:
    """A run that stops, and is resumed in the same folder by another process."""
    picture = np.full((8, 12, 3), 128, np.uint8)
    for steps, state in (((1, 2), "stopped"), ((3,), "done")):
        run.mkdir(exist_ok=True)
        watched = Watched(make())
        tracker = All(RunFolder(run), [Background(watched)])
        tracker.start(run, CONFIG, ENVIRONMENT)
        for step in steps:
            tracker.log(step, VALUES)
            tracker.log_image(step, "street/a ü", picture)
        tracker.log_artifact(steps[-1], run / "config.json")
        tracker.finish(state)
        assert not watched.errors, watched.errors
        assert watched.calls == ["start", *["log", "log_image"] * len(steps), "log_artifact", "finish"]
    assert [row["step"] for row in run_folder.lines(run)] == [1, 2, 3]
