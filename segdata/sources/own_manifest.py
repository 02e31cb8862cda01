"""Manifests of one's own data: written from a folder or files, and completed with sizes and digests.

What is recorded is written into the text of the manifest, so that its comments and its order stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from segdata import formats
from segdata.catalog import manifest as manifests
from segdata.catalog.remotes import Remote
from segdata.core.findings import Findings
from segdata.download import receipts
from segdata.download.paths import folders
from segdata.errors import HashMismatch, InvalidManifest, NotThere, UnknownLayout, UsageError
from segdata.system.files import disk_errors, write_whole
from segdata.system.reading import read_text

_OPTIONAL = """
# Whatever you know can be added (docs/manifests.md lists it all):
# homepage = "https://…"
# licence = "…"
# citation = "…"
"""


@dataclass(frozen=True)
class Recorded:
    """What became of one file of a manifest.

    Attributes:
        file: its name.
        bytes, sha256: of its content; None where the file is nowhere on this machine.
    """

    file: str
    bytes: int | None
    sha256: str | None


def named(source: str) -> Path:
    """The file of a manifest whose name is that of a source, in the working folder."""
    name = re.sub(r"[^\w.-]+", "-", _title(source)).strip("-.") or "dataset"
    return Path(f"{name}.toml")


def new(
    target: Path,
    sources: Sequence[str],
    *,
    title: str | None = None,
    source_format: str | None = None,
    force: bool = False,
) -> str:
    """Write a manifest, and give its text.

    Args:
        target: the file to write; its name without .toml names the dataset.
        sources: one dataset folder, or the dataset's files: paths, or addresses of a server.
        title: by default, the name of the folder, or of the first file.
        source_format: by default, detected from the folder's layout; files need it.
        force: replace a file that is there.

    Raises:
        UsageError: a folder among files, no format where it cannot be detected, no name.toml.
        NotThere: a source is not on disk.
        UnknownLayout: the folder has no known layout.
    """
    if target.suffix != ".toml" or not re.fullmatch(r"[\w.-]+", target.stem):
        raise UsageError(
            "a manifest's file is NAME.toml, and the name is the dataset's",
            why=f"found {target.name!r}",
            fix="use letters, digits, dots, - and _",
        )
    with disk_errors(target):
        if target.exists() and not force:
            raise UsageError(f"{target} is there already", fix="choose another file with -o, or add --force")
    base = target.absolute().parent
    if len(sources) == 1 and not _is_address(sources[0]) and Path(sources[0]).is_dir():
        folder = Path(sources[0])
        try:
            source_format, _ = formats.scan(folder, source_format, Findings())
        except UnknownLayout as error:
            error.fix = error.fix and error.fix.replace("--from", "--format")
            raise
        where = [f"folder = {quoted(_written(folder, base))}"]
    else:
        _require_there(sources)
        if source_format is None:
            raise UsageError(
                "the format of files cannot be detected",
                why=f"formats are {', '.join(sorted(formats.FORMATS))}",
                fix="name it with --format, or give the folder of the dataset",
            )
        formats.named(source_format)
        where = [line for source in sources for line in _remote(source, base)]
    top = [f"title = {quoted(title or _title(sources[0]))}", f"format = {quoted(source_format)}"]
    is_folder = where[0].startswith("folder")
    lines = [*top, *where, _OPTIONAL] if is_folder else [*top, _OPTIONAL, *where]
    text = "\n".join(lines).rstrip("\n") + "\n"
    write_whole(target, text.encode())
    manifests.load(target)
    return text


def _title(source: str) -> str:
    """The name of a folder or file without its extension."""
    path = Path(urlsplit(source).path) if _is_address(source) else Path(source).absolute()
    return path.name if path.is_dir() else path.name.partition(".")[0]


def _is_address(text: str) -> bool:
    return re.match(r"https?://", text) is not None


def _written(path: Path, base: Path) -> str:
    """A path as the manifest names it: from its own folder where it lies below it."""
    path = path.absolute()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _remote(source: str, base: Path) -> list[str]:
    if _is_address(source):
        return ["[[remotes]]", f"url = {quoted(source)}", ""]
    path = Path(source)
    with disk_errors(path):
        if not path.is_file():
            raise NotThere(
                f"{source} is not a file",
                file=path,
                fix="give one folder, or files and addresses" if path.is_dir() else "correct the path",
            )
        size, digests, _ = receipts.hash_file(path, "sha256")
    digest = f"sha256:{digests['sha256']}"
    return ["[[remotes]]", f"url = {quoted(_written(path, base))}", f"bytes = {size:_}", f'digest = "{digest}"', ""]


def _require_there(sources: Sequence[str]) -> None:
    for source in sources:
        path = Path(source)
        with disk_errors(path):
            if not _is_address(source) and not path.exists():
                raise NotThere(f"{source} does not exist", file=path, fix="correct the path")


def quoted(text: str) -> str:
    """A string of TOML."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{text!r} cannot be written into a TOML file", why="it is not UTF-8") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def record(
    path: Path, folder: Path | None = None, *, root: Path | None = None, check: bool = False
) -> tuple[tuple[Recorded, ...], bool]:
    """Fill sizes and SHA-256 digests of a manifest's files, from files of a folder or of the manifest, or from a fetch.

    A digest that is there is compared first. Everything else of the text stays as it is.

    Args:
        path: the manifest.
        folder: has files under the names that they are to be fetched as.
        root: the folder of all datasets, whose receipts tell what was fetched.
        check: write nothing.

    Returns:
        a row for each file, and whether the text changed (or would change).

    Raises:
        HashMismatch: a file is not what the manifest says.
        InvalidManifest: the files are not written as `[[remotes]]` tables.
    """
    manifest = manifests.load(path)
    with disk_errors(path):
        text = read_text(path)
    head, *tables = re.split(r"(?m)^(?=\[\[remotes\]\])", text)
    if len(tables) != len(manifest.remotes):
        raise InvalidManifest(
            "sizes and digests have no place", file=path, place="remotes", fix="write every file as a [[remotes]] table"
        )
    fetched = folders(manifest.name, root)
    rows = []
    for number, remote in enumerate(manifest.remotes):
        known = _known(remote, folder, receipts.read(fetched.receipt(remote.file)))
        if known is None:
            rows.append(Recorded(remote.file, None, None))
            continue
        size, digests = known
        if remote.digest is not None and digests.get(remote.digest.algorithm) != remote.digest.value:
            raise HashMismatch(
                f"{remote.file} is not what the manifest says",
                file=path,
                place=f"remotes[{number}].digest",
                why=f"expected {remote.digest}, found {digests.get(remote.digest.algorithm, digests['sha256'])}",
                state="the manifest was not changed",
                fix="take the right file, or the digest out of the manifest where another file is meant",
            )
        tables[number] = _set(_set(tables[number], "bytes", f"{size:_}"), "digest", f'"sha256:{digests["sha256"]}"')
        rows.append(Recorded(remote.file, size, digests["sha256"]))
    changed = head + "".join(tables)
    if changed != text and not check:
        write_whole(path, changed.encode())
    return tuple(rows), changed != text


