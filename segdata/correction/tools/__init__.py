"""What proposes a mask to a person: none of it changes anything by itself.

grabcut.py      a box and strokes → a mask, by the colours inside and outside (OpenCV)
shapes.py       polygons, filled holes, largest parts, grown and shrunk masks
promptable.py   a box and points → a mask, by a model of SAM's kind in ONNX files that the user has
"""
