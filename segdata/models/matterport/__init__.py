"""Matterport's Mask R-CNN in PyTorch, equal to the original: Keras weights, prediction, training targets and losses.

.h5 → weights → keras (by layer names) → model ← network, layers
image → molding → network → boxes, crops, detection → rois, class_ids, scores, masks

model = matterport.load("mask_rcnn_coco.h5", detection_min_confidence=0.8)
result = model.detect([image])[0]
"""

from segdata.models.matterport.config import Config
from segdata.models.matterport.keras import load, save
from segdata.models.matterport.layers import LABELLED
from segdata.models.matterport.model import Model, instances_of
from segdata.models.matterport.training import Example, Training

__all__ = ["LABELLED", "Config", "Model", "Training", "Example", "instances_of", "load", "save"]
