"""Binary masks of one image as RLE of their box crops, and conversions from and to dense arrays, COCO RLE and polygons.

A mask is stored as its tight bounding box and the run lengths inside that box, in column-major order, the first run
counting zeros: COCO's RLE, of the crop instead of the whole image. Runs are uint16; a longer run is split by a run of
length zero of the other value, so that `np.repeat` expands them as they are.

    RLE of the crop  ↔  dense arrays, COCO RLE of the full image, id maps
    polygons         →  RLE of the crop (rasterised as pycocotools does)
    RLE of the crop  →  outlines (rings along pixel edges)

Coordinates are pixels, x to the right, y down, boxes half-open; sizes are (height, width).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.polygons import Polygons, chain, clip, corners, is_near, rasterize
from segdata.core.reprs import counted, line
from segdata.core.rle import (
    Spans,
    cropped,
    decode_counts,
    merge,
    odd_positions,
    pointer_of,
    ranges,
    runs_of,
    spans_of,
    string_of_zeros,
    uncropped,
)
from segdata.errors import InvalidAnnotation


@dataclass(frozen=True, eq=False)
class Masks:
    """N binary masks of one image; they may overlap, have holes or be empty.

    Attributes:
        height, width: the image's size in pixels.
        boxes_xywh: (N, 4) int32, x y width height of each mask's tight box; all zero for an empty mask.
        runs: (R,) uint16, run lengths of all crops, concatenated.
        pointer: (N + 1,) int64, mask i owns `runs[pointer[i]:pointer[i + 1]]`, which sum to width · height of its box.
        drawn_from: the polygons that all masks were drawn from whose object has some, where that is known.
    """

    height: int
    width: int
    boxes_xywh: npt.NDArray[np.int32]
    runs: npt.NDArray[np.uint16]
    pointer: IntArray
    drawn_from: Polygons | None = None

    def __len__(self) -> int:
        return len(self.boxes_xywh)

    def __repr__(self) -> str:
        return line(self, counted(len(self), "mask"), f"{self.height}×{self.width}")

    @overload
    def __getitem__(self, item: int | np.integer[Any]) -> npt.NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, item: slice | Sequence[int] | npt.NDArray[Any]) -> Masks: ...
    def __getitem__(self, item: Any) -> npt.NDArray[np.uint8] | Masks:
        """Mask i as (H, W) uint8 0/1 for an integer; a smaller `Masks` for a slice, index list or boolean array."""
        if isinstance(item, (int, np.integer)):
            index = range(len(self))[int(item)]
            mask: npt.NDArray[np.uint8] = self[index : index + 1].dense()[0]
            return mask
        indices = np.arange(len(self))[item]
        lengths = np.diff(self.pointer)[indices]
        source = ranges(self.pointer[:-1][indices], lengths)
        return Masks(self.height, self.width, self.boxes_xywh[indices], self.runs[source], pointer_of(lengths))

    def __eq__(self, other: object) -> bool:
        """Same size and same pixels, mask for mask."""
        if not isinstance(other, Masks):
            return NotImplemented
        return (
            (self.height, self.width) == (other.height, other.width)
            and np.array_equal(self.boxes_xywh, other.boxes_xywh)
            and np.array_equal(self.pointer, other.pointer)
            and np.array_equal(self.runs, other.runs)
        )

    __hash__ = None  # type: ignore[assignment]

    # ------------------------------------------------------------------ from other forms

    @classmethod
    def empty(cls, height: int, width: int, count: int = 0) -> Masks:
        """`count` masks without any pixel."""
        return cls(
            height,
            width,
            np.zeros((count, 4), np.int32),
            np.zeros(0, np.uint16),
            np.zeros(count + 1, np.int64),
        )

    @classmethod
    def from_dense(cls, array: npt.NDArray[Any]) -> Masks:
        """From (N, H, W) of any dtype; every value other than 0 is inside."""
        count, height, width = array.shape
        flat = np.ascontiguousarray(array.transpose(0, 2, 1)).reshape(count, width * height) != 0
        edges = np.diff(np.pad(flat, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        owner, start = np.nonzero(edges == 1)
        stop = np.nonzero(edges == -1)[1]
        return cls._from_spans((start, stop - start, owner), count, height, width)

    @classmethod
    def from_crops(
        cls, crops: Sequence[npt.NDArray[Any]], corners: Sequence[tuple[int, int]], height: int, width: int
    ) -> Masks:
        """From crops of the image; every value other than 0 is inside.

        Args:
            crops: each (h, w), wholly inside the image.
            corners: x and y of each crop's top left pixel.
        """
        starts, lengths, owners = [], [], []
        for number, (crop, (x, y)) in enumerate(zip(crops, corners, strict=True)):
            edges = np.diff(np.pad((crop.T != 0).astype(np.int8), ((0, 0), (1, 1))), axis=1)
            column, top = np.nonzero(edges == 1)
            starts.append((x + column) * height + y + top)
            lengths.append(np.nonzero(edges == -1)[1] - top)
            owners.append(np.full(len(top), number))
        if not starts:
            return cls.empty(height, width)
        spans = merge((np.concatenate(starts), np.concatenate(lengths), np.concatenate(owners)))
        return cls._from_spans(spans, len(crops), height, width)

    @classmethod
    def from_counts(cls, counts: IntArray, pointer: IntArray, height: int, width: int) -> Masks:
        """From COCO's uncompressed RLE of the full image; mask i owns `counts[pointer[i]:pointer[i + 1]]`.

        Raises:
            InvalidAnnotation: runs that are negative or do not sum to height · width.
        """
        ends = pointer_of(counts)
        sums = ends[pointer[1:]] - ends[pointer[:-1]]
        if len(counts) and counts.min() < 0:
            raise InvalidAnnotation("run lengths hold a negative run", why=f"found {int(counts.min())}")
        if len(counts) and counts.max() > height * width:
            raise InvalidAnnotation(
                "run lengths hold a run longer than the image",
                why=f"found {int(counts.max())}; height {height} · width {width} = {height * width}",
            )
        if np.any(sums != height * width):
            wrong = int(np.nonzero(sums != height * width)[0][0])
            raise InvalidAnnotation(
                "run lengths do not add up to the size of the image",
                why=f"they sum to {int(sums[wrong])}; height {height} · width {width} = {height * width}",
                place=f"mask {wrong}",
            )
        return cls._from_spans(spans_of(counts, pointer), len(pointer) - 1, height, width)

    @classmethod
    def from_rle(cls, rles: Sequence[dict[str, Any]], height: int, width: int) -> Masks:
        """From COCO RLE dictionaries `{size: [h, w], counts: list | str | bytes}` of the full image.

        Raises:
            InvalidAnnotation: another size, bad characters, negative runs, runs that do not sum to h · w.
        """
        strings: list[bytes] = []
        lists: list[Sequence[int]] = []
        is_string = np.zeros(len(rles), bool)
        for index, rle in enumerate(rles):
            if list(rle["size"]) != [height, width]:
                raise InvalidAnnotation(
                    "run lengths are of another size than the image",
                    why=f"size is {list(rle['size'])!r}; the image is [{height}, {width}] (height, width)",
                    place=f"mask {index}",
                )
            counts = rle["counts"]
            if isinstance(counts, (str, bytes)):
                is_string[index] = True
                strings.append(counts.encode("utf-8", "replace") if isinstance(counts, str) else counts)
            else:
                lists.append(counts)
        string_counts, string_pointer = decode_counts(strings)
        lengths = np.empty(len(rles), np.int64)
        lengths[is_string] = np.diff(string_pointer)
        lengths[~is_string] = [len(counts) for counts in lists]
        pointer = pointer_of(lengths)
        flat = np.empty(int(pointer[-1]), np.int64)
        from_string = np.repeat(is_string, lengths)
        flat[from_string] = string_counts
        if lists:
            flat[~from_string] = np.concatenate([np.asarray(counts, np.int64) for counts in lists])
        return cls.from_counts(flat, pointer, height, width)

    @classmethod
    def from_polygons(cls, polygons: Polygons | Sequence[Sequence[Sequence[float]]], height: int, width: int) -> Masks:
        """Rasterise polygons exactly as pycocotools' `annToMask` does.

        Args:
            polygons: per mask its rings, each flat x0 y0 x1 y1 … of at least three points in pixels; rings are united
                (a ring inside another cuts no hole). A mask without rings is empty.
        """
        if not isinstance(polygons, Polygons):
            polygons = Polygons.of(polygons)
        return cls._from_spans(rasterize(polygons, height, width), len(polygons), height, width)

    @classmethod
    def from_id_map(cls, ids: npt.NDArray[Any], values: Sequence[int] | npt.NDArray[Any]) -> Masks:
        """One mask for each of these values of an (H, W) integer map; `values` must be distinct, in any order."""
        height, width = ids.shape
        flat = np.ascontiguousarray(ids.T).reshape(-1)
        wanted = np.asarray(values, np.int64)
        if not flat.size or not wanted.size:
            return cls.empty(height, width, len(wanted))
        start = np.concatenate(([0], np.nonzero(flat[1:] != flat[:-1])[0] + 1))
        length = np.diff(np.append(start, flat.size))
        order = np.argsort(wanted)
        value = flat[start].astype(np.int64)
        rank = np.minimum(np.searchsorted(wanted[order], value), len(wanted) - 1)
        keep = wanted[order][rank] == value
        owner = order[rank[keep]]
        by_owner = np.argsort(owner, kind="stable")
        spans = (start[keep][by_owner], length[keep][by_owner], owner[by_owner])
        return cls._from_spans(spans, len(wanted), height, width)

    @classmethod
    def concatenate(cls, parts: Sequence[Masks], height: int, width: int) -> Masks:
        """Masks of the same image, concatenated."""
        if not parts:
            return cls.empty(height, width)
        return cls(
            height,
            width,
            np.concatenate([part.boxes_xywh for part in parts]),
            np.concatenate([part.runs for part in parts]),
            pointer_of(np.concatenate([np.diff(part.pointer) for part in parts])),
        )

    @classmethod
    def of_images(cls, spans: Spans, sizes: IntArray, images: IntArray) -> list[Masks]:
        """Masks of several images at once, one `Masks` for each image.

        Args:
            spans: of all masks, each in its full image; owners count through all images.
            sizes: (I, 2) int64, height and width of the images.
            images: (I + 1,) int64; image i owns the masks `images[i] … images[i + 1] − 1`.
        """
        boxes, runs, pointer = cropped(spans, int(images[-1]), sizes[:, 0].repeat(np.diff(images)))
        first, first_run = images.tolist(), pointer[images].tolist()
        return [
            cls(
                height,
                width,
                boxes[first[i] : first[i + 1]],
                runs[first_run[i] : first_run[i + 1]],
                pointer[first[i] : first[i + 1] + 1] - first_run[i],
            )
            for i, (height, width) in enumerate(sizes.tolist())
        ]

    @classmethod
    def _from_spans(cls, spans: Spans, count: int, height: int, width: int) -> Masks:
        return cls(height, width, *cropped(spans, count, height))

    # ------------------------------------------------------------------ what they are

    @cached_property
    def boxes(self) -> npt.NDArray[np.int32]:
        """(N, 4) int32, tight x0 y0 x1 y1, x1 and y1 exclusive; all zero for an empty mask."""
        return np.concatenate((self.boxes_xywh[:, :2], self.boxes_xywh[:, :2] + self.boxes_xywh[:, 2:]), axis=1)

    @cached_property
    def areas(self) -> IntArray:
        """(N,) int64, number of pixels of each mask."""
        pixels = pointer_of(np.where(self._is_inside, self.runs, 0))
        areas: IntArray = pixels[self.pointer[1:]] - pixels[self.pointer[:-1]]
        return areas

    @cached_property
    def _is_inside(self) -> npt.NDArray[np.bool_]:
        return odd_positions(self.pointer)

    # ------------------------------------------------------------------ into other forms

    def crops(self) -> list[npt.NDArray[np.uint8]]:
        """Each mask inside its box, (h, w) uint8 0/1."""
        flat = np.repeat(self._is_inside.view(np.uint8), self.runs)
        crops = []
        begin = 0
        for _, _, width, height in self.boxes_xywh.tolist():
            end = begin + width * height
            crops.append(flat[begin:end].reshape(width, height).T)
            begin = end
        return crops

    def dense(self, out: npt.NDArray[np.uint8] | None = None, *, blank: bool = False) -> npt.NDArray[np.uint8]:
        """All masks, (N, H, W) uint8 0/1.

        Args:
            out: where to write, (≥ N, H, W) uint8, C order; its first N planes are overwritten and returned.
            blank: these planes are all zero already; only the boxes are written.

        Raises:
            ValueError: `out` is of another shape or dtype.
        """
        shape = (len(self), self.height, self.width)
        if out is None:
            out = np.zeros(shape, np.uint8)
        else:
            out = out[: len(self)]
            if out.shape != shape or out.dtype != np.uint8:
                raise ValueError(f"out must hold {shape} uint8, not {out.shape} {out.dtype}")
            if not blank:
                out.fill(0)
        for plane, crop, (x, y, width, height) in zip(out, self.crops(), self.boxes_xywh.tolist(), strict=True):
            plane[y : y + height, x : x + width] = crop
        return out

    def erase(self, planes: npt.NDArray[np.uint8]) -> None:
        """Set to zero what `dense` has written into (N, H, W) planes of zeros."""
        for plane, (x, y, width, height) in zip(planes, self.boxes_xywh.tolist(), strict=True):
            plane[y : y + height, x : x + width] = 0

    def counts(self) -> tuple[IntArray, IntArray]:
        """COCO's uncompressed RLE of the full image and the (N + 1,) pointer into it: the inverse of `from_counts`."""
        return runs_of(self.spans(), np.full(len(self), self.height * self.width, np.int64))

    def spans(self) -> Spans:
        """The set pixels as columns (start, length, owner), in column-major order of the full image."""
        return uncropped(self.boxes_xywh, self.runs, self.pointer, self.height)

    def rle(self) -> list[dict[str, Any]]:
        """COCO RLE dictionaries of the full image as pycocotools takes them: `{size: [h, w], counts: bytes}`."""
        from pycocotools import mask as coco_mask

        size = [self.height, self.width]
        flat, pointer = self.counts()
        values = flat.tolist()
        return [
            coco_mask.frPyObjects({"size": size, "counts": values[begin:end]}, *size)
            for begin, end in zip(pointer[:-1].tolist(), pointer[1:].tolist(), strict=True)
        ]

    def paint(
        self,
        values: Sequence[int] | npt.NDArray[Any],
        canvas: npt.NDArray[Any],
        order: Sequence[int] | npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Write `values[i]` into an (H, W) map wherever mask i is set; later masks cover earlier ones.

        Args:
            order: indices in painting order; by default from large to small, so that small masks stay visible.

        Returns:
            `canvas`, which is changed in place.
        """
        if order is None:
            order = np.argsort(-self.areas, kind="stable")
        crops = self.crops()
        for index in np.asarray(order, np.int64).tolist():
            x, y, width, height = self.boxes_xywh[index].tolist()
            region = canvas[y : y + height, x : x + width]
            region[crops[index] != 0] = values[index]
        return canvas

    def semantic(
        self,
        categories: Sequence[int] | npt.NDArray[Any],
        *,
        background: int = 255,
        iscrowd: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[Any]:
        """A label map (H, W) uint8 (uint16 when a value is above 255): crowds painted first, then large to small.

        Args:
            categories: (N,) value to paint for each mask.
            background: the value of pixels without mask.
            iscrowd: (N,) bool.
        """
        largest = max([background, *np.asarray(categories).tolist()])
        canvas = np.full((self.height, self.width), background, np.uint8 if largest <= 255 else np.uint16)
        crowd = np.zeros(len(self), bool) if iscrowd is None else iscrowd
        return self.paint(categories, canvas, np.lexsort((-self.areas, ~crowd)))

    def at(self, boxes: npt.NDArray[Any], size: int) -> npt.NDArray[np.float32]:
        """RoIAlign of mask i in box i: the mask targets of Mask R-CNN for any framework, without dense masks.

        Equal to `torchvision.ops.roi_align(masks[:, None], boxes, (size, size), aligned=False)`: each cell is the mean
        of ⌈side / size⌉² bilinear samples (Mask R-CNN, He et al. 2017, section 3).

        Args:
            boxes: (N, 4) x0 y0 x1 y1 in pixels, for example proposals, one for each mask.
            size: cells along each side.

        Returns:
            (N, size, size) float32 in 0..1.
        """
        targets = np.zeros((len(self), size, size), np.float32)
        for target, crop, (x, y, width, height), (x0, y0, x1, y1) in zip(
            targets, self.crops(), self.boxes_xywh.tolist(), np.asarray(boxes, np.float64).tolist(), strict=True
        ):
            if width and height:
                rows = _sampling(y0, y1, size, self.height)[:, y : y + height]
                columns = _sampling(x0, x1, size, self.width)[:, x : x + width]
                target[:] = rows @ crop.astype(np.float64) @ columns.T
        return targets

    def outlines(self, index: int) -> list[npt.NDArray[np.int32]]:
        """The contours of mask `index` along pixel edges: closed rings (K, 2) int32 of x y corners.

        Outer rings run clockwise (y down), holes counter-clockwise; filling all rings by the even-odd rule gives the
        mask back. Pixels that touch only at a corner belong to different rings.
        """
        x, y, _, _ = self.boxes_xywh[index].tolist()
        inside = np.pad(self[index : index + 1].crops()[0], 1).astype(np.int8)
        horizontal = np.diff(inside, axis=0)[:, 1:-1]  # (h + 1, w): +1 enters the mask going down
        vertical = np.diff(inside, axis=1)[1:-1, :]  # (h, w + 1): +1 enters the mask going right
        edges: dict[tuple[int, int], list[tuple[int, int]]] = {}  # corner → corners that edges lead to
        for row, column in np.argwhere(horizontal == 1).tolist():  # top edge: rightwards
            edges.setdefault((column, row), []).append((column + 1, row))
        for row, column in np.argwhere(horizontal == -1).tolist():  # bottom edge: leftwards
            edges.setdefault((column + 1, row), []).append((column, row))
        for row, column in np.argwhere(vertical == 1).tolist():  # left edge: upwards
            edges.setdefault((column, row + 1), []).append((column, row))
        for row, column in np.argwhere(vertical == -1).tolist():  # right edge: downwards
            edges.setdefault((column, row), []).append((column, row + 1))
        return [corners(ring, x, y) for ring in chain(edges)]


def polygon_strings(polygons: Polygons, height: int, width: int) -> list[bytes]:
    """Each polygon's rings, united, as a compressed RLE string of the full image, rasterised by pycocotools itself.

    A polygon without rings is an empty mask.
    """
    from pycocotools import mask as coco_mask

    rings: list[Any] = polygons.flat()
    if not is_near(polygons.values, height, width):
        rings = [ring if is_near(ring, height, width) else clip(ring, height, width) or [0.0] * 6 for ring in rings]
    encoded = coco_mask.frPyObjects(rings, height, width) if rings else []
    strings: list[bytes] = []
    for begin, end in itertools.pairwise(polygons.pointer.tolist()):
        if end - begin == 1:
            strings.append(encoded[begin]["counts"])
        elif end > begin:
            strings.append(coco_mask.merge(encoded[begin:end])["counts"])
        else:
            strings.append(string_of_zeros(height * width))
    return strings


def _sampling(low: float, high: float, size: int, limit: int) -> npt.NDArray[np.float64]:
    """(size, limit) weights of the pixels in each cell's mean along one axis, as RoIAlign samples them.

    Args:
        low, high: the box's sides along this axis, in pixels.
        limit: the image's pixels along this axis.
    """
    extent = max(high - low, 1.0)
    samples = int(np.ceil(extent / size))
    step = extent / size
    position = low + step * (np.arange(size)[:, None] + (np.arange(samples)[None, :] + 0.5) / samples)
    is_valid = (position >= -1) & (position <= limit)
    position = np.clip(position, 0, limit - 1)
    floor = np.floor(position).astype(np.int64)
    fraction = position - floor
    weights = np.zeros((size, limit))
    cell = np.broadcast_to(np.arange(size)[:, None], position.shape)
    np.add.at(weights, (cell, floor), np.where(is_valid, 1 - fraction, 0) / samples)
    np.add.at(weights, (cell, np.minimum(floor + 1, limit - 1)), np.where(is_valid, fraction, 0) / samples)
    return weights
