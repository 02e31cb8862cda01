"""`segdata verify`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import app, output
from segdata.errors import printable


@app.command(epilog="Example: segdata verify packs/voc --deep")
def verify(
    path: Path = typer.Argument(..., help="A pack, or a dataset folder in a known layout."),
    deep: bool = typer.Option(False, "--deep", help="Read everything: every image, mask and record."),
    source_format: str | None = typer.Option(None, "--from", help="A folder's format (default: by its layout)."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Check that a pack is what was written, or that a dataset folder is valid."""
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
