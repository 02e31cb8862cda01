"""Images that a dataset has twice: the same files, the same pixels, or pictures that look the same.

hashes.py       an image → 256 bits that look-alikes share, by PDQ's rule
cache.py        the hashes of a pack's images, kept in the user's cache folder
neighbours.py   all pairs of hashes that differ in few bits
levels.py       images of several packs → which are equal, which look alike
agreement.py    how well the annotations of two images agree
find.py         `dedupe` and `leakage`: groups of duplicates, and which images to keep
"""
