"""The second half of the demo: a small network finds objects on drawn tables that it was not trained on.

ROOT/drawn/tables        tables in COCO's layout: some to train on, others to look at the result
ROOT/tables              their pack
ROOT/small               weights and settings of a small Mask R-CNN, copied from the package, compared with their digest
ROOT/run                 its training goes on here
ROOT/predictions         what it finds on the other tables, a pack with scores
ROOT/result.png          ground truth beside predictions

The weights were made by scripts/demo-weights from 1,200 tables drawn with another seed: no table is in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

from segdata.core.sample import Sample
from segdata.demo.run import drawn
from segdata.demo.synthetic import objects
from segdata.metrics.evaluate import evaluate
from segdata.pack.read import open_pack
from segdata.system.files import write_whole
from segdata.viz import overlay

TRAIN, VAL = 32, 16
"""Tables that the demo trains on, and others that it evaluates."""

METRIC = "coco-segm"
SPLIT = "val2017"

PICTURES = 4
"""Of the tables that are evaluated, so many are pictured."""

SCORE = 0.5
"""Score threshold of what is pictured; AP counts all."""


THREADS = ("--threads", "1")
"""The network is too small for more: threads that wait for each other take long on a busy machine."""


@dataclass(frozen=True)
class Result:
    """What came of the training.

    Attributes:
        ap: mask AP on images that were not trained on.
        images: so many.
        picture: ground truth beside predictions of some of them.
    """

    ap: float
    images: int
    picture: Path


def begin(root: Path, *, tell: Callable[[str], None] = lambda text: None) -> None:
    """Draw the tables and lay out the weights; what is there already stays."""
    make = partial(objects.draw, train=TRAIN, val=VAL, seed=0)
    drawn(root / "drawn" / "tables", make, tell)
    for source in sorted(resources.files("segdata").joinpath("demo", "weights").iterdir(), key=lambda file: file.name):
        target = root / "small" / source.name
        target.parent.mkdir(exist_ok=True)
        write_whole(target, source.read_bytes())


def commands(root: Path) -> tuple[tuple[str, ...], ...]:
    """What is typed to convert, train, predict and evaluate, without `segdata`."""
    drawn_tables, tables, small, run, predictions = (
        str(root / name) for name in ("drawn/tables", "tables", "small", "run", "predictions")
    )
    return (
        ("convert", drawn_tables, tables),
        (
            "train",
            tables,
            "-o",
            run,
            "--weights",
            f"{small}/tables.json",
            "--config",
            f"{small}/settings.toml",
            *THREADS,
        ),
        ("predict", run, tables, "--split", SPLIT, "-o", predictions, "--force", *THREADS),
        ("evaluate", predictions, tables, "--split", SPLIT, "--metric", METRIC),
    )


def result(root: Path) -> Result:
    """AP of the predictions, and the picture."""
    ap = evaluate(root / "predictions", root / "tables", metrics=[METRIC], split=SPLIT).metrics[METRIC]["AP"]
    truth, predictions = open_pack(root / "tables").split(SPLIT), open_pack(root / "predictions")
    pictures = []
    for index in range(PICTURES):
        sample, detected = truth[index], predictions[index].instances
        sure = detected.take(detected.score >= SCORE)
        judged = f"prediction, mask AP {ap:.2f} on {len(truth)} images"
        for instances, what in ((sample.instances, "ground truth"), (sure, judged)):
            key = f"{sample.key}: {what}"
            titled = Sample(key, sample.height, sample.width, encoded=sample.encoded, instances=instances)
            pictures.append(overlay.overlay(titled, truth.labels, legend=False))
    path = root / "result.png"
    write_whole(path, overlay.png(overlay.contact_sheet(pictures, columns=2, width=640)))
    return Result(ap, len(truth), path)
