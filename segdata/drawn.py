"""Drawn datasets: scenes of `segdata.scenes` written file for file in the official layouts, with the official traps.

Everything is drawn by this program, so nothing in it is under anybody's terms. The same seed gives the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from segdata import manifest, scenes
from segdata.scenes import Region, Ring, Scene

Owner = npt.NDArray[np.int32]

_SMALLEST = 40
"""Objects of fewer visible pixels are left out, as annotators do."""


def _rng(seed: int, *where: int) -> np.random.Generator:
    return np.random.default_rng([seed, *where])


def _owner(scene: Scene) -> Owner:
    """For every pixel the number of the region in front, counted from 1; 0 where there is none: (H, W) int32.

    Licence plates are part of what they are fixed to.
    """
    height, width = scene.image.shape[:2]
    owner = np.zeros((height, width), np.int32)
    for number, region in enumerate(scene.regions, 1):
        if region.name != "license plate":
            owner[region.mask(height, width)] = number
    return owner


def _picture(scene: Scene, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(scene.image)
    if file.suffix == ".jpg":
        picture.save(file, quality=90, subsampling="4:2:0")
    else:
        picture.save(file, compress_level=4)


def _png(pixels: npt.NDArray[Any], file: Path, palette: bytes | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette)
    picture.save(file)


def _text(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")


# ---------------------------------------------------------------------- COCO

_COCO = {"rider": "person", "stop sign": "stop sign", "table": "dining table"}
_SKELETON = [
    [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
    [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
]  # fmt: skip
_LICENSES = [
    {"url": "https://creativecommons.org/publicdomain/zero/1.0/", "id": 1, "name": "CC0 1.0 Universal"},
    {"url": "https://www.apache.org/licenses/LICENSE-2.0", "id": 2, "name": "Apache License 2.0"},
]


def coco(root: Path, *, images: int = 12, seed: int = 0) -> Path:
    """Two splits in COCO's layout of 2017: instances, person keypoints and captions.

    Occluded objects have several rings of float vertices; crowds are uncompressed RLE, holes included, under ids
    above 2³¹. Annotations of different images are mixed; the last training image has none.

    Args:
        root: folder to write into.
        images: how many images, at least 2; a third of them are for validation.
        seed: same seed, same bytes.

    Returns:
        `root`.
    """
    space = manifest.shipped("coco-2017").labels
    categories = [
        {"supercategory": category.supercategory, "id": category.id, "name": category.name}
        for category in space.categories
    ]
    rng = _rng(seed, 1)
    ids = rng.choice(580_000, images, replace=False) + 139
    numbers = rng.choice(2_200_000, images * 200, replace=False).tolist()
    val = max(1, images // 3)
    for split, members in (("train", range(images - val)), ("val", range(images - val, images))):
        rows: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        captions: list[dict[str, Any]] = []
        for index in members:
            own = _rng(seed, 1, index)
            height, width = ((480, 640), (426, 640), (640, 480))[index % 3]
            empty = index == images - val - 1
            draw = scenes.landscape if empty else (scenes.street, scenes.objects)[index % 2]
            scene = draw(own, height, width)
            image_id = int(ids[index])
            name = f"{image_id:012d}.jpg"
            _picture(scene, root / f"{split}2017" / name)
            url = f"http://images.example.org/{split}2017/{name}"
            rows.append({
                "license": 1 + index % 2, "file_name": name, "coco_url": url, "height": height, "width": width,
                "date_captured": f"2013-11-{14 + index % 9:02d} 17:02:{index % 60:02d}", "flickr_url": url, "id": image_id,
            })  # fmt: skip
            for annotation in _coco_annotations(scene, image_id, space.index_of_name):
                annotation["category_id"] = space[annotation["category_id"]].id
                annotation["id"] = (
                    900_100_000_000 + image_id + len(annotations) if annotation["iscrowd"] else numbers.pop()
                )
                annotations.append(annotation)
            captions += [{"image_id": image_id, "id": numbers.pop(), "caption": text} for text in _captions(scene, own)]
        annotations = [annotations[k] for k in rng.permutation(len(annotations)).tolist()]
        captions = [captions[k] for k in rng.permutation(len(captions)).tolist()]
        info = {
            "description": "Drawn scenes in the layout of COCO 2017", "url": "", "version": "1.0", "year": 2017,
            "contributor": "segdata", "date_created": "2017/09/01",
        }  # fmt: skip
        head = {"info": info, "licenses": _LICENSES, "images": rows}
        person = [{**categories[0], "keypoints": list(scenes.KEYPOINTS), "skeleton": _SKELETON}]
        plain = [{key: value for key, value in item.items() if "keypoints" not in key} for item in annotations]
        people = [item for item in annotations if item["category_id"] == 1]
        documents = {
            "instances": {**head, "annotations": plain, "categories": categories},
            "person_keypoints": {**head, "annotations": people, "categories": person},
            "captions": {**head, "annotations": captions},
        }
        for kind, document in documents.items():
            file = root / "annotations" / f"{kind}_{split}2017.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(document), "utf-8")
    return root


def _coco_annotations(scene: Scene, image_id: int, index_of: Mapping[str, int]) -> list[dict[str, Any]]:
    """The annotations of a scene without ids, `category_id` an index still."""
    height, width = scene.image.shape[:2]
    owner = _owner(scene)
    found: list[dict[str, Any]] = []
    for number, region in enumerate(scene.regions, 1):
        name = _COCO.get(region.name, region.name)
        visible = owner == number
        if name not in index_of or visible.sum() < _SMALLEST:
            continue
        item: dict[str, Any] = {}
        if region.is_crowd:
            ys, xs = np.nonzero(visible)
            box = [int(v) for v in (xs.min(), ys.min(), xs.max() - xs.min(), ys.max() - ys.min())]
            flips = np.flatnonzero(np.diff(visible.ravel("F").astype(np.int8), prepend=0))
            runs = np.diff(np.concatenate([[0], flips, [height * width]])).tolist()
            item["segmentation"] = {"counts": runs, "size": [height, width]}
            area: float = int(visible.sum())
        else:
            rings = [np.round(ring, 2) for ring in scenes.trace(visible)[0]]
            rings = [ring for ring in rings if scenes.shoelace(ring) >= 6]
            if not rings:
                continue
            item["segmentation"] = [[round(v, 2) for v in ring.ravel().tolist()] for ring in rings]
            low, high = np.vstack(rings).min(0), np.vstack(rings).max(0)
            box = [round(v, 2) for v in (*low.tolist(), *(high - low).tolist())]
            area = sum(scenes.shoelace(ring) for ring in rings)
        item.update(area=area, iscrowd=int(region.is_crowd), image_id=image_id, bbox=box)
        if name == "person":
            points = [0] * 51 if region.is_crowd or area < 600 else _keypoints(region, owner, number)
            item.update(keypoints=points, num_keypoints=sum(v > 0 for v in points[2::3]))
        found.append({**item, "category_id": index_of[name]})
    return found


def _keypoints(region: Region, owner: Owner, number: int) -> list[int]:
    points: list[int] = []
    for _, x, y in region.points:
        column, row = math.floor(x), math.floor(y)
        inside = 0 <= column < owner.shape[1] and 0 <= row < owner.shape[0]
        points += [column, row, 2 if owner[row, column] == number else 1] if inside else [0, 0, 0]
    return points


def _captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    names = sorted({region.name for region in scene.regions if region.is_thing and region.name != "license plate"})
    some = [str(name) for name in rng.permutation(names or ["tree", "field"])[:3]]
    place = "street" if any(region.name == "road" for region in scene.regions) else "scene"
    listed = ", ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in some)
    return [
        f"A {place} with {listed}.",
        f"There is {listed} in this {place}.",
        f"a picture of {listed}",
        f"A drawn {place} on a clear day: {listed}.",
        f"{listed.capitalize()} can be seen here.",
    ]


# ---------------------------------------------------------------------- PASCAL VOC

_VOC = {"rider": "person", "table": "diningtable", "potted plant": "pottedplant", "tv": "tvmonitor"}
_PARTS = (
    ("head", ("nose", "left_ear", "right_ear"), 0.075),
    ("hand", ("left_wrist",), 0.03),
    ("hand", ("right_wrist",), 0.03),
    ("foot", ("left_ankle",), 0.035),
    ("foot", ("right_ankle",), 0.035),
)


def voc(root: Path, *, images: int = 10, seed: int = 0) -> Path:
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
    numbers = sorted(_rng(seed, 2).choice(9_000, images, replace=False).tolist())
    for index in range(images):
        rng = _rng(seed, 2, index)
        height, width = ((375, 500), (333, 500), (500, 375))[index % 3]
        scene = (scenes.objects, scenes.street)[(index // 2) % 2](rng, height, width)
        key = f"{2007 + 5 * index // images}_{numbers[index] + 27:06d}"
        keys.append(key)
        _picture(scene, home / "JPEGImages" / f"{key}.jpg")
        owner = _owner(scene)
        objects: list[str] = []
        kinds: dict[str, bool] = {}
        numbered = np.zeros((height, width), np.uint8)
        classes = np.zeros((height, width), np.uint8)
        for number, region in enumerate(scene.regions, 1):
            name = _VOC.get(region.name, region.name)
            visible = owner == number
            if name not in space.index_of_name or not visible.any():
                continue
            if region.is_crowd or visible.sum() < _SMALLEST:
                classes[visible] = numbered[visible] = 255
                continue
            text, difficult = _voc_object(name, region, visible)
            objects.append(text)
            kinds[name] = kinds.get(name, True) and difficult
            numbered[visible] = len(objects)
            classes[visible] = space.index_of_name[name]
        seen.append(kinds)
        masks = index % 2 == 0
        _text(home / "Annotations" / f"{key}.xml", [_voc_xml(key, height, width, masks, objects)])
        if masks:
            rim = _rim(numbered)
            for folder, pixels in (("SegmentationClass", classes), ("SegmentationObject", numbered)):
                _png(np.where(rim, np.uint8(255), pixels), home / folder / f"{key}.png", palette)
    train = [index for index in range(images) if index % 4 < 2]
    val = [index for index in range(images) if index % 4 >= 2]
    for split, members in (("train", train), ("val", val), ("trainval", sorted(train + val))):
        sets = home / "ImageSets"
        _text(sets / "Main" / f"{split}.txt", [keys[k] for k in members])
        _text(sets / "Segmentation" / f"{split}.txt", [keys[k] for k in members if k % 2 == 0])
        for category in space.categories[1:]:
            marks = [-1 if category.name not in seen[k] else 0 if seen[k][category.name] else 1 for k in members]
            rows = [f"{keys[k]} {mark:2d}" for k, mark in zip(members, marks, strict=True)]
            _text(sets / "Main" / f"{category.name}_{split}.txt", rows)
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
        at = {joint: (x, y) for joint, x, y in region.points if joint in joints}
        tall = max((y for _, _, y in region.points), default=0.0) - min((y for _, _, y in region.points), default=0.0)
        if at and tall > 60:
            middle = np.mean(list(at.values()), axis=0)
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


# ---------------------------------------------------------------------- Cityscapes

_CITYSCAPES = {"tree": "vegetation", "grass": "terrain", "stop sign": "traffic sign", "lane marking": ""}
_CITIES = (("train", "aachen", 19), ("val", "frankfurt", 294))


def cityscapes(root: Path, *, images: int = 4, seed: int = 0, size: tuple[int, int] = (1024, 2048)) -> Path:
    """Cityscapes: `leftImg8bit` and `gtFine` of two cities, one for training and one for validation.

    Label files are painted from the polygons as the official scripts do. The first file of a city has a deleted
    object and a car that later ones hide wholly, so that its numbers have a gap.

    Args:
        root: folder to write into.
        images: how many images; the odd ones are for validation.
        seed: same seed, same bytes.
        size: height and width.

    Returns:
        `root`.
    """
    for index in range(images):
        split, city, frame = _CITIES[index % 2]
        key = f"{city}_{index // 2:06d}_{frame:06d}"
        scene = scenes.street(_rng(seed, 3, index), *size, ego=True)
        _picture(scene, root / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png")
        document = {"imgHeight": size[0], "imgWidth": size[1], "objects": _polygons(scene, index < 2)}
        start = root / "gtFine" / split / city / f"{key}_gtFine"
        ids, instances, color = _cityscapes_labels(document)
        _png(ids, Path(f"{start}_labelIds.png"))
        _png(instances, Path(f"{start}_instanceIds.png"))
        _png(color, Path(f"{start}_color.png"))
        Path(f"{start}_polygons.json").write_text(json.dumps(document, indent=4), "utf-8")
    return root


def _polygons(scene: Scene, traps: bool) -> list[dict[str, Any]]:
    """The objects of a `_polygons.json`, back to front."""
    height, width = scene.image.shape[:2]
    found: list[dict[str, Any]] = []
    cars: list[list[list[int]]] = []

    def add(label: str, ring: Ring, **more: Any) -> list[list[int]]:
        corners = np.clip(np.round(ring - 0.5), 0, (width - 1, height - 1)).astype(int)
        polygon: list[list[int]] = corners[np.any(corners != np.roll(corners, 1, 0), axis=1)].tolist()
        if len(polygon) >= 3:
            found.append({"label": label, "polygon": polygon, **more})
        return polygon

    for region in scene.regions:
        label = _CITYSCAPES.get(region.name, region.name)
        rings = sorted((ring for ring in region.rings if scenes.shoelace(ring) >= 16), key=scenes.shoelace)
        if not label or not rings:
            continue
        for ring in rings[-1:] if region.is_thing else rings:
            if traps and label == "car" and not cars:
                middle = ring.mean(0)
                cars.append(add("car", middle + (ring - middle) * 0.5))
            add(label + "group" * region.is_crowd, ring)
    w, h = float(width), float(height)
    if traps:
        wrong = np.array([(0.4, 0.4), (0.5, 0.4), (0.5, 0.6), (0.4, 0.6)]) * (w, h)
        add(
            "car",
            wrong,
            deleted=1,
            draw=False,
            verified=0,
            user="drawn",
            date="01-Jan-2015 12:00:00",
            id=len(found),
        )
    edge = max(2.0, w / 400)
    for x in (0.0, w - edge):
        add("rectification border", np.array([(x, 0.0), (x + edge, 0.0), (x + edge, h), (x, h)]))
    add("out of roi", np.array([(0.0, h - edge), (w, h - edge), (w, h), (0.0, h)]))
    return found


def _cityscapes_labels(
    document: Mapping[str, Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """labelIds (H, W) uint8, instanceIds (H, W) uint16 and colours (H, W, 4) uint8, painted in the file's order."""
    space = manifest.shipped("cityscapes").labels
    size = (document["imgWidth"], document["imgHeight"])
    ids, instances = Image.new("L", size), Image.new("I", size)
    color = Image.new("RGBA", size, (0, 0, 0, 255))
    pens = [ImageDraw.Draw(picture) for picture in (ids, instances, color)]
    count: dict[str, int] = {}
    for item in document["objects"]:
        group = item["label"] not in space.index_of_name
        category = space[space.index_of_name[item["label"].removesuffix("group") if group else item["label"]]]
        if item.get("deleted") or category.id < 0:
            continue
        value = category.id
        if category.id >= 24 and not group:
            value = category.id * 1000 + count.setdefault(category.name, 0)
            count[category.name] += 1
        corners = [(x, y) for x, y in item["polygon"]]
        fills: tuple[Any, ...] = (category.id, value, (*(category.color or (0, 0, 0)), 255))
        for pen, fill in zip(pens, fills, strict=True):
            pen.polygon(corners, fill=fill)
    return np.asarray(ids), np.asarray(instances).astype(np.uint16), np.asarray(color)


