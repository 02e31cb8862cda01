"""The datasets that segdata knows by name: how large they are, under which licence, and what of them is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.catalog import manifest as manifests
from segdata.catalog.manifest import Manifest
from segdata.catalog.remotes import Remote
from segdata.core.reprs import line
from segdata.download.archives.receipt import read_receipt
from segdata.download.paths import folders
from segdata.pack import layout
from segdata.pack.layout import is_pack
from segdata.system.files import disk_errors


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """A dataset that can be fetched by its name.

    Attributes:
        name, title, format, homepage, licence, citation: as its manifest says.
        terms: address of the terms that have to be accepted.
        account: host of the site that wants an account.
        download: bytes to download by default, roughly where sizes are not published.
        fetched: files that were fetched and extracted.
        on_disk: bytes of extracted files, kept archives and the pack.
        unverified: files without a published digest.
        folder: where the files lie, for one that is not fetched.
        prepared: the pack's folder.
        samples: in the pack.
        files: part, name, size and digest of every file.
        splits: name → number of samples, where it is published.
        views: other label spaces that its categories can be mapped to, with what they are.
        labels: names of the categories; of a manifest that does not say, those of the pack.
    """

    name: str
    title: str
    format: str
    homepage: str
    licence: str
    terms: str | None
    account: str | None
    citation: str
    download: int
    fetched: list[str]
    on_disk: int
    unverified: list[str]
    folder: str | None
    prepared: str | None
    samples: int | None
    files: list[dict[str, Any]]
    splits: Mapping[str, int | None]
    views: Mapping[str, str]
    labels: list[str]

    def __repr__(self) -> str:
        state = "fetched" if self.fetched else "not fetched" if self.folder is None else f"in {self.folder!r}"
        return line(self, repr(self.name), self.format, f"prepared {self.prepared!r}" if self.prepared else state)

    def as_dict(self) -> dict[str, Any]:
        """The dataset as JSON holds it."""
        return dict(vars(self))


@disk_errors()
def list_datasets(*, root: str | Path | None = None) -> list[KnownDataset]:
    """All datasets that can be fetched and prepared by name, and what of them is on disk.

    Args:
        root: the folder of all datasets (default: `$SEGDATA_ROOT`, else the platform's data folder).
    """
    return [known(manifests.shipped(name), root) for name in manifests.names()]


@disk_errors()
def known(manifest: Manifest, root: str | Path | None = None) -> KnownDataset:
    """What a manifest says, and what of the dataset is on disk."""
    paths = folders(manifest.name, root)
    index = layout.read_index(paths.pack) if is_pack(paths.pack) else None
    receipts = {remote.file: read_receipt(paths.members(remote.file)) for remote in manifest.remotes}
    fetched = {file: receipt for file, receipt in receipts.items() if receipt is not None and paths.raw.is_dir()}
    archives = [paths.archive(remote.file) for remote in manifest.remotes if paths.archive(remote.file).is_file()]
    in_pack = sum(entry["bytes"] for entry in layout.shard_files(index)) if index else 0
    by_default = [remote for remote in manifest.remotes if not remote.is_optional]
    return KnownDataset(
        name=manifest.name,
        title=manifest.title,
        format=manifest.format,
        homepage=manifest.homepage,
        licence=manifest.licence,
        terms=manifest.terms.url if manifest.terms else None,
        account=manifest.signin.host if manifest.signin else None,
        citation=manifest.citation,
        download=sum(remote.bytes or remote.about or 0 for remote in by_default if remote.path is None),
        fetched=list(fetched),
        on_disk=sum(receipt.bytes for receipt in fetched.values())
        + sum(archive.stat().st_size for archive in archives)
        + in_pack,
        unverified=[remote.file for remote in by_default if not remote.is_verifiable],
        folder=None if manifest.folder is None else str(manifest.folder),
        prepared=str(paths.pack) if index else None,
        samples=index["samples"] if index else None,
        files=[_file(remote, is_fetched=remote.file in fetched) for remote in manifest.remotes],
        splits={name: split.count for name, split in manifest.splits.items()},
        views={view.name: view.about for view in manifest.views.values()},
        labels=[category.name for category in manifest.labels.categories]
        or ([category["name"] for category in index["labels"]["categories"]] if index else []),
    )


def _file(remote: Remote, *, is_fetched: bool) -> dict[str, Any]:
    return {
        "part": remote.part,
        "file": remote.file,
        "path": None if remote.path is None else str(remote.path),
        "bytes": remote.bytes,
        "about": remote.about,
        "digest": str(remote.digest) if remote.digest else "by the site" if remote.package else None,
        "default": not remote.is_optional,
        "fetched": is_fetched,
    }
