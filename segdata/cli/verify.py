"""`segdata verify`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import options, output
from segdata.cli.output import app
from segdata.errors import UsageError, number_of, printable


@app.command(epilog="Example: segdata verify packs/voc --deep")
def verify(
    path: str = typer.Argument(..., help="A pack, a dataset folder, or the name or manifest of a fetched dataset."),
    root: Path | None = options.Root,
    deep: bool = typer.Option(False, "--deep", help="Read everything: every image, mask and record."),
    source_format: str | None = options.SourceFormat,
    repair: bool = typer.Option(False, "--repair", help="First make damaged shards of a pack anew from its --source."),
    source: Path | None = typer.Option(
        None, "--source", metavar="PATH", help="The dataset folder or pack that a pack was made of."
    ),
    rebuild: bool = typer.Option(False, "--rebuild", help="First restore a pack's damaged index (pack.json)."),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Check a pack, a dataset folder, or all that a fetch has brought."""
    from segdata.pack.layout import is_pack

    place = options.at(Path(path), allow_http=allow_http)
    if path.endswith(".toml") or not (is_pack(place) or place.exists()):
        if repair or rebuild:
            raise UsageError(
                "--repair and --rebuild are for a pack's folder",
                why=f"{path!r} is no folder",
                fix=f"segdata prepare {path} --force mends the pack of a dataset, segdata fetch {path} --repair its archives",
            )
        _dataset(path, root, deep=deep, json=json, quiet=quiet)
    else:
        if rebuild:
            _rebuild(place, quiet=quiet)
        if repair:
            _repair(place, source, source_format, json=json, quiet=quiet)
        _path(place, source_format, deep=deep, json=json, quiet=quiet)


def _rebuild(path: Path, *, quiet: bool) -> None:

    from segdata.pack.verify import rebuild

    is_new = rebuild(path)
    if not quiet:
        output.remark("note: the index was restored" if is_new else "note: the index and its copy are intact")


def _repair(path: Path, source: Path | None, source_format: str | None, *, json: bool, quiet: bool) -> None:
    from segdata.conversion.repair import repair

    if source is None:
        raise UsageError(
            "--repair needs --source",
            file=path,
            why="a pack does not know where the dataset is that it was made of",
            fix=f"segdata verify {path} --repair --source FOLDER",
        )
    with output.only_ours(active=json), output.progress("repairing", quiet=quiet) as progress:
        names = repair(path, source, source_format=source_format, progress=progress)
    if not quiet:
        output.remark(f"note: made anew: {', '.join(names) or 'nothing, every file is intact'}")


def _dataset(name: str, root: Path | None, *, deep: bool, json: bool, quiet: bool) -> None:
    from segdata.catalog import manifest
    from segdata.conversion.check import check
    from segdata.errors import NotThere

    if "/" in name and not name.endswith(".toml"):
        raise NotThere(f"{name} does not exist", file=name, fix="check the path; `segdata list` shows known datasets")
    with output.only_ours(active=json), output.transfers(quiet=quiet) as (progress, _):
        checked = check(name, root=root, deep=deep, progress=progress)
    if json:
        output.result({**checked.as_dict(), "ok": checked.is_good})
    else:
        for error in checked.damages:
            output.remark(f"segdata: error[{type(error).__name__}]: {error}")
        if checked.files.extra:
            output.remark(
                f"note: {number_of(len(checked.files.extra), 'file is', 'files are')} from no archive ({', '.join(checked.files.extra[:3])})"
            )
        pack = "no pack" if checked.pack is None else f"pack of {number_of(checked.pack.samples, 'sample')}"
        state = "good" if checked.is_good else f"{number_of(len(checked.damages), 'damage')}"
        print(
            f"{manifest.find(name).name}: {number_of(checked.archives, 'archive')}, {number_of(checked.files.files, 'extracted file')}, {pack}: {state}"
        )
    if not checked.is_good:
        raise typer.Exit(8)


def _path(path: Path, source_format: str | None, *, deep: bool, json: bool, quiet: bool) -> None:
    from segdata.conversion.convert import inspect
    from segdata.pack import layout
    from segdata.pack.layout import is_pack
    from segdata.pack.verify import verify as verify_pack

    with output.only_ours(active=json), output.progress("verifying", quiet=quiet) as progress:
        if not is_pack(path) and not (path / layout.COPY).is_file():
            report = inspect(path, deep=deep, source_format=source_format, progress=progress)
            findings = dict(report.problems)
            document = {
                "path": str(path),
                "deep": deep,
                "samples": report.samples,
                "good": True,
                "report": findings,
            }
        else:
            findings = None
            verification = verify_pack(path, deep=deep, progress=progress)
            document = verification.as_dict()
    if json:
        output.result({**document, "ok": document["good"]})
    elif findings is not None:
        output.remarks(findings)
        print(f"{printable(path)}: {number_of(report.samples, 'sample is', 'samples are')} valid")
    else:
        for error in verification.damages:
            output.remark(f"segdata: error[{type(error).__name__}]: {error}")
        for text in verification.remarks:
            output.remark(f"note: {text}")
        how = "deep" if deep else "quick"
        state = "good" if verification.is_good else f"{number_of(len(verification.damages), 'damage')}"
        print(f"{printable(path)}: {number_of(verification.samples, 'sample')}, {how} check: {state}")
    if not document["good"]:
        raise typer.Exit(8)
