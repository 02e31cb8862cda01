"""COCO panoptic: a JSON document and PNGs of segment ids."""

from segdata.formats.coco_panoptic import adapt, correction, format

__all__ = ["adapt", "correction", "format"]
