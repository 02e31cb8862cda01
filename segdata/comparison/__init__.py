"""What differs between two packs.

sides.py        an opened pack, and what its samples are found by
samples.py      which sample of one pack is which of the other
labels.py       which category of one label space is which of the other, and what differs
tables.py       which samples' tables differ: by checksums, then by columns
objects.py      what differs in the objects of one image
columns.py      what differs in the objects of many images, as far as columns tell
changes.py      what differs of every image, part by part
diff.py         the whole comparison
"""
