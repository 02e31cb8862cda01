"""`segdata prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from segdata.cli import choices, options, output, prompt
from segdata.cli.convert import Images, OnError
from segdata.cli.fetch import show_plan
from segdata.cli.output import app

if TYPE_CHECKING:
    from segdata.conversion.prepare import Prepared


@app.command(epilog="Example: segdata prepare camvid")
def prepare(
    dataset: str = options.Dataset,
    root: Path | None = options.Root,
    only: list[str] = options.Only,
    split: list[str] = typer.Option(
        [],
        "--split",
        metavar="NAME",
        help="Only this split goes into the pack; can be repeated.",
        autocompletion=choices.splits,
    ),
    labels: str | None = options.Labels,
    images: Images = typer.Option(Images.embed, help="Put images into the pack, refer to them, or leave them out."),
    images_dir: list[str] = options.ImagesDir,
    on_error: OnError = typer.Option(OnError.stop, help="Stop at invalid items, or skip and list them."),
    decode: bool = typer.Option(False, "--decode", help="Decode every image fully as a check."),
    workers: int | None = typer.Option(
        None, min=1, metavar="N", help="Processes that convert (default: one per processor)."
    ),
    mirror: str | None = options.Mirror,
    from_dir: Path | None = options.FromDir,
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be fetched; touch nothing, ask nobody."),
    offline: bool = options.Offline,
    repair: bool = options.Repair,
    accept_license: list[str] = options.AcceptLicense,
    accept_unverified: bool = options.AcceptUnverified,
    accept_new_hash: bool = options.AcceptNewHash,
    keep_archives: bool = options.KeepArchives,
    keep_session: bool = options.KeepSession,
    allow_extra: bool = options.AllowExtra,
    force: bool = typer.Option(False, "--force", help="Replace changed files, and a pack made with other options."),
    clean: bool = typer.Option(False, "--clean", help="After replacing a pack, remove the old one's files."),
    ignore_space: bool = options.IgnoreSpace,
    no_lock: bool = options.NoLock,
    jobs: int = options.Jobs,
    limit_rate: str | None = options.LimitRate,
    wait: float = options.Wait,
    timeout: float = options.Timeout,
    retries: int = options.Retries,
    retry_wait: float = options.RetryWait,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Fetch a dataset and convert it to a pack, each step only once.

    The pack is ROOT/NAME/pack.
    """
    if dry_run:
        show_plan(dataset, root, options.parts(only), from_dir, json=json)
        return
    from segdata.conversion.prepare import prepare as prepare_dataset

    with (
        output.only_ours(active=json),
        output.transfers(quiet=quiet) as (progress, tell),
        output.progress("converting", quiet=quiet) as converting,
    ):
        done = prepare_dataset(
            dataset,
            root=root,
            only=options.parts(only),
            splits=split,
            labels=labels,
            images=images.value,
            images_dir=options.by_split(images_dir),
            on_error=on_error.value,
            decode=decode,
            workers=workers,
            mirror=mirror,
            from_dir=from_dir,
            offline=offline,
            repair=repair,
            accept_license=accept_license,
            accept_unverified=accept_unverified,
            accept_new_hash=accept_new_hash,
            keep_archives=keep_archives,
            keep_session=keep_session,
            allow_extra=allow_extra,
            force=force,
            clean=clean,
            ignore_space=ignore_space,
            lock=not no_lock,
            jobs=jobs,
            limit_rate=options.rate(limit_rate),
            wait=wait,
            patience=options.patience(timeout, retries, retry_wait),
            ask_terms=prompt.terms(),
            ask_account=prompt.account(),
            progress=progress,
            tell=tell,
            command=options.command(),
            converting=converting,
        )
    _show(done, json=json, quiet=quiet)
    if done.skipped or done.unverified or (done.fetched and done.fetched.extra):
        raise typer.Exit(3)


def _show(done: Prepared, *, json: bool, quiet: bool) -> None:
    if json:
        output.result(done.as_dict())
    else:
        if not quiet:
            output.remarks(dict(done.problems))
        output.table(
            [
                ("pack", f"{done.pack} ({'already there' if done.was_done else 'written'})"),
                ("samples", f"{done.samples:,}"),
                ("instances", f"{done.instances:,}"),
                ("splits", ", ".join(f"{name} {count:,}" for name, count in done.splits.items())),
            ]
        )
    if done.unverified and not quiet:
        output.remark(f"note: nobody publishes a digest of {', '.join(done.unverified)}; what arrived is pinned")
    options.left_out(done.fetched.extra if done.fetched else ())
