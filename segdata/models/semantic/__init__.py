"""Semantic segmentation: networks that give each pixel a category, and what trains and runs them."""
