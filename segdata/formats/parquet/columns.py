"""What the columns of a Parquet table mean: image, label map, objects, key, and fields of objects by their names.

image        struct {bytes, path}, or bytes
objects      a list of structs, or a struct of lists: category, bbox, area, iscrowd, id, segmentation …
semantic     an image of category numbers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdata.errors import InvalidAnnotation
from segdata.formats.parquet.files import features

if TYPE_CHECKING:
    import pyarrow as pa

_ROLES = {
    "objects": ("objects", "annotations", "instances", "labels", "detections"),
    "key": ("key", "file_name", "filename", "image_path", "file", "path", "name"),
    "id": ("image_id", "id", "img_id"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
}
_IMAGES = ("image", "img", "pixel_values", "photo", "jpg", "png")
_MAPS = (
    *("semantic", "annotation", "label", "labels", "mask", "masks", "segmentation", "segmentation_mask", "seg"),
    *("semantic_segmentation", "semantic_mask", "label_map", "annotations"),
)
_FIELDS = {
    "category": ("category", "category_id", "categories", "label", "labels", "class", "class_id", "name"),
    "bbox": ("bbox", "bboxes", "box", "boxes"),
    "area": ("area", "areas"),
    "iscrowd": ("iscrowd", "is_crowd", "crowd"),
    "id": ("id", "bbox_id", "annotation_id", "ids"),
    "segmentation": ("segmentation", "segmentations", "mask", "masks", "rle"),
    "score": ("score", "scores"),
    "difficult": ("difficult",),
    "truncated": ("truncated",),
    "occluded": ("occluded",),
}
FLAGS = ("difficult", "truncated", "occluded")


@dataclass(frozen=True)
class Columns:
    """Names of the columns, "" where there is none.

    Attributes:
        image, semantic, objects, key, id, width, height: of the table.
        fields: role → name of a field of the objects: category, bbox, area, iscrowd, id, segmentation, score, difficult,
            truncated, occluded.
        names: all fields of the objects, in order; further ones are kept as they are.
        has_category_names: whether an object names its category, instead of numbering it.
        is_struct: whether objects are a struct of lists instead of a list of structs.
        has_corners: whether boxes are x0, y0, x1, y1 instead of x, y, width, height.
        booleans: fields of the objects that are true or false, not 0 or 1.
        categories: names of the categories by number, where the features say.
    """

    image: str
    semantic: str = ""
    objects: str = ""
    key: str = ""
    id: str = ""
    width: str = ""
    height: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    has_category_names: bool = False
    is_struct: bool = False
    has_corners: bool = False
    booleans: Sequence[str] = ()
    categories: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """The names as JSON holds them."""
        lists = {name: list(getattr(self, name)) for name in ("names", "booleans", "categories")}
        return {**asdict(self), **lists}

    def records(self, cell: Any) -> list[dict[str, Any]]:
        """The objects of a row, a dictionary each, whichever way they are stored.

        Raises:
            InvalidAnnotation: lists of different lengths.
        """
        if not self.is_struct:
            return [item for item in cell or () if isinstance(item, dict)]
        lists = {name: values for name, values in (cell or {}).items() if isinstance(values, list)}
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidAnnotation("lists of an image's objects have different lengths", why=str(lengths)[:200])
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]

    def cell(self, records: Sequence[Mapping[str, Any]]) -> Any:
        """The inverse of `records`."""
        if not self.is_struct:
            return list(records)
        return {name: [record.get(name) for record in records] for name in self.names}


def of_schema(schema: pa.Schema, path: Path) -> Columns:
    """The columns by their types, names and features.

    Raises:
        InvalidAnnotation: no column holds images, or several may.
    """
    described = features(schema)
    images = [name for name in schema.names if _is_image(schema.field(name).type, described.get(name))]
    image = _only(images, _IMAGES, "images", schema, path)
    maps = [name for name in images if name != image]
    semantic = _only(maps, _MAPS, "label maps", schema, path) if maps else ""
    objects = next(
        (name for name in _ROLES["objects"] if name in schema.names and _struct(schema.field(name).type)), ""
    )
    kind = _struct(schema.field(objects).type) if objects else None
    inner = [kind.field(number).name for number in range(kind.num_fields)] if kind is not None else []
    fields = {role: next((name for name in names if name in inner), "") for role, names in _FIELDS.items()}
    taken = {image, semantic, objects}
    roles = {
        role: next((name for name in names if name in schema.names and name not in taken), "")
        for role, names in _ROLES.items()
        if role != "objects"
    }
    plain = {role: name for role, name in roles.items() if name and _is_plain(schema.field(name).type, role)}
    return Columns(
        image,
        semantic,
        objects,
        key=plain.get("key", ""),
        id=plain.get("id", ""),
        width=plain.get("width", ""),
        height=plain.get("height", ""),
        fields={role: name for role, name in fields.items() if name},
        names=tuple(inner),
        has_category_names=kind is not None
        and bool(fields["category"])
        and "string" in str(kind.field(fields["category"]).type),
        is_struct=bool(objects) and not _is_list(schema.field(objects).type),
        booleans=tuple(name for name in inner if kind is not None and _is_boolean(kind.field(name).type)),
        categories=_class_names(described.get(objects), fields["category"]) if objects else (),
    )


def _only(names: Sequence[str], preferred: Sequence[str], what: str, schema: pa.Schema, path: Path) -> str:
    chosen = [name for name in preferred if name in names][:1] or (list(names) if len(names) == 1 else [])
    if chosen:
        return chosen[0]
    raise InvalidAnnotation(
        f"no column is known to hold {what}" if not names else f"several columns may hold {what}",
        file=path,
        why=f"columns are {', '.join(f'{field.name} ({str(field.type)[:40]})' for field in schema)}"[:400],
        fix=f"name the column {preferred[0]!r}: Dataset.rename_column(NAME, {preferred[0]!r})",
    )


def _is_image(kind: pa.DataType, feature: Any) -> bool:
    import pyarrow as pa

    if isinstance(feature, dict) and feature.get("_type") == "Image":
        return True
    if pa.types.is_struct(kind):
        return {kind.field(number).name for number in range(kind.num_fields)} == {"bytes", "path"}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_boolean(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_boolean(kind.value_type if _is_list(kind) else kind))


def _struct(kind: pa.DataType) -> pa.StructType | None:
    """The struct of an object, for both ways to store them; None for other columns."""
    import pyarrow as pa

    if _is_list(kind) and pa.types.is_struct(kind.value_type):
        return kind.value_type
    is_lists = pa.types.is_struct(kind) and all(_is_list(kind.field(number).type) for number in range(kind.num_fields))
    return kind if is_lists and kind.num_fields else None


def _is_plain(kind: pa.DataType, role: str) -> bool:
    import pyarrow as pa

    if role == "key":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool(pa.types.is_integer(kind))


def _class_names(feature: Any, name: str) -> tuple[str, ...]:
    """Names of the ClassLabel of the objects' category, wherever the features nest it."""
    while isinstance(feature, (list, dict)):
        if isinstance(feature, list):
            feature = feature[0] if feature else None
        elif feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            return tuple(map(str, names)) if isinstance(names, list) else ()
        elif name in feature:
            feature = feature[name]
        else:
            feature = feature.get("feature")
    return ()
