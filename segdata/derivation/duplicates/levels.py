"""Which images of several packs are equal or look alike, at three levels, each on what the one before leaves.

bytes     equal files: checksum and length stand in the tables; where both agree, SHA-256 decides
pixels    equal pixels in other files: where pictures look alike and have one size, the decoded pixels decide
near      pictures that look alike: their perceptual hashes differ in few bits, and neither is plain
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.derivation.duplicates import neighbours
from segdata.derivation.duplicates.cache import Hashed, hashes_of
from segdata.derivation.duplicates.hashes import ORIENTATIONS, PLAIN
from segdata.errors import OF_THE_DATA
from segdata.pack.read import Pack

LEVELS = ("bytes", "pixels", "near")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Images:
    """The images of several packs, one after another.

    Attributes:
        packs: of each pack the samples to compare, which all have an image.
    """

    packs: Sequence[Pack]

    def __len__(self) -> int:
        return sum(map(len, self.packs))

    @cached_property
    def pack(self) -> IntArray:
        """(N,) int64, the number of each image's pack."""
        return np.arange(len(self.packs)).repeat([len(pack) for pack in self.packs])

    @cached_property
    def index(self) -> IntArray:
        """(N,) int64, the number of each image's sample among those of its pack."""
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(len(pack)) for pack in self.packs)])

    def sample(self, number: int) -> Sample:
        """The sample of an image."""
        return self.packs[int(self.pack[number])][int(self.index[number])]

    def column(self, name: str) -> npt.NDArray[Any]:
        """(N, …) one column of the samples."""
        return np.concatenate([pack.column(name) for pack in self.packs])


@dataclass(frozen=True, eq=False)
class Alike:
    """Which of N images are equal, and which look alike.

    Attributes:
        file: (N,) int64, the first image with the same file.
        picture: (N,) int64, the first image with the same pixels.
        one, other, bits, orientation: (P,) int64, pairs of such first images that look alike, one < other: the hashes
            differ in so many bits when the one is turned by this orientation of EXIF.
    """

    file: IntArray
    picture: IntArray
    one: IntArray
    other: IntArray
    bits: IntArray
    orientation: IntArray


def compare(
    images: Images, level: str, distance: int, findings: Findings, *, flips: bool, progress: Progress | None
) -> Alike:
    """Compare all images with each other, up to a level.

    Args:
        level: "bytes", "pixels" or "near".
        distance: in how many of 256 bits the hashes of pictures that look alike may differ.
        findings: images that cannot be read are skipped with their error, plain ones are remarked.
        flips: whether mirrored and turned pictures look alike, too.
        progress: called as `progress(images hashed, images to hash)`.
    """
    file = _first_equal(images, _twice(_keys(images, "image/crc32", "image/length")), _of_file, findings)
    empty = np.zeros(0, np.int64)
    if level == "bytes":
        return Alike(file, file, empty, empty, empty, empty)
    number, hashes, quality = _hashed(images, np.flatnonzero(file == np.arange(len(images))), findings, progress)
    is_plain = quality < PLAIN
    if level == "near":
        for plain in number[is_plain].tolist():
            findings.remark("too plain to look like another; compared as equal pixels alone", images.sample(plain).key)
    pairs = _near(hashes[~is_plain], number[~is_plain], distance, flips=flips and level == "near")
    size = images.column("image/size")
    candidates = [side[_same_size(pairs, size)] for side in pairs[:2]]
    plain = number[is_plain]
    candidates.append(plain[_twice(np.column_stack([hashes[is_plain, 0], size[plain].astype(np.uint64)]))])
    picture = _first_equal(images, np.unique(np.concatenate(candidates)), _of_pixels, findings)[file]
    if level == "pixels":
        return Alike(file, picture, empty, empty, empty, empty)
    return Alike(file, picture, *_between(pairs, picture))


Pairs = tuple[IntArray, IntArray, IntArray, IntArray]
"""As in `Alike`: one, other, bits, orientation."""


