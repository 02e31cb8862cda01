"""A small format, as a newcomer would add it: an example to copy from, and what the tests add by CONTRIBUTING's steps."""
