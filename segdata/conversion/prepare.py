"""`prepare`: a dataset by its name → files on disk → a pack; what is done already is not done again.

ROOT/NAME/receipts/.prepared.json    what the pack was made of and how; written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata import formats
from segdata.catalog import label_spaces
from segdata.catalog import manifest as manifests
from segdata.catalog.manifest import Manifest
from segdata.conversion.convert import convert
from segdata.conversion.job import Progress, Report
from segdata.download.archives.receipt import read_receipt
from segdata.download.fetch import Fetched, fetch
from segdata.download.paths import Folders, folders
from segdata.download.plan import Plan, plan
from segdata.errors import DamagedData, DiskError, InvalidInput, UsageError
from segdata.pack import layout
from segdata.pack.read import is_pack, open_pack
from segdata.sources.dataset import Labels, OnError
from segdata.system.files import canonical_json, disk_errors, write_whole
from segdata.version import __version__


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did.

    Attributes:
        name: the dataset.
        pack: the pack's folder.
        samples, instances: how many there are in the pack.
        splits: name → number of samples.
        problems: what was odd in the source, and what was left out.
        fetched: None when the pack was there already.
        was_done: True when the pack was there already, made of the same files with the same options.
    """

    name: str
    pack: Path
    samples: int
    instances: int
    splits: Mapping[str, int]
    problems: Mapping[str, Any]
    fetched: Fetched | None
    was_done: bool

    @property
    def skipped(self) -> int:
        """Items that were left out of the pack."""
        return sum(item["count"] for item in self.problems["skipped"])

    @property
    def unverified(self) -> tuple[str, ...]:
        """Files without a published digest that this run accepted."""
        return self.fetched.unverified if self.fetched else ()

    def as_dict(self) -> dict[str, Any]:
        """The result for `--json`."""
        return {
            **{key: getattr(self, key) for key in ("name", "samples", "instances", "was_done", "problems")},
            "pack": str(self.pack),
            "splits": dict(self.splits),
            "fetched": self.fetched.as_dict() if self.fetched else None,
        }


def prepare(
    dataset: str | Path,
    *,
    root: Path | None = None,
    only: Sequence[str] = (),
    splits: Sequence[str] = (),
    labels: Labels = None,
    images: layout.Images = "embed",
    on_error: OnError = "stop",
    decode: bool = False,
    workers: int | None = None,
    force: bool = False,
    clean: bool = False,
    wait: float = 0.0,
    lock: bool = True,
    converting: Progress | None = None,
    **fetching: Any,
) -> Prepared:
    """Fetch a dataset and convert it to a pack; each step is skipped when its receipt says that it is done.

    The extracted files may be removed afterwards: a pack that was made of everything that was fetched stays done.

    Args:
        dataset: a known name, or the path of a manifest.
        root: the folder of all datasets (default: `$SEGDATA_ROOT`, else the platform's data folder).
        only: parts to fetch; the pack is made of all that was fetched so far.
        splits, labels, images, on_error, decode, workers, clean, wait, lock: as in `segdata.convert`.
        force: replace extracted files that were changed, and a pack that was made with other options or is damaged.
        converting: called with (samples done, samples in all).
        fetching: more options of `segdata.fetch`.

    Raises:
        UsageError: the format cannot be read.
        InvalidInput: the pack that is there was made with other options.
        SegdataError: see `segdata.errors`; what was finished stays, and the same call goes on from there.
    """
    found = manifests.find(dataset)
    if found.format not in formats.NAMES:
        raise UsageError(
            f"{found.name} cannot be made a pack: there is no reader for its format {found.format!r}",
            why=f"readers are there for {', '.join(sorted(formats.NAMES))}",
            fix=f"segdata fetch {dataset} brings its files; put them into a known layout, then segdata convert FOLDER PACK"
            + (f" (docs/datasets/{found.name}.md shows how)" if found.name in manifests.names() else ""),
        )
    own = folders(found.name, root)
    options = {
        "splits": list(splits),
        "labels": None if labels is None else repr(labels),
        "images": images,
        "on_error": on_error,
        "decode": decode,
    }
    if not (force or fetching.get("repair")) and (done := _done(found, own, only, options)) is not None:
        return done
    if not fetching.get("ignore_space"):
        _check_space(plan(found, own, only=only, from_dir=fetching.get("from_dir")), images)
    fetched = fetch(dataset, root=root, only=only, force=force, wait=wait, lock=lock, **fetching)
    before = _receipt(own)
    is_ours = before is not None and before["options"] == options
    is_new_table = (
        found.labels.name not in label_spaces.spaces() and found.format != "coco"
    )  # COCO's documents name theirs
    table = found.labels if labels is None and is_new_table else labels
    report = convert(
        own.raw / found.root,
        own.pack,
        source_format=found.format,
        splits=splits,
        lists={name: split.names for name, split in found.splits.items() if split.names is not None},
        labels=table,
        images=images,
        on_error=on_error,
        decode=decode,
        workers=workers,
        force=force or is_ours,
        clean=clean,
        wait=wait,
        lock=lock,
        progress=converting,
    )
    index = layout.read_index(own.pack)
    document = {
        "options": options,
        "sources": _sources(own),
        "fingerprint": index["provenance"]["fingerprint"],
        "segdata": __version__,
    }
    write_whole(own.receipts / ".prepared.json", canonical_json(document))
    return _prepared(found, own, report, fetched)


