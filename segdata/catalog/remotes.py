"""Where a dataset's files come from: addresses, sizes, digests, parts, terms and the kind of sign-in, as a manifest says.

A manifest's tables, checked here:

    [terms]                          to be accepted before the first fetch
    id   = "mine"                    the word for --accept-license
    url  = "https://…"               where the full text is
    text = "…"                       the key terms in a sentence or two

    [signin]                         only for sites that need one
    kind = "cityscapes"              the flow (segdata/download/access/signin.py)
    url  = "https://…"               its base address

    [[remotes]]                      one file each
    part      = "train"              what --only chooses; several files may make up one part
    url       = "https://…/a.zip"    or package = "a.zip", a name in the signed-in site's list
    mirrors   = ["https://…"]        tried in this order after url
    bytes     = 1234                 or "unknown"
    about     = 1200                 roughly, for the plan, where bytes is "unknown"
    digest    = "sha256:…"           or sha1, md5; or "unknown": nobody has published one
    file      = "a.zip"              its name on disk (default: the last part of url)
    archive   = "zip"                zip, tar, tar.gz, or file for one that is no archive (default: by the name)
    into      = "images"             the folder below raw/ that it is extracted into (default: raw/ itself)
    extracted = 1300                 bytes of its members, when known: the limit of extraction
    contains  = ["images/*.png"]     patterns of the members that are expected; * also stands for /
    rename    = { README = "README-a" }   members that would lie in another archive's place
    optional  = true                 not fetched unless --only names its part
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from segdata.errors import InvalidManifest
from segdata.system import toml as tables
from segdata.system.paths import checked_name

DIGESTS = {"sha256": 64, "sha1": 40, "md5": 32}
"""Accepted digests and their hexadecimal digits."""

ARCHIVES = ("zip", "tar", "tar.gz", "file")
SIGN_INS = ("cityscapes",)
UNKNOWN = "unknown"

_KEYS: dict[str, type] = {
    **{"part": str, "url": str, "package": str, "mirrors": list, "about": int, "digest": str, "file": str},
    **{
        "archive": str,
        "into": str,
        "extracted": int,
        "contains": list,
        "rename": dict,
        "optional": bool,
        "bytes": object,
    },
}


@dataclass(frozen=True)
class Digest:
    """A published or recorded digest: `algorithm` is sha256, sha1 or md5, `value` its hexadecimal digits."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True)
class Remote:
    """One file of a dataset, as published. `None` says that nobody has published it.

    `urls` are tried in this order; for a file behind a sign-in they are empty and `package` is its name in the site's
    list, which also gives a digest at that time.
    """

    file: str
    part: str
    urls: tuple[str, ...]
    package: str | None
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
        """Whether somebody publishes a digest to check the file by."""
        return self.digest is not None or self.package is not None


@dataclass(frozen=True)
class Terms:
    """What has to be accepted before the first fetch."""

    id: str
    url: str
    text: str

    @property
    def sha256(self) -> str:
        """Digest of what was shown; when it changes, the terms are asked for again."""
        return sha256("\n".join((self.id, self.url, self.text)).encode()).hexdigest()


@dataclass(frozen=True)
class SignIn:
    """A site that needs an account: the flow that it follows, and its base address without a slash at the end."""

    kind: str
    url: str

    @property
    def host(self) -> str:
        """The host that an account belongs to."""
        return urlsplit(self.url).hostname or ""


