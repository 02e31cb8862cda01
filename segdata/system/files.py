"""Write files atomically (temporary name → fsync → rename), lock them, check names, and turn errors into `DiskError`.

A file under its final name is complete. Work in progress is named `.NAME.part-…` and lies in the same folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import Any

from segdata.errors import DiskError, NoMemory, NotThere, UsageError, printable

try:  # zlib's values, four times as fast
    from isal.isal_zlib import crc32 as crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32 as crc32
import fcntl
import re
import socket
import stat
import sys
import time
from pathlib import PurePosixPath

from segdata.errors import LockHeld, Unsafe

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EFBIG: ("the file is larger than allowed", "raise the file-size limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
    errno.EACCES: ("permission denied", "check the owner and permissions"),
    errno.EPERM: ("operation not permitted", "check the owner and permissions"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many open files on this machine", "end other programs"),
    errno.EIO: ("input/output error: the disk may be failing", "check the disk before you go on"),
    errno.ENOTDIR: ("a file stands where a folder is expected", "move it away or choose another place"),
    errno.EISDIR: ("a folder stands where a file is expected", "move it away or choose another place"),
    errno.ENOLCK: ("no working locks here", "choose another place (fetch, prepare, convert: --no-lock)"),
    errno.EOPNOTSUPP: ("no working locks here", "choose another place (fetch, prepare, convert: --no-lock)"),
    errno.EXDEV: ("the two places are on different file systems", "choose a place on one file system"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose a shorter name"),
    errno.EEXIST: ("something else of that name exists", "move it away or choose another place"),
    errno.ENOTEMPTY: ("the folder is not empty", "move it away or choose another place"),
    errno.ELOOP: ("a symbolic link leads back to itself", "remove the link, or make it lead to what it should"),
    errno.ENXIO: ("a socket or device stands where a file is expected", "move it away or choose another place"),
    errno.ENODEV: ("this is no file that can be mapped into memory", "copy it to another place"),
    errno.ENOMEM: ("there is not enough memory", "free some memory, or raise the limit (ulimit -v)"),
    errno.ESTALE: ("the network disk lost the file", "run the same command again"),
}
_NOT_OF_DISKS = (ConnectionError, ChildProcessError, InterruptedError, ProcessLookupError, TimeoutError)


_PART = re.compile(r"\.(.+)\.part-\d+")
"""The name of a file while `write_whole` writes it."""


@contextlib.contextmanager
def disk_errors(path: Path | None = None) -> Iterator[None]:
    """Turn `OSError` of the block, or of the function that this decorates, into an error with reason and remedy.

    Errors of connections and processes, and those that are neither of a file nor in the table above, stay as they are.

    Args:
        path: named in the error where the operating system names none.

    Raises:
        NotThere: for `FileNotFoundError`.
        NoMemory: a file that cannot be mapped, for example.
        DiskError: for any other error of the operating system about files.
    """
    try:
        yield
    except OSError as error:
        file = error.filename or path
        is_of_disk = error.errno is not None and not isinstance(error, _NOT_OF_DISKS)
        if not is_of_disk or (file is None and error.errno not in _REASONS):
            raise
        raise _declared(error, file) from error


def _declared(error: OSError, path: Path | str | bytes | None) -> NotThere | NoMemory | DiskError:
    file = None if path is None else Path(os.fsdecode(path))
    if file is not None and (written := _PART.fullmatch(file.name)):
        is_missing = isinstance(error, FileNotFoundError)
        file = file.parent if is_missing else file.with_name(written[1])
    if isinstance(error, FileNotFoundError):
        why = None
        if file is not None and file.is_symlink():
            why = f"it is a symbolic link to {file.readlink()}, which does not exist"
        return NotThere(f"{printable(file, lines=False)} does not exist", file=file, why=why)
    reason, fix = _REASONS.get(error.errno or 0, (error.strerror or str(error), "check the disk"))
    if error.errno == errno.ENOMEM:
        return NoMemory(reason, file=file, fix=fix)
    if file is None:
        return DiskError(reason, fix=fix)
    if error.errno == errno.ENOSPC and _has_no_inodes(file):
        reason, fix = "the file system has no inodes left", "remove some files and run the same command again"
    why = _owner(file) if error.errno in (errno.EACCES, errno.EPERM) else None
    return DiskError(reason, file=file, why=why, fix=fix)


def real_path(path: Path) -> Path:
    """The absolute path without symbolic links; a loop of links stays, for who opens it to tell."""
    return Path(os.path.realpath(path))


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110 (False below a closed folder, too)
        path = path.parent
    return path


def _owner(path: Path) -> str | None:
    """Owner and mode of a path, and the user of this process, for a message."""
    with contextlib.suppress(OSError):
        existing = nearest_existing(path)
        status = existing.stat()
        mode = f"mode {status.st_mode & 0o7777:04o}"
        return f"{existing} belongs to user {status.st_uid} ({mode}); this command runs as user {os.geteuid()}"
    return None


def _has_no_inodes(path: Path) -> bool:
    """Whether a file system has no inodes left, whatever bytes are free."""
    with contextlib.suppress(OSError):
        status = os.statvfs(nearest_existing(path))
        return status.f_files > 0 and status.f_favail == 0
    return False


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable (fsync of the folder)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disk(folder: Path) -> None:
    """Make everything below a folder durable at once (syncfs); errors of delayed writes are raised.

    For many small files: fsync takes milliseconds for each.
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


