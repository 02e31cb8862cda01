"""`evaluate`: opens predictions and truth, decides what to compute, and computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from segdata.core.findings import Findings, one_line, summary
from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidAnnotation, UsageError
from segdata.formats.voc import results as voc_results
from segdata.metrics.result import Result
from segdata.sources.dataset import Labels
from segdata.sources.evaluation import open_predictions, open_truth

Metric = Callable[[Predictions, GroundTruth], Result]


def _is_voc(truth: GroundTruth) -> bool:
    return truth.made_from == "voc"


def _is_city(truth: GroundTruth) -> bool:
    return truth.labels.name == "cityscapes"


METRICS: dict[str, str] = {
    "coco-bbox": "segdata.metrics.coco.metrics:bbox",
    "coco-segm": "segdata.metrics.coco.metrics:segm",
    "coco-boundary": "segdata.metrics.coco.metrics:boundary",
    "coco-agnostic": "segdata.metrics.coco.metrics:agnostic",
    "voc-detection": "segdata.metrics.voc:detection",
    "semantic": "segdata.metrics.semantic.metrics:semantic",
    "voc-segmentation": "segdata.metrics.semantic.metrics:voc_segmentation",
    "cityscapes-pixel": "segdata.metrics.semantic.metrics:cityscapes_pixel_level",
    "cityscapes-instance": "segdata.metrics.panoptic.metrics:cityscapes_instance_level",
    "panoptic": "segdata.metrics.panoptic.metrics:panoptic_quality",
}
"""Every metric and the function that computes it (imported when it is asked for)."""

DEFAULTS: tuple[tuple[str, Callable[[Predictions, GroundTruth], bool]], ...] = (
    ("coco-bbox", lambda predictions, truth: predictions.holds >= {"boxes", "scores"}),
    ("coco-segm", lambda predictions, truth: predictions.holds >= {"masks", "scores"}),
    ("voc-detection", lambda predictions, truth: predictions.holds >= {"boxes", "scores"} and _is_voc(truth)),
    ("semantic", lambda predictions, truth: "semantic" in predictions.holds),
    ("voc-segmentation", lambda predictions, truth: "semantic" in predictions.holds and truth.labels.name == "voc"),
    ("cityscapes-pixel", lambda predictions, truth: "semantic" in predictions.holds and _is_city(truth)),
    ("cityscapes-instance", lambda predictions, truth: predictions.holds >= {"masks", "scores"} and _is_city(truth)),
    ("panoptic", lambda predictions, truth: "panoptic" in predictions.holds),
)
"""Which metrics are computed when none is named: those whose condition holds."""


@dataclass(frozen=True)
class Evaluation:
    """Numbers of predictions.

    Attributes:
        metrics: metric → its numbers, under the names of the official evaluator; None where undefined.
        results: metric → numbers and what the report draws.
        problems: what was odd, by kind with examples.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Result] = field(repr=False)
    predictions: Predictions = field(repr=False)
    truth: GroundTruth = field(repr=False)

    @property
    def problems(self) -> dict[str, Any]:
        """What was odd in predictions and truth."""
        both = Findings()
        for side in (self.predictions, self.truth):
            both.merge(side.findings.as_dict())
        return both.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """The evaluation as JSON holds it."""
        return {
            "predictions": str(self.predictions.path),
            "kind": self.predictions.kind,
            "truth": str(self.truth.path),
            "images": len(self.truth),
            "metrics": self.metrics,
            "notes": {kind: item["count"] for kind, item in self.problems["remarks"].items()},
        }


def evaluate(
    predictions: str | Path,
    truth: str | Path,
    *,
    metrics: Sequence[str] = (),
    kind: str | None = None,
    split: str | None = None,
    labels: Labels = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare predictions with truth.

    Args:
        predictions: a pack with scores, or results files.
        truth: a pack, or anything that segdata reads; images are not needed.
        metrics: names from `METRICS`; by default those that the predictions have what is needed for.
        kind: the kind of the predictions; found out by default.
        split: only this split of the truth.
        labels: a view of the truth's label space ("cityscapes-19") to evaluate under.
        progress: called with (images done, of how many), anew for every metric.

    Raises:
        SegdataError: see `segdata.errors`; nothing is computed from predictions that do not fit the truth.
    """
    for name in metrics:
        function(name)
    against = open_truth(Path(truth), split=split, labels=labels)
    if split is None:
        split = _split_of(Path(predictions), kind, against)
        against = against if split is None else open_truth(Path(truth), split=split, labels=labels)
    against = replace(against, progress=progress)
    given = open_predictions(Path(predictions), against, kind=kind, split=split, labels=labels)
    chosen = list(metrics) or [name for name, is_wanted in DEFAULTS if is_wanted(given, against)]
    if not chosen:
        raise UsageError(
            "no metric fits these predictions",
            file=predictions,
            why=f"they hold {', '.join(sorted(given.holds)) or 'nothing'}",
            fix=f"name one with --metric: {', '.join(METRICS)}",
        )
    results = {name: function(name)(given, against) for name in chosen}
    _require_valid(against)
    return Evaluation({name: result.numbers for name, result in results.items()}, results, given, against)


def _split_of(predictions: Path, kind: str | None, truth: GroundTruth) -> str | None:
    """The split of the truth that the predictions' file names speak of."""
    if kind != "voc-results" and not (kind is None and voc_results.detect(predictions)):
        return None
    split = voc_results.split_of(predictions, list(truth.splits))
    return split if split is not None and len(truth.splits[split]) < len(truth) else None


def _require_valid(truth: GroundTruth) -> None:
    findings = truth.findings
    if findings.skips:
        raise InvalidAnnotation(
            f"the truth is not valid: {summary(findings.skipped.items())}",
            file=truth.path,
            why="\n          ".join(["the first are:", *(one_line(error) for error in findings.first)]),
            fix="correct it, or convert it to a pack with --on-error skip and evaluate against that",
        )


def function(name: str) -> Metric:
    """The function of a metric.

    Raises:
        UsageError: there is no such metric.
    """
    if name not in METRICS:
        raise UsageError(f"there is no metric {name!r}", why=f"metrics are {', '.join(METRICS)}")
    module, _, member = METRICS[name].partition(":")
    metric: Metric = getattr(import_module(module), member)
    return metric
