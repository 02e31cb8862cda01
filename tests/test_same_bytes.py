"""Outputs are those of version 0.1.0, to the byte: packs, conversions, statistics, pictures, metrics, trained weights.

`tests/fixtures/digests.json` holds what that version made of the same inputs:

    version        that made them; fingerprints, which depend on it, are compared under the same one only
    environment    the libraries and the kind of processor that it ran with
    digests        case → output → the first 16 digits of its SHA-256, or a plain number

Where an output differs and so does the environment, nothing is proved and the test is skipped; where only the output
differs, it fails. After a change of outputs that is meant, record anew and name the change in CHANGELOG.md:

    python -m tests.test_same_bytes --record [CASE …]
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from segdata import __version__
from tests.helpers import made
from tests.helpers.digests import (
    FINGERPRINT,
    Values,
    command,
    converted,
    digest,
    metrics,
    of_dataset,
    of_folder,
    of_picture,
    of_results,
    of_tensors,
)
from tests.helpers.made_results import cityscapes_predictions, coco_detections, panoptic, scene, scenes, voc_detections
from tests.helpers.samples import METRICS, REFERENCE, SAMPLES

RECORDED = Path(__file__).parent / "fixtures" / "digests.json"

MADE = ("coco", "voc", "cityscapes", "camvid", "camvid_fastai", "camvid_segnet")
"""The hand-made datasets that version 0.1.0 had."""

DETECTION = ("coco-bbox", "coco-segm", "coco-boundary", "coco-agnostic")

LIBRARIES = ("numpy", "pillow", "pycocotools", "isal", "zstandard", "h5py", "simplejpeg", "msgspec")
TRAINING_LIBRARIES = ("torch", "torchvision")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
"""So that sums are taken in one order on every processor of a kind."""

# ---------------------------------------------------------------------- cases: datasets


def filtered_coco(folder: Path) -> Values:
    """Shards of one sample, fewer categories, no small objects, images left out or referred to."""
    source = made.coco(folder / "coco")
    values: Values = {}
    for name, options in {
        "shards": ("--shard-samples", 1, "--decode"),
        "kept": ("--keep", "person", "--keep", "car", "--no-crowds", "--min-area", 60),
        "referred": ("--images", "reference"),
        "none": ("--images", "none", "--limit", 2, "--drop", "car"),
    }.items():
        values |= converted(name, source, folder / name, *options)
    labels = made.put(folder / "labels.toml", 'labels = [{ name = "thing", from = ["person", "toothbrush"] }]\n')
    return values | converted("mapped", source, folder / "mapped", "--labels", labels)


def city_view(folder: Path) -> Values:
    return of_dataset(made.cityscapes(folder / "cityscapes"), folder, "--labels", "cityscapes-19")


def panoptic_dataset(folder: Path) -> Values:
    return of_dataset(panoptic(folder / "source"), folder)


def made_dataset(name: str) -> Callable[[Path], Values]:
    return lambda folder: of_dataset(made.ALL[name](folder / "source" / name), folder)


# ---------------------------------------------------------------------- cases: results


def coco_masks(folder: Path) -> Values:
    truth, results = made.coco(folder / "coco"), coco_detections(folder / "masks.json")
    return of_results("coco-results", results, truth, folder, DETECTION)


def coco_boxes_and_masks(folder: Path) -> Values:
    truth, results = made.coco(folder / "coco"), coco_detections(folder / "both.json")
    return of_results("coco-results", results, truth, folder, DETECTION)


def voc_boxes(folder: Path) -> Values:
    truth, results = made.voc(folder / "VOC2012"), voc_detections(folder / "results")
    to = ("coco-results", "voc-results")
    return of_results("voc-results", results, truth, folder, ("voc-detection", "coco-bbox"), to)


def voc_label_maps(folder: Path) -> Values:
    truth = made.voc(folder / "VOC2012")
    classes = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    classes[6:13, 4:14], classes[2:20, 19:36], classes[22:, :4] = 12, 15, 8
    made.put(folder / "maps/2007_000001.png", made.png(classes, made.voc_palette()))
    which, options = ("semantic", "voc-segmentation"), ("--split", "train")
    return metrics("files", folder / "maps", truth, which, "--from", "label-maps", *options)


def cityscapes_results(folder: Path) -> Values:
    truth, results = made.cityscapes(folder / "cityscapes"), cityscapes_predictions(folder / "results")
    which = ("semantic", "cityscapes-pixel", "cityscapes-instance", "coco-segm")
    return of_results("cityscapes-results", results, truth, folder, which)


def camvid_label_maps(folder: Path) -> Values:
    truth = made.camvid_fastai(folder / "camvid")
    for number, name in enumerate("ab"):
        label = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
        label[12:, 9:] = 1 + number
        made.put(folder / f"maps/{name}.png", made.png(label))
    return metrics("files", folder / "maps", truth, ["semantic"])


def panoptic_results(folder: Path) -> Values:
    truth, results = panoptic(folder / "truth"), panoptic(folder / "results", is_prediction=True)
    document = results / "annotations/panoptic_val2017.json"
    return of_results("coco-panoptic", document, truth, folder, ("panoptic", "semantic"), ("coco-panoptic",))


# ---------------------------------------------------------------------- cases: training

TINY = {
    "backbone": "resnet18",
    "fpn_channels": 16,
    "box_head_size": 16,
    "mask_head_channels": 16,
    "norm": "group",
    "min_size": [96],
    "max_size": 128,
    "anchor_sizes": [8.0, 16.0, 32.0, 64.0, 128.0],
    "rois_per_image": 32,
    "post_nms_rois_training": 100,
    "post_nms_rois": 50,
    "scale_jitter": [0.8, 1.25],
    "steps_per_epoch": 3,
    "epochs": 1,
    "warmup_steps": 0,
    "log_steps": 1,
    "example_pictures": 1,
    "workers": 0,
    "seed": 3,
}


def maskrcnn(folder: Path) -> Values:
    """Three updates, their losses and weights; then detections of the trained model."""
    pack, run, target = folder / "pack", folder / "run", folder / "predictions"
    command("convert", scenes(folder / "scenes"), pack)
    settings = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items()]
    once = ("--threads", 1, "--device", "cpu")
    command("train", pack, "-o", run, *settings, *once, **ONE_THREAD)
    values: Values = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = {name: value for name, value in json.loads(line).items() if name.startswith(("train/", "validation/"))}
        values |= {f"step {json.loads(line)['step']} {name}": value for name, value in row.items()}
    for path in [run / next(run.glob("best*.safetensors")).name, *sorted((run / "checkpoints").glob("*.safetensors"))]:
        values[re.sub(r"-[0-9a-f]{12}", "", path.name)] = of_tensors(path)
    options = ("--split", "val2017", "--score-threshold", 0.001, "--flip", "--coco", folder / "results.json")
    command("predict", run, pack, "-o", target, *options, "--pictures", folder / "pictures", *once, **ONE_THREAD)
    values["results.json"] = digest((folder / "results.json").read_bytes())
    values |= {f"pictures/{path.name}": of_picture(path) for path in sorted((folder / "pictures").iterdir())}
    values |= metrics("predictions", target, pack, ("coco-bbox", "coco-segm"), "--split", "val2017")
    return values | of_folder("predictions", target, is_prediction=True)


def matterport(folder: Path) -> Values:
    """Two updates of Matterport's model, its losses and weights; then detections from its weights file."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_same_bytes", "--matterport", folder / "small.h5"],
        env={**os.environ, **ONE_THREAD},
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for number in range(2):
        made.put(folder / f"photos/{number}.png", made.png(scene(number)[0]))
    settings = [f"--set={name}=128" for name in ("image_min_dim", "image_max_dim")]
    options = ("--threads", 1, "--score-threshold", 0, "--device", "cpu")
    command(
        "predict", folder / "small.h5", folder / "photos", "-o", folder / "results", *settings, *options, **ONE_THREAD
    )
    trained: Values = json.loads(done.stdout)
    return trained | of_folder("predictions", folder / "results", is_prediction=True)


