"""The hardest pixels without a size that depends on values."""

from __future__ import annotations

import math

import pytest
import torch

from segdata.models.losses import make
from segdata.models.losses.pixelwise import mean_of_hardest_dense


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("limit", [-math.log(0.7), 3.0, math.inf])
def test_both_forms_are_equal(share: float, limit: float) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(2, 5, 7, 9, generator=generator, dtype=torch.float64)
    for ignored in (0.0, 0.3, 0.99, 1.0):
        labels = torch.randint(0, 5, (2, 7, 9), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
        losses = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="none")
        for of_all in (False, True) if limit == math.inf and share else (False,):
            options = {"percent": 100 * share, "of": "all" if of_all else "valid"}
            loss = make("topk", **options) if limit == math.inf and share else None
            if loss is None:
                loss = make("ohem", threshold=max(math.exp(-limit), 1e-6), minimum=share)
                limit_ = -math.log(loss.options.threshold)  # type: ignore[attr-defined]
            else:
                limit_ = math.inf
            dense = mean_of_hardest_dense(losses, labels != 255, 100 * share, limit_, of_all=of_all)
            torch.testing.assert_close(loss(logits, labels), dense)
