"""What all commands share: the application, one JSON document on stdout or text for people, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer

from segdata.cli.help import App, Group
from segdata.core.findings import folded
from segdata.errors import SegdataError, number_of, printable
from segdata.version import __version__


class Options:
    """What holds for the command as a whole.

    Attributes:
        debug: an option before the command's name, as it was given last.
        stopped: what is said when a signal ends it.
    """

    debug = False
    stopped = "stopped; finished parts are kept, the same command goes on from there"


app = App(
    name="segdata",
    cls=Group,
    help="Prepare and load segmentation datasets: every dataset becomes one pack, and packs become any of them again.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        print(f"segdata {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of unexpected errors."),
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    Options.debug = debug


Json = typer.Option(False, "--json", help="Print one JSON document instead of text.")
Quiet = typer.Option(False, "--quiet", "-q", help="No progress, no remarks.")

_shows_progress = True


def _show_progress(value: bool) -> bool:
    global _shows_progress
    _shows_progress = not (value or os.environ.get("SEGDATA_NO_PROGRESS"))
    return value


NoProgress = typer.Option(False, "--no-progress", callback=_show_progress, help="No progress; remarks stay.")

_EVERY_SECONDS = 10.0


def shows_progress() -> bool:
    """Whether progress is wanted, unless a command is quiet."""
    return _shows_progress


def result(document: dict[str, Any], *, error: SegdataError | None = None) -> None:
    """Print the one JSON document of a command, with the error that it ends with."""
    failure = {} if error is None else {"error": error.as_dict()}
    print(json.dumps({"ok": error is None, **failure, **document}, ensure_ascii=True, default=str))


def letter(error: SegdataError) -> None:
    """An error for people, on stderr."""
    print(f"segdata: error[{type(error).__name__}]: {error}", file=sys.stderr, flush=True)


def remark(text: str) -> None:
    """A line for people, on stderr; lost where it cannot be written, unless nobody reads any more."""
    try:
        print(printable(text), file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError:
        pass


def table(rows: Iterable[tuple[str, Any]]) -> None:
    """Aligned names and values; rows without value are left out."""
    kept = [(name, str(value)) for name, value in rows if value not in (None, "", {}, [])]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        print(f"{name:<{width}}  {printable(value, lines=False)}")


def remarks(findings: dict[str, Any], *, lost: str = "lost", when: str = "") -> None:
    """What was odd or left out in a dataset, on stderr.

    Args:
        lost: what losses are called.
        when: a heading, where this was found before and is shown again.
    """
    if when and (findings["remarks"] or findings["skipped"]):
        remark(f"{when}:")
    for kind, item in folded(findings["remarks"]).items():
        examples = ", ".join(item["examples"][:3]) + (" …" if item["count"] > 3 else "")
        remark(f"note: {item['count']} × {kind} ({examples})")
    from segdata.core import conversion_losses

    lines = conversion_losses.lines(findings.get("losses", {}))
    for line in [f"{lost}:", *(f"  {line}" for line in lines)] if lines else ():
        remark(line)
    for item in findings["skipped"]:
        remark(f"left out: {item['count']} × {item['kind']}")
    for error in findings["first"]:
        parts = [error.get(name) for name in ("file", "key", "place")]
        remark(f"  {': '.join(part for part in (*parts, error['message'], error.get('why')) if part)}")


@contextlib.contextmanager
def progress(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, a plain line every ten seconds elsewhere, nothing when quiet."""
    if quiet or not _shows_progress:
        yield None
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=what, unit="sample", dynamic_ncols=True, leave=False, delay=0.3) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move
    else:
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY_SECONDS:
                last = time.monotonic()
                remark(f"{what}: {done:,} of {number_of(total, 'sample')} ({done / max(total, 1):.0%})")

        yield line


@contextlib.contextmanager
def transfers(*, quiet: bool) -> Iterator[tuple[Callable[[str, int, int | None], None], Callable[[str], None]]]:
    """Progress bars for parallel downloads, and a function that prints a line above them.

    Without a terminal: one plain line for all downloads every ten seconds.

    Gives (progress, tell): progress is called with (what, bytes done, bytes in all), from any thread.
    """
    if quiet or not _shows_progress:
        yield lambda what, done, total: None, (lambda text: None) if quiet else remark
    elif sys.stderr.isatty():
        from tqdm import tqdm

        bars: dict[str, Any] = {}
        lock = threading.Lock()

        def move(what: str, done: int, total: int | None) -> None:
            with lock:
                if what not in bars:
                    bars[what] = tqdm(desc=what, unit="B", unit_scale=True, dynamic_ncols=True, leave=False)
                    bars[what].initial = done
                    bars[what].n = done
                bar = bars[what]
                bar.total = total
                bar.update(done - bar.n)
                if done == total:
                    bars.pop(what).close()

        yield move, lambda text: tqdm.write(printable(text), file=sys.stderr)
        for bar in bars.values():
            bar.close()
    else:
        files: dict[str, tuple[int, int | None]] = {}
        last = time.monotonic()

        def line(what: str, done: int, total: int | None) -> None:
            nonlocal last
            files[what] = done, total
            if time.monotonic() - last >= _EVERY_SECONDS:
                last = time.monotonic()
                done, total = files[what]
                remark(f"{what}: {size(done)}" + (f" of {size(total)} ({done / max(total, 1):.0%})" if total else ""))

        yield line, remark


@contextlib.contextmanager
def only_ours(*, active: bool) -> Iterator[None]:
    """Send what libraries print to stderr, so that stdout holds nothing but the JSON document."""
    if not active:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
