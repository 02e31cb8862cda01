"""mIoU and pixel accuracy from confusion matrices."""
