"""Losses for semantic segmentation: (N, C, H, W) logits and (N, H, W) labels → a scalar, 0 where all is ignored."""
