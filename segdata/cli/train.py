"""`segdata train`."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import choices, options, output, paths
from segdata.cli.output import app
from segdata.errors import number_of, printable

if TYPE_CHECKING:
    from segdata.training.outcome import Status

_EVERY_SECONDS = 10.0


@app.command(epilog="Example: segdata train packs/coco -o runs/first --set epochs=3")
def train(
    pack: Path = typer.Argument(..., help="The pack to train on."),
    run: Path = typer.Option(..., "--output", "-o", metavar="RUN", callback=paths.folder, help="The run's folder."),
    split: str | None = typer.Option(
        None,
        "--split",
        metavar="NAME",
        help="Train on this split (default: the one called train…).",
        autocompletion=choices.splits,
    ),
    validation: str | None = typer.Option(
        None,
        "--validation",
        metavar="NAME",
        help='Validate on this split (default: the one called val…; "none" for none).',
        autocompletion=choices.splits,
    ),
    labels: str | None = typer.Option(
        None,
        "--labels",
        metavar="VIEW|FILE",
        help="A view of the pack's label space (cityscapes-19).",
        autocompletion=choices.views,
    ),
    config: Path | None = typer.Option(None, "--config", metavar="FILE", help="Settings, TOML: see segdata config."),
    changes: list[str] = typer.Option(
        [],
        "--set",
        metavar="NAME=VALUE",
        help="A setting as NAME=VALUE; can be repeated.",
        autocompletion=choices.settings,
    ),
    weights: str | None = typer.Option(
        None,
        "--weights",
        metavar="WEIGHTS",
        help="Initial weights: a run, a file, or torchvision:coco-v1, :coco-v2, :coco-voc, :imagenet.",
        autocompletion=choices.weights,
    ),
    model: str | None = typer.Option(
        None,
        "--model",
        metavar="NAME",
        help="The model: {models} (default: that of the weights, else maskrcnn).",
        autocompletion=choices.models,
    ),
    loss: list[str] = typer.Option(
        [],
        "--loss",
        metavar="NAME[:WEIGHT]",
        help="Loss of a semantic model, such as lovasz or ce, dice:0.5; can be repeated.",
        autocompletion=choices.pixel_losses,
    ),
    boxes_as_masks: bool = typer.Option(
        False, "--boxes-as-masks", help="Train objects that have a box and no mask with their box filled as the mask."
    ),
    resume: bool = typer.Option(False, "--resume", help="Resume with the run's own settings."),
    device: str | None = options.Device,
    threads: int | None = options.Threads,
    tracker: list[str] = typer.Option(
        [],
        "--tracker",
        metavar="NAME",
        help="Log to tensorboard, mlflow, neptune or wandb, too; can be repeated.",
        autocompletion=choices.trackers,
    ),
    wait: float = typer.Option(
        0.0, min=0.0, metavar="SECONDS", help="Seconds to wait for another process on the same run."
    ),
    cache: Path | None = typer.Option(
        None, "--cache", metavar="DIR", callback=paths.folder, help="Keep photos of a pack at an address here."
    ),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Train a model on a pack; the same command resumes a stopped run."""
    import segdata
    from segdata.models import registry
    from segdata.training.config import TrainConfig
    from segdata.training.runs.report import FILE

    pack = options.at(pack, allow_http=allow_http, cache=cache)
    is_main = int(os.environ.get("RANK", "0")) == 0
    with output.only_ours(active=json):
        registry.require_torch(threads)
        changes += ["boxes_as_masks=true"] if boxes_as_masks else []
        changes += [f"model={model}"] if model else []
        changes += [f"loss={','.join(loss)}"] if loss else []
        chosen = TrainConfig.chosen(config, changes, run if resume else None, weights=weights)
        whole = segdata.open(pack, labels=labels)
        from segdata.training import trackers, trainer
        from segdata.training.batches import split_names

        train_split, validation_split = split_names(whole, split, validation)
        with _progress(quiet=quiet) as (progress, say):
            report = trainer.train(
                whole if train_split is None else whole.split(train_split),
                run,
                chosen,
                validate=None if validation_split is None else whole.split(validation_split),
                weights=weights,
                trackers=[trackers.named(name) for name in dict.fromkeys(tracker)] if is_main else [],
                device=device,
                wait=wait,
                progress=progress,
                remark=None if quiet or json else lambda text: say(f"note: {text}"),
                tell=None if quiet or json else say,
            )
    if not is_main:
        return
    if json:
        output.result({**report.as_dict(), "split": train_split, "validation": validation_split})
        return
    output.table(
        [
            ("run", f"{report.run} ({'already done' if report.was_done else 'done'})"),
            ("trained on", f"{number_of(report.images, 'image')}{f' of {train_split}' if train_split else ''}"),
            ("updates", f"{report.steps:,} in {number_of(report.epochs, 'epoch')}"),
            ("validation", ", ".join(_metric(*item) for item in report.metrics.items() if "/" not in item[0])),
            ("report", report.run / FILE),
            (f"best {chosen.model.METRIC.name}", None if report.best is None else f"{report.best:.3f}"),
        ]
    )


def _metric(name: str, value: float | None) -> str:
    return f"{name} is not defined" if value is None else f"{name} {value:.3f}"


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[tuple[Callable[[Status], None] | None, Callable[[str], None]]]:
    """A bar on a terminal, a plain line every ten seconds elsewhere, nothing when quiet.

    Gives (progress, say): say prints a line, above the bar where there is one.
    """
    if quiet or not output.shows_progress():
        yield None, output.remark
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc="training", unit="update", dynamic_ncols=True, leave=False) as bar:

            def move(status: Status) -> None:
                bar.total = status.steps
                bar.set_description_str(status.doing, refresh=False)
                bar.set_postfix_str(_numbers(status), refresh=False)
                bar.update(status.step - bar.n)

            yield move, lambda text: tqdm.write(printable(text), file=sys.stderr)
    else:
        last = -_EVERY_SECONDS

        def line(status: Status) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY_SECONDS or status.step == status.steps:
                last = time.monotonic()
                output.remark(f"{status.doing}: update {status.step} of {status.steps}, {_numbers(status)}")

        yield line, output.remark


def _numbers(status: Status) -> str:
    values: dict[str, Any] = dict(status.values)
    texts = [f"epoch {status.epoch}"]
    if "train/loss" in values:
        texts.append(f"loss {values['train/loss']:.3f}")
        texts.append(f"{values['system/images_per_second']:.1f} images/s")
    return ", ".join(texts)
