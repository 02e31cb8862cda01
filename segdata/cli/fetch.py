"""`segdata fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from segdata.cli import options, output, prompt
from segdata.cli.output import app
from segdata.errors import number_of, printable

if TYPE_CHECKING:
    from segdata.download.plan import Plan


@app.command(epilog="Example: segdata fetch camvid --dry-run")
def fetch(
    dataset: str = options.Dataset,
    root: Path | None = options.Root,
    only: list[str] = options.Only,
    mirror: str | None = options.Mirror,
    from_dir: Path | None = options.FromDir,
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be done; touch nothing, ask nobody."),
    offline: bool = options.Offline,
    repair: bool = options.Repair,
    accept_license: list[str] = options.AcceptLicense,
    accept_unverified: bool = options.AcceptUnverified,
    accept_new_hash: bool = options.AcceptNewHash,
    keep_archives: bool = options.KeepArchives,
    keep_session: bool = options.KeepSession,
    allow_extra: bool = options.AllowExtra,
    force: bool = typer.Option(False, "--force", help="Replace extracted files that were changed."),
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
    """Bring a dataset from its official site to disk, verified.

    Archives are extracted and removed. The same command goes on where it was stopped.
    """
    parts = options.parts(only)
    rate = options.rate(limit_rate)
    if dry_run:
        show_plan(dataset, root, parts, from_dir, json=json)
        return
    from segdata.download.fetch import fetch as job

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
            keep_session=keep_session,
            allow_extra=allow_extra,
            force=force,
            ignore_space=ignore_space,
            lock=not no_lock,
            jobs=jobs,
            limit_rate=rate,
            wait=wait,
            patience=options.patience(timeout, retries, retry_wait),
            ask_terms=prompt.terms(),
            ask_account=prompt.account(),
            progress=progress,
            tell=tell,
            command=options.command(),
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
    options.left_out(done.extra)
    if done.unverified or done.extra:
        raise typer.Exit(3)


def show_plan(dataset: str, root: Path | None, parts: list[str], from_dir: Path | None, *, json: bool) -> None:
    """Print what a fetch would do."""
    from segdata.catalog import manifest
    from segdata.download.paths import folders
    from segdata.download.plan import plan

    dataset_manifest = manifest.find(dataset)
    todo = plan(dataset_manifest, folders(dataset_manifest.name, root), only=parts, from_dir=from_dir)
    if json:
        output.result(todo.as_dict())
        return
    print(f"{printable(dataset_manifest.title)}\n")
    if dataset_manifest.folder is not None:
        output.table([("folder", dataset_manifest.folder), ("download", "nothing: the files are read where they lie")])
        return
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
        print(printable(f"{item.remote.part:<22} {item.remote.file:<40} {size:>11}  {digest:<9} {state}"))
    print()
    _summary(todo)


def _origins(todo: Plan) -> list[str]:
    """The hosts that are asked for the files that are missing, in their order."""
    site = todo.manifest.signin
    addresses = [url for item in todo.items if not item.is_here for url in item.remote.urls]
    addresses += [site.url for item in todo.items if site and item.remote.package and not item.is_here]
    return list(dict.fromkeys(urlsplit(url).netloc for url in addresses))


def _summary(todo: Plan) -> None:
    dataset_manifest = todo.manifest
    terms, others = (
        dataset_manifest.terms,
        [name for name, is_default in dataset_manifest.parts.items() if not is_default],
    )
    unsized = sum(not (item.is_here or item.bytes or item.remote.about) for item in todo.items)
    unknown = f" and {number_of(unsized, 'file')} of unknown size" if unsized else ""
    rows: list[tuple[str, Any]] = [
        ("download", f"{output.size(todo.to_download)}{unknown}"),
        ("extracted", f"about {output.size(todo.to_extract)}{unknown}"),
        ("free", output.size(todo.free) + (" (not enough)" if todo.to_download + todo.to_extract > todo.free else "")),
        ("from", ", ".join(_origins(todo))),
        ("folder", todo.folders.home),
        ("licence", dataset_manifest.licence),
        ("terms", f"{terms.text} {terms.url} (--accept-license {terms.id})" if terms else None),
        (
            "account",
            f"needed at {dataset_manifest.signin.host} (segdata login {dataset_manifest.name})"
            if dataset_manifest.signin
            else None,
        ),
        ("unverified", f"{', '.join(todo.unverified)} (--accept-unverified)" if todo.unverified else None),
        ("more parts", f"{', '.join(others)} (--only)" if others else None),
    ]
    output.table(rows)
