"""Cityscapes: frames, id maps, polygons."""
