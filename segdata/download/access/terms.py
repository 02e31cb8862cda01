"""A dataset's terms: shown and accepted once, and again when their text changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from segdata.catalog.remotes import Terms
from segdata.download.receipts import signed
from segdata.errors import TermsNotAccepted
from segdata.system.files import canonical_json, disk_errors, write_whole
from segdata.system.reading import read_file

Ask = Callable[[str], bool]
"""Shows a text that ends in a question, and gives the answer."""


def are_accepted(terms: Terms, record: Path) -> bool:
    """Whether these very terms were accepted here before."""
    earlier = _recorded(record).get(terms.id)
    return earlier is not None and earlier.get("sha256") == terms.sha256


def _recorded(record: Path) -> dict[str, dict[str, str]]:
    """Terms' id → who accepted what and when; nothing where that cannot be read: then they are to be accepted again."""
    try:
        return msgspec.json.decode(read_file(record), type=dict[str, dict[str, str]])
    except (OSError, ValueError, RecursionError):
        return {}


def accept(terms: Terms, record: Path, *, accepted: Sequence[str], ask: Ask | None, command: str) -> None:
    """See to it that the terms are accepted, and record who accepted what and when.

    Args:
        record: the file that acceptances are kept in.
        accepted: ids that were accepted by name.
        ask: how to ask a person; None where nobody can answer.
        command: the command to type again, for the error.

    Raises:
        TermsNotAccepted: not accepted, and nobody to ask, or the answer was no.
    """
    if are_accepted(terms, record):
        return
    text = f"Terms of {terms.id!r}: {terms.text}\nFull text: {terms.url}"
    if terms.id not in accepted and not (ask is not None and ask(f"{text}\nDo you accept them?")):
        raise TermsNotAccepted(
            f"the terms of {terms.id!r} have to be accepted first",
            place=terms.url,
            why=terms.text,
            state="nothing was downloaded",
            fix=f"read them, then {command} --accept-license {terms.id}",
        )
    known = _recorded(record)
    known[terms.id] = {**signed(), "url": terms.url, "text": terms.text, "sha256": terms.sha256}
    with disk_errors(record):
        record.parent.mkdir(parents=True, exist_ok=True)
    write_whole(record, canonical_json(known) + b"\n")
