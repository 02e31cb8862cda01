"""Repair a pack that was made of packs: damaged files are linked again from a pack that has them intact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdata.errors import DamagedData
from segdata.pack import layout
from segdata.pack.verify import damaged_files
from segdata.pack.write import UNFINISHED, move_finished
from segdata.system.files import disk_errors, locked, remove_tree
from segdata.system.links import link_or_copy
from segdata.system.reading import open_file


def relink(pack: Path, source: Path, index: Mapping[str, Any], *, wait: float = 0.0) -> list[str]:
    """Link the damaged files of a pack again; returns their names.

    Args:
        source: a pack that has files of the same SHA-256: one that it was made of, or that was made of the same.
        index: of the pack to repair.
        wait: seconds to wait for another process that works on it.

    Raises:
        DamagedData: the source does not have all of them intact; those that it has are linked.
    """
    with locked(pack, wait=wait):
        damaged = damaged_files(pack, index)
        there = {entry["sha256"]: source / entry["file"] for entry in layout.shard_files(layout.read_index(source))}
        wanted = {entry["file"]: entry["sha256"] for entry in layout.shard_files(index) if entry["file"] in damaged}
        intact = {name: there[digest] for name, digest in wanted.items() if _is_intact(there.get(digest), digest)}
        work = pack / f"{UNFINISHED[0]}relink"
        try:
            with disk_errors(work):
                remove_tree(work)
                work.mkdir()
            for name, file in intact.items():
                link_or_copy(file, work / name)
            move_finished(pack, work, [{"files": {name: name for name in intact}}])
        finally:
            remove_tree(work)
    if missing := sorted(wanted.keys() - intact.keys()):
        made = index["provenance"]
        parents = ", ".join(parent["name"] for parent in made["parents"])
        raise DamagedData(
            f"{source} does not have all damaged files of the pack",
            file=pack / missing[0],
            why=f"{len(missing)} of {len(wanted)} are not there, or are damaged there as well: {', '.join(missing[:5])}",
            state="the others are intact",
            fix=f"name another pack that it was made of ({parents}), or type the command that made it again, with "
            f"--force: segdata {made['options'].get('verb')}",
        )
    return sorted(wanted)


def _is_intact(file: Path | None, sha256: str) -> bool:
    if file is None or not file.is_file():
        return False
    with disk_errors(file), open_file(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == sha256
