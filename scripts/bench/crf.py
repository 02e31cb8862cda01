"""The dense CRF against pydensecrf2: ten steps on a frame of 480 × 360 with 11 classes, one thread each.

    python scripts/bench/crf.py [--photo FILE] [--rounds 5] [--here]

Without a photo a frame is drawn. pydensecrf2 is compiled at the first run, for which a compiler is needed; --here uses the
Python that runs this script, which has it. That the labels agree is checked before the times are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any

from common import inside, interleaved, report, table

PEERS = ("pydensecrf2==1.1", "torch==2.14.1", "torchvision==0.29.1", "safetensors", "scipy")
HEIGHT, WIDTH, CLASSES, STEPS = 360, 480, 11, 10
GAUSSIAN, BILATERAL = (3, 3), (20, 13, 10)


def frame(photo: Path | None) -> tuple[Any, Any]:
    """(H, W, 3) uint8 and (C, H, W) probabilities: noise with a tendency to areas of the image."""
    import numpy as np
    from PIL import Image
    from scipy import ndimage

    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((CLASSES, HEIGHT, WIDTH)), (0, 12, 12))
    labels = smooth.argmax(0)
    if photo is not None:
        image = np.array(Image.open(photo).convert("RGB").resize((WIDTH, HEIGHT)))
        labels = np.digitize(ndimage.gaussian_filter(image.mean(2), 2), np.linspace(0, 255, CLASSES + 1)[1:-1])
    else:
        colours = rng.integers(0, 256, (CLASSES, 3))
        image = np.clip(colours[labels] + rng.normal(0, 10, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
    logits = rng.standard_normal((CLASSES, HEIGHT, WIDTH)) * 1.5 + 2 * (np.arange(CLASSES)[:, None, None] == labels)
    shares = np.exp(logits)
    return image, (shares / shares.sum(0)).astype(np.float32)


def theirs(image: Any, probabilities: Any) -> Any:
    import numpy as np
    from pydensecrf import densecrf

    model = densecrf.DenseCRF2D(WIDTH, HEIGHT, CLASSES)
    model.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities.reshape(CLASSES, -1))))
    model.addPairwiseGaussian(sxy=GAUSSIAN[0], compat=GAUSSIAN[1])
    model.addPairwiseBilateral(sxy=BILATERAL[0], srgb=BILATERAL[1], compat=BILATERAL[2], rgbim=image)
    return np.array(model.inference(STEPS)).reshape(probabilities.shape)


def ours(image: Any, probabilities: Any) -> Any:
    from segdata.models.semantic import crf

    return crf.refine(image, probabilities, steps=STEPS, gaussian=GAUSSIAN, bilateral=BILATERAL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--here", action="store_true")
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    if not arguments.here:
        inside("crf", PEERS)
    image, probabilities = frame(arguments.photo)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    given = ours(image, probabilities)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    expected = theirs(image, probabilities)
    agreement = float((given.argmax(0) == expected.argmax(0)).mean())
    assert agreement >= 0.99, agreement
    seconds = interleaved(
        {"segdata": lambda: ours(image, probabilities), "pydensecrf2": lambda: theirs(image, probabilities)},
        arguments.rounds,
        clock=time.process_time,
    )
    ratio = seconds["segdata"] / seconds["pydensecrf2"]
    rows = [[name, f"{value:.2f} s"] for name, value in seconds.items()] + [["ratio", f"{ratio:.1f} ×"]]
    lines = table(["ten steps at 480 × 360, 11 classes", "processor time"], rows)
    lines += [
        "",
        f"Labels agree on {agreement:.2%} of the pixels; segdata, which compiles nothing, takes {memory:.0f} MB. Goal: ≤ 8 ×.",
    ]
    report("Dense CRF", lines, "python scripts/bench/crf.py")


if __name__ == "__main__":
    main()
