"""`segdata export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from segdata.cli import output, paths
from segdata.cli.output import app
from segdata.deployment import packages

if TYPE_CHECKING:
    from segdata.deployment.exported import ExportReport


def _offered(parameter: typer.CallbackParam, value: Path | None) -> Path | None:
    if value is not None:
        packages.require_offered(value)
    return paths.file(packages.ENDING)(parameter, value)


@app.command(epilog="Example: segdata export runs/first -o model.onnx --with-preprocessing")
def export(
    model: str = typer.Argument(..., help="A run, a checkpoint, or torchvision's weights of a Mask R-CNN."),
    target: Path = typer.Option(
        ..., "--output", "-o", metavar="FILE", callback=_offered, help="The file to write, FILE.onnx."
    ),
    with_preprocessing: bool = typer.Option(
        False,
        "--with-preprocessing",
        help="Take RGB pixels (uint8) and give label maps or masks of their size; else normalised images, logits.",
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
    labels: str | None = typer.Option(
        None,
        "--labels",
        metavar="NAMES|FILE",
        help="Names for the classes of weights that carry none: cat,dog, or a table of labels.",
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
            model,
            target,
            photos=photos,
            quantise=quantise,
            with_preprocessing=with_preprocessing,
            labels=labels,
            force=force,
        )
    if json:
        output.result(report.as_dict())
        return
    for remark in report.remarks:
        output.remark(remark)
    output.table(
        [
            ("target", report.target),
            ("size", output.size(report.bytes)),
            ("model", report.model),
            ("precision", report.precision),
            *_agreement(report),
            ("mIoU before", _miou(report.miou_before, report.judged)),
            ("mIoU after", _miou(report.miou_after, report.judged)),
        ]
    )


def _agreement(report: ExportReport) -> list[tuple[str, str]]:
    photos = f"{report.photos} photos ({report.photos_of})"
    if report.objects is None:
        return [("labels agree", f"{report.agreement:.3%} of the pixels of {photos}")]
    return [
        ("objects agree", f"{report.agreement:.3%} of {report.objects} in {photos}"),
        ("boxes differ by", f"{report.box_difference:.4f} pixels at most"),
        ("masks differ on", f"{report.mask_difference:.4%} of their pixels"),
    ]


def _miou(value: float | None, images: int) -> str | None:
    return None if value is None else f"{value:.4f} of {images} images"
