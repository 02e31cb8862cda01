"""`convert`: any format or a pack → any format or a pack.

Work is cut into shards from sizes on disk before it starts, so the result does not depend on who does it; finished
shards are kept when a run is stopped, and the next run goes on from there. The target appears when all is done: a pack
by writing its index, a dataset folder by one rename.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdata import formats
from segdata.conversion.job import Job, Progress, Report
from segdata.conversion.to_folder import is_done, to_folder
from segdata.conversion.to_pack import to_pack
from segdata.errors import UsageError
from segdata.pack import layout
from segdata.sets import filters
from segdata.sources.dataset import Labels, OnError, adapted, filtered, open_dataset
from segdata.sources.evaluation import open_results
from segdata.system.locks import locked

_CHANGED = "changed"
"""What a pack's origin is called when its samples are no longer as any source has them."""


def convert(
    source: str | Path,
    target: str | Path,
    *,
    source_format: str | None = None,
    to: str = "pack",
    splits: Sequence[str] = (),
    lists: Mapping[str, Sequence[str]] | None = None,
    truth: str | Path | None = None,
    labels: Labels = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    min_area: float = 0.0,
    crowds: bool = True,
    images: layout.Images = "embed",
    limit: int | None = None,
    on_error: OnError = "stop",
    fail_fast: bool = False,
    allow_loss: bool = False,
    decode: bool = False,
    workers: int | None = None,
    shard_samples: int | None = None,
    hang_seconds: float = 600.0,
    dry_run: bool = False,
    force: bool = False,
    clean: bool = False,
    wait: float = 0.0,
    lock: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Convert a dataset folder or a pack.

    Args:
        source: a dataset folder in a known layout, or a pack.
        target: the folder to make.
        source_format: the source's format; found out from its layout by default.
        to: "pack" or a format's name.
        splits: only these splits.
        lists: a folder's splits by keys of samples, in place of its own of the same names.
        truth: a pack or dataset that results files (a source of predictions) are about; they become a pack with scores.
        labels: map categories: the name of a view ("cityscapes-19") or of a label space ("voc", by names), a TOML file,
            or a mapping. The name of a space of the folder's own format says what the folder's numbers mean.
        keep, drop: only these categories, all but these (names after `labels`).
        min_area: leave out objects with fewer pixels.
        crowds: whether crowds stay.
        images: whether a pack holds the image files' bytes, refers to them, or does without.
        limit: at most this many samples, the first ones.
        on_error: "stop" reads everything, then refuses a dataset with invalid items, counts them and shows the first;
            "skip" leaves them out and lists them.
        fail_fast: stop at the first invalid item, or the first error of a worker, instead of finishing the others.
        allow_loss: convert although the target cannot hold all of it; the report says what was lost either way.
        decode: decode every image fully, instead of checking its structure only.
        workers: processes; by default as many as there are processors. The result does not depend on it.
        shard_samples: most samples of a shard, the unit of work; by default a sixteenth of all, 256 to 4,096.
        hang_seconds: stop a worker that stays at one sample for longer.
        dry_run: read and check everything, write nothing.
        force: replace a target that holds something else.
        clean: after replacing a pack, remove the files of the old one.
        wait: seconds to wait for another process that works on the target.
        lock: by the kernel; False where the file system cannot: then a file beside the target is the lock.
        progress: called with (samples done, samples in all).

    Raises:
        SegdataError: see `segdata.errors`; the target is then as it was before.
    """
    source, target = Path(source), Path(target)
    if to != "pack":
        formats.writer(to)
    if limit is not None and limit < 1:
        raise UsageError("--limit is out of range", why=f"expected 1 or more, found {limit}")
    if fail_fast and on_error == "skip":
        raise UsageError("--fail-fast and --on-error skip exclude each other", fix="leave one of them out")
    options = {
        "images": images if truth is None else "none",
        "splits": list(splits),
        "limit": limit,
        "on_error": on_error,
        "decode": decode,
        "shard_samples": shard_samples,
    }
    if truth is not None:
        images = "none"
        data = open_results(source, Path(truth), kind=source_format, splits=splits, labels=labels, limit=limit)
    else:
        data = open_dataset(
            source,
            format=source_format,
            splits=splits,
            lists=lists,
            labels=labels,
            limit=limit,
            on_error=on_error,
            check_images=images != "none" or to != "pack",
        )
    if keep:
        data = filtered(data, filters.keep(data.labels, keep))
    if drop:
        data = filtered(data, filters.drop(data.labels, drop))
    if min_area > 0 or not crowds:
        data = filtered(data, filters.Filter(min_area, crowds))
    made_from = data.made_from
    if data.steps:
        made_from = _CHANGED
        options["steps"] = [hashlib.sha256(repr(step).encode()).hexdigest() for step in data.steps]
    crosses = to not in ("pack", made_from)
    if crosses:
        data = adapted(data, to)
    job = Job(
        data, target, to, made_from, images, on_error, decode, options, progress, workers, hang_seconds, fail_fast
    )
    if dry_run:
        return job.dry_run()
    if source.resolve() == target.resolve():
        raise UsageError("source and target are the same folder", file=target)
    if crosses and not allow_loss and not is_done(job):
        job.require_no_loss()
    with locked(target, wait=wait, by_kernel=lock):
        return to_pack(job, force=force, clean=clean) if to == "pack" else to_folder(job, force=force)


def inspect(
    path: Path, *, deep: bool = False, source_format: str | None = None, progress: Progress | None = None
) -> Report:
    """Read and check a dataset folder; deep decodes every image and looks for what readers pass over.

    Raises:
        InvalidInput: the dataset is not valid; the message lists the first problems.
    """
    data = open_dataset(path, format=source_format)
    module = formats.named(data.format)
    if deep and hasattr(module, "inspect"):
        module.inspect(path, data.findings)
    return Job(data, path, "nothing", data.format, "embed", "stop", deep, {}, progress).dry_run()
