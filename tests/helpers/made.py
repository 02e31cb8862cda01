"""Small datasets in the official layouts, written by hand with nothing of segdata, for faults to be put into."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat
from scipy.sparse import csc_matrix

WIDTH, HEIGHT = 40, 30


def photo(width: int = WIDTH, height: int = HEIGHT, seed: int = 0, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """An encoded picture of smooth noise."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (4, 4, 3), np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def put(path: Path, data: bytes | str | dict[str, Any] | list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, (dict, list)):
        data = json.dumps(data)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def png(array: np.ndarray, palette: list[int] | None = None) -> bytes:
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


# ---------------------------------------------------------------------- COCO


def coco_document(images: int = 3) -> dict[str, Any]:
    """Three images; polygons of one and two rings, both kinds of run lengths, a crowd, one image without objects."""
    square = [4.0, 4.0, 14.5, 4.0, 14.5, 12.25, 4.0, 12.25]
    return {
        "info": {"year": 2017, "version": "1.0"},
        "licenses": [{"id": 1, "name": "a licence", "url": ""}],
        "images": [
            {"id": 10 + i, "file_name": f"{i:012d}.jpg", "height": HEIGHT, "width": WIDTH, "license": 1}
            for i in range(images)
        ],
        "annotations": [
            {
                "id": 101,
                "image_id": 10,
                "category_id": 1,
                "bbox": [4.0, 4.0, 10.5, 8.25],
                "area": 86.625,
                "iscrowd": 0,
                "segmentation": [square],
            },
            {
                "id": 908400535506,
                "image_id": 11,
                "category_id": 3,
                "bbox": [0, 0, 1, 29],
                "area": 60,
                "iscrowd": 1,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 60, HEIGHT * WIDTH - 60]},
            },
            {
                "id": 102,
                "image_id": 10,
                "category_id": 90,
                "bbox": [20, 2, 18, 20],
                "area": 84.5,
                "iscrowd": 0,
                "segmentation": [
                    [20.0, 2.0, 30.0, 2.0, 30.0, 8.0, 20.0, 8.0],
                    [31.0, 15.0, 38.0, 15.0, 34.0, 22.0],
                ],
                "attributes": {"occluded": True},
            },
        ],
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 3, "name": "car", "supercategory": "vehicle"},
            {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
        ],
    }


def coco(root: Path, document: Any = None, split: str = "val2017") -> Path:
    document = coco_document() if document is None else document
    put(root / "annotations" / f"instances_{split}.json", document)
    for number, image in enumerate(document["images"]):
        put(root / split / image["file_name"], photo(image["width"], image["height"], number))
    return root


# ---------------------------------------------------------------------- PASCAL VOC


def voc_palette() -> list[int]:
    """VOC's colours by their rule: bits of the index, three at a time, into the high bits of red, green, blue."""
    entries = []
    for index in range(256):
        red = green = blue = 0
        for shift in range(8):
            red |= ((index >> (3 * shift)) & 1) << (7 - shift)
            green |= ((index >> (3 * shift + 1)) & 1) << (7 - shift)
            blue |= ((index >> (3 * shift + 2)) & 1) << (7 - shift)
        entries += [red, green, blue]
    return entries


def voc_object(name: str = "dog", box: tuple[object, ...] = (5, 6, 14, 12), more: str = "") -> str:
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<object><name>{name}</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
        f"<bndbox>{corners}</bndbox>{more}</object>"
    )


def voc_xml(name: str, objects: str, *, width: object = WIDTH, height: object = HEIGHT, segmented: int = 1) -> str:
    return (
        f"<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename>"
        f"<source><database>d</database></source><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size><segmented>{segmented}</segmented>{objects}</annotation>"
    )


