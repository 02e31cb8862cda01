"""COCO results: detections in a JSON list, as the challenge asks for them and as people write them."""

from segdata.formats.coco.results import format, loose

__all__ = ["format", "loose"]
