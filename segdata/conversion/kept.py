"""What a pack keeps of its source's files, for the way back: each format's writer trusts it, whoever made the pack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from segdata.errors import DamagedData, SegdataError
from segdata.sources.dataset import Dataset


@contextlib.contextmanager
def kept_records(dataset: Dataset, key: str | None = None) -> Iterator[None]:
    """Name the pack where a writer fails at what it keeps under a format's name: its shape is known to that format alone.

    Args:
        key: the sample that is read.

    Raises:
        DamagedData: instead of an error of a value's type or shape, where the samples come from a pack.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if dataset.format != "pack" or isinstance(error, SegdataError):
            raise
        raise DamagedData(
            "what the pack keeps of the source's files cannot be written back",
            file=dataset.root,
            key=key,
            why=f"{type(error).__name__}: {error}"[:300],
            fix="make the pack anew from the dataset with --force, or leave the sample out with --on-error skip; if "
            f"`segdata verify {dataset.root} --deep` calls a pack of your own good, please report this",
        ) from error
