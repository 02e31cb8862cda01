"""Small datasets read with json, pycocotools, ElementTree and Pillow alone: what a conversion has to find.

A reader gives (split, name of the image file without folders and ending) → `Image`. What it cannot tell is `UNKNOWN`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from pycocotools import mask as coco_mask

UNKNOWN = "unknown"
Object = tuple[str, bool, str]
"""Category, iscrowd, and the mask's digest or the box."""


@dataclass
class Image:
    """What a dataset says about an image."""

    objects: Counter[Object] = field(default_factory=Counter)
    label_map: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether everything could be told."""
        return self.label_map != UNKNOWN and not any(UNKNOWN in item for item in self.objects)


_FAR = 10_000
"""pycocotools needs memory for every pixel of an outline."""

Images = dict[tuple[str, str], Image]


def digest(mask: npt.NDArray[Any]) -> str:
    """A mask or label map as text that can be compared."""
    values = np.ascontiguousarray(mask.astype(np.int64))
    return f"{values.shape} {hash(values.tobytes())} {int((values > 0).sum())}"


def box_text(box: Any) -> str:
    """A box x0 y0 x1 y1 as text that can be compared."""
    return "box " + " ".join(f"{float(value):.3f}" for value in box)


# ---------------------------------------------------------------------- COCO


def coco(root: Path) -> Images:
    """`annotations/instances_SPLIT.json`, by `id`s as they are written."""
    images: Images = {}
    for path in sorted(root.glob("annotations/instances_*.json")):
        document = json.loads(path.read_bytes())
        split = path.stem.partition("_")[2]
        names = {str(item["id"]): item["name"] for item in document["categories"]}
        for record in document["images"]:
            size = record["height"], record["width"]
            image = images.setdefault((split, Path(str(record["file_name"])).stem), Image())
            for item in document["annotations"]:
                if item["image_id"] == record["id"]:
                    image.objects[_coco_object(item, names, size)] += 1
    return images


def _coco_object(item: dict[str, Any], names: dict[str, str], size: tuple[int, int]) -> Object:
    name = names.get(str(item["category_id"]), UNKNOWN)
    segmentation, height, width = item.get("segmentation"), *size
    try:
        if not segmentation:
            x, y, w, h = item["bbox"]
            return name, bool(item.get("iscrowd", 0)), box_text((x, y, x + w, y + h))
        if isinstance(segmentation, dict):
            is_list = isinstance(segmentation["counts"], list)
            if segmentation["size"] != [height, width]:
                return name, False, UNKNOWN
            rle = coco_mask.frPyObjects(segmentation, height, width) if is_list else segmentation
        else:
            if any(len(ring) < 6 or len(ring) % 2 or max(map(abs, ring)) > _FAR for ring in segmentation):
                return name, False, UNKNOWN
            rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        mask = coco_mask.decode(rle)
    except Exception:
        return name, False, UNKNOWN
    return name, bool(item.get("iscrowd", 0)), digest(mask) if mask.any() else UNKNOWN


# ---------------------------------------------------------------------- PASCAL VOC


def voc(root: Path) -> Images:
    """Boxes of `Annotations/*.xml` and classes of `SegmentationClass/*.png`, as split "all"."""
    images: Images = {}
    for path in sorted((root / "Annotations").rglob("*.[xX][mM][lL]")):
        image = images.setdefault(("all", path.stem), Image())
        for item in ElementTree.parse(path).getroot().iter("object"):
            corners = [item.find("bndbox/" + tag) for tag in ("xmin", "ymin", "xmax", "ymax")]
            try:
                x0, y0, x1, y1 = (float(corner.text or "") for corner in corners if corner is not None)
                box = box_text((x0 - 1, y0 - 1, x1, y1))
            except ValueError:
                box = UNKNOWN
            image.objects[(item.findtext("name") or UNKNOWN).strip(), False, box] += 1
    for path in sorted((root / "SegmentationClass").glob("*.[pP][nN][gG]")):
        image = images.setdefault(("all", path.stem), Image())
        image.label_map = digest(np.asarray(Picture.open(path)))
    return images


# ---------------------------------------------------------------------- Cityscapes and CamVid


def cityscapes(root: Path) -> Images:
    """Ids of `*_labelIds.png`, and the values of `*_instanceIds.png` that are objects."""
    images: Images = {}
    for path in sorted(root.glob("gtFine/*/*/*_gtFine_labelIds.png")):
        name = path.name.removesuffix("_gtFine_labelIds.png")
        image = images.setdefault((path.parts[-3], name), Image())
        image.label_map = digest(np.asarray(Picture.open(path)))
    for path in sorted(root.glob("gtFine/*/*/*_gtFine_instanceIds.png")):
        image = images.setdefault((path.parts[-3], path.name.removesuffix("_gtFine_instanceIds.png")), Image())
        values = np.asarray(Picture.open(path))
        for value in np.unique(values).tolist():
            if value >= 1000 or 24 <= value <= 33:
                label = value // 1000 if value >= 1000 else value
                image.objects[str(label), value < 1000, digest(values == value)] += 1
    return images


def camvid(root: Path) -> Images:
    """Indices of `SPLITannot/*.png`."""
    images: Images = {}
    for path in sorted(root.glob("*annot/*.png")):
        values = np.asarray(Picture.open(path))
        images[path.parent.name.removesuffix("annot"), path.stem] = Image(
            label_map=digest(values) if values.ndim == 2 else UNKNOWN
        )
    return images


# ---------------------------------------------------------------------- what segdata found


def of_pack(pack: Any, kind: str) -> Iterator[tuple[tuple[str, str], Image]]:
    """The samples of an open pack in the same terms; samples of several splits come once for each."""
    ids = np.array([category.id for category in pack.labels.categories] + [0] * 70000)
    for split, members in pack.splits.items() if kind != "voc" else [("all", range(len(pack)))]:
        for index in members:
            sample = pack[int(index)]
            image = Image()
            instances = sample.instances
            for number in range(len(instances)):
                category = pack.labels[int(instances.category[number])]
                name = str(category.id) if kind == "cityscapes" else category.name
                if instances.has_mask[number] and kind != "voc":
                    shape = digest(instances.masks[number])
                else:
                    shape = box_text(instances.boxes[number])
                image.objects[name, bool(instances.iscrowd[number]), shape] += 1
            if sample.semantic is not None:
                semantic = sample.semantic
                image.label_map = digest(ids[semantic] if kind == "cityscapes" else semantic)
            name = sample.key.rpartition("/")[2]
            yield (split, name), image
