"""Images that packs have twice: the same files, the same pixels, or pictures that look the same.

hashes.py       an image → 256 bits that look-alikes share, by PDQ's rule
cache.py        the hashes of a pack's images, kept in the user's cache folder
neighbours.py   all pairs of hashes that differ in few bits
inputs.py       the packs that are compared: their images, and of which splits these are
levels.py       which images are equal as files, as pixels, or look alike
groups.py       what hangs together, everywhere or across splits, and what to keep
agreement.py    how well the annotations of two images agree
report.py       what is told
find.py         `dedupe` and `leakage`
"""
