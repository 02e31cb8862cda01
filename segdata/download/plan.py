"""What has to be fetched: decided from the manifest, the options and what is on disk. Touches nothing, asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.catalog.manifest import Manifest
from segdata.catalog.remotes import Digest, Remote
from segdata.download import receipts
from segdata.download.archives import receipt as extracted
from segdata.download.paths import Folders
from segdata.download.receipts import Receipt
from segdata.errors import NotThere, UsageError, close_names
from segdata.system.disk_space import free_bytes
from segdata.system.files import disk_errors

_GROWTH = {"zip": 1.1, "tar": 1.0, "tar.gz": 1.1, "file": 0.0}
"""Extracted bytes for a byte of archive, where the manifest does not say: photos hardly shrink."""


@dataclass(frozen=True)
class Item:
    """One file of the plan.

    Attributes:
        state: "extracted"; "downloaded" (whole, with receipt); "unchecked" (there, without a receipt that still counts);
            "begun"; "missing".
        bytes: of the whole file, by the manifest or by what was pinned at first use; None when nobody says.
        have: bytes of it that are on disk.
        digest: what it must be; None when nobody says.
        receipt: of an earlier download.
        link: the user's own copy, or None.
    """

    remote: Remote
    state: str
    bytes: int | None
    have: int
    digest: Digest | None
    receipt: Receipt | None
    link: Path | None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state == "extracted"

    @property
    def is_here(self) -> bool:
        """Whether nothing has to be downloaded."""
        return self.state in ("extracted", "downloaded", "unchecked") or self.link is not None

    @property
    def is_unverified(self) -> bool:
        """Whether nobody publishes a digest and none was recorded at first use either."""
        return self.digest is None and not self.remote.is_verifiable

    @property
    def to_download(self) -> int:
        """Bytes to download, roughly where the exact size is not known."""
        return 0 if self.is_here else max((self.bytes or self.remote.about or 0) - self.have, 0)

    @property
    def to_extract(self) -> int:
        """Bytes that extraction will take, roughly where the manifest does not say."""
        if self.is_done:
            return 0
        size = self.bytes or self.remote.about or self.have
        return self.remote.extracted or int(size * _GROWTH[self.remote.archive])

    def as_dict(self) -> dict[str, Any]:
        """The item for `--json`."""
        return {
            "file": self.remote.file,
            "part": self.remote.part,
            "state": self.state,
            "bytes": self.bytes,
            "about": self.remote.about,
            "digest": str(self.digest) if self.digest else None,
            "verifiable": not self.is_unverified,
            "first_use": bool(self.receipt and self.receipt.first_use),
            "download": self.to_download,
            "from": str(self.link) if self.link else None,
        }


@dataclass(frozen=True)
class Plan:
    """What one fetch will do."""

    manifest: Manifest
    folders: Folders
    items: tuple[Item, ...]
    free: int

    @property
    def to_download(self) -> int:
        """Bytes."""
        return sum(item.to_download for item in self.items)

    @property
    def to_extract(self) -> int:
        """Bytes."""
        return sum(item.to_extract for item in self.items)

    @property
    def unverified(self) -> tuple[str, ...]:
        """Files that still have to be accepted without a published digest."""
        return tuple(item.remote.file for item in self.items if item.is_unverified and not item.is_done)

    def as_dict(self) -> dict[str, Any]:
        """The plan for `--json`."""
        terms = self.manifest.terms
        return {
            "dataset": self.manifest.name,
            "title": self.manifest.title,
            "folder": str(self.manifest.folder or self.folders.home),
            "licence": self.manifest.licence,
            "terms": {"id": terms.id, "url": terms.url, "text": terms.text} if terms else None,
            "account": self.manifest.signin.host if self.manifest.signin else None,
            "files": [item.as_dict() for item in self.items],
            "unverified": list(self.unverified),
            "download": self.to_download,
            "extracted": self.to_extract,
            "free": self.free,
        }


def plan(manifest: Manifest, folders: Folders, *, only: Sequence[str] = (), from_dir: Path | None = None) -> Plan:
    """What is missing of a dataset.

    Args:
        only: parts; by default those that are not optional.
        from_dir: a folder that may hold archives under their own names.

    Raises:
        UsageError: a part that the dataset does not have, or no files to fetch at all.
    """
    parts = manifest.parts
    if manifest.folder is not None and not only:
        require_folder(manifest)
        return Plan(manifest, folders, (), free_bytes(folders.home))
    if not parts:
        raise UsageError(
            f"{manifest.name} has no addresses to fetch from", fix="add folder = PATH or [[remotes]] to the manifest"
        )
    for name in only:
        if name not in parts:
            close = close_names(name, parts)
            raise UsageError(
                f"{manifest.name} has no part {name!r}",
                why=f"it has {', '.join(parts)}",
                fix=f"did you mean {' or '.join(close)}?" if close else None,
            )
    chosen = set(only) or {name for name, is_default in parts.items() if is_default}
    items = tuple(_item(remote, folders, from_dir) for remote in manifest.remotes if remote.part in chosen)
    return Plan(manifest, folders, items, free_bytes(folders.home))


def require_folder(manifest: Manifest) -> Path:
    """The folder of this machine in which a dataset's files lie.

    Raises:
        NotThere: there is no such folder.
    """
    folder = Path() if manifest.folder is None else manifest.folder
    with disk_errors(folder):
        if folder.is_dir():
            return folder
    raise NotThere(
        f"the files of {manifest.name} are not where its manifest says",
        file=folder,
        why="it is a file" if folder.exists() else "there is no such folder",
        fix="correct folder in the manifest",
    )


def expected(remote: Remote, receipt: Receipt | None) -> tuple[int | None, Digest | None]:
    """Size and digest that a file must have: published, or recorded when it was accepted; None when nobody says."""
    published = None if remote.digest is None else str(remote.digest)
    if receipt is not None and receipt.accepted is not None and receipt.accepted["instead_of"] == published:
        return receipt.bytes, Digest("sha256", receipt.sha256)
    if published is None and receipt is not None and receipt.first_use:
        return receipt.bytes, Digest("sha256", receipt.sha256)
    return remote.bytes, remote.digest


def _item(remote: Remote, folders: Folders, from_dir: Path | None) -> Item:
    receipt = receipts.read(folders.receipt(remote.file))
    size, digest = expected(remote, receipt)
    if receipt is not None and not _still_counts(receipt, remote, size, digest):
        receipt = None
    archive, part = folders.archive(remote.file), folders.part(remote.file)
    have, link = 0, None
    is_whole = receipt is not None and _is_extracted(remote, folders, receipt)
    is_doubtful = receipt is not None and receipt.is_doubtful
    if is_whole and not (is_doubtful and remote.archive == "file"):
        state = "extracted"  # what comes out of an archive is on the disk before its receipt is
    elif archive.is_file() and not archive.is_symlink():
        have = archive.stat().st_size
        is_checked = receipt is not None and receipt.bytes == have and not is_doubtful
        state = "downloaded" if is_checked else "unchecked"
    elif is_whole:
        state = "unchecked"  # a file that is no archive, in its place
    elif part.is_file():
        state, have = "begun", part.stat().st_size
    else:
        state = "missing"
    if from_dir is not None and state in ("begun", "missing") and (from_dir / remote.file).is_file():
        link = from_dir / remote.file
    elif remote.path is not None and state in ("begun", "missing"):
        link = _user_file(remote.path)
        size = size or link.stat().st_size
    return Item(remote, state, bytes=size, have=have, digest=digest, receipt=receipt, link=link)


def _user_file(path: Path) -> Path:
    """A file of this machine that a manifest names.

    Raises:
        NotThere: there is none.
    """
    with disk_errors(path):
        if path.is_file():
            return path
        is_folder = path.is_dir()
    raise NotThere(
        "a file that the manifest names is not there",
        file=path,
        why="it is a folder" if is_folder else "there is no such file",
        fix='name folders with folder = "PATH" at the top of the manifest' if is_folder else "correct its url",
    )


def _still_counts(receipt: Receipt, remote: Remote, size: int | None, digest: Digest | None) -> bool:
    """Whether an earlier receipt is about the file that the manifest names today."""
    if size is not None and receipt.bytes != size:
        return False
    if digest is None:
        return True  # checked by what the site published then
    return str(digest) in (receipt.digest, f"sha256:{receipt.sha256}")


def _is_extracted(remote: Remote, folders: Folders, receipt: Receipt) -> bool:
    extraction = extracted.read_receipt(folders.members(remote.file))
    return (
        extraction is not None
        and extraction.source["digest"] == f"sha256:{receipt.sha256}"
        and extracted.is_whole(extraction, folders.raw)
    )
