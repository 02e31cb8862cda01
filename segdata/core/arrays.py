"""Types of NumPy arrays: columns of integers, floats and booleans; and the components of a graph given by two columns."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def roots(count: int, one: IntArray, other: IntArray) -> IntArray:
    """(count,) int64, the smallest vertex of each vertex's component in the graph with the edges `one[i]` – `other[i]`."""
    root = np.arange(count)
    while True:
        lower = np.minimum(root[one], root[other])
        merged = root.copy()
        np.minimum.at(merged, root[one], lower)
        np.minimum.at(merged, root[other], lower)
        merged = merged[merged]
        if np.array_equal(merged, root):
            return root
        root = merged
