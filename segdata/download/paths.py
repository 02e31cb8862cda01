"""Where a dataset's files lie.

    ROOT/NAME/
        raw/                      extracted files; the format's layout begins at raw/<manifest.root>
        archives/FILE             a finished download, whole and checked; removed after extraction unless it is kept
        archives/FILE.bad         a complete download that is not what the manifest names
        archives/.FILE.part       a download in progress, with its chunk checksums in .FILE.part.state
        archives/.FILE.spent      while FILE is extracted, and then removed: a killed run leaves the removal to the next one
        receipts/FILE.json        written once FILE is whole and checked (segdata/download/receipts.py)
        receipts/FILE.members.json  written once FILE is extracted (segdata/download/archives/extract.py)
        receipts/.terms.json      which terms were accepted, by whom and when
        pack/                     the pack that `segdata prepare` makes
        .raw.lock                 held while fetching

Nothing without its receipt counts. A receipt without its archive is ordinary: the archive was extracted and removed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def root_of(root: str | Path | None = None) -> Path:
    """The folder of all datasets: the given one, else `$SEGDATA_ROOT`, else the platform's data folder.

    A leading `~` is the home folder, as a shell would have it: one in an environment file or in quotes comes unexpanded.
    """
    from platformdirs import user_data_dir

    chosen = str(root) if root else os.environ.get("SEGDATA_ROOT") or user_data_dir("segdata")
    return Path(os.path.expanduser(chosen))  # noqa: PTH111 (leaves an unknown user's folder as it is)


@dataclass(frozen=True)
class Folders:
    """The places of one dataset; `home` is ROOT/NAME."""

    home: Path

    @property
    def raw(self) -> Path:
        """Extracted files."""
        return self.home / "raw"

    @property
    def archives(self) -> Path:
        """Downloads."""
        return self.home / "archives"

    @property
    def pack(self) -> Path:
        """The prepared pack."""
        return self.home / "pack"

    @property
    def receipts(self) -> Path:
        """What is known about finished files."""
        return self.home / "receipts"

    def archive(self, file: str) -> Path:
        """A finished download."""
        return self.archives / file

    def part(self, file: str) -> Path:
        """A download in progress."""
        return self.archives / f".{file}.part"

    def bad(self, file: str) -> Path:
        """A complete download that is not what the manifest names."""
        return self.archives / f"{file}.bad"

    def spent(self, file: str) -> Path:
        """A mark of an archive that is not to be kept."""
        return self.archives / f".{file}.spent"

    def receipt(self, file: str) -> Path:
        """The receipt of a download."""
        return self.receipts / f"{file}.json"

    def members(self, file: str) -> Path:
        """The receipt of an extraction."""
        return self.receipts / f"{file}.members.json"


def folders(name: str, root: str | Path | None = None) -> Folders:
    """Download, archive and receipt paths of a dataset."""
    return Folders(root_of(root) / name)
