"""Files, several at once: each from its addresses, in order, to its place on disk, resumed, hashed, retried and checked.

What arrives is appended to a part file only when the server proves that it goes on with the same content; the digest of
the whole decides in the end. A complete file that is not the expected one is kept as FILE.bad and the next address is
tried.
"""

from __future__ import annotations

import errno
import queue
import random
import re
import threading
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path

from segdata.download.http.client import READ_BYTES, Client, NextAddress, Patience, Reply, TryAgain, refused
from segdata.download.http.partial_file import Part, Source
from segdata.download.http.target import Failure, Target, adopt, other_content, receipt_of, verdict
from segdata.download.progress import Pace
from segdata.download.receipts import CHUNK_BYTES, Receipt
from segdata.errors import DiskError, HashMismatch, SegdataError, SignInError
from segdata.system.files import disk_errors
from segdata.system.secrets import shown

_HEAD = 512
_PAGE = 1 << 16
_POLL_SECONDS = 0.2


class Download:
    """The work on one file; `stop` may be called from another thread and keeps what has arrived."""

    def __init__(self, wanted: Target, patience: Patience, pace: Pace) -> None:
        self.wanted, self.patience, self.pace = wanted, patience, pace
        self.client = Client(patience)
        algorithms = {"sha256", wanted.digest.algorithm if wanted.digest else "sha256"}
        self.part = Part(wanted.part, tuple(sorted(algorithms)))
        self.is_resumed = False
        self.asks_for_range = True

    def stop(self) -> None:
        """Close the part, with what it holds vouched for."""
        self.part.stop()

    def run(self) -> Receipt:
        """Get the file, put it in place and write its receipt.

        Raises:
            NetworkError, SignInError, HashMismatch, Unsafe: no address gave the right file; all are listed.
            DiskError: the part is kept.
        """
        try:
            if self.wanted.accept_other and self.wanted.bad.is_file():
                return self._adopt(self.wanted.bad)
            self.part.load(lambda size: self.pace.progress(self.wanted.file, size, self.wanted.bytes))
            failures: list[Failure] = []
            for url in self.wanted.urls:
                outcome = self._from(url)
                if isinstance(outcome, Receipt):
                    return outcome
                failures.append(outcome)
                if url != self.wanted.urls[-1]:
                    self.pace.tell(f"{self.wanted.file}: {shown(url)}: {outcome.reason}; trying the next address")
            raise verdict(self.wanted, failures)
        except DiskError as error:
            self.stop()
            self._explain(error)
            raise
        finally:
            self.stop()

    def _explain(self, error: DiskError) -> None:
        """Add to the disk's error what is still needed and what became of the part."""
        number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
        if number == errno.EIO:  # the system forgets such an error once it was told: these bytes are not trusted again
            for path in (self.part.state, self.part.path):
                path.unlink(missing_ok=True)
        known = self.wanted.bytes or (self.part.source and self.part.source.total)
        if known and number in (errno.ENOSPC, errno.EDQUOT):
            error.why = f"{known - self.part.size:,} of its {known:,} bytes are still to come"
        if self.part.size and self.wanted.part.exists():
            error.state = (
                f"what arrived is kept in {self.wanted.part}; delete it to have its {self.part.size:,} bytes back"
            )

    def _from(self, url: str) -> Receipt | Failure:
        self.is_resumed, self.asks_for_range = self.part.size > 0, True
        before = self.part.source
        try:
            self._receive(url)
            problem = self._problem()
            if problem and self.is_resumed:
                self.pace.tell(f"{self.wanted.file}: {problem[1]} after a resumed download; starting over")
                self.part.discard()
                self._receive(url)
                problem = self._problem()
        except NextAddress as failure:
            return Failure(url, failure.reason, failure.error)
        if problem is None or self.wanted.accept_other:
            return self._commit(url, is_other=problem is not None)
        after = self.part.source
        changed = before and after and before.etag and before.etag != after.etag
        self.part.move(self.wanted.bad)
        reason = f"{problem[1]}; the server's ETag {'changed meanwhile' if changed else 'did not change'}"
        return Failure(url, reason, HashMismatch(reason), problem[0])

    def _problem(self) -> tuple[str, str] | None:
        """The digest of what arrived and what is wrong with it; None when it is the right file."""
        expected = self.wanted.digest
        digests = self.part.finish()
        if expected is None:
            return None
        value = digests[expected.algorithm]
        if value == expected.value:
            return None
        return f"{expected.algorithm}:{value}", (
            f"expected {expected.algorithm} {expected.value[:16]}…, got {value[:16]}… ({self.part.size:,} bytes)"
        )

    def _commit(self, url: str, *, is_other: bool) -> Receipt:
        digests = self.part.finish()
        source = self.part.source or Source(shown(url))
        receipt = receipt_of(
            self.wanted,
            self.part.size,
            digests["sha256"],
            self.part.checksums(),
            source,
            is_other=is_other,
            is_synced=self.part.is_synced,
        )
        self.part.move(self.wanted.target)
        receipt.write(self.wanted.receipt)
        with disk_errors(self.wanted.bad):
            self.wanted.bad.unlink(missing_ok=True)
        return receipt

    def _adopt(self, path: Path) -> Receipt:
        """A finished file in the place of a download: hashed, checked, put in place."""
        receipt = adopt(self.wanted, path, Source("kept"), self.pace)
        with disk_errors(path):
            path.replace(self.wanted.target)
        receipt.write(self.wanted.receipt)
        return receipt

    # One address: attempts, until the body is complete.

    def _receive(self, url: str) -> None:
        attempt, size, may_sign_in = 0, self.part.size, True
        while True:
            try:
                self._attempt(url)
                return
            except NextAddress as failure:
                if not (failure.status in (401, 403) and self.wanted.sign_in_again and may_sign_in):
                    raise
                may_sign_in = False
                self.pace.tell(f"{self.wanted.file}: status {failure.status}; signing in again")
                self.wanted.sign_in_again()
            except TryAgain as failure:
                attempt = 1 if self.part.size >= size + CHUNK_BYTES else attempt + 1
                size = self.part.size
                if attempt >= self.patience.retries:
                    raise NextAddress(f"{failure.reason} (attempt {attempt} of {self.patience.retries})") from None
                wait = min(self.patience.first_wait * 2 ** (attempt - 1), self.patience.longest_wait)
                wait = wait * random.uniform(0.75, 1.25) if failure.after is None else failure.after
                self.pace.tell(f"{self.wanted.file}: {failure.reason}; trying again in {wait:.1f} s")
                self.pace.wait(wait)

    def _attempt(self, url: str) -> None:
        wanted, part = self.wanted, self.part
        if wanted.bytes is not None and part.size > wanted.bytes and not wanted.accept_other:
            part.discard()
        if part.size and part.size == wanted.bytes:
            return
        headers = self._range(url)
        begin = part.size if headers else 0
        reply = self.client.get(
            url,
            headers=headers,
            is_pinned=wanted.digest is not None and wanted.digest.algorithm == "sha256",
            cookies=wanted.cookies,
        )
        try:
            if reply.status == 416 and headers:
                self._unsatisfied(reply)
            elif reply.status == 206 and headers:
                self._go_on(reply, url, begin)
            elif reply.status == 200:
                self._start(reply, url, headers)
            else:
                raise refused(reply, needs_account=wanted.cookies is not None)
        finally:
            reply.close()

    def _range(self, url: str) -> dict[str, str]:
        """Headers that ask for the rest; none where nothing proves that it is the rest of the same file."""
        part = self.part
        if not part.size or not self.asks_for_range or part.source is None:
            return {}
        same = part.source.url == shown(url)
        validator = part.source.validator if same else None
        if validator is None and self.wanted.digest is None:
            return {}
        asked = {"Range": f"bytes={part.size}-"}
        return {**asked, "If-Range": validator} if validator else asked

    def _unsatisfied(self, reply: Reply) -> None:
        """Status 416: the part is complete, or of no use."""
        total = re.fullmatch(r"bytes \*/(\d+)", reply.headers.get("Content-Range", "").strip())
        if total and int(total[1]) == self.part.size and self.wanted.bytes in (None, self.part.size):
            return
        self.pace.tell(
            f"{self.wanted.file}: the server has no more than {total[1] if total else '?'} bytes; starting over"
        )
        self.part.discard()
        raise TryAgain("the part was of no use", 0.0)

    def _go_on(self, reply: Reply, url: str, begin: int) -> None:
        """Status 206: append, if it is what was asked for."""
        text = reply.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text.strip())
        total = int(match[3]) if match and match[3] != "*" else None
        known = self.wanted.bytes or (self.part.source and self.part.source.total)
        if (reply.encoding and not self._keeps_encoding(reply)) or not match or int(match[1]) != begin:
            self.asks_for_range = False
            raise TryAgain(f"the server answered with another range than asked for ({text[:60] or reply.encoding!r})")
        if total is not None and known is not None and total != known and self._is_same(url):
            self.asks_for_range = False
            raise TryAgain(f"the server's file has {total:,} bytes, not {known:,}")
        etag, before = reply.headers.get("ETag"), self.part.source
        if before and self._is_same(url) and etag and before.etag and etag != before.etag:
            self.pace.tell(f"{self.wanted.file}: the file changed on the server; starting over")
            self.part.discard()
            raise TryAgain("the file changed on the server", 0.0)
        self._check_total(total, url)
        self.is_resumed = True
        self.part.relabel(Source(shown(url), etag, reply.headers.get("Last-Modified"), total))
        self._body(reply, int(match[2]) - begin + 1, total)

    def _start(self, reply: Reply, url: str, asked: dict[str, str]) -> None:
        """Status 200: the whole file, from the first byte."""
        is_encoded = bool(reply.encoding) and not self._keeps_encoding(reply)
        if is_encoded and reply.encoding not in ("gzip", "x-gzip", "deflate"):
            raise NextAddress(f"the server encodes the file as {reply.encoding!r}, which was not asked for")
        total = None if is_encoded else reply.length
        self._check_total(total, url)
        head = b""
        while len(head) < _HEAD and (data := reply.read(self.pace.piece(READ_BYTES))):
            head += data
        _no_page(self.wanted, reply, head)
        if asked:
            before = self.part.source
            changed = before and "If-Range" in asked and reply.headers.get("ETag") != before.etag
            why = "the file changed on the server" if changed else "the server ignores ranges"
            self.pace.tell(f"{self.wanted.file}: {why}; starting over")
        self.is_resumed = False
        if is_encoded:
            self.part.begin(Source(shown(url)))
            self._decoded(reply, head)
        else:
            self.part.begin(Source(shown(url), reply.headers.get("ETag"), reply.headers.get("Last-Modified"), total))
            self._body(reply, total, total, head)

    def _body(self, reply: Reply, count: int | None, total: int | None, data: bytes = b"") -> None:
        """Append what comes, `count` bytes when that is known; `data` has been read already."""
        known, received = total or self.wanted.bytes, 0
        try:
            data = data or reply.read(self.pace.piece(READ_BYTES))
            while data:
                self._append(data, known)
                received += len(data)
                data = reply.read(self.pace.piece(READ_BYTES))
            if (count is not None and received < count) or (known is not None and self.part.size < known):
                raise TryAgain("the connection was cut")
        except TryAgain as failure:
            reached = f"at {self.part.size:,}{f' of {known:,}' if known else ''} bytes"
            raise TryAgain(f"{failure.reason} {reached}", failure.after) from None

    def _decoded(self, reply: Reply, data: bytes) -> None:
        """A body that the server compressed on its own account: decoded, and never resumed."""
        decoder = zlib.decompressobj(47)
        try:
            while data:
                while data:
                    self._append(decoder.decompress(data, READ_BYTES), self.wanted.bytes)
                    data = decoder.unconsumed_tail
                data = reply.read(self.pace.piece(READ_BYTES))
        except zlib.error as error:
            raise TryAgain(f"the server's compression is broken ({error})") from None
        if not decoder.eof:
            raise TryAgain("the connection was cut inside the server's compression")

    def _append(self, data: bytes, known: int | None) -> None:
        if not data:
            return
        most = None if self.wanted.accept_other else self.wanted.bytes
        if most is not None and self.part.size + len(data) > most:
            self.part.discard()
            raise NextAddress(
                f"the server sends more than the {most:,} bytes that the file has", None, other_content(self.wanted)
            )
        block = self.part.size // CHUNK_BYTES
        self.part.write(data)
        self.pace.progress(self.wanted.file, self.part.size, known)
        self.pace.spend(len(data))
        if self.part.size // CHUNK_BYTES != block and not self.part.is_in_place():
            raise DiskError(
                "the folder was deleted or unmounted while a file was downloaded into it",
                file=self.part.path.parent,
                fix="mount or make it again and run the same command",
            )

    def _check_total(self, total: int | None, url: str) -> None:
        expected = self.wanted.bytes
        if total is not None and expected is not None and total != expected and not self.wanted.accept_other:
            raise NextAddress(f"it offers {total:,} bytes, not {expected:,}", None, other_content(self.wanted))

    def _is_same(self, url: str) -> bool:
        return self.part.source is not None and self.part.source.url == shown(url)

    def _keeps_encoding(self, reply: Reply) -> bool:
        """Whether "gzip" only names what the file is: servers say so of .tar.gz files as they are."""
        return self.wanted.archive == "tar.gz" and reply.encoding in ("gzip", "x-gzip")


