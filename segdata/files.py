"""How anything becomes visible on disk: temporary name → fsync → rename, locks, and paths that stay inside.

A name under a final path is whole, or absent. Work in progress is named `.NAME.part-…` and lies in the same folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from segdata.errors import DiskError, LockHeld, NotThere, Unsafe, UsageError

try:  # zlib's values, four times as fast
    from isal.isal_zlib import crc32 as crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32 as crc32

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EFBIG: ("the file is larger than allowed", "raise the file-size limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
    errno.EACCES: ("permission denied", "check the owner and permissions"),
    errno.EPERM: ("operation not permitted", "check the owner and permissions"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
    errno.EIO: ("input/output error: the disk may be failing", "check the disk before you go on"),
    errno.ENOTDIR: ("a file stands where a folder is expected", "move it away or choose another place"),
    errno.EISDIR: ("a folder stands where a file is expected", "move it away or choose another place"),
    errno.ENOLCK: ("no working locks here", "choose another place (fetch, prepare, convert: --no-lock)"),
    errno.EOPNOTSUPP: ("no working locks here", "choose another place (fetch, prepare, convert: --no-lock)"),
    errno.EXDEV: ("the two places are on different file systems", "choose a place on one file system"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose a shorter name"),
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into `DiskError` with the reason and the remedy."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotThere(f"{error.filename or path} does not exist", file=error.filename or path) from error
    except OSError as error:
        if isinstance(error, DiskError) or error.errno is None:
            raise
        reason, fix = _REASONS.get(error.errno, (error.strerror or str(error), "check the disk"))
        at = Path(os.fsdecode(error.filename or path))
        why = _owner(at) if error.errno in (errno.EACCES, errno.EPERM) else None
        if error.errno == errno.ENOSPC and _has_no_inodes(at):
            reason, fix = "the file system has no inodes left", "remove some files and run the same command again"
        raise DiskError(reason, file=at, why=why, fix=fix) from error


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _owner(path: Path) -> str | None:
    """Whose a path is, and who asks, for a message."""
    with contextlib.suppress(OSError):
        found = existing(path)
        status = found.stat()
        mode = f"mode {status.st_mode & 0o7777:04o}"
        return f"{found} belongs to user {status.st_uid} ({mode}); this command runs as user {os.geteuid()}"
    return None


def _has_no_inodes(path: Path) -> bool:
    """Whether a file system is full of files and not of bytes."""
    with contextlib.suppress(OSError):
        status = os.statvfs(existing(path))
        return status.f_files > 0 and status.f_favail == 0
    return False


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disk(folder: Path) -> None:
    """Make everything below a folder durable at once.

    For many small files: waiting for each alone takes milliseconds a file. Errors of writes that were put off are found.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def this_run() -> str:
    """What tells this run of the machine from those before and after a restart; "" where the system does not say.

    What was written is read back as it was written while the machine runs, whether it is on the disk yet or not.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def write_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that `path` is either as before or has all of `data`, even if the machine stops.

    Args:
        mode: permissions from the first moment on, less the process's mask.

    Raises:
        DiskError: the file could not be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    with disk_errors(path):
        _remove_abandoned(path)
        try:
            with open(part, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed have left of a file in the making; those that live are left alone."""
    prefix = f".{path.name}.part-"
    for other in path.parent.iterdir():
        number = other.name.removeprefix(prefix)
        if other.name.startswith(prefix) and number.isdecimal() and not _is_alive(int(number)):
            other.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def canonical_json(document: Any) -> bytes:
    """JSON bytes that depend on the content alone: sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


_NO_STEPS = frozenset(("", ".", ".."))


def checked_name(name: str, what: str) -> PurePosixPath:
    """A relative path from somebody else's data, or an error if it could lead anywhere but downwards.

    Raises:
        Unsafe: absolute, with `..`, backslash, drive letter, NUL or empty parts, or a URL.
    """
    _check_name(name, what)
    return PurePosixPath(name)


def _check_name(name: str, what: str) -> None:
    if (
        not name
        or "\\" in name
        or "\0" in name
        or "://" in name
        or name.startswith("/")
        or (len(name) > 1 and name[1] == ":")
        or not _NO_STEPS.isdisjoint(name.split("/"))
    ):
        raise Unsafe(
            f"{what} names a path that is not allowed",
            why=f"{name!r} is not a plain relative path (no '..', no leading '/', no backslash, no address)",
            fix="correct the name; nothing outside the dataset's folder is ever opened",
        )


def inside(root: Path, name: str, what: str) -> Path:
    """`root / name`, refused when the name or a link on the way leads out of `root`.

    Raises:
        Unsafe: see `checked_name`; or a symbolic link out of `root`.
    """
    _check_name(name, what)
    steps = itertools.accumulate((os.fspath(root), *name.split("/")), os.path.join)
    # Once for every image: text is twice as fast as paths.
    if any(os.path.islink(step) for step in itertools.islice(steps, 1, None)):  # noqa: PTH114
        real = Path(os.path.realpath(root / name))
        if not real.is_relative_to(os.path.realpath(root)):
            raise Unsafe(f"{what} leads out of the dataset's folder through a link", file=root / name, why=f"to {real}")
    return root / name


def free_for(target: Path, *, force: bool, what: str) -> None:
    """Raise unless `target` does not exist, is an empty folder, or may be replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if not target.is_dir():
        raise DiskError(f"{what} cannot be made: a file of that name exists", file=target, fix="choose another name")
    if not force:
        raise UsageError(
            f"{target} exists and holds something else",
            file=target,
            fix="choose another name, or add --force to replace it",
        )


def remove_tree(folder: Path) -> None:
    """Remove a folder of our own work in progress; a link is removed, never followed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def locked(target: Path, *, wait: float = 0.0, by_kernel: bool = True) -> Iterator[None]:
    """Hold the lock of `target`, a file beside it.

    Args:
        wait: seconds to wait for another holder before giving up.
        by_kernel: the kernel frees the lock when its holder dies. False for file systems that cannot do that: there
            the file itself is the lock, and one that a killed process left is removed on the machine where it ran.

    Raises:
        LockHeld: another process holds it; pid, host, command and start are named.
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
    """The descriptor of the lock file, locked; None when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A previous holder removes the file when it is done: make sure that this one is still the file's name.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # there are no locks here, so nobody holds this one
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _create(path: Path) -> int | None:
    """The descriptor of the lock file, made now; None when it is there and its maker may still run."""
    with contextlib.suppress(FileExistsError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with contextlib.suppress(FileNotFoundError):
        before = path.stat().st_ino
        holder = re.match(r"pid (\d+) on (\S+):", path.read_text(errors="replace"))
        if holder and holder[2] == socket.gethostname() and not _is_alive(int(holder[1])):
            # Two may find it at once: whoever took a newer one away gives it back.
            aside = path.with_name(f"{path.name}-{os.getpid()}")
            path.rename(aside)
            if aside.stat().st_ino != before:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, path)
            aside.unlink()
    return None
