"""Perceptual hashes: PDQ's rule, what they do not change with, and how pictures are turned."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from segdata.core.images import decode_grey
from segdata.derivation.duplicates import hashes
from segdata.sets.orientation import turned
from tests.helpers.pictures import TURNS, VARIANTS, encoded, waves

PDQ = [
    (1, 480, 640, "60debb84941f8a953ca5d74734bdba071df38adcbf998a3a80b84b103ec8b46a"),
    (2, 512, 512, "2f8e3f398e4696ff3745c6902ef6d7353ce166b00315684b43154659eb03d58a"),
    (3, 375, 500, "925b36ab525cf00ee4040826e20cc4ffa1f82a7e48ebdda94e4bdf358b5f1569"),
    (4, 1024, 768, "2d0cbedbdd8fae470468fe0e0e54290c0654ba0d0aa75bf1b00a5fe27375c776"),
]
"""Seed, height and width of drawn pictures, and their hashes by pdqhash 0.2.8, which wraps the authors' C++."""


def cells(data: bytes) -> np.ndarray:
    return hashes.reduced(data, max_pixels=1 << 26)[None]


def bits(data: bytes, orientation: int = 1) -> np.ndarray:
    return np.unpackbits(hashes.hashes(cells(data))[0, orientation - 1].view(np.uint8))


@pytest.mark.parametrize(("seed", "height", "width", "text"), PDQ)
def test_a_hash_is_nearly_that_of_the_authors(seed: int, height: int, width: int, text: str) -> None:
    """Theirs blurs with whole pixels of the full size; hashes of other pictures differ in about 128 bits."""
    official = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    ours = bits(encoded(waves(seed, height, width), "PNG"))
    assert np.count_nonzero(ours != official) <= 20
    assert np.count_nonzero(bits(encoded(waves(seed + 10), "PNG")) != official) >= 90


def test_the_rule_by_hand() -> None:
    """A hash by definition, with loops, of random cells."""
    values = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    j = np.arange(64)
    waves = np.array([[(values * np.outer(np.cos(np.pi * u * (2 * j + 1) / 128), np.cos(np.pi * v * (2 * j + 1) / 128))).sum()
              for v in range(1, 17)] for u in range(1, 17)])  # fmt: skip
    expected = (waves > np.sort(waves.reshape(-1))[127]).reshape(-1)
    made = hashes.hashes(values[None])
    assert made.shape == (1, 8, 4) and expected.sum() == 128
    assert np.array_equal(np.unpackbits(made[0, 0].view(np.uint8)), expected)


def test_turned_hashes_are_those_of_turned_pictures() -> None:
    picture = Image.fromarray(waves(5))
    for orientation, transpose in TURNS.items():
        data = encoded(picture.transpose(transpose), "PNG")
        assert np.array_equal(
            np.asarray(Image.open(io.BytesIO(data))), turned(np.asarray(picture), orientation)
        )  # the numbers are EXIF's
        assert np.count_nonzero(bits(encoded(picture, "PNG"), orientation) != bits(data)) <= 2
        assert np.count_nonzero(bits(encoded(picture, "PNG")) != bits(data)) > 64


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_keep_their_hash(variant: str) -> None:
    for seed in range(20, 30):
        picture = Image.fromarray(waves(seed, 480, 640))
        assert np.count_nonzero(bits(encoded(picture)) != bits(VARIANTS[variant](picture))) <= 31


def test_quality_is_that_of_the_authors() -> None:
    """Sum of the steps between neighbouring cells, in whole hundredths of 255, divided by 90; at most 100."""
    flat = np.full((64, 64), 90, np.float32)
    edge = flat.copy()
    edge[:, 32:] = 200  # 64 steps of 110: ⌊110 · 100 / 255⌋ = 43 each
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.float32)
    assert hashes.quality(np.stack([flat, edge, noise])).tolist() == [0, 64 * 43 // 90, 100]


def test_grey_is_decoded_small() -> None:
    picture = waves(1, 1024, 2048)
    small = decode_grey(encoded(picture), 256)
    assert small.shape == (256, 512) and small.dtype == np.uint8
    mean = picture.reshape(256, 4, 512, 4, 3).mean(axis=(1, 3)) @ [0.299, 0.587, 0.114]
    assert np.abs(small - mean).mean() < 2
    assert decode_grey(encoded(picture[:200, :300]), 256).shape == (200, 300)
    assert decode_grey(encoded(picture, "PNG"), 256).shape == (1024, 2048)
    cmyk = io.BytesIO()
    Image.fromarray(picture[:50, :60]).convert("CMYK").save(cmyk, "JPEG")
    assert decode_grey(cmyk.getvalue(), 256).shape == (50, 60)
