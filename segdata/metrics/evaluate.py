"""`evaluate`: opens predictions and ground truth, decides which metrics to compute, and computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segdata.core.findings import Findings, one_line, summary
from segdata.core.predictions import GroundTruth, Holding, Predictions
from segdata.core.reprs import counted, first, line
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, UsageError
from segdata.formats import RESULTS
from segdata.metrics import voc
from segdata.metrics.cityscapes import metrics as cityscapes
from segdata.metrics.coco import metrics as coco
from segdata.metrics.panoptic import metrics as panoptic
from segdata.metrics.result import Result
from segdata.metrics.semantic import metrics as semantic
from segdata.places.address import located
from segdata.sources.dataset import Labels
from segdata.sources.evaluation import open_ground_truth, open_predictions
from segdata.sources.predicted_images import only_predicted
from segdata.system.files import disk_errors

_IMAGES_OF = ("truth", "predictions")


@dataclass(frozen=True)
class Default:
    """When a metric is computed without being named: all of these must be so.

    Attributes:
        holds: what the predictions hold, at least.
        made_from: the format of the ground truth, where only one will do.
        labels: the label space of the ground truth, where only one will do.
    """

    holds: Set[Holding]
    made_from: str | None = None
    labels: str | None = None

    def applies(self, predictions: Predictions, truth: GroundTruth) -> bool:
        """Whether all conditions hold."""
        return (
            predictions.holds >= self.holds
            and self.made_from in (None, truth.made_from)
            and self.labels in (None, truth.labels.name)
        )


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        compute: the function that computes it.
        default: when it is computed without being named; None for never.
        limited: the same function, where it takes the numbers of detections that count.
        limits: these numbers by default; AP is that of the last.
    """

    compute: Callable[[Predictions, GroundTruth], Result]
    default: Default | None = None
    limited: Callable[[Predictions, GroundTruth, Sequence[int]], Result] | None = None
    limits: Sequence[int] = ()

    @property
    def ranks(self) -> bool:
        """Whether it ranks detections by their scores."""
        return self.limited is not None or (self.default is not None and "scores" in self.default.holds)

    def compares(self, truth: Sample) -> bool:
        """Whether an annotated image has something that it compares predictions with."""
        holds = {"boxes"} if self.default is None else self.default.holds
        if "semantic" in holds:
            return truth.has_semantic
        return len(truth.instances) > 0 or ("panoptic" in holds and truth.has_semantic)


METRICS: Mapping[str, Metric] = {
    "coco-bbox": Metric(coco.bbox, Default({"boxes", "scores"}), coco.bbox, coco.LIMITS),
    "coco-segm": Metric(coco.segm, Default({"masks", "scores"}), coco.segm, coco.LIMITS),
    "coco-boundary": Metric(coco.boundary, None, coco.boundary, coco.LIMITS),
    "coco-agnostic": Metric(coco.agnostic, None, coco.agnostic, coco.AR_LIMITS),
    "voc-detection": Metric(voc.detection, Default({"boxes", "scores"}, made_from="voc")),
    "semantic": Metric(semantic.semantic, Default({"semantic"})),
    "voc-segmentation": Metric(semantic.voc_segmentation, Default({"semantic"}, labels="voc")),
    "cityscapes-pixel": Metric(cityscapes.pixel_level, Default({"semantic"}, labels="cityscapes")),
    "cityscapes-instance": Metric(cityscapes.instance_level, Default({"masks", "scores"}, labels="cityscapes")),
    "panoptic": Metric(panoptic.panoptic_quality, Default({"panoptic"})),
}
"""Every metric by name, in the order in which they are computed."""


