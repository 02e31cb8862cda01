"""A pack or a folder of photos → a pack with scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torchvision.models.detection import MaskRCNN

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import SegdataError, UsageError
from segdata.formats.coco import results as coco_results
from segdata.models import matterport
from segdata.models.detector import Detector
from segdata.models.maskrcnn import network as maskrcnn
from segdata.models.maskrcnn import torchvision_weights as published
from segdata.models.maskrcnn import weights
from segdata.models.maskrcnn.augment import categories_of
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.detect import Photo, detect, memory_format
from segdata.pack.read import Pack, is_pack, open_pack
from segdata.pack.write import commit, index_document, is_unfinished, write_dataset, write_shard
from segdata.sources.dataset import OnError, without
from segdata.sources.image_folder import photos
from segdata.system.files import canonical_json, remove_tree, require_replaceable, write_whole
from segdata.system.locks import locked
from segdata.training.distributed import device_named
from segdata.training.trackers.run_folder import file_name, png
from segdata.viz import overlay as draw

_SHARD = 1024


class Model:
    """A trained Mask R-CNN with its settings and categories."""

    def __init__(
        self,
        network: MaskRCNN,
        config: Config,
        labels: LabelSpace,
        *,
        categories: npt.NDArray[np.int64] | None = None,
        flip: bool = False,
        source: str = "",
    ) -> None:
        self.network = network.eval()
        self.config = config
        self.labels = labels
        self.flip = flip
        self.source = source
        self._categories = categories_of(labels) if categories is None else categories

    def __call__(self, photos: Sequence[Photo]) -> list[Instances]:
        """Instances of each photo, the surest first."""
        return detect(self.network, photos, self.config, self._categories, flip=self.flip)


def load(source: str | Path, *, device: str | None = None, flip: bool = False, **changes: Any) -> Detector:
    """A trained model, ready to detect.

    Args:
        source: a run, a checkpoint, a file of torchvision's weights or a name of them, or a Keras file (`.h5`) of
            Matterport's model.
        device: "cpu" or "cuda"; by default a GPU where there is one.
        flip: also look at mirrored photos.
        changes: settings of detection that differ from the run's (`detection_min_confidence=0.5`).
    """
    place = device_named(device)
    if Path(source).suffix in (".h5", ".hdf5"):
        if flip:
            raise UsageError("Keras models do not look at mirrored photos", fix="leave out --flip")
        return matterport.load(source, device=place, **changes)
    given = weights.read(source)
    labels, categories = given.labels, given.categories
    if labels is None:
        labels, categories = published.labels_of(given.tensors, given.source)
    categories = categories_of(labels) if categories is None else categories
    config = (given.config or published.config_of(given.tensors, given.source)).changed(**changes)
    network = maskrcnn.build(config, len(categories))
    weights.put(given, network)
    network.to(place, memory_format=memory_format(config))
    return Model(network, config, labels, categories=categories, flip=flip, source=given.source)


@dataclass(frozen=True)
class Report:
    """What was predicted."""

    target: Path
    samples: int
    instances: int
    problems: dict[str, Any]

    @property
    def skipped(self) -> int:
        """Photos that were left out."""
        return sum(item["count"] for item in self.problems["skipped"])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target)}


def predict(
    model: Detector,
    source: Path | Pack,
    target: Path,
    *,
    split: str | None = None,
    batch_size: int = 4,
    limit: int | None = None,
    pictures: Path | None = None,
    results: Path | None = None,
    embed: bool = True,
    on_error: OnError = "stop",
    force: bool = False,
    wait: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Detect the objects of every photo and write them as a pack.

    Args:
        source: a pack, or a folder of photos.
        pictures: a folder for pictures of what was found.
        results: a file for COCO results of image and category ids of the source.
        embed: keep the photos in the pack, too.
        on_error: whether a photo that cannot be read stops the work, or is left out and reported.
        force: replace what is at `target`.
    """
    findings = Findings()

    def unreadable(error: SegdataError) -> None:
        if on_error == "stop" or error.exit_code not in (4, 8, 11):
            raise error
        findings.skip(error)

    samples: Sequence[Sample]
    if isinstance(source, Pack) or is_pack(source):
        pack = source if isinstance(source, Pack) else open_pack(source, split)
        samples, origin = pack, pack.info["provenance"]["format"]
        splits = _splits(pack)
    else:
        if split is not None:
            raise UsageError("a folder of photos has no splits", file=source)
        samples, origin, splits = photos(source, findings, unreadable), "photos", {}
    count = len(samples) if limit is None else min(limit, len(samples))
    with locked(target, wait=wait):
        require_replaceable(target, force=force or is_unfinished(target), what="the pack of predictions")
        work = target / ".work-predict"
        remove_tree(work)
        work.mkdir(parents=True)
        found = _Found(model, samples, batch_size, pictures, progress, count, unreadable)
        receipts = []
        left_out: list[int] = []
        for number, begin in enumerate(range(0, max(count, 1), _SHARD)):
            members = range(begin, min(begin + _SHARD, count))
            refused: list[int] = []
            found.taken = []
            receipts.append(
                write_shard(
                    work,
                    number,
                    found.samples(members),
                    model.labels,
                    images="embed" if embed else "none",
                    image_bytes=sum(len(samples[index].encoded or b"") for index in members) if embed else 0,
                    findings=findings,
                    left_out=refused,
                )
            )
            left_out += sorted((set(members) - set(found.taken)) | {found.taken[place] for place in refused})
        kept = without({name: [i for i in members if i < count] for name, members in splits.items()}, left_out)
        dataset = write_dataset(work, kept, [])
        index = index_document(
            receipts,
            dataset,
            labels=model.labels,
            splits=kept,
            images="embed" if embed else "none",
            provenance=_provenance(model, receipts, origin),
            findings=findings,
        )
        commit(target, work, [*receipts, dataset], index)
        remove_tree(work)
    if results is not None:
        predictions = open_pack(target)
        coco_results.write_document(predictions, predictions.labels, results)
    return Report(target, count - len(left_out), found.instances, findings.as_dict())


