"""`segdata convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import choices, options, output
from segdata.cli.help import Command
from segdata.cli.output import app
from segdata.errors import UsageError, number_of

if TYPE_CHECKING:
    from segdata.conversion.job import ConvertReport


class Images(StrEnum):
    """Where a pack's images are."""

    embed = "embed"
    reference = "reference"
    none = "none"


class Crowds(StrEnum):
    """What becomes of objects with iscrowd."""

    keep = "keep"
    drop = "drop"
    objects = "objects"


class Exif(StrEnum):
    """What becomes of images that are not upright by their EXIF orientation."""

    keep = "keep"
    apply = "apply"


class Recode(StrEnum):
    """How photos are stored."""

    keep = "keep"
    lossless = "lossless"


class OnError(StrEnum):
    """What happens to items that are not valid."""

    stop = "stop"
    skip = "skip"


class _Convert(Command):
    """The command with `--allow-loss` that may stand without kinds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the word after `--allow-loss` for kinds where it names one, or is one more than source and target."""
        from segdata.core import conversion_losses

        values = {*self._with_value()} - {_ALLOW_LOSS}
        words = [word for before, word in zip(["", *args], args, strict=False) if before not in values]
        arguments = [word for word in words if not word.startswith("-")]
        given: list[str] = []
        for word, following in zip(args, [*args[1:], ""], strict=False):
            if given[-1:] == [f"{_ALLOW_LOSS}={word}"]:
                continue
            if word == _ALLOW_LOSS and not (ctx.resilient_parsing and word is args[-1]):
                names_one = any(
                    name in (*conversion_losses.NAMES, conversion_losses.ALL) for name in following.split(",")
                )
                is_kinds = names_one or (following in arguments and len(arguments) > 2)
                word = f"{_ALLOW_LOSS}={following if is_kinds else conversion_losses.ALL}"
            given.append(word)
        return super().parse_args(ctx, given)


_ALLOW_LOSS = "--allow-loss"


def _shares(text: str) -> dict[str, float]:
    """ "train=0.8,val=0.2" → split → share; percents and other numbers are shares of their sum.

    Raises:
        UsageError: no such text.
    """
    shares = options.numbers_of_splits(text, "--split-by")
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()} if total > 1.5 else shares


