"""Mask R-CNN on packs: `engine.train`, `predict.predict`, and what they are made of.

    config → maskrcnn (built of torchvision's parts)  ←  weights (torchvision's, a run's)
    pack → Loader → views (crop, flip, scale) → targets (from run lengths) → losses → engine → checkpoint
    checkpoint → detect → predict → PACK with scores

Needs the extra `segdata[train]`.
"""
