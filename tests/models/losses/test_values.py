"""Losses of a few pixels, calculated by hand, and against torch's, torchvision's and SciPy's functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from segdata.models.losses import make
from segdata.models.losses.edges import edges_of

LOG2, LOG4 = math.log(2), math.log(4)


def logits_of(*probabilities: float) -> torch.Tensor:
    """Logits (1, 2, 1, W) whose second class has these probabilities."""
    second = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack((1 - second, second)).log()[None, :, None]


def labels_of(*labels: int) -> torch.Tensor:
    return torch.tensor(labels)[None, None]


TWO = logits_of(0.5, 0.25, 0.5), labels_of(1, 1, 255)
"""Of the true class 1/2 and 1/4; the third pixel is ignored."""


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("ce", {}, (LOG2 + LOG4) / 2),
        ("ce", {"reduction": "sum"}, LOG2 + LOG4),
        ("ce", {"weight": [7, 3]}, (LOG2 + LOG4) / 2),
        ("ce", {"weight": [7, 0]}, 0),
        ("focal", {"gamma": 0}, (LOG2 + LOG4) / 2),
        ("focal", {"gamma": 1}, (0.5 * LOG2 + 0.75 * LOG4) / 2),
        ("focal", {"gamma": 2, "alpha": [1, 4]}, 4 * (0.25 * LOG2 + 0.5625 * LOG4) / 2),
        ("topk", {"percent": 10}, LOG4),
        ("topk", {"percent": 100}, (LOG2 + LOG4) / 2),
        ("topk", {"percent": 100, "of": "all"}, (LOG2 + LOG4) / 3),
        ("ohem", {"threshold": 0.3, "minimum": 0}, LOG4),
        ("ohem", {"threshold": 0.1, "minimum": 0}, LOG4),
        ("ohem", {"threshold": 0.1, "minimum": 1}, (LOG2 + LOG4) / 2),
        ("ohem", {"threshold": 0.7}, (LOG2 + LOG4) / 2),
        # class 0: Σp = 1.25, Σy = 0; class 1: Σp = 0.75 = Σpy, Σy = 2
        ("dice", {"smooth": 0}, (1 + 1 - 1.5 / 2.75) / 2),
        ("dice", {"smooth": 0, "absent": "skip"}, 1 - 1.5 / 2.75),
        ("dice", {"smooth": 0, "include_background": False}, 1 - 1.5 / 2.75),
        ("dice", {"smooth": 1, "squared": True}, (1 - 1 / 1.8125 + 1 - 2.5 / 3.3125) / 2),
        # class 0: Σp²(1-y) = 0.25 + 0.5625 of 2; class 1: Σ(1-p)²y = the same of 2
        ("sensitivity_specificity", {"share": 0.25, "smooth": 0}, (0.75 * 0.8125 / 2 + 0.25 * 0.8125 / 2) / 2),
        # errors 0.75 and 0.5 of the only class, whose Jaccard loss grows by 1/2 with each
        ("lovasz", {}, 0.625),
        # class 0, absent: its largest error alone
        ("lovasz", {"classes": "all"}, (0.625 + 0.75) / 2),
        ("lovasz", {"per_image": True}, 0.625),
    ],
)
def test_two_pixels_by_hand(name: str, options: dict[str, Any], value: float) -> None:
    assert make(name, **options)(*TWO).item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("ce", {}, (LOG2 + LOG4) / 2),
        ("ce", {"positive_weight": 3}, (3 * LOG2 + LOG4) / 2),
        ("ce", {"weight": [1, 3]}, (3 * LOG2 + LOG4) / 4),
        ("focal", {"gamma": 1}, (0.5 * LOG2 + 0.75 * LOG4) / 2),
        ("focal", {"gamma": 1, "alpha": 0.25}, (0.25 * 0.5 * LOG2 + 0.75 * 0.75 * LOG4) / 2),
        ("focal", {"gamma": 1, "alpha": [2, 1]}, (0.5 * LOG2 + 2 * 0.75 * LOG4) / 2),
        ("dice", {"smooth": 0}, 1 - 2 * 0.5 / (1.25 + 1)),
        ("dice", {"smooth": 0, "include_background": False}, 1 - 2 * 0.5 / (1.25 + 1)),
        ("sensitivity_specificity", {"share": 0.25, "smooth": 0}, 0.25 * 0.25 + 0.75 * 0.5625),
        ("sensitivity_specificity", {"share": 0.25, "smooth": 0, "two_class": True}, (0.25 + 0.5625) / 2),
        # hinge errors 1 + log 3 (negative, first) and 1; the union is 2 after the first and stays
        ("lovasz", {}, (1 + math.log(3)) / 2 + 1 / 2),
    ],
)
def test_one_logit_by_hand(name: str, options: dict[str, Any], value: float) -> None:
    logits = torch.tensor([0.0, math.log(3), 5.0], dtype=torch.float64)[None, None, None]
    assert make(name, **options)(logits, labels_of(1, 0, 255)).item() == pytest.approx(value, abs=1e-12)


def test_boundary_by_hand() -> None:
    """Class 1 at the third of five pixels: its distances are 2 1 0 1 2; those of class 0 are -1 0 1 0 -1."""
    logits = logits_of(0.5, 0.5, 0.25, 0.5, 0.5)
    labels = labels_of(0, 0, 1, 0, 0)
    first, second = -0.5 + 0 + 0.75 + 0 - 0.5, 1 + 0.5 + 0 + 0.5 + 1
    assert make("boundary")(logits, labels).item() == pytest.approx((first + second) / 10)
    assert make("boundary", include_background=False)(logits, labels).item() == pytest.approx(second / 5)


def test_hausdorff_by_hand() -> None:
    """Class 1 at the third of five pixels, predicted nowhere: distances 2 1 1 1 2 of either class."""
    logits = logits_of(0.25, 0.25, 0.5, 0.25, 0.25)
    labels = labels_of(0, 0, 1, 0, 0)
    for alpha in (1, 2):
        value = (2 * 0.0625 * 2**alpha + 2 * 0.0625 + 0.25) / 5
        # class 0 is predicted where p > 0.5, so it has the same distances from its own boundary
        both = value + (2 * 0.0625 * 2**alpha + 2 * 0.0625 + 0.25) / 5
        loss = make("hausdorff", alpha=alpha)
        assert loss(logits, labels).item() == pytest.approx((value + both) / 2)
        loss = make("hausdorff", alpha=alpha, include_background=False)
        assert loss(logits, labels).item() == pytest.approx(value)


def test_distance_penalty_by_hand() -> None:
    """Depths of class 0 are 3 2 1 before and 1 2 after one pixel of class 1, so Φ is 0 ½ 1, 1 and 1 ½."""
    losses = -math.log(0.5) * (1 + 1.5 + 2 + 2 + 2 + 1.5) / 6
    loss = make("distance_penalised_ce")(logits_of(*[0.5] * 6), labels_of(0, 0, 0, 1, 0, 0))
    assert loss.item() == pytest.approx(losses)


def test_erosion_leaves_only_thick_errors() -> None:
    """All wrong on 5 × 5: the border has a mean of 0.8 and the corners of 0.6, so 0.3, 0.1 and 0.5 are left."""
    logits = torch.full((1, 1, 5, 5), 100.0, dtype=torch.float64)
    labels = torch.zeros(1, 5, 5, dtype=torch.long)
    value = (9 + 12 * (0.3 - 0.1) / 0.4) / 25
    assert make("hausdorff", form="erosion", steps=1)(logits, labels).item() == pytest.approx(value)


def test_cross_entropy_and_focal_are_torchs_and_torchvisions() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 4, 9, 11, generator=generator)
    labels = torch.randint(0, 4, (2, 9, 11), generator=generator)
    labels[0, :3] = 255
    weight = torch.tensor([0.1, 2.0, 0.0, 1.0])
    expected = functional.cross_entropy(logits, labels, weight, ignore_index=255)
    torch.testing.assert_close(make("ce", weight=weight.tolist())(logits, labels), expected)
    one_hot = torch.eye(4)[labels.clamp(max=3)].permute(0, 3, 1, 2)
    losses = sigmoid_focal_loss(logits, one_hot, alpha=0.3, gamma=1.5).mean(1)[labels != 255]
    torch.testing.assert_close(make("focal", form="sigmoid", alpha=0.3, gamma=1.5)(logits, labels), losses.mean())


def test_iou_balanced_by_hand() -> None:
    """Two positives with losses log 2 and log 4 and IoU 1 and 0.25: weights 1 and 0.25, scaled to the same sum."""
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [0.1, 0.9]], dtype=torch.float64).log()
    labels = torch.tensor([1, 1, 0, -1])
    total, count = make("iou_balanced", eta=1).sums(logits, labels, torch.tensor([1.0, 0.25, 0.9, 0.9]))
    assert total.item() == pytest.approx(LOG2 + LOG4 + LOG2, abs=1e-5) and count == 3
    logits.requires_grad_()
    loss = make("iou_balanced", eta=1)(logits, labels, torch.tensor([1.0, 0.25, 0.9, 0.9]))
    (gradient,) = torch.autograd.grad(loss, logits)
    scale = (LOG2 + LOG4) / (LOG2 + 0.25 * LOG4) / 3
    assert gradient[:2, 0].tolist() == pytest.approx([0.5 * scale, 0.75 * 0.25 * scale], rel=1e-5)


@pytest.mark.parametrize("radius", [1, 1.5, 2, 3])
def test_edges_are_where_distance_transforms_are_small(radius: float) -> None:
    rng = np.random.default_rng(0)
    labels = ndimage.zoom(rng.integers(-1, 3, (5, 6)), 4, order=0)
    expected = np.zeros(labels.shape, bool)
    for class_ in range(3):
        mask = np.pad(labels == class_, 1)
        apart = (ndimage.distance_transform_edt(mask) + ndimage.distance_transform_edt(~mask))[1:-1, 1:-1]
        expected |= apart <= radius
    assert np.array_equal(edges_of(torch.from_numpy(labels)[None], radius)[0].numpy(), expected)


def test_edges_are_balanced_by_hand() -> None:
    """One edge among four pixels: it weighs 3/4, the others 1/4; an ignored pixel counts in the mean alone."""
    loss = make("edge", radius=0)(torch.zeros(1, 1, 1, 5), labels_of(1, 0, 0, 0, 255))
    assert loss.item() == pytest.approx(LOG2 * (3 / 4 + 3 * 1 / 4) / 5)


def test_attention_is_the_weighted_cross_entropy_of_predicted_edges() -> None:
    logits, edges = logits_of(0.5, 0.25, 0.5, 0.9), torch.tensor([0.9, 0.9, 0.9, 0.1])[None, None, None]
    loss = make("edge_attention")(logits, labels_of(1, 1, 0, 1), edges)
    few, many = 2 - 1 / 3, 2 - 2 / 3
    assert loss.item() == pytest.approx((many * (LOG2 + LOG4) + few * LOG2) / (2 * many + few))


def test_dual_task_is_near_0_where_labels_are_predicted_and_noise_is_repeatable() -> None:
    labels = torch.zeros(1, 16, 20, dtype=torch.long)
    labels[:, 5:11, 6:15] = 1
    logits = 30 * torch.stack((labels == 0, labels == 1), 1).double()
    loss = make("dual_task")
    assert loss(logits, labels).item() == pytest.approx(0, abs=1e-6)
    assert loss(logits.roll(1, 3), labels).item() < loss(logits.roll(3, 3), labels).item()
    drawn = [loss(logits / 20, labels, generator=torch.Generator().manual_seed(3)).item() for _ in range(2)]
    uniform = torch.rand(logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert drawn[0] == drawn[1] == loss(logits / 20, labels, uniform=uniform).item() != loss(logits / 20, labels).item()
