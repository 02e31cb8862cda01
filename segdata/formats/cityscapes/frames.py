"""Where Cityscapes and its relatives keep frames and label files, and what the files are called.

leftImg8bit/SPLIT[/CITY]/NAME_leftImg8bit.png        also .jpg, any case; without the ending where none has it
imgsFine/leftImg8bit/…                               CVAT and older datumaro
gtFine_trainvaltest/gtFine/…, leftImg8bit_trainvaltest/leftImg8bit/…    archives unzipped side by side
gtFine/SPLIT[/CITY]/NAME_gtFine_labelIds.png         also NAME_labelIds.png; label…level3Ids (IDD) are other ids
rgb_anon/CONDITION/SPLIT/CITY/NAME_rgb_anon.png      ACDC, with gt/CONDITION/SPLIT/CITY/NAME_gt_labelIds.png
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry, ReadOptions
from segdata.formats.shared.folder import IMAGE_ENDINGS, NAMES_SHOWN, file_size, folders_in, names_in

IMAGE_FOLDERS = ("leftImg8bit", "imgsFine/leftImg8bit")
FINE, COARSE = "gtFine", "gtCoarse"

_IMAGE = "_leftImg8bit.png"
_OTHER_IMAGE = re.compile(
    r"(?P<frame>.+?)(?P<mark>_leftImg8bit|_rgb_anon)?\.(png|jpe?g|bmp|tiff?|webp|gif)", re.IGNORECASE
)
LABELS = ("labelIds.png", "instanceIds.png", "labelTrainIds.png", "color.png", "polygons.json")
_OTHER_LABEL = re.compile(
    r"(?P<frame>.+?)(_gtFine|_gtCoarse|_gt)?_(?P<kind>label_?Ids|instance_?Ids|(label_?|labelcs)?Train_?Ids|color|labelColor"
    r"|polygons|label(level\d|cs)Ids|instancelevel\dIds)\.(png|json)",
    re.IGNORECASE,
)
_FOLDERS_LOOKED_AT = 200
_KINDS = {
    "labelids": "labelIds.png",
    "instanceids": "instanceIds.png",
    "labeltrainids": "labelTrainIds.png",
    "labelcstrainids": "labelTrainIds.png",
    "trainids": "labelTrainIds.png",
    "color": "color.png",
    "labelcolor": "color.png",
    "polygons": "polygons.json",
}


@dataclass(frozen=True)
class Frame:
    """An image's label files: `{base}{suffix}` for each of its suffixes.

    Attributes:
        others: suffix → path, of files that are called otherwise.
        has_own_ids: whether its ids are said to be others than Cityscapes'.
    """

    base: str
    suffixes: tuple[str, ...]
    others: Mapping[str, str] = field(default_factory=dict)
    has_own_ids: bool = False

    def file(self, suffix: str) -> str:
        """The path of a label file under the root."""
        return self.others.get(suffix, self.base + suffix)


@dataclass(frozen=True)
class Job:
    """A split: its folder of label files, their kind, and the folder of images."""

    name: str
    kind: str
    labels: str
    images: str


def is_one(root: Path) -> bool:
    """Whether the folder has Cityscapes' folders, or those of its relatives."""
    names = (*IMAGE_FOLDERS, FINE, COARSE)
    return any((root / name).is_dir() for name in names) or all((root / name).is_dir() for name in ("rgb_anon", "gt"))


def places(root: Path) -> dict[str, str]:
    """Cityscapes' folders, by name: under the root, else in the only one of its folders that has one."""
    at = {name: name for name in (*IMAGE_FOLDERS, FINE, COARSE) if (root / name).is_dir()}
    if at:
        return at
    folders = folders_in(root)[:_FOLDERS_LOOKED_AT]
    for name in (IMAGE_FOLDERS[0], FINE, COARSE):
        inside = [folder for folder in folders if (root / folder / name).is_dir()]
        if len(inside) == 1:
            at[name] = f"{inside[0]}/{name}"
    return at


