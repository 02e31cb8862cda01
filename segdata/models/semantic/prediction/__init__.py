"""Label maps of images of any size: windows, scales, flips."""
