"""`segdata export`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import output, paths
from segdata.cli.output import app


@app.command(epilog="Example: segdata export runs/first -o model.onnx --with-preprocessing")
def export(
    model: str = typer.Argument(..., help="A run or a checkpoint of a network for semantic segmentation."),
    target: Path = typer.Option(
        ..., "--output", "-o", metavar="FILE", callback=paths.file(".onnx"), help="The file to write, FILE.onnx."
    ),
    with_preprocessing: bool = typer.Option(
        False,
        "--with-preprocessing",
        help="Take RGB pixels (uint8) and give label maps; else normalised images, logits.",
    ),
    photos: Path | None = typer.Option(
        None,
        "--photos",
        metavar="PACK|FOLDER",
        help="Photos to compare on (default: the pack of the run where it is there, else drawn ones).",
    ),
    quantise: Path | None = typer.Option(
        None, "--quantise", metavar="PACK", help="Calculate in int8, with ranges seen in images of this pack."
    ),
    threads: int | None = typer.Option(None, "--threads", min=1, metavar="N", help="CPU threads of PyTorch."),
    force: bool = typer.Option(False, "--force", help="Replace the file."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Write a trained network as an ONNX file that was compared with it."""
    from segdata.models import registry

    with output.only_ours(active=True):
        registry.require_torch(threads)
        from segdata.deployment import export as deployment

        if not quiet:
            output.remark("tracing the network, which takes from seconds to minutes")
        report = deployment.export(
            model, target, photos=photos, quantise=quantise, with_preprocessing=with_preprocessing, force=force
        )
    if json:
        output.result(report.as_dict())
        return
    output.table(
        [
            ("target", report.target),
            ("size", output.size(report.bytes)),
            ("model", report.model),
            ("precision", report.precision),
            ("labels agree", f"{report.agreement:.3%} of the pixels of {report.photos} photos ({report.photos_of})"),
            ("mIoU before", _miou(report.miou_before, report.judged)),
            ("mIoU after", _miou(report.miou_after, report.judged)),
        ]
    )


def _miou(value: float | None, images: int) -> str | None:
    return None if value is None else f"{value:.4f} of {images} images"
