"""The command line. One file a command; this one runs them and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from segdata.cli.help import is_help, of_parser, only, pointed, verb_of
from segdata.cli.output import Options, app
from segdata.errors import DiskError, SegdataError, UsageError, printable
from segdata.system import limits, process, secrets
from segdata.system.files import disk_errors

_OF_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF, errno.EAGAIN, errno.EINVAL)

_COMPLETES = "_SEGDATA_COMPLETE"
"""Set by the shell that asks for completion."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    process.open_streams()
    from segdata.cli import (  # noqa: F401
        apply,
        cache,
        config,
        convert,
        dedupe,
        demo,
        diff,
        evaluate,
        export,
        fetch,
        filter,
        info,
        labels,
        leakage,
        list,
        login,
        logout,
        manifest,
        merge,
        predict,
        prepare,
        pull,
        push,
        runs,
        sample,
        show,
        split,
        stats,
        train,
        verify,
        view,
    )

    secrets.take()
    try:
        process.catch_signals()
        code = _run(arguments)
        process.end_of_work()
    except process.Terminated as stop:  # it came while an error was being told
        process.end_of_work()
        code = 128 + stop.number
    process.settle_streams()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    wants_json = "--json" in arguments
    try:
        code = _command(arguments).main(arguments or ["--help"], prog_name="segdata", standalone_mode=False)
        sys.stdout.flush()
        if process.signal_seen() is None:
            return code if isinstance(code, int) else 0
        raise process.Terminated(process.signal_seen() or 0)
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise  # the library ends the process by itself when nobody reads its output
        process.drop_output()
        return 141
    except BaseException as error:
        number = error.number if isinstance(error, process.Terminated) else process.signal_seen()
        if number is not None:
            return _stopped(128 + number, wants_json)
        if isinstance(error, OSError) and not isinstance(error, SegdataError):
            error = _declared(error)
        if not isinstance(error, SegdataError):
            error = limits.declared(error) or error
        if isinstance(error, UsageError):
            error = pointed(error, arguments)
        if isinstance(error, SegdataError):
            return _fail(error.as_dict(), f"segdata: error[{type(error).__name__}]: {error}", wants_json)
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            if is_help(error):
                print(error.format_message())
                return 0
            usage = of_parser(error, arguments)
            return _fail(usage.as_dict(), f"segdata: error[UsageError]: {usage}", wants_json)
        return _bug(error, wants_json)


def _command(arguments: list[str]) -> Any:
    """All commands; whether files can be read is left to those who open them, and who say what to do."""
    commands = app if _COMPLETES in os.environ else only(app, verb_of(arguments))
    for verb in commands.registered_commands:
        for parameter in inspect.signature(verb.callback or main).parameters.values():
            if hasattr(parameter.default, "readable"):
                parameter.default.readable = False
    return typer.main.get_command(commands)


def _declared(error: OSError) -> OSError | SegdataError:
    """The error of a disk that an `OSError` is, or the error itself: files without name that commands write are stdout."""
    if error.filename is None and error.errno in _OF_OUTPUT:
        process.drop_output()
        return DiskError(
            "the result could not be written to the output",
            why=os.strerror(error.errno),
            fix="choose another place for the output; the same command prints the result again",
        )
    try:
        with disk_errors():
            raise error
    except OSError as same:
        return same
    except SegdataError as declared:
        return declared


def _fail(document: dict[str, Any], text: str, wants_json: bool) -> int:
    with contextlib.suppress(OSError):  # the exit code still tells what happened when nothing can be written
        print(text, file=sys.stderr, flush=True)
    try:
        if wants_json:
            print(json.dumps({"ok": False, "error": document}, ensure_ascii=True))
        sys.stdout.flush()
    except OSError:
        process.drop_output()
    code: int = document["exit"]
    return code


def _stopped(code: int, wants_json: bool) -> int:
    message = Options.stopped
    return _fail({"id": "Stopped", "exit": code, "message": message}, f"segdata: {message}", wants_json)


def _bug(error: BaseException, wants_json: bool) -> int:
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
