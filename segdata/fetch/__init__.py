"""From a manifest to files on disk: downloaded, verified, extracted. The only room that opens sockets.

    plan.py       what has to be fetched, decided from the manifest and what is on disk; touches nothing
    terms.py      the licence, shown and accepted once
    signin.py     credentials and the sites' sign-in flows
    exchange.py   one request: redirects, cookies, time-outs, what a reply says about itself
    download.py   one file: resumed, hashed, retried, checked
    extract.py    one archive: members checked, staged, made visible
    receipts.py   what is known about a finished file
    folders.py    where all of it lies

Deliberately left to others: reading the files (`segdata.formats`), turning them into a pack (`segdata.prepare`).
"""
