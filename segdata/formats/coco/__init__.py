"""COCO: instances, crowds, keypoints and captions in JSON."""
