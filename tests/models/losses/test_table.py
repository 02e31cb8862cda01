"""What holds for every loss: ignored pixels, extreme logits, other dtypes, gradients, parts of a batch, other devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from segdata.errors import InvalidInput, UsageError
from segdata.models.losses import LOSSES, boundaries, lovasz, make, pixelwise

CLASSES = 4
WEIGHT = [0.5, 2.0, 0.0, 1.0]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    ("ce", {"weight": WEIGHT}),
    ("ce", {"label_smoothing": 0.1}),
    ("ce", {"reduction": "sum"}),
    ("focal", {"gamma": 0.5, "alpha": WEIGHT}),
    ("focal", {"form": "sigmoid", "alpha": 0.25}),
    ("topk", {"of": "all"}),
    ("dice", {"batch": True}),
    ("dice", {"absent": "skip"}),
    ("dice", {"smooth": 0}),
    ("sensitivity_specificity", {"batch": True}),
    ("sensitivity_specificity", {"smooth": 0}),
    ("lovasz", {"per_image": True}),
    ("lovasz", {"classes": "all"}),
    ("boundary", {"include_background": False}),
    ("hausdorff", {"form": "erosion"}),
    ("hausdorff", {"alpha": 0.5, "include_background": False}),
]
BINARY: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES if name != "iou_balanced"),
    ("ce", {"positive_weight": 3}),
    ("ce", {"weight": [1, 2]}),
    ("focal", {"alpha": 0.25, "gamma": 0.5}),
    ("lovasz", {"per_image": False}),
    ("sensitivity_specificity", {"two_class": True}),
    ("hausdorff", {"form": "erosion"}),
]
EVERY = [
    pytest.param(name, options, channels, id=f"{name}-{options}-{channels}")
    for variants, channels in ((VARIANTS, CLASSES), (BINARY, 1))
    for name, options in variants
    if not (name == "edge" and channels > 1)
]


def batch(
    name: str, channels: int, *, images: int = 3, scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Random logits, labels (1 in 10 ignored) and what else a loss is called with."""
    generator = torch.Generator().manual_seed(5)
    if name == "iou_balanced":
        logits = scale * torch.randn(20, channels, generator=generator, dtype=torch.float64)
        labels = torch.randint(-1, channels, (20,), generator=generator)
        return logits.to(dtype), labels, [torch.rand(20, generator=generator)]
    logits = scale * torch.randn(images, channels, 9, 12, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, max(channels, 2), (images, 3, 4), generator=generator)
    labels = labels.repeat_interleave(3, 1).repeat_interleave(3, 2)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    more = [torch.rand(images, 1, 9, 12, generator=generator)] if name == "edge_attention" else []
    return logits.to(dtype), labels, more


def value_and_gradient(loss: Any, logits: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.detach().requires_grad_()
    value = loss(logits, *more)
    assert value.dim() == 0
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_all_ignored_is_0_with_gradient_0(name: str, options: dict[str, Any], channels: int) -> None:
    loss = make(name, **options)
    for scale in (1.0, 1e4):
        logits, labels, more = batch(name, channels, scale=scale)
        labels = torch.full_like(labels, loss.options.ignore_index)
        value, gradient = value_and_gradient(loss, logits, labels, *more)
        assert value == 0 and not gradient.any()
        total, count = loss.sums(logits, labels, *more)
        assert total == 0 and (count == 0 or loss.options.is_sum or name == "lovasz")


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_finite_logits_give_finite_values_and_gradients(name: str, options: dict[str, Any], channels: int) -> None:
    loss = make(name, **options)
    for scale in (0.0, 1.0, 30.0, 100.0, 1e4):
        logits, labels, more = batch(name, channels, scale=scale)
        for change in (labels, labels.clamp(max=0), torch.where(labels == 1, 0, labels)):
            value, gradient = value_and_gradient(loss, logits, change, *more)
            assert value.isfinite() and gradient.isfinite().all(), scale
            with torch.autocast("cpu", torch.bfloat16):
                half = value_and_gradient(loss, logits.bfloat16(), change, *more)
            assert half[0].dtype == torch.float32 and half[0].isfinite() and half[1].isfinite().all(), scale


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_16_bits_and_autocast_are_calculated_in_32(name: str, options: dict[str, Any], channels: int) -> None:
    loss = make(name, **options)
    logits, labels, more = batch(name, channels, dtype=torch.bfloat16)
    expected = loss(logits.float(), labels, *more)
    for dtype in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(logits.to(dtype), labels, *more), expected)
            if name != "iou_balanced":
                last = logits.to(dtype, memory_format=torch.channels_last)
                assert torch.equal(loss(last, labels, *more), expected)
    exact = loss(logits.double(), labels, *more)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(expected.double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_ignored_pixels_do_not_matter(name: str, options: dict[str, Any], channels: int) -> None:
    """Nor does the number that marks them, or the type of the labels."""
    loss = make(name, **options)
    logits, labels, more = batch(name, channels)
    value, gradient = value_and_gradient(loss, logits, labels, *more)
    ignored = labels == loss.options.ignore_index
    assert not gradient.movedim(1, -1)[ignored].any()
    noise = torch.where(ignored[:, None], 7.0, logits)
    torch.testing.assert_close(loss(noise, labels, *more), value)
    wide = torch.where(ignored, 65535, labels)
    other = make(name, **options, ignore_index=65535)
    for dtype in (torch.uint16, torch.int32, torch.int64):
        assert torch.equal(other(logits, wide.to(dtype), *more), value)
    if name != "iou_balanced":
        assert torch.equal(loss(logits, labels.byte(), *more), value)


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_gradients_are_the_derivatives(name: str, options: dict[str, Any], channels: int) -> None:
    loss = make(name, **options)
    logits, labels, more = batch(name, channels, images=2, dtype=torch.float64)
    if name == "hausdorff":
        logits = logits * 0.3  # away from the threshold of the prediction
    step = 1e-6 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, gradient = value_and_gradient(loss, logits, labels, *more)
    change = loss(logits + step, labels, *more) - loss(logits - step, labels, *more)
    expected = 2 * (gradient * step).sum()
    if name == "iou_balanced":  # its weights are constants
        return
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-14)


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_sums_and_counts_of_parts_give_the_loss_of_the_whole(name: str, options: dict[str, Any], channels: int) -> None:
    loss = make(name, **options)
    logits, labels, more = batch(name, channels)
    labels[1] = loss.options.ignore_index
    whole = loss(logits, labels, *more)
    parts = [
        loss.sums(*(each[part] for each in (logits, labels, *more)))
        for part in (slice(0, 1), slice(1, 2), slice(2, None))
    ]
    total, count = (sum(values) for values in zip(*parts, strict=True))
    if loss.options.is_sum:
        torch.testing.assert_close(total / count, whole)
    elif not (name == "lovasz" and channels == 1) and name != "iou_balanced":
        assert [float(count) for _, count in parts] == [1, 0, 1] and loss.sums(logits, labels, *more)[1] == 1