def _splits(pack: Pack) -> dict[str, list[int]]:
    """The splits that the samples of a pack are in, by their places here."""
    place = {int(member): position for position, member in enumerate(pack.indices)}
    found = {name: [place[int(i)] for i in members if int(i) in place] for name, members in pack.splits.items()}
    return {name: members for name, members in found.items() if members}


class _Found:
    """Samples with predictions, detected a batch at a time while the next photos are decoded."""

    def __init__(
        self,
        model: Detector,
        samples: Sequence[Sample],
        batch_size: int,
        pictures: Path | None,
        progress: Callable[[int, int], None] | None,
        count: int,
        unreadable: Callable[[SegdataError], None],
    ) -> None:
        self.model = model
        self._given = samples
        self._batch = batch_size
        self._pictures = pictures
        self._progress = progress
        self._count = count
        self._unreadable = unreadable
        self.instances = 0
        self.taken: list[int] = []

    def samples(self, members: range) -> Iterator[Sample]:
        batches = [members[begin : begin + self._batch] for begin in range(0, len(members), self._batch)]
        with ThreadPoolExecutor(1, thread_name_prefix="segdata-photos") as decoder:
            ahead = decoder.submit(self._decoded, batches[0]) if batches else None
            for number, batch in enumerate(batches):
                assert ahead is not None
                pixels = ahead.result()
                ahead = decoder.submit(self._decoded, batches[number + 1]) if number + 1 < len(batches) else None
                for _, error in pixels:
                    if isinstance(error, SegdataError):
                        self._unreadable(error)
                good = [(index, photo) for index, photo in pixels if not isinstance(photo, SegdataError)]
                found = self.model([photo for _, photo in good]) if good else []
                for (index, photo), instances in zip(good, found, strict=True):
                    self.taken.append(index)
                    yield self._finished(self._given[index], photo, instances)
                if self._progress is not None:
                    self._progress(batch[-1] + 1, self._count)

    def _decoded(self, batch: range) -> list[tuple[int, Photo | SegdataError]]:
        decoded: list[tuple[int, Photo | SegdataError]] = []
        for index in batch:
            try:
                decoded.append((index, self._given[index].image))
            except SegdataError as error:
                decoded.append((index, error.located(key=self._given[index].key)))
        return decoded

    def _finished(self, sample: Sample, photo: Photo, instances: Instances) -> Sample:
        self.instances += len(instances)
        done = sample.with_annotations(instances=instances, semantic=None, extra={})
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
            picture = draw.overlay(done, self.model.labels, image=photo)
            write_whole(self._pictures / f"{file_name(sample.key)}.png", png(picture))
        return done


def _provenance(model: Detector, receipts: Sequence[dict[str, Any]], origin: str) -> dict[str, Any]:
    """What the pack was made of; its fingerprint tells the model, its settings and all that was predicted."""
    config = getattr(model, "config", None)
    maker = {"model": model.source, "settings": None if config is None else config.as_dict()}
    predicted = [receipt["entry"]["annotations"]["sha256"] for receipt in receipts]
    return {
        "format": origin,
        "layout": "predictions",
        "root": "",
        "fingerprint": hashlib.sha256(canonical_json([maker, predicted])).hexdigest(),
        "options": {"predicted": maker},
    }
