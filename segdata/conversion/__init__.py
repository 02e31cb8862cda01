"""Datasets prepared and converted: any format or a pack → any format or a pack.

>>> import segdata
>>> done = segdata.prepare("camvid", accept_license=["camvid"])       # doctest: +SKIP
>>> segdata.open(done.pack)                                           # doctest: +SKIP

    prepare.py      prepare(): a dataset by its name, fetched and converted, each step only once
    convert.py      convert(): open → filter → adapt to the target's format → Job → pack or folder
    job.py          a conversion's options, the shards that it is cut into, its report
    shards.py       convert a shard: read, check and write its samples in one process, and leave a receipt
    to_pack.py      shards → a pack, by writing its index last
    to_folder.py    shards → a dataset folder, by one rename
    dry_run.py      read and check everything, write nothing
    repair.py       convert the damaged shards of a pack again
    relink.py       link the damaged files of a pack made of packs again
    check.py        a fetched and prepared dataset, compared with its receipts
"""
