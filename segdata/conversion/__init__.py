"""Datasets prepared and converted: any format or a pack → any format or a pack.

>>> import segdata
>>> done = segdata.prepare("camvid", accept_license=["camvid"])       # doctest: +SKIP
>>> segdata.open(done.pack)                                           # doctest: +SKIP

`convert.py` and `prepare.py` have the functions `segdata.convert` and `segdata.prepare`.
"""
