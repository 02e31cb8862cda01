"""Predictions compared with truth, by the numbers that papers and leaderboards use. No torch.

>>> import segdata
>>> found = segdata.evaluate("results.json", "instances_val2017.json", metrics=["coco-segm"])     # doctest: +SKIP
>>> found.metrics["coco-segm"]["AP"]                                                             # doctest: +SKIP

To add a metric: write a function `(predictions, truth) → Result` in the file of its family and add a line to
`METRICS`. It goes through `truth.walk()`: `truth.get(place)` is the annotated sample and `predictions.get(place)`
the predicted one under the same label space, or None. `Result.numbers` holds what `--json` prints, with the official
evaluator's names, None where undefined; `Result.details` whatever the report draws. What people should know goes to
`predictions.problems.remark(kind, where)`.

To add a kind of predictions: see `segdata/formats/results.py`.
"""