@app.command(cls=_Convert, epilog="Example: segdata convert VOCdevkit/VOC2012 packs/voc")
def convert(
    source: Path = typer.Argument(..., help="A dataset folder in a known layout, or a pack."),
    target: Path = typer.Argument(..., help="The folder to make."),
    source_format: str | None = typer.Option(
        None,
        "--from",
        metavar="FORMAT",
        help="The source's format (default: by its layout): {formats}; with --truth {results}.",
        autocompletion=choices.sources,
    ),
    to: str = typer.Option("pack", "--to", metavar="FORMAT", help="{targets}.", autocompletion=choices.targets),
    split: list[str] = options.Splits,
    truth: Path | None = typer.Option(
        None,
        "--truth",
        metavar="PATH",
        help="Ground truth of results files: they become a pack with scores (--from coco-results …).",
    ),
    labels: str | None = options.Labels,
    where: str | None = options.Where,
    keep: list[str] = typer.Option(
        [],
        "--keep",
        metavar="NAME",
        help="Only objects of this category; can be repeated.",
        autocompletion=choices.categories,
    ),
    drop: list[str] = typer.Option(
        [],
        "--drop",
        metavar="NAME",
        help="No objects of this category; can be repeated.",
        autocompletion=choices.categories,
    ),
    min_area: float = typer.Option(
        0.0, "--min-area", min=0, metavar="PIXELS", help="Leave out objects with fewer pixels."
    ),
    crowds: Crowds = typer.Option(
        Crowds.keep, help="Objects with iscrowd stay (training leaves them out), go, or become objects."
    ),
    no_crowds: bool = typer.Option(False, "--no-crowds", help="The same as --crowds drop."),
    exif: Exif = typer.Option(
        Exif.keep, help="Images as stored, or turned by their EXIF orientation, with annotations."
    ),
    recode: Recode = typer.Option(
        Recode.keep, help="Photos as stored, or PNG photos as QOI: equal pixels, faster to decode."
    ),
    images: Images = typer.Option(Images.embed, help="Put images into the pack, refer to them, or leave them out."),
    images_dir: list[str] = options.ImagesDir,
    follow_links: bool = typer.Option(False, "--follow-links", help="Trust links that lead out of the dataset."),
    classes: str | None = typer.Option(
        None, "--classes", metavar="FILE|NAMES", help="Categories of a folder: a table, a,b,c, or from-data."
    ),
    split_by: str | None = typer.Option(
        None, "--split-by", metavar="SHARES", help="Make splits of all samples: train=0.8,val=0.2."
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", help="Of the shuffle of --split-by."),
    group: str | None = typer.Option(
        None, "--group", metavar="REGEX", help="With --split-by: samples with the same match in the key stay together."
    ),
    max_pixels: int | None = typer.Option(
        None, "--max-pixels", min=1, metavar="N", help="Larger images are refused.", show_default="67,108,864"
    ),
    limit: int | None = typer.Option(None, min=1, metavar="N", help="At most this many samples."),
    on_error: OnError = typer.Option(
        OnError.stop, help="Invalid items: read all, count them and write nothing, or leave them out and list them."
    ),
    strict: bool = typer.Option(False, "--strict", help="Correct nothing: what would be corrected is invalid."),
    fail_fast: bool = typer.Option(False, "--fail-fast", help="Stop at the first invalid item, without reading on."),
    allow_loss: str = typer.Option(
        "",
        _ALLOW_LOSS,
        metavar="[KINDS]",
        show_default=False,
        help="Drop what the target cannot hold: all of it, or these kinds of loss alone (ids,licences): {losses}.",
        autocompletion=choices.losses,
    ),
    workers: int | None = typer.Option(None, min=1, metavar="N", help="Processes (default: one per processor)."),
    shard_samples: int | None = typer.Option(
        None,
        min=1,
        metavar="N",
        help="Most samples of a shard, the unit of work.",
        show_default="a sixteenth, 256 to 4,096",
    ),
    hang_seconds: float = typer.Option(
        600.0, min=1, metavar="SECONDS", help="Stop a worker that stays at one sample for longer."
    ),
    part: str | None = typer.Option(
        None,
        "--part",
        metavar="I/N",
        help="Only this share of the shards: N commands, anywhere, make the pack together; the last one finishes it.",
    ),
    decode: bool = typer.Option(False, "--decode", help="Decode every image fully as a check."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and check everything, write nothing."),
    force: bool = typer.Option(False, "--force", help="Replace what the target folder holds."),
    clean: bool = typer.Option(False, "--clean", help="After replacing a pack, remove the old one's files."),
    wait: float = typer.Option(
        0.0, min=0.0, metavar="SECONDS", help="Seconds to wait for another process on the same target."
    ),
    no_lock: bool = options.NoLock,
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Convert a dataset folder or a pack to a pack or any format.

    What the target cannot hold is counted before anything is written.
    """
    from segdata.conversion.convert import convert as convert_dataset

    source = options.at(source, allow_http=allow_http)
    if no_crowds and crowds is not Crowds.keep:
        raise UsageError(f"--no-crowds and --crowds {crowds.value} exclude each other", fix="leave one of them out")
    with output.only_ours(active=json), output.progress("converting", quiet=quiet) as progress:
        report = convert_dataset(
            source,
            target,
            source_format=source_format,
            to=to,
            splits=split,
            truth=truth,
            labels=labels,
            where=where,
            keep=keep,
            drop=drop,
            min_area=min_area,
            crowds="drop" if no_crowds else crowds.value,
            exif=exif.value,
            recode=recode.value,
            images=images.value,
            images_dir=options.by_split(images_dir),
            follow_links=follow_links,
            classes=classes,
            split_by=None if split_by is None else _shares(split_by),
            seed=seed,
            group=group,
            max_pixels=max_pixels,
            limit=limit,
            on_error=on_error.value,
            strict=strict,
            fail_fast=fail_fast,
            allow_loss=allow_loss or False,
            workers=workers,
            shard_samples=shard_samples,
            hang_seconds=hang_seconds,
            part=part,
            decode=decode,
            dry_run=dry_run,
            force=force,
            clean=clean,
            wait=wait,
            lock=not no_lock,
            progress=progress,
        )
    if json:
        output.result(report.as_dict(), error=report.stopped_by)
    else:
        _show(report, quiet=quiet)
    if report.stopped_by is not None:
        raise typer.Exit(report.stopped_by.exit_code)
    if report.skipped:
        raise typer.Exit(3)


def _show(report: ConvertReport, *, quiet: bool) -> None:
    if report.was_done and not report.is_dry_run and report.target_format == "pack":
        count = sum(item["count"] for item in report.problems["remarks"].values()) + report.skipped
        if count and not quiet:
            output.remark(f"{number_of(count, 'note')} from its conversion: segdata info {report.target}")
    elif not quiet:
        refused = getattr(report.stopped_by, "losses", {})
        lost = {loss: item for loss, item in report.problems["losses"].items() if loss not in refused}
        output.remarks({**report.problems, "losses": lost})
    done = (
        "a part is done"
        if report.missing
        else "checked, nothing written"
        if report.is_dry_run
        else "already there"
        if report.was_done
        else "written"
    )
    output.table(
        [
            ("target", f"{report.target} ({report.target_format}, {done})"),
            ("samples", f"{report.samples:,}"),
            ("instances", f"{report.instances:,}"),
            ("splits", ", ".join(f"{name} {count:,}" for name, count in report.splits.items())),
            ("missing", f"{number_of(report.missing, 'shard')}, of other parts" if report.missing else None),
            ("without --dry-run", _foreseen(report) if report.is_dry_run else None),
        ]
    )
    if report.stopped_by is not None:
        output.letter(report.stopped_by)


def _foreseen(report: ConvertReport) -> str:
    """What the command itself would do, and its exit code."""
    if report.stopped_by is not None:
        return f"stops with exit code {report.stopped_by.exit_code}, see below"
    doing = "nothing to do, it is there already" if report.was_done else "is written"
    return f"{doing}, exit code {3 if report.skipped else 0}"
