"""The weights of Lovász losses by NumPy's sort of whole numbers, against a sort of errors."""

from __future__ import annotations

import torch

from segdata.models.losses import make


def test_single_precision_is_sorted_in_another_way_and_gives_the_same() -> None:
    generator = torch.Generator().manual_seed(6)
    for channels in (1, 4):
        logits = 2 * torch.randn(3, channels, 21, 34, generator=generator)
        labels = torch.randint(0, max(channels, 2), (3, 21, 34), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
        labels[2] = 255
        labels[1] = labels[1].clamp(max=0)
        for options in ({}, {"per_image": True}, {"classes": "all"}, {"classes": "all", "per_image": True}):
            loss = make("lovasz", **options)
            results = []
            for dtype in (torch.float32, torch.float64):
                leaf = logits.to(dtype).detach().clone().requires_grad_()
                value = loss(leaf, labels)
                results.append((value.detach().double(), torch.autograd.grad(value, leaf)[0].double()))
            torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-8)


def test_equal_errors_keep_their_order() -> None:
    """So that a run can be repeated: the first of equal errors has the largest weight of its class."""
    logits = torch.zeros(1, 2, 1, 6, requires_grad=True)
    loss = make("lovasz")(logits, torch.tensor([[[0, 1, 0, 1, 0, 1]]]))
    first = torch.autograd.grad(loss, logits)[0][0, 0, 0]
    assert first[0] < 0 < first[1]
