"""Every error that segdata raises on purpose, and the exit code that the command line gives it.

    SegdataError
    ├── UsageError           2    an option or argument that cannot be meant
    │   └── InvalidQuery          a query that is not written as the language has it
    ├── InvalidInput         4    the data is not what its format says
    │   ├── InvalidAnnotation     an annotation document or record
    │   ├── InvalidImage          an image or label file
    │   ├── InvalidManifest       a dataset's TOML file
    │   ├── InvalidArchive        an archive of another kind, or with members that cannot be
    │   ├── UnknownLayout         a folder in which no known dataset layout was found
    │   ├── CannotRepresent       the target format has no way to say this
    │   └── LabelMismatch         two label spaces that were taken for one
    ├── NetworkError         5    the network: given up after the retries
    ├── SignInError          6    no credentials, or they were refused
    │   └── TermsNotAccepted      a licence that has to be accepted first
    ├── DiskError            7    no space, no permission, read-only, input/output error
    ├── DamagedData          8    a size, checksum or hash differs from what was recorded
    │   ├── HashMismatch          a downloaded file that is not what the manifest names
    │   └── NotVerifiable         a file that nobody publishes a digest of
    ├── LockHeld             9    another segdata process is at work on the same thing
    ├── NotThere            10    a dataset, split, key or file that does not exist
    ├── Unsafe              11    a path that escapes, a bomb, a link: refused
    ├── WorkerLost          12    a worker process died or hung on a sample, again and again, or cannot be started
    ├── LossyConversion     13    the conversion would drop something, and that was not allowed
    └── NoMemory            14    not enough memory, of the machine or of the GPU

Other exit codes come from `segdata/cli/`, see its `__init__.py`:

    1        a bug: an exception that is not in this tree; of `segdata diff`: the packs differ
    2        also an option or argument that the parser of the command line refuses
    3        done, but some items were skipped: no error, it comes from a report
    8        also damage that `segdata verify` lists, and a step of `segdata demo` that went wrong
    128 + n  ended by signal n, such as 130 by ctrl-C
    141      a broken pipe: the output is not read any more
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args


class SegdataError(Exception):
    """What went wrong, where, why, and what to do about it.

    Args:
        message: one sentence: what happened.
        file: the file or folder concerned.
        place: where in it (JSON path, XML line, byte range, shard and record).
        why: what was expected and what was found.
        state: what was left on disk.
        fix: the next thing to type or do.
        key: the sample concerned.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        place: str | None = None,
        why: str | None = None,
        state: str | None = None,
        fix: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.place = place
        self.why = why
        self.state = state
        self.fix = fix
        self.key = key

    def __str__(self) -> str:
        lines = [printable(self.message)]
        for name in ("file", "key", "place", "why", "state", "fix"):
            value = getattr(self, name)
            if value is not None:
                lines.append(f"  {name + ':':<7} {printable(value, lines=name not in ('file', 'key'))}")
        return "\n".join(lines)

    def located(
        self, *, file: Path | str | None = None, place: str | None = None, key: str | None = None
    ) -> SegdataError:
        """The same error with the file, place and sample filled in where they were unknown."""
        if self.file is None and file is not None:
            self.file = str(file)
        self.place = self.place or place
        self.key = self.key or key
        return self

    def as_dict(self) -> dict[str, Any]:
        """The error as the `error` member of a `--json` document."""
        document: dict[str, Any] = {
            "id": type(self).__name__,
            "exit": self.exit_code,
            "message": self.message,
        }
        for name in ("file", "key", "place", "why", "state", "fix"):
            value = getattr(self, name)
            if value is not None:
                document[name] = value
        return document


class UsageError(SegdataError, ValueError):
    """An option or argument that cannot be meant."""

    exit_code = 2


class InvalidQuery(UsageError):
    """A query that is not written as the language has it, or names what there is not.

    Args:
        columns: (first, last) of the part of the query concerned, from 1.
    """

    def __init__(self, message: str, *, columns: tuple[int, int], **parts: Any) -> None:
        super().__init__(message, **parts)
        self.columns = columns

    def as_dict(self) -> dict[str, Any]:
        """The error with the columns of the query that it points at."""
        return {**super().as_dict(), "columns": list(self.columns)}


class InvalidInput(SegdataError, ValueError):
    """Data that is not what its format says."""

    exit_code = 4


class InvalidAnnotation(InvalidInput):
    """An annotation document or record that is not valid."""


class InvalidImage(InvalidInput):
    """An image or label file that is cut short, of another type or of another size."""


class InvalidManifest(InvalidInput):
    """A dataset's TOML file that does not follow the schema."""


class InvalidArchive(InvalidInput):
    """An archive of another kind than its name says, or with members that cannot be extracted."""


class UnknownLayout(InvalidInput):
    """A folder in which no known dataset layout was found."""


class CannotRepresent(InvalidInput):
    """Something that the target format has no way to say."""


class LabelMismatch(InvalidInput):
    """Two label spaces that were taken for one, and differ."""


class NetworkError(SegdataError, ConnectionError):
    """A server that cannot be reached, or does not give the file."""

    exit_code = 5


class SignInError(SegdataError, PermissionError):
    """No credentials for a site that needs them, or the site refused them."""

    exit_code = 6


class TermsNotAccepted(SignInError):
    """A dataset's licence terms that have to be accepted before the first fetch."""


