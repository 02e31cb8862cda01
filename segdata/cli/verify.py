"""`segdata verify`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import app, fetching, output
from segdata.errors import printable


@app.command(epilog="Example: segdata verify packs/voc --deep")
def verify(
    path: str = typer.Argument(..., help="A pack, a dataset folder, or the name or manifest of a fetched dataset."),
    root: Path | None = fetching.Root,
    deep: bool = typer.Option(False, "--deep", help="Read everything: every image, mask and record."),
    source_format: str | None = typer.Option(None, "--from", help="A folder's format (default: by its layout)."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Check that a pack is what was written, that a folder is valid, or all that was fetched and made of a dataset."""
    if path.endswith(".toml") or not Path(path).exists():
        _dataset(path, root, deep=deep, json=json, quiet=quiet)
    else:
        _path(Path(path), source_format, deep=deep, json=json, quiet=quiet)


def _dataset(name: str, root: Path | None, *, deep: bool, json: bool, quiet: bool) -> None:
    from segdata import manifest, prepare
    from segdata.errors import NotThere

    if "/" in name and not name.endswith(".toml"):
        raise NotThere(f"{name} does not exist", file=name, fix="check the path; `segdata list` shows known datasets")
    with output.only_ours(active=json), output.transfers(quiet=quiet) as (progress, _):
        found = prepare.check(name, root=root, deep=deep, progress=progress)
    if json:
        output.result({**found.as_dict(), "ok": found.is_good})
    else:
        for error in found.damages:
            output.remark(f"segdata: error[{type(error).__name__}]: {error}")
        if found.files.extra:
            output.remark(
                f"note: {len(found.files.extra)} files are from no archive ({', '.join(found.files.extra[:3])})"
            )
        pack = "no pack" if found.pack is None else f"pack of {found.pack.samples:,} samples"
        state = "good" if found.is_good else f"{len(found.damages)} damages"
        print(
            f"{manifest.find(name).name}: {found.archives} archives, {found.files.files:,} extracted files, {pack}: {state}"
        )
    if not found.is_good:
        raise typer.Exit(8)


def _path(path: Path, source_format: str | None, *, deep: bool, json: bool, quiet: bool) -> None:
    from segdata import prepare
    from segdata.pack import verify as pack_verify
    from segdata.pack.read import is_pack

    with output.only_ours(active=json), output.progress("verifying", quiet=quiet) as progress:
        if not is_pack(path):
            report = prepare.inspect(path, deep=deep, source_format=source_format, progress=progress)
            problems = dict(report.problems)
            document = {
                "path": str(path),
                "deep": deep,
                "samples": report.samples,
                "good": True,
                "report": problems,
            }
        else:
            problems = None
            found = pack_verify.verify(path, deep=deep, progress=progress)
            document = found.as_dict()
    if json:
        output.result({**document, "ok": document["good"]})
    elif problems is not None:
        output.remarks(problems)
        print(f"{printable(path)}: {document['samples']:,} samples are valid")
    else:
        for error in found.damages:
            output.remark(f"segdata: error[{type(error).__name__}]: {error}")
        for text in found.remarks:
            output.remark(f"note: {text}")
        how = "deep" if deep else "quick"
        state = "good" if found.is_good else f"{len(found.damages)} damages"
        print(f"{printable(path)}: {found.samples:,} samples, {how} check: {state}")
    if not document["good"]:
        raise typer.Exit(8)
