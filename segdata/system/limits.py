"""Tell a machine that has no memory, threads or processes left from a mistake of ours."""

from __future__ import annotations

from segdata.errors import NoMemory, WorkerLost

_OF_LIBRARIES = ("can't allocate memory", "failed to map segment", "Cannot allocate memory")
"""What PyTorch's allocator and the loader of libraries say in errors of other kinds."""


def declared(error: BaseException) -> NoMemory | WorkerLost | None:
    """The error of this package that another one is when the machine did not suffice; None for any other."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError":  # of PyTorch, which is not imported for this
        return NoMemory(
            "there is not enough memory on the GPU",
            why=text.partition("\n")[0].partition(". ")[0],
            fix="smaller batches (--set batch_size=1, predict: --batch-size 1), smaller images, or --device cpu",
        )
    if isinstance(error, MemoryError) or any(words in text for words in _OF_LIBRARIES):
        return NoMemory(
            "there is not enough memory",
            why=text.partition("\n")[0] or None,
            fix="free some, raise the limit (ulimit -v), or do less at once: fewer --workers, smaller batches",
        )
    if isinstance(error, RuntimeError) and text == "can't start new thread":
        return cannot_start("threads", None)
    return None


def cannot_start(what: str, why: str | None) -> WorkerLost:
    """The error of threads or processes that cannot be started."""
    return WorkerLost(
        f"no more {what} can be started",
        why=why,
        fix="raise the limit (ulimit -u; of a container: its limit of pids), or use fewer --workers",
    )
