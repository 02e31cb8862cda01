"""CamVid: driving frames with label images, in its three common layouts.

    original   root/701_StillsRaw_full/NAME.png  LabeledApproved_full/NAME_L.png (RGB)  label_colors.txt
    SegNet     root/{train,val,test}/NAME.png  {train,val,test}annot/NAME.png (indices 0 … 11)  {train,val,test}.txt
    fast.ai    root/images/NAME.png  labels/NAME_P.png (indices)  codes.txt  valid.txt

The original has no splits of its own: lists beside the folders (SPLIT.txt, a name a line) are used where there are any,
else the usual ones (367 / 101 / 233) for the frames that are there. Void and Unlabelled are categories marked `ignore`,
because the tables list them.

Traps: a few pixels of one official file have colours off the table (they become Void and are kept aside); lists hold
absolute paths (/SegNet/…); label_colors.txt has one or two tabs and sometimes an empty last line; copies store colours
where SegNet's layout has indices; 11, 12 and 32 classes are different label spaces, never guessed from values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core import images, png
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, InvalidImage, NotThere, SegdataError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import lists, palettes, verbatim
from segdata.formats.shared.folder import file_size, image_bytes, names_in, read_bytes, stem, write_file

LAYOUT = (
    "701_StillsRaw_full/ and LabeledApproved_full/, or train/ and trainannot/, "
    "or images/ and labels/ with codes.txt (CamVid)"
)

_STILLS, _LABELED = "701_StillsRaw_full", "LabeledApproved_full"
_SPLITS = ("train", "val", "test")
_COLORS, _CODES, _VALID = "label_colors.txt", "codes.txt", "valid.txt"


# ---------------------------------------------------------------------- entries


@dataclass(frozen=True)
class _Label:
    """An image's label file, "" when it has none."""

    file: str


def detect(root: Path) -> bool:
    """Whether the folder is in one of the three layouts."""
    return bool(root.is_dir() and _layout(root))


def _layout(root: Path) -> str:
    if (root / _LABELED).is_dir() or (root / _STILLS).is_dir():
        return "original"
    if (root / "labels").is_dir() and (root / "images").is_dir() and (root / _CODES).is_file():
        return "fast.ai"
    if any((root / f"{split}annot").is_dir() for split in _SPLITS):
        return "SegNet"
    return ""


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every frame with its label file, and the splits of the layout."""
    layout = _layout(root)
    if not layout:
        raise NotThere("this is no CamVid folder", file=root, why=f"looked for {LAYOUT}")
    texts = {
        name: read_bytes(root, name, "the dataset")
        for name in names_in(root, ".txt")
        if layout == "original" or name in (_COLORS, _CODES, _VALID, *(f"{split}.txt" for split in _SPLITS))
    }
    if layout == "SegNet":
        entries, splits = _segnet(root, texts, findings)
    else:
        folders = (_STILLS, _LABELED, "_L") if layout == "original" else ("images", "labels", "_P")
        entries = _pairs(root, *folders)
        index_of = {entry.key: index for index, entry in enumerate(entries)}
        if layout == "fast.ai":
            splits = _valid(root, texts, index_of, findings)
        else:
            listed = _lists(root, texts, index_of, findings)
            splits = listed or _literature(index_of)
            texts = {name: text for name, text in texts.items() if name == _COLORS or stem(name) in listed}
    files = [entry.data.file for entry in entries if entry.data.file]
    return Source(
        root=root,
        layout=f"CamVid, {layout} layout",
        labels=labels or _space(root, layout, texts, files),
        entries=entries,
        splits=splits,
        documents=[{"format": "camvid", "file": name, **verbatim.from_text(text)} for name, text in texts.items()],
        annotation_files=[*texts, *files],
    )


def _pairs(root: Path, folder: str, labeled: str, suffix: str) -> list[Entry]:
    """Pairs of image and label file by name; a label file is named as its image plus a suffix."""
    image_of = {stem(name): f"{folder}/{name}" for name in names_in(root / folder, ".png", ".jpg")}
    label_of: dict[str, str] = {}
    for name in names_in(root / labeled, ".png"):
        if stem(name).endswith(suffix):
            label_of[stem(name).removesuffix(suffix)] = f"{labeled}/{name}"
    return [
        _entry(root, key, image_of.get(key, ""), label_of.get(key, ""))
        for key in sorted(image_of.keys() | label_of.keys())
    ]


def _entry(root: Path, key: str, image: str, label: str) -> Entry:
    return Entry(key, image, file_size(root, label), _Label(label))


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


def _lists(
    root: Path, texts: Mapping[str, bytes], index_of: Mapping[str, int], findings: Findings
) -> dict[str, list[int]]:
    """Splits by text files that name one image a line; the original has none, converted datasets have."""
    splits: dict[str, list[int]] = {}
    for name, text in texts.items():
        is_list = any(lists.name_in(line, index_of) for line in lists.lines_of(text))
        if name != _COLORS and (is_list or (stem(name) in _SPLITS and not text.strip())):
            splits[stem(name)] = lists.members(root / name, text, index_of, findings)
    return splits if any(splits.values()) else {}


def _valid(
    root: Path, texts: Mapping[str, bytes], index_of: Mapping[str, int], findings: Findings
) -> dict[str, list[int]]:
    """fast.ai: `valid.txt` names the validation images, all others are for training."""
    valid = lists.members(root / _VALID, texts.get(_VALID, b""), index_of, findings)
    train = sorted(set(index_of.values()).difference(valid))
    return {"train": train, **({"valid": valid} if valid else {})}


def _segnet(root: Path, texts: Mapping[str, bytes], findings: Findings) -> tuple[list[Entry], dict[str, list[int]]]:
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    seen: dict[str, str] = {}
    for split in _SPLITS:
        first = len(entries)
        entries += _pairs(root, split, f"{split}annot", "")
        index_of = {entry.key: index for index, entry in enumerate(entries[first:], first)}
        members = list(index_of.values())
        if f"{split}.txt" in texts:
            members = lists.members(root / f"{split}.txt", texts[f"{split}.txt"], index_of, findings)
        for index in members:
            key = entries[index].key
            if key in seen and {seen[key], split} == {"train", "val"}:
                findings.skip(
                    InvalidAnnotation(
                        "an image is in both train and val",
                        file=root,
                        key=key,
                        fix="remove it from one of the two lists",
                    )
                )
            seen[key] = split
        if members:
            splits[split] = members
    return entries, splits


# ---------------------------------------------------------------------- label spaces


def _space(root: Path, layout: str, texts: Mapping[str, bytes], files: Sequence[str]) -> LabelSpace:
    """The label space of the dataset's own table where it has one, else that of its layout."""
    official = manifest.label_space("camvid-32")
    if layout == "fast.ai":
        lines = lists.lines_of(texts[_CODES])
        return _named([(line.strip(), None) for line in lines if line.strip()], official, root / _CODES)
    if _COLORS in texts:
        return _named(_read_colors(texts[_COLORS], root / _COLORS), official, root / _COLORS)
    if layout == "original":
        return official
    for file in files[:1]:
        if _read(root, file).values.ndim == 3:
            return official
    return manifest.label_space("camvid-segnet")