def _done(found: Manifest, own: Folders, only: Sequence[str], options: Mapping[str, Any]) -> Prepared | None:
    """The result of an earlier run, if it was made of all that is wanted, with these options.

    Raises:
        InvalidInput: there is a pack with other options.
        DamagedData: the pack is not what was written.
    """
    chosen = set(only) or {part for part, is_default in found.parts.items() if is_default}
    before = _receipt(own)
    if before is None or not is_pack(own.pack):
        return None
    if before["options"] != options:
        differing = [name for name in options if options[name] != before["options"].get(name)]
        raise InvalidInput(
            f"{found.name} was prepared with other options",
            file=own.pack,
            why="; ".join(f"{name}: {before['options'].get(name)!r} then, {options[name]!r} now" for name in differing),
            fix="add --force to make the pack anew, or use `segdata convert` for a second one",
        )
    wanted = {f"{remote.file}.members.json" for remote in found.remotes if remote.part in chosen}
    sources = _sources(own)
    if before["sources"] != sources or not wanted <= sources.keys() or before["segdata"] != __version__:
        return None
    index = layout.read_index(own.pack)
    if index["provenance"]["fingerprint"] != before["fingerprint"]:
        return None
    try:
        open_pack(own.pack)
    except DamagedData as error:
        error.fix = f"segdata prepare {found.name} --force makes it anew"
        raise
    return _prepared(found, own, Report.of_pack(index, found.format, own.pack), None)


def _check_space(todo: Plan, images: layout.Images) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        DiskError: with the three estimates and the free space.
    """
    converted = 0
    if images == "embed":  # a pack holds the image files as they are, and annotations take no more than they did
        for item in todo.items:
            receipt = read_receipt(todo.folders.members(item.remote.file)) if item.is_done else None
            converted += receipt.bytes if receipt else item.to_extract
    needed = todo.to_download + todo.to_extract + converted
    if needed > todo.free:
        raise DiskError(
            "the disk has not enough room",
            file=todo.folders.home,
            why=f"{todo.to_download:,} bytes to download, {todo.to_extract:,} to extract and {converted:,} to convert, "
            f"{todo.free:,} are free",
            state="nothing was downloaded",
            fix=f"free {needed - todo.free:,} bytes, choose another --root, or add --ignore-space",
        )


def _prepared(found: Manifest, own: Folders, report: Report, fetched: Fetched | None) -> Prepared:
    return Prepared(
        found.name,
        own.pack,
        report.samples,
        report.instances,
        report.splits,
        report.problems,
        fetched,
        was_done=fetched is None,
    )


def _receipt(own: Folders) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads((own.receipts / ".prepared.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return document if {"options", "sources", "fingerprint", "segdata"} <= document.keys() else None


def _sources(own: Folders) -> dict[str, str]:
    """The receipts of all extractions, by their content."""
    with disk_errors(own.receipts):
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(own.receipts.glob("*.members.json"))
        }
