"""Panoptic quality (PQ, SQ, RQ)."""
