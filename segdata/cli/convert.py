"""`segdata convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from segdata.cli import options, output
from segdata.cli.output import app


class Images(StrEnum):
    """Where a pack's images are."""

    embed = "embed"
    reference = "reference"
    none = "none"


class OnError(StrEnum):
    """What happens to items that are not valid."""

    stop = "stop"
    skip = "skip"


class _Convert(TyperCommand):
    """The command with the targets that there are in its help: formats are imported when somebody asks."""

    def get_help(self, ctx: Any) -> str:
        from segdata import formats

        *names, last = formats.targets()
        for option in self.params:
            if option.name == "to":
                option.help = f"pack, {', '.join(names)} or {last}."  # type: ignore[attr-defined]
        return super().get_help(ctx)


@app.command(cls=_Convert, epilog="Example: segdata convert VOCdevkit/VOC2012 packs/voc")
def convert(
    source: Path = typer.Argument(..., help="A dataset folder in a known layout, or a pack."),
    target: Path = typer.Argument(..., help="The folder to make."),
    source_format: str | None = typer.Option(None, "--from", help="The source's format (default: by its layout)."),
    to: str = typer.Option("pack", "--to", help="pack, a format, or a kind of results."),
    split: list[str] = typer.Option([], "--split", help="Only this split; can be repeated."),
    truth: Path | None = typer.Option(
        None, "--truth", help="Ground truth of results files: they become a pack with scores (--from coco-results …)."
    ),
    labels: str | None = typer.Option(
        None, "--labels", help="Map categories: a view (cityscapes-19), a label space (voc), or a TOML file."
    ),
    keep: list[str] = typer.Option([], "--keep", help="Only objects of this category; can be repeated."),
    drop: list[str] = typer.Option([], "--drop", help="No objects of this category; can be repeated."),
    min_area: float = typer.Option(0.0, "--min-area", min=0, help="Leave out objects with fewer pixels."),
    crowds: bool = typer.Option(True, "--crowds/--no-crowds", help="Whether crowds stay."),
    images: Images = typer.Option(Images.embed, help="Put images into the pack, refer to them, or leave them out."),
    limit: int | None = typer.Option(None, min=1, help="At most this many samples."),
    on_error: OnError = typer.Option(
        OnError.stop, help="Invalid items: read all, count them and write nothing, or leave them out and list them."
    ),
    fail_fast: bool = typer.Option(False, "--fail-fast", help="Stop at the first invalid item, without reading on."),
    allow_loss: bool = typer.Option(False, "--allow-loss", help="Convert although the target cannot hold all of it."),
    workers: int | None = typer.Option(None, min=1, help="Processes (default: one per processor)."),
    shard_samples: int | None = typer.Option(
        None, min=1, help="Most samples of a shard, the unit of work.", show_default="a sixteenth, 256 to 4,096"
    ),
    hang_seconds: float = typer.Option(600.0, min=1, help="Stop a worker that stays at one sample for longer."),
    decode: bool = typer.Option(False, "--decode", help="Decode every image fully as a check."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and check everything, write nothing."),
    force: bool = typer.Option(False, "--force", help="Replace what the target folder holds."),
    clean: bool = typer.Option(False, "--clean", help="After replacing a pack, remove the old one's files."),
    wait: float = typer.Option(0.0, min=0.0, help="Seconds to wait for another process on the same target."),
    no_lock: bool = options.NoLock,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Convert a dataset folder or a pack to a pack or to any format; what the target cannot hold is counted first."""
    from segdata.conversion.convert import convert as convert_dataset

    with output.only_ours(active=json), output.progress("converting", quiet=quiet) as progress:
        report = convert_dataset(
            source,
            target,
            source_format=source_format,
            to=to,
            splits=split,
            truth=truth,
            labels=labels,
            keep=keep,
            drop=drop,
            min_area=min_area,
            crowds=crowds,
            images=images.value,
            limit=limit,
            on_error=on_error.value,
            fail_fast=fail_fast,
            allow_loss=allow_loss,
            workers=workers,
            shard_samples=shard_samples,
            hang_seconds=hang_seconds,
            decode=decode,
            dry_run=dry_run,
            force=force,
            clean=clean,
            wait=wait,
            lock=not no_lock,
            progress=progress,
        )
    if json:
        output.result(report.as_dict())
    else:
        if not quiet:
            output.remarks(dict(report.problems))
        done = "already there" if report.was_done else "checked, nothing written" if report.is_dry_run else "written"
        output.table(
            [
                ("target", f"{report.target} ({report.target_format}, {done})"),
                ("samples", f"{report.samples:,}"),
                ("instances", f"{report.instances:,}"),
                ("splits", ", ".join(f"{name} {count:,}" for name, count in report.splits.items())),
            ]
        )
    if report.skipped:
        raise typer.Exit(3)
