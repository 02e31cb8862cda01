"""Official metrics: segdata against the official evaluators, on drawn truth and detections of the usual numbers.

    python scripts/bench/evaluate_coco.py [--images 100 1000] [--rounds 3]
    python scripts/bench/evaluate_coco.py --memory [--images 100000]      # peak memory with 100 boxes an image, from packs

Everything is timed from the files: reading truth and detections, masks, matching, and the numbers. Before anything is
timed, all contestants are shown to give the same numbers to 1e-12.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import inside, interleaved, report, table

PACKAGES = ("faster-coco-eval==1.8.0", "pycocotools==2.0.11")
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
COCO_OBJECTS, COCO_CATEGORIES = 7.3, 80


def draw(folder: Path, images: int) -> None:
    """Images of 480 × 640 with 7.3 polygons of 80 categories each, as in COCO, and about 15 detections of each image."""
    import numpy as np
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(0)
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": number + 1, "name": f"c{number + 1}"} for number in range(COCO_CATEGORIES)]
    results: dict[str, list[dict[str, Any]]] = {"bbox": [], "segm": []}

    def polygon(x: float, y: float, size: float) -> list[float]:
        points = int(rng.integers(12, 60))
        angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
        radius = size * (1 + 0.25 * rng.standard_normal(points).cumsum() / np.sqrt(points))
        outline = np.stack((x + radius * np.cos(angle), y + radius * np.sin(angle)), axis=1)
        return np.clip(outline, 0, (639, 479)).round(2).reshape(-1).tolist()

    for number in range(1, images + 1):
        truth["images"].append({"id": number, "height": 480, "width": 640, "file_name": f"{number}.jpg"})
        for _ in range(int(rng.poisson(COCO_OBJECTS))):
            x, y, size = float(rng.uniform(0, 640)), float(rng.uniform(0, 480)), float(rng.lognormal(3.2, 0.9))
            category = int(rng.integers(1, COCO_CATEGORIES + 1))
            for copy in range(3):
                shift = rng.normal(0, 0.15 * size, 2) if copy else (0, 0)
                ring = polygon(x + shift[0], y + shift[1], size * (1 + 0.1 * copy))
                rle = coco_mask.frPyObjects([ring], 480, 640)[0]
                box = coco_mask.toBbox(rle).tolist()
                if not copy:
                    truth["annotations"].append(
                        {
                            "id": len(truth["annotations"]) + 1,
                            "image_id": number,
                            "category_id": category,
                            "iscrowd": 0,
                            "area": float(coco_mask.area(rle)),
                            "bbox": box,
                            "segmentation": [ring],
                        }
                    )
                    continue
                common = {"image_id": number, "category_id": category, "score": round(float(rng.random()), 3)}
                results["bbox"].append({**common, "bbox": box})
                counts = rle["counts"].decode()
                results["segm"].append({**common, "segmentation": {"size": [480, 640], "counts": counts}})
    (folder / "truth.json").write_text(json.dumps(truth))
    for kind, detections in results.items():
        (folder / f"{kind}.json").write_text(json.dumps(detections))
    print(f"{images} images, {len(truth['annotations'])} objects, {len(results['segm'])} detections")


def with_segdata(folder: Path, kind: str) -> list[float]:
    import segdata

    numbers = segdata.evaluate(folder / f"{kind}.json", folder / "truth.json", metrics=[f"coco-{kind}"])
    return [numbers.metrics[f"coco-{kind}"][name] for name in NAMES]


def with_pycocotools(folder: Path, kind: str) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return _judged(COCO, COCOeval, folder, kind)


def with_faster_coco_eval(folder: Path, kind: str) -> list[float]:
    from faster_coco_eval import COCO, COCOeval_faster

    return _judged(COCO, COCOeval_faster, folder, kind)


def _judged(known: Any, judge: Any, folder: Path, kind: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = known(str(folder / "truth.json"))
        judged = judge(truth, truth.loadRes(str(folder / f"{kind}.json")), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(value) for value in judged.stats[:12]]


def detections(folder: Path, images: int, rounds: int) -> tuple[list[str], list[list[str]]]:
    """Rows of COCO's metrics."""
    draw(folder, images)
    rows = []
    for kind in ("bbox", "segm"):
        work: dict[str, Callable[[], list[float]]] = {
            "segdata": lambda kind=kind: with_segdata(folder, kind),
            "pycocotools": lambda kind=kind: with_pycocotools(folder, kind),
            "faster-coco-eval": lambda kind=kind: with_faster_coco_eval(folder, kind),
        }
        numbers = {name: run() for name, run in work.items()}
        for name, values in numbers.items():
            worst = max(abs(value - other) for value, other in zip(values, numbers["pycocotools"], strict=True))
            assert worst <= 1e-12, f"{name} differs by {worst} in coco-{kind}"
        seconds = interleaved(work, rounds)
        rows.append(
            [
                f"coco-{kind}, {images:,} images",
                f"{seconds['segdata']:.2f} s",
                *(
                    f"{seconds[name]:.2f} s ({seconds[name] / seconds['segdata']:.1f} × as long)"
                    for name in ("pycocotools", "faster-coco-eval")
                ),
            ]
        )
    return ["metric", "segdata", "pycocotools 2.0.11", "faster-coco-eval 1.8.0"], rows


