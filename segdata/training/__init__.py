"""Training and prediction of any model in `segdata.models.registry`: `trainer.train`, `predict.predict`.

    config → model.build → network  ←  weights (a run's, a file's)
    pack → BatchStream → TrainStep → LossMeter → checkpoint, trackers
                             ↓ validation: predictions → model.evaluate → best weights
    checkpoint → predict → PACK with scores

Needs the extra `segdata[train]`.
"""
