"""Distance transforms against SciPy's, both forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage

from segdata.models.losses import distances


def masks() -> Iterator[torch.Tensor]:
    """Masks of several shapes: noise, blocks, one pixel set or left, lines, at the border."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (1, 7), (6, 1), (13, 29), (40, 17)):
        for share in (0.02, 0.5, 0.98):
            yield torch.rand(3, *shape, generator=generator) < share
        blocks = torch.zeros(4, *shape, dtype=torch.bool)
        blocks[0, shape[0] // 3 :, : shape[1] // 2] = True
        blocks[1, 0, 0] = True
        blocks[2] = True
        blocks[2, -1, -1] = False
        blocks[3, :, shape[1] // 2] = True
        yield blocks


def of_scipy(mask: torch.Tensor) -> torch.Tensor:
    """SciPy's distances, 0 for masks that fill their image."""
    maps = [np.zeros(map_.shape) if map_.all() else ndimage.distance_transform_edt(map_) for map_ in mask.numpy()]
    return torch.from_numpy(np.stack(maps)).double()


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether distances are equal but for the rounding of the root."""
    return one.dtype == other.dtype and torch.equal(one.double().square().round(), other.double().square().round())


@pytest.mark.parametrize("edt", [distances.edt, distances.edt_dense])
def test_distances_are_scipys(edt: Callable[..., torch.Tensor]) -> None:
    for mask in masks():
        for dtype in (torch.float32, torch.float64):
            assert is_same(edt(mask, dtype), of_scipy(mask).to(dtype))
            torch.testing.assert_close(edt(mask, dtype), of_scipy(mask).to(dtype), rtol=2e-7, atol=0)
    assert torch.equal(edt(mask[:, None, None]), edt(mask)[:, None, None])
    assert edt(mask[:0]).shape == mask[:0].shape


def test_signed_distances_are_0_at_the_inner_side_and_without_boundary() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 0]], dtype=torch.bool)
    assert distances.signed(mask).tolist() == [[2, 1, 0, -1, -1, 0, 1]]
    assert distances.to_boundary(mask).tolist() == [[2, 1, 1, 2, 2, 1, 1]]
    for empty in (torch.zeros(2, 4, 5, dtype=torch.bool), torch.ones(2, 4, 5, dtype=torch.bool)):
        assert not distances.signed(empty).any() and not distances.to_boundary(empty).any()


def test_the_form_for_other_devices_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when rows are taken in pieces."""
    for pieces in (1 << 26, 100):
        monkeypatch.setattr(distances, "_MOST_NUMBERS", pieces)
        for mask in masks():
            signed = distances.signed_dense(mask)
            assert is_same(signed, distances.signed(mask)) and torch.equal(signed > 0, distances.signed(mask) > 0)
            assert is_same(distances.edt_dense(mask) + distances.edt_dense(~mask), distances.to_boundary(mask))