def _known(
    remote: Remote, folder: Path | None, receipt: receipts.Receipt | None
) -> tuple[int, Mapping[str, str]] | None:
    """Size and digests of a file that is on this machine, or was fetched to it."""
    algorithm = remote.digest.algorithm if remote.digest else "sha256"
    for path in ([] if folder is None else [folder / remote.file]) + ([remote.path] if remote.path else []):
        with disk_errors(path):
            if path.is_file():
                size, digests, _ = receipts.hash_file(path, algorithm)
                return size, digests
    if receipt is None or folder is not None:
        return None
    checked = dict([receipt.digest.split(":")]) if receipt.digest else {}
    return receipt.bytes, {**checked, "sha256": receipt.sha256}


def _set(table: str, key: str, value: str) -> str:
    """A table of a manifest's text with another value of a key; a new key follows the first line."""
    changed, count = re.subn(
        rf"(?m)^{key} *= *(?:\"[^\"]*\"|[^#\n]*?)(?= *(?:#|$))", lambda _: f"{key} = {value}", table, count=1
    )
    if count:
        return changed
    lines = table.rstrip("\n").split("\n")
    end = next((n for n, line in enumerate(lines) if n and (not line.strip() or line.startswith("["))), len(lines))
    lines.insert(end, f"{key} = {value}")
    return "\n".join(lines) + table[len(table.rstrip("\n")) :]
