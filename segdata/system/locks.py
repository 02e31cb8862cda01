"""A lock file beside a file or folder, held by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from segdata.errors import LockHeld
from segdata.system.files import disk_errors, is_running


@contextlib.contextmanager
def locked(target: Path, *, wait: float = 0.0, by_kernel: bool = True) -> Iterator[None]:
    """Hold the lock of `target`: the file `.NAME.lock` beside it.

    Args:
        wait: seconds to wait for another holder.
        by_kernel: use `flock`, which the kernel releases when the holder dies. False for file systems without it: there
            the file itself is the lock, and one that a killed process left is removed on the machine where it ran.

    Raises:
        LockHeld: another process holds it; pid, host, command and start are named.
        DiskError: the lock file cannot be made.
    """
    path = target.parent / f".{target.name}.lock"
    deadline = time.monotonic() + wait
    with disk_errors(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        while (descriptor := _flock(path) if by_kernel else _create(path)) is None:
            if time.monotonic() >= deadline:
                with contextlib.suppress(FileNotFoundError):
                    holder = path.read_text(errors="replace").strip() or "an unknown process"
                    raise LockHeld(
                        f"another segdata process is working on {target}",
                        file=target,
                        why=f"the lock is held by {holder}",
                        fix="wait for it to end, or add --wait SECONDS"
                        + ("" if by_kernel else f"; if it does not run any more, delete {path}"),
                    )
            time.sleep(0.2)
    try:
        holder = f"pid {os.getpid()} on {socket.gethostname()}: {' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"
        with contextlib.suppress(OSError):  # the text is only for messages
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{holder}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _flock(path: Path) -> int | None:
    """Descriptor of the locked lock file; None when another process holds the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A holder that is done removes the file: the locked one must still be the file of this name.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # the file system has no locks, so nobody holds this one
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _create(path: Path) -> int | None:
    """Descriptor of a new lock file; None when it exists and the process that made it may still run."""
    with contextlib.suppress(FileExistsError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with contextlib.suppress(FileNotFoundError):
        before = path.stat().st_ino
        holder = re.match(r"pid (\d+) on (\S+):", path.read_text(errors="replace"))
        if holder and holder[2] == socket.gethostname() and not is_running(int(holder[1])):
            # Two processes may do this at once: the one that moved a newer lock away puts it back.
            aside = path.with_name(f"{path.name}-{os.getpid()}")
            path.rename(aside)
            if aside.stat().st_ino != before:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, path)
            aside.unlink()
    return None
