"""Mask R-CNN from torchvision's parts, trained on run-length masks."""
