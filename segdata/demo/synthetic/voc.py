"""A PASCAL VOC folder: boxes, class and object masks with void borders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from segdata.catalog import manifest
from segdata.demo.synthetic import files, scenes
from segdata.demo.synthetic.scene import Region

_VOC = {"rider": "person", "table": "diningtable", "potted plant": "pottedplant", "tv": "tvmonitor"}

_PARTS = (
    ("head", ("nose", "left_ear", "right_ear"), 0.075),
    ("hand", ("left_wrist",), 0.03),
    ("hand", ("right_wrist",), 0.03),
    ("foot", ("left_ankle",), 0.035),
    ("foot", ("right_ankle",), 0.035),
)


def draw(root: Path, *, images: int = 10, seed: int = 0) -> Path:
    """PASCAL VOC 2012: boxes for all images, palette masks with a void rim for every second one.

    Crowds are void in the masks and no objects. Arguments as `coco`.

    Returns:
        `root/VOCdevkit/VOC2012`.
    """
    space = manifest.shipped("voc-2012").labels
    home = root / "VOCdevkit" / "VOC2012"
    palette = _voc_palette()
    keys: list[str] = []
    seen: list[dict[str, bool]] = []
    numbers = sorted(files.rng(seed, 2).choice(9_000, images, replace=False).tolist())
    for index in range(images):
        rng = files.rng(seed, 2, index)
        height, width = ((375, 500), (333, 500), (500, 375))[index % 3]
        scene = (scenes.objects, scenes.street)[(index // 2) % 2](rng, height, width)
        key = f"{2007 + 5 * index // images}_{numbers[index] + 27:06d}"
        keys.append(key)
        files.picture(scene, home / "JPEGImages" / f"{key}.jpg")
        owner = files.owner(scene)
        objects: list[str] = []
        kinds: dict[str, bool] = {}
        numbered = np.zeros((height, width), np.uint8)
        classes = np.zeros((height, width), np.uint8)
        for number, region in enumerate(scene.regions, 1):
            name = _VOC.get(region.name, region.name)
            visible = owner == number
            if name not in space.index_of_name or not visible.any():
                continue
            if region.is_crowd or visible.sum() < files.SMALLEST:
                classes[visible] = numbered[visible] = 255
                continue
            text, difficult = _voc_object(name, region, visible)
            objects.append(text)
            kinds[name] = kinds.get(name, True) and difficult
            numbered[visible] = len(objects)
            classes[visible] = space.index_of_name[name]
        seen.append(kinds)
        masks = index % 2 == 0
        files.text(home / "Annotations" / f"{key}.xml", [_voc_xml(key, height, width, masks, objects)])
        if masks:
            rim = _rim(numbered)
            for folder, pixels in (("SegmentationClass", classes), ("SegmentationObject", numbered)):
                files.png(np.where(rim, np.uint8(255), pixels), home / folder / f"{key}.png", palette)
    train = [index for index in range(images) if index % 4 < 2]
    val = [index for index in range(images) if index % 4 >= 2]
    for split, members in (("train", train), ("val", val), ("trainval", sorted(train + val))):
        sets = home / "ImageSets"
        files.text(sets / "Main" / f"{split}.txt", [keys[k] for k in members])
        files.text(sets / "Segmentation" / f"{split}.txt", [keys[k] for k in members if k % 2 == 0])
        for category in space.categories[1:]:
            marks = [-1 if category.name not in seen[k] else 0 if seen[k][category.name] else 1 for k in members]
            rows = [f"{keys[k]} {mark:2d}" for k, mark in zip(members, marks, strict=True)]
            files.text(sets / "Main" / f"{category.name}_{split}.txt", rows)
    return home


def _voc_palette() -> bytes:
    """The 256 colours of the VOC development kit: bits of the index, spread over the channels from the top."""
    table = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            table[:, channel] |= (((np.arange(256) >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return table.tobytes()


def _rim(numbered: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Five pixels along the outlines of objects (H, W): two within, three outside."""
    picture = Image.fromarray(numbered)
    high, low = (np.asarray(picture.filter(make(5))) for make in (ImageFilter.MaxFilter, ImageFilter.MinFilter))
    outside = np.asarray(picture.filter(ImageFilter.MaxFilter(7)))
    return np.asarray((high != low) | ((numbered == 0) & (outside > 0)))


def _bndbox(low: tuple[float, float], high: tuple[float, float], tabs: str) -> str:
    """1-based inclusive corners of 0-based inclusive pixels."""
    values = zip(("xmin", "ymin", "xmax", "ymax"), (*low, *high), strict=True)
    rows = "".join(f"{tabs}\t<{name}>{int(value) + 1}</{name}>\n" for name, value in values)
    return f"{tabs}<bndbox>\n{rows}{tabs}</bndbox>\n"


def _voc_object(name: str, region: Region, visible: npt.NDArray[np.bool_]) -> tuple[str, bool]:
    """The object's XML and whether it is difficult."""
    height, width = visible.shape
    ys, xs = np.nonzero(visible)
    low, high = (int(xs.min()), int(ys.min())), (int(xs.max()), int(ys.max()))
    whole = region.mask(height, width).sum()
    truncated = low[0] == 0 or low[1] == 0 or high[0] == width - 1 or high[1] == height - 1
    difficult = len(xs) < 0.0012 * height * width or len(xs) < 0.3 * whole
    pose = "Unspecified"
    if region.points:
        pose = "Left" if region.points[0][1] < region.points[3][1] else "Right"
    text = f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<pose>{pose}</pose>\n"
    text += f"\t\t<truncated>{int(truncated)}</truncated>\n\t\t<occluded>{int(len(xs) < 0.95 * whole)}</occluded>\n"
    text += _bndbox(low, high, "\t\t") + f"\t\t<difficult>{int(difficult)}</difficult>\n"
    for part, joints, reach in _PARTS if not difficult else ():
        joints_of_part = {joint: (x, y) for joint, x, y in region.points if joint in joints}
        tall = max((y for _, _, y in region.points), default=0.0) - min((y for _, _, y in region.points), default=0.0)
        if joints_of_part and tall > 60:
            middle = np.mean(list(joints_of_part.values()), axis=0)
            corners = np.clip([middle - reach * tall, middle + reach * tall], low, high).astype(int).tolist()
            if corners[0][0] < corners[1][0] and corners[0][1] < corners[1][1]:
                text += f"\t\t<part>\n\t\t\t<name>{part}</name>\n"
                text += _bndbox((*corners[0],), (*corners[1],), "\t\t\t") + "\t\t</part>\n"
    return text + "\t</object>\n", difficult


def _voc_xml(key: str, height: int, width: int, masks: bool, objects: Sequence[str]) -> str:
    source = "\t<source>\n\t\t<database>Drawn scenes</database>\n\t\t<annotation>segdata</annotation>\n\t\t<image>drawn</image>\n\t</source>\n"
    size = f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
    head = f"<annotation>\n\t<folder>VOC2012</folder>\n\t<filename>{key}.jpg</filename>\n"
    return f"{head}{source}{size}\t<segmented>{int(masks)}</segmented>\n{''.join(objects)}</annotation>"
