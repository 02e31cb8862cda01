"""From a manifest to files on disk: downloaded, verified, extracted. The only package that opens connections.

>>> import segdata
>>> done = segdata.fetch("camvid", accept_license=["camvid"])       # doctest: +SKIP
>>> done.folder, [file.sha256 for file in done.files]               # doctest: +SKIP

    fetch.py      fetch(): the steps in order
    options.py    its options, as one object
    paths.py      where a dataset's files are
    plan.py       what has to be fetched, decided from the manifest and what is on disk; touches nothing
    mirrors.py    the plan's files → addresses: mirrors, and packages of a site that needs an account
    receipts.py   what is known about a finished download
    progress.py   rate limit, cancellation, progress callbacks
    access/       licences shown and accepted once, credentials, sign-in, kept sessions
    http/         one request; one file resumed, hashed, retried and checked; several at once; damaged chunks
    archives/     zip and tar: every member checked, then staged, then made visible at once

Deliberately left to others: reading the files (`segdata.formats`), turning them into a pack (`segdata.conversion`).
"""