def train_matterport(path: Path) -> Values:
    """The losses and weights of a narrow model after two updates; it is left at `path`."""
    import torch

    from segdata.core.labels import Category, LabelSpace
    from segdata.models import matterport
    from segdata.models.matterport.layers import initialise
    from segdata.models.matterport.network import Network

    torch.set_num_threads(1)
    config = matterport.Config(
        top_down_pyramid_size=16, fpn_classif_fc_layers_size=32, image_min_dim=128, image_max_dim=128
    ).changed(train_rois_per_image=24)
    labels = LabelSpace("two", (Category("block", 1), Category("disc", 2)))
    model = matterport.Model(Network("resnet50", 3, config), config, "resnet50", labels)
    torch.manual_seed(0)
    for layer in model.layers:
        initialise(layer)
    training = matterport.Training(model, "4+")
    values: Values = {}
    for step in range(2):
        image, masks = scene(step)
        losses = training.step([matterport.Example(image, np.array([1, 2]), np.stack(masks, axis=-1))])
        values |= {f"step {step} {name}": loss for name, loss in losses.items()}
    groups: dict[str, list[str]] = {}
    for layer in model.layers:
        (group,) = re.findall(r"^[a-z]+\d?", layer.name)
        for kind, weight in layer.weights().items():
            array = np.ascontiguousarray(weight.detach().numpy())
            groups.setdefault(group, []).append(f"{layer.name} {kind} {array.shape} {digest(array.tobytes())}")
    values |= {f"weights {group}": digest("\n".join(lines)) for group, lines in groups.items()}
    matterport.save(model, path)
    return values


# ---------------------------------------------------------------------- cases: real data and official results


