"""Official metrics of predictions against ground truth, as papers and leaderboards use them. Needs no torch.

>>> import segdata
>>> evaluation = segdata.evaluate("results.json", "instances_val2017.json", metrics=["coco-segm"])     # doctest: +SKIP
>>> evaluation.metrics["coco-segm"]["AP"]                                                             # doctest: +SKIP

A metric is a function `(Predictions, GroundTruth) → Result` in the folder of its family and a line of `METRICS` in
`evaluate.py`. It iterates over `truth.walk()`: `truth.get(index)` is the annotated sample and `predictions.get(index)`
the predicted one under the same label space, or None. `Result.numbers` is what `--json` prints, under the official
evaluator's names, None where undefined; `Result.details` is what the report draws. What a user should know goes to
`predictions.findings.remark(kind, where)`. What all metrics require of predictions is in `checks.py`.

To add a kind of predictions: see `ResultsReader` in `segdata/formats/contract.py`.
"""
