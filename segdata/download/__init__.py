"""From a manifest to files on disk: downloaded, verified, extracted. The only room that opens connections.

>>> import segdata
>>> done = segdata.fetch("camvid", accept_license=["camvid"])       # doctest: +SKIP
>>> done.folder, [file.sha256 for file in done.files]               # doctest: +SKIP

    folders.py    where everything lies
    plan.py       what has to be fetched, decided from the manifest and what is on disk; touches nothing
    terms.py      the licence, shown and accepted once
    signin.py     credentials and the sites' sign-in flows
    sessions.py   a session between commands, on request
    addresses.py  mirrors and packages: where each file comes from
    downloads.py  several at once
    wanted.py     a file to get, how to know it, and what to say when nobody gives it
    download.py   one file: resumed, hashed, retried, checked
    exchange.py   one request: redirects, cookies, time-outs, what a reply says about itself
    part.py       a download in progress
    receipts.py   what is known about a finished one
    repair.py     rotten chunks, fetched alone
    extract.py    one archive: members checked, staged, made visible
    job.py        fetch(): all of it in order

Deliberately left to others: reading the files (`segdata.formats`), turning them into a pack (`segdata.prepare`).
"""
