"""The page of a pack in a browser: a server for one user, what it answers, and who may ask.

`server` starts it, `guard` says who may ask, `routes` lists the addresses, `session` is what is open, `index` its columns,
`wire` makes bytes of arrays, `pictures` makes thumbnails. docs/view.md has the addresses and the layout of the bytes.
"""
