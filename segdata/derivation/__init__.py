"""Packs made of packs: the files that stay as they are get a second name, and no image is copied.

pieces.py       a pack that others are made of, and its shards with what changes in them
tables.py       the changed table of a shard: rows left out, categories mapped, keys renamed
annotations.py  the table of a shard in which some samples have other annotations
derive.py       pieces → a pack: links, changed tables, splits and documents, and the index last
subset.py       some of a pack's samples, or of its objects
duplicates/     images that packs have twice, and a pack without them
suggest.py      which categories of two packs mean the same, as a table to look through
"""
