"""VOC's lists of images (ImageSets)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.shared import lists
from segdata.formats.shared.folder import conversion_report, folders_in, names_in, read_bytes, stem

_SETS = ("Segmentation", "Main", "Layout", "Action")
_SPLITS = ("train", "val", "trainval", "test")


def read_lists(
    root: Path, index_of: Mapping[str, int], findings: Findings
) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """The text of every list, and the splits that they make.

    Where segdata wrote the folder from another format, its splits are in two lists each: they come back as they were.
    """
    report = conversion_report(root)
    is_adapted = report.get("source_format") != report.get("target_format")
    documents = []
    splits: dict[str, list[int]] = {}
    for folder in [*_SETS, *(name for name in folders_in(root / "ImageSets") if name not in _SETS)]:
        for name in names_in(root / "ImageSets" / folder, ".txt"):
            file = f"ImageSets/{folder}/{name}"
            content = read_bytes(root, file, "the dataset")
            is_split = stem(name) in _SPLITS or not _has_marks(content, index_of)
            documents.append(lists.document("voc", file, content, index_of, is_split=is_split))
            if others := documents[-1].get("others"):
                findings.remark("list names images that are not there: lines kept", file, len(others))
            if is_split:
                split = stem(name) if folder == "Segmentation" else f"{folder}/{stem(name)}"
                members = lists.members(root / file, content, index_of, findings)
                if not (is_adapted and folder == "Main" and members == splits.get(stem(name))):
                    splits[split] = members
        prefix = "" if folder == "Segmentation" else f"{folder}/"
        both = set(splits.get(prefix + "train", ())) & set(splits.get(prefix + "val", ()))
        if both:
            names = [key for key, index in index_of.items() if index in both]
            findings.skip(
                InvalidAnnotation(
                    "images are in both train and val",
                    file=root / "ImageSets" / folder,
                    why=f"{len(both)} names, the first are {', '.join(names[:5])}",
                    fix="remove them from one of the two lists",
                )
            )
    return documents, splits


def _has_marks(content: bytes, index_of: Mapping[str, int]) -> bool:
    """Whether lines have more than an image's name, as lists by class do."""
    return any(len(line.split()) > 1 and line.strip() not in index_of for line in lists.lines_of(content))


def is_by_class(document: Mapping[str, Any]) -> bool:
    """Whether a document is a list by class, with a mark for each image."""
    file = document["file"]
    if document.get("format") != "voc" or not file.startswith("ImageSets/") or stem(file.rpartition("/")[2]) in _SPLITS:
        return False
    return _has_marks(lists.text(document), {})
