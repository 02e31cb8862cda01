"""`segdata predict`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import choices, options, output, paths
from segdata.cli.convert import OnError
from segdata.cli.output import app
from segdata.errors import UsageError

_THRESHOLD = "detection_min_confidence"
"""The setting that --score-threshold is."""


@app.command(epilog="Example: segdata predict runs/first images -o found --pictures pictures")
def predict(
    model: str = typer.Argument(
        ..., help="A run, a checkpoint, a weights file (.pth, .safetensors, .h5), or torchvision:coco-v1."
    ),
    source: Path = typer.Argument(..., help="A pack, a folder of images, or one image."),
    target: Path = typer.Option(
        ..., "--output", "-o", metavar="PACK", callback=paths.folder, help="The pack to write."
    ),
    split: str | None = typer.Option(
        None, "--split", metavar="NAME", help="Only this split of a pack.", autocompletion=choices.splits
    ),
    score_threshold: float | None = typer.Option(
        None,
        "--score-threshold",
        min=0.0,
        max=1.0,
        metavar="X",
        help="Score threshold (default: the model's detection_min_confidence, 0.05; 0.7 for .h5).",
    ),
    labels: str | None = typer.Option(
        None,
        "--labels",
        metavar="NAMES|FILE",
        help="Names for the classes of weights that carry none: cat,dog, or a table of labels.",
    ),
    changes: list[str] = typer.Option(
        [],
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the model as NAME=VALUE; can be repeated.",
        autocompletion=choices.settings,
    ),
    flip: bool = typer.Option(
        False, "--flip", help="Test-time augmentation: predict the flipped image, too, and merge."
    ),
    scales: str | None = typer.Option(
        None, "--scales", metavar="X,Y", help="Test-time augmentation of a semantic model: scales, such as 0.75,1,1.25."
    ),
    crf: bool = typer.Option(False, "--crf", help="Refine label maps by a dense conditional random field."),
    pictures: Path | None = typer.Option(
        None, "--pictures", callback=paths.folder, metavar="DIR", help="A folder for pictures of the predictions."
    ),
    results: Path | None = typer.Option(
        None, "--coco", metavar="FILE", callback=paths.file(".json"), help="A JSON file for COCO results."
    ),
    images: bool = typer.Option(True, "--images/--no-images", help="Keep the images in the pack, too."),
    on_error: OnError = typer.Option(OnError.stop, help="Stop at an image that cannot be read, or skip and list it."),
    batch_size: int = typer.Option(4, min=1, max=1024, metavar="N", help="Images per batch."),
    limit: int | None = typer.Option(None, min=1, metavar="N", help="Only the first images."),
    device: str | None = options.Device,
    threads: int | None = options.Threads,
    force: bool = typer.Option(False, "--force", help="Replace what the target folder holds."),
    wait: float = typer.Option(
        0.0, min=0.0, metavar="SECONDS", help="Seconds to wait for another process on the same target."
    ),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Predict masks with a trained model, as a pack with scores."""
    from segdata.models import registry

    source = options.at(source, allow_http=allow_http)
    with output.only_ours(active=json), output.progress("detecting", quiet=quiet) as progress:
        registry.require_torch(threads)
        from segdata.models import registry
        from segdata.training import predict as prediction
        from segdata.training.config import TrainConfig

        changes += [f"scales={scales}"] if scales else []
        changes += ["crf=true"] if crf else []
        config = TrainConfig.of(registry.name_of(model))
        settings = config.parsed(changes)
        for name in settings.keys() & {"device", "flip", "labels"}:
            raise UsageError(f"{name} is an option of predict, no setting", why=f"got --set {name}=…", fix=f"--{name}")
        if score_threshold is not None:
            if _THRESHOLD not in config.model.rules():
                raise UsageError(
                    "--score-threshold has no effect here",
                    why=f"{config.name} gives each pixel a category, and no objects with scores",
                    fix="leave out --score-threshold",
                )
            settings[_THRESHOLD] = score_threshold
        report = prediction.predict(
            prediction.load(model, device=device, flip=flip, labels=labels, **settings),
            source,
            target,
            split=split,
            batch_size=batch_size,
            limit=limit,
            pictures=pictures,
            results=results,
            embed=images,
            on_error=on_error.value,
            force=force,
            wait=wait,
            progress=progress,
        )
    if json:
        output.result(report.as_dict())
    else:
        if not quiet:
            output.remarks(report.problems)
        output.table(
            [
                ("target", f"{report.target} (pack)"),
                ("images", f"{report.samples:,}"),
                ("objects", None if report.label_maps else f"{report.instances:,}"),
                ("label maps", f"{report.label_maps:,}" if report.label_maps else None),
                ("pictures", pictures),
                ("COCO results", results),
            ]
        )
    if report.skipped:
        raise typer.Exit(3)
