"""Every loss against values and gradients of published code, where that does what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from segdata.models.losses import make
from tests.helpers.samples import REFERENCE

FOLDER = REFERENCE / "losses"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no reference losses (set SEGDATA_REFERENCE to a folder that has losses/)"
)


def options(name: str, variant: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Our name and options of what an entry holds; None for what is not compared here."""
    include = {"include_background": "fg" not in variant and "nobg" not in variant}
    match name:
        case "focal" if variant == "kornia_softmax_g2_sum":
            return "focal", {"reduction": "sum"}
        case "focal" if variant.startswith("softmax"):
            return "focal", {"gamma": params["gamma"], "alpha": params["alpha"]}
        case "focal":
            alpha = None if params["alpha"] < 0 else params["alpha"]
            return "focal", {"gamma": params["gamma"], "alpha": alpha, "form": "sigmoid"}
        case "dice":
            squared = "squared" in variant
            return "dice", {"batch": "batch" in variant, "squared": squared, "smooth": params["smooth_nr"], **include}
        case "weighted_ce" if variant.startswith("bce"):
            return "ce", {"positive_weight": params["pos_weight"]}
        case "weighted_ce":
            smoothing = params.get("label_smoothing", 0.0)
            reduction = "sum" if "sum" in variant else "mean"
            return "ce", {"weight": params["weight"], "reduction": reduction, "label_smoothing": smoothing}
        case "lovasz_softmax" if variant.startswith("hinge"):
            return "lovasz", {"per_image": "image" in variant}
        case "lovasz_softmax":
            classes, scope = variant.split("_")
            return "lovasz", {"classes": classes, "per_image": scope == "image"}
        case "topk":
            return "topk", {"percent": params["k_percent"], "of": "all" if "of_all" in variant else "valid"}
        case "sensitivity_specificity" if variant == "slo_two_class_r0.05_fg":
            return name, {"two_class": True, **include}
        case "sensitivity_specificity":
            include = {"include_background": params["include_background"]}
            return name, {"share": params["r"], "batch": params["batch"], "smooth": params["smooth"], **include}
        case "boundary":
            return "boundary", include
        case "hausdorff" if variant.startswith("kornia"):
            return "hausdorff", {"form": "erosion"}
        case "hausdorff":
            return "hausdorff", {"alpha": params["alpha"], **include}
        case "distance_penalized_ce":
            return "distance_penalised_ce", {}
        case "iou_balanced":
            return "iou_balanced", {"eta": params["eta"]}
        case "gscnn_dual_task":
            return "dual_task", {"temperature": params["tau"]}
        case "gscnn_edge_bce":
            return "edge", {"radius": 0}
        case "gscnn_edge_attention":
            return "edge_attention", {}
    return None


def contradicts(entry: Mapping[str, Any], target: Any) -> bool:
    """Whether the reference does not do there what the definition says."""
    if entry["variant"].startswith("kervadec"):  # a class that fills an image has a distance there
        return any(len(np.unique(image[image != 255])) == 1 for image in target)
    return bool(entry["variant"].startswith("kornia_er") and entry["case"] == "extreme")


def inputs(entry: Mapping[str, Any], arrays: Any) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, Any]]:
    """Logits, labels and what else the loss is called with."""

    def tensor(name: str, kind: type) -> torch.Tensor:
        return torch.from_numpy(arrays[name].astype(kind))

    if entry["set"] == "box":
        base = f"box/{entry['case']}"
        return tensor(f"{base}/logits", float), [tensor(f"{base}/labels", int), tensor(f"{base}/iou", float)], {}
    if entry["set"] != "gscnn":
        base = f"{entry['set']}/{entry['case']}"
        return tensor(f"{base}/logits", float), [tensor(f"{base}/target", int)], {}
    logits, target = tensor("gscnn/gscnn_logits", float), tensor("gscnn/gscnn_target", int)
    edges = tensor("gscnn/gscnn_edge_prob", float)
    if entry["loss"] == "gscnn_edge_bce":
        marks = tensor("gscnn/gscnn_edge_target", int)[:, 0]
        return edges, [torch.where(marks > 1, 255, marks)], {}
    if entry["loss"] == "gscnn_edge_attention":
        return logits, [target, edges], {}
    return logits, [target], {"uniform": tensor("gscnn/gscnn_gumbel_uniform", float)}


def different(entry: Mapping[str, Any], loss: torch.Tensor, gradient: Any) -> str:
    """What is not as in the reference; "" for nothing."""
    value, tolerance = entry["value"], entry["rtol"]
    if not (math.isfinite(loss.item()) and np.isfinite(gradient).all()):
        return "not finite"
    if entry["case"].endswith("all_ignored") and (loss.item() or gradient.any()):
        return f"{loss.item()} and a gradient of {np.abs(gradient).max()} where all is ignored"
    if not isinstance(value, (int, float)):
        return ""
    near = 1e-8 if entry["loss"] == "boundary" else 1e-9
    if abs(loss.item() - value) > max(tolerance * abs(value), near):
        return f"{loss.item()} instead of {value}"
    record = entry.get("grad") or {}
    if entry["variant"].startswith("kornia_er") or not isinstance(record.get("l2"), (int, float)):
        return ""
    angles = np.cos(0.7 * np.arange(len(gradient)) + 0.3)
    numbers = {"l1": np.abs(gradient).sum(), "l2": np.sqrt((gradient**2).sum())}
    numbers |= {"max_abs": np.abs(gradient).max(), "probe": (gradient * angles).sum()}
    for name, number in numbers.items():
        if abs(number - record[name]) > max(10 * tolerance * max(abs(record[name]), record["l2"]), 1e-9):
            return f"gradient {name} {number} instead of {record[name]}"
    return ""


def test_values_and_gradients_are_those_of_published_code() -> None:
    entries = json.loads((FOLDER / "expected.json").read_text())["entries"]
    arrays = np.load(FOLDER / "inputs.npz")
    count, wrong = 0, []
    for entry in entries:
        is_canonical = entry["role"].startswith("canonical") or "smoothing" in entry["variant"]
        request = options(entry["loss"], entry["variant"], entry.get("params") or {}) if is_canonical else None
        if request is None:
            continue
        logits, more, named = inputs(entry, arrays)
        if contradicts(entry, more[0].numpy()):
            continue
        logits.requires_grad_()
        loss = make(request[0], **request[1])(logits, *more, **named)
        (gradient,) = torch.autograd.grad(loss, logits)
        count += 1
        if difference := different(entry, loss, gradient.flatten().numpy()):
            wrong.append(f"{entry['id']}: {difference}")
    assert not wrong
    assert count > 500
