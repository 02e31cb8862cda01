"""The options of a fetch, as one object on their way through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from segdata.download.access.signin import AskFor
from segdata.download.access.terms import Ask
from segdata.download.http.client import Patience
from segdata.download.progress import Progress, Tell, nobody


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """The options of `segdata.fetch`, which says what each of them means."""

    root: str | Path | None = None
    only: Sequence[str] = ()
    mirror: str | None = None
    from_dir: str | Path | None = None
    offline: bool = False
    repair: bool = False
    accept_license: Sequence[str] = ()
    accept_unverified: bool = False
    accept_new_hash: bool = False
    keep_archives: bool = False
    keep_session: bool = False
    allow_extra: bool = False
    force: bool = False
    ignore_space: bool = False
    lock: bool = True
    jobs: int = 3
    limit_rate: float | None = None
    wait: float = 0.0
    patience: Patience | None = None
    ask_terms: Ask | None = None
    ask_account: AskFor | None = None
    progress: Progress = nobody
    tell: Tell = nobody
    command: str | None = None


class FetchKeywords(TypedDict, total=False):
    """The options of `segdata.fetch` that `segdata.prepare` hands on to it."""

    mirror: str | None
    from_dir: str | Path | None
    offline: bool
    repair: bool
    accept_license: Sequence[str]
    accept_unverified: bool
    accept_new_hash: bool
    keep_archives: bool
    keep_session: bool
    allow_extra: bool
    ignore_space: bool
    jobs: int
    limit_rate: float | None
    patience: Patience | None
    ask_terms: Ask | None
    ask_account: AskFor | None
    progress: Progress
    tell: Tell
    command: str | None
