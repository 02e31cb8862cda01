"""COCO AP and AR of boxes, masks and boundaries."""
