"""COCO-Stuff's pixel maps: a PNG of categories for each image of COCO."""

from segdata.formats.coco_stuff import adapt, correction, format

__all__ = ["adapt", "correction", "format"]
