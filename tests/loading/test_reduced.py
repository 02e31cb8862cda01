"""JPEGs decoded to a half, a quarter or an eighth: which size, which pixels, and that boxes and label maps stay on them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segdata.core import images
from segdata.core.codecs.reduced import decode_reduced
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.loading.crops import CropTransform, window_of
from tests.helpers.samples import SAMPLES, needs_samples

torch = pytest.importorskip("torch")

LABELS = LabelSpace("two", (Category("background", 0), Category("thing", 1, isthing=True)))


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("window", "size", "expected", "times"),
    [
        ((0, 0, 640, 480), (240, 320), (0, 0, 640, 480), 2),
        ((0, 0, 640, 480), (241, 320), (0, 0, 640, 480), 1),
        ((0, 0, 641, 483), (60, 80), (0, 0, 640, 480), 8),
        ((13, 6, 413, 306), (75, 100), (12, 4, 416, 308), 4),
        ((241, 183, 641, 483), (75, 100), (240, 180, 640, 480), 4),
        ((0, 0, 100, 100), (200, 200), (0, 0, 100, 100), 1),
    ],
)
def test_the_size_and_the_window_by_hand(
    window: tuple[int, int, int, int], size: tuple[int, int], expected: tuple[int, int, int, int], times: int
) -> None:
    height, width = max(483, window[3]), max(641, window[2])
    chosen = CropTransform(window, *size).reduced(height, width)
    assert chosen == (CropTransform(expected, *size), times)


@pytest.mark.parametrize("times", [2, 4, 8])
def test_pixels_are_means_of_squares(times: int) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    pixels = np.asarray(coarse.resize((256, 192), Image.Resampling.BICUBIC))
    whole = images.decode(jpeg(pixels)).astype(float)
    means = whole.reshape(192 // times, times, 256 // times, times, 3).mean((1, 3))
    small = decode_reduced(jpeg(pixels), times, max_pixels=1 << 20)
    assert small is not None and small.shape == means.shape
    assert np.abs(small - means).mean() < 1 and np.abs(small - means).max() < 12


@needs_samples
@pytest.mark.parametrize("times", [2, 4, 8])
def test_pixels_of_photos_are_means_of_squares(times: int) -> None:
    photos = sorted((SAMPLES / "coco").rglob("*.jpg"))[:12]
    assert photos
    for photo in photos:
        whole = images.decode(photo.read_bytes()).astype(float)
        height, width = (side // times * times for side in whole.shape[:2])
        cut = whole[:height, :width].reshape(height // times, times, width // times, times, 3)
        small = decode_reduced(photo.read_bytes(), times, max_pixels=1 << 26)
        assert small is not None
        assert np.abs(small[: height // times, : width // times] - cut.mean((1, 3))).mean() < 3, photo.name


def test_what_is_no_common_jpeg_is_not_reduced() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert decode_reduced(buffer.getvalue(), 2, max_pixels=1 << 20) is None
    assert decode_reduced(jpeg(pixels)[:-40], 2, max_pixels=1 << 20) is None
    assert decode_reduced(jpeg(pixels), 2, max_pixels=64) is None
    cmyk = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG")
    assert decode_reduced(cmyk.getvalue(), 2, max_pixels=1 << 20) is None


def scene(height: int, width: int, box: tuple[int, int, int, int], kind: str = "JPEG") -> Sample:
    """A white rectangle on black: the object, and the pixels of its class."""
    x0, y0, x1, y1 = box
    mask = np.zeros((height, width), np.uint8)
    mask[y0:y1, x0:x1] = 1
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(mask[:, :, None] * 255, 3, 2)).save(buffer, kind, quality=95)
    objects = Instances.build([1], Masks.from_dense(mask[None]))
    return Sample("a", height, width, encoded=buffer.getvalue(), instances=objects, semantic=mask)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("jitter", [{}, {"scale_jitter": (0.4, 1.6)}, {"large_scale_jitter": True}])
def test_boxes_lie_on_the_pixels_of_mask_r_cnn(kind: str, jitter: dict[str, Any]) -> None:
    pytest.importorskip("torchvision")
    from segdata.models.maskrcnn.augment import TrainTransform, to_batch
    from segdata.models.maskrcnn.config import Config

    config = Config(min_size=(200,), max_size=300, mean=(0, 0, 0), std=(1, 1, 1), **jitter)
    transform = TrainTransform(config, LABELS)
    sample = scene(1203, 1605, (333, 221, 1001, 887), kind)
    reductions = set()
    for seed in range(12):
        made = transform(sample, np.random.default_rng(seed))
        x0, _, x1, _ = made.transform.window
        reductions.add((x1 - x0) // made.pixels.shape[1])
        batch = to_batch([made.pixels], [made.transform], config, torch.device("cpu")).tensors[0, 0].numpy()
        if not len(made.boxes):
            continue
        rows, columns = (np.flatnonzero((batch > 0.5).any(axis)) for axis in (1, 0))
        drawn = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(np.array(drawn) - made.boxes[0]).max() <= 1.01, (seed, drawn, made.boxes[0])
    assert max(reductions) == (4 if kind == "JPEG" else 1) or jitter
    assert kind == "JPEG" or reductions == {1}


def test_label_maps_lie_on_the_pixels() -> None:
    from segdata.models.semantic.augment import TrainTransform, to_batch
    from segdata.models.semantic.classes import ClassPixels
    from segdata.training.config import TrainConfig

    settings = {
        "crop": (128, 128),
        "scale_jitter": (0.1, 0.6),
        "color_jitter": 0.0,
        "mean": (0, 0, 0),
        "std": (1, 1, 1),
    }
    config = TrainConfig.from_dict({"model": "unet", **settings}).model
    sample = scene(1203, 1605, (333, 221, 1001, 887))
    counted = ClassPixels(*(np.ones(2, np.int64) for _ in range(4)))
    transform = TrainTransform(config, LABELS, counted)
    for seed in range(12):
        made = transform(sample, np.random.default_rng(seed))
        batch = to_batch([made], config, torch.device("cpu"))
        counts = (batch.classes[0] != batch.ignore_index).numpy()
        wrong = ((batch.images[0, 0].numpy() > 0.5) != (batch.classes[0].numpy() == 1)) & counts
        assert wrong.sum() <= 0.02 * counts.sum()


def test_off_reads_every_pixel() -> None:
    sample = scene(1203, 1605, (333, 221, 1001, 887))
    window = CropTransform((3, 5, 1603, 1201), 100, 100)
    assert np.array_equal(window_of(sample, window), sample.image[5:1201, 3:1603])


def test_a_run_of_before_goes_on_without_it() -> None:
    from segdata.training.config import TrainConfig

    device = torch.device("cpu")
    config = TrainConfig.from_dict({"precision": "fp32"})
    assert config.resolved(device).model.jpeg_reduction
    recorded = config.as_dict()
    assert config.resolved(device, recorded).model.jpeg_reduction
    del recorded["jpeg_reduction"]
    assert not config.resolved(device, recorded).model.jpeg_reduction