def is_side_by_side(root: Path) -> bool:
    """Whether folders of images and of label files lie in one folder each, as archives that were unzipped side by side."""
    at = {} if not root.is_dir() or is_one(root) else places(root)
    return IMAGE_FOLDERS[0] in at and len({path.partition("/")[0] for path in at.values()}) == len(at) > 1


def jobs(root: Path) -> list[Job]:
    """Every split with its folders: those of gtFine, train_extra of gtCoarse, and further ones of gtCoarse.

    Raises:
        InvalidAnnotation: two folders hold images.
    """
    at = places(root)
    present = [at[name] for name in IMAGE_FOLDERS if name in at]
    if len(present) > 1:
        raise InvalidAnnotation(
            "two folders hold images",
            file=root,
            why=" and ".join(present),
            fix=f"name the right one with --images-dir {root / present[0]}",
        )
    images = present[0] if present else IMAGE_FOLDERS[0]
    if (root / "rgb_anon").is_dir() and (root / "gt").is_dir() and not present:
        return list(_by_condition(root))
    kinds = [kind for kind in (FINE, COARSE) if kind in at]
    fine_at, coarse_at = at.get(FINE, FINE), at.get(COARSE, COARSE)
    image_splits = folders_in(root / images)
    fine = folders_in(root / fine_at) or [split for split in image_splits if split != "train_extra"]
    fine = [*fine, *(split for split in image_splits if split not in fine and split != "train_extra")]
    chosen = [Job(split, FINE, f"{fine_at}/{split}", f"{images}/{split}") for split in ordered(fine)]
    for split in ordered([*folders_in(root / coarse_at), *(s for s in image_splits if s == "train_extra")]):
        is_main = split == "train_extra" or FINE not in kinds
        name = split if is_main else f"{COARSE}/{split}"
        if name not in [job.name for job in chosen] or FINE not in kinds:
            job = Job(name, COARSE, f"{coarse_at}/{split}", f"{images}/{split}")
            chosen = [other for other in chosen if other.name != name] + [job]
    return chosen


def _by_condition(root: Path) -> Iterator[Job]:
    for condition in sorted({*folders_in(root / "gt"), *folders_in(root / "rgb_anon")}):
        inner = {*folders_in(root / "gt" / condition), *folders_in(root / "rgb_anon" / condition)}
        for split in ordered(sorted(inner)):
            name = f"{condition}/{split}"
            yield Job(name, "gt", f"gt/{name}", f"rgb_anon/{name}")


def ordered(names: Sequence[str]) -> list[str]:
    """Splits in the official order, others after them."""
    official = ("train", "val", "test", "train_extra")
    return [name for name in official if name in names] + sorted(set(names) - set(official))


def add_split(root: Path, job: Job, options: ReadOptions, entries: list[Entry], files: list[str]) -> list[int]:
    """Add a split's frames to `entries` and their label files to `files`; returns the frames' indices."""
    first = len(entries)
    folder, is_elsewhere = _image_folder(root, job, options)
    for city in ["", *sorted({*folders_in(folder), *folders_in(root / job.labels)})]:
        above = f"{city}/" if city else ""
        image_of = _images(folder / city)
        if is_elsewhere and city and not image_of:
            image_of = _images(folder)
        labels_of = _labels(root, f"{job.labels}/{above}", job.kind)
        names = image_of.keys() | labels_of.keys()
        if is_elsewhere and (root / job.labels).is_dir() and not (city and (folder / city).is_dir()):
            names = set(labels_of)  # the folder is not this city's alone
        for name in sorted(names):
            frame = labels_of.get(name) or Frame(f"{job.labels}/{above}{name}_{job.kind}_", ())
            label_files = [frame.file(suffix) for suffix in frame.suffixes]
            files += label_files
            image = image_of.get(name, "")
            disk = "" if not is_elsewhere or not image else str(_where(folder, city, image))
            file = f"{job.images}/{above}{image}" if image else ""
            size = sum(file_size(root, label) for label in label_files)
            entries.append(Entry(f"{above}{name}", file, size, frame, disk))
    return list(range(first, len(entries)))


