"""COCO panoptic: a JSON document and PNGs of segment ids."""

from segdata.formats.coco_panoptic import adapt, format

__all__ = ["adapt", "format"]
