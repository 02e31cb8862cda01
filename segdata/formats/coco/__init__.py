"""COCO: instances, crowds, keypoints and captions in JSON."""

from segdata.formats.coco import adapt, format, ground_truth, residue, results

__all__ = ["adapt", "format", "ground_truth", "residue", "results"]
