"""Kinds of image files that are read by hand: the structure of JPEGs, and QOI."""
