"""Single functions against what the original's gave for the same small inputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from segdata.errors import UsageError
from segdata.models.matterport import losses
from segdata.models.matterport.boxes import (
    apply_box_deltas,
    box_refinement,
    compute_overlaps,
    denorm_boxes,
    generate_pyramid_anchors,
    non_max_suppression,
    norm_boxes,
)
from segdata.models.matterport.config import Config
from segdata.models.matterport.crops import crop_and_resize, levels_of
from segdata.models.matterport.molding import (
    expand_mask,
    extract_bboxes,
    minimize_mask,
    resize,
    resize_image,
    resize_mask,
    unmold_mask,
)
from segdata.models.matterport.targets import detection_targets, match_anchors, rpn_targets
from tests.helpers.keras_weights import UNITS, bits, needs_matterport, photo
from tests.models.matterport.original_precision import compute_ap, compute_ap_range


@pytest.fixture(scope="module")
def arrays() -> Any:
    return np.load(UNITS / "units.npz")


@pytest.fixture(scope="module")
def values() -> Any:
    return json.loads((UNITS / "units.json").read_text())


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def test_resized_images_are_the_same_to_the_bit(arrays: Any, values: Any) -> None:
    for number, case in enumerate(values["resize"]):
        boxed = resize_image(arrays[f"resize{number}_in"], **case["kw"])
        assert np.array_equal(boxed.image, arrays[f"resize{number}_out"])
        assert list(boxed.window) == case["window"] and boxed.scale == case["scale"] and boxed.crop is None
        assert [list(pair) for pair in boxed.padding] == case["padding"]


@needs_matterport
@pytest.mark.parametrize("name", ["2502287818_41e4b0c4fb_z", "3132016470_c27baa00e8_z", "4782628554_668bc31826_z"])
def test_letterboxed_photos_are_the_same_to_the_bit(name: str) -> None:
    boxed = resize_image(photo(f"{name}.jpg"), 800, 1024, 0, "square")
    assert np.array_equal(boxed.image, photo(f"molded_{name}.png"))


def test_resizing_is_scipys_zoom_cut_to_the_range_of_the_image() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for _ in range(60):
            (h, w), (height, width) = rng.integers(1, 60, 2), rng.integers(1, 90, 2)
            image = (0.2 + rng.random((h, w))).astype(dtype)
            zoomed = ndimage.zoom(image, (height / h, width / w), order=1, mode="grid-constant", grid_mode=True)
            if zoomed.shape == (height, width):
                assert np.array_equal(resize(image, height, width), zoomed.clip(image.min(), image.max()))


def test_resized_masks_are_scipys_nearest_neighbours() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = rng.random((*rng.integers(2, 80, 2), 1)) > 0.3
        scale = rng.uniform(0.3, 3)
        zoomed = ndimage.zoom(mask, (scale, scale, 1), order=0)
        assert np.array_equal(resize_mask(mask, scale, ((0, 0), (0, 0), (0, 0))), zoomed)


def test_cuts_lie_inside_the_enlarged_photo() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    for seed in range(20):
        boxed = resize_image(image, 64, mode="crop", rng=np.random.default_rng(seed))
        assert boxed.image.shape == (64, 64, 3) and boxed.crop is not None
        y, x, height, width = boxed.crop
        larger = resize(image, 64, 90)
        assert np.array_equal(boxed.image, larger[y : y + height, x : x + width])


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((50, 64), {"mode": "none"}),
        ((50, 70), {"mode": "tile"}),
        ((50, 70), {"min_dim": 100, "mode": "pad64"}),
        ((50, 70), {"min_dim": 64, "mode": "square"}),
    ],
)
def test_frames_that_cannot_be_are_refused(size: tuple[int, int], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        resize_image(np.zeros((*size, 3), np.uint8), **options)


def test_masks_shrink_grow_and_come_back_as_in_the_original(arrays: Any, values: Any) -> None:
    masks = bits(arrays["mask_in"], values["mask_shape"])
    boxes = extract_bboxes(masks)
    assert np.array_equal(boxes, arrays["extract_bboxes"])
    small = minimize_mask(boxes, masks, (56, 56))
    assert np.array_equal(small, bits(arrays["minimize_mask"], (56, 56, 4)))
    assert np.array_equal(expand_mask(boxes, small, masks.shape), bits(arrays["expand_mask"], masks.shape))
    resized = values["resize_mask"]
    assert np.array_equal(
        resize_mask(masks, resized["scale"], resized["padding"]), bits(arrays["resize_mask"], resized["shape"])
    )
    shape = values["unmold"]["image_shape"]
    for number, box in enumerate(values["unmold"]["boxes"]):
        full = unmold_mask(arrays[f"unmold{number}_in"], box, shape)
        assert np.array_equal(full, bits(arrays[f"unmold{number}_out"], shape[:2]))


def test_boxes_move_and_overlap_as_in_the_original(arrays: Any) -> None:
    boxes = tensor(arrays["boxes"])
    moved = apply_box_deltas(boxes, tensor(arrays["deltas"]))
    assert np.abs(moved.numpy() - arrays["apply_box_deltas"]).max() <= 1e-4
    refined = box_refinement(boxes, tensor(arrays["apply_box_deltas"]))
    assert np.abs(refined.numpy() - arrays["box_refinement"]).max() <= 1e-5
    assert np.array_equal(norm_boxes(boxes, (200, 300)).numpy(), arrays["norm_boxes"])
    assert np.array_equal(denorm_boxes(arrays["norm_boxes"], (200, 300)).numpy(), arrays["denorm_boxes"])
    assert np.abs(compute_overlaps(boxes, boxes[:7]).numpy() - arrays["overlaps"]).max() <= 1e-6
    assert non_max_suppression(boxes, torch.linspace(1, 0.1, 20), 0.4).tolist() == arrays["nms"].tolist()


def test_sampled_regions_are_tensorflows(arrays: Any) -> None:
    maps = tensor(arrays["cr_feature"]).permute(0, 3, 1, 2)
    boxes = tensor(arrays["cr_boxes"])
    first = torch.zeros(len(boxes), dtype=torch.int64)
    sampled = crop_and_resize([maps], boxes, first, first, 7).permute(0, 2, 3, 1)
    assert np.abs(sampled.numpy() - arrays["cr_out7"]).max() <= 1e-5


def test_regions_of_several_photos_and_levels_are_sampled_where_they_belong() -> None:
    pyramid = [torch.randn(2, 3, side, side) for side in (16, 8)]
    boxes = torch.rand(6, 4).reshape(6, 2, 2).sort(dim=1).values.reshape(6, 4)
    owner, level = torch.tensor([0, 1, 1, 0, 1, 0]), torch.tensor([0, 0, 1, 1, 1, 0])
    zero = torch.zeros(1, dtype=torch.int64)
    together = crop_and_resize(pyramid, boxes, owner, level, 5)
    for row in range(6):
        alone = crop_and_resize([pyramid[level[row]][owner[row]][None]], boxes[row : row + 1], zero, zero, 5)
        assert torch.allclose(together[row], alone[0], atol=1e-6)


def test_regions_pass_gradients_to_the_maps() -> None:
    maps = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.1, 0.2, 0.7, 0.9], [0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    first = torch.zeros(2, dtype=torch.int64)
    assert torch.autograd.gradcheck(lambda m: crop_and_resize([m], boxes, first, first, 3), (maps,))


def test_levels_go_by_size() -> None:
    def box(side: float) -> list[float]:
        return [0.0, 0.0, side / 1024, side / 1024]

    boxes = torch.tensor([box(side) for side in (0, 20, 112, 224, 448, 1024)])
    assert levels_of(boxes, (1024, 1024)).tolist() == [0, 0, 1, 2, 3, 3]


def test_anchors_learn_what_they_learn_in_the_original(arrays: Any, values: Any) -> None:
    config = Config(rpn_train_anchors_per_image=100_000)
    anchors = generate_pyramid_anchors(
        config.rpn_anchor_scales, config.rpn_anchor_ratios, (4, 8, 16, 32, 64), 1, values["rpn_targets"]["image_shape"]
    )
    class_ids, boxes = tensor(arrays["rpn_gt_ids"]), tensor(arrays["rpn_gt_boxes"])
    match, _ = match_anchors(anchors, class_ids, boxes)
    assert np.array_equal(match.numpy(), arrays["rpn_match"])
    match, deltas = rpn_targets(anchors, class_ids, boxes, config, np.random.default_rng(0))
    assert np.array_equal(match.numpy(), arrays["rpn_match"])
    assert np.abs(deltas.numpy() - arrays["rpn_bbox_positive"]).max() <= 1e-12
    few, _ = rpn_targets(anchors, class_ids, boxes, Config(rpn_train_anchors_per_image=20), np.random.default_rng(0))
    assert [int((few == sign).sum()) for sign in (1, -1)] == [10, 10]
    assert ((few == 0) | (few == match)).all()


def test_proposals_learn_what_they_learn_in_the_original(arrays: Any, values: Any) -> None:
    masks = np.moveaxis(bits(arrays["dt_gt_minimasks"], (56, 56, 10)), -1, 0)
    proposals, class_ids, boxes = (tensor(arrays[f"dt_{name}"]) for name in ("proposals", "gt_ids", "gt_boxes"))
    expected = values["detection_targets"]
    config = Config(train_rois_per_image=expected["TRAIN_ROIS_PER_IMAGE"])
    targets = detection_targets(proposals, class_ids, boxes, tensor(masks), config, np.random.default_rng(0))
    count = len(targets.deltas)
    assert count == expected["positives"] and len(targets.rois) == expected["TRAIN_ROIS_PER_IMAGE"]
    assert int((targets.rois.abs().sum(dim=1) > 0).sum()) == expected["nonzero_rows"]
    assert not targets.class_ids[count:].any()
    rois = targets.rois[:count].numpy()
    order = np.lexsort(rois.T)
    assert np.array_equal(rois[order], arrays["dt_pos_rois"])
    assert np.array_equal(targets.class_ids[:count].numpy()[order], arrays["dt_pos_ids"])
    assert np.abs(targets.deltas.numpy()[order] - arrays["dt_pos_deltas"]).max() <= 1e-5
    assert np.array_equal(targets.masks.numpy()[order] != 0, bits(arrays["dt_pos_masks"], (24, 28, 28)))


@needs_matterport
def test_losses_are_those_of_the_original(arrays: Any, values: Any) -> None:
    match = tensor(arrays["loss_rpn_match"])[:, :, 0]
    class_ids = tensor(arrays["loss_cls_target"]).reshape(-1).to(torch.int64)
    positive = class_ids > 0
    deltas = torch.cat([tensor(arrays["loss_rpn_target"])[i, : int((match[i] == 1).sum())] for i in range(2)])
    boxes = tensor(arrays["loss_box_target"]).reshape(-1, 4)[positive]
    masks = tensor(bits(arrays["loss_mask_target"], (48, 28, 28)))[positive]
    shown = tensor(arrays["loss_mask_pred_u8"].reshape(48, 28, 28, 6) / 255.0).permute(0, 3, 1, 2)[positive]
    ours = {
        "rpn_class_loss": losses.rpn_class_loss(match, tensor(arrays["loss_rpn_logits"])),
        "rpn_bbox_loss": losses.rpn_bbox_loss(match, deltas, tensor(arrays["loss_rpn_pred"])),
        "mrcnn_class_loss": losses.mrcnn_class_loss(
            class_ids, tensor(arrays["loss_cls_logits"]).reshape(-1, 6), tensor(arrays["loss_active"])[0]
        ),
        "mrcnn_bbox_loss": losses.mrcnn_bbox_loss(class_ids, boxes, tensor(arrays["loss_box_pred"]).reshape(-1, 6, 4)),
        "mrcnn_mask_loss": losses.mrcnn_mask_loss(class_ids[positive], masks, torch.logit(shown)),
    }
    assert {name: float(value) for name, value in ours.items()} == pytest.approx(values["losses"], rel=1e-5)


def test_losses_without_anything_to_learn_are_zero_and_have_a_gradient() -> None:
    logits = torch.randn(1, 5, 2, requires_grad=True)
    nothing = [
        losses.rpn_class_loss(torch.zeros(1, 5), logits),
        losses.rpn_bbox_loss(torch.zeros(1, 5), torch.zeros(0, 4), torch.randn(1, 5, 4, requires_grad=True)),
        losses.mrcnn_class_loss(torch.zeros(5, dtype=torch.int64), logits[0], torch.zeros(2)),
        losses.mrcnn_bbox_loss(
            torch.zeros(5, dtype=torch.int64), torch.zeros(0, 4), torch.randn(5, 2, 4, requires_grad=True)
        ),
        losses.mrcnn_mask_loss(
            torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, 4), torch.randn(0, 2, 4, 4, requires_grad=True)
        ),
    ]
    assert [value.item() for value in nothing] == [0.0] * 5
    torch.autograd.backward(torch.stack(nothing).sum())


def test_a_pixel_of_a_mask_costs_no_more_than_in_the_original() -> None:
    logits = torch.tensor([40.0, -40, 40, -40, 3, -3, 9, -12], requires_grad=True)
    masks = torch.tensor([0.0, 1, 1, 0, 0, 0, 1, 1])
    maps = torch.stack((torch.zeros(8), logits))[None, :, None]
    loss = losses.mrcnn_mask_loss(torch.tensor([1]), masks[None, None], maps)
    assert float(loss.detach()) == pytest.approx(5.7299185, rel=1e-5)  # what the original's function gives
    torch.autograd.backward(loss)
    assert logits.grad is not None and not logits.grad[:4].any() and logits.grad[4:].all()


def test_the_penalty_is_a_mean_over_each_weight() -> None:
    weights = [torch.tensor([1.0, 3.0]), torch.tensor([[2.0]])]
    assert float(losses.weight_penalty(weights, 0.1)) == pytest.approx(0.1 * (5.0 + 4.0))


def test_average_precision_is_that_of_the_original(arrays: Any, values: Any) -> None:
    expected = values["compute_ap"]
    inputs = (
        bits(arrays["mask_in"], values["mask_shape"]),
        np.array(expected["gt_class_ids"]),
        bits(arrays["ap_pred_masks"], expected["pred_mask_shape"]),
        arrays["ap_pred_ids"],
        arrays["ap_scores"],
    )
    computed = compute_ap(*inputs)
    assert computed.average == pytest.approx(expected["mAP"])
    assert computed.precisions.tolist() == pytest.approx(expected["precisions"])
    assert computed.recalls.tolist() == pytest.approx(expected["recalls"])
    assert np.abs(computed.overlaps - arrays["ap_overlaps"]).max() <= 1e-6
    assert compute_ap_range(*inputs) == pytest.approx(values["compute_ap_range"])


@pytest.mark.parametrize(
    ("class_ids", "scores", "average", "precisions"),
    [
        ([2, 1, 3], [0.9, 0.8, 0.7], 1.0, [1, 1, 1, 2 / 3, 0]),
        ([3, 1, 2], [0.5, 0.5, 0.5], 1.0, [1, 1, 1, 2 / 3, 0]),
        ([2, 1, 3], [0.5, 0.5, 0.5], 2 / 3, [2 / 3, 2 / 3, 2 / 3, 2 / 3, 0]),
    ],
)
def test_average_precision_goes_by_class_and_takes_the_last_of_equals_first(
    class_ids: list[int], scores: list[float], average: float, precisions: list[float]
) -> None:
    """Class 2's first detection overlaps the object of class 1 more than its own; the numbers are the original's."""

    def spans(*ends: tuple[int, int]) -> np.ndarray:
        return np.stack([(np.arange(10) >= begin) & (np.arange(10) < end) for begin, end in ends], axis=-1)[None]

    masks = spans((1, 8), (0, 8), (0, 8))
    computed = compute_ap(spans((0, 8), (2, 10)), np.array([1, 2]), masks, np.array(class_ids), np.array(scores))
    assert computed.average == pytest.approx(average)
    assert computed.precisions.tolist() == pytest.approx(precisions)
