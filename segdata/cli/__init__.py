"""The command line. One file a command; this one runs them and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from segdata.cli.help import of_parser, pointed
from segdata.cli.output import Options, app
from segdata.errors import DiskError, SegdataError, UsageError, printable
from segdata.system import secrets


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from segdata.cli import (  # noqa: F401
        config,
        convert,
        demo,
        evaluate,
        fetch,
        info,
        list,
        login,
        logout,
        manifest,
        predict,
        prepare,
        runs,
        show,
        stats,
        train,
        verify,
    )

    secrets.take()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


class _Terminated(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


_is_stopping = False


def _terminate(number: int, _frame: Any) -> None:
    """The first signal ends the work in order; a second one at once, as a kill would."""
    global _is_stopping
    if _is_stopping:
        os._exit(128 + number)
    _is_stopping = True
    raise _Terminated(number)


def _run(arguments: list[str]) -> int:
    wants_json = "--json" in arguments
    try:
        code = typer.main.get_command(app).main(arguments or ["--help"], prog_name="segdata", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SegdataError as error:
        if isinstance(error, UsageError):
            error = pointed(error, arguments)
        return _fail(error.as_dict(), f"segdata: error[{type(error).__name__}]: {error}", wants_json)
    except _Terminated as stop:
        return _stopped(128 + stop.number, wants_json)
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise  # the library ends the process by itself when nobody reads its output
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            full = DiskError("too many open files", file=error.filename, fix="raise the limit (ulimit -n)")
        elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            full = DiskError("the result could not be written to the output", why=os.strerror(error.errno))
        else:
            return _bug(error, wants_json)
        return _fail(full.as_dict(), f"segdata: error[DiskError]: {full}", wants_json)
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            usage = of_parser(error, arguments)
            return _fail(usage.as_dict(), f"segdata: error[UsageError]: {usage}", wants_json)
        return _bug(error, wants_json)


def _fail(document: dict[str, Any], text: str, wants_json: bool) -> int:
    with contextlib.suppress(OSError):  # the exit code still tells what happened when nothing can be written
        print(text, file=sys.stderr, flush=True)
        if wants_json:
            print(json.dumps({"ok": False, "error": document}, ensure_ascii=True))
    code: int = document["exit"]
    return code


def _stopped(code: int, wants_json: bool) -> int:
    message = "stopped; finished parts are kept, the same command goes on from there"
    return _fail({"id": "Stopped", "exit": code, "message": message}, f"segdata: {message}", wants_json)


def _bug(error: Exception, wants_json: bool) -> int:
    trace = "".join(traceback.format_exception(error))
    where = "shown above" if Options.debug else str(_log(trace))
    if Options.debug:
        with contextlib.suppress(OSError):
            print(trace, file=sys.stderr)
    message = f"unexpected {type(error).__name__}: {printable(error)}"
    text = f"segdata: error[Bug]: {message}\n  place:  traceback {'' if Options.debug else 'in '}{where}\n  fix:    please report this with the traceback"
    return _fail({"id": "Bug", "exit": 1, "message": message, "place": where}, text, wants_json)


def _log(text: str) -> Path | str:
    from platformdirs import user_log_dir

    path = Path(user_log_dir("segdata")) / "last-error.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", "backslashreplace")
    except OSError:
        return "no log could be written; add --debug to see it"
    return path
