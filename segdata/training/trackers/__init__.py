"""Experiment trackers: where a run writes its numbers, pictures and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from segdata.errors import UsageError
from segdata.training.trackers.base import Tracker
from segdata.training.trackers.mlflow import MLflow
from segdata.training.trackers.neptune import Neptune
from segdata.training.trackers.tensorboard import TensorBoard


def named(name: str) -> Tracker:
    """The tracker with this name.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    if name not in _SERVICES:
        raise UsageError(f"there is no tracker {name!r}", why=f"there are {', '.join(_SERVICES)}")
    package, make = _SERVICES[name]
    if find_spec(package) is None:
        raise UsageError(f"the tracker {name} needs {package}, which is not installed", fix=f"pip install {package}")
    return make()


_SERVICES: dict[str, tuple[str, Callable[[], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "mlflow": ("mlflow", MLflow),
    "neptune": ("neptune", Neptune),
}


NAMES = tuple(_SERVICES)
"""Names of the trackers, as the command line takes them."""
