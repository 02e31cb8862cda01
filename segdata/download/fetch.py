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
from segdata.download import mirrors as addresses
from segdata.download.access import signin, terms
from segdata.download.archives import extract
from segdata.download.archives import receipt as extracted
from segdata.download.http.client import Patience
from segdata.download.http.partial_file import Source
from segdata.download.http.pool import downloads
from segdata.download.http.repair import mend
from segdata.download.http.target import Wanted, adopt
from segdata.download.options import FetchOptions
from segdata.download.paths import Folders, default_root
from segdata.download.plan import Item, Plan, plan
from segdata.download.progress import Pace, Progress, Tell, nobody
from segdata.download.receipts import Receipt, bad_chunks
from segdata.errors import DiskError, HashMismatch, NetworkError, NotVerifiable, SegdataError, SignInError, Unsafe
from segdata.system.files import disk_errors, sync_folder
from segdata.system.locks import locked


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


def fetch(
    dataset: str | Path,
    *,
    root: Path | None = None,
    only: Sequence[str] = (),
    mirror: str | None = None,
    from_dir: Path | None = None,
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
    found = manifests.find(dataset)
    folders = Folders((options.root or default_root()) / found.name)
    root, only, from_dir = options.root, options.only, options.from_dir
    arguments = [*(["--root", str(root)] if root else []), *(["--only", ",".join(only)] if only else [])]
    command = options.command or shlex.join(["segdata", "fetch", str(dataset), *arguments])
    first = plan(found, folders, only=only, from_dir=from_dir)  # what is wrong with the request is said before waiting
    if all(item.is_done for item in first.items) and not (options.repair or options.force or options.allow_extra):
        return _result(first)
    _check_folders(folders)
    pace = Pace(options.progress, options.tell, options.limit_rate)
    patience = options.patience or Patience()
    with locked(folders.raw, wait=options.wait, by_kernel=options.lock):
        if options.force or options.allow_extra:
            _forget_changed(first, changed=options.force, extra=options.allow_extra)
        todo = plan(found, folders, only=only, from_dir=from_dir)
        if found.terms is not None:
            terms.accept(
                found.terms,
                folders.receipts / ".terms.json",
                accepted=options.accept_license,
                ask=options.ask_terms,
                command=command,
            )
        unverified = todo.unverified
        if unverified and not options.accept_unverified:
            raise NotVerifiable(
                f"nobody publishes a digest of {', '.join(unverified)}",
                why="what arrives cannot be checked; its digest would be recorded and pinned from then on",
                state="nothing was downloaded",
                fix=f"{command} --accept-unverified",
            )
        missing = [item.remote.file for item in todo.items if not item.is_here]
        if options.offline and (missing or options.repair):
            raise NetworkError(
                f"{len(missing)} files are not here, and --offline was given"
                if missing
                else "--repair needs the network, and --offline was given",
                why=", ".join(missing) or None,
                fix=f"{command} without --offline, or with --from-dir DIR",
            )
        if not options.ignore_space:
            _check_space(todo)

        def addressed(todo: Plan, items: Sequence[Item]) -> list[Wanted]:
            return addresses.remote(
                todo,
                items,
                options.mirror,
                options.ask_account,
                patience,
                options.accept_new_hash,
                options.keep_session,
                command,
            )

        unpack = partial(
            _extract,
            folders=folders,
            pace=pace,
            keep=options.keep_archives,
            allow_extra=options.allow_extra,
            force=options.force,
        )
        extra: tuple[str, ...] = ()
        if options.repair:
            _repair(todo, lambda items: addressed(todo, items), patience, pace)
            todo = plan(found, folders, only=only, from_dir=from_dir)
        for item in todo.items:
            if item.is_here and not item.is_done:
                want = addresses.local(item, folders, accept_other=options.accept_new_hash, command=command)
                file = item.remote.file
                placed = folders.raw / item.remote.into / dict(item.remote.rename).get(file, file)
                receipt = _settle(item, want, placed, pace)
                extra += unpack(item, receipt)
        absent = {item.remote.file: item for item in todo.items if not item.is_here}
        downloaded, failures = 0, list[SegdataError]()
        if absent:
            with contextlib.closing(
                downloads(addressed(todo, tuple(absent.values())), patience, pace, options.jobs)
            ) as ending:
                for file, outcome in ending:
                    if isinstance(outcome, SegdataError):
                        failures.append(outcome)
                        if isinstance(outcome, (DiskError, SignInError)):
                            break
                    else:
                        downloaded += outcome.bytes - absent[file].have
                        extra += unpack(absent[file], outcome)
        if failures:
            raise failures[0]
        return replace(_result(plan(found, folders, only=only)), bytes=downloaded, unverified=unverified, extra=extra)


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
        found = extracted.read_receipt(path)
        if found is None:
            continue
        is_changed = changed and not extracted.differences(done.folders.raw, [found]).is_good
        if is_changed or (extra and found.extra):
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
            "the disk has not enough room",
            file=todo.folders.home,
            why=f"{todo.to_download:,} bytes to download and {todo.to_extract:,} to extract, {todo.free:,} are free",
            state="nothing was downloaded",
            fix=f"free {needed - todo.free:,} bytes, choose another --root, or add --ignore-space",
        )


def _repair(todo: Plan, addressed: Callable[[Sequence[Item]], list[Wanted]], patience: Patience, pace: Pace) -> None:
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
            mend(want, item.receipt, bad, patience, pace)


def _settle(item: Item, want: Wanted, placed: Path, pace: Pace) -> Receipt:
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


def _take(path: Path, want: Wanted) -> None:
    """Give a user's file a second name here, or copy it where that cannot be."""
    new = want.part.with_name(want.part.name + ".new")
    with disk_errors(want.target):
        new.unlink(missing_ok=True)
        try:
            os.link(path, new)
        except OSError:
            shutil.copyfile(path, new)
            with new.open("rb") as file:
                os.fsync(file.fileno())
        new.replace(want.target)
        sync_folder(want.target.parent)


def _extract(
    item: Item, receipt: Receipt, *, folders: Folders, pace: Pace, keep: bool, allow_extra: bool, force: bool
) -> tuple[str, ...]:
    """Extract one file, remove the archive unless it is kept, and give the members that were left out."""
    remote, archive = item.remote, folders.archive(item.remote.file)
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
    for remark in done.remarks[:5]:
        pace.tell(f"{remote.file}: {remark}")
    if len(done.remarks) > 5:
        pace.tell(f"{remote.file}: {len(done.remarks) - 5} more remarks, see {folders.members(remote.file)}")
    with disk_errors(archive):
        folders.part(remote.file).with_name(f".{remote.file}.part.state").unlink(missing_ok=True)  # of a killed run
        if not keep:
            archive.unlink(missing_ok=True)
    return tuple(f"{remote.file}/{name}" for name in done.extra)
