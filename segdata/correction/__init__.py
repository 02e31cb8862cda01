"""Correct a pack without changing a byte of it: edits in a file beside it, which become a new pack.

edits.py        what an edit can be, and its line in the file
history.py      which edit may follow which: objects that are there, what is undone
journal.py      the edits file: read and checked as a whole, written one line at a time
replay.py       a sample with its edits applied
apply.py        edits and a pack → a new pack, its unchanged files linked
editing.py      a pack that is being corrected, as a page asks for it
tools/          proposals for a mask: GrabCut, shapes, promptable models
"""
