"""The dense CRF: against sums over all pairs, against the kernels' definition by hand, and what DenseCRF gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")
ndimage = pytest.importorskip("scipy.ndimage")

from segdata.errors import UsageError  # noqa: E402
from segdata.models.semantic import crf  # noqa: E402


def drawn(height: int, width: int, classes: int = 3) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Coloured areas with noise, and probabilities that are right on most pixels."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((classes, height, width)), (0, 6, 6), mode="nearest")
    labels = smooth.argmax(0)
    colours = rng.integers(0, 256, (classes, 3))
    image = np.clip(colours[labels] + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
    logits = rng.standard_normal((classes, height, width)) + 1.5 * (np.arange(classes)[:, None, None] == labels)
    shares = np.exp(logits)
    return image, (shares / shares.sum(0)).astype(np.float32)


def by_pairs(image: npt.NDArray[Any], probabilities: npt.NDArray[Any], steps: int) -> npt.NDArray[np.float64]:
    """Mean field in float64, pair by pair: E = log p + 3 G Q + 10 B Q, each kernel D^(−1/2) K D^(−1/2), K(i, i) = 1."""
    height, width = image.shape[:2]
    at = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2) * 1.0
    colours = image.reshape(-1, 3) * 1.0
    places = ((at[:, None] - at) ** 2).sum(2)
    kernels = [
        3 * normalised(np.exp(-places / (2 * 3**2))),
        10 * normalised(np.exp(-places / (2 * 20**2) - ((colours[:, None] - colours) ** 2).sum(2) / (2 * 13**2))),
    ]
    logarithms = np.log(probabilities.reshape(len(probabilities), -1).T.astype(float))
    shares = np.exp(logarithms) / np.exp(logarithms).sum(1, keepdims=True)
    for _ in range(steps):
        energies = logarithms + sum(kernel @ shares for kernel in kernels)
        shares = np.exp(energies) / np.exp(energies).sum(1, keepdims=True)
    given: npt.NDArray[np.float64] = shares.T.reshape(probabilities.shape)
    return given


def normalised(kernel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    root = np.sqrt(kernel.sum(1))
    given: npt.NDArray[np.float64] = kernel / root / root[:, None]
    return given


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_small_image_is_refined_exactly(steps: int) -> None:
    image, probabilities = drawn(20, 27)
    given = crf.refine(image, probabilities, steps=steps, bilateral=(20, 13, 10))
    assert np.abs(given - by_pairs(image, probabilities, steps)).max() < 1e-5


def test_two_pixels_by_hand() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    given = crf.refine(image, np.array([[[0.9, 0.4]], [[0.1, 0.6]]]), steps=1, gaussian=(1, 2), bilateral=None)
    # K = [[1, k], [k, 1]] with k = exp(−1/2); both rows have the sum 1 + k
    k = np.exp(-0.5)
    energy = np.log([0.9, 0.1]) + 2 / (1 + k) * np.array([0.9 + k * 0.4, 0.1 + k * 0.6])
    assert np.allclose(given[:, 0, 0], np.exp(energy) / np.exp(energy).sum(), atol=1e-6)


def test_blocks_of_pairs_give_what_the_whole_matrix_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    image, probabilities = drawn(20, 27)
    whole = crf.refine(image, probabilities, steps=2)
    monkeypatch.setattr(crf, "_BLOCK", 7000)
    monkeypatch.setattr(crf, "_MOST_KEPT", 0)
    assert np.abs(crf.refine(image, probabilities, steps=2) - whole).max() < 1e-5


@pytest.mark.parametrize("steps", [1, 10])
def test_the_lattice_labels_pixels_as_the_exact_kernels_do(steps: int) -> None:
    image, probabilities = drawn(40, 60, 5)
    exact, lattice = (
        crf.refine(image, probabilities, steps=steps, bilateral=(20, 13, 10), exact=exact) for exact in (True, False)
    )
    assert (exact.argmax(0) == lattice.argmax(0)).mean() >= 0.99
    assert np.abs(exact - lattice).mean() < 0.005
    assert np.allclose(lattice.sum(0), 1, atol=1e-5)


def test_tiles_of_a_large_image_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    image, probabilities = drawn(130, 150)
    whole = crf.refine(image, probabilities, bilateral=(8, 13, 10))
    monkeypatch.setattr(crf, "_MEMORY", 80**2 * (crf._BYTES + 3 * crf._BYTES_OF_A_CLASS))
    seen = [seen for _, seen in crf._tiles(150, 80)]
    assert len(seen) > 2 and all(part.stop - part.start <= 80 for part in seen)
    tiled = crf.refine(image, probabilities, bilateral=(8, 13, 10))
    assert np.abs(tiled - whole).max() > 0 and (tiled.argmax(0) == whole.argmax(0)).mean() > 0.998


def test_it_gives_what_densecrf_gives() -> None:
    file = Path(os.environ.get("SEGDATA_REFERENCE", "reference")) / "architectures/densecrf.npz"
    if not file.exists():
        pytest.skip(f"{file} is not there: set SEGDATA_REFERENCE")
    with np.load(file) as arrays:
        image, probabilities = arrays["image"], arrays["prob"]
        for steps in (1, 5, 10):
            for exact, name, most in ((True, "exact", 1e-5), (False, "pydensecrf2", 1e-4)):
                given = crf.refine(image, probabilities, steps=steps, bilateral=(20, 13, 10), exact=exact)
                assert np.abs(given - arrays[f"{name}/it{steps}"]).max() < most
        given = crf.refine(image, probabilities, steps=5, bilateral=None)
        assert np.abs(given - arrays["exact/gaussian_only_it5"]).max() < 1e-5


def test_probabilities_of_0_and_a_single_class() -> None:
    image, probabilities = drawn(9, 7)
    probabilities[1:] = 0
    assert np.isfinite(crf.refine(image, probabilities)).all()
    assert (crf.refine(image, probabilities[:1], exact=False) == 1).all()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"image": np.zeros((4, 5, 3))}, "uint8"),
        ({"probabilities": np.ones((2, 5, 4))}, "as large as the image"),
        ({"probabilities": np.full((2, 4, 5), np.nan)}, "finite"),
        ({"steps": -1}, "negative"),
        ({"gaussian": (0, 3)}, "above 0"),
        ({"bilateral": (20, 13, float("inf"))}, "finite"),
    ],
)
def test_what_cannot_be_refined_is_refused(changed: dict[str, Any], text: str) -> None:
    given = {"image": np.zeros((4, 5, 3), np.uint8), "probabilities": np.ones((2, 4, 5)), **changed}
    with pytest.raises(UsageError, match=text):
        crf.refine(given.pop("image"), given.pop("probabilities"), **given)
