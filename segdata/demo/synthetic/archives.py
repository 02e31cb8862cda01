"""Datasets packed as their publishers pack them: the same file names, members and kinds of archive, and a manifest."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_DATE = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Packed:
    """One archive.

    Attributes:
        file: its name, as published.
        part: what `segdata fetch --only` chooses it by.
        content: folder (or file) of the dataset → where it lies in the archive, "" for its root.
        texts: members that are in no dataset folder.
        into: the folder that it has to be extracted into, "" for the common one.
    """

    file: str
    part: str
    content: dict[str, str]
    texts: tuple[str, ...] = ()
    into: str = ""


@dataclass(frozen=True)
class Publication:
    """How one dataset is given out."""

    like: str
    root: str
    archives: tuple[Packed, ...] = field(default=())


PUBLISHED = {
    "coco": Publication(
        "coco-2017",
        "",
        (
            Packed("annotations_trainval2017.zip", "annotations", {"annotations": "annotations"}),
            Packed("train2017.zip", "train2017", {"train2017": "train2017"}),
            Packed("val2017.zip", "val2017", {"val2017": "val2017"}),
        ),
    ),
    "voc": Publication(
        "voc-2012",
        "VOCdevkit/VOC2012",
        (Packed("VOCtrainval_11-May-2012.tar", "trainval", {"": "VOCdevkit/VOC2012"}),),
    ),
    "cityscapes": Publication(
        "cityscapes",
        "",
        (
            Packed("gtFine_trainvaltest.zip", "gtFine", {"gtFine": "gtFine"}, ("README", "license.txt")),
            Packed(
                "leftImg8bit_trainvaltest.zip", "leftImg8bit", {"leftImg8bit": "leftImg8bit"}, ("README", "license.txt")
            ),
        ),
    ),
    "camvid": Publication(
        "camvid-cambridge",
        "",
        (
            Packed("701_StillsRaw_full.zip", "images", {"701_StillsRaw_full": "701_StillsRaw_full"}),
            Packed("LabeledApproved_full.zip", "labels", {"LabeledApproved_full": ""}, into="LabeledApproved_full"),
            Packed("label_colors.txt", "labels", {"label_colors.txt": ""}),
        ),
    ),
    "camvid-fastai": Publication("camvid", "camvid", (Packed("camvid.tgz", "camvid", {"": "camvid"}),)),
}
"""Dataset → how it is given out."""


def publish(name: str, dataset: Path, folder: Path) -> tuple[Path, ...]:
    """Pack a dataset folder into archives like the official ones; the same files give the same bytes.

    Args:
        name: of `PUBLISHED`.
        dataset: a folder in the official layout.
        folder: gets the archives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for packed in PUBLISHED[name].archives:
        target = folder / packed.file
        if target.suffix == ".zip":
            _zip(packed, dataset, target)
        elif target.suffix in (".tar", ".tgz"):
            _tar(packed, dataset, target)
        else:
            (source,) = packed.content
            target.write_bytes((dataset / source).read_bytes())
        written.append(target)
    return tuple(written)


def manifest(name: str, folder: Path, address: str, *, licence: str) -> str:
    """A manifest of published archives.

    Args:
        folder: the archives.
        address: where they are served, without a slash at the end.
        licence: the licence of the content.
    """
    published = PUBLISHED[name]
    lines = [
        f'title = "{name}, drawn"',
        'homepage = "https://example.org"',
        f'licence = "{licence}"',
        'citation = "none"',
        f'format = "{name.partition("-")[0]}"',
    ]
    lines += [f'label_space = "{space}"' for space in (_space(published.like),)]
    lines += [f'labels_from = "{published.like}"']
    lines += [f'root = "{published.root}"'] if published.root else []
    for packed in published.archives:
        path = folder / packed.file
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += ["", "[[remotes]]", f'part = "{packed.part}"', f'url = "{address}/{packed.file}"']
        lines += [f"bytes = {path.stat().st_size}", f'digest = "sha256:{digest}"']
        lines += [f'into = "{packed.into}"'] if packed.into else []
        renamed = ", ".join(f'"{text}" = "{_renamed(text, packed.part)}"' for text in packed.texts)
        lines += [f"rename = {{ {renamed} }}"] if renamed else []
    return "\n".join(lines) + "\n"


def _space(like: str) -> str:
    from segdata.catalog import manifest as manifests

    return manifests.shipped(like).labels.name


def _renamed(text: str, part: str) -> str:
    stem, dot, ending = text.partition(".")
    return f"{stem}-{part}{dot}{ending}"


def _members(packed: Packed, dataset: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents; folders end in a slash and come before what is in them."""
    for text in packed.texts:
        yield text, f"{text} of {packed.file}\n".encode()
    for source, name in packed.content.items():
        seen = set()
        for path in sorted((dataset / source).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                inside = path.relative_to(dataset / source).as_posix()
                full = f"{name}/{inside}" if name else inside
                parts = full.split("/")[:-1]
                for depth in range(len(parts)):
                    parent = "/".join(parts[: depth + 1]) + "/"
                    if parent not in seen:
                        seen.add(parent)
                        yield parent, b""
                yield full, path.read_bytes()


def _zip(packed: Packed, dataset: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as file:
        for name, data in _members(packed, dataset):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = (0o040755 if name.endswith("/") else 0o100644) << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else zipfile.ZIP_DEFLATED
            file.writestr(info, data, compresslevel=1)


def _tar(packed: Packed, dataset: Path, target: Path) -> None:
    import gzip

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for name, data in _members(packed, dataset):
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mode, info.size = (0o755 if name.endswith("/") else 0o644), len(data)
            file.addfile(info, io.BytesIO(data))
    is_gzip = target.suffix == ".tgz"
    target.write_bytes(gzip.compress(plain.getvalue(), 1, mtime=0) if is_gzip else plain.getvalue())
