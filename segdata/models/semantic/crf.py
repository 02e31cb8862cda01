"""Dense conditional random field (Krähenbühl and Koltun 2011): probabilities that follow the edges of the image.

Mean field with a smoothness kernel over positions and a bilateral kernel over positions and colours, Potts compatibility
and symmetric normalisation, as in DenseCRF. Of small images the kernels are exact; of larger ones they are filtered on
the permutohedral lattice (Adams et al. 2010), whose steps are products with sparse matrices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from segdata.errors import UsageError

Floats = npt.NDArray[np.float32]

_MOST_EXACT = 4096
"""Pixels up to which the kernels are exact unless it is said otherwise."""
_BLOCK = 1 << 22
"""Entries of an exact kernel that are calculated at once."""
_MOST_KEPT = 1 << 26
"""Entries of an exact kernel that are kept from step to step."""
_BYTES, _BYTES_OF_A_CLASS = 700, 20
"""What a pixel takes on the lattices, and what it takes for each class."""
_MEMORY = 448 << 20
"""Bytes that a tile of a large image may take."""
_MARGIN = 96
"""Pixels that a tile sees beyond itself."""


class _Kernel(Protocol):
    """A matrix over pixels: K, after `normalise` D^(−1/2) K D^(−1/2) with D the sums of its rows."""

    def times(self, values: Floats) -> Floats:
        """(n, C) → the matrix · values."""

    def normalise(self) -> None:
        """Divide rows and columns by the roots of the sums of the rows."""


def refine(
    image: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[Any],
    *,
    steps: int = 10,
    gaussian: tuple[float, float] | None = (3, 3),
    bilateral: tuple[float, float, float] | None = (80, 13, 10),
    exact: bool | None = None,
) -> Floats:
    """The probabilities after some steps of mean field.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) of each class, at least 0.
        steps: of mean field.
        gaussian: standard deviation in pixels and weight of the smoothness kernel; None without.
        bilateral: standard deviations in pixels and in grey levels, and weight of the bilateral kernel; None without.
        exact: calculate the kernels between all pairs of pixels: takes time with the square of the pixels. By default
            for images of at most 4096 pixels.

    Returns:
        (C, H, W) float32; the sum over the classes is 1. Large images, of a megapixel or less if there are many
            classes, are refined in tiles that overlap, so that the memory stays near 512 MB above the result.

    Raises:
        UsageError: shapes that do not fit, numbers that are not finite or negative, or a deviation that is not positive.
    """
    _require_valid(image, probabilities, steps, (gaussian, bilateral))
    kernels = _deviations(gaussian, bilateral)
    height, width = image.shape[:2]
    is_exact = height * width <= _MOST_EXACT if exact is None else exact
    side = int((_MEMORY / (_BYTES + _BYTES_OF_A_CLASS * len(probabilities))) ** 0.5)
    if is_exact or height * width <= side**2:
        return _refined(image, probabilities, steps, kernels, is_exact=is_exact)
    refined = np.empty(probabilities.shape, np.float32)
    for rows, seen_rows in _tiles(height, side):
        for columns, seen_columns in _tiles(width, side):
            seen = (slice(None), seen_rows, seen_columns)
            part = _refined(image[seen[1:]], probabilities[seen], steps, kernels, is_exact=False)
            top, left = rows.start - seen_rows.start, columns.start - seen_columns.start
            kept = part[:, top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
            refined[:, rows, columns] = kept
    return refined


_Deviations = list[tuple[tuple[float, ...], float]]
"""Of each kernel the standard deviation of every feature, x and y first, and its weight."""


def _deviations(gaussian: tuple[float, float] | None, bilateral: tuple[float, float, float] | None) -> _Deviations:
    kernels: _Deviations = []
    if gaussian is not None:
        kernels.append(((gaussian[0],) * 2, gaussian[1]))
    if bilateral is not None:
        kernels.append(((bilateral[0],) * 2 + (bilateral[1],) * 3, bilateral[2]))
    return kernels


def _require_valid(
    image: npt.NDArray[Any], probabilities: npt.NDArray[Any], steps: int, kernels: tuple[tuple[float, ...] | None, ...]
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        why = f"got {image.shape} {image.dtype}"
        raise UsageError("the image of a dense CRF is (H, W, 3) uint8", place="image", why=why)
    if probabilities.ndim != 3 or probabilities.shape[1:] != image.shape[:2] or 0 in probabilities.shape:
        why = f"got {probabilities.shape} for an image of {image.shape[:2]}"
        raise UsageError("probabilities are (C, H, W), as large as the image", place="probabilities", why=why)
    if not (probabilities >= 0).all() or not np.isfinite(probabilities).all():
        raise UsageError("probabilities must be finite and not negative", place="probabilities")
    if steps < 0:
        raise UsageError("steps must not be negative", place="steps", why=f"got {steps}")
    for kernel in kernels:
        if kernel is not None and not all(np.isfinite(kernel)):
            raise UsageError("standard deviations and weights must be finite", why=f"got {kernel}")
        if kernel is not None and min(kernel[:-1]) <= 0:
            raise UsageError("standard deviations must be above 0", why=f"got {kernel}", fix="None leaves a kernel out")


def _tiles(size: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Slices of equal tiles along an axis, and what each sees: at most `side`."""
    margin = min(_MARGIN, side // 4)
    count = -(-size // (side - 2 * margin)) if size > side else 1
    edges = [size * number // count for number in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop), slice(max(start - margin, 0), min(stop + margin, size))


def _refined(
    image: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[Any],
    steps: int,
    kernels: _Deviations,
    *,
    is_exact: bool,
) -> Floats:
    """Mean field of one image or tile."""
    count = len(probabilities)
    flat = probabilities.reshape(count, -1).T.astype(np.float32)
    logarithms = np.log(np.maximum(flat, np.finfo(np.float32).tiny))
    kind = _Exact if is_exact else _Lattice
    terms = [(kind(_features(image, deviations)), weight) for deviations, weight in kernels]
    for kernel, _ in terms:
        kernel.normalise()
    shares = _softmax(logarithms.copy())
    for _ in range(steps):
        energies = logarithms.copy()
        for kernel, weight in terms:
            message = kernel.times(shares)
            message *= np.float32(weight)
            energies += message
        shares = _softmax(energies)
    return np.ascontiguousarray(shares.T).reshape(probabilities.shape)


def _softmax(energies: Floats) -> Floats:
    """(n, C) → softmax over C, in place."""
    energies -= energies.max(1, keepdims=True)
    np.exp(energies, out=energies)
    energies /= energies.sum(1, keepdims=True)
    return energies


def _features(image: npt.NDArray[np.uint8], deviations: tuple[float, ...]) -> Floats:
    """(n, 2) or (n, 5): x, y and the colours in units of their standard deviations."""
    height, width = image.shape[:2]
    y, x = np.divmod(np.arange(height * width), width)
    columns = [x, y, *image.reshape(-1, 3).T][: len(deviations)]
    return np.stack([column / deviation for column, deviation in zip(columns, deviations, strict=True)], 1).astype(
        np.float32
    )


class _Exact:
    """exp(−|f_i − f_j|² / 2) between all pairs of pixels, those of a pixel with itself among them."""

    def __init__(self, features: Floats) -> None:
        self._features = features.astype(np.float64)
        self._squares = np.square(self._features).sum(1)
        is_kept = len(features) ** 2 <= _MOST_KEPT
        self._kept = list(self._blocks()) if is_kept else None
        self._scale = np.ones((len(features), 1), np.float32)

    def _blocks(self) -> Iterator[Floats]:
        count = len(self._features)
        rows = max(_BLOCK // count, 1)
        for start in range(0, count, rows):
            here = slice(start, start + rows)
            block = self._features[here] @ self._features.T
            block -= self._squares[here, None] / 2
            block -= self._squares / 2
            yield np.exp(np.minimum(block, 0)).astype(np.float32)

    def times(self, values: Floats) -> Floats:
        scaled = values * self._scale
        return np.concatenate([block @ scaled for block in self._kept or self._blocks()]) * self._scale

    def normalise(self) -> None:
        self._scale = _scale(self, len(self._features))


class _Lattice:
    """The permutohedral lattice of the pixels' features: splat to vertices, blur along each axis, slice.

    Vertices are told apart by a linear hash of 64 bits of their coordinates, so that neighbours are a constant away.
    """

    def __init__(self, features: Floats) -> None:
        count, dimensions = features.shape
        size = dimensions + 1
        lowest, ranks, weights = _simplices(features)
        factors = np.random.Generator(np.random.PCG64(0)).integers(0, 2**64, size, np.uint64)
        ones, steps = factors.sum(keepdims=True), factors * np.uint64(size)
        hashes = np.empty((count, size), np.uint64)
        hashes[:, 0] = (lowest.astype(np.uint64) * factors).sum(1)
        # the next vertex has 1 more in all coordinates, and d + 1 less in the one of the lowest difference that is left
        lowered = steps[np.argsort(ranks, 1)]
        for number in range(1, size):
            hashes[:, number] = hashes[:, number - 1] + ones - lowered[:, size - number]
        vertices, indices = np.unique(hashes.ravel(), return_inverse=True)
        bounds = np.arange(0, indices.size + 1, size, dtype=np.int32)
        shape = (count, len(vertices))
        self._slice = sparse.csr_matrix((weights.ravel(), indices.ravel().astype(np.int32), bounds), shape=shape)
        self._splat = self._slice.T.tocsr()
        self._blurs = [_blur(vertices, ones - step) for step in steps]
        self._slice.data /= np.float32(1 + 2.0**-dimensions)

    def times(self, values: Floats) -> Floats:
        on_vertices = self._splat @ values
        for blur in self._blurs:
            on_vertices = blur @ on_vertices
        return self._slice @ on_vertices  # type: ignore[no-any-return]

    def normalise(self) -> None:
        scale = _scale(self, self._slice.shape[0])[:, 0]
        self._slice.data *= np.repeat(scale, np.diff(self._slice.indptr))
        self._splat.data *= scale[self._splat.indices]


def _scale(kernel: _Kernel, count: int) -> Floats:
    """(n, 1) 1 / the root of the sum of each row."""
    sums = kernel.times(np.ones((count, 1), np.float32))
    return (1 / np.sqrt(np.maximum(sums, 1e-20))).astype(np.float32)


def _simplices(features: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Where each point lies in the lattice.

    Returns:
        (n, d + 1) the nearest vertex whose coordinates are multiples of d + 1; (n, d + 1) the ranks of the differences
        to it, the largest first; (n, d + 1) barycentric weights of the vertices of the simplex, beginning with it.
    """
    count, dimensions = features.shape
    axes = np.arange(1, dimensions + 1, dtype=np.float32)
    scaled = features * (np.sqrt(2 / 3) * (dimensions + 1) / np.sqrt(axes * (axes + 1))).astype(np.float32)
    elevated = np.zeros((count, dimensions + 1), np.float32)
    elevated[:, :-1] = np.cumsum(scaled[:, ::-1], 1)[:, ::-1]
    elevated[:, 1:] -= scaled * axes
    rounded = np.rint(elevated / (dimensions + 1)).astype(np.int64)
    excess = rounded.sum(1, keepdims=True)
    differences = elevated - rounded * (dimensions + 1)
    order = np.argsort(-differences, 1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(dimensions + 1), order.shape), 1)
    ranks += excess
    wrapped = (ranks < 0).astype(np.int64) - (ranks > dimensions)
    ranks += wrapped * (dimensions + 1)
    rounded += wrapped
    differences -= (wrapped * (dimensions + 1)).astype(np.float32)
    sorted_differences = np.empty_like(differences)
    np.put_along_axis(sorted_differences, ranks, differences, 1)
    weights = np.empty_like(differences)
    weights[:, 1:] = (sorted_differences[:, :-1] - sorted_differences[:, 1:])[:, ::-1] / (dimensions + 1)
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    return rounded * (dimensions + 1), ranks, weights


def _blur(vertices: npt.NDArray[np.uint64], offset: npt.NDArray[np.uint64]) -> sparse.csr_matrix:
    """(M, M): each vertex and half of its two neighbours along an axis."""
    count = len(vertices)
    sides = []
    for target in (vertices + offset, vertices - offset):
        positions = np.searchsorted(vertices, target)
        positions[positions == count] = 0
        sides.append((positions, vertices[positions] == target))
    numbers = np.arange(count)
    rows = np.concatenate([numbers, *(numbers[is_there] for _, is_there in sides)])
    columns = np.concatenate([numbers, *(positions[is_there] for positions, is_there in sides)])
    values = np.full(len(rows), 0.5, np.float32)
    values[:count] = 1
    return sparse.csr_matrix((values, (rows, columns)), shape=(count, count))