def _image_folder(root: Path, job: Job, options: ReadOptions) -> tuple[Path, bool]:
    """Where a split's images lie, and whether that is a folder of the user's choice."""
    chosen = options.images_dir.get(job.name) or options.images_dir.get("")
    if chosen is None:
        return root / job.images, False
    inner = chosen / job.images.rpartition("/")[2]
    return (chosen if job.name in options.images_dir or not inner.is_dir() else inner).absolute(), True


def _where(folder: Path, city: str, image: str) -> Path:
    return folder / city / image if (folder / city / image).exists() else folder / image


def _images(folder: Path) -> dict[str, str]:
    """Frame → file name; names without Cityscapes' ending count where no file has it."""
    marked: dict[str, str] = {}
    others: dict[str, str] = {}
    for name in names_in(folder, *IMAGE_ENDINGS):
        if name.endswith(_IMAGE):
            marked[name[: -len(_IMAGE)]] = name
        elif match := _OTHER_IMAGE.fullmatch(name):
            (marked if match["mark"] else others).setdefault(match["frame"], name)
    return marked or others


def _labels(root: Path, folder: str, kind: str) -> dict[str, Frame]:
    """Frame → its label files."""
    suffixes_of: dict[str, list[str]] = {}
    others_of: dict[str, dict[str, str]] = {}
    own_ids: set[str] = set()
    unknown = []
    for name in names_in(root / folder, ".png", ".json"):
        base, _, suffix = name.rpartition(f"_{kind}_")
        if base and suffix in LABELS:
            suffixes_of.setdefault(base, []).append(suffix)
        else:
            unknown.append(name)
    for name in unknown:
        match = _OTHER_LABEL.fullmatch(name)
        if match is None:
            continue
        word = match["kind"].replace("_", "").lower()
        suffix = _KINDS.get(word) or ("instanceIds.png" if word.startswith("instance") else "labelIds.png")
        if suffix in suffixes_of.get(match["frame"], ()):
            continue
        if word not in _KINDS:
            own_ids.add(match["frame"])
        suffixes_of.setdefault(match["frame"], []).append(suffix)
        others_of.setdefault(match["frame"], {})[suffix] = folder + name
    return {
        name: Frame(f"{folder}{name}_{kind}_", tuple(suffixes), others_of.get(name, {}), name in own_ids)
        for name, suffixes in suffixes_of.items()
    }


def no_labels(root: Path, chosen: Sequence[Job], entries: Sequence[Entry]) -> InvalidAnnotation | None:
    """What is wrong where there are images and label folders, and no image has label files."""
    images = [entry.file for entry in entries if entry.file]
    there = [f"{job.labels}/{name}" for job in chosen for name in _first_files(root / job.labels)]
    if not images or not there or any(entry.file and entry.data.suffixes for entry in entries):
        return None
    shown = ", ".join(there[:NAMES_SHOWN])
    return InvalidAnnotation(
        "no frame has label files",
        file=root / chosen[0].kind,
        why=f"frames are {', '.join(images[:2])}{' …' if len(images) > 2 else ''}; there are {shown}",
        fix="name label files as their frames: NAME_gtFine_labelIds.png, _instanceIds.png, _polygons.json",
    )


def _first_files(folder: Path) -> list[str]:
    direct = names_in(folder, ".png", ".json", ".jpg", ".txt")[:NAMES_SHOWN]
    return direct or [
        f"{city}/{name}"
        for city in folders_in(folder)[:NAMES_SHOWN]
        for name in names_in(folder / city, ".png", ".json", ".jpg", ".txt")[:NAMES_SHOWN]
    ]