# ---------------------------------------------------------------------- CamVid

_CAMVID = {
    "sky": "Sky", "building": "Building", "wall": "Wall", "road": "Road", "sidewalk": "Sidewalk", "tree": "Tree",
    "grass": "VegetationMisc", "fence": "Fence", "pole": "Column_Pole", "lane marking": "LaneMkgsDriv",
    "traffic light": "TrafficLight", "traffic sign": "SignSymbol", "stop sign": "SignSymbol", "car": "Car",
    "truck": "Truck_Bus", "bus": "Truck_Bus", "person": "Pedestrian", "rider": "Bicyclist",
    "bicycle": "Bicyclist",
}  # fmt: skip
_SEGNET = {
    "Column_Pole": "Pole", "Sidewalk": "Pavement", "LaneMkgsDriv": "Road", "TrafficLight": "SignSymbol",
    "Truck_Bus": "Car", "Wall": "Building", "VegetationMisc": "Tree", "Void": "Unlabelled",
}  # fmt: skip


def _frames(images: int, seed: int, size: tuple[int, int]) -> Iterable[tuple[str, str, Scene, npt.NDArray[np.uint8]]]:
    """Split, name, scene and CamVid's index (H, W) of every frame; half for training, a quarter each for the others."""
    space = manifest.shipped("camvid").labels
    splits = manifest.shipped("camvid").splits
    void = space.index_of_name["Void"]
    places = [("train", "val", "train", "test")[index % 4] for index in range(images)]
    for index, split in enumerate(places):
        names = splits[split].names or ()
        share = places[:index].count(split) / places.count(split)
        scene = scenes.street(_rng(seed, 4, index), *size)
        lookup = [void] + [space.index_of_name[_CAMVID.get(region.name, "Void")] for region in scene.regions]
        yield split, names[int(share * len(names))], scene, np.array(lookup, np.uint8)[_owner(scene)]


