"""`prepare`: a dataset by its name → files on disk → a pack; what is done already is not done again.

ROOT/NAME/receipts/.prepared.json    what the pack was made of and how; written last
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import msgspec
from msgspec import Struct, structs

from segdata import formats
from segdata.catalog import manifest as manifests
from segdata.catalog.manifest import Manifest
from segdata.conversion.convert import convert_with
from segdata.conversion.job import ConvertOptions, ConvertReport, Progress
from segdata.core.labels import LabelSpace
from segdata.core.reprs import counted, in_full, line
from segdata.download.archives.receipt import read_receipt
from segdata.download.fetch import Fetched, fetch_with
from segdata.download.options import FetchKeywords, FetchOptions
from segdata.download.paths import Folders, folders
from segdata.download.plan import Plan, plan, require_folder
from segdata.errors import DamagedData, DiskError, InvalidInput, UsageError, close_names
from segdata.formats.contract import ReadOptions
from segdata.pack import layout
from segdata.pack.layout import is_pack
from segdata.pack.read import open_pack
from segdata.sources.dataset import Labels, OnError, images_folders
from segdata.system.files import canonical_json, disk_errors, write_whole
from segdata.system.reading import read_file
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

    def __repr__(self) -> str:
        counts = counted(self.samples, "sample"), counted(self.instances, "object")
        return line(self, repr(str(self.pack)), *counts, "was there" if self.was_done else "")

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


@disk_errors()
def prepare(
    dataset: str | Path,
    *,
    root: str | Path | None = None,
    only: Sequence[str] = (),
    splits: Sequence[str] = (),
    labels: Labels = None,
    images: layout.Images = "embed",
    images_dir: str | Path | Mapping[str, str | Path] | None = None,
    on_error: OnError = "stop",
    decode: bool = False,
    workers: int | None = None,
    force: bool = False,
    clean: bool = False,
    wait: float = 0.0,
    lock: bool = True,
    converting: Progress | None = None,
    **fetching: Unpack[FetchKeywords],
) -> Prepared:
    """Fetch a dataset and convert it to a pack; each step is skipped when its receipt says that it is done.

    The extracted files may be removed afterwards: a pack that was made of everything that was fetched stays done.

    Args:
        dataset: a known name, or the path of a manifest.
        root: the folder of all datasets (default: `$SEGDATA_ROOT`, else the platform's data folder).
        only: parts to fetch; the pack is made of all that was fetched so far.
        splits, labels, images, images_dir, on_error, decode, workers, clean, wait, lock: as in `segdata.convert`.
        force: replace extracted files that were changed, and a pack that was made with other options or is damaged.
        converting: called with (samples done, samples in all).
        fetching: more options of `segdata.fetch`: mirror, from_dir, offline, repair, accept_license,
            accept_unverified, accept_new_hash, keep_archives, keep_session, allow_extra, ignore_space, jobs,
            limit_rate, patience, ask_terms, ask_account, progress, tell, command.

    Raises:
        UsageError: the format cannot be read.
        InvalidInput: the pack that is there was made with other options.
        SegdataError: see `segdata.errors`; what was finished stays, and the same call goes on from there.
        TypeError: there is no option of this name.
    """
    for name in fetching:
        if name not in FetchKeywords.__annotations__:
            raise TypeError(f"prepare() got an unexpected keyword argument {name!r}")
    fetch_options = FetchOptions(root=root, only=only, force=force, wait=wait, lock=lock, **fetching)
    convert_options = ConvertOptions(
        splits=splits,
        labels=labels,
        images=images,
        on_error=on_error,
        decode=decode,
        workers=workers,
        force=force,
        clean=clean,
        wait=wait,
        lock=lock,
        progress=converting,
        read=ReadOptions(images_dir=images_folders(images_dir)),
    )
    return _prepare(dataset, fetch_options, convert_options)


def _prepare(dataset: str | Path, fetching: FetchOptions, converting: ConvertOptions) -> Prepared:
    manifest = manifests.find(dataset)
    _require_reader(manifest, dataset)
    paths = folders(manifest.name, fetching.root)
    if manifest.folder is not None:
        folder = require_folder(manifest)
        report = _converted(manifest, folder, paths, converting)
        return replace(_prepared(manifest, paths, report, None), was_done=report.was_done)
    recorded: dict[str, Any] = {
        "splits": list(converting.splits),
        "labels": None if converting.labels is None else in_full(converting.labels),
        "images": converting.images,
        "on_error": converting.on_error,
        "decode": converting.decode,
    }
    if converting.read.images_dir:
        recorded["images_dir"] = {split: str(folder) for split, folder in converting.read.images_dir.items()}
    if (
        not (fetching.force or fetching.repair)
        and (done := _done(manifest, paths, fetching.only, recorded)) is not None
    ):
        return done
    if not fetching.ignore_space:
        from_dir = None if fetching.from_dir is None else Path(fetching.from_dir)
        _check_space(plan(manifest, paths, only=fetching.only, from_dir=from_dir), converting.images)
    fetched = fetch_with(dataset, fetching)
    before = _read_receipt(paths)
    is_ours = before is not None and before["options"] == recorded
    force = converting.force or is_ours
    report = _converted(manifest, paths.raw, paths, replace(converting, force=force))
    _write_receipt(paths, recorded)
    return _prepared(manifest, paths, report, fetched)


def _converted(manifest: Manifest, folder: Path, paths: Folders, options: ConvertOptions) -> ConvertReport:
    """The files of a dataset as its pack, with what its manifest says of them."""
    lists = {name: split.names for name, split in manifest.splits.items() if split.names is not None}
    labels = _labels(manifest) if options.labels is None else options.labels
    read = options.read if manifest.max_pixels is None else replace(options.read, max_pixels=manifest.max_pixels)
    chosen = replace(options, source_format=manifest.format, lists=lists, labels=labels, read=read)
    return convert_with(folder / manifest.root, paths.pack, chosen)


def _require_reader(manifest: Manifest, dataset: str | Path) -> None:
    if manifest.format in formats.FORMATS:
        return
    close = close_names(manifest.format.lower(), formats.FORMATS, 1)
    raise UsageError(
        f"{manifest.name} cannot be made a pack: there is no reader for its format {manifest.format!r}",
        why=f"readers are there for {', '.join(sorted(formats.FORMATS))}",
        fix=f'write format = "{close[0]}" in {dataset}'
        if close
        else f"segdata fetch {dataset} brings its files; put them into a known layout, then segdata convert FOLDER PACK"
        + (f" (docs/datasets/{manifest.name}.md shows how)" if manifest.name in manifests.names() else ""),
    )


def _labels(manifest: Manifest) -> LabelSpace | None:
    """The manifest's label space where it is none that is shipped and the dataset's files do not name its categories."""
    labels = manifest.labels
    is_shipped = labels.name in manifests.spaces() and labels == manifests.label_space(labels.name)
    is_new = len(labels) > 0 and not is_shipped
    return labels if is_new and not formats.FORMATS[manifest.format].names_categories else None


def _done(manifest: Manifest, paths: Folders, only: Sequence[str], options: dict[str, Any]) -> Prepared | None:
    """The result of an earlier run, if it was made of all that is wanted, with these options.

    Raises:
        InvalidInput: there is a pack with other options.
        DamagedData: the pack is not what was written.
    """
    chosen = set(only) or {part for part, is_default in manifest.parts.items() if is_default}
    before = _read_receipt(paths)
    if before is None or not is_pack(paths.pack):
        return None
    if before["options"] != options:
        differing = [name for name in options | before["options"] if options.get(name) != before["options"].get(name)]
        raise InvalidInput(
            f"{manifest.name} was prepared with other options",
            file=paths.pack,
            why="; ".join(
                f"{name}: {before['options'].get(name)!r} then, {options.get(name)!r} now" for name in differing
            ),
            fix="add --force to make the pack anew, or use `segdata convert` for a second one",
        )
    wanted = {f"{remote.file}.members.json" for remote in manifest.remotes if remote.part in chosen}
    sources = _sources(paths)
    if before["sources"] != sources or not wanted <= sources.keys() or before["segdata"] != __version__:
        return None
    index = layout.read_index(paths.pack)
    if index["provenance"]["fingerprint"] != before["fingerprint"]:
        return None
    try:
        open_pack(paths.pack)
    except DamagedData as error:
        error.fix = f"segdata prepare {manifest.name} --force makes it anew"
        raise
    return _prepared(manifest, paths, ConvertReport.of_pack(index, manifest.format, paths.pack), None)


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
            "the disk has not enough free space",
            file=todo.folders.home,
            why=f"{todo.to_download:,} bytes to download, {todo.to_extract:,} to extract and {converted:,} to convert, "
            f"{todo.free:,} are free",
            state="nothing was downloaded",
            fix=f"free {needed - todo.free:,} bytes, choose another --root, or add --ignore-space",
        )


def _prepared(manifest: Manifest, paths: Folders, report: ConvertReport, fetched: Fetched | None) -> Prepared:
    return Prepared(
        name=manifest.name,
        pack=paths.pack,
        samples=report.samples,
        instances=report.instances,
        splits=report.splits,
        problems=report.problems,
        fetched=fetched,
        was_done=fetched is None,
    )


def _write_receipt(paths: Folders, recorded: Mapping[str, Any]) -> None:
    index = layout.read_index(paths.pack)
    document = {
        "options": recorded,
        "sources": _sources(paths),
        "fingerprint": index["provenance"]["fingerprint"],
        "segdata": __version__,
    }
    write_whole(paths.receipts / ".prepared.json", canonical_json(document))


def _read_receipt(paths: Folders) -> dict[str, Any] | None:
    try:
        return structs.asdict(msgspec.json.decode(read_file(paths.receipts / ".prepared.json"), type=_Receipt))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None


class _Receipt(Struct):
    options: dict[str, Any]
    sources: dict[str, str]
    fingerprint: str
    segdata: str


def _sources(paths: Folders) -> dict[str, str]:
    """The receipts of all extractions, by their content."""
    with disk_errors(paths.receipts):
        return {
            path.name: hashlib.sha256(read_file(path)).hexdigest()
            for path in sorted(paths.receipts.glob("*.members.json"))
        }
