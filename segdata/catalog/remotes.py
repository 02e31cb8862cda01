"""Where a dataset's files come from: URLs, sizes, digests, licence terms and sign-in, from the tables of a manifest.

[terms]                          to be accepted before the first fetch
id   = "mine"                    the word for --accept-license
url  = "https://…"               where the full text is
text = "…"                       the key terms in a sentence or two

[signin]                         only for sites that need one
kind = "cityscapes"              the flow (segdata/download/access/signin.py)
url  = "https://…"               its base address

[[remotes]]                      one file each
part      = "train"              what --only chooses; several files may make up one part (default: all)
url       = "https://…/a.zip"    or file:///…/a.zip, or a path beside the manifest; or package = "a.zip", a name in the
                                 signed-in site's list
mirrors   = ["https://…"]        tried in this order after url
bytes     = 1234                 or "unknown" (default)
about     = 1200                 roughly, for the plan, where bytes is "unknown"
digest    = "sha256:…"           or sha1, md5; or "unknown": nobody has published one (default)
file      = "a.zip"              its name on disk (default: the last part of url)
archive   = "zip"                zip, tar, tar.gz, or file for one that is no archive (default: by the name)
into      = "images"             the folder below raw/ that it is extracted into (default: raw/ itself)
extracted = 1300                 bytes of its members, when known: the limit of extraction
contains  = ["images/*.png"]     patterns of the members that are expected; * also stands for /
rename    = { README = "README-a" }   members that would lie in another archive's place
optional  = true                 not fetched unless --only names its part
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from segdata.errors import InvalidManifest
from segdata.system.files import checked_name

DIGESTS = {"sha256": 64, "sha1": 40, "md5": 32}
"""Accepted digests and their hexadecimal digits."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Digest:
    """A published or recorded checksum: `algorithm` is sha256, sha1 or md5, `value` its hexadecimal digits."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True)
class Remote:
    """One file of a dataset, as published. `None` says that nobody has published it.

    `urls` are tried in this order; for a file behind a sign-in they are empty and `package` is its name in the site's
    list, which also gives a digest at that time. A file of this machine has neither, but a `path`.
    """

    file: str
    part: str
    urls: tuple[str, ...]
    package: str | None
    path: Path | None
    bytes: int | None
    about: int | None
    digest: Digest | None
    archive: str
    into: PurePosixPath
    extracted: int | None
    contains: tuple[str, ...]
    rename: tuple[tuple[str, str], ...]
    is_optional: bool

    @property
    def is_verifiable(self) -> bool:
        """Whether somebody publishes a digest to check the file by, or it is the user's own."""
        return self.digest is not None or self.package is not None or self.path is not None


class RemoteTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """A `[[remotes]]` table as it is written."""

    part: str = "all"
    url: str | None = None
    package: str | None = None
    mirrors: list[str] = []
    bytes: Any = UNKNOWN
    about: int | None = None
    digest: str = UNKNOWN
    file: str | None = None
    archive: Literal["zip", "tar", "tar.gz", "file"] | None = None
    into: str = "."
    extracted: int | None = None
    contains: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    optional: bool = False


class Terms(Struct, frozen=True, forbid_unknown_fields=True):
    """What has to be accepted before the first fetch."""

    id: str
    url: str
    text: str

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of what was shown; when it changes, the terms have to be accepted again."""
        return sha256("\n".join((self.id, self.url, self.text)).encode()).hexdigest()

    def checked(self, file: str) -> Terms:
        """The same terms.

        Raises:
            InvalidManifest: an id that is no single word.
        """
        if not re.fullmatch(r"[\w.-]+", self.id):
            raise InvalidManifest(
                "terms have an id that cannot be typed", file=file, place="terms.id", why=f"found {self.id!r}"
            )
        return self


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A site that needs an account: its sign-in flow, and its base URL."""

    kind: Literal["cityscapes"]
    url: str

    @property
    def host(self) -> str:
        """The host that an account belongs to."""
        return urlsplit(self.url).hostname or ""

    def checked(self, file: str) -> SignIn:
        """The same, without a slash at the end of its URL.

        Raises:
            InvalidManifest: no http:// or https:// URL.
        """
        return SignIn(self.kind, _checked_url(self.url, "signin.url", file).rstrip("/"))


def digest(text: str, file: str, key: str) -> Digest | None:
    """Parse "sha256:…", as manifests and receipts write it; None for "unknown".

    Raises:
        InvalidManifest: another algorithm, or not as many hexadecimal digits as it has.
    """
    if text == UNKNOWN:
        return None
    algorithm, _, value = text.partition(":")
    if not re.fullmatch(f"[0-9a-f]{{{DIGESTS.get(algorithm, 0)}}}", value) or algorithm not in DIGESTS:
        raise InvalidManifest(
            "a digest is not valid",
            file=file,
            place=key,
            why=f"found {text!r}",
            fix='write "sha256:" and 64 small hexadecimal digits (or sha1: and 40, md5: and 32), or "unknown"',
        )
    return Digest(algorithm, value)