def draw_packs(folder: Path, images: int) -> None:
    """Packs without pixels: truth with 8 boxes an image and predictions with 100, written a shard at a time."""
    import numpy as np

    from segdata.core.findings import Findings
    from segdata.core.labels import Category, LabelSpace
    from segdata.core.masks import Masks
    from segdata.core.sample import Instances, Sample
    from segdata.pack import layout
    from segdata.pack.write import commit, write_dataset, write_shard

    labels = LabelSpace("drawn", tuple(Category(f"c{number + 1}", number + 1) for number in range(COCO_CATEGORIES)))
    for name, count in (("truth", 8), ("predictions", 100)):
        target = folder / name
        target.mkdir()
        receipts = []

        def samples(numbers: range, count: int = count, scored: bool = name == "predictions") -> Iterator[Sample]:
            for number in numbers:
                rng = np.random.default_rng(number)
                box = rng.uniform((0, 0, 5, 5), 200, (100, 4))
                score, category = rng.random(100), rng.integers(0, COCO_CATEGORIES, 100)
                instances = Instances.build(
                    category[:count],
                    Masks.empty(480, 640, count),
                    has_mask=np.zeros(count, bool),
                    id=np.arange(1, count + 1) + number * count,
                    bbox=box[:count] + (rng.normal(0, 5, (count, 4)).clip(-4, 4) if scored else 0),
                    score=score[:count] if scored else None,
                )
                yield Sample(f"{number:012d}", 480, 640, id=number + 1, instances=instances)

        for shard, begin in enumerate(range(0, images, 4096)):
            some = samples(range(begin, min(begin + 4096, images)))
            findings = Findings()
            receipts.append(
                write_shard(target, shard, some, labels, images="none", image_bytes=0, findings=findings, left_out=[])
            )
        dataset = write_dataset(target, {"val": range(images)}, [])
        shards = [receipt["entry"] for receipt in receipts]
        index = {
            "format": layout.FORMAT,
            "version": layout.VERSION,
            "samples": images,
            "instances": images * count,
            "labels": labels.as_dict(),
            "splits": [{"name": "val", "samples": images}],
            "images": "none",
            "images_root": None,
            "max_pixels": 1 << 28,
            "provenance": {"format": "drawn", "layout": "drawn", "root": "drawn", "fingerprint": "", "options": {}},
            "report": Findings().as_dict(),
            "dataset": dataset["entry"],
            "shards": shards,
        }
        commit(target, target, [*receipts, dataset], index)


def memory(folder: Path, images: int) -> list[str]:
    """Seconds and peak memory of evaluating a pack of predictions, in a process of its own."""
    draw_packs(folder, images)
    code = (
        "import sys, time, segdata\n"
        "began = time.perf_counter()\n"
        "evaluation = segdata.evaluate(sys.argv[1] + '/predictions', sys.argv[1] + '/truth', metrics=['coco-bbox'])\n"
        "lines = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(time.perf_counter() - began, lines['VmHWM'].split()[0], lines['RssAnon'].split()[0],"
        " evaluation.metrics['coco-bbox']['AP'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    seconds, peak, _, average = map(float, done.stdout.split())
    return [
        f"A pack of predictions with 100 boxes in each of {images:,} images against a pack with 8 objects in each, 80 "
        f"categories: coco-bbox in {seconds:.0f} s, {peak / 2**20:.2f} GiB resident at the peak, pages of the mapped "
        f"packs included (AP {average:.3f})."
    ]


def main() -> None:
    """Draw, compare, time, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    inside("evaluate-coco", PACKAGES)
    if options.memory:
        images = max(options.images or [100_000])
        with tempfile.TemporaryDirectory() as folder:
            lines = memory(Path(folder), images)
        report("Memory of an evaluation", lines, f"python scripts/bench/evaluate_coco.py --memory --images {images}")
        return
    counts = options.images or [100, 1000]
    rows = []
    for images in counts:
        with tempfile.TemporaryDirectory() as folder:
            header, some = detections(Path(folder), images, options.rounds)
        rows += some
    report(
        "COCO's metrics",
        [
            "Drawn images of 480 × 640 with 7.3 objects each, from the files to the numbers, one process, medians of "
            f"{options.rounds} interleaved rounds. All twelve numbers agree to 1e-12.",
            "",
            *table(header, rows),
        ],
        f"python scripts/bench/evaluate_coco.py --images {' '.join(map(str, counts))} --rounds {options.rounds}",
    )


if __name__ == "__main__":
    main()
