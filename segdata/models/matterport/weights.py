"""Weights files of Keras (`.h5`): layers by name, each with named arrays. Read with distrust, written whole.

    /                                attribute layer_names (or all of this under /model_weights)
    ├── conv1                        attribute weight_names = conv1/kernel:0, conv1/bias:0
    │   └── conv1/kernel:0, …        arrays
    └── rpn_model                    a model in the model: weight_names = rpn_conv_shared/kernel:0, …

Nothing in a file is ever run: the model's description, which may hold code, is not looked at. Before anything is read,
every object is checked: links that lead elsewhere, arrays that lie in other files, and filters other than HDF5's own
compression are refused, and an array is read only once its shape is what is expected.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import DamagedData, InvalidInput, SegdataError, Unsafe
from segdata.models import weights_digest
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_OBJECTS = 50_000
_DEEPEST = 16
_LARGEST = 1e12
"""No weight of a trained network is so large; a flipped bit in an exponent is."""
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_BEST_PACKED = 1100
"""No deflated data unfold further."""
_LARGEST_CHUNK = 4 << 20
_MOST_CHUNKS = 100_000

Shape = tuple[int, ...]


class WeightsFile:
    """An open weights file whose objects have been checked.

    Attributes:
        path: where it lies.
        layers: layer → its weights' names, in the file's order; layers without weights have none.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        for _ in _objects(file, path):
            pass
        self._root = file["model_weights"] if "model_weights" in file and "layer_names" not in file.attrs else file
        self.layers = {name: self._weights_of(name) for name in self._layer_names()}

    def shape(self, layer: str, weight: str) -> Shape | None:
        """The shape that an array is said to have; None where there is no array of floats."""
        with _reading(self.path):
            array = self._root[layer].get(weight)
            if not hasattr(array, "shape") or array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
                return None
            shape: Shape | None = array.shape
        return shape

    def read(self, layer: str, weight: str, shape: Shape) -> npt.NDArray[np.float32]:
        """An array as float32, once its shape has been found to be `shape`.

        Raises:
            DamagedData: it holds what no weight is: infinite, no number, or beyond all measure.
        """
        stored = self.shape(layer, weight)
        if stored != shape:
            raise InvalidInput(f"{weight} has shape {stored}, not {shape}", file=self.path, place=layer)
        with _reading(self.path):
            values: npt.NDArray[np.float32] = np.asarray(self._root[layer][weight][()], np.float32)
        largest = np.abs(values).max(initial=0.0)
        if not largest < _LARGEST:
            raise DamagedData(
                "the weights hold a number that no weight is",
                file=self.path,
                place=f"layer {layer}, {weight}",
                why=f"the largest absolute value is {largest}",
                fix="get the file again",
            )
        return values

    def _layer_names(self) -> list[str]:
        names = self._names(self._root, "layer_names")
        if names is None:
            is_new = "layers" in self._root or "_layer_checkpoint_dependencies" in self._root
            raise InvalidInput(
                "this is no file of weights by layer names",
                file=self.path,
                why="the attribute layer_names is missing"
                + ("; it looks like a file of Keras 3, which numbers its layers" if is_new else ""),
                fix="save it with Keras 2: model.save_weights('weights.h5')",
            )
        return names

    def _weights_of(self, layer: str) -> list[str]:
        group = self._root.get(layer)
        names = None if group is None or hasattr(group, "dtype") else self._names(group, "weight_names")
        if names is None:
            raise InvalidInput(
                "a layer is named but not there", file=self.path, place=f"layer {layer!r}", fix="get the file again"
            )
        absent = [name for name in names if name.startswith("/") or name not in group]
        if absent:
            raise InvalidInput(
                "a weight is named but not there", file=self.path, place=f"layer {layer}", why=f"{absent[0]!r}"
            )
        return names

    def _names(self, group: Any, attribute: str) -> list[str] | None:
        """A list of names, which Keras cuts into `attribute0`, `attribute1` … when it is long; None if there is none."""
        if attribute in group.attrs:
            return self._texts(group, attribute)
        parts: list[str] = []
        number = 0
        while f"{attribute}{number}" in group.attrs:
            parts += self._texts(group, f"{attribute}{number}")
            number += 1
        return parts if number else None

    def _texts(self, group: Any, attribute: str) -> list[str]:
        with _reading(self.path):
            kind = group.attrs.get_id(attribute)
            count = int(np.prod(kind.shape)) if kind.shape else 0
            if count == 0:
                return []
            if count > _MOST_OBJECTS or kind.dtype.kind not in "SO" or kind.dtype.itemsize > 4096:
                raise InvalidInput("a list of names is none", file=self.path, place=f"{group.name}, {attribute}")
            values = np.asarray(group.attrs[attribute]).reshape(-1).tolist()
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever the HDF5 library stumbles over is damage."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, SegdataError):
            raise
        raise DamagedData(
            "the weights file is cut short or damaged", file=path, why=str(error), fix="get the file again"
        ) from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[WeightsFile]:
    """Open and check a weights file.

    Raises:
        NotThere: there is no such file.
        Unsafe: a pickle, or an object that leads to other files or needs foreign code.
        DamagedData: cut short or broken, or not what the digest beside it says.
        InvalidInput: no HDF5, or not laid out as weights.
    """
    _check_kind(path)
    weights_digest.check(path)
    import h5py

    with _reading(path):
        file = h5py.File(path, "r")
    with file:
        with _reading(path):
            weights = WeightsFile(path, file)
        yield weights


