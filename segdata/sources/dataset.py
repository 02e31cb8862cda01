"""What a conversion reads: a dataset folder or a pack, reduced to the samples that were asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from segdata import formats
from segdata.catalog import label_spaces, manifest
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, NotThere
from segdata.formats.adapting import Adapter
from segdata.formats.contract import Entry, Header, Source
from segdata.formats.shared.folder import file_size, images_not_there, missing_images
from segdata.pack import layout
from segdata.pack.read import Pack, is_pack, open_without
from segdata.pack.verify import damaged_shards
from segdata.sets.filters import Relabel, Step
from segdata.system.files import canonical_json, disk_errors

OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class Input:
    """A source of samples, whatever it is.

    Attributes:
        scanned, pack: the folder's entries or the chosen samples, as long as no step has changed them.
        uncrossed: the same samples with the source's file names, when these have those of another format.
    """

    format: str
    root: Path
    layout: str
    labels: LabelSpace
    splits: Mapping[str, list[int]]
    documents: Sequence[Mapping[str, Any]]
    keys: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    fingerprint: str
    get: Callable[[int, Findings], Sample]
    findings: Findings = field(default_factory=Findings)
    renamed: Sequence[tuple[str, str]] = ()
    scanned: tuple[Source, Sequence[Entry]] | None = None
    pack: Pack | None = None
    uncrossed: Input | None = None

    def __len__(self) -> int:
        return len(self.sizes)


def open_input(
    source: Path,
    name: str | None,
    splits: Sequence[str],
    labels: LabelSpace | None,
    images: layout.Images,
    limit: int | None,
    *,
    needs_images: bool,
    on_error: OnError = "stop",
    lists: Mapping[str, Sequence[str]] | None = None,
) -> Input:
    """Open a pack or a dataset folder, and choose its splits.

    Args:
        lists: split → keys of its samples; such a split takes the place of the folder's own of that name.
    """
    if name == "pack" or (name is None and is_pack(source)):
        return _from_pack(source, splits, limit, on_error)
    findings = Findings()
    name, found = formats.scan(source, name, findings, labels=labels)
    own = {**found.splits, **_listed(found.entries, lists or {}, findings)}
    chosen, members = _choose(len(found.entries), own, splits, limit, source)
    entries = [found.entries[index] for index in chosen]
    missing = missing_images(found.root, entries) if images != "none" or not needs_images else []
    if missing and on_error == "stop":
        raise images_not_there(found.root, entries, missing)
    for place in missing:
        findings.skip(
            InvalidAnnotation("image is not on disk", file=found.root / (entries[place].file or entries[place].key))
        )
    if missing:
        gone = set(missing)
        entries = [entry for place, entry in enumerate(entries) if place not in gone]
        members = without(members, missing)
    return _from_folder(name, found, entries, members, findings)


Labels = str | Path | LabelSpace | LabelMapping | None
"""How categories are asked for: the name of a view or space, a TOML file, or the thing itself."""


def table_of(labels: Labels, source: Path, name: str | None) -> LabelSpace | None:
    """The label space that a folder's numbers have, where `labels` names one of the folder's own format."""
    if labels is None or is_pack(source) or name == "pack":
        return None
    if isinstance(labels, LabelSpace):
        return labels
    if isinstance(labels, str) and labels in label_spaces.spaces():
        own = name or formats.detect(source)
        if own in {item.format for item in map(manifest.shipped, manifest.names()) if item.labels.name == labels}:
            return label_spaces.label_space(labels)
    return None


def relabelling(labels: Labels, source: LabelSpace) -> Relabel:
    """The step that brings a label space to what was asked for.

    Raises:
        NotThere: no view, space or file of that name.
    """
    if isinstance(labels, LabelMapping):
        return Relabel(labels)
    if isinstance(labels, LabelSpace):
        return Relabel(label_spaces.by_name(source, labels))
    if str(labels).endswith(".toml"):
        return Relabel(label_spaces.mapping_from_file(Path(str(labels)), source))
    if labels in label_spaces.spaces():
        return Relabel(label_spaces.by_name(source, label_spaces.label_space(str(labels))))
    try:
        return Relabel(label_spaces.view(source, str(labels)))
    except NotThere as error:
        error.fix = f"name a view, a label space ({', '.join(sorted(label_spaces.spaces()))}), or a TOML file"
        raise


def _listed(entries: Sequence[Entry], lists: Mapping[str, Sequence[str]], findings: Findings) -> dict[str, list[int]]:
    """The listed splits over the samples that are there; names of others are counted."""
    place = {entry.key: index for index, entry in enumerate(entries)}
    splits = {name: [place[key] for key in keys if key in place] for name, keys in lists.items()}
    for name, keys in lists.items():
        for key in keys:
            if key not in place:
                findings.remark("name in a published split list without a file", f"{name}: {key}")
    return {name: members for name, members in splits.items() if members}


def _choose(
    count: int, splits: Mapping[str, Sequence[int]], wanted: Sequence[str], limit: int | None, source: Path
) -> tuple[list[int], dict[str, list[int]]]:
    """Which samples are taken, in order, and the splits over them."""
    for name in wanted:
        if name not in splits:
            raise NotThere(
                f"there is no split {name!r}",
                file=source,
                why=f"splits are {', '.join(map(repr, splits)) or 'none'}",
            )
    chosen = sorted({int(index) for name in wanted for index in splits[name]}) if wanted else list(range(count))
    chosen = chosen[:limit]
    place = {index: position for position, index in enumerate(chosen)}
    return chosen, {
        name: [place[int(index)] for index in members if int(index) in place]
        for name, members in splits.items()
        if not wanted or name in wanted
    }


def _from_folder(
    name: str, found: Source, entries: Sequence[Entry], splits: dict[str, list[int]], findings: Findings
) -> Input:
    module = formats.named(name)
    sizes = [(file_size(found.root, entry.file), entry.annotation_bytes) for entry in entries]
    digest = hashlib.sha256(canonical_json([name, found.labels.as_dict(), splits]))
    for entry, size in zip(entries, sizes, strict=True):
        digest.update(canonical_json([entry.key, entry.file, *size]))
    for file in found.annotation_files:
        with disk_errors(found.root / file), (found.root / file).open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return Input(
        name,
        found.root,
        found.layout,
        found.labels,
        splits,
        found.documents,
        [entry.key for entry in entries],
        sizes,
        digest.hexdigest(),
        lambda index, report: module.load(found, entries[index], report),
        findings,
        scanned=(found, entries),
    )


def _from_pack(source: Path, wanted: Sequence[str], limit: int | None, on_error: OnError) -> Input:
    findings = Findings()
    damaged = damaged_shards(source)
    pack = open_without(source, damaged)
    for number, error in damaged.items():
        if on_error == "stop":
            raise error
        error.place = f"shard {number}" + (f", {error.place}" if error.place else "")
        findings.skip(error, pack.info["shards"][number]["samples"])
    chosen, splits = _choose(
        len(pack), {name: members.tolist() for name, members in pack.splits.items()}, wanted, limit, pack.path
    )
    sizes = [(int(pack.image_bytes(index)), 0) for index in chosen]
    shards = [shard for number, shard in enumerate(pack.info["shards"]) if number not in damaged]
    identity = [shard["annotations"]["sha256"] for shard in shards]
    digest = hashlib.sha256(canonical_json([identity, pack.info["dataset"]["sha256"], chosen, splits]))
    return Input(
        "pack",
        pack.path,
        pack.info["provenance"]["layout"],
        pack.labels,
        splits,
        pack.documents,
        [pack.keys[index] for index in chosen],
        sizes,
        digest.hexdigest(),
        lambda index, report: pack[chosen[index]],
        findings,
        pack=pack.select(chosen),
    )


def changed(data: Input, steps: Sequence[Step]) -> Input:
    """The same samples after some steps."""
    for step in steps:
        data = _after(data, step)
    return data


def _after(data: Input, step: Step) -> Input:
    return replace(
        data,
        scanned=None,
        pack=None,
        labels=step.space(data.labels),
        get=lambda index, findings: step.sample(data.get(index, findings), data.labels, findings),
    )


def crossed(data: Input, to: str) -> Input:
    """The same samples as the writer of another format wants them; what it cannot hold is counted as lost."""
    name = to.removesuffix("-results").replace("-", "_")
    home = f"{name}.adapt_results" if to.endswith("-results") else f"{name}.adapt"
    home = "coco.results" if to == "coco-results" else home
    into = cast(Adapter, import_module(f"segdata.formats.{home}"))
    plan = into.plan(Header(data.labels, data.splits, data.documents), data.keys, data.findings)
    return replace(
        data,
        scanned=None,
        pack=None,
        labels=plan.header.labels,
        splits={name: list(members) for name, members in plan.header.splits.items()},
        documents=plan.header.documents,
        get=lambda index, findings: into.adapt(plan, index, data.get(index, findings), findings),
        uncrossed=data,
        renamed=[pair for pair in zip(plan.keys, data.keys, strict=True) if pair[0] != pair[1]],
    )


def without(splits: Mapping[str, Sequence[int]], left_out: Sequence[int]) -> dict[str, list[int]]:
    """The splits after some samples were left out and the others moved up."""
    if not left_out:
        return {name: list(members) for name, members in splits.items()}

    gone = np.sort(np.asarray(left_out, np.int64))
    dropped = set(left_out)
    return {
        name: [int(index - np.searchsorted(gone, index)) for index in members if index not in dropped]
        for name, members in splits.items()
    }


def origin(source: Path, data: Input) -> str:
    """Where samples came from, as a pack records it."""
    if data.format != "pack":
        return data.format
    return str(layout.read_index(source)["provenance"]["format"])