def digest(text: str, file: str, place: str) -> Digest | None:
    """A digest as manifests and receipts write it, "sha256:…"; None for "unknown".

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
            place=place,
            why=f"found {text!r}",
            fix='write "sha256:" and 64 small hexadecimal digits (or sha1: and 40, md5: and 32), or "unknown"',
        )
    return Digest(algorithm, value)


def terms(document: Any, file: str) -> Terms:
    """The `[terms]` table."""
    values = _texts(document, "terms", ("id", "url", "text"), file)
    if not re.fullmatch(r"[\w.-]+", values["id"]):
        raise InvalidManifest(
            "terms have an id that cannot be typed", file=file, place="terms.id", why=f"found {values['id']!r}"
        )
    return Terms(**values)


def signin(document: Any, file: str) -> SignIn:
    """The `[signin]` table."""
    values = _texts(document, "signin", ("kind", "url"), file)
    if values["kind"] not in SIGN_INS:
        raise InvalidManifest(
            f"there is no sign-in of kind {values['kind']!r}",
            file=file,
            place="signin.kind",
            why=f"known are {', '.join(SIGN_INS)}",
        )
    return SignIn(values["kind"], _address(values["url"], "signin.url", file).rstrip("/"))


def remotes(document: Any, file: str, *, has_signin: bool) -> tuple[Remote, ...]:
    """The `[[remotes]]` tables, in their order.

    Raises:
        InvalidManifest: unknown, missing or mistyped keys, a file twice, a part that is optional only in places.
        Unsafe: a name that leads out of the dataset's folder.
    """
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise InvalidManifest("remotes is not a list of tables", file=file, place="remotes", fix="write [[remotes]]")
    found: dict[str, Remote] = {}
    optional: dict[str, bool] = {}
    for index, row in enumerate(document):
        place = f"remotes[{index}]"
        remote = _remote(row, place, file, has_signin=has_signin)
        if remote.file.lower() in found:
            raise InvalidManifest("two remotes have one file name", file=file, place=place, why=f"{remote.file!r}")
        if optional.setdefault(remote.part, remote.is_optional) != remote.is_optional:
            raise InvalidManifest("a part is optional in one place only", file=file, place=place, why=remote.part)
        found[remote.file.lower()] = remote
    return tuple(found.values())


def _remote(row: dict[str, Any], place: str, file: str, *, has_signin: bool) -> Remote:
    for key in row:
        if key not in _KEYS:
            raise tables.unknown(file, f"{place}.{key}", key, tuple(_KEYS))
    needed = ("part", "digest")
    values = {
        key: tables.typed(row, key, kind, file, f"{place}.{key}")
        for key, kind in _KEYS.items()
        if kind is not object and (key in row or key in needed)
    }
    package = values.get("package")
    if ("url" in values) == (package is not None) or (package is not None and not has_signin):
        raise InvalidManifest(
            "a remote needs either url, or package and a [signin] table", file=file, place=place, why=f"found {row!r}"
        )
    urls = tuple(
        _address(url, f"{place}.mirrors" if number else f"{place}.url", file)
        for number, url in enumerate([values["url"], *values.get("mirrors", ())] if "url" in values else ())
    )
    name = values.get("file") or package or unquote(PurePosixPath(urlsplit(urls[0]).path).name)
    part, into = values["part"], values.get("into", ".")
    if not re.fullmatch(r"[\w.+-]+", part):
        raise InvalidManifest("a part's name cannot be typed", file=file, place=f"{place}.part", why=f"{part!r}")
    if "/" in name or name.startswith("."):
        raise InvalidManifest("a remote's file has no plain name", file=file, place=f"{place}.file", why=f"{name!r}")
    checked_name(name, f"{file}: {place}.file")
    if values.get("archive", "zip") not in ARCHIVES:
        raise tables.unknown(file, f"{place}.archive", values["archive"], ARCHIVES)
    return Remote(
        file=name,
        part=part,
        urls=urls,
        package=package,
        bytes=_count(row, place, file),
        about=values.get("about"),
        digest=digest(values["digest"], file, f"{place}.digest"),
        archive=values.get("archive") or _archive(name),
        into=PurePosixPath(".") if into == "." else checked_name(into, f"{file}: {place}.into"),
        extracted=values.get("extracted"),
        contains=tuple(str(item) for item in values.get("contains", ())),
        rename=tuple((member, str(name)) for member, name in values.get("rename", {}).items()),
        is_optional=values.get("optional", False),
    )


def _archive(name: str) -> str:
    endings = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
    return next((kind for ending, kind in endings.items() if name.lower().endswith(ending)), "file")


def _count(row: dict[str, Any], place: str, file: str) -> int | None:
    value = row.get("bytes")
    if value == UNKNOWN:
        return None
    if type(value) is not int or value < 1:
        raise InvalidManifest(
            "a remote's size is not known to be known",
            file=file,
            place=f"{place}.bytes",
            why=f"found {value!r}",
            fix='write bytes = NUMBER, or bytes = "unknown" where nobody has published it',
        )
    return value


def _address(url: Any, place: str, file: str) -> str:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        _ = parts and parts.port
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        shown = url if parts is None or parts.username is None else f"{parts.scheme}://…@{parts.hostname}"
        raise InvalidManifest(
            "an address is not http:// or https:// with a host and without a password",
            file=file,
            place=place,
            why=f"found {shown!r}",
        )
    return str(url)


def _texts(document: Any, place: str, keys: tuple[str, ...], file: str) -> dict[str, str]:
    if not isinstance(document, dict):
        raise InvalidManifest(f"{place} is not a table", file=file, place=place, fix=f"write [{place}]")
    for key in document:
        if key not in keys:
            raise tables.unknown(file, f"{place}.{key}", key, keys)
    return {key: tables.typed(document, key, str, file, f"{place}.{key}") for key in keys}
