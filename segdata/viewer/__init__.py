"""The page of a pack in a browser: a server for one user, what it answers, and who may ask.

`server` starts it, `guard` says who may ask, `routes` lists the addresses, `session` is what is open, `index` its columns,
`facets` counts them, `edited` has the images that were edited, `matching` compares predictions with the pack, `wire` makes bytes of arrays, `pictures` makes thumbnails. docs/view.md has the addresses and the layout of the bytes.
"""
