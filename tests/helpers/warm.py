"""Commands as processes of their own, forked from one that has imported segdata already: real exit codes, streams,
environment and working folder, without a third of a second of imports for each.

    client → {arguments, environment, folder} with the two streams' descriptors   (one datagram)
    server → process id, then the exit status as `waitpid` gives it
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

_NUMBER = struct.Struct("<i")
_ALL = 1 << 20


class Server:
    """The process that forks, as its client sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait()

    def run(
        self, arguments: list[str], environment: dict[str, str], timeout: float, kill_after: float | None = None
    ) -> tuple[int, str, str]:
        """Exit code (negative for a signal, as `subprocess` has it), stdout and stderr of `segdata ARGUMENTS`.

        Args:
            kill_after: seconds after which the process is killed, if it still runs.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            request = {"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}
            socket.send_fds(self._socket, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
            self._socket.settimeout(timeout)
            (process,) = _NUMBER.unpack(self._socket.recv(_ALL))
            if kill_after is not None:
                time.sleep(kill_after)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            try:
                (status,) = _NUMBER.unpack(self._socket.recv(_ALL))
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                self._socket.settimeout(None)
                self._socket.recv(_ALL)
                raise subprocess.TimeoutExpired(["segdata", *arguments], timeout) from None
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        return os.waitstatus_to_exitcode(status), texts[0], texts[1]


UNPRIVILEGED = "TESTS_UNPRIVILEGED"
"""Set in the environment of a command for which permissions hold even where the tests run as the superuser."""


def _drop_capabilities() -> None:
    """Take from this process what lets the superuser overrule permissions (see capabilities(7), capset(2))."""
    libc = ctypes.CDLL(None)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())  # version 3, this process


def _import_all() -> None:
    """What commands import when they need it, without torch."""
    import h5py
    import PIL.PngImagePlugin
    import pycocotools.mask
    import simplejpeg

    import segdata
    from segdata import cli

    assert all((h5py, PIL, pycocotools, simplejpeg))
    root = Path(segdata.__file__).parent  # not by `pkgutil`, which imports every package that it looks into
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] not in ("models", "training", "deployment") and parts[-1] not in ("__init__", "__main__", "torch"):
            importlib.import_module(".".join(("segdata", *parts)))
    assert "torch" not in sys.modules
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.suppress(SystemExit):
        cli.main(["list"])


def _serve(channel: socket.socket) -> None:
    _import_all()
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _ALL, 2)
        if not message:
            return
        child = os.fork()
        if child == 0:
            channel.close()
            _command(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send(_NUMBER.pack(child))
        channel.send(_NUMBER.pack(os.waitpid(child, 0)[1]))


def _command(request: dict[str, Any], out: int, err: int) -> NoReturn:
    from segdata.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 64)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if os.environ.pop(UNPRIVILEGED, ""):
        _drop_capabilities()
    sys.argv = ["segdata", *request["arguments"]]
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
