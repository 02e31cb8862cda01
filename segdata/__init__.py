"""segdata prepares and loads segmentation datasets: COCO, PASCAL VOC, Cityscapes and CamVid → one pack → anything.

>>> import segdata
>>> pack = segdata.open("data/coco/pack", split="val2017")          # doctest: +SKIP
>>> pack[0].image.shape, len(pack[0].instances)                     # doctest: +SKIP
"""

from __future__ import annotations

from segdata.version import __version__ as __version__

TYPE_CHECKING = False  # as type checkers know it, without the milliseconds that `typing` takes before a command begins
if TYPE_CHECKING:
    from typing import Any

    from segdata import errors as errors
    from segdata import torch as torch
    from segdata.comparison.diff import Difference, diff
    from segdata.conversion.convert import convert
    from segdata.conversion.job import ConvertReport
    from segdata.conversion.prepare import Prepared, prepare
    from segdata.conversion.write import write
    from segdata.core.labels import Category, LabelMapping, LabelSpace
    from segdata.core.masks import Masks
    from segdata.core.sample import Instances, Sample
    from segdata.correction.apply import apply
    from segdata.deployment.export import export
    from segdata.deployment.exported import ExportReport
    from segdata.derivation.derive import Derived
    from segdata.derivation.duplicates.find import dedupe, leakage
    from segdata.derivation.duplicates.report import Duplicates
    from segdata.derivation.filter import filter_pack as filter
    from segdata.derivation.merge import merge
    from segdata.derivation.sample import sample
    from segdata.derivation.split import split
    from segdata.derivation.suggest import SuggestedLabels, suggest_labels
    from segdata.download.fetch import Fetched, fetch
    from segdata.errors import SegdataError
    from segdata.formats import Folder, read
    from segdata.formats.contract import ReadOptions
    from segdata.loading import Batch, Loader
    from segdata.metrics.evaluate import Evaluation, evaluate
    from segdata.pack.read import Pack
    from segdata.pack.read import open_pack as open
    from segdata.pack.verify import Verification, verify
    from segdata.places.address import place
    from segdata.sources.listing import KnownDataset, list_datasets
    from segdata.statistics.counts import Statistics
    from segdata.statistics.counts import statistics as stats
    from segdata.training.outcome import TrainReport
    from segdata.training.predict import PredictReport, predict
    from segdata.training.trainer import train
    from segdata.transfer.pull import pull
    from segdata.transfer.push import push
    from segdata.transfer.report import Transferred
    from segdata.viewer.server import Viewer, view
    from segdata.viz.overlay import overlay

_HOMES = {
    "list_datasets": "segdata.sources.listing",
    "fetch": "segdata.download.fetch",
    "prepare": "segdata.conversion.prepare",
    "read": "segdata.formats",
    "convert": "segdata.conversion.convert",
    "write": "segdata.conversion.write",
    "merge": "segdata.derivation.merge",
    "filter": "segdata.derivation.filter:filter_pack",
    "split": "segdata.derivation.split",
    "sample": "segdata.derivation.sample",
    "apply": "segdata.correction.apply",
    "open": "segdata.pack.read:open_pack",
    "place": "segdata.places.address",
    "push": "segdata.transfer.push",
    "pull": "segdata.transfer.pull",
    "verify": "segdata.pack.verify",
    "stats": "segdata.statistics.counts:statistics",
    "diff": "segdata.comparison.diff",
    "overlay": "segdata.viz.overlay",
    "view": "segdata.viewer.server",
    "dedupe": "segdata.derivation.duplicates.find",
    "leakage": "segdata.derivation.duplicates.find",
    "suggest_labels": "segdata.derivation.suggest",
    "train": "segdata.training.trainer",
    "predict": "segdata.training.predict",
    "evaluate": "segdata.metrics.evaluate",
    "export": "segdata.deployment.export",
    "KnownDataset": "segdata.sources.listing",
    "Fetched": "segdata.download.fetch",
    "Prepared": "segdata.conversion.prepare",
    "Folder": "segdata.formats",
    "ReadOptions": "segdata.formats.contract",
    "ConvertReport": "segdata.conversion.job",
    "Derived": "segdata.derivation.derive",
    "Transferred": "segdata.transfer.report",
    "Verification": "segdata.pack.verify",
    "Statistics": "segdata.statistics.counts",
    "Difference": "segdata.comparison.diff",
    "Viewer": "segdata.viewer.server",
    "Duplicates": "segdata.derivation.duplicates.report",
    "SuggestedLabels": "segdata.derivation.suggest",
    "TrainReport": "segdata.training.outcome",
    "PredictReport": "segdata.training.predict",
    "Evaluation": "segdata.metrics.evaluate",
    "ExportReport": "segdata.deployment.exported",
    "Loader": "segdata.loading",
    "Batch": "segdata.loading",
    "Pack": "segdata.pack.read",
    "Sample": "segdata.core.sample",
    "Instances": "segdata.core.sample",
    "Masks": "segdata.core.masks",
    "Category": "segdata.core.labels",
    "LabelSpace": "segdata.core.labels",
    "LabelMapping": "segdata.core.labels",
    "SegdataError": "segdata.errors",
}
"""Where each public name is defined: a module, and the name there if it is another."""

_MODULES = ("errors", "torch")
"""Modules that are public themselves; `segdata.torch` needs PyTorch."""

_EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "safetensors"), "train"),
    **dict.fromkeys(("starlette", "uvicorn", "h11", "anyio"), "view"),
}
"""Library → the extra that it comes with."""

__all__ = [
    "list_datasets",
    "fetch",
    "prepare",
    "read",
    "convert",
    "write",
    "merge",
    "filter",
    "split",
    "sample",
    "apply",
    "open",
    "place",
    "push",
    "pull",
    "verify",
    "stats",
    "diff",
    "overlay",
    "view",
    "dedupe",
    "leakage",
    "suggest_labels",
    "train",
    "predict",
    "evaluate",
    "export",
    "KnownDataset",
    "Fetched",
    "Prepared",
    "Folder",
    "ReadOptions",
    "ConvertReport",
    "Derived",
    "Transferred",
    "Verification",
    "Statistics",
    "Difference",
    "Viewer",
    "Duplicates",
    "SuggestedLabels",
    "TrainReport",
    "PredictReport",
    "Evaluation",
    "ExportReport",
    "Loader",
    "Batch",
    "Pack",
    "Sample",
    "Instances",
    "Masks",
    "Category",
    "LabelSpace",
    "LabelMapping",
    "SegdataError",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import segdata` costs nothing."""
    if name in _MODULES:
        return _imported(name, f"segdata.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'segdata' has no attribute {name!r}")
    module, _, original = _HOMES[name].partition(":")
    value: Any = getattr(_imported(name, module), original or name)
    globals()[name] = value
    return value


def _imported(name: str, module: str) -> Any:
    """A module; where it needs a library that is not installed, the error says what to install."""
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ModuleNotFoundError(
            f"segdata.{name} needs {error.name}, which is not installed: pip install 'segdata[{extra}]'",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
