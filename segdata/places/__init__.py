"""Packs that are in no folder of this machine: in a bucket of S3, Google or Azure, or on a web server.

address.py      an address, and how what is there is read; secrets in one are refused
bucket.py       the requests: bytes of an object, a range of it, puts that depend on what is there
connection.py   the library that makes them, in a forked process, too; its errors in our words
credentials.py  where S3's credentials come from beside the environment
cache.py        what was fetched, kept in a folder of this machine
clearing.py     what is kept and what was left there, counted and removed
uploads.py      uploads to buckets that were begun and not finished
"""

from segdata.places.address import Address, place

__all__ = ["Address", "place"]
