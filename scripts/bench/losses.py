#!/usr/bin/env python3
"""Losses of segmentation against those of other libraries that give the same value: forward and backward, processor time.

    python scripts/bench/losses.py [--rounds 9] [--size 256] [--report]

Before anything is measured, values and gradients of each pair are compared. One thread, so that the machine's other work
counts little. The peers are installed into `.bench/losses`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

from common import inside, interleaved, report, table

PEERS = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "scipy",
    "segmentation-models-pytorch==0.6.0",
    "monai==1.6.1",
    "kornia==0.9.0",
)
CLASSES, IMAGES = 11, 2

Function = Callable[[Any, Any], Any]


def contestants() -> dict[tuple[str, str], dict[str, Function]]:
    """Our loss and what is special about it → library → the same loss, of (logits, labels)."""
    import kornia.losses
    import monai.losses
    import segmentation_models_pytorch.losses as smp
    from torch.nn import functional

    many = {"softmax": True, "to_onehot_y": True}

    def monai_(loss: Any) -> Function:
        return lambda logits, labels: loss(logits, labels[:, None])

    focal = monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True, reduction="none")
    rest = monai.losses.FocalLoss(to_onehot_y=True)
    erosion = kornia.losses.HausdorffERLoss(alpha=2.0, k=10, reduction="mean")
    return {
        ("ce", "{}"): {
            "torch": functional.cross_entropy,
            "smp": smp.SoftCrossEntropyLoss(smooth_factor=0.0),
        },
        ("focal", "{}"): {
            "kornia": lambda logits, labels: (
                kornia.losses.focal_loss(logits, labels, None, reduction="sum") / labels.numel()
            ),
            "MONAI": lambda logits, labels: focal(logits, labels[:, None]).sum(1).mean(),
        },
        ("focal", "{'form': 'sigmoid'}"): {
            "smp": smp.FocalLoss("multiclass"),
            "MONAI": monai_(rest),
        },
        ("dice", "{}"): {"MONAI": monai_(monai.losses.DiceLoss(**many))},
        ("dice", "{'batch': True}"): {
            "MONAI": monai_(monai.losses.DiceLoss(batch=True, **many)),
            "smp": smp.DiceLoss("multiclass", smooth=1e-5),
        },
        ("lovasz", "{}"): {"smp": smp.LovaszLoss("multiclass")},
        ("lovasz", "{'classes': 'all', 'per_image': True}"): {"kornia": kornia.losses.lovasz_softmax_loss},
        ("boundary", "{}"): {"MONAI": monai_(monai.losses.BoundaryLoss(**many))},
        ("hausdorff", "{}"): {"MONAI": monai_(monai.losses.HausdorffDTLoss(include_background=True, **many))},
        ("hausdorff", "{'form': 'erosion'}"): {
            "kornia": lambda logits, labels: erosion(logits.softmax(1), labels[:, None])
        },
        ("topk", "{}"): {},
        ("ohem", "{}"): {},
        ("sensitivity_specificity", "{}"): {},
        ("distance_penalised_ce", "{}"): {},
        ("dual_task", "{}"): {},
    }


def batch(size: int) -> tuple[Any, Any]:
    """Logits that are right for most pixels, and labels in regions; all classes are there."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(IMAGES, CLASSES, 9, 9, generator=generator)
    scores = functional.interpolate(coarse, (size, size), mode="bicubic")
    labels = scores.argmax(1)
    assert all(len(image.unique()) == CLASSES for image in labels)
    noise = functional.interpolate(torch.randn(coarse.shape, generator=generator), (size, size), mode="bilinear")
    return 3 * scores + 2 * noise + 0.3 * torch.randn(scores.shape, generator=generator), labels


def step(loss: Function, logits: Any, labels: Any) -> tuple[Any, Any]:
    """Value and gradient."""
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return value.detach(), leaf.grad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=256, help="height and width")
    parser.add_argument("--only", nargs="*", help="these losses")
    parser.add_argument("--report", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    inside("losses", PEERS)
    import ast

    import torch

    from segdata.models.losses import make

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    logits, labels = batch(options.size)
    rows = []
    for (name, changes), peers in contestants().items():
        if options.only and name not in options.only:
            continue
        losses: dict[str, Function] = {"segdata": make(name, **ast.literal_eval(changes)), **peers}
        value, gradient = step(losses["segdata"], logits, labels)
        for library, loss in peers.items():
            other = step(loss, logits, labels)
            assert torch.isclose(other[0], value, rtol=1e-4), f"{library} has {other[0]} for {name}, not {value}"
            difference = (other[1] - gradient).norm() / gradient.norm()
            assert difference < 1e-3, f"{library}: gradient of {name} is {difference:.2g} apart"
        runs = {library: (lambda loss=loss: step(loss, logits, labels)) for library, loss in losses.items()}
        seconds = interleaved(runs, options.rounds, clock=time.process_time)
        mine = seconds.pop("segdata")
        others = ", ".join(f"{library} {1000 * taken:.1f}" for library, taken in seconds.items())
        ratio = f"{mine / min(seconds.values()):.2f}" if seconds else "–"
        text = name if changes == "{}" else f"{name} {changes}"
        rows.append((f"`{text}`", f"{1000 * mine:.1f}", others or "–", ratio))
        print(*rows[-1], flush=True)
    lines = [
        f"{IMAGES} × {CLASSES} × {options.size} × {options.size} float32 logits, all classes present, forward and backward: "
        f"processor milliseconds of one thread, medians of {options.rounds} interleaved rounds. Values and gradients were equal before.",
        "",
        *table(("loss", "segdata", "others", "segdata against the fastest"), rows),
    ]
    if options.report:
        report("Losses of segmentation", lines, "python scripts/bench/losses.py --report")


if __name__ == "__main__":
    main()