def sample(name: str) -> Callable[[Path], Values]:
    return lambda folder: of_dataset(SAMPLES / name, folder)


def official(kind: str, results: Path, truth: Path, *which: str) -> Callable[[Path], Values]:
    return lambda folder: of_results(kind, results, truth, folder, which, ())


CASES: Mapping[str, Callable[[Path], Values]] = {
    **{f"made/{name}": made_dataset(name) for name in MADE},
    "made/coco_panoptic": panoptic_dataset,
    "made/coco filtered": filtered_coco,
    "made/cityscapes-19": city_view,
    "results/coco masks": coco_masks,
    "results/coco boxes and masks": coco_boxes_and_masks,
    "results/voc boxes": voc_boxes,
    "results/voc label maps": voc_label_maps,
    "results/cityscapes": cityscapes_results,
    "results/camvid label maps": camvid_label_maps,
    "results/panoptic": panoptic_results,
    "training/maskrcnn": maskrcnn,
    "training/matterport": matterport,
    "samples/coco": sample("coco"),
    "samples/coco_panoptic": sample("coco_panoptic"),
    "samples/voc": sample("voc/VOCdevkit/VOC2012"),
    "samples/cityscapes": sample("peer_datumaro/cityscapes_dataset/train_dataset"),
    "samples/camvid": sample("camvid/segnet/CamVid"),
    "reference/coco": official(
        "coco-results",
        REFERENCE / "metrics/coco_val2014_100/instances_val2014_fakesegm100_results.json",
        REFERENCE / "metrics/coco_val2014_100/instances_val2014_100.json",
        *DETECTION,
    ),
    "official/coco boxes": official(
        "coco-results", METRICS / "coco_synth/dt_bbox.json", METRICS / "coco_synth/gt.json", "coco-bbox"
    ),
    "official/voc": official(
        "voc-results", METRICS / "voc_detection/results", METRICS / "voc_detection", "voc-detection"
    ),
    "official/cityscapes pixel": official(
        "label-maps", METRICS / "cityscapes/pred_pixel", METRICS / "cityscapes", "cityscapes-pixel"
    ),
    "official/cityscapes": official(
        "cityscapes-results", METRICS / "cityscapes/pred_inst", METRICS / "cityscapes", "cityscapes-instance"
    ),
    "official/panoptic": official(
        "coco-panoptic", METRICS / "panoptic/pred.json", METRICS / "panoptic/gt.json", "panoptic"
    ),
}
"""Each makes its outputs in an empty folder and gives their digests."""


# ---------------------------------------------------------------------- compared


def environment() -> dict[str, str]:
    """What outputs may depend on beside segdata."""

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "none"

    values = {name: installed(name) for name in (*LIBRARIES, *TRAINING_LIBRARIES)}
    values["machine"] = f"{platform.system()} {platform.machine()}"
    if find_spec("torch"):
        import torch

        values["processor"] = torch.backends.cpu.get_cpu_capability()
    return values


def test_every_case_is_recorded() -> None:
    assert list(json.loads(RECORDED.read_text())["digests"]) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_version_0_1_0(case: str, tmp_path: Path) -> None:
    kind = case.split("/")[0]
    if kind == "samples" and not SAMPLES.is_dir():
        pytest.skip("no sample data (set SEGDATA_SAMPLES to a folder that has it)")
    if kind == "reference" and not REFERENCE.is_dir():
        pytest.skip("no reference results (set SEGDATA_REFERENCE to a folder that has them)")
    if kind == "training":
        pytest.importorskip("torchvision")
    recorded = json.loads(RECORDED.read_text())
    expected, outputs = recorded["digests"][case], CASES[case](tmp_path)
    differing = [name for name in sorted({*expected, *outputs}) if expected.get(name) != outputs.get(name)]
    if __version__ != recorded["version"]:
        differing = [name for name in differing if not name.endswith(FINGERPRINT)]
    if differing:
        now, then = environment(), recorded["environment"]
        other = [f"{name} {then[name]} → {now.get(name)}" for name in then if then[name] != now.get(name)]
        if kind != "training":
            other = [text for text in other if text.split()[0] not in TRAINING_LIBRARIES]
        if other:
            pytest.skip(f"{len(differing)} outputs differ, but so do the libraries: {', '.join(other)}")
    assert not differing


# ---------------------------------------------------------------------- recorded


def record(cases: Sequence[str]) -> None:
    """Write the digests of some cases, or of all, into the fixture."""
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"digests": {}}
    digests = recorded["digests"]
    for case in cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            digests[case] = CASES[case](Path(folder))
        print(f"{case}: {len(digests[case])} outputs")
    document = {
        "version": __version__,
        "environment": environment(),
        "digests": {case: digests[case] for case in CASES if case in digests},
    }
    RECORDED.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--matterport":
        print(json.dumps(train_matterport(Path(sys.argv[2]))))
    else:
        record(sys.argv[2:])
