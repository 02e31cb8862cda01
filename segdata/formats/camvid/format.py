"""CamVid: driving frames with label images, in its three common layouts, and its relatives.

    original   root/701_StillsRaw_full/NAME.png  LabeledApproved_full/NAME_L.png (RGB)  label_colors.txt
    SegNet     root/{train,val,test}/NAME.png  {train,val,test}annot/NAME.png (indices 0 … 11)  {train,val,test}.txt
    fast.ai    root/images/NAME.png  labels/NAME_P.png (indices)  codes.txt  valid.txt

`folders.py` has the others: any SPLIT and SPLITannot, Kaggle's SPLIT and SPLIT_labels with class_dict.csv, Roboflow's
NAME_mask.png beside NAME.jpg, and images beside masks.

The original has no splits of its own: lists beside the folders (SPLIT.txt, a name a line) are used where there are any,
else the usual ones (367 / 101 / 233) for the frames that are there. A table beside the label files says what they mean;
CamVid's own is assumed where there is none and nothing speaks against it. Void and Unlabelled are categories marked
`ignore` where the table is CamVid's.

Traps: a few pixels of one official file have colours off the table (they become Void and are kept aside); lists hold
absolute paths (/SegNet/…); label_colors.txt has one or two tabs and sometimes an empty last line; copies store colours
where SegNet's layout has indices; 11, 12 and 32 classes are different label spaces, never guessed from values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import NotThere
from segdata.formats.camvid import folders, label_files, spaces
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import label_tables, lists, pairs, verbatim
from segdata.formats.shared.folder import image_bytes, image_size, names_in, read_bytes, stem, write_file, write_image

LAYOUT = (
    "701_StillsRaw_full/ and LabeledApproved_full/, or train/ and trainannot/ or train_labels/, "
    "or images/ and labels/ or masks/ (CamVid and other label maps)"
)

_VALID = "valid.txt"


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder is in one of the layouts."""
    return root.is_dir() and folders.find(root) is not None


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every frame with its label file, and the splits of the layout."""
    layout = folders.find(root)
    if layout is None:
        raise NotThere("this is no CamVid folder", file=root, why=f"looked for {LAYOUT}")
    texts = {
        name: read_bytes(root, name, "the dataset")
        for name in names_in(root, ".txt")
        if name.lower() not in label_tables.FILES and _may_be_list(name, layout)
    }
    if all(pair.split for pair in layout.pairs):
        entries, splits = _by_pairs(root, layout, texts, options, findings)
    else:
        entries = pairs.entries_of(root, layout.pairs[0], options, findings)
        index_of = {entry.key: index for index, entry in enumerate(entries)}
        listed = {} if _VALID in texts else lists.splits(root, texts, index_of, findings)
        if listed or layout.name == "original":
            splits = listed or _literature(index_of)
            texts = {name: text for name, text in texts.items() if stem(name) in listed}
        elif layout.name == "fast.ai" or _VALID in texts:
            splits = _valid(root, texts, index_of, findings)
            texts = {name: text for name, text in texts.items() if name == _VALID}
        else:
            splits, texts = {"all": list(range(len(entries)))}, {}
    if (error := folders.no_labels(root, layout, entries)) is not None:
        raise error
    pairs.remark_missing(pairs.NO_LABELS, entries, splits, lambda entry: bool(entry.data.file), findings)
    of_pairs = [part for pair in layout.pairs for part in (pair.images if pair.split else "", pair.labels)]
    beside = list(dict.fromkeys(["", *(part.rpartition("/")[0] for part in of_pairs), *of_pairs]))
    table = label_tables.in_folder(root, beside) if labels is None else label_tables.beside(root, beside, findings)
    given = spaces.Given(root, layout.name, entries, table, labels, options.classes_from_data)
    space, reading = spaces.decide(given, findings)
    if table is not None:
        for name in (table.file, *table.others):
            texts[name] = read_bytes(root, name, "the dataset")
    return Source(
        root=root,
        layout=f"CamVid, {layout.name} layout",
        labels=space,
        entries=entries,
        splits=splits,
        documents=[
            {"format": "camvid", "file": name, **verbatim.from_text(text)} for name, text in sorted(texts.items())
        ],
        annotation_files=[*sorted(texts), *(entry.data.file for entry in entries if entry.data.file)],
        data=reading,
    )


def _may_be_list(name: str, layout: folders.Layout) -> bool:
    """Whether a text file beside the folders may list images."""
    splits = {pair.split for pair in layout.pairs if pair.split}
    if splits:
        return stem(name) in splits
    return layout.name == "original" or name == _VALID or stem(name).lower() in lists.SPLITS


def _literature(index_of: Mapping[str, int]) -> dict[str, list[int]]:
    """The usual splits (from the manifest) of the frames on disk; other frames are the split "other", or "all"."""
    splits: dict[str, list[int]] = {}
    listed: set[int] = set()
    for name, split in manifest.shipped("camvid").splits.items():
        members = [index_of[key] for key in split.names or () if key in index_of]
        if members:
            splits[name] = members
            listed.update(members)
    rest = [index for index in index_of.values() if index not in listed]
    if rest:
        splits["other" if splits else "all"] = rest
    return splits


def _valid(
    root: Path, texts: Mapping[str, bytes], index_of: Mapping[str, int], findings: Findings
) -> dict[str, list[int]]:
    """fast.ai: `valid.txt` names the validation images, all others are for training."""
    valid = lists.members(root / _VALID, texts.get(_VALID, b""), index_of, findings)
    train = sorted(set(index_of.values()).difference(valid))
    return {"train": train, **({"valid": valid} if valid else {})}


def _by_pairs(
    root: Path, layout: folders.Layout, texts: Mapping[str, bytes], options: ReadOptions, findings: Findings
) -> tuple[list[Entry], dict[str, list[int]]]:
    """Splits by folders, each with its list where there is one."""
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    for pair in layout.pairs:
        first = len(entries)
        entries += pairs.entries_of(root, pair, options, findings)
        index_of = {entry.key: index for index, entry in enumerate(entries[first:], first)}
        members = list(index_of.values())
        name = f"{pair.split}.txt"
        if name in texts:
            members = lists.members(root / name, texts[name], index_of, findings)
            for index in sorted(set(index_of.values()).difference(members)):
                findings.remark(
                    "image of a split's folder that its list does not name: in no split", entries[index].key
                )
        if members:
            splits[pair.split] = members
    return pairs.distinct(root, entries, splits, findings), splits


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One frame with its label map."""
    root, file = source.root, entry.data.file
    semantic = None
    residue: dict[str, Any] = {}
    if file:
        reading = source.data
        raw, data = label_files.read(root, file)
        if reading.has_values and raw.values.ndim == 3:
            findings.remark("labels are colours, where this layout has indices", entry.key)
        is_binary = reading.is_binary
        semantic, stored = label_files.decode(raw, source.labels, root / file, entry.key, findings, is_binary=is_binary)
        residue = {"label": file, **stored}
        if raw.codec != "png":
            residue["bytes"] = verbatim.from_bytes(data)
    if semantic is not None:
        size = (semantic.shape[0], semantic.shape[1])
    elif entry.file:
        size = image_size(source, entry)
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        semantic=semantic,
        extra={"camvid": residue} if residue else None,
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write frame and label file of every sample."""
    keys = []
    for _, sample in samples:
        keys.append(sample.key)
        write_image(root, sample)
        residue = sample.extra.get("camvid", {})
        if sample.semantic is not None and "label" in residue:
            write_file(root, residue["label"], label_files.encode(sample.semantic, residue, header.labels))
    return {"keys": keys}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the tables as they were, and the lists without the names of samples that were not written."""
    written = {name for receipt in receipts for key in receipt["keys"] for name in (key, key.rpartition("/")[2])}
    for document in header.documents:
        if document.get("format") != "camvid":
            continue
        is_list = document["file"].rpartition("/")[2].lower() not in label_tables.FILES
        write_file(root, document["file"], lists.without_absent(document, written) if is_list else lists.text(document))
