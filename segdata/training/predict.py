"""Predictions for a pack or a folder of images, written as a pack with scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segdata.core.findings import Findings
from segdata.core.images import MAX_PIXELS
from segdata.core.reprs import counted, line
from segdata.core.sample import Sample
from segdata.errors import SegdataError, UsageError
from segdata.formats.coco.results import format as coco_results
from segdata.models import registry
from segdata.models.class_names import Names
from segdata.models.contract import AnyModel, Image, Predictor
from segdata.models.weights import Weights
from segdata.pack.layout import is_pack
from segdata.pack.read import Pack, open_pack
from segdata.pack.write import commit, index_document, is_unfinished, write_dataset, write_shard
from segdata.places.address import located
from segdata.sources.dataset import OnError, without
from segdata.sources.image_folder import image_samples
from segdata.system.files import canonical_json, disk_errors, locked, remove_tree, require_replaceable, write_whole
from segdata.training.config import RunConfig, TrainConfig
from segdata.training.distributed import device_named
from segdata.training.trackers.run_folder import file_name
from segdata.viz.overlay import overlay, png

_SHARD = 1024


@disk_errors()
def load(
    source: str | Path, *, device: str | None = None, flip: bool = False, labels: Names | None = None, **changes: Any
) -> Predictor:
    """A trained model, ready to predict.

    Args:
        source: a run, a checkpoint, a file of torchvision's weights or a name of them, or a Keras file (`.h5`) of
            Matterport's model.
        device: "cpu" or "cuda"; by default a GPU where there is one.
        flip: also predict the horizontally flipped image, and merge.
        labels: names for the classes of weights that do not name them.
        changes: settings of prediction that differ from the run's (`detection_min_confidence=0.5`).

    Returns:
        The predictor of the model whose weights these are, such as a `maskrcnn.model.Detector`.

    Raises:
        NotThere: there are no such weights.
        DamagedData: cut short or changed.
        Unsafe: a file that would run code.
        UsageError: an unknown setting or a bad value, or names that do not fit the classes or that are known.
    """
    chosen = device_named(device)
    if Path(source).suffix in registry.PREDICTORS:
        if flip:
            raise UsageError("Keras models have no test-time augmentation by flipped images", fix="leave out --flip")
        return registry.PREDICTORS[Path(source).suffix](Path(source), device=chosen, labels=labels, **changes)
    name = registry.name_of(source)
    model = registry.model(name)
    weights = model.read(source)
    if labels is not None:
        weights = _named(model, weights, labels)
    if weights.config is None:
        config = TrainConfig(model.implied_settings(weights), RunConfig(), name)
    else:
        config = TrainConfig.from_dict(weights.config, file=Path(weights.source).with_suffix(".json"))
    config = config.for_prediction(changes).resolved(chosen)
    return model.load(
        weights,
        config.model,
        record=config.as_dict(),
        autocast=config.run.autocast,
        device=chosen,
        flip=flip,
    )


def _named(model: AnyModel, weights: Weights, labels: Names) -> Weights:
    """Weights with names for their classes, unless they say the names themselves."""
    is_published = weights.source.startswith("torchvision:")
    if weights.labels is not None and (weights.config is not None or is_published):
        names = ", ".join(category.name for category in weights.labels.categories[:5])
        raise UsageError(
            "the weights name their classes themselves",
            file=weights.source,
            why=f"they are {names}{' …' if len(weights.labels) > 5 else ''}",
            fix="leave out --labels; segdata convert PREDICTIONS OTHER --labels FILE.toml renames what was predicted",
        )
    return model.named(weights, labels)


@dataclass(frozen=True)
class PredictReport:
    """What was predicted.

    Attributes:
        target: the pack.
        samples: images in it.
        instances: objects in them.
        problems: images that were left out, and remarks, as `Findings.as_dict` gives them.
        label_maps: images that got one.
        best_score: the highest score that the model gave to any object, also below the threshold; None where it does not
            say.
    """

    target: Path
    samples: int
    instances: int
    problems: dict[str, Any]
    best_score: float | None = None
    label_maps: int = 0

    def __repr__(self) -> str:
        predicted = (self.label_maps, "label map") if self.label_maps else (self.instances, "object")
        return line(self, repr(str(self.target)), counted(self.samples, "sample"), counted(*predicted))

    @property
    def skipped(self) -> int:
        """Images that were left out."""
        return sum(item["count"] for item in self.problems["skipped"])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target)}


def _findings_on(model: Predictor) -> Findings:
    """What a user may want to know of the weights."""
    findings = Findings()
    for remark in model.remarks:
        findings.remark(remark, model.source)
    return findings


@disk_errors()
def predict(
    model: Predictor | str | Path,
    source: str | Path | Pack,
    target: str | Path,
    *,
    split: str | None = None,
    batch_size: int = 4,
    limit: int | None = None,
    pictures: str | Path | None = None,
    results: str | Path | None = None,
    embed: bool = True,
    on_error: OnError = "stop",
    force: bool = False,
    wait: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> PredictReport:
    """Predict every image of a pack or a folder, and write a pack of the predictions with their scores.

    Args:
        model: as `load` gives it, or what `load` takes.
        source: a pack, a folder of images, or one image.
        target: the folder of the pack to write.
        split: only this split of a pack.
        batch_size: images per batch.
        limit: only the first images.
        pictures: a folder for pictures of the predictions.
        results: a file for COCO results, with image and category ids of the source.
        embed: keep the images in the pack, too.
        on_error: "stop" at an image that cannot be read, or "skip" and report it.
        force: replace what is at `target`.
        wait: seconds to wait for another process on the same target.
        progress: called after every batch with the number of images done, and of all.

    Raises:
        NotThere: there is no such model or source.
        InvalidImage, DamagedData: an image that cannot be read.
        UsageError: the target holds something else, or COCO results are asked of a model that finds no objects.
    """
    model = load(model) if isinstance(model, (str, Path)) else model
    target, findings = Path(target), _findings_on(model)

    def unreadable(error: SegdataError) -> None:
        if on_error == "stop" or error.exit_code not in (4, 8, 11):
            raise error
        findings.skip(error)

    samples, origin, splits, max_pixels = _opened(source, split, findings, unreadable)
    count = len(samples) if limit is None else min(limit, len(samples))
    images: Literal["embed", "none"] = "embed" if embed else "none"
    with locked(target, wait=wait):
        require_replaceable(target, force=force or is_unfinished(target), what="the pack of predictions")
        with _work_folder(target) as work:
            predicted = _Predicted(
                model,
                samples if limit is None else samples[:limit],
                batch_size=batch_size,
                pictures=None if pictures is None else Path(pictures),
                progress=progress,
                unreadable=unreadable,
                findings=findings,
                needs_objects=results is not None,
            )
            receipts, left_out = _written(predicted, work, images, findings)
            remaining = without({name: [i for i in members if i < count] for name, members in splits.items()}, left_out)
            dataset = write_dataset(work, remaining, [])
            index = index_document(
                receipts,
                dataset,
                labels=model.labels,
                splits=remaining,
                images=images,
                provenance=_provenance(model, receipts, origin),
                findings=findings,
                max_pixels=max_pixels,
            )
            commit(target, work, [*receipts, dataset], index)
    if results is not None:
        coco_results.write_document(open_pack(target), model.labels, Path(results))
    return predicted.report(target, count - len(left_out))


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """An empty folder below `target` that is gone afterwards, also after an error."""
    work = target / ".work-predict"
    remove_tree(work)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        remove_tree(work)


def _remark_none_above(predicted: _Predicted, findings: Findings) -> None:
    """Remark where the score threshold leaves nothing, and which one would leave something."""
    if not predicted.instances and predicted.best:
        threshold = f"--score-threshold {math.floor(predicted.best * 100) / 100:g}"
        words = f"no object reaches the score threshold; the best score is {predicted.best:.3f}: {threshold}"
        findings.remark(words, predicted.model.source)


def _opened(
    source: str | Path | Pack, split: str | None, findings: Findings, unreadable: Callable[[SegdataError], None]
) -> tuple[Sequence[Sample], str, dict[str, list[int]], int]:
    """The samples of a pack or a folder of images, their format, the pack's splits, and its limit of pixels."""
    if isinstance(source, Pack) or is_pack(located(source)):
        pack = source if isinstance(source, Pack) else open_pack(source, split)
        return pack, pack.info["provenance"]["format"], _splits(pack), pack.info.get("max_pixels", MAX_PIXELS)
    if split is not None:
        raise UsageError("a folder of images has no splits", file=Path(source))
    return image_samples(Path(source), findings, unreadable), "photos", {}, MAX_PIXELS