@dataclass(frozen=True)
class Evaluation:
    """The numbers of an evaluation, and what they were computed from.

    Attributes:
        metrics: metric → its numbers, under the names of the official evaluator: values 0..1, None where undefined.
        results: metric → its numbers and the arrays behind them, which the report draws.
        predictions, truth: what was compared.
        limit: most detections of an image and category that counted; None where all did.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Result] = field(repr=False)
    predictions: Predictions = field(repr=False)
    truth: GroundTruth = field(repr=False)
    limit: int | None = None

    def __repr__(self) -> str:
        names = first(list(self.metrics))
        return line(self, repr(str(self.predictions.path)), counted(len(self.truth), "image"), names)

    @property
    def problems(self) -> dict[str, Any]:
        """What was odd in predictions and ground truth, by kind, counted and with examples."""
        findings = Findings()
        for side in (self.predictions, self.truth):
            findings.merge(side.findings.as_dict())
        return findings.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """The evaluation as `segdata evaluate --json` prints it."""
        return {
            "predictions": str(self.predictions.path),
            "kind": self.predictions.kind,
            "truth": str(self.truth.path),
            "images": len(self.truth),
            "metrics": self.metrics,
            "notes": {kind: item["count"] for kind, item in self.problems["remarks"].items()},
        }


@disk_errors()
def evaluate(
    predictions: str | Path,
    truth: str | Path,
    *,
    metrics: Sequence[str] = (),
    kind: str | None = None,
    split: str | None = None,
    labels: Labels = None,
    max_detections: Sequence[int] = (),
    images_of: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compute the official metrics of predictions against ground truth.

    Args:
        predictions: a pack with scores, or results files or folders ("coco-results", "label-maps", …).
        truth: the ground truth: a pack, or a dataset in any format that segdata reads; images are not needed.
        metrics: names from `METRICS`; by default all whose inputs the predictions hold.
        kind: the kind of the predictions; detected by default.
        split: only this split of the ground truth.
        labels: a view of the ground truth's label space ("cityscapes-19") to evaluate under.
        max_detections: so many detections of an image and category count in COCO's metrics (pycocotools' `maxDets`); AP
            is that of the highest number. By default 1, 10, 100.
        images_of: "truth" for all images of the ground truth, "predictions" for those alone that the predictions speak of.
            By default all images, but predictions for one of several splits, which is not named, are refused.
        progress: called with (images done, of how many), anew for every metric.

    Raises:
        UsageError: there is no such metric or `images_of`, none is computed by default from what the predictions hold,
            they are ground truth themselves or about one split that is not named, or `max_detections` are no positive
            numbers or change nothing.
        InvalidAnnotation: predictions or ground truth are not valid, or do not fit each other.
        LabelMismatch: predictions are under another label space than the ground truth.
        NotThere: no such file, folder or split.
    """
    _require_known(metrics)
    limits = _limits(max_detections)
    if images_of not in (None, *_IMAGES_OF):
        raise UsageError(f"there are no images of {images_of!r}", fix=f"give one of {', '.join(_IMAGES_OF)}")
    ground_truth = open_ground_truth(located(truth), split=split, labels=labels)
    if split is None:
        split = _split_of(located(predictions), kind, ground_truth)
        ground_truth = ground_truth if split is None else open_ground_truth(located(truth), split=split, labels=labels)
    _require_valid(ground_truth)
    ground_truth = replace(ground_truth, progress=progress, may_lack=images_of == "predictions")
    predicted = open_predictions(located(predictions), ground_truth, kind=kind, split=split, labels=labels)
    _remark_the_same(predicted, ground_truth)
    if images_of == "predictions":
        predicted, ground_truth = only_predicted(predicted, ground_truth)
    _require_scores(predicted, metrics)
    names = list(metrics) or _defaults(predicted, ground_truth)
    if images_of is None and split is None:
        _require_split(predicted, ground_truth, names)
    if limits and not any(METRICS[name].limited for name in names):
        raise UsageError(
            f"{', '.join(names)} counts every detection",
            why="--max-detections is about COCO's metrics",
            fix=f"leave it out, or add --metric {next(name for name, metric in METRICS.items() if metric.limited)}",
        )
    results = {name: _computed(METRICS[name], predicted, ground_truth, limits) for name in names}
    _require_valid(ground_truth)
    numbers = {name: result.numbers for name, result in results.items()}
    lasts = [(limits or METRICS[name].limits)[-1] for name in names if METRICS[name].limited]
    return Evaluation(numbers, results, predicted, ground_truth, min(lasts, default=None))


def _computed(metric: Metric, predictions: Predictions, truth: GroundTruth, limits: Sequence[int]) -> Result:
    if limits and metric.limited:
        return metric.limited(predictions, truth, limits)
    return metric.compute(predictions, truth)