@pytest.mark.parametrize(("name", "options", "channels"), EVERY)
def test_nothing_stays_on_the_cpu_or_waits_for_a_gpu(name: str, options: dict[str, Any], channels: int) -> None:
    loss = make(name, **options)
    logits, labels, more = batch(name, channels)
    with FakeTensorMode() as fake:
        arguments = [torch.empty(each.shape, dtype=each.dtype, device="cuda") for each in (logits, labels, *more)]
        value = loss(arguments[0].requires_grad_(), *arguments[1:])
        assert fake is not None and value.device.type == "cuda" and value.requires_grad and not value.shape


def test_dense_forms_have_gradients_everywhere() -> None:
    """Those for other devices, as far as they can be run without one: PyTorch's meta device has shapes alone."""
    functions: list[tuple[str, Any]] = [
        ("topk", pixelwise.topk),
        ("ohem", pixelwise.ohem),
        ("lovasz", lovasz.lovasz),
        ("boundary", boundaries.boundary),
        ("hausdorff", boundaries.hausdorff),
        ("distance_penalised_ce", boundaries.distance_penalised_ce),
    ]
    for name, function in functions:
        logits = torch.empty(2, CLASSES, 9, 12, device="meta", requires_grad=True)
        labels = torch.empty(2, 9, 12, dtype=torch.uint8, device="meta")
        total, count = function(logits, labels, make(name).options)
        assert torch.autograd.grad(total / count, logits)[0].shape == logits.shape


def test_labels_that_are_no_class_are_refused() -> None:
    loss = make("dice")
    logits, labels, _ = batch("dice", CLASSES)
    for label in (4, -1):
        labels[0, 0, 0] = label
        with pytest.raises(InvalidInput, match=f"a label is {label}, and the logits have the classes 0 … 3"):
            loss(logits, labels)
    for wrong in (labels[:, None], labels[:, :5], labels[:2]):
        with pytest.raises(UsageError, match="do not belong together"):
            loss(logits, wrong)
    with pytest.raises(UsageError, match="not whole numbers"):
        loss(logits, labels.float())


def test_options_that_do_not_fit_the_logits_are_refused() -> None:
    logits, labels, _ = batch("ce", CLASSES)
    for name, options, text in (
        ("ce", {"weight": [1, 2]}, "got 2 for 4 classes"),
        ("ce", {"positive_weight": 2}, "4 channels"),
        ("focal", {"alpha": 0.25}, "alpha needs a number for each class"),
        ("focal", {"alpha": [1, 2, 3, 4], "form": "sigmoid"}, "alpha is one number"),
        ("edge", {}, "one logit"),
    ):
        with pytest.raises(UsageError, match=text):
            make(name, **options)(logits, labels)


def test_large_images_are_summed_without_loss() -> None:
    """More than 2^24 pixels of one class, where single precision stops when ones are added one after the other."""
    labels = torch.ones(1, 4100, 4100, dtype=torch.uint8)
    loss = make("dice", smooth=0)(torch.zeros(1, 1, 4100, 4100), labels)
    assert loss.item() == pytest.approx(1 - 2 * 0.5 / (0.5 + 1), rel=1e-6)
