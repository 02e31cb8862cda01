"""What people have in memory → a `Sample`'s parts: images as arrays, bytes or paths; masks as arrays, RLE or polygons."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.core.images import MAX_PIXELS, probe
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, Polygons, boundary_length
from segdata.errors import DiskError, InvalidAnnotation, InvalidImage, NotThere, number_of


class ImageFile(NamedTuple):
    """An image as a sample keeps it.

    Attributes:
        encoded: the file's bytes, or what reads them; None where there is no image.
        height, width: in pixels.
        ending: of the file's name, such as ".jpg"; "" where there is no image.
    """

    encoded: bytes | Callable[[], bytes] | None
    height: int
    width: int
    ending: str


_ENDING = {"jpeg": ".jpg", "tiff": ".tif"}
"""The usual ending of an image file's name, where it is not the codec's."""


def image_file(image: Any, size: tuple[int, int] | None = None, *, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """The file of an image.

    Args:
        image: a path (read when it is needed), the bytes of an image file, a picture of Pillow, or an array, (H, W, 3)
            uint8 RGB or (H, W) uint8 grey, which becomes a PNG; None where there is none.
        size: (height, width) in pixels, where there is no image.

    Raises:
        InvalidImage: none of these, or a file that cannot be read as an image.
        NotThere, DiskError: the file does not exist, or cannot be read.
    """
    if image is None:
        if size is None:
            raise InvalidImage("the sample has no image and no size", fix="give image=…, or size=(height, width)")
        return ImageFile(None, size[0], size[1], "")
    if isinstance(image, (str, Path)):
        path = Path(image)
        header = probe(_read(path), max_pixels=max_pixels)
        file = ImageFile(partial(_read, path), header.height, header.width, path.suffix)
    elif isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        header = probe(data, max_pixels=max_pixels)
        file = ImageFile(data, header.height, header.width, _ENDING.get(header.codec, f".{header.codec}"))
    else:
        pixels = _pixels(image)
        file = ImageFile(_png(pixels), pixels.shape[0], pixels.shape[1], ".png")
    if size is not None and tuple(size) != (file.height, file.width):
        raise InvalidImage("the image is not of this size", why=f"it has {(file.height, file.width)}, size is {size}")
    return file


def _read(path: Path) -> bytes:
    try:
        if path.is_file() or not path.exists():  # a pipe would be waited for
            return path.read_bytes()
    except FileNotFoundError as error:
        raise NotThere(f"{path} does not exist", file=path) from error
    except OSError as error:
        raise DiskError(error.strerror or str(error), file=path) from error
    raise DiskError("this is no file", file=path)


def _pixels(image: Any) -> npt.NDArray[np.uint8]:
    """(H, W, 3) or (H, W) uint8 of a picture of Pillow or of an array."""
    if hasattr(image, "convert") and getattr(image, "mode", "RGB") not in ("RGB", "L"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    expected = "expected (H, W, 3) uint8 RGB or (H, W) uint8 grey, the bytes of an image file, or a path"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        is_planar = pixels.ndim == 3 and pixels.shape[0] in (1, 3)
        raise InvalidImage(
            f"an array of shape {pixels.shape} is no image" if pixels.ndim else f"{type(image).__name__} is no image",
            why=expected,
            fix="channels come last: image.transpose(1, 2, 0)" if is_planar else None,
        )
    if pixels.dtype != np.uint8:
        raise InvalidImage(
            f"the image is an array of {pixels.dtype}",
            why=f"{expected}; its values are {pixels.min(initial=0)} … {pixels.max(initial=0)}",
            fix="scale it to 0 … 255 and give .astype(numpy.uint8)",
        )
    if not pixels.size:
        raise InvalidImage(f"an array of shape {pixels.shape} has no pixels")
    return pixels


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


# ---------------------------------------------------------------------- masks


class BuiltMasks(NamedTuple):
    """Masks of N objects, whatever form they came in.

    Attributes:
        has_mask: (N,) bool, False where None was given.
        polygons: the rings of those that were given as polygons.
    """

    masks: Masks
    has_mask: BoolArray
    polygons: Polygons


def built_masks(masks: Any, height: int, width: int) -> BuiltMasks:
    """Masks of the objects of an image of this size in pixels.

    Args:
        masks: `Masks`, an array (N, H, W) of 0 and 1, or N items of any of these kinds: an array (H, W) of 0 and 1; a COCO
            RLE `{"size": [h, w], "counts": …}`; a polygon, as a list of rings that are each x0 y0 x1 y1 … or (P, 2), or
            as one such ring; None for an object without mask.

    Raises:
        InvalidAnnotation: another size or form; `place` names the item.
    """
    if isinstance(masks, Masks):
        _require_size((masks.height, masks.width), height, width)
        return BuiltMasks(masks, np.ones(len(masks), bool), Polygons.of([[]] * len(masks)))
    if hasattr(masks, "__array__"):
        masks = np.asarray(masks)
        if masks.ndim != 3:
            raise InvalidAnnotation(
                f"masks are an array of shape {masks.shape}",
                why=f"expected (N, {height}, {width}), one mask an object",
                fix="give masks=[mask] for one object" if masks.ndim == 2 else None,
            )
        kinds = ["dense"] * len(masks)
    elif isinstance(masks, (str, bytes, Mapping)) or not hasattr(masks, "__len__"):
        raise InvalidAnnotation("masks are no list", why=f"expected one for each object, found {masks!r:.80}")
    else:
        kinds = [_kind(item) for item in masks]
    parts = [Masks.empty(height, width)]
    polygons: list[list[list[float]]] = []
    for kind, group in itertools.groupby(enumerate(kinds), lambda item: item[1]):
        items = {f"masks[{index}]": masks[index] for index, _ in group}
        rings = [_rings(item, place, height, width) if kind == "polygon" else [] for place, item in items.items()]
        polygons += rings
        parts.append(_masks_of_kind(kind, items, rings, height, width))
    has_mask = np.array([kind != "none" for kind in kinds], bool)
    return BuiltMasks(Masks.concatenate(parts, height, width), has_mask, Polygons.of(polygons))


def _kind(item: Any) -> str:
    if item is None:
        return "none"
    if isinstance(item, Mapping):
        return "rle"
    if hasattr(item, "__array__"):
        array = np.asarray(item)
        return "dense" if array.ndim == 2 and (array.shape[1] != 2 or array.dtype == np.bool_) else "polygon"
    return "polygon"


def _masks_of_kind(
    kind: str, items: Mapping[str, Any], rings: list[list[list[float]]], height: int, width: int
) -> Masks:
    """Masks of items of one kind, which are called by their places in messages; `rings` are those of polygons."""
    if kind == "none":
        return Masks.empty(height, width, len(items))
    if kind == "polygon":
        return Masks.from_polygons(rings, height, width)
    if kind == "rle":
        for place, item in items.items():
            _require_rle(item, place, height, width)
        return Masks.from_rle(list(items.values()), height, width)
    arrays = {place: np.asarray(item) for place, item in items.items()}
    for place, array in arrays.items():
        _require_size(array.shape, height, width, place)
        if array.dtype.kind == "f" and not np.isin(array, (0, 1)).all():
            raise InvalidAnnotation(
                "a mask has values other than 0 and 1",
                place=place,
                why=f"values {array.min():g} … {array.max():g}; every value other than 0 would be inside",
                fix="give mask > 0.5",
            )
    return Masks.from_crops(list(arrays.values()), [(0, 0)] * len(arrays), height, width)


def _require_rle(item: Mapping[str, Any], place: str, height: int, width: int) -> None:
    size: Any = item.get("size")
    counts = item.get("counts")
    if np.shape(size) != (2,) or not isinstance(counts, (str, bytes, Sequence, np.ndarray)):
        raise InvalidAnnotation(
            "this is not an RLE",
            place=place,
            why=f'expected {{"size": [{height}, {width}], "counts": …}}, found {dict(item)!r:.80}',
        )
    _require_size(size, height, width, place)


def _rings(item: Any, place: str, height: int, width: int) -> list[list[float]]:
    """The rings of a polygon, each x0 y0 x1 y1 …."""
    try:
        is_one_ring = len(item) > 0 and np.ndim(item[0]) == 0
        is_points = len(item) > 0 and np.ndim(item) == 2 and np.shape(item)[1] == 2
        rings = [
            np.asarray(ring, np.float64).reshape(-1).tolist() for ring in ([item] if is_one_ring or is_points else item)
        ]
    except (TypeError, ValueError) as error:
        raise InvalidAnnotation(
            "a mask is neither an array, nor an RLE, nor a polygon",
            place=place,
            why=f"expected (H, W) of 0 and 1, an RLE, or rings x0 y0 x1 y1 …; found {type(item).__name__}: {error}",
        ) from error
    for ring in rings:
        is_finite = bool(np.isfinite(ring).all())
        if len(ring) < 6 or len(ring) % 2 or not is_finite or boundary_length(ring, height, width) > MAX_BOUNDARY:
            raise InvalidAnnotation(
                "a ring of a polygon cannot be drawn",
                place=place,
                why=f"expected three points or more, x0 y0 x1 y1 … in pixels; found {number_of(len(ring), 'number')}"
                + ("" if is_finite else ", not all of them finite"),
            )
    return rings


def _require_size(size: Any, height: int, width: int, place: str = "masks") -> None:
    if tuple(size) != (height, width):
        raise InvalidAnnotation(
            "a mask is of another size than the image",
            place=place,
            why=f"its shape is {tuple(size)}; the image has {(height, width)} (height, width)",
        )


# ---------------------------------------------------------------------- categories and label maps


def category_indices(categories: Any, labels: LabelSpace | None) -> IntArray:
    """(N,) int64 indices of categories that are given as indices, or as names of the label space.

    Raises:
        InvalidAnnotation: no index, or a name that the label space does not have.
    """
    if isinstance(categories, str) or not hasattr(categories, "__len__"):
        raise InvalidAnnotation("category is no list", why=f"expected one for each object, found {categories!r:.80}")
    indices = []
    for place, category in enumerate(categories):
        if isinstance(category, str):
            if labels is None:
                raise InvalidAnnotation(
                    "categories are given by name", why=f"found {category!r}", fix="add labels=…, or give indices"
                )
            if category not in labels.index_of_name:
                raise InvalidAnnotation(
                    f"there is no category {category!r}",
                    place=f"category[{place}]",
                    why=f"the categories are {', '.join(list(labels.index_of_name)[:20])}",
                )
            category = labels.index_of_name[category]
        indices.append(category)
    array = np.asarray(indices)
    if array.size and (array.ndim != 1 or array.dtype.kind not in "iu"):
        raise InvalidAnnotation(
            "categories are not whole numbers", why=f"expected indices or names, found {categories!r:.80}"
        )
    return array.astype(np.int64).reshape(-1)


def label_map(semantic: Any, height: int, width: int) -> npt.NDArray[Any]:
    """(H, W) uint8 or uint16 of a map of category indices.

    Raises:
        InvalidAnnotation: another size, or values that are no whole numbers of 16 bits.
    """
    values = np.asarray(semantic)
    if values.shape != (height, width):
        raise InvalidAnnotation(
            "the semantic map is of another size than the image",
            why=f"its shape is {values.shape}; the image has {(height, width)} (height, width)",
        )
    low, high = values.min(initial=0), values.max(initial=0)
    if values.dtype.kind not in "iub" or low < 0 or high > 65535:
        raise InvalidAnnotation(
            "the semantic map does not hold category indices",
            why=f"it is of {values.dtype} with values {low} … {high}; expected whole numbers, 0 … 65,535",
            fix="write 255 (65535 with more than 255 categories) where a pixel has no category",
        )
    return values.astype(np.uint8 if high <= 255 else np.uint16)
