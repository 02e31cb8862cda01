"""fetch(): plan, ask what has to be asked, download over threads, extract each file as it arrives."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from segdata.catalog import manifest as manifests
from segdata.catalog.manifest import Manifest
from segdata.core.reprs import counted, line
from segdata.download import mirrors
from segdata.download.access import signin, terms
from segdata.download.archives import extract
from segdata.download.archives import receipt as extracted
from segdata.download.http.client import Patience
from segdata.download.http.partial_file import Source
from segdata.download.http.repair import repair_chunks
from segdata.download.http.target import Target, adopt
from segdata.download.http.transfer import downloads
from segdata.download.options import FetchOptions
from segdata.download.paths import Folders
from segdata.download.paths import folders as folders_of
from segdata.download.plan import Item, Plan, plan
from segdata.download.progress import Pace, Progress, Tell, nobody
from segdata.download.receipts import Receipt, bad_chunks
from segdata.errors import (
    DiskError,
    HashMismatch,
    NetworkError,
    NotVerifiable,
    SegdataError,
    SignInError,
    Unsafe,
    number_of,
)
from segdata.system.files import disk_errors, locked, sync_folder
from segdata.system.reading import open_file


@dataclass(frozen=True)
class Fetched:
    """What a fetch did.

    Attributes:
        name: the dataset.
        folder: of the extracted files.
        files: receipts of all files of the chosen parts, in the manifest's order.
        unverified: files without a published digest that this run accepted; they are pinned from now on.
        bytes: downloaded by this run.
        extra: members that the manifest does not expect, which this run left out, as ARCHIVE/MEMBER.
    """

    name: str
    folder: Path
    files: tuple[Receipt, ...]
    unverified: tuple[str, ...]
    bytes: int
    extra: tuple[str, ...] = ()

    def __repr__(self) -> str:
        come = f"{self.bytes:,} bytes downloaded"
        return line(self, repr(self.name), repr(str(self.folder)), counted(len(self.files), "file"), come)

    def as_dict(self) -> dict[str, Any]:
        """The result for `--json`."""
        rows = [
            {
                **{key: getattr(item, key) for key in ("file", "bytes", "sha256", "url", "fetched")},
                "verified": not item.first_use and item.accepted is None,
                "first_use": item.first_use,
                "accepted": item.accepted,
            }
            for item in self.files
        ]
        return {
            "dataset": self.name,
            "folder": str(self.folder),
            "files": rows,
            "unverified": list(self.unverified),
            "downloaded": self.bytes,
            "extra": list(self.extra),
        }


@disk_errors()
def fetch(
    dataset: str | Path,
    *,
    root: str | Path | None = None,
    only: Sequence[str] = (),
    mirror: str | None = None,
    from_dir: str | Path | None = None,
    offline: bool = False,
    repair: bool = False,
    accept_license: Sequence[str] = (),
    accept_unverified: bool = False,
    accept_new_hash: bool = False,
    keep_archives: bool = False,
    keep_session: bool = False,
    allow_extra: bool = False,
    force: bool = False,
    ignore_space: bool = False,
    lock: bool = True,
    jobs: int = 3,
    limit_rate: float | None = None,
    wait: float = 0.0,
    patience: Patience | None = None,
    ask_terms: terms.Ask | None = None,
    ask_account: signin.AskFor | None = None,
    progress: Progress = nobody,
    tell: Tell = nobody,
    command: str | None = None,
) -> Fetched:
    """Bring a dataset to disk, verified and extracted; what is done already is not done again.

    Args:
        dataset: a known name, or the path of a manifest.
        root: the folder of all datasets (default: `$SEGDATA_ROOT`, else the platform's data folder).
        only: parts; by default those that are not optional.
        mirror: an address that has the files under their own names; tried first, and instead of a site with accounts.
        from_dir: a folder with archives that are there already; they are verified, then hard-linked or copied.
        offline: never open a connection.
        repair: check kept archives chunk by chunk, and fetch rotten chunks again.
        accept_license: ids of terms that are accepted.
        accept_unverified: take files that nobody publishes a digest of; their digest is recorded and pinned.
        accept_new_hash: take complete files that differ from the manifest; who, when and both digests are recorded.
        keep_archives: do not remove archives after extraction.
        keep_session: use the session that the last sign-in left, and leave one, for a day at most.
        allow_extra: also extract members that the manifest does not expect.
        force: replace extracted files that were changed.
        ignore_space: go on although the disk looks too small.
        lock: by the kernel; False only where the file system cannot: then a file beside the data is the lock.
        jobs: files downloaded at once.
        limit_rate: bytes per second, over all files.
        wait: seconds to wait for another process that works on the same dataset.
        ask_terms, ask_account: how to ask a person; None where nobody can answer.
        progress, tell: see `segdata.download.progress`.
        command: what a person typed, for errors that tell what to type next.

    Raises:
        SegdataError: see `segdata.errors`; finished files stay, and the same call goes on from there.
    """
    options = FetchOptions(
        root=root,
        only=only,
        mirror=mirror,
        from_dir=from_dir,
        offline=offline,
        repair=repair,
        accept_license=accept_license,
        accept_unverified=accept_unverified,
        accept_new_hash=accept_new_hash,
        keep_archives=keep_archives,
        keep_session=keep_session,
        allow_extra=allow_extra,
        force=force,
        ignore_space=ignore_space,
        lock=lock,
        jobs=jobs,
        limit_rate=limit_rate,
        wait=wait,
        patience=patience,
        ask_terms=ask_terms,
        ask_account=ask_account,
        progress=progress,
        tell=tell,
        command=command,
    )
    return fetch_with(dataset, options)


def fetch_with(dataset: str | Path, options: FetchOptions) -> Fetched:
    """`fetch` with its options as one object."""
    manifest = manifests.find(dataset)
    folders = folders_of(manifest.name, options.root)
    job = _Fetch(manifest, folders, options, options.command or _command(dataset, options))
    first = job.plan()  # what is wrong with the request is said before waiting
    if manifest.folder is not None:
        return Fetched(manifest.name, manifest.folder, (), (), 0)
    is_done = all(item.is_done for item in first.items) and not _spent(first)
    if is_done and not (options.repair or options.force or options.allow_extra):
        return _result(first)
    _check_folders(folders)
    with locked(folders.raw, wait=options.wait, by_kernel=options.lock):
        if options.force or options.allow_extra:
            _forget_changed(first, changed=options.force, extra=options.allow_extra)
        return job.run()


def _command(dataset: str | Path, options: FetchOptions) -> str:
    """What a person types for the same fetch."""
    root = ["--root", str(options.root)] if options.root else []
    only = ["--only", ",".join(options.only)] if options.only else []
    return shlex.join(["segdata", "fetch", str(dataset), *root, *only])


class _Fetch:
    """One fetch under its lock: what may be done is decided from the plan, then each file is brought and extracted."""

    def __init__(self, manifest: Manifest, folders: Folders, options: FetchOptions, command: str) -> None:
        self.manifest, self.folders, self.options, self.command = manifest, folders, options, command
        self.pace = Pace(options.progress, options.tell, options.limit_rate)
        self.patience = options.patience or Patience()
        self.extra: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """What is missing now."""
        from_dir = None if self.options.from_dir is None else Path(self.options.from_dir)
        return plan(self.manifest, self.folders, only=self.options.only, from_dir=from_dir)

    def run(self) -> Fetched:
        """Everything that the plan says, in order."""
        todo = self.plan()
        self._require_allowed(todo)
        if self.options.repair:
            _repair(todo, lambda items: self._targets(todo, items), self.patience, self.pace)
            unverified, todo = todo.unverified, self.plan()
        else:
            unverified = todo.unverified
        for file in _spent(todo):
            _remove_spent(self.folders, file, keep=self.options.keep_archives)
        self._extract_present(todo)
        downloaded = self._download(todo)
        done = _result(plan(self.manifest, self.folders, only=self.options.only))
        return replace(done, bytes=downloaded, unverified=unverified, extra=self.extra)

    def _require_allowed(self, todo: Plan) -> None:
        """Raise for terms that nobody accepts, files without digest, a missing network, a full disk."""
        options = self.options
        if self.manifest.terms is not None:
            terms.accept(
                self.manifest.terms,
                self.folders.receipts / ".terms.json",
                accepted=options.accept_license,
                ask=options.ask_terms,
                command=self.command,
            )
        if todo.unverified and not options.accept_unverified:
            raise NotVerifiable(
                f"nobody publishes a digest of {', '.join(todo.unverified)}",
                why="what arrives cannot be checked; its digest would be recorded and pinned from then on",
                state="nothing was downloaded",
                fix=f"{self.command} --accept-unverified",
            )
        missing = [item.remote.file for item in todo.items if not item.is_here]
        if options.offline and (missing or options.repair):
            raise NetworkError(
                f"{number_of(len(missing), 'file is', 'files are')} not here, and --offline was given"
                if missing
                else "--repair needs the network, and --offline was given",
                why=", ".join(missing) or None,
                fix=f"{self.command} without --offline, or with --from-dir DIR",
            )
        if not options.ignore_space:
            _check_space(todo)

    def _targets(self, todo: Plan, items: Sequence[Item]) -> list[Target]:
        return mirrors.remote(todo, items, self.options, self.patience, command=self.command)

    def _unpack(self, item: Item, receipt: Receipt) -> None:
        self.extra += _extract(
            item,
            receipt,
            folders=self.folders,
            pace=self.pace,
            keep=self.options.keep_archives,
            allow_extra=self.options.allow_extra,
            force=self.options.force,
        )

    def _extract_present(self, todo: Plan) -> None:
        """Check and extract what is on disk already."""
        for item in todo.items:
            if item.is_here and not item.is_done:
                target = mirrors.local(
                    item, self.folders, accept_other=self.options.accept_new_hash, command=self.command
                )
                file = item.remote.file
                placed = self.folders.raw / item.remote.into / dict(item.remote.rename).get(file, file)
                self._unpack(item, _settle(item, target, placed, self.pace))

    def _download(self, todo: Plan) -> int:
        """Download what is missing, each file extracted as it arrives; returns the bytes that came."""
        absent = {item.remote.file: item for item in todo.items if not item.is_here}
        if not absent:
            return 0
        downloaded, failures = 0, list[SegdataError]()
        targets = self._targets(todo, tuple(absent.values()))
        with contextlib.closing(downloads(targets, self.patience, self.pace, self.options.jobs)) as outcomes:
            for file, outcome in outcomes:
                if isinstance(outcome, SegdataError):
                    failures.append(outcome)
                    if isinstance(outcome, (DiskError, SignInError)):
                        break
                else:
                    downloaded += outcome.bytes - absent[file].have
                    self._unpack(absent[file], outcome)
        if failures:
            raise failures[0]
        return downloaded


def _result(done: Plan) -> Fetched:
    files = tuple(item.receipt for item in done.items if item.receipt is not None)
    return Fetched(done.manifest.name, done.folders.raw, files, (), 0)


def _forget_changed(done: Plan, *, changed: bool, extra: bool) -> None:
    """Remove the receipts of extractions that have to be done again.

    Args:
        changed: those whose files are no longer as they were extracted, which is found by reading them.
        extra: those that left members out.
    """
    for item in done.items:
        path = done.folders.members(item.remote.file)
        extraction = extracted.read_receipt(path)
        if extraction is None:
            continue
        is_changed = changed and not extracted.differences(done.folders.raw, [extraction]).is_good
        if is_changed or (extra and extraction.extra):
            with disk_errors(path):
                path.unlink()


def _check_folders(folders: Folders) -> None:
    """Make the dataset's folders, and find out before any download whether they can be written."""
    for folder in (folders.home, folders.raw, folders.archives, folders.receipts):
        if folder.is_symlink():
            raise Unsafe(
                "a dataset's folder is a link; nothing is written through it",
                file=folder,
                fix="choose another place for all datasets with --root DIR or SEGDATA_ROOT",
            )
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass


def _check_space(todo: Plan) -> None:
    needed = todo.to_download + todo.to_extract
    if needed > todo.free:
        raise DiskError(
            "the disk has not enough free space",
            file=todo.folders.home,
            why=f"{todo.to_download:,} bytes to download and {todo.to_extract:,} to extract, {todo.free:,} are free",
            state="nothing was downloaded",
            fix=f"free {needed - todo.free:,} bytes, choose another --root, or add --ignore-space",
        )


def _repair(todo: Plan, addressed: Callable[[Sequence[Item]], list[Target]], patience: Patience, pace: Pace) -> None:
    """Check every kept archive by its chunks, and fetch what is rotten."""
    rotten: dict[str, tuple[Item, list[tuple[int, int]]]] = {}
    for item in todo.items:
        path = todo.folders.archive(item.remote.file)
        if item.receipt is None or not path.is_file():
            continue
        bad = bad_chunks(path, item.receipt, partial(pace.progress, f"checking {item.remote.file}"))
        if bad or path.stat().st_size != item.receipt.bytes:
            rotten[item.remote.file] = item, bad
    if not rotten:
        pace.tell("no archive is damaged")
        return
    for want in addressed([item for item, _ in rotten.values()]):
        item, bad = rotten[want.file]
        if item.receipt is not None:
            repair_chunks(want, item.receipt, bad, patience, pace)


def _settle(item: Item, want: Target, placed: Path, pace: Pace) -> Receipt:
    """The receipt of a file that is on disk: it has one, or it is checked now, and taken over from the user's folder.

    Args:
        placed: where the file lies when it is no archive and was put in its place already.
    """
    if item.state == "downloaded" and item.receipt is not None:
        return item.receipt
    path = item.link or (want.target if want.target.is_file() else placed)
    pace.tell(f"{want.file}: checking {path}")
    known = item.receipt and Source(item.receipt.url, item.receipt.etag, item.receipt.last_modified)
    try:
        receipt = adopt(want, path, known or Source("from-dir" if item.link else "found"), pace)
    except HashMismatch as error:
        if item.link is None and (item.receipt is None or item.receipt.is_doubtful):
            with disk_errors(path):
                path.replace(want.bad)
            error.state = f"kept as {want.bad}; the next run downloads it again"
        raise
    if item.link is not None:
        _take(item.link, want)
    receipt.write(want.receipt)
    return receipt


def _take(path: Path, want: Target) -> None:
    """Give a user's file a second name here, or copy it where that cannot be."""
    new = want.part.with_name(want.part.name + ".new")
    with disk_errors(want.target):
        new.unlink(missing_ok=True)
        try:
            os.link(path, new)
        except OSError:
            shutil.copyfile(path, new)
            with open_file(new) as file:
                os.fsync(file.fileno())
        new.replace(want.target)
        sync_folder(want.target.parent)


def _extract(
    item: Item, receipt: Receipt, *, folders: Folders, pace: Pace, keep: bool, allow_extra: bool, force: bool
) -> tuple[str, ...]:
    """Extract one file, remove the archive unless it is kept, and give the members that were left out."""
    remote, archive = item.remote, folders.archive(item.remote.file)
    with disk_errors(archive):
        folders.part(remote.file).with_name(f".{remote.file}.part.state").unlink(missing_ok=True)  # of a killed run
        if not keep:
            folders.spent(remote.file).touch()
    try:
        done = extract.extract(
            archive,
            folders.raw,
            receipt=folders.members(remote.file),
            kind=remote.archive,
            digest=f"sha256:{receipt.sha256}",
            prefix="" if str(remote.into) == "." else str(remote.into),
            contains=remote.contains,
            rename=dict(remote.rename),
            archive_bytes=receipt.bytes,
            extracted_bytes=remote.extracted,
            allow_extra=allow_extra,
            force=force,
            may_take=not keep,
            progress=lambda done, total: pace.progress(f"extracting {remote.file}", done, total),
        )
    except SegdataError:
        folders.spent(remote.file).unlink(missing_ok=True)
        raise
    for remark in done.remarks[:5]:
        pace.tell(f"{remote.file}: {remark}")
    if len(done.remarks) > 5:
        pace.tell(
            f"{remote.file}: {number_of(len(done.remarks) - 5, 'more remark')}, see {folders.members(remote.file)}"
        )
    _remove_spent(folders, remote.file, keep=keep)
    return tuple(f"{remote.file}/{name}" for name in done.extra)


def _spent(todo: Plan) -> list[str]:
    """Archives that are extracted, and that a killed run was about to remove."""
    return [item.remote.file for item in todo.items if item.is_done and todo.folders.spent(item.remote.file).exists()]


def _remove_spent(folders: Folders, file: str, *, keep: bool) -> None:
    with disk_errors(folders.archive(file)):
        if not keep:
            folders.archive(file).unlink(missing_ok=True)
        folders.spent(file).unlink(missing_ok=True)