def voc(root: Path) -> Path:
    """Two images: one with masks (dog, person; void rim; object 2 first in the file's order), one with boxes only."""
    person = voc_object(
        "person",
        (20, 3, 36, 28),
        "<part><name>head</name><bndbox><xmin>22.5</xmin><ymin>4</ymin><xmax>30</xmax><ymax>9</ymax></bndbox></part>",
    )
    put(root / "Annotations/2007_000001.xml", voc_xml("2007_000001", voc_object() + person))
    put(root / "Annotations/2007_000002.xml", voc_xml("2007_000002", voc_object("cat"), segmented=0))
    for number, name in enumerate(("2007_000001", "2007_000002")):
        put(root / f"JPEGImages/{name}.jpg", photo(seed=number))
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    objects = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, number, (y0, y1, x0, x1) in ((12, 1, (5, 12, 4, 14)), (15, 2, (2, 28, 19, 36))):
        for target, index in ((classes, value), (objects, number)):
            target[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = 255
            target[y0:y1, x0:x1] = index
    put(root / "SegmentationClass/2007_000001.png", png(classes, voc_palette()))
    put(root / "SegmentationObject/2007_000001.png", png(objects, voc_palette()))
    put(root / "ImageSets/Segmentation/train.txt", "2007_000001\n")
    put(root / "ImageSets/Segmentation/val.txt", "")
    put(root / "ImageSets/Main/train.txt", "2007_000001\r\n\r\n2007_000002\r\n")
    put(root / "ImageSets/Main/dog_train.txt", "2007_000001  1\n2007_000002 -1\n")
    return root


# ---------------------------------------------------------------------- Cityscapes


def cityscapes(root: Path, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """One frame: stuff, two cars with a gap in their numbers, a group of persons, polygons with every oddity."""
    height, width = size
    ids = np.full(size, 7, np.uint8)
    ids[: height // 3] = 23
    ids[-2:] = 1
    numbers = ids.astype(np.uint16)
    for value, (y0, y1, x0, x1) in ((26003, (10, 16, 2, 12)), (26007, (12, 20, 15, 30)), (24, (9, 14, 32, 39))):
        numbers[y0:y1, x0:x1] = value
        ids[y0:y1, x0:x1] = value // 1000 if value >= 1000 else value
    base = root / "gtFine/val/town/town_000000_000019_gtFine_"
    put(root / "leftImg8bit/val/town/town_000000_000019_leftImg8bit.png", photo(width, height, kind="PNG"))
    put(Path(f"{base}labelIds.png"), png(ids))
    put(Path(f"{base}instanceIds.png"), png(numbers))
    objects = [
        {"label": "sky", "polygon": [[0, 0], [width, 0], [width, 9], [-1, 9]]},
        {"label": "car", "polygon": [[2, 10], [11, 10], [11, 15], [2, 15]], "id": 4, "user": "u", "verified": 0},
        {"label": "cargroup", "polygon": [[1, 1], [3, 1], [3, 3]], "deleted": 1},
        {"label": "license plate", "polygon": [[3, 12], [5, 12], [5, 13]]},
        {"label": "persongroup", "polygon": []},
    ]
    put(Path(f"{base}polygons.json"), {"imgHeight": height, "imgWidth": width, "objects": objects})
    return root


# ---------------------------------------------------------------------- CamVid

CAMVID_COLORS = "128 128 128\tSky\n128 64 128\t\tRoad\n64 0 128\tCar\n0 0 0\t\tVoid\n\n"


def camvid(root: Path, size: tuple[int, int] = (60, 80)) -> Path:
    """The original layout: one frame, four colours, two pixels off the table."""
    height, width = size
    label = np.zeros((height, width, 3), np.uint8)
    label[: height // 2] = (128, 128, 128)
    label[height // 2 :, : width // 2] = (128, 64, 128)
    label[height // 2 :, width // 2 : width - 5] = (64, 0, 128)
    label[2, 11] = (26, 26, 26)
    label[50, 60] = (171, 171, 86)
    put(root / "701_StillsRaw_full/Seq05VD_f02610.png", photo(width, height, kind="PNG"))
    put(root / "LabeledApproved_full/Seq05VD_f02610_L.png", png(label))
    put(root / "label_colors.txt", CAMVID_COLORS)
    return root


def camvid_fastai(root: Path) -> Path:
    """fast.ai's layout: two frames, indices, one of them for validation."""
    put(root / "codes.txt", "Sky\nRoad\nCar\nVoid\n")
    put(root / "valid.txt", "b.png\n")
    for number, name in enumerate("ab"):
        put(root / f"images/{name}.png", photo(seed=number, kind="PNG"))
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[10:, 10:] = 1 + number
        put(root / f"labels/{name}_P.png", png(label))
    return root


def camvid_segnet(root: Path) -> Path:
    """SegNet's layout: index labels and lists with absolute paths."""
    for number, split in enumerate(("train", "val", "test")):
        name = f"0001TP_00{number}.png"
        put(root / split / name, photo(seed=number, kind="PNG"))
        label = np.full((HEIGHT, WIDTH), 11, np.uint8)
        label[5:20, 5:30] = np.arange(25) % 11
        put(root / f"{split}annot" / name, png(label))
        put(root / f"{split}.txt", f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
    return root


# ---------------------------------------------------------------------- masks that number objects


def masks(root: Path) -> Path:
    """Two splits: numbers with a gap in 16 bits, an object in two parts, one-bit, an empty mask, one image without mask."""
    first = np.zeros((HEIGHT, WIDTH), np.uint16)
    first[2:9, 3:12], first[20:25, 30:38], first[12:18, 5:9] = 1, 1, 300
    second = np.zeros((HEIGHT, WIDTH), np.uint8)
    second[0, 0], second[4:10, 4:30], second[15:, 20:] = 1, 2, 3
    buffer = io.BytesIO()
    Image.fromarray(second == 2).save(buffer, "PNG")
    tiff = io.BytesIO()
    Image.fromarray(first).save(tiff, "TIFF")
    stored = {"train/a": png(first), "train/b": png(second), "val/c": buffer.getvalue(), "val/d": png(second * 0)}
    for number, (name, data) in enumerate({**stored, "val/e": b"", "val/f": b""}.items()):
        split, _, key = name.partition("/")
        put(
            root / f"{split}/images/{key}.{'jpg' if number else 'png'}",
            photo(seed=number, kind="JPEG" if number else "PNG"),
        )
        if data:
            put(root / f"{split}/masks/{key}.png", data)
    put(root / "val/masks/f.tif", tiff.getvalue())
    put(root / "classes.txt", "cell\n")
    return root


def masks_pennfudan(root: Path) -> Path:
    """PennFudan as published: palette masks, 1 … N pedestrians; the text files are not part of what is compared."""
    for number in range(1, 4):
        name = f"FudanPed{number:05d}"
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for k in range(1, number + 1):
            mask[3 + k : 20, 10 * k - 8 : 10 * k] = k
        put(root / f"PNGImages/{name}.png", photo(seed=number, kind="PNG"))
        put(root / f"PedMasks/{name}_mask.png", png(mask, [0, 0, 0, 220, 20, 60, 0, 80, 100, 12, 12, 12] + [0] * 756))
    return root


def masks_nuclei(root: Path) -> Path:
    """A file for each object, two of which overlap."""
    for number, name in enumerate(("00ae65", "0d3640")):
        put(root / f"{name}/images/{name}.png", photo(seed=number, kind="PNG", mode="RGBA"))
        for k in range(number + 2):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[4 + 3 * k : 12 + 3 * k, 5:15] = 255
            put(root / f"{name}/masks/{k:02x}f9.png", png(mask))
    return root


def sa1b(root: Path) -> Path:
    """Documents beside images, in the folder and in one below: both kinds of run lengths, masks within masks, records that
    lack a number, further fields, an image without objects, and one without document."""
    wholes = [np.zeros((HEIGHT, WIDTH), np.uint8, order="F") for _ in range(2)]
    wholes[0][4:20, 5:30], wholes[1][6:12, 8:15] = 1, 1
    made_how = {
        "predicted_iou": 0.9375,
        "stability_score": 0.5,
        "crop_box": [0, 0, WIDTH, HEIGHT],
        "point_coords": [[9, 8]],
    }
    records: list[dict[str, Any]] = []
    for number, mask in enumerate(wholes):
        area, box = int(mask.sum()), coco_mask.toBbox(coco_mask.encode(mask)).tolist()
        rle = {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(mask)["counts"].decode()}
        records.append({"id": 77 + number, "segmentation": rle, "bbox": box, "area": area, **made_how})
    by_hand = {"size": [HEIGHT, WIDTH], "counts": [30, 5, 25, 5, HEIGHT * WIDTH - 65]}
    odd = [{"segmentation": by_hand, "area": 11, "category_id": 3, "sa1b": 1}, {**records[0], "bbox": [1, 2, 3, 4]}]
    documents: dict[str, tuple[dict[str, Any], list[Any], dict[str, Any]]] = {
        "sa_1": ({"image_id": 1}, records, {}),
        "sa_000020/sa_2": ({"image_id": "two", "licence": "none"}, [*records[::-1], *odd], {"info": {"by": "hand"}}),
        "sa_000020/sa_3": ({"image_id": 3}, [], {}),
    }
    for seed, (name, (image, objects, more)) in enumerate(documents.items()):
        about = {"height": HEIGHT, "width": WIDTH, "file_name": f"{name.rpartition('/')[2]}.jpg"}
        put(root / f"{name}.jpg", photo(seed=seed))
        put(root / f"{name}.json", {"image": {**image, **about}, "annotations": objects, **more})
    put(root / "sa_000020/sa_4.png", photo(seed=4, kind="PNG"))
    return root


# ---------------------------------------------------------------------- Labelme


def labelme_shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def labelme_document(image: str, shapes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "version": "5.7.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **more,
    }


def labelme_mask(array: np.ndarray) -> str:
    """A mask as Labelme writes it: base64 of a one-bit PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array.astype(bool)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme_objects() -> list[dict[str, Any]]:
    """Every type of shape; an object in two parts around another one, a group of two labels, an ignored region."""
    octagon = np.ones((6, 9), bool)
    octagon[0, 0] = octagon[3, 4] = False
    return [
        labelme_shape("cat, wild", [[2.5, 3.25], [12.0, 3.0], [9.75, 14.5]], group_id=0, description="left half"),
        labelme_shape("eye", [[4, 5]], "point"),
        labelme_shape("dog", [[30.0, 20.0], [20.5, 4.0]], "rectangle", flags={"hairy": True, "old": False}),
        labelme_shape("cat, wild", [[2.0, 18.0], [12.0, 18.0], [12.0, 26.0], [2.0, 26.0]], group_id=0),
        labelme_shape("dog", [[33.0, 10.0], [35.0, 13.5]], "circle", group_id=0),
        labelme_shape("leash", [[30, 20], [33, 10], [36, 2]], "linestrip", group_id=0, score=0.5),
        labelme_shape("dog", [[14.2, 20.0], [22.9, 25.0]], "mask", mask=labelme_mask(octagon)),
        labelme_shape("leash", [[1, 1], [5, 1]], "line", group_id=None),
    ]


def labelme(root: Path) -> Path:
    """Documents beside the images: all types of shapes, no shape, and imageData that repeats the photo."""
    photos = [photo(seed=number) for number in range(3)]
    for number, data in enumerate(photos):
        put(root / f"photo {number}.jpg", data)
    put(root / "photo 0.json", labelme_document("photo 0.jpg", labelme_objects(), flags={"blurred": True}))
    put(root / "photo 1.json", labelme_document("photo 1.jpg", [], version="4.0.0", imageHeight=None, imageWidth=None))
    stored = base64.b64encode(photos[2]).decode()
    shapes = [{"label": "dog", "points": [[1, 1], [5, 1], [5, 5]], "group_id": None, "flags": None}]
    put(root / "photo 2.json", labelme_document("photo 2.jpg", shapes, imageData=stored, checked={"by": "ä"}))
    return root


def labelme_splits(root: Path) -> Path:
    """Folders of splits, a list of labels with a background, void over objects, imagePath as Windows writes it."""
    put(root / "labels.txt", "__ignore__\n_background_\ncat\ndog\n")
    cat = labelme_shape("cat", [[2.0, 2.0], [30.0, 2.0], [30.0, 20.0], [2.0, 20.0]])
    void = labelme_shape("__ignore__", [[10.0, 10.0], [20.0, 10.0], [20.0, 28.0], [10.0, 28.0]])
    hole = labelme_shape("_background_", [[4.0, 4.0], [8.0, 8.0]], "rectangle")
    for number, (split, shapes) in enumerate({"train": [cat, void, hole], "val": [void, cat]}.items()):
        put(root / f"{split}/images/a.png", photo(seed=number, kind="PNG"))
        put(root / f"{split}/json/a.json", labelme_document("..\\images\\a.png", shapes))
    return root


# ---------------------------------------------------------------------- YOLO

YOLO_YAML = """\ufeff# made by hand
path: C:\\Users\\me\\my data\\
train: ../train/images
val: ../valid/images  # tried without ../
nc: 4
names: ['a cat', no, 12, \"ä: #\"]
"""


def turned_photo(orientation: int, seed: int = 0) -> bytes:
    """A picture that EXIF turns."""
    image = Image.open(io.BytesIO(photo(seed=seed)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def yolo(root: Path) -> Path:
    """Roboflow's folders: outlines in every way to write numbers, boxes, turned pictures, empty and missing files."""
    put(root / "data.yaml", YOLO_YAML)
    square = "0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
    hole = "0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9 0.1 0.1 0.3 0.3 0.3 0.6 0.6 0.6 0.6 0.3 0.3 0.3"
    texts = {
        "train/digits": "0 0.731209150462963 0.5893554675925926 0.740604574074074 0.9942382824074074 0.25 0.59375",
        "train/boxes": "3 0.500000 0.500000 0.250000 0.333333\r\n1 0.1 0.2 0.1 0.1\r\n",
        "train/hole": f"1 {hole}\n1 {square}\n\n  2\t{square} \n1 {square}\n0 1e-3 0 1 0 1 1.0\n",
        "train/turned_6": "0 0.125000 0.250000 0.625000 0.250000 0.625000 0.750000\n",
        "train/turned_2": "2.0 0.3 0.4 0.2 0.2\n",
        "train/beyond": "0 -0.005 0.2 1.005 0.2 0.5 1.2",
        "train/empty": "",
        "train/blank": " \n\n",
        "valid/deep/a": f"\ufeff2 {square}\n",
    }
    for number, (name, text) in enumerate({**texts, "train/missing": "", "valid/b": ""}.items()):
        split, _, key = name.partition("/")
        turn = int(key[-1]) if key.startswith("turned") else 0
        put(root / f"{split}/images/{key}.jpg", turned_photo(turn, number) if turn else photo(seed=number))
        if name in texts:
            put(root / f"{split}/labels/{key}.txt", text)
    return root


def yolo_ultralytics(root: Path) -> Path:
    """Ultralytics' folders and lists: an image in two splits, label maps, a split that nobody annotated, a key of its own."""
    put(
        root / "dataset.yml",
        "path: .\ntrain: [images/train, more.txt]\nval: val.txt\ntest: images/test\nminival: images/minival\n"
        "masks_dir: masks\nnames: {0: cat, 1: dog, 7: bird}\n",
    )
    put(root / "more.txt", "./images/more/x.png\n")
    put(root / "val.txt", "/content/data/images/train/a.jpg\n\n/content/data/images/val/b.jpg\r\n")
    for number, name in enumerate(("train/a.jpg", "more/x.png", "val/b.jpg", "test/c.jpg", "minival/d.jpg")):
        kind = "PNG" if name.endswith("png") else "JPEG"
        data = turned_photo(6) if name.startswith("val") else photo(seed=number, kind=kind)
        put(root / f"images/{name}", data)
    put(root / "labels/train/a.txt", "7 0.5 0.5 0.2 0.2\n")
    put(root / "labels/val/b.txt", "0 0.5 0.5 0.2 0.2\n")
    values = np.full((HEIGHT, WIDTH), 255, np.uint8)
    values[3:9], values[12:20, 5:9] = 1, 7
    put(root / "masks/train/a.png", png(values))
    put(root / "masks/val/b.png", png(np.ascontiguousarray(values.T), voc_palette()))
    put(root / "masks/more/x.png", png((values == 1).astype(np.uint8)))
    return root


def yolo_alone(root: Path) -> Path:
    """Folders without data.yaml, classes.txt among the label files."""
    put(root / "labels/classes.txt", "cat\ndog\n")
    for number, name in enumerate("ab"):
        put(root / f"images/{name}.png", photo(seed=number, kind="PNG"))
        put(root / f"labels/{name}.txt", f"{number} 0.5 0.5 0.25 0.25\n")
    return root


def parquet(root: Path, files: int = 1) -> Path:
    """Tables as `datasets` writes them, a split in one file or two: an image without objects, one without annotation, a crowd,
    polygons of two rings, a box alone, a further column, and a label map."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields: list[tuple[str, Any]] = [
        ("bbox_id", pa.int64()),
        ("category", pa.int64()),
        ("bbox", pa.list_(pa.float32(), 4)),
        ("area", pa.int64()),
        ("is_crowd", pa.bool_()),
        ("segmentation", pa.list_(pa.list_(pa.float32()))),
        ("note", pa.string()),
    ]
    kind = pa.struct(fields)
    features = {
        "image": {"_type": "Image"},
        "objects": [{"category": {"names": ["dog", "person"], "_type": "ClassLabel"}}],
        "annotation": {"_type": "Image"},
    }
    schema = pa.schema(
        [
            ("image", image),
            ("image_id", pa.int64()),
            ("objects", pa.list_(kind)),
            ("annotation", image),
            ("scene", pa.string()),
        ],
        {b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    square = [4.0, 4.0, 14.5, 4.0, 14.5, 12.25, 4.0, 12.25]
    label_map = np.full((HEIGHT, WIDTH), 255, np.uint8)
    label_map[3:9, 4:20], label_map[12:, :] = 1, 0
    objects: list[list[dict[str, Any]] | None] = [
        [
            {
                "bbox_id": 5,
                "category": 1,
                "bbox": [4, 4, 10.5, 8.25],
                "area": 80,
                "is_crowd": False,
                "segmentation": [square],
            },
            {"bbox_id": 6, "category": 0, "bbox": [1, 2, 3, 4], "area": 12, "is_crowd": True, "note": "far away"},
        ],
        [],
        None,
    ]
    rows: list[dict[str, Any]] = []
    for number, cells in enumerate(objects):
        row = {
            "image": {"bytes": photo(seed=number), "path": f"{number:03d}.jpg"},
            "image_id": 40 + number,
            "objects": cells,
            "annotation": {"bytes": png(label_map), "path": None} if number == 0 else None,
            "scene": ["street", None, "beach"][number],
        }
        rows.append(row)
    (root / "data").mkdir(parents=True, exist_ok=True)
    parts = (
        {"train-00000-of-00001": rows[:2]}
        if files == 1
        else {f"train-0000{n}-of-00002": rows[n : n + 1] for n in (0, 1)}
    )
    for name, part in {**parts, "val-00000-of-00001": rows[2:]}.items():
        pq.write_table(pa.Table.from_pylist(part, schema), root / f"data/{name}.parquet")
    return root


# ---------------------------------------------------------------------- CVAT

CVAT_META = """<version>1.1</version>
  <meta><task><id>7</id><name>test</name><labels>
    <label><name>cat, wild</name><color>#ff0010</color><type>any</type><attributes><attribute><name>age</name>
      <mutable>False</mutable><input_type>number</input_type><default_value>0</default_value><values>0
10</values></attribute></attributes></label>
    <label><name>dog</name><color>#0080ff</color><attributes></attributes></label>
    <label><name>body</name><type>skeleton</type><svg>&lt;circle r="1"&gt;&lt;/circle&gt;</svg></label>
    <label><name>1</name><type>points</type><parent>body</parent></label>
  </labels></task><dumped>2024-01-01 00:00:00+00:00</dumped></meta>
  <!-- images -->
  """

CVAT_SHAPES = """<tag label="dog" source="manual"><attribute name="age">3</attribute></tag>
    <box label="dog" source="manual" occluded="1" xtl="2.00" ytl="3.00" xbr="12.00" ybr="9.00" z_order="2"></box>
    <box label="dog" occluded="0" xtl="20.00" ytl="10.00" xbr="30.00" ybr="14.00" rotation="90.00" z_order="0"/>
    <polygon label="cat, wild" source="file" occluded="0" points="2.50,13.25;12.00,13.00;9.75,24.50" z_order="0" group_id="3">
      <attribute name="age">10</attribute>
    </polygon>
    <ellipse label="dog" source="manual" occluded="0" cx="33.00" cy="8.00" rx="4.50" ry="2.50" rotation="0.00" z_order="0"/>
    <polygon label="cat, wild" source="manual" points="2.0,26.0;12.0,26.0;12.0,29.5;2.0,29.5" z_order="0" group_id="3"/>
    <mask label="dog" source="semi-auto" occluded="0" rle="1, 3, 2, 2" left="14" top="20" width="4" height="2" z_order="1"/>
    <mask label="dog" rle="0, 2, 1" left="20" top="25" width="3" height="2" z_order="0" group_id="0"/>
    <polyline label="dog" points="1.00,1.00;5.00,5.00" z_order="0"></polyline>
    <points label="cat, wild" points="4.00,4.00" z_order="0"/>
    <cuboid label="dog" xtl1="1.00" ytl1="1.00" xbl1="1.00" ybl1="2.00" xtr1="2.00" ytr1="1.00" xbr1="2.00" ybr1="2.00"
      xtl2="3.00" ytl2="1.00" xbl2="3.00" ybl2="2.00" xtr2="4.00" ytr2="1.00" xbr2="4.00" ybr2="2.00" z_order="0"/>
    <skeleton label="body" z_order="0"><points label="1" outside="0" points="1.00,1.00"/></skeleton>"""


def cvat_document(*images: str) -> str:
    inner = "\n  ".join(images)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  {CVAT_META}{inner}\n</annotations>\n'


def cvat_image(number: int, name: str, shapes: str = "", more: str = "") -> str:
    return f'<image id="{number}" name="{name}" {more}width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'


def cvat(root: Path) -> Path:
    """Every kind of shape, an object in two parts, a mask that ends early, an empty image; numbers of images with a gap."""
    images = [("ä/one.jpg", CVAT_SHAPES), ("two.png", "<!-- nothing here -->"), ("three.jpg", "")]
    for number, (name, _) in enumerate(images):
        put(root / f"images/{name}", photo(seed=number, kind="PNG" if name.endswith("png") else "JPEG"))
    elements = [cvat_image(3 * number, name, shapes) for number, (name, shapes) in enumerate(images)]
    put(root / "annotations.xml", cvat_document(*elements))
    return root


def cvat_subsets(root: Path) -> Path:
    """Images in folders of their subsets; one name in two of them; a document of one subset beside."""
    box = '<box label="dog" occluded="0" xtl="2.00" ytl="3.00" xbr="12.00" ybr="9.00" z_order="0"/>'
    for number, split in enumerate(("Train", "Validation")):
        put(root / f"images/{split}/a.png", photo(seed=number, kind="PNG"))
    elements = [cvat_image(n, "a.png", box, f'subset="{split}" ') for n, split in enumerate(("Train", "Validation"))]
    put(root / "annotations.xml", cvat_document(*elements))
    put(root / "images/b.jpg", photo(seed=5))
    put(root / "test.xml", cvat_document(cvat_image(0, "b.jpg", box * 2)))
    return root


def ade20k_object(number: int, name: str, ndx: int, *, whole: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "name_ndx": ndx,
        "hypernym": [name, "entity"],
        "raw_name": name.partition(",")[0],
        "attributes": [],
        "depth_ordering_rank": number + 1,
        "occluded": [],
        "crop": 0,
        "parts": {"hasparts": [], "ispartof": [] if whole is None else whole, "part_level": 0 if whole is None else 1},
        "instance_mask": f"ADE_1/instance_{number:03d}_ADE_1.png",
        "polygon": {"x": [5, 29], "y": [4, 19], "click_date": ["1-Jan-2008"]},
        **more,
    }


def ade20k(root: Path) -> Path:
    """An image with an object that another one hides partly, a part of it, a class of two bytes, and an object without
    mask; one without objects; one without map."""
    scene = root / "training/street"
    objects = [
        ade20k_object(0, "car, auto", 401, occluded="yes", attributes=["parked"]),
        ade20k_object(1, "person, individual", 1831, crop=1),
        ade20k_object(2, "door", 774, whole=0),
        ade20k_object(3, "car, auto", 401, instance_mask=None),
    ]
    car, person, door = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(3))
    car[10:25, 5:30], person[5:28, 15:20], door[14:20, 6:10] = 255, 255, 255
    car[10:25, 15:20] = 128
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[car == 255], pixels[person == 255] = (10, 145, 1), (70, 39, 2)
    parts = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    parts[door == 255] = (30, 6, 1)
    about = {"filename": "ADE_1.jpg", "folder": "x", "imsize": [HEIGHT, WIDTH, 3], "scene": ["outdoor", "street"]}
    put(scene / "ADE_1.jpg", photo())
    put(scene / "ADE_1.json", {"annotation": {**about, "object": objects}})
    put(scene / "ADE_1_seg.png", png(pixels))
    put(scene / "ADE_1_parts_1.png", png(parts))
    for number, mask in enumerate((car, person, door)):
        put(scene / f"ADE_1/instance_{number:03d}_ADE_1.png", png(mask))
    put(root / "validation/ADE_2.jpg", photo(seed=1))
    put(root / "validation/ADE_2.json", {"annotation": {**about, "object": []}})
    put(root / "validation/ADE_2_seg.png", png(pixels * 0))
    put(root / "validation/ADE_3.jpg", photo(seed=2))
    put(root / "validation/ADE_3.json", {"annotation": {"note": "caf\u00e9", "object": []}})
    return root


def tar_of(members: dict[str, bytes]) -> bytes:
    """A tar file: name → bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def webdataset(root: Path) -> Path:
    """Two splits: objects with run lengths, a box alone, a further field, an image without objects, one with a label map
    alone, one without annotation."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[4:20, 5:30] = 1
    rle = {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(mask)["counts"].decode()}
    objects: list[dict[str, Any]] = [
        {
            "category": 1,
            "segmentation": rle,
            "bbox": [5, 4, 25, 16],
            "id": 7,
            "iscrowd": 0,
            "area": 400,
            "note": "left",
        },
        {"category": 0, "bbox": [1.5, 2, 3, 4], "difficult": True, "score": 0.5},
    ]
    label_map = np.full((HEIGHT, WIDTH), 255, np.uint8)
    label_map[3:9, 4:20] = 1
    about = {"width": WIDTH, "height": HEIGHT}
    members = {
        "a.jpg": photo(),
        "a.json": json.dumps({"key": "a", "image_id": 40, **about, "objects": objects, "scene": "street"}).encode(),
        "sub/b.png": photo(seed=1, kind="PNG"),
        "sub/b.json": json.dumps({"objects": []}).encode(),
    }
    put(root / "train-000000.tar", tar_of(members))
    put(root / "val-000000.tar", tar_of({"c.jpg": photo(seed=2), "c.seg.png": png(label_map), "d.jpg": photo(seed=3)}))
    put(root / "labels.json", {"name": "pets", "categories": [{"name": "cat", "id": 3}, {"name": "dog", "id": 9}]})
    return root


# ---------------------------------------------------------------------- VIA


def via_region(shape: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def via_polygon(*points: tuple[float, float]) -> dict[str, Any]:
    x, y = ([point[axis] for point in points] for axis in (0, 1))
    return {"name": "polygon", "all_points_x": x, "all_points_y": y}


def via_regions() -> list[dict[str, Any]]:
    """Every kind of shape."""
    return [
        via_region(via_polygon((2, 3), (12, 3), (9.5, 14)), kind="cat", age="3", note=""),
        via_region({"name": "point", "cx": 4, "cy": 5}, kind="eye"),
        via_region({"name": "rect", "x": 20, "y": 4, "width": 10, "height": 16}, kind="dog"),
        via_region({"name": "circle", "cx": 33, "cy": 10, "r": 4.5}, kind="dog"),
        via_region({"name": "ellipse", "cx": 15, "cy": 24, "rx": 8, "ry": 3, "theta": 0.3}, kind="cat"),
        via_region({"name": "polyline", "all_points_x": [1, 5], "all_points_y": [1, 9]}, kind="eye"),
    ]


def via_record(name: str, size: int, regions: Any, **more: Any) -> dict[str, Any]:
    return {"filename": name, "size": size, "regions": regions, "file_attributes": {}, **more}


def via(root: Path) -> Path:
    """A project of version 2: every kind of shape, an image without regions, attributes of images."""
    images = {}
    for number, regions in enumerate((via_regions(), [])):
        name, data = f"ä {number}.jpg", photo(seed=number)
        put(root / name, data)
        images[f"{name}{len(data)}"] = via_record(
            name, len(data), regions, file_attributes={"by": "me"} if number else {}
        )
    kinds = {"type": "dropdown", "options": {"dog": "a dog", "cat": "a cat"}, "default_options": {}}
    project = {
        "_via_settings": {"ui": {}, "project": {"name": "p"}},
        "_via_img_metadata": images,
        "_via_attributes": {"region": {"kind": kinds}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(images),
    }
    put(root / "via_project.json", project)
    return root


def via_balloons(root: Path) -> Path:
    """Version 1, as the balloon dataset has it: splits, regions as an object, no attributes."""
    for number, split in enumerate(("train", "val")):
        data = photo(seed=number)
        put(root / f"{split}/a.jpg", data)
        regions = {str(n): via_region(via_polygon((n, 2), (20 + n, 2), (9, 14), (n, 2))) for n in range(11 + number)}
        record = {"fileref": "", "base64_img_data": "", **via_record("a.jpg", len(data), regions)}
        put(root / f"{split}/via_region_data.json", {f"a.jpg{len(data)}": record})
    return root


# ---------------------------------------------------------------------- SBD


def mat(name: str, **fields: Any) -> bytes:
    """A MATLAB file with one structure."""
    value = np.empty((1, 1), [(field, object) for field in fields])
    for field, item in fields.items():
        value[field][0, 0] = item
    buffer = io.BytesIO()
    savemat(buffer, {name: value}, do_compression=True)
    return buffer.getvalue()


def mat_cells(*masks: np.ndarray) -> np.ndarray:
    column = np.empty((len(masks), 1), object)
    for number, mask in enumerate(masks):
        column[number, 0] = csc_matrix(mask)
    return column


def sbd(root: Path) -> Path:
    """Objects of VOC's classes, one of them without pixels; numbers of other MATLAB classes; an image that nobody annotated."""
    blank = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers, classes = blank.copy(), blank.copy()
    numbers[3:9, 4:12], numbers[15:25, 20:39], numbers[0, 0] = 1, 2, 4
    classes[3:9, 4:12], classes[15:25, 20:39], classes[0, 0] = 15, 8, 15
    edges = [np.eye(HEIGHT, WIDTH, number).astype(bool) for number in range(20)]
    column = np.array([[15], [8], [1], [15]], np.uint8)
    put(root / "cls/2008_000001.mat", mat("GTcls", Boundaries=mat_cells(*edges), Segmentation=classes,
                                          CategoriesPresent=np.array([[8], [15]], np.uint8)))  # fmt: skip
    put(root / "inst/2008_000001.mat", mat("GTinst", Boundaries=mat_cells(*edges[:4]), Segmentation=numbers,
                                           Categories=column))  # fmt: skip
    put(root / "cls/2008_000002.mat", mat("GTcls", Segmentation=classes.astype(float), Note="by hand",
                                          CategoriesPresent=np.array([[8, 15]], float)))  # fmt: skip
    put(root / "inst/2008_000003.mat", mat("GTinst", Segmentation=blank.astype(np.uint16), Categories=np.zeros((0, 0))))
    for number in range(1, 5):
        put(root / f"img/2008_00000{number}.jpg", photo(seed=number))
    put(root / "train.txt", "2008_000001\n2008_000003\n")
    put(root / "val.txt", "2008_000002\n")
    put(root / "train_noval.txt", "2008_000003")
    return root


def sbd_classes(root: Path) -> Path:
    """Classes of a table, and no lists."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[2:5, 2:30] = 2
    values[8:10, 8:10] = 255
    put(root / "img/a.jpg", photo())
    put(root / "cls/a.mat", mat("GTcls", Segmentation=values, CategoriesPresent=np.array([[2]], np.uint8)))
    put(root / "labelmap.txt", "background:0,0,0::\ncat:1,2,3::\nkite:4,5,6::\n")
    return root


# ---------------------------------------------------------------------- COCO-Stuff


def coco_stuff(root: Path) -> Path:
    """Maps of two splits: things and stuff, unlabelled pixels, a palette that says nothing, an image without map."""
    values = np.full((HEIGHT, WIDTH), 255, np.uint8)
    values[:10], values[10:20, 3:9], values[25:] = 156, 0, 181
    put(root / "stuffthingmaps/train2017/000000000009.png", png(values))
    put(root / "stuffthingmaps/val2017/000000000139.png", png(values[::-1], palette=[9, 9, 9] * 256))
    for number, name in enumerate(("train2017/000000000009", "train2017/000000000025", "val2017/000000000139")):
        put(root / f"{name}.jpg", photo(seed=number))
    return root


# ---------------------------------------------------------------------- Label Studio


def brush_rle(alpha: np.ndarray) -> list[int]:
    """Label Studio's run lengths of RGBA pixels in which colour and alpha differ: single values, eight at most at once."""
    values = np.stack([np.full_like(alpha, 7), np.full_like(alpha, 9), alpha // 2, alpha], axis=-1).ravel().tolist()
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for start in range(0, len(values), 8):
        group = values[start : start + 8]
        bits += f"000{len(group) - 1:03b}" + "".join(f"{value:08b}" for value in group)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def brush_alpha() -> np.ndarray:
    """A ring, opaque in its middle only."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(x - 30, y - 20)
    return np.where((distance < 8) & (distance > 3), np.where(distance > 6, 90, 255), 0).astype(np.uint8)


def region(kind: str, label: str | None, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A result of Label Studio of the size of these images."""
    about = {"from_name": "tool", "to_name": "image", "image_rotation": 0}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"type": kind, "value": value | ({} if label is None else {kind: [label]}), **about, **size, **more}


def regions() -> list[dict[str, Any]]:
    """Every kind of shape: of one with two labels, of one whose label stands apart, and results without area."""
    triangle = {"points": [[5, 10], [30.3, 10], [25, 47.77]], "closed": True}
    return [
        region("polygonlabels", "cat", triangle, id="a", meta={"text": ["by hand"]}),
        region("keypointlabels", "eye", {"x": 10.5, "y": 17, "width": 0.5}, id="b"),
        region("rectanglelabels", "dog", {"x": 50, "y": 10, "width": 25, "height": 50, "rotation": 0}, id="c"),
        region("rectanglelabels", "dog", {"x": 50, "y": 10, "width": 25, "height": 50, "rotation": 30}, id="d"),
        region("ellipselabels", "cat", {"x": 40, "y": 60, "radiusX": 20, "radiusY": 10, "rotation": 17.5}, id="e"),
        region("brushlabels", "cat", {"format": "rle", "rle": brush_rle(brush_alpha())}, id="f"),
        region("polygon", None, {"points": [[80, 80], [97.5, 80], [90, 99]]}, id="g"),
        region("labels", "dog", {"points": [[80, 80], [97.5, 80], [90, 99]]}, id="g"),
        {"type": "relation", "from_id": "a", "to_id": "c", "direction": "right"},
    ]


def task(number: int, image: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "annotations": list(annotations), "predictions": [], **more}


def label_studio(root: Path) -> Path:
    """Every kind of shape, addresses of every kind, annotators, a cancelled annotation, and an image that nobody annotated."""
    for number, name in enumerate(("ä 0.jpg", "images/b.jpg", "images/sub/c.png", "d.jpg")):
        put(root / name, photo(seed=number, kind="PNG" if name.endswith("png") else "JPEG"))
    box = region("rectanglelabels", "bird", {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 0})
    double = {**box, "value": {**box["value"], "rectanglelabels": ["dog", "bird"]}}
    predicted = {"result": [{**box, "score": 0.5}], "score": 0.4, "model_version": "m"}
    first = {"id": 1, "completed_by": 7, "result": regions(), "was_cancelled": False, "ground_truth": False}
    cancelled = {"id": 2, "result": [box], "was_cancelled": True}
    tasks = [
        task(11, "/data/upload/3/0123abcd-%C3%A4%200.jpg", cancelled, first, meta={"n": 1.25}),
        task(12, "https://example.org/x/b.jpg?size=1", {"result": [box]}, {"result": [double], "ground_truth": True}),
        task(13, "/data/local-files/?d=sub/c.png", {"result": []}, predictions=[predicted], drafts=[]),
        task(14, "d.jpg"),
    ]
    tasks[3]["data"]["caption"] = "nobody looked"
    put(root / "project-1.json", tasks)
    labels = '<Label value="dog" background="#ff0010"/><Label value="cat"/>'
    put(
        root / "label_config.xml",
        f'<View><Image name="image" value="$image"/>\n<BrushLabels>{labels}</BrushLabels></View>',
    )
    return root


def label_studio_predictions(root: Path) -> Path:
    """Splits of tasks that have predictions alone."""
    for number, split in enumerate(("train", "val")):
        put(root / f"{split}/a{number}.jpg", photo(seed=number))
        result = [{**item, "score": 0.25 + number / 2} if n else item for n, item in enumerate(regions())]
        item = task(number, f"a{number}.jpg", predictions=[{"result": result, "score": 0.125}])
        put(root / f"{split}/export.json", [item])
    return root


ALL = {
    "coco": coco,
    "voc": voc,
    "cityscapes": cityscapes,
    "camvid": camvid,
    "camvid_fastai": camvid_fastai,
    "camvid_segnet": camvid_segnet,
    "cvat": cvat,
    "cvat_subsets": cvat_subsets,
    "label-studio": label_studio,
    "label-studio_predictions": label_studio_predictions,
    "labelme": labelme,
    "labelme_splits": labelme_splits,
    "masks": masks,
    "masks_pennfudan": masks_pennfudan,
    "masks_nuclei": masks_nuclei,
    "sa1b": sa1b,
    "coco-stuff": coco_stuff,
    "sbd": sbd,
    "sbd_classes": sbd_classes,
    "via": via,
    "via_balloons": via_balloons,
    "yolo": yolo,
    "yolo_ultralytics": yolo_ultralytics,
    "yolo_alone": yolo_alone,
    "parquet": parquet,
    "ade20k": ade20k,
    "webdataset": webdataset,
}
"""Every hand-made dataset; the format is the part before the underscore."""
