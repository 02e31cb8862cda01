"""Kinds of image files: the structure of JPEGs, JPEGs in smaller sizes, and QOI."""
