"""`segdata demo`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import app, output


@app.command(epilog="Example: segdata demo demo-data")
def demo(
    root: Path = typer.Argument(Path("demo-data"), help="The folder to make."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Draw datasets in the four official layouts, convert, verify and picture them."""
    from segdata import demo as job

    with output.only_ours(active=json):
        done = job.run(root, tell=(lambda text: None) if quiet else output.remark)
    if json:
        rows = [vars(row) for row in done.rows]
        output.result({"datasets": rows, "picture": str(done.picture)})
    else:
        print(f"{'dataset':<12}{'samples':>8}{'objects':>9}{'categories':>12}{'crowds':>8}{'pack':>11}  verified")
        for row in done.rows:
            size, state = output.size(row.bytes), "good" if row.is_good else "DAMAGED"
            print(
                f"{row.name:<12}{row.samples:>8}{row.instances:>9}{row.categories:>12}{row.crowds:>8}{size:>11}  {state}"
            )
        print(f"\npicture  {done.picture}\nnext     segdata show {done.rows[0].pack} --count 4 -o sheet.png")
    if not all(row.is_good for row in done.rows):
        raise typer.Exit(8)
