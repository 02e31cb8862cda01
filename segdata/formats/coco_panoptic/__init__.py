"""COCO panoptic: a JSON document and PNGs of segment ids."""
