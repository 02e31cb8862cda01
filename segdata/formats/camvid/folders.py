"""Where a dataset of label maps keeps its images and label files: CamVid's layouts and those of its relatives.

    original      701_StillsRaw_full/NAME.png          LabeledApproved_full/NAME_L.png
    fast.ai       images/NAME.png                      labels/NAME_P.png, codes.txt beside them
    SegNet        SPLIT/NAME.png                       SPLITannot/NAME.png (also what CVAT and datumaro write)
    suffixed      SPLIT/NAME.png                       SPLIT_labels/NAME_L.png (Kaggle), SPLIT_masks/NAME.png, …
    two folders   images[/SPLIT]/NAME.jpg              labels or masks[/SPLIT]/NAME.png
    in splits     SPLIT/images/NAME.jpg                SPLIT/masks/NAME.png
    by words      ANY-Image/NAME.jpg                   ANY-Mask/NAME.png, Part1_GroundTruth/NAME_segmentation.png, …
    side by side  SPLIT/NAME.jpg                       SPLIT/NAME_mask.png, _classes.csv beside them (Roboflow)

Which ending of names tells label files (none, _L, _P, _mask …) is what fits most images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry
from segdata.formats.shared import label_tables, lists, pairs
from segdata.formats.shared.folder import IMAGE_ENDINGS, NAMES_SHOWN, folders_in, has_files, names_in, stem
from segdata.formats.shared.pairs import Pair, rank

CODES, ROBOFLOW = "codes.txt", "_classes.csv"

_STILLS, _LABELED = "701_StillsRaw_full", "LabeledApproved_full"
_IMAGES = ("images", "image", "imgs", "img", "rgb")
_LABELS = ("labels", "label", "masks", "mask", "annotations", "annotation", "gt", "groundtruth", "ground_truth")

_FOLDER_SUFFIXES = ("annot", *(f"{mark}{word}" for mark in "_-" for word in (*_LABELS, "annot")))
_FILE_SUFFIXES = ("", "_L", "_P", "_mask", "_label", "_labels", "_gt", "_seg", "-mask", "_GT", "_Mask", "_labelIds")


@dataclass(frozen=True)
class Layout:
    """One of the layouts above, with its pairs of folders."""

    name: str
    pairs: Sequence[Pair]


def find(root: Path) -> Layout | None:
    """The layout of a folder; None where it has none of them. Files are looked at only where names alone do not tell."""
    folders = folders_in(root)
    if _LABELED in folders or _STILLS in folders:
        return Layout("original", [Pair("", _STILLS, _LABELED, ("_L", *_FILE_SUFFIXES))])
    if {"images", "labels"} <= set(folders) and (root / CODES).is_file():
        return Layout("fast.ai", list(_inside(root, "", "images", "labels")))
    all_pairs = list(_suffixed(root, folders))
    if all_pairs and all(not pair.labels or pair.labels.endswith("annot") for pair in all_pairs):
        return Layout("SegNet", all_pairs)
    if pairs.has_documents(root):
        return None
    if all_pairs:
        return Layout("suffixed", all_pairs)
    all_pairs = list(_two_folders(root, "", folders))
    if all_pairs:
        return Layout("two folders", all_pairs)
    all_pairs = [pair for folder in folders for pair in _two_folders(root, folder, folders_in(root / folder))]
    if all_pairs:
        return Layout("in splits", all_pairs)
    beside = [folder for folder in ("", *folders) if (root / folder / ROBOFLOW).is_file() or _is_paired(root / folder)]
    all_pairs = [Pair(folder, folder, folder, ("_mask",)) for folder in beside if has_files(root / folder, "_mask.png")]
    if all_pairs:
        return Layout("side by side", all_pairs)
    all_pairs = pairs.by_words(root, folders, _FILE_SUFFIXES)
    return Layout("by words", all_pairs) if all_pairs else None


def _is_paired(folder: Path) -> bool:
    """Whether every NAME_mask.png of a folder has its image beside it, and no documents lie there."""
    if not has_files(folder, "_mask.png"):
        return False
    names = names_in(folder, *IMAGE_ENDINGS)
    masked = {name.removesuffix("_mask.png") for name in names if name.endswith("_mask.png")}
    images = {stem(name) for name in names if not name.endswith("_mask.png")}
    return masked <= images and not has_files(folder, ".json", ".xml")


def _suffixed(root: Path, folders: Sequence[str]) -> Iterator[Pair]:
    """SPLIT and SPLITannot, SPLIT_labels …; splits without label files beside them."""
    lower = {folder.lower(): folder for folder in folders}
    label_folders: dict[str, list[str]] = {}
    for folder in folders:
        suffix = next((end for end in _FOLDER_SUFFIXES if folder.lower().endswith(end)), "")
        base = folder[: -len(suffix)] if suffix else ""
        is_pair = base in folders or base.lower() in lower
        is_known = base.lower() in lists.SPLITS
        if (is_pair or is_known) and (suffix == "annot" or has_files(root / folder, *IMAGE_ENDINGS)):
            label_folders.setdefault(lower.get(base.lower(), base), []).append(folder)
    for split, several in label_folders.items():
        if len(several) > 1:
            raise InvalidAnnotation(
                f"two folders hold label files of {split!r}",
                file=root,
                why=" and ".join(several),
                fix="move all but one of them out of the dataset's folder",
            )
    if not label_folders:
        return
    further = [name for name in folders if name.lower() in lists.SPLITS and has_files(root / name, *IMAGE_ENDINGS)]
    for split in sorted({*label_folders, *further}, key=rank):
        labels = label_folders.get(split, [""])[0]
        yield Pair(split, split, labels, _FILE_SUFFIXES)


def _two_folders(root: Path, above: str, folders: Sequence[str]) -> Iterator[Pair]:
    """A folder of images and one of label files under one folder, where there are such."""
    prefix = f"{above}/" if above else ""
    images = [name for name in folders if name.lower() in _IMAGES]
    labels = [name for name in folders if name.lower() in _LABELS and _holds_labels(root / prefix / name)]
    if not images and labels and any((root / name).is_file() for name in label_tables.FILES):
        images = [_IMAGES[0]]  # they lie elsewhere
    if len(images) != 1 or not labels:
        return
    folder = pairs.only_folder(root, above, labels, "label files")
    yield from _inside(root, above, f"{prefix}{images[0]}", f"{prefix}{folder}")


def _holds_labels(folder: Path) -> bool:
    inner = [folder, *(folder / name for name in folders_in(folder)[:NAMES_SHOWN])]
    return not any(has_files(path, ".json", ".xml") for path in inner) and any(
        has_files(path, *IMAGE_ENDINGS) for path in inner
    )


def _inside(root: Path, split: str, images: str, labels: str) -> Iterator[Pair]:
    """The pair itself, or a pair for each folder that both have."""
    inner = [name for name in folders_in(root / images) if (root / labels / name).is_dir()]
    suffixes = ("_P", *_FILE_SUFFIXES)
    if not inner or has_files(root / images, *IMAGE_ENDINGS):
        yield Pair(split, images, labels, suffixes)
        return
    for name in sorted(inner, key=rank):
        yield Pair(f"{split}/{name}" if split else name, f"{images}/{name}", f"{labels}/{name}", suffixes)


def no_labels(root: Path, layout: Layout, entries: Sequence[Entry]) -> InvalidAnnotation | None:
    """What is wrong where there are images and label folders, and no image has a label file."""
    fix = "name a label file as its image (NAME.png), or as NAME_L.png, NAME_P.png or NAME_mask.png"
    return pairs.no_labels(root, [pair.labels for pair in layout.pairs], entries, fix)