def _hashed(
    images: Images, number: IntArray, findings: Findings, progress: Progress | None
) -> tuple[IntArray, npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """The numbers of those of these images that can be decoded, their hashes, (K, 8, 4), and their qualities."""
    parts: list[Hashed] = []
    done = 0

    def tell(count: int) -> None:
        if progress is not None:
            progress(done + count, len(number))

    for position, pack in enumerate(images.packs):
        index = images.index[number[images.pack[number] == position]]
        parts.append(hashes_of(pack.select(index), findings, tell))
        done += len(index)
    is_there = np.concatenate([part.is_there for part in parts])
    hashes = np.concatenate([part.hashes for part in parts])
    quality = np.concatenate([part.quality for part in parts])
    return number[is_there], hashes[is_there], quality[is_there]


def _near(hashes: npt.NDArray[np.uint64], number: IntArray, distance: int, *, flips: bool) -> Pairs:
    """All pairs that look alike, of the images with these numbers; turned ones, too, with `flips`."""
    one, other, bits = neighbours.near(np.ascontiguousarray(hashes[:, 0]), None, distance)
    parts = [(number[one], number[other], bits, np.ones(len(one), np.int64))]
    for orientation in ORIENTATIONS[1:-1] if flips else ():  # 8 is 6 with one and other exchanged
        turned = np.ascontiguousarray(hashes[:, orientation - 1])
        one, other, bits = neighbours.near(turned, np.ascontiguousarray(hashes[:, 0]), distance)
        parts.append((number[one], number[other], bits, np.full(len(one), orientation)))
    one, other, bits, orientations = (np.concatenate(column) for column in zip(*parts, strict=True))
    return one, other, bits, orientations


def _same_size(pairs: Pairs, size: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which pairs may have equal pixels."""
    one, other, _, orientation = pairs
    is_same: npt.NDArray[np.bool_] = (size[one] == size[other]).all(axis=1) & (orientation == 1)
    return is_same


def _between(pairs: Pairs, picture: IntArray) -> Pairs:
    """The pairs of other pictures, each once: with the fewest bits, and of these the least turned."""
    one, other, bits, orientation = pairs
    one, other = picture[one], picture[other]
    orientation = np.where(one < other, orientation, BACK[orientation])
    one, other = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((orientation, bits, other, one))
    one, other, bits, orientation = one[order], other[order], bits[order], orientation[order]
    is_first = np.append(True, (np.diff(one) != 0) | (np.diff(other) != 0))[: len(one)] & (one != other)
    return one[is_first], other[is_first], bits[is_first], orientation[is_first]


BACK = np.array([0, 1, 2, 3, 4, 5, 8, 7, 6])
"""Orientation → the one that undoes it."""


def _keys(images: Images, *names: str) -> IntArray:
    """(N, …) columns side by side."""
    return np.column_stack([images.column(name).astype(np.int64) for name in names])


def _twice(keys: npt.NDArray[Any]) -> IntArray:
    """The rows that are equal to another one."""
    if not len(keys):
        return np.zeros(0, np.int64)
    _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[inverse.reshape(-1)] > 1)


def _first_equal(
    images: Images, candidates: Iterable[int], digest: Callable[[Sample], bytes], findings: Findings
) -> IntArray:
    """(N,) int64, of each image the first one with the same digest; of those that are no candidates themselves."""
    first = np.arange(len(images))
    seen: dict[bytes, int] = {}
    for number in sorted(map(int, candidates)):
        sample = images.sample(number)
        try:
            first[number] = seen.setdefault(digest(sample), number)
        except OF_THE_DATA as error:
            findings.skip(error.located(key=sample.key))
    return first


def _of_file(sample: Sample) -> bytes:
    return hashlib.sha256(sample.encoded or b"").digest()


def _of_pixels(sample: Sample) -> bytes:
    return hashlib.sha256(repr((sample.height, sample.width)).encode() + sample.image.tobytes()).digest()