def _splits(pack: Pack) -> dict[str, list[int]]:
    """The splits that the samples of a pack are in, by their indices here."""
    index_of = {int(member): index for index, member in enumerate(pack.indices)}
    splits = {
        name: [index_of[int(member)] for member in members if int(member) in index_of]
        for name, members in pack.splits.items()
    }
    return {name: members for name, members in splits.items() if members}


def _written(
    predicted: _Predicted, work: Path, images: Literal["embed", "none"], findings: Findings
) -> tuple[list[dict[str, Any]], list[int]]:
    """Predict and write shard by shard; the shards' receipts, and the indices of the samples that were left out."""
    receipts = []
    left_out: list[int] = []
    count = len(predicted.samples)
    for number, begin in enumerate(range(0, max(count, 1), _SHARD)):
        members = range(begin, min(begin + _SHARD, count))
        refused: list[int] = []
        predicted.written = []
        receipts.append(
            write_shard(
                work,
                number,
                predicted.of(members),
                predicted.model.labels,
                images=images,
                image_bytes=predicted.image_bytes(members) if images == "embed" else 0,
                findings=findings,
                left_out=refused,
            )
        )
        left_out += sorted(
            (set(members) - set(predicted.written)) | {predicted.written[position] for position in refused}
        )
    return receipts, left_out