def _no_page(wanted: Target, reply: Reply, head: bytes) -> None:
    """Refuse a web page in the place of the file; nothing of it has been written."""
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:100].lower()
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    looks = begin.startswith((b"<!doctype html", b"<html", b"<head"))
    if not looks and (kind not in ("text/html", "application/xhtml+xml") or wanted.archive == "file"):
        return
    text = head.decode("utf-8", "replace") + reply.text(_PAGE)
    match = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    title = " ".join(match[1].split())[:80] if match else ""
    what = f"a web page{f' titled {title!r}' if title else ''} instead of the file"
    if wanted.cookies is not None or re.search(r"log.?in|sign.?in|account|password", title, re.IGNORECASE):
        error = SignInError(
            f"the server answers with {what}",
            file=shown(reply.url),
            fix="open the address in a browser; it asks for an account or for its terms to be accepted",
        )
        raise NextAddress(what, reply.status, error)
    raise NextAddress(what, reply.status)


def downloads(
    wanted: Sequence[Target], patience: Patience, pace: Pace, jobs: int
) -> Generator[tuple[str, Receipt | SegdataError]]:
    """(file, its receipt or why there is none), in the order in which they end.

    When the caller stops before the end, or is interrupted, all downloads end; a thread that waits for a silent server
    is left behind, but can write no more.
    """
    waiting, running = deque(wanted), set[Download]()
    done: queue.SimpleQueue[tuple[str, Receipt | BaseException]] = queue.SimpleQueue()
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting or pace.stopping.is_set():
                    return
                want = waiting.popleft()
            try:
                download = Download(want, patience, pace)
                with lock:
                    running.add(download)
                outcome: Receipt | BaseException = download.run()
            except BaseException as error:
                outcome = error
            with lock:
                running.discard(download)
            done.put((want.file, outcome))

    for number in range(min(jobs, len(waiting))):
        threading.Thread(target=work, name=f"download-{number}", daemon=True).start()
    try:
        for _ in range(len(wanted)):
            file, outcome = _next(done)
            if isinstance(outcome, BaseException) and not isinstance(outcome, SegdataError):
                raise outcome
            yield file, outcome
    finally:
        pace.stopping.set()
        with lock:
            left = list(running)
        for download in left:
            download.stop()


def _next(done: queue.SimpleQueue[tuple[str, Receipt | BaseException]]) -> tuple[str, Receipt | BaseException]:
    """The next outcome; woken up often, so that signals are seen."""
    while True:
        try:
            return done.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
