"""Text files with one image a line: splits, and lists with a mark for each image."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import Any

from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.shared import verbatim
from segdata.formats.shared.folder import stem

SPLITS = ("train", "val", "test", "training", "valid", "validation", "testing", "trainval", "default", "all")
"""Names of folders and lists that are splits."""


def lines_of(content: bytes) -> list[str]:
    """The lines of a text file that may begin with a byte-order mark and may not be UTF-8."""
    return content.decode("utf-8-sig", "replace").splitlines()


def name_in(line: str, known: Container[str]) -> str | None:
    """The image that a line names: the whole line or its first word, as a path or a name, with or without ending."""
    whole = line.strip()
    for words in (whole, *whole.split()[:1]):
        for name in (words, words.rpartition("/")[2]):
            for key in (name, stem(name)):
                if key in known:
                    return key
    return None


def document(format: str, file: str, content: bytes, known: Container[str], *, is_split: bool) -> dict[str, Any]:
    """A list as one of the dataset's documents.

    Args:
        is_split: whether its lines must name images of the dataset; of other lists, lines that name none are kept.
    """
    stored = {"format": format, "file": file, **verbatim.from_text(content)}
    others = [number for number, line in enumerate(lines_of(content)) if line.strip() and not name_in(line, known)]
    return stored if is_split or not others else {**stored, "others": others}


def text(document: Mapping[str, Any]) -> bytes:
    """The bytes of a document's text file."""
    return verbatim.to_text({key: document[key] for key in ("text", "base64") if key in document})


def without_absent(document: Mapping[str, Any], written: Collection[str]) -> bytes:
    """A list's text without the lines of images that were not written."""
    content = text(document)
    others = set(document.get("others", ()))
    mark = "\ufeff" if content.startswith(b"\xef\xbb\xbf") else ""
    lines = content.decode("utf-8-sig", "surrogateescape").splitlines(keepends=True)
    left = [
        line
        for number, line in enumerate(lines)
        if not line.strip() or number in others or name_in(line, written) is not None
    ]
    return (mark + "".join(left)).encode("utf-8", "surrogateescape")


def members(path: Path, content: bytes, index_of: Mapping[str, int], findings: Findings) -> list[int]:
    """The images that a list names, in its order, each once; lines that name none go to `findings`."""
    chosen: dict[int, None] = {}
    for number, line in enumerate(lines_of(content), 1):
        if not line.strip():
            continue
        name = name_in(line, index_of)
        if name is None:
            findings.skip(
                InvalidAnnotation(
                    "a list names an image that does not exist",
                    file=path,
                    place=f"line {number}",
                    why=f"{line.split()[0]!r} is no image, annotation or mask of the dataset",
                    fix="restore the files, or remove the line",
                )
            )
        elif index_of[name] in chosen and len(line.split()) == len(name.split()):
            findings.remark("name listed twice", f"{path.name}: {name}")
        else:
            chosen[index_of[name]] = None
    return list(chosen)


def splits(
    root: Path, texts: Mapping[str, bytes], index_of: Mapping[str, int], findings: Findings
) -> dict[str, list[int]]:
    """Splits by text files that name one image a line; nothing where no file names any.

    Args:
        texts: name of the file → its content; files of other content are passed over.
    """
    by_name: dict[str, list[int]] = {}
    for name, text in texts.items():
        is_list = any(name_in(line, index_of) for line in lines_of(text))
        if is_list or (stem(name) in SPLITS[:3] and not text.strip()):
            by_name[stem(name)] = members(root / name, text, index_of, findings)
    return by_name if any(by_name.values()) else {}