def local_path(text: str, beside: Path, key: str, file: str) -> Path:
    """The path that a manifest names: file://…, or one that begins beside the manifest; ~ is the home folder.

    Raises:
        InvalidManifest: no path, or one of another machine.
    """
    parts = urlsplit(text) if text.startswith("file:") else None
    if parts is not None and (parts.netloc not in ("", "localhost") or not parts.path.startswith("/")):
        raise InvalidManifest(
            "a file:// address is not of this machine",
            file=file,
            place=key,
            why=f"found {text!r}",
            fix="write file:///FOLDER/FILE, or a path",
        )
    path = text if parts is None else unquote(parts.path)
    if not path or "\0" in path:
        raise InvalidManifest("a path is empty or has a zero byte", file=file, place=key, why=f"found {text!r}")
    return beside / os.path.expanduser(path)  # noqa: PTH111 (leaves an unknown user's folder as it is)


def remotes(
    tables: Sequence[RemoteTable], file: str, *, has_signin: bool, beside: Path | None = None
) -> tuple[Remote, ...]:
    """The `[[remotes]]` tables, checked, in their order.

    Args:
        has_signin: whether the manifest has a `[signin]` table.
        beside: the manifest's folder, where paths begin; None where files of this machine cannot be named.

    Raises:
        InvalidManifest: a wrong value, a file twice, a part that is optional only in places.
        Unsafe: a name that leads out of the dataset's folder.
    """
    by_name: dict[str, Remote] = {}
    is_optional: dict[str, bool] = {}
    for index, table in enumerate(tables):
        key = f"remotes[{index}]"
        remote = _remote(table, key, file, has_signin=has_signin, beside=beside)
        if remote.file.lower() in by_name:
            raise InvalidManifest("two remotes have one file name", file=file, place=key, why=f"{remote.file!r}")
        if is_optional.setdefault(remote.part, remote.is_optional) != remote.is_optional:
            raise InvalidManifest("a part is optional in one place only", file=file, place=key, why=remote.part)
        by_name[remote.file.lower()] = remote
    return tuple(by_name.values())


def _remote(table: RemoteTable, key: str, file: str, *, has_signin: bool, beside: Path | None) -> Remote:
    if (table.url is None) == (table.package is None) or (table.package is not None and not has_signin):
        raise InvalidManifest(
            "a remote needs either url, or package and a [signin] table",
            file=file,
            place=key,
            why=f"url is {table.url!r}, package is {table.package!r}",
        )
    is_local = beside is not None and table.url is not None and re.match(r"(?!file:)\w[\w+.-]*:", table.url) is None
    path = local_path(table.url, beside, f"{key}.url", file) if is_local and beside and table.url else None
    urls = [] if table.url is None or path else [_checked_url(table.url, f"{key}.url", file)]
    urls += [_checked_url(url, f"{key}.mirrors", file) for url in table.mirrors if urls]
    name = table.file or table.package or (path.name if path else unquote(PurePosixPath(urlsplit(urls[0]).path).name))
    if not re.fullmatch(r"[\w.+-]+", table.part):
        raise InvalidManifest("a part's name cannot be typed", file=file, place=f"{key}.part", why=f"{table.part!r}")
    if "/" in name or name.startswith("."):
        raise InvalidManifest("a remote's file has no plain name", file=file, place=f"{key}.file", why=f"{name!r}")
    checked_name(name, f"{file}: {key}.file")
    return Remote(
        file=name,
        part=table.part,
        urls=tuple(urls),
        package=table.package,
        path=path,
        bytes=_size(table.bytes, key, file),
        about=table.about,
        digest=digest(table.digest, file, f"{key}.digest"),
        archive=table.archive or _archive(name),
        into=PurePosixPath(".") if table.into == "." else checked_name(table.into, f"{file}: {key}.into"),
        extracted=table.extracted,
        contains=table.contains,
        rename=tuple(table.rename.items()),
        is_optional=table.optional,
    )


def _archive(name: str) -> str:
    endings = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
    return next((kind for ending, kind in endings.items() if name.lower().endswith(ending)), "file")


def _size(value: Any, key: str, file: str) -> int | None:
    if value == UNKNOWN:
        return None
    if type(value) is not int or value < 1:
        raise InvalidManifest(
            "a remote's size is not known to be known",
            file=file,
            place=f"{key}.bytes",
            why=f"found {value!r}",
            fix='write bytes = NUMBER, or bytes = "unknown" where nobody has published it',
        )
    return value


def _checked_url(url: str, key: str, file: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        shown = url if parts.username is None else f"{parts.scheme}://…@{parts.hostname}"
        raise InvalidManifest(
            "an address is not http:// or https:// with a host and without a password",
            file=file,
            place=key,
            why=f"found {shown!r}",
        )
    return url
