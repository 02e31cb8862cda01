"""Open a folder of images: samples without annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.errors import InvalidImage, NotThere, SegdataError
from segdata.formats.shared.folder import IMAGE_ENDINGS
from segdata.system.files import disk_errors
from segdata.system.reading import read_file


def image_samples(folder: Path, findings: Findings, unreadable: Callable[[SegdataError], None]) -> list[Sample]:
    """The images of a folder in the order of their names, or one image file, as samples without annotations.

    Keys are names without ending, or with it where that alone tells two files apart.

    Args:
        findings: where files of other kinds are counted.
        unreadable: called with the error of each image that cannot be read; it may raise it.
    """
    if not folder.exists():
        raise NotThere(f"{folder} does not exist", file=folder)
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    root = folder.parent if folder.is_file() else folder
    names = []
    for name in (path.relative_to(root) for path in files):
        if name.suffix.lower() in IMAGE_ENDINGS:
            names.append(name)
        elif not name.name.startswith("."):
            findings.remark("file not read", name.as_posix())
    if not names:
        raise NotThere("there are no images here", file=folder, why=f"images end in {', '.join(IMAGE_ENDINGS)}")
    stems = Counter([name.with_suffix("") for name in names] + names)
    samples = []
    for name in names:
        stem = name.with_suffix("")
        try:
            samples.append(_sample(root / name, name, (stem if stems[stem] == 1 else name).as_posix()))
        except InvalidImage as error:
            unreadable(error)
    return samples


def _sample(path: Path, name: Path, key: str) -> Sample:
    with disk_errors(path):
        data = read_file(path)
    try:
        header = images.probe(data)
    except InvalidImage as error:
        raise error.located(file=path) from error
    return Sample(key, header.height, header.width, file=name.as_posix(), encoded=path.read_bytes)