def camvid(root: Path, *, images: int = 8, seed: int = 0, size: tuple[int, int] = (720, 960)) -> Path:
    """CamVid as it is given out: stills, labels in 32 colours, `label_colors.txt`; one label has stray colours.

    Args:
        root: folder to write into.
        images: how many frames.
        seed: same seed, same bytes.
        size: height and width.

    Returns:
        `root/CamVid`.
    """
    home = root / "CamVid"
    space = manifest.shipped("camvid").labels
    colors = np.array([category.color for category in space.categories], np.uint8)
    for number, (_, name, scene, index) in enumerate(_frames(images, seed, size)):
        _picture(scene, home / "701_StillsRaw_full" / f"{name}.png")
        label = colors[index]
        if number == 0:
            label[size[0] // 2, :5] = (64, 65, 1)
        _png(label, home / "LabeledApproved_full" / f"{name}_L.png")
    rows = zip(colors.tolist(), space.categories, strict=True)
    tabs = {"Tunnel": 2, "Void": 2, "Sky": 2}
    table = [f"{r} {g} {b}" + "\t" * tabs.get(category.name, 1) + category.name for (r, g, b), category in rows]
    _text(home / "label_colors.txt", table)
    return home


def camvid_segnet(root: Path, *, images: int = 8, seed: int = 0, size: tuple[int, int] = (360, 480)) -> Path:
    """SegNet's copy of CamVid: indices 0 … 11 and lists of absolute paths. Arguments and return value as `camvid`."""
    home = root / "CamVid"
    source, target = manifest.shipped("camvid").labels, manifest.shipped("camvid-segnet").labels
    lookup = [target.index_of_name.get(_SEGNET.get(c.name, c.name), len(target) - 1) for c in source.categories]
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for split, name, scene, index in _frames(images, seed, size):
        _picture(scene, home / split / f"{name}.png")
        _png(np.array(lookup, np.uint8)[index], home / f"{split}annot" / f"{name}.png")
        lists[split].append(f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png")
    for split, rows in lists.items():
        _text(home / f"{split}.txt", rows)
    return home


def camvid_fastai(root: Path, *, images: int = 8, seed: int = 0, size: tuple[int, int] = (720, 960)) -> Path:
    """fast.ai's copy of CamVid: `codes.txt` names the indices, `valid.txt` the validation images. As `camvid`."""
    home = root / "CamVid"
    valid: list[str] = []
    for split, name, scene, index in _frames(images, seed, size):
        _picture(scene, home / "images" / f"{name}.png")
        _png(index, home / "labels" / f"{name}_P.png")
        if split == "val":
            valid.append(f"{name}.png")
    _text(home / "codes.txt", [category.name for category in manifest.shipped("camvid").labels.categories])
    _text(home / "valid.txt", valid)
    return home
