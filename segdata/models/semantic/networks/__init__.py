"""Networks for semantic segmentation, their settings, and the weights that are published for them."""
