"""What the commands share that make packs of packs: options, and how their result is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import output, paths

if TYPE_CHECKING:
    from segdata.derivation.derive import Derived
    from segdata.transfer.report import Transferred

Target = typer.Option(..., "--output", "-o", metavar="PACK", callback=paths.folder, help="The pack to make.")
Force = typer.Option(False, "--force", help="Replace what the folder holds.")
Wait = typer.Option(
    0.0, "--wait", min=0.0, metavar="SECONDS", help="Seconds to wait for another process on the same pack."
)
Workers = typer.Option(None, "--workers", min=1, metavar="N", help="Processes (default: one per processor).")
Seed = typer.Option(0, "--seed", metavar="N", help="Decides among samples that are equally good.")


def show(report: Derived, *, json: bool, quiet: bool, more: tuple[tuple[str, Any], ...] = ()) -> None:
    """Print a result.

    Args:
        more: further rows of the table.
    """
    if json:
        output.result(report.as_dict())
        return
    if not quiet:
        output.remarks(dict(report.problems), lost="not in the pack")
        if report.copied:
            output.remark(
                f"note: {output.size(report.copied)} were copied: the file system gives no second names to these files"
            )
    output.table(
        [
            ("pack", f"{report.target} ({'already there' if report.was_done else 'written'})"),
            ("samples", f"{report.samples:,}"),
            ("instances", f"{report.instances:,}"),
            ("splits", ", ".join(f"{name} {count:,}" for name, count in report.splits.items())),
            *more,
            ("linked", output.size(report.linked) if report.linked else None),
            ("copied", output.size(report.copied) if report.copied else None),
            ("written", output.size(report.written) if report.written else None),
            ("unused", unused(report.unused)),
        ]
    )


def unused(count: int) -> str | None:
    """The bytes of images that no sample has, and what to do about them; None where there are none."""
    return f"{output.size(count)} of images that no sample has; segdata convert leaves them out" if count else None


def transferred(report: Transferred, *, json: bool) -> None:
    """Print what was sent or fetched."""
    if json:
        output.result(report.as_dict())
        return
    done = "already there" if report.was_done else "written"
    output.table(
        [
            ("target", f"{report.target} ({done})"),
            ("samples", f"{report.samples:,}"),
            (
                "files",
                f"{report.counts.files:,} new ({output.size(report.counts.bytes)}), {report.counts.kept:,} there already",
            ),
            ("removed", f"{report.removed:,} files of the pack before" if report.removed else None),
        ]
    )
