"""What a query can ask of an image and of an object: names of columns and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Of = Literal["image", "object"]
Kind = Literal["number", "flag", "text"]

IMAGE: dict[str, tuple[Kind, str]] = {
    "split": ("text", "the splits that the image is in; `none` where it is in none"),
    "key": ("text", "its key: the path under the split's image folder, without extension"),
    "file": ("text", "its path under the dataset's root, with extension"),
    "id": ("number", "the source's number of the image; `none` where it has none"),
    "width": ("number", "in pixels, as stored"),
    "height": ("number", "in pixels, as stored"),
    "objects": ("number", "how many objects it has, as `count()`"),
    "has_instances": ("flag", "its objects were annotated, even if there are none"),
    "has_semantic": ("flag", "it has a label map"),
    "codec": ("text", "how the image is encoded: jpeg, png …; `none` without images"),
    "bytes": ("number", "size of the image file; 0 without images"),
    "problem": (
        "flag",
        "the pack's report names it as an example of what was odd; it keeps the first few of each kind",
    ),
}
"""Field of an image → kind of its values, what they are."""

OBJECT: dict[str, tuple[Kind, str]] = {
    "category": ("text", "its category: a name in quotes, or the source's number of the category"),
    "supercategory": ("text", "its category's group; `none` where the source gives none"),
    "isthing": ("flag", "its category is countable; `none` where the source does not say"),
    "ignore": ("flag", "its category is left out of training and evaluation"),
    "id": ("number", "the source's number of the object"),
    "area": ("number", "in pixels, as annotated, else of the mask; `none` without both"),
    "pixels": ("number", "of the mask; 0 without mask"),
    "x": ("number", "left edge of the box, in pixels; the box is the annotated one, else the mask's"),
    "y": ("number", "upper edge of the box"),
    "width": ("number", "of the box"),
    "height": ("number", "of the box"),
    "iscrowd": ("flag", "it stands for a group of objects"),
    "difficult": ("flag", "as the source says, as are the next two"),
    "truncated": ("flag", "the image's border cuts it"),
    "occluded": ("flag", "something hides a part of it"),
    "has_mask": ("flag", "it has a mask, not a box alone"),
    "score": ("number", "of a prediction; `none` where there is none"),
}
"""Field of an object → kind of its values, what they are."""

_COMPARED: dict[Of, dict[str, tuple[Kind, str]]] = {
    "image": {
        "tp": ("number", "objects that a prediction of their category matches"),
        "fp": ("number", "predictions that match no object"),
        "fn": ("number", "objects that no prediction matches"),
        "f1": ("number", "2 tp / (2 tp + fp + fn); `none` where nothing is"),
        "iou": ("number", "mean IoU of the matches; `none` without any"),
        "pq": ("number", "panoptic quality; `none` where one side is not panoptic"),
        "miou": ("number", "mean IoU of the classes of the label map; `none` without both maps"),
    },
    "object": {
        "matched": ("flag", "a prediction of its category matches it"),
        "iou": ("number", "IoU with that prediction; `none` where none matches"),
    },
}

OTHER = {f"other_{name}": (kind, f"{name} of other predictions") for name, (kind, _) in _COMPARED["image"].items()}
"""The same of images that two predictions are compared with."""

COMPARED: dict[Of, dict[str, tuple[Kind, str]]] = {"image": _COMPARED["image"] | OTHER, "object": _COMPARED["object"]}
"""The same of images and objects that predictions are compared with; without predictions no image has them."""

ALL: Mapping[Of, dict[str, tuple[Kind, str]]] = {
    "image": IMAGE | COMPARED["image"],
    "object": OBJECT | COMPARED["object"],
}
"""Of what → all fields."""

ALIASES = {
    "crowd": "iscrowd",
    "thing": "isthing",
    "class": "category",
    "label": "category",
    "instances": "objects",
}
"""Other names of fields."""

INSTEAD = {
    "void": "ignore says that an object's category is left out of training; void pixels are in the label map alone",
    "stuff": "write isthing == false",
    "box_only": "write not has_mask",
    "remark": "write problem; segdata info PACK counts what was odd, by kind",
    "name": "an image has a key and a file, an object a category",
}
"""Words that are no fields, and what to write."""