class _Predicted:
    """Samples with predictions, a batch at a time while the next images are decoded.

    Attributes:
        instances, label_maps: objects and label maps so far.
        best: highest score so far, also below the threshold.
        written: indices of the samples given out since it was emptied.
    """

    def __init__(
        self,
        model: Predictor,
        samples: Sequence[Sample],
        *,
        batch_size: int,
        pictures: Path | None,
        progress: Callable[[int, int], None] | None,
        unreadable: Callable[[SegdataError], None],
        findings: Findings,
        needs_objects: bool,
    ) -> None:
        self._findings = findings
        self._needs_objects = needs_objects
        self.model = model
        self.samples = samples
        self._batch_size = batch_size
        self._pictures = pictures
        self._progress = progress
        self._unreadable = unreadable
        self.instances = self.label_maps = 0
        self.best: float | None = None
        self.written: list[int] = []

    def report(self, target: Path, samples: int) -> PredictReport:
        """What was predicted, in a pack of so many samples."""
        _remark_none_above(self, self._findings)
        problems = self._findings.as_dict()
        return PredictReport(target, samples, self.instances, problems, self.best, self.label_maps)

    def image_bytes(self, members: range) -> int:
        """Bytes of the encoded images of some samples."""
        return sum(len(self.samples[index].encoded or b"") for index in members)

    def of(self, members: range) -> Iterator[Sample]:
        """Some samples with their predictions; those whose images cannot be read are left out."""
        batches = [members[begin : begin + self._batch_size] for begin in range(0, len(members), self._batch_size)]
        with ThreadPoolExecutor(1, thread_name_prefix="segdata-images") as decoder:
            ahead = decoder.submit(self._decoded, batches[0]) if batches else None
            for number, batch in enumerate(batches):
                assert ahead is not None
                decoded = ahead.result()
                ahead = decoder.submit(self._decoded, batches[number + 1]) if number + 1 < len(batches) else None
                for _, error in decoded:
                    if isinstance(error, SegdataError):
                        self._unreadable(error)
                readable = [(index, image) for index, image in decoded if not isinstance(image, SegdataError)]
                predictions = self.model.predict([image for _, image in readable]) if readable else []
                for (index, image), prediction in zip(readable, predictions, strict=True):
                    if self._needs_objects and prediction.instances is None and prediction.semantic is not None:
                        raise _no_coco_results(self.model)
                    for remark in prediction.remarks:
                        self._findings.remark(remark, self.samples[index].key)
                    if prediction.best is not None:
                        self.best = max(prediction.best, self.best or 0.0)
                    self.written.append(index)
                    yield self._finished(prediction.on(self.samples[index]), image)
                if self._progress is not None:
                    self._progress(batch[-1] + 1, len(self.samples))

    def _decoded(self, batch: range) -> list[tuple[int, Image | SegdataError]]:
        decoded: list[tuple[int, Image | SegdataError]] = []
        for index in batch:
            try:
                decoded.append((index, self.samples[index].image))
            except SegdataError as error:
                decoded.append((index, error.located(key=self.samples[index].key)))
        return decoded

    def _finished(self, sample: Sample, image: Image) -> Sample:
        self.instances += len(sample.instances)
        self.label_maps += sample.has_semantic
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
            picture = overlay(sample, self.model.labels, image=image)
            write_whole(self._pictures / f"{file_name(sample.key)}.png", png(picture))
        return sample


def _no_coco_results(model: Predictor) -> UsageError:
    return UsageError(
        "COCO results are of objects with scores, and this model predicts label maps",
        file=model.source,
        fix="leave out --coco: the pack holds the label maps, and segdata evaluate takes it",
    )


def _provenance(model: Predictor, receipts: Sequence[dict[str, Any]], origin: str) -> dict[str, Any]:
    """Source, settings and fingerprint of the predictions, for the index of the pack."""
    maker = {"model": model.source, "settings": model.settings}
    predicted = [receipt["entry"]["annotations"]["sha256"] for receipt in receipts]
    return {
        "format": origin,
        "layout": "predictions",
        "root": "",
        "fingerprint": hashlib.sha256(canonical_json([maker, predicted])).hexdigest(),
        "options": {"predicted": maker},
    }
