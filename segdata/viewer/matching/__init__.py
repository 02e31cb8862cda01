"""Predictions compared with a pack.

comparison.py   what the page asks for: queries, orders, the matrix, two predictions beside each other
matches.py      which prediction takes which object, in some of the images
whole.py        the same of all images, a part after another
overlaps.py     every prediction and object that overlap, found once
pixels.py       label maps and panoptic maps of both sides
parts.py        the file in which the overlaps are kept
apart.py        the process that finds them
"""
