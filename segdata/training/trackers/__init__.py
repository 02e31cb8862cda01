"""Experiment trackers: where a run logs its metrics, pictures and checkpoints, besides its folder.

    tensorboard   RUN/tensorboard
    mlflow        $MLFLOW_TRACKING_URI, else the SQLite store mlflow.db beside the run; $MLFLOW_EXPERIMENT_NAME
    neptune       $NEPTUNE_MODE, else offline into RUN/.neptune (`neptune sync --path RUN` sends it on); $NEPTUNE_PROJECT
    wandb         $WANDB_MODE, else offline into RUN/wandb (`wandb sync RUN/wandb/offline-run-…` sends it on); $WANDB_PROJECT

Each works in a thread of its own (`Background`): one that raises, hangs or cannot keep up is switched off, and the run
continues. To add one: a module with a class that has the five methods of `base.Tracker`, and a line in `TRACKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

from segdata.errors import UsageError
from segdata.training.trackers.base import Tracker
from segdata.training.trackers.mlflow import MLflow
from segdata.training.trackers.neptune import Neptune
from segdata.training.trackers.tensorboard import TensorBoard
from segdata.training.trackers.wandb import WandB


class Service(NamedTuple):
    """A tracker that can be named on the command line: the package that it needs, and what makes it."""

    package: str
    tracker: Callable[[], Tracker]


TRACKERS: Mapping[str, Service] = {
    "tensorboard": Service("tensorboard", TensorBoard),
    "mlflow": Service("mlflow", MLflow),
    "neptune": Service("neptune", Neptune),
    "wandb": Service("wandb", WandB),
}


def named(name: str) -> Tracker:
    """The tracker with this name.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    if name not in TRACKERS:
        raise UsageError(f"there is no tracker {name!r}", why=f"there are {', '.join(TRACKERS)}")
    package, tracker = TRACKERS[name]
    if find_spec(package) is None:
        raise UsageError(f"the tracker {name} needs {package}, which is not installed", fix=f"pip install {package}")
    return tracker()
