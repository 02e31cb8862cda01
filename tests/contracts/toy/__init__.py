"""A small format to copy from; the tests add it by CONTRIBUTING's steps."""
