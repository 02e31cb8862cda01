"""`segdata fetch`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import app, output, prompt
from segdata.errors import UsageError

if TYPE_CHECKING:
    from segdata.fetch.plan import Plan


@app.command(epilog="Example: segdata fetch camvid --dry-run")
def fetch(
    dataset: str = typer.Argument(..., help="A known dataset (segdata list), or the path of a manifest."),
    root: Path | None = typer.Option(None, envvar="SEGDATA_ROOT", help="The folder of all datasets."),
    only: list[str] = typer.Option([], "--only", help="Parts, separated by commas (default: the usual ones)."),
    mirror: str | None = typer.Option(None, help="An address that has the files under their own names; tried first."),
    from_dir: Path | None = typer.Option(
        None, exists=True, file_okay=False, help="A folder with archives that you have; verified, linked or copied."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be done; touch nothing, ask nobody."),
    offline: bool = typer.Option(False, "--offline", help="Never open a connection."),
    repair: bool = typer.Option(False, "--repair", help="Check kept archives and fetch their rotten chunks again."),
    accept_license: list[str] = typer.Option([], "--accept-license", metavar="ID", help="Terms that you accept."),
    accept_unverified: bool = typer.Option(
        False, "--accept-unverified", help="Take files that nobody publishes a digest of, and pin them from then on."
    ),
    accept_new_hash: bool = typer.Option(
        False, "--accept-new-hash", help="Take complete files that differ from the manifest; this is recorded."
    ),
    keep_archives: bool = typer.Option(False, "--keep-archives", help="Keep archives after they were extracted."),
    force: bool = typer.Option(False, "--force", help="Replace extracted files that were changed."),
    ignore_space: bool = typer.Option(False, "--ignore-space", help="Go on although the disk looks too small."),
    no_lock: bool = typer.Option(
        False, "--no-lock", help="For file systems without locks: run only one fetch at a time."
    ),
    jobs: int = typer.Option(3, "--jobs", "-j", min=1, max=32, help="Files downloaded at once."),
    limit_rate: str | None = typer.Option(None, metavar="RATE", help="Bytes a second in all, such as 500K or 20M."),
    wait: float = typer.Option(0.0, min=0, help="Seconds to wait for another process at the same dataset."),
    timeout: float = typer.Option(60.0, min=0.1, help="Seconds of silence after which a connection is given up."),
    retries: int = typer.Option(5, min=1, max=100, help="Attempts at an address without progress."),
    retry_wait: float = typer.Option(1.0, min=0, max=600, help="Seconds before the second attempt; then they double."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Bring a dataset from its official place to disk, verified and extracted; run it again to go on."""
    from segdata.fetch.exchange import Patience

    parts = [name for text in only for name in text.split(",") if name]
    rate = _rate(limit_rate)
    if dry_run:
        _show_plan(dataset, root, parts, from_dir, json=json)
        return
    from segdata.fetch.job import fetch as job

    with output.only_ours(active=json), output.transfers(quiet=quiet) as (progress, tell):
        done = job(
            dataset,
            root=root,
            only=parts,
            mirror=mirror,
            from_dir=from_dir,
            offline=offline,
            repair=repair,
            accept_license=accept_license,
            accept_unverified=accept_unverified,
            accept_new_hash=accept_new_hash,
            keep_archives=keep_archives,
            force=force,
            ignore_space=ignore_space,
            lock=not no_lock,
            jobs=jobs,
            limit_rate=rate,
            wait=wait,
            patience=Patience(timeout=timeout, retries=retries, first_wait=retry_wait),
            ask_terms=prompt.terms(),
            ask_account=prompt.account(),
            progress=progress,
            tell=tell,
        )
    if json:
        output.result(done.as_dict())
    else:
        for file in done.files:
            how = f"pinned at first use ({file.fetched[:10]})" if file.first_use else "verified"
            how = "accepted instead of the manifest's" if file.accepted else how
            print(f"{file.file:<40} {output.size(file.bytes):>10}  {how}")
        output.table([("folder", done.folder), ("downloaded", output.size(done.bytes) if done.bytes else None)])
    if done.unverified:
        output.remark(
            f"note: nobody publishes a digest of {', '.join(done.unverified)}; what arrived is pinned from now on"
        )
        raise typer.Exit(3)


def _show_plan(dataset: str, root: Path | None, parts: list[str], from_dir: Path | None, *, json: bool) -> None:
    from segdata import manifest
    from segdata.fetch.folders import folders
    from segdata.fetch.plan import plan

    found = manifest.find(dataset)
    todo = plan(found, folders(found.name, root), only=parts, from_dir=from_dir)
    if json:
        output.result(todo.as_dict())
        return
    print(f"{found.title}\n")
    print(f"{'part':<22} {'file':<40} {'size':>11}  {'digest':<9} state")
    for item in todo.items:
        size = (
            output.size(item.bytes)
            if item.bytes
            else f"~{output.size(item.remote.about)}"
            if item.remote.about
            else "?"
        )
        digest = item.digest.algorithm if item.digest else "by site" if item.remote.package else "unknown"
        state = f"from {item.link}" if item.link else item.state
        print(f"{item.remote.part:<22} {item.remote.file:<40} {size:>11}  {digest:<9} {state}")
    print()
    _summary(todo)


def _summary(todo: Plan) -> None:
    found = todo.manifest
    terms, others = found.terms, [name for name, is_default in found.parts.items() if not is_default]
    rows: list[tuple[str, Any]] = [
        ("download", output.size(todo.to_download)),
        ("extracted", f"about {output.size(todo.to_extract)}"),
        ("free", output.size(todo.free) + (" (not enough)" if todo.to_download + todo.to_extract > todo.free else "")),
        ("folder", todo.folders.home),
        ("licence", found.licence),
        ("terms", f"{terms.text} {terms.url} (--accept-license {terms.id})" if terms else None),
        ("account", f"needed at {found.signin.host} (segdata login {found.name})" if found.signin else None),
        ("unverified", f"{', '.join(todo.unverified)} (--accept-unverified)" if todo.unverified else None),
        ("more parts", f"{', '.join(others)} (--only)" if others else None),
    ]
    output.table(rows)


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no rate", fix="write bytes a second, such as 500K, 20M or 1G")
    return float(match[1]) * 1024.0 ** " KMG".index(match[2].upper() or " ")
