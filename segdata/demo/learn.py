"""The second half of the demo: small networks go on learning, and are judged by drawn images that they never saw.

ROOT/drawn/NAME              images to train on, and others to look at the result
ROOT/packs/NAME              their pack
ROOT/small                   weights and settings of the networks, copied from the package
ROOT/runs/NAME               the training goes on here
ROOT/predictions/NAME        what the network says of the other images, a pack
ROOT/NAME.png                ground truth beside predictions

NAME is `tables`, in COCO's layout, for a small Mask R-CNN, or `streets`, in CamVid's, for a small U-Net. Weights are compared
with their digest before use; scripts/demo-weights made them from images drawn with another seed: none is in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

from segdata.core.sample import Sample
from segdata.demo.run import drawn
from segdata.demo.synthetic import camvid, objects
from segdata.metrics.evaluate import evaluate
from segdata.pack.read import open_pack
from segdata.system.files import write_whole
from segdata.viz import overlay

PICTURES = 4
"""Of the images that are evaluated, so many are pictured."""

SCORE = 0.5
"""Score threshold of the objects that are pictured; AP counts all."""

THREADS = ("--threads", "1")
"""The networks are too small for more: threads that wait for each other take long on a busy machine."""


@dataclass(frozen=True)
class Lesson:
    """A network of the demo and what it learns from.

    Attributes:
        name: of its folders, its weights and its settings.
        draw: draws the dataset below a folder and returns where it lies.
        train, val: images that are trained on, and that are evaluated.
        split: the latter's name.
        metric, number: the metric of `segdata evaluate` and its number that says how good the network is.
        title: that number's name for people.
        view: of the pack's label space, which is learnt; None for the label space itself.
    """

    name: str
    draw: Callable[[Path], Path]
    train: int
    val: int
    split: str
    metric: str
    number: str
    title: str
    view: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The view as the option of a command."""
        return () if self.view is None else ("--labels", self.view)


LESSONS = (
    Lesson(
        "tables",
        partial(objects.draw, train=32, val=16, seed=0),
        train=32,
        val=16,
        split="val2017",
        metric="coco-segm",
        number="AP",
        title="mask AP",
    ),
    Lesson(
        "streets",
        partial(camvid.draw, images=20, seed=0, size=(360, 480)),
        train=10,
        val=5,
        split="val",
        metric="semantic",
        number="mIoU",
        title="mIoU",
        view="camvid-11",
    ),
)


@dataclass(frozen=True)
class Result:
    """What came of a training.

    Attributes:
        score: mask AP, or mIoU, on images that were not trained on.
        images: so many.
        picture: ground truth beside predictions of some of them.
    """

    score: float
    images: int
    picture: Path


def begin(root: Path, lesson: Lesson, *, tell: Callable[[str], None] = lambda text: None) -> Path:
    """Draw the images and lay out the weights; what is there already stays. Returns where the dataset lies."""
    source = drawn(root / "drawn" / lesson.name, lesson.draw, tell)
    for file in sorted(resources.files("segdata").joinpath("demo", "weights").iterdir(), key=lambda file: file.name):
        target = root / "small" / file.name
        target.parent.mkdir(exist_ok=True)
        write_whole(target, file.read_bytes())
    return source


def commands(root: Path, lesson: Lesson, source: Path) -> tuple[tuple[str, ...], ...]:
    """What is typed to convert, train, predict and evaluate, without `segdata`."""
    name, split = lesson.name, ("--split", lesson.split)
    pack, run, predictions = (str(root / folder / name) for folder in ("packs", "runs", "predictions"))
    small = str(root / "small" / name)
    initial = ("--weights", f"{small}.json", "--config", f"{small}.toml")
    return (
        ("convert", str(source), pack),
        ("train", pack, "-o", run, *lesson.labels, *initial, *THREADS),
        ("predict", run, pack, *split, "-o", predictions, "--force", *THREADS),
        ("evaluate", predictions, pack, *split, "--metric", lesson.metric, *lesson.labels),
    )


def result(root: Path, lesson: Lesson) -> Result:
    """How good the predictions are, and the picture."""
    pack, predictions = root / "packs" / lesson.name, root / "predictions" / lesson.name
    evaluation = evaluate(predictions, pack, metrics=[lesson.metric], split=lesson.split, labels=lesson.view)
    score = evaluation.metrics[lesson.metric][lesson.number]
    truth, detected = open_pack(pack, labels=lesson.view).split(lesson.split), open_pack(predictions)
    judged = f"prediction, {lesson.title} {score:.2f} on {len(truth)} images"
    pictures = []
    for index in range(min(PICTURES, len(truth))):
        for sample, what in ((truth[index], "ground truth"), (_sure(detected[index]), judged)):
            titled = Sample(
                f"{truth[index].key}: {what}",
                sample.height,
                sample.width,
                encoded=truth[index].encoded,
                instances=sample.instances,
                semantic=sample.semantic,
            )
            pictures.append(overlay.overlay(titled, truth.labels, legend=False))
    path = root / f"{lesson.name}.png"
    write_whole(path, overlay.png(overlay.contact_sheet(pictures, columns=2, width=640)))
    return Result(score, len(truth), path)


def _sure(sample: Sample) -> Sample:
    """A prediction without the objects of low scores."""
    if not sample.has_instances:
        return sample
    instances = sample.instances.take(sample.instances.score >= SCORE)
    return Sample(sample.key, sample.height, sample.width, instances=instances)