def _named(rows: Sequence[tuple[str, tuple[int, int, int] | None]], official: LabelSpace, path: Path) -> LabelSpace:
    """A label space from a file's rows; what the file does not say comes from the official table."""
    categories = []
    for index, (name, color) in enumerate(rows):
        known = official.index_of_name.get(name)
        base = official[known] if known is not None else Category(name, index)
        categories.append(Category(name, index, color or base.color, isthing=base.isthing, ignore=base.ignore))
    is_official = set(official.index_of_name) <= {category.name for category in categories}
    try:
        return LabelSpace("camvid-32" if is_official else "custom", tuple(categories))
    except SegdataError as error:
        raise error.located(file=path) from error


def _read_colors(content: bytes, path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    rows = []
    for number, line in enumerate(lists.lines_of(content), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) < 4 or not all(word.isdecimal() and int(word) < 256 for word in words[:3]):
            raise InvalidAnnotation(
                "a row of the colour table is not valid",
                file=path,
                place=f"line {number}",
                why=f"expected R G B and a name, found {line!r}",
            )
        rows.append((" ".join(words[3:]), (int(words[0]), int(words[1]), int(words[2]))))
    return rows


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One frame with its label map."""
    root, labels, file = source.root, source.labels, entry.data.file
    residue: dict[str, Any] = {}
    semantic = None
    if file:
        raw = _read(root, file)
        residue = {"label": file, "mode": raw.mode}
        if raw.values.ndim == 3:
            if not file.startswith(_LABELED):
                findings.remark("labels are colours, where this layout has indices", entry.key)
            semantic, off_table = _by_color(raw.values, labels, root / file, entry.key)
            if off_table:
                findings.remark("pixels with colours off the table, taken as void", entry.key, len(off_table))
                residue["off_table"] = off_table
            if raw.mode == "RGBA" and np.any(raw.values[:, :, 3] != 255):
                residue["opacity"] = verbatim.from_array(raw.values[:, :, 3])
        else:
            residue.update(verbatim.palette_of(raw))
            colors = {index: item.color for index, item in enumerate(labels.categories) if item.color is not None}
            pixels = palettes.repainted(raw, colors) if raw.mode == "P" else None
            if pixels is None:
                semantic = _by_index(raw, labels, root / file, entry.key)
            else:
                findings.remark("palette in an order of its own: categories taken from its colours", entry.key)
                semantic, _ = _by_color(pixels, labels, root / file, entry.key)
                residue["indices"] = verbatim.from_array(raw.values)
    if semantic is not None:
        size = (semantic.shape[0], semantic.shape[1])
    elif entry.file:
        try:
            header = images.probe(image_bytes(source, entry))
        except SegdataError as error:
            raise error.located(file=root / entry.file, key=entry.key) from error
        size = (header.height, header.width)
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        semantic=semantic,
        extra={"camvid": residue} if residue else None,
    )


def _read(root: Path, file: str) -> png.LabelImage:
    try:
        raw = png.read_labels(read_bytes(root, file, "the dataset"))
    except SegdataError as error:
        raise error.located(file=root / file) from error
    if raw.mode not in ("RGB", "RGBA", "L", "P"):
        raise InvalidImage(
            "label file is of a kind that CamVid does not have", file=root / file, why=f"PNG mode {raw.mode}"
        )
    return raw


def _void(labels: LabelSpace) -> int:
    """The index of the category Void or Unlabelled; the label space's void value where there is none."""
    return next((index for index, category in enumerate(labels.categories) if category.ignore), labels.void)


def _by_color(
    pixels: npt.NDArray[np.uint8], labels: LabelSpace, path: Path, key: str
) -> tuple[npt.NDArray[Any], list[list[int]]]:
    """RGB → indices, and `[row, column, r, g, b]` of every pixel whose colour is not in the table."""
    table = np.full(1 << 24, -1, np.int32)
    for index, category in enumerate(labels.categories):
        if category.color is not None:
            r, g, b = category.color
            table[r << 16 | g << 8 | b] = index
    code = pixels[:, :, :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    indices = table[code]
    off = np.argwhere(indices < 0)
    if len(off) > palettes.OFF_TABLE_LIMIT * indices.size:
        colors, counts = np.unique(code[indices < 0], return_counts=True)
        first = np.argsort(-counts, kind="stable")[:8]
        raise InvalidAnnotation(
            "label file holds too many colours off the table",
            file=path,
            key=key,
            why=f"{len(off)} of {indices.size} pixels ({len(off) / indices.size:.2%}, limit {palettes.OFF_TABLE_LIMIT:.1%}): "
            + ", ".join(
                f"({c >> 16}, {(c >> 8) & 255}, {c & 255}) × {n}"
                for c, n in zip(colors[first].tolist(), counts[first].tolist(), strict=True)
            ),
            fix="use the original PNG (resizing or JPEG changes colours), or give the right table in label_colors.txt",
        )
    semantic = np.where(indices < 0, _void(labels), indices).astype(labels.dtype)
    return semantic, [[*position, *pixels[position[0], position[1], :3].tolist()] for position in off.tolist()]


def _by_index(raw: png.LabelImage, labels: LabelSpace, path: Path, key: str) -> npt.NDArray[Any]:
    values = raw.values
    wrong = (values >= len(labels)) & (values != labels.void)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise InvalidAnnotation(
            "label file holds an index that the label space does not have",
            file=path,
            key=key,
            place=f"pixel row {row}, column {column}",
            why=f"value {int(values[row, column])}; {labels.name!r} has 0 … {len(labels) - 1}",
            fix="name the label space of these files with --labels",
        )
    return values.astype(labels.dtype)


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write frame and label file of every sample."""
    colors = np.zeros((header.labels.void + 1, 3), np.uint8)
    for index, category in enumerate(header.labels.categories):
        colors[index] = category.color or (0, 0, 0)
    keys = []
    for _, sample in samples:
        keys.append(sample.key)
        encoded = sample.encoded
        if encoded is not None:
            write_file(root, sample.file, encoded)
        residue = sample.extra.get("camvid", {})
        if sample.semantic is not None and "label" in residue:
            write_file(root, residue["label"], _label_png(sample.semantic, residue, colors))
    return {"keys": keys}


def _label_png(semantic: npt.NDArray[Any], residue: Mapping[str, Any], colors: npt.NDArray[np.uint8]) -> bytes:
    if residue["mode"] in ("L", "P"):
        stored = residue.get("indices")
        return verbatim.to_png(semantic.astype(np.uint8) if stored is None else verbatim.to_array(stored), residue)
    pixels = colors[semantic]
    for row, column, *color in residue.get("off_table", ()):
        pixels[row, column] = color
    if residue["mode"] == "RGBA":
        alpha = np.full(semantic.shape, 255, np.uint8)
        if "opacity" in residue:
            alpha = verbatim.to_array(residue["opacity"])
        pixels = np.dstack((pixels, alpha))
    return png.encode_png(pixels)


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the tables as they were, and the lists without the names of samples that were not written."""
    written = {key for receipt in receipts for key in receipt["keys"]}
    for document in header.documents:
        if document.get("format") != "camvid":
            continue
        is_list = document["file"] not in (_COLORS, _CODES)
        write_file(root, document["file"], lists.without_absent(document, written) if is_list else lists.text(document))