def _limits(max_detections: Sequence[int]) -> Sequence[int]:
    """Numbers of detections, each once, ascending."""
    if any(limit < 1 for limit in max_detections):
        raise UsageError(
            "numbers of detections that count are 1 or more",
            why=f"found {', '.join(map(str, max_detections))}",
            fix="give numbers such as --max-detections 1,10,100",
        )
    return sorted(set(max_detections))


def _require_known(metrics: Sequence[str]) -> None:
    for name in metrics:
        if name not in METRICS:
            raise UsageError(f"there is no metric {name!r}", why=f"metrics are {', '.join(METRICS)}")


def _remark_the_same(predictions: Predictions, truth: GroundTruth) -> None:
    if predictions.path.resolve() == truth.path.resolve():
        predictions.findings.remark("predictions and ground truth are the same files", str(truth.path))


def _require_split(predictions: Predictions, truth: GroundTruth, metrics: Sequence[str]) -> None:
    """Refuse predictions for a part of the images that one of several splits has in it.

    Images of which the ground truth has nothing that a metric compares do not count: it leaves them out.
    """
    if predictions.find_covered is None or len(truth.splits) < 2:
        return
    covered = set(predictions.find_covered())
    splits = {name: members for name, members in truth.splits.items() if covered <= set(map(int, members))}
    if not covered or not splits:
        return
    name = min(splits, key=lambda name: len(splits[name]))
    others = sorted(set(range(len(truth))) - set(map(int, splits[name])))
    if any(METRICS[metric].compares(truth.get(index)) for index in others for metric in metrics):
        raise UsageError(
            f"the predictions are about the split {name!r} alone, and no split was named",
            file=predictions.path,
            why=f"they have {len(covered):,} of its {len(splits[name]):,} images; the ground truth has {len(truth):,} in "
            f"{', '.join(map(repr, truth.splits))}, and the others would count as missed",
            fix=f"--split {name}, or --images-of truth to count all images",
        )


def _require_scores(predictions: Predictions, metrics: Sequence[str]) -> None:
    """Refuse objects without any score where detections are to be ranked: they are ground truth."""
    if "scores" in predictions.holds or not predictions.holds & {"boxes", "masks"}:
        return
    ranks = [name for name in metrics if METRICS[name].ranks]
    if ranks or not (metrics or predictions.holds & {"semantic", "panoptic"}):
        raise UsageError(
            "no object of the predictions has a score: this is ground truth, not predictions",
            file=predictions.path,
            why=f"{', '.join(ranks) or 'metrics of detections'} rank by score; it holds {', '.join(sorted(predictions.holds))}",
            fix="give the pack that segdata predict wrote, or a detector's results, first; then the ground truth",
        )


def _defaults(predictions: Predictions, truth: GroundTruth) -> list[str]:
    """The metrics that are computed when none is named."""
    names = [name for name, metric in METRICS.items() if metric.default and metric.default.applies(predictions, truth)]
    if not names:
        raise UsageError(
            "no metric fits these predictions",
            file=predictions.path,
            why=f"they hold {', '.join(sorted(predictions.holds)) or 'nothing'}",
            fix=f"name one with --metric: {', '.join(METRICS)}",
        )
    return names


def _split_of(predictions: Path, kind: str | None, truth: GroundTruth) -> str | None:
    """The split of the ground truth that the predictions' file names speak of; None where it is all of it."""
    for name, results in RESULTS.items():
        if results.split_of is not None and (kind == name or (kind is None and results.reader.detect(predictions))):
            split = results.split_of(predictions, list(truth.splits))
            return split if split is not None and len(truth.splits[split]) < len(truth) else None
    return None


def _require_valid(truth: GroundTruth) -> None:
    """Refuse a ground truth of which records were left out so far."""
    findings = truth.findings
    if findings.skips:
        raise InvalidAnnotation(
            f"the ground truth is not valid: {summary(findings.skipped.items())}",
            file=truth.path,
            why="\n          ".join(["the first are:", *(one_line(error) for error in findings.first)]),
            fix="correct it, or convert it to a pack with --on-error skip and evaluate against that",
        )
