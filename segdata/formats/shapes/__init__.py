"""Shapes of annotation tools (polygons, rectangles, circles, ellipses, masks): checked, drawn, joined to objects."""
