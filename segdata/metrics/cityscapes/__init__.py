"""Cityscapes' pixel-level IoU and iIoU and instance-level AP."""
