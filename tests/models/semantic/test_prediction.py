"""Label maps of images: windows against the whole, scales, flips, the CRF, numbers that are none, and the judge."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import segdata
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.models.contract import Prediction
from segdata.models.semantic import architectures, crf
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.judge import ConfusionJudge
from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.prediction.segmenter import Segmenter
from segdata.models.semantic.prediction.windows import bands

LABELS = LabelSpace(
    "own", tuple(Category(id=n, name=name, ignore=name == "off") for n, name in enumerate(("a", "off", "b", "c")))
)
RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (90, 133, 3), np.uint8)


class Pointwise(Network):
    """Each pixel by itself: windows, flips and bands cannot change it."""

    stride = 1
    least = 1

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, classes, 1)

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        return Outputs(self.layer(images))


def network() -> Pointwise:
    torch.manual_seed(0)
    return Pointwise()


def segmenter(net: Network, *, flip: bool = False, **settings: Any) -> Segmenter:
    return Segmenter(net, SemanticConfig(**settings), LABELS, flip=flip)


def maps(net: Network, *images: Any, flip: bool = False, **settings: Any) -> list[Any]:
    return [prediction.semantic for prediction in segmenter(net, flip=flip, **settings).predict(images or (IMAGE,))]


def test_classes_become_categories_and_ignored_ones_are_never_predicted() -> None:
    net = network()
    normal = (IMAGE / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    weights = net.layer.weight.detach().numpy()[:, :, 0, 0]
    logits = normal @ weights.T + net.layer.bias.detach().numpy()  # type: ignore[union-attr]
    (mine,) = maps(net)
    expected = np.array([0, 2, 3])[logits.argmax(2)]
    assert (mine != expected).mean() < 1e-4 and mine.dtype == np.uint8


@pytest.mark.parametrize("window", [(32, 32), (64, 48), (90, 133), (512, 512)])
@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.8])
def test_windows_give_what_the_whole_gives(window: tuple[int, int], overlap: float) -> None:
    net = network()
    whole = segmenter(net).probabilities(IMAGE)
    slid = segmenter(net, infer="slide", window=window, overlap=overlap).probabilities(IMAGE)
    assert whole.shape == slid.shape == (3, 90, 133) and np.abs(whole - slid).max() < 1e-6
    assert np.allclose(whole.sum(0), 1)
    (mine,) = maps(net, infer="slide", window=window, overlap=overlap)
    assert (mine == maps(net)[0]).all()


def test_one_window_over_a_whole_image_is_the_image() -> None:
    net = architectures.build("unet", 3, width=4, norm="group")
    whole = segmenter(net).probabilities(IMAGE)
    assert np.abs(whole - segmenter(net, infer="slide", window=(256, 256)).probabilities(IMAGE)).max() < 1e-6
    assert np.abs(whole - segmenter(net, infer="slide", window=(32, 64)).probabilities(IMAGE)).max() > 1e-4


def test_finished_rows_leave_and_every_window_is_asked_for_once() -> None:
    seen: list[tuple[int, int, int, int]] = []

    def ones(windows: list[tuple[int, int, int, int]]) -> Tensor:
        seen.extend(windows)
        return torch.ones(len(windows), 2, 32, 40)

    rows = [
        (top, band.shape, float(band.min()), float(band.max())) for top, band in bands(100, 100, (32, 40), 0.5, ones)
    ]
    assert [top for top, *_ in rows] == [0, 14, 27, 41, 54, 68]
    assert sum(shape[1] for _, shape, *_ in rows) == 100 and all(low == high == 1 for *_, low, high in rows)
    assert len(set(seen)) == len(seen) == 6 * 4


def test_flips_and_scales_average_probabilities() -> None:
    net = architectures.build("unet", 3, width=4, norm="group")
    plain = segmenter(net)
    there, back = plain.probabilities(IMAGE), plain.probabilities(IMAGE[:, ::-1])[:, :, ::-1]
    assert np.abs(segmenter(net, flip=True).probabilities(IMAGE) - (there + back) / 2).max() < 1e-6
    assert np.abs(segmenter(net, scales=(1.0,)).probabilities(IMAGE) - there).max() == 0
    several = segmenter(net, scales=(0.5, 1.0, 1.5)).probabilities(IMAGE)
    halves = [segmenter(net, scales=(scale,)).probabilities(IMAGE) for scale in (0.5, 1.0, 1.5)]
    assert np.abs(several - np.mean(halves, axis=0)).max() < 1e-6


def test_images_of_one_size_together_and_of_several_alone() -> None:
    net, other = network(), IMAGE[:50, :60]
    alone = [maps(net, image)[0] for image in (IMAGE, other, IMAGE[::-1])]
    for images in ((IMAGE, other, IMAGE[::-1]), (IMAGE, IMAGE[::-1])):
        together = maps(net, *images)
        chosen = alone if len(images) == 3 else [alone[0], alone[2]]
        assert all((mine == one).all() for mine, one in zip(together, chosen, strict=True))


def test_the_crf_refines_what_the_network_says() -> None:
    net, image = network(), IMAGE[:20, :25]
    refined = crf.refine(image, segmenter(net).probabilities(image)).argmax(0)
    assert (maps(net, image, crf=True)[0] == np.array([0, 2, 3])[refined]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_weights_that_diverged_give_void_and_a_remark(value: float) -> None:
    net = network()
    torch.nn.init.constant_(net.layer.bias, value)  # type: ignore[arg-type]
    for settings in ({}, {"infer": "slide", "window": (32, 32)}, {"crf": True}):
        (prediction,) = segmenter(net, **settings).predict([IMAGE[:40, :40]])
        assert np.all(prediction.semantic == 255) and "diverged" in prediction.remarks[0]


def test_the_judge_counts_as_evaluate_does(tmp_path: Path) -> None:
    truth = RNG.choice(np.array([0, 1, 2, 3, 255], np.uint8), (4, 30, 40))
    predicted = np.where(RNG.random(truth.shape) < 0.6, truth, RNG.choice(np.array([0, 2, 3], np.uint8), truth.shape))
    packs = {}
    for name, label_maps in (("truth", truth), ("predicted", np.where(predicted == 255, 0, predicted))):
        images = np.zeros((30, 40, 3), np.uint8)
        samples = [Sample.build(f"{n}", images, semantic=one, labels=LABELS) for n, one in enumerate(label_maps)]
        segdata.write(samples, tmp_path / name, labels=LABELS)
        packs[name] = segdata.open(tmp_path / name)
    judges = [ConfusionJudge(packs["truth"], from_objects=False) for _ in range(2)]
    for index, sample in enumerate(packs["predicted"]):
        judges[index % 2].add(index, Prediction(semantic=sample.semantic))
    judges[0].merge(judges[1].state())
    metrics = judges[0].metrics()
    official = segdata.evaluate(tmp_path / "predicted", tmp_path / "truth", metrics=["semantic"]).metrics["semantic"]
    assert {name: official[name] for name in ("mIoU", "pACC", "mACC", "fwIoU")}.items() <= metrics.items()
    assert {f"category_IoU/{name}": official[f"IoU-{name}"] for name in "abc"}.items() <= metrics.items()
    assert judges[0].tables()["confusion"] == official["confusion"]


@pytest.mark.full
def test_a_large_image_takes_the_memory_of_one_row_of_windows() -> None:
    image = np.zeros((8192, 8192, 3), np.uint8)
    labels = LabelSpace("many", tuple(Category(id=n, name=f"c{n}") for n in range(19)))
    net = Segmenter(Pointwise(19), SemanticConfig(infer="slide", window=(512, 512)), labels)
    net.predict([image[:1024, :1024]])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (prediction,) = net.predict([image])
    assert prediction.semantic is not None and prediction.semantic.shape == (8192, 8192)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ) / 2**20 < 1.2 - 0.2  # GB; the image is counted before
