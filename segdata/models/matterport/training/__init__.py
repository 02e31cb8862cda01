"""Fine-tuning: `Training`, step by step in Python, and the model that `segdata train` trains; both have the same losses.

Example → Frame → TrainSample → objective
"""

from segdata.models.matterport.training.frames import Example
from segdata.models.matterport.training.sgd import Training

__all__ = ["Example", "Training"]
