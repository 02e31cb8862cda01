"""`segdata manifest new` and `segdata manifest record`."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from segdata.cli import choices, options, output
from segdata.cli.help import App
from segdata.cli.output import app

manifest = App(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(
    manifest,
    name="manifest",
    help="Write and complete manifests of your own data.\n\nBoth commands take --json.",
    epilog="Example: segdata manifest new photos -o mine.toml",
)


@manifest.command("new", epilog="Example: segdata manifest new photos -o mine.toml")
def new(
    sources: list[str] = typer.Argument(
        ..., metavar="SOURCE...", help="A dataset's folder; or its files, as paths or http(s) addresses."
    ),
    target: Path | None = typer.Option(
        None, "--output", "-o", metavar="FILE", help="NAME.toml; NAME is the dataset's (default: by the source's name)."
    ),
    title: str | None = typer.Option(None, "--title", metavar="TEXT", help="By default, the source's name."),
    source_format: str | None = typer.Option(
        None,
        "--format",
        metavar="FORMAT",
        help="The format (default: by the folder's layout): {formats}.",
        autocompletion=choices.sources,
    ),
    force: bool = typer.Option(False, "--force", help="Replace a file that is there."),
    json: bool = output.Json,
) -> None:
    """Write a manifest for a folder, files or addresses.

    Then segdata prepare FILE makes the pack.
    """
    from segdata.sources import own_manifest

    with output.only_ours(active=json):
        file = own_manifest.named(sources[0]) if target is None else target
        text = own_manifest.new(file, sources, title=title, source_format=source_format, force=force)
    if json:
        output.result({"manifest": str(file), "text": text})
        return
    print(text, end="")
    command = f"segdata prepare {shlex.quote(str(file))}"
    if text.count("[[remotes]]") > text.count("\ndigest ="):
        command += f" --accept-unverified; segdata manifest record {shlex.quote(str(file))}"
    output.remark(f"\nwritten: {file}\nnext:    {command}")


@manifest.command("record", epilog="Example: segdata manifest record mine.toml")
def record(
    file: Path = typer.Argument(..., metavar="MANIFEST", help="The manifest, NAME.toml."),
    folder: Path | None = typer.Argument(
        None,
        metavar="FOLDER",
        help="Has the files under their own names (default: the manifest's own, or what was fetched).",
    ),
    root: Path | None = options.Root,
    check: bool = typer.Option(False, "--check", help="Write nothing; the exit code is 8 when something would change."),
    json: bool = output.Json,
) -> None:
    """Fill a manifest's sizes and digests from the files.

    What is there is compared first, and everything else stays as it is.
    """
    from segdata.sources import own_manifest

    with output.only_ours(active=json):
        rows, is_changed = own_manifest.record(file, folder, root=root, check=check)
    if json:
        output.result({"manifest": str(file), "files": [vars(row) for row in rows], "changed": is_changed})
    else:
        for row in rows:
            known = f"{row.bytes:,} bytes, sha256 {row.sha256}" if row.bytes is not None else "not on this machine"
            print(f"{row.file}: {known}")
        if not rows:
            output.remark(f"note: {file} names no files whose sizes and digests could be recorded")
        if check and is_changed:
            output.remark(f"note: {file} would change")
    if check and is_changed:
        raise typer.Exit(8)
