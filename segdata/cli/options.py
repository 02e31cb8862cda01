"""Options that several commands share: of fetching, of reading, of PyTorch."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from segdata.cli import choices, output
from segdata.errors import UsageError, number_of

Dataset = typer.Argument(
    ..., help="A known dataset (segdata list), or the path of a manifest.", autocompletion=choices.datasets
)
Root = typer.Option(None, "--root", envvar="SEGDATA_ROOT", metavar="DIR", help="The folder of all datasets.")
Only = typer.Option([], "--only", metavar="PARTS", help="Parts, separated by commas (default: the usual ones).")
Mirror = typer.Option(
    None, "--mirror", metavar="URL", help="An address that has the files under their own names; tried first."
)
FromDir = typer.Option(
    None,
    "--from-dir",
    exists=True,
    file_okay=False,
    metavar="DIR",
    help="A folder with archives that you have; verified, linked or copied.",
)
SourceFormat = typer.Option(
    None,
    "--from",
    metavar="FORMAT",
    help="A folder's format (default: by its layout): {formats}.",
    autocompletion=choices.sources,
)
Splits = typer.Option(
    [], "--split", metavar="NAME", help="Only this split; can be repeated.", autocompletion=choices.splits
)
Labels = typer.Option(
    None,
    "--labels",
    metavar="VIEW|FILE",
    help="Map categories: a view (cityscapes-19), a label space (voc), or a TOML file.",
    autocompletion=choices.views,
)
ImagesDir = typer.Option(
    [], "--images-dir", metavar="[SPLIT=]DIR", help="Where the images are, if not in the dataset; can be repeated."
)
Where = typer.Option(
    None,
    "--where",
    metavar="QUERY",
    help="Only images of the pack that a query means: \"any(category == 'dog' and area > 96**2)\".",
)
AllowHttp = typer.Option(
    False, "--allow-http", help="Allow addresses (http://, S3 endpoints) whose connections are not encrypted."
)
Repair = typer.Option(False, "--repair", help="Check kept archives and fetch their rotten chunks again.")
Offline = typer.Option(False, "--offline", help="Never open a connection.")
AcceptLicense = typer.Option([], "--accept-license", metavar="ID", help="Terms that you accept.")
AcceptUnverified = typer.Option(
    False, "--accept-unverified", help="Take files that nobody publishes a digest of, and pin them from then on."
)
AcceptNewHash = typer.Option(
    False, "--accept-new-hash", help="Take complete files that differ from the manifest; this is recorded."
)
KeepArchives = typer.Option(False, "--keep-archives", help="Keep archives after they were extracted.")
KeepSession = typer.Option(
    False, "--keep-session", help="Keep the session of a site that needs an account, readable by you alone, for a day."
)
AllowExtra = typer.Option(False, "--allow-extra", help="Also extract members that the manifest does not expect.")
IgnoreSpace = typer.Option(False, "--ignore-space", help="Go on although the disk looks too small.")
NoLock = typer.Option(False, "--no-lock", help="For file systems without locks: a file alone is the lock.")
Jobs = typer.Option(3, "--jobs", "-j", min=1, max=32, metavar="N", help="Files downloaded at once.")
LimitRate = typer.Option(None, "--limit-rate", metavar="RATE", help="Bytes a second in all, such as 500K or 20M.")
Device = typer.Option(
    None,
    "--device",
    metavar="cpu|cuda",
    help="cpu or cuda (default: a GPU where there is one).",
    autocompletion=choices.devices,
)
Threads = typer.Option(None, "--threads", min=1, metavar="N", help="CPU threads of PyTorch.")
Wait = typer.Option(
    0.0, "--wait", min=0, metavar="SECONDS", help="Seconds to wait for another process at the same dataset."
)
Timeout = typer.Option(
    60.0, "--timeout", min=0.1, metavar="SECONDS", help="Seconds of silence after which a connection is given up."
)
Retries = typer.Option(5, "--retries", min=1, max=100, metavar="N", help="Attempts at an address without progress.")
RetryWait = typer.Option(
    1.0, "--retry-wait", min=0, max=600, metavar="SECONDS", help="Seconds before the second attempt; then they double."
)


def by_split(folders: Sequence[str]) -> dict[str, str] | None:
    """[SPLIT=]DIR → split → folder; "" stands for all splits; None where there are none."""
    pairs = [(text, "") if Path(text).is_dir() else text.partition("=")[::2] for text in folders]
    return {split if folder else "": folder or split for split, folder in pairs} or None


def at(path: Path, *, allow_http: bool, cache: Path | None = None) -> Path:
    """A path, or an address where it is written as one."""
    from segdata.places.address import is_address, place

    return place(path, cache=cache, allow_http=allow_http) if is_address(path) else path


def command() -> str:
    """What was typed, for errors that tell what to type next."""
    return shlex.join(["segdata", *sys.argv[1:]])


def left_out(members: Sequence[str]) -> None:
    """A remark about members that were not extracted."""
    if members:
        more = f" and {len(members) - 5} more" if len(members) > 5 else ""
        output.remark(
            f"note: {number_of(len(members), 'member')} left out that the manifest does not expect "
            f"({', '.join(members[:5])}{more}); --allow-extra extracts them"
        )


def numbers_of_splits(text: str, option: str) -> dict[str, float]:
    """ "train=0.8,val=0.2" → split → number, in the order of the text; a percent sign does not count.

    Raises:
        UsageError: no such text, or a number that is not above 0.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        numbers = {name.strip(): float(value.strip().removesuffix("%")) for name, _, value in pairs}
    except ValueError:
        numbers = {}
    if len(numbers) < len(pairs) or "" in numbers or not min(numbers.values(), default=0) > 0:
        raise UsageError(f"{option} is not valid", why=f"found {text!r}", fix=f"write {option} train=0.8,val=0.2")
    return numbers


def parts(only: Sequence[str]) -> list[str]:
    """The parts that were asked for."""
    return [name for text in only for name in text.split(",") if name]


def patience(timeout: float, retries: int, retry_wait: float) -> Any:
    """How long to wait for what."""
    from segdata.download.http.client import Patience

    return Patience(timeout=timeout, retries=retries, first_wait=retry_wait)


def rate(text: str | None) -> float | None:
    """Bytes a second of a text such as 500K."""
    rate = None if text is None else _bytes_of(text)
    if rate is None or rate > 0:
        return rate
    raise UsageError(f"{text!r} is no rate", fix="write bytes a second, such as 500K, 20M or 1G")


def size(text: str | None) -> int | None:
    """Bytes of a text such as 200G."""
    size = None if text is None else _bytes_of(text)
    if size is None or size >= 0:
        return None if size is None else int(size)
    raise UsageError(f"{text!r} is no size", fix="write bytes, such as 500M, 200G or 2T")


def _bytes_of(text: str) -> float:
    """Bytes of a number with K, M, G or T behind it, or with none of them; -1 of any other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text, re.IGNORECASE)
    return float(match[1]) * 1024.0 ** " KMGT".index(match[2].upper() or " ") if match else -1.0