class DiskError(SegdataError, OSError):
    """No space, no permission, a read-only place or an input/output error."""

    exit_code = 7


class DamagedData(SegdataError):
    """A size, checksum or hash that differs from what was recorded."""

    exit_code = 8


class HashMismatch(DamagedData):
    """A file whose size or digest is not what the manifest names."""


class NotVerifiable(DamagedData):
    """A file that nobody publishes a digest of, and that was not accepted without one."""


class LockHeld(SegdataError):
    """Another segdata process is at work on the same thing."""

    exit_code = 9


class NotThere(SegdataError, LookupError):
    """A dataset, split, key or file that does not exist."""

    exit_code = 10


def no_sample(
    key: str, keys: Iterable[str], where: Collection[str] | None, splits: Collection[str], file: Path | str
) -> NotThere:
    """The error of a key that is looked for in vain.

    Args:
        keys: those among which it was looked for.
        where: the splits that have it; None where no sample has it.
        splits: all splits.
    """
    if where is not None:
        names = " and ".join(map(repr, where))
        message = f"the sample {key!r} is in {'the split' if len(where) < 2 else 'the splits'} {names}"
        if not where:
            return NotThere(f"the sample {key!r} is in no split", file=file, fix="leave out --split")
        return NotThere(message, file=file, fix=f"choose that split (--split {next(iter(where))}), or leave it out")
    close = close_names(key, keys)
    why = f"close ones are {', '.join(map(repr, close))}" if close else f"the first is {next(iter(keys), None)!r}"
    fix = f"{key!r} is a split: --split {key}" if key in splits else None
    return NotThere(f"no sample has the key {key!r}", file=file, why=why, fix=fix)


def no_split(name: str, splits: Collection[str], where: Collection[str] | None, file: Path | str) -> NotThere:
    """The error of a split that there is not.

    Args:
        where: the splits that have a sample with this key; None where there is no such sample.
    """
    close = close_names(name, splits)
    fix = f"did you mean {' or '.join(map(repr, close))}?" if close else None
    if where is not None:
        fix = f"{name!r} is the key of a sample"
    return NotThere(
        f"there is no split {name!r}", file=file, why=f"there are {', '.join(map(repr, splits)) or 'none'}", fix=fix
    )


class Unsafe(SegdataError):
    """A path that escapes, a link out, a bomb: refused before anything was read or written."""

    exit_code = 11


OF_THE_DATA = (InvalidInput, DamagedData, NotThere, Unsafe)
"""What one sample can be blamed for: `--on-error skip` leaves it out. Anything else would hit the next one, too."""


class WorkerLost(SegdataError):
    """A worker process that died or hung on one sample, each time it was tried; or processes that cannot be started."""

    exit_code = 12


class LossyConversion(SegdataError):
    """A conversion that would drop something which was not allowed to be dropped.

    Args:
        target: the format that cannot hold it all.
        losses: loss → count and first samples.
        kinds: the same by kinds of loss, the gravest first, as `segdata.core.conversion_losses` groups them.
        listed: the same in lines for people.
        allowing: names of kinds that would have to be allowed, with those that are.
    """

    exit_code = 13

    def __init__(
        self,
        target: str,
        losses: Mapping[str, Any],
        kinds: Sequence[Mapping[str, Any]],
        listed: Sequence[str],
        allowing: Sequence[str],
    ) -> None:
        super().__init__(
            f"{target} cannot hold all of it; nothing was written",
            why="\n          ".join(["it would lose", *listed]),
            fix=f"convert without these: --allow-loss {','.join(allowing)} (--allow-loss alone allows all)\n"
            "          or use --to pack, which holds everything",
        )
        self.losses = losses
        self.kinds = kinds

    def as_dict(self) -> dict[str, Any]:
        """The error with everything that would be lost."""
        return {**super().as_dict(), "losses": self.losses, "loss_kinds": self.kinds}


class NoMemory(SegdataError, MemoryError):
    """Not enough memory, of the machine or of the GPU."""

    exit_code = 14


_IRREGULAR = {"category": "categories", "batch": "batches", "loss": "losses"}


def number_of(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun; a plural of more words is given.

    >>> number_of(1, "image"), number_of(1200, "category"), number_of(2, "file is", "files are")
    ('1 image', '1,200 categories', '2 files are')
    """
    return f"{number:,} {noun if number == 1 else plural or _IRREGULAR.get(noun, noun + 's')}"


def require_choice(name: str, value: object, choices: Any) -> None:
    """Refuse a value that is not one of a `Literal`.

    Raises:
        UsageError: with the values that there are.
    """
    if value not in get_args(choices):
        raise UsageError(
            f"{name} is {value!r}", why=f"it can be {', '.join(map(repr, get_args(choices)))}", fix="correct the value"
        )


def close_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Those of the known names, the first 20,000, that are so close that they may be meant; the closest first."""
    import difflib

    return difflib.get_close_matches(name, list(itertools.islice(known, 20_000)), n=most, cutoff=0.7)


def printable(value: object, *, lines: bool = True) -> str:
    """Text with control, bidirectional and undecodable characters escaped, safe for a terminal.

    Args:
        value: what to show.
        lines: whether line breaks stay: no for names, which would else look like lines of ours.
    """
    return "".join(
        character if character.isprintable() or (lines and character == "\n") else ascii(character)[1:-1]
        for character in str(value)
    )
