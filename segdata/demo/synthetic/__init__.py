"""Datasets drawn by a program in the official layouts, for demonstrations and tests; one seed, the same bytes."""

from segdata.demo.synthetic import camvid, cityscapes, coco, voc

__all__ = ["camvid", "cityscapes", "coco", "voc"]