def boot_id() -> str:
    """The kernel's id of this start of the machine; "" where the system has none.

    What was written without fsync is safe while the machine runs; after a restart it may not have reached the disk.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def write_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file atomically: `path` is either as before or has all of `data`, even if the machine stops.

    Args:
        mode: permissions of the new file, less the process's umask.

    Raises:
        DiskError: the file could not be written, or a device or pipe stands there; nothing is left behind.
    """
    require_no_device(path)
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


def require_no_device(path: Path) -> None:
    """Raise `DiskError` where a file is to be written and a device, pipe or socket stands, which would be replaced."""
    with disk_errors(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise DiskError("a pipe, socket or device stands where a file is expected", file=path, fix="give a file")


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes left."""
    prefix = f".{path.name}.part-"
    for other in path.parent.iterdir():
        process = other.name.removeprefix(prefix)
        if other.name.startswith(prefix) and process.isdecimal() and not is_running(int(process)):
            other.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether there is a process with this number, whoever owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def canonical_json(document: Any) -> bytes:
    """JSON in one form for equal documents: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: the document holds NaN or an infinity.
    """
    return json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def require_replaceable(target: Path, *, force: bool, what: str, has_force: bool = True) -> None:
    """Raise unless `target` does not exist, is an empty folder, or is a folder and `force` is set.

    Args:
        what: what is to be made there, for the message.
        has_force: whether there is an option --force to name.

    Raises:
        DiskError: a file of that name exists.
        UsageError: the folder is not empty.
    """
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
            fix="choose another name, or add --force to replace it" if has_force else "choose another name",
        )


def remove_tree(folder: Path) -> None:
    """Remove a folder or file if it exists; a symbolic link is removed, never followed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


_LONGEST_NAME = 255
"""Bytes of a file's name; file systems have no longer ones."""

_SURELY_SHORT = _LONGEST_NAME // 4
"""Characters that have no more bytes than that."""

_NOT_NAMES = frozenset(("", ".", ".."))


def checked_name(name: str, what: str) -> PurePosixPath:
    """Check a relative path; `what` names its source in the error.

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
        or not _NOT_NAMES.isdisjoint(name.split("/"))
        or (len(name) > _SURELY_SHORT and any(map(_is_too_long, name.split("/"))))
    ):
        raise Unsafe(
            f"{what} names a path that is not allowed",
            why=f"{name[:200]!r} is not a plain relative path (no '..', no leading '/', no backslash, no address, no part of "
            f"more than {_LONGEST_NAME} bytes)",
            fix="correct the name; nothing outside the dataset's folder is ever opened",
        )


def _is_too_long(part: str) -> bool:
    try:
        return len(os.fsencode(part)) > _LONGEST_NAME
    except UnicodeEncodeError:
        return True


class TrustedRoot(PosixPath):
    """A dataset's folder whose symbolic links may lead out of it: the user trusts them (`--follow-links`)."""


def inside(root: Path, name: str, what: str) -> Path:
    """`root / name`, unless the name or a symbolic link leads out of `root`.

    Raises:
        Unsafe: a name that `checked_name` refuses, or a symbolic link out of `root`.
    """
    _check_name(name, what)
    if isinstance(root, TrustedRoot):
        return root / name
    if _has_link(os.fspath(root), name):
        real = Path(os.path.realpath(root / name))
        if not real.is_relative_to(os.path.realpath(root)):
            raise Unsafe(
                f"{what} leads out of the dataset's folder through a link",
                file=root / name,
                why=f"to {real}",
                fix="if the link is yours, add --follow-links",
            )
    return root / name


def _has_link(root: str, name: str) -> bool:
    """Whether a path below the root, or a folder above it, is a symbolic link; called for every image."""
    path, end = f"{root}/{name}", len(root)
    while end >= 0:
        end = path.find("/", end + 1)
        try:
            if stat.S_ISLNK(os.lstat(path if end < 0 else path[:end]).st_mode):
                return True
        except (OSError, ValueError):
            return False  # nothing is below what is not there
    return False


@contextlib.contextmanager
def locked(target: Path, *, wait: float = 0.0, by_kernel: bool = True, is_shared: bool = False) -> Iterator[None]:
    """Hold the lock of `target`: the file `.NAME.lock` beside it.

    Args:
        wait: seconds to wait for another holder.
        by_kernel: use `flock`, which the kernel releases when the holder dies. False for file systems without it: there
            the file itself is the lock, and one that a killed process left is removed on the machine where it ran.
        is_shared: several processes may hold the lock that ask for it so, and none that does not; by the kernel alone.

    Raises:
        LockHeld: another process holds it; pid, host, command and start are named.
        DiskError: the lock file cannot be made.
    """
    path = target.parent / f".{target.name}.lock"
    deadline = time.monotonic() + wait
    with disk_errors(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        while (descriptor := _flock(path, is_shared=is_shared) if by_kernel else _create(path)) is None:
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
            os.write(
                descriptor,
                f"{holder}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode("utf-8", "backslashreplace"),
            )
        yield
    finally:
        if not is_shared or _is_alone(descriptor):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_alone(descriptor: int) -> bool:
    """Whether nobody else holds a lock that several may hold."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _flock(path: Path, *, is_shared: bool) -> int | None:
    """Descriptor of the locked lock file; None when another process holds the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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
