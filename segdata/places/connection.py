"""The library that makes requests (obstore, in Rust), also in a forked process; its errors in our words.

The library's threads do not survive a fork, and a request of the child would wait for them for ever. A child of a process
that has made requests gets a copy of the library, loaded from another file, with threads of its own.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
import threading
import time
from datetime import timedelta
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from segdata.errors import DamagedData, NetworkError, SegdataError, SignInError, Unsafe, UsageError
from segdata.version import __version__

TIMEOUT = timedelta(seconds=30)
"""Silence after which a connection is given up."""

RETRIES = 5
"""How often a request is made again after an error of the server or the connection."""

FIRST_WAIT = timedelta(milliseconds=200)
"""Time before the second attempt; then it doubles, with a random share."""

LONGEST_WAIT = timedelta(seconds=8)

_lock = threading.Lock()
_used_by: int | None = None
"""The process that has the library's threads."""

_copies: dict[int, Any] = {}
"""The library of this process, if it is a forked one."""


def library() -> Any:
    """The functions of obstore, for requests of this process.

    Raises:
        UsageError: it is not installed.
    """
    global _used_by
    try:
        from obstore import _obstore
    except ModuleNotFoundError as error:
        raise UsageError(
            "packs at addresses need obstore, which is not installed", fix="pip install 'segdata[remote]'"
        ) from error
    process = os.getpid()
    with _lock:
        _used_by = _used_by or process
        if _used_by == process:
            return _obstore
        if process not in _copies:
            _copies.clear()
            _copies[process] = _copied(_obstore.__file__)
        return _copies[process]


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)


def _copied(file: str) -> Any:
    """A library loaded a second time; the loader of the system takes another file for another library."""
    with tempfile.NamedTemporaryFile(suffix=".so") as copy:
        with Path(file).open("rb") as original:
            shutil.copyfileobj(original, copy)
        copy.flush()
        loader = ExtensionFileLoader("_obstore", copy.name)
        module = module_from_spec(spec_from_loader("_obstore", loader))  # type: ignore[arg-type]
        loader.exec_module(module)
    return module


def client_options(*, allow_http: bool) -> dict[str, Any]:
    """How connections are made: a whole request may take any time, silence may not."""
    return {
        "allow_http": allow_http,
        "connect_timeout": TIMEOUT,
        "read_timeout": TIMEOUT,
        "timeout": timedelta(days=1),
        "user_agent": f"segdata/{__version__}",
    }


def retry_config() -> dict[str, Any]:
    """How often and when requests are made again."""
    return {
        "max_retries": RETRIES,
        "retry_timeout": TIMEOUT * (RETRIES + 1),
        "backoff": {"init_backoff": FIRST_WAIT, "max_backoff": LONGEST_WAIT, "base": 2},
    }


_QUERY = re.compile(r"\?[^\s\"')]*")
_STATUS = re.compile(r"status code: (\d{3}[^:,\"]*)|HTTP error: (\d{3}[^:,\"]*)|\b([45]\d\d [A-Z][A-Za-z ]+)")
_NO_ENTRY = re.compile(
    r"ExpiredToken|InvalidToken|TokenRefreshRequired|RequestTimeTooSkewed|SignatureDoesNotMatch|InvalidAccessKeyId"
)
"""What S3 says of credentials with status 400, too."""

_METADATA = re.compile(r"169\.254\.169\.254|metadata\.google\.internal|169\.254\.170\.2|fd00:ec2", re.IGNORECASE)


def declared(error: Exception, address: str, library: Any) -> SegdataError:
    """An error of the library as one of this package; queries, which may hold signatures, are left out of it.

    Args:
        address: the object that was asked for.
    """
    text = _QUERY.sub("", str(error))
    kinds = library.exceptions
    if isinstance(error, FileNotFoundError):
        return DamagedData(
            "a file of the pack is missing",
            file=address,
            fix="push the pack again: segdata push PACK PLACE sends what is not there",
        )
    if isinstance(error, (kinds.PermissionDeniedError, kinds.UnauthenticatedError)) or any(
        words.search(text) for words in (_METADATA, _NO_ENTRY)
    ):
        return SignInError(
            "the place does not let us in",
            file=address,
            why=_reason(
                text, "no credentials, or they are wrong, expired, or not allowed to do this; or the clock is wrong"
            ),
            fix="set the credentials in the environment (AWS_ACCESS_KEY_ID …, GOOGLE_APPLICATION_CREDENTIALS, "
            "AZURE_STORAGE_ACCOUNT_KEY); for a public bucket AWS_SKIP_SIGNATURE=true",
        )
    if "ssl" in text.lower() or "certificate" in text.lower():
        return NetworkError("the server's certificate was not accepted", file=address, why=shortened(text))
    if isinstance(error, kinds.NotSupportedError) or "non-partial response" in text or "Content-Range" in text:
        return NetworkError(
            "the server does not give a part of a file",
            file=address,
            why="it answered a request with Range without status 206",
            fix="use a server that does, or fetch the pack's files another way and open the folder",
        )
    if "URL scheme is not allowed" in text:
        return Unsafe("plain http is not used unless you allow it", file=address, fix="add --allow-http")
    return NetworkError(
        "the place cannot be reached, or does not give what was asked for",
        file=address,
        why=_reason(text, shortened(text)),
        state=f"{RETRIES + 1} attempts were made",
        fix="try again later; what was fetched is kept",
    )


def is_of_body(error: Exception) -> bool:
    """Whether an answer began and did not end, which the library does not ask for again."""
    return "body error" in str(error) or "error decoding" in str(error)


def pause(attempt: int) -> None:
    """Wait before another attempt, longer each time, and not as long as others that failed with us."""
    longest = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT).total_seconds()
    time.sleep(longest * (0.5 + random.random() / 2))


def _reason(text: str, otherwise: str) -> str:
    match = _STATUS.search(text)
    if match is None:
        return otherwise
    status = next(part for part in match.groups() if part).strip()
    return f"the server says {status}" + (f": {otherwise}" if not otherwise.startswith("Generic") else "")


def shortened(error: Exception | str) -> str:
    """What an error says in a line; queries, which may hold signatures, are left out."""
    text = _QUERY.sub("", str(error))
    first = " ".join(text.partition("Debug source")[0].split())
    return first if len(first) <= 300 else f"{first[:300]}…"
