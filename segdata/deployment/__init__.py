"""Trained networks for other programs: `export.export`.

    run → network + preprocessing → ONNX graph → int8 → verified on photos → FILE.onnx, which describes itself

Needs the extra `segdata[onnx]`.
"""
