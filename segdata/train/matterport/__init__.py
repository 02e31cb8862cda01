"""Matterport's Mask R-CNN: its weights files, its arithmetic, its targets and losses, in torch.

.h5 → weights → keras (by layer names) → model ← network, layers
photo → molding → network → boxes, crops, detection → rois, class_ids, scores, masks

model = matterport.load("mask_rcnn_coco.h5", detection_min_confidence=0.8)
result = model.detect([photo])[0]
"""

from segdata.train.matterport.config import Config
from segdata.train.matterport.keras import load, save
from segdata.train.matterport.layers import LABELLED
from segdata.train.matterport.model import Model, instances_of
from segdata.train.matterport.training import Training, Truth

__all__ = ["LABELLED", "Config", "Model", "Training", "Truth", "instances_of", "load", "save"]