def _check_kind(path: Path) -> None:
    """Tell what is no HDF5 before the library sees it."""
    with disk_errors(path), open_file(path) as file:
        head = file.read(8)
    if head == _SIGNATURE:
        return
    if not head:
        raise DamagedData("the weights file is empty", file=path, fix="get the file again")
    if head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        raise Unsafe(
            "this is a pickle, and opening one runs whatever it holds",
            file=path,
            why="weights of Matterport's model are HDF5 files (.h5)",
            fix="give the .h5 file",
        )
    raise InvalidInput("this is no HDF5 file", file=path, why=f"it begins with {head!r}", fix="give the .h5 file")


def _objects(group: Any, path: Path, depth: int = 0, seen: list[int] | None = None) -> Iterator[str]:
    """Walk through a file by hard links alone, refusing what is not its own."""
    import h5py

    seen = seen if seen is not None else [0]
    for name in group:
        seen[0] += 1
        inside = f"{group.name.rstrip('/')}/{name}"
        if seen[0] > _MOST_OBJECTS or depth > _DEEPEST:
            raise Unsafe("the file holds more objects than any weights file, or they go in circles", file=path)
        try:
            link: Any = group.get(name, getlink=True)
        except TypeError:
            link = None
        if type(link) is not h5py.HardLink:
            leads = getattr(link, "filename", None) or getattr(link, "path", "elsewhere")
            raise Unsafe("a link in the weights file leads elsewhere", file=path, place=inside, why=f"to {leads!r}")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _objects(item, path, depth + 1, seen)
        elif isinstance(item, h5py.Dataset):
            _check_storage(item, path, inside)
        yield inside


def _check_storage(array: Any, path: Path, inside: str) -> None:
    import h5py

    properties = array.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise Unsafe(
            "an array of the weights file lies in other files",
            file=path,
            place=inside,
            why="it is virtual" if layout == h5py.h5d.VIRTUAL else "its bytes are stored outside",
        )
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    foreign = [number for number in filters if number not in _FILTERS]
    if foreign:
        raise Unsafe(
            "an array of the weights file is packed by foreign code",
            file=path,
            place=inside,
            why=f"filter {foreign[0]}; {', '.join(_FILTERS.values())} are known",
            fix="pack it anew: h5repack -f NONE",
        )
    if filters:
        _check_chunks(array, path, inside)
    stored = array.id.get_storage_size()
    claimed = (array.size or 0) * array.dtype.itemsize
    if stored > path.stat().st_size or claimed > stored * (_BEST_PACKED if filters else 1):
        raise Unsafe(
            "an array of the weights file is larger than what is stored of it",
            file=path,
            place=inside,
            why=f"{claimed:,} bytes by its shape {array.shape}, {stored:,} stored, the file has {path.stat().st_size:,}",
            fix="get the file again",
        )


def _check_chunks(array: Any, path: Path, inside: str) -> None:
    """Compressed arrays only in pieces of ordinary size, so that none can unfold without end."""
    raw = int(np.prod(array.chunks, dtype=np.float64)) * array.dtype.itemsize
    wrong = raw > _LARGEST_CHUNK or array.id.get_num_chunks() > _MOST_CHUNKS
    if wrong or any(array.id.get_chunk_info(n).size > raw + 1024 for n in range(array.id.get_num_chunks())):
        raise Unsafe(
            "an array of the weights file is packed in pieces of absurd size",
            file=path,
            place=inside,
            fix="pack it anew: h5repack -f NONE",
        )


def write(path: Path, layers: Sequence[tuple[str, Mapping[str, npt.NDArray[np.float32]]]]) -> None:
    """Write groups with their named arrays as Keras 2 does, and their digest beside; Keras and Matterport's code load it.

    Raises:
        DiskError: the file could not be written; nothing is left behind.
    """
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="earliest") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name, _ in layers])
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["keras_version"] = np.bytes_("2.0.8")
        for name, arrays in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([weight.encode() for weight in arrays])
            for weight, values in arrays.items():
                group.create_dataset(weight, data=values)
    weights_digest.write_with_digest(path, memory.getvalue())
