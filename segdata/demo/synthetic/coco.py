"""A COCO folder: instances, keypoints and captions of two splits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segdata.catalog import manifest
from segdata.demo.synthetic import files, outlines, scenes, things
from segdata.demo.synthetic.files import Owner
from segdata.demo.synthetic.scene import Region, Scene

_COCO = {"rider": "person", "stop sign": "stop sign", "table": "dining table"}

_SKELETON = [
    [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
    [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
]  # fmt: skip

_LICENSES = [
    {"url": "https://creativecommons.org/publicdomain/zero/1.0/", "id": 1, "name": "CC0 1.0 Universal"},
    {"url": "https://www.apache.org/licenses/LICENSE-2.0", "id": 2, "name": "Apache License 2.0"},
]


def draw(root: Path, *, images: int = 12, seed: int = 0) -> Path:
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
    rng = files.rng(seed, 1)
    ids = rng.choice(580_000, images, replace=False) + 139
    numbers = rng.choice(2_200_000, images * 200, replace=False).tolist()
    val = max(1, images // 3)
    for split, members in (("train", range(images - val)), ("val", range(images - val, images))):
        rows: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        captions: list[dict[str, Any]] = []
        for index in members:
            drawn = files.rng(seed, 1, index)
            height, width = ((480, 640), (426, 640), (640, 480))[index % 3]
            empty = index == images - val - 1
            draw = scenes.landscape if empty else (scenes.street, scenes.objects)[index % 2]
            scene = draw(drawn, height, width)
            image_id = int(ids[index])
            name = f"{image_id:012d}.jpg"
            files.picture(scene, root / f"{split}2017" / name)
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
            captions += [
                {"image_id": image_id, "id": numbers.pop(), "caption": text} for text in _captions(scene, drawn)
            ]
        annotations = [annotations[k] for k in rng.permutation(len(annotations)).tolist()]
        captions = [captions[k] for k in rng.permutation(len(captions)).tolist()]
        info = {
            "description": "Drawn scenes in the layout of COCO 2017", "url": "", "version": "1.0", "year": 2017,
            "contributor": "segdata", "date_created": "2017/09/01",
        }  # fmt: skip
        head = {"info": info, "licenses": _LICENSES, "images": rows}
        person = [{**categories[0], "keypoints": list(things.KEYPOINTS), "skeleton": _SKELETON}]
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
    owner = files.owner(scene)
    annotations: list[dict[str, Any]] = []
    for number, region in enumerate(scene.regions, 1):
        name = _COCO.get(region.name, region.name)
        visible = owner == number
        if name not in index_of or visible.sum() < files.SMALLEST:
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
            rings = [np.round(ring, 2) for ring in outlines.trace(visible)[0]]
            rings = [ring for ring in rings if outlines.shoelace(ring) >= 6]
            if not rings:
                continue
            item["segmentation"] = [[round(v, 2) for v in ring.ravel().tolist()] for ring in rings]
            low, high = np.vstack(rings).min(0), np.vstack(rings).max(0)
            box = [round(v, 2) for v in (*low.tolist(), *(high - low).tolist())]
            area = sum(outlines.shoelace(ring) for ring in rings)
        item.update(area=area, iscrowd=int(region.is_crowd), image_id=image_id, bbox=box)
        if name == "person":
            points = [0] * 51 if region.is_crowd or area < 600 else _keypoints(region, owner, number)
            item.update(keypoints=points, num_keypoints=sum(v > 0 for v in points[2::3]))
        annotations.append({**item, "category_id": index_of[name]})
    return annotations


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
    where = "street" if any(region.name == "road" for region in scene.regions) else "scene"
    listed = ", ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in some)
    return [
        f"A {where} with {listed}.",
        f"There is {listed} in this {where}.",
        f"a picture of {listed}",
        f"A drawn {where} on a clear day: {listed}.",
        f"{listed.capitalize()} can be seen here.",
    ]
