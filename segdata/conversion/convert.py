"""`convert`: any format or a pack → any format or a pack.

Work is cut into shards from sizes on disk before it starts, so the result does not depend on the number of processes.
Finished shards are kept when a run is stopped, and the next run goes on from there. The target appears when all is
done: a pack by writing its index, a dataset folder by one rename.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from segdata import formats
from segdata.conversion import to_folder, to_pack
from segdata.conversion.dry_run import dry_run, require_allowed, require_lossless
from segdata.conversion.job import AllowLoss, ConvertOptions, ConvertReport, Crowds, Exif, Job, Progress, Recode, origin
from segdata.core import conversion_losses
from segdata.errors import NotThere, SegdataError, UsageError
from segdata.pack import layout
from segdata.places.address import located, require_folder
from segdata.sets import filters, orientation
from segdata.sets.recode import StoreAsQoi
from segdata.sets.splits import SplitBy
from segdata.sources.dataset import (
    Classes,
    Dataset,
    Labels,
    OnError,
    adapted,
    as_corrected,
    filtered,
    is_corrected,
    open_dataset,
    split_by,
)
from segdata.sources.evaluation import open_results
from segdata.system.files import disk_errors, locked, real_path


@disk_errors()
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
    where: str | None = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    min_area: float = 0.0,
    crowds: Crowds | bool = "keep",
    exif: Exif = "keep",
    recode: Recode = "keep",
    images: layout.Images = "embed",
    images_dir: str | Path | Mapping[str, str | Path] | None = None,
    follow_links: bool = False,
    classes: Classes = None,
    split_by: Mapping[str, float] | None = None,
    seed: int = 0,
    group: str | None = None,
    max_pixels: int | None = None,
    limit: int | None = None,
    on_error: OnError = "stop",
    fail_fast: bool = False,
    strict: bool = False,
    allow_loss: AllowLoss = False,
    decode: bool = False,
    workers: int | None = None,
    shard_samples: int | None = None,
    hang_seconds: float = 600.0,
    part: str | tuple[int, int] | None = None,
    dry_run: bool = False,
    force: bool = False,
    clean: bool = False,
    wait: float = 0.0,
    lock: bool = True,
    progress: Progress | None = None,
) -> ConvertReport:
    """Convert a dataset folder or a pack.

    Args:
        source: a dataset folder in a known layout, or a pack.
        target: the folder to make.
        source_format: the source's format; detected from its layout by default.
        to: "pack" or a format's name.
        splits: only these splits.
        lists: a folder's splits by keys of samples, in place of its own of the same names.
        truth: ground truth of results files (a pack or dataset): the results become a pack with scores.
        labels: map categories: the name of a view ("cityscapes-19") or of a label space ("voc", by names), a TOML file,
            or a mapping. The name of a space of the folder's own format says what the folder's numbers mean.
        where: only the samples of a pack that this query means, under `labels`; docs/query.md has the language.
        keep, drop: only these categories, all but these (names after `labels`).
        min_area: leave out objects with fewer pixels.
        crowds: "keep" objects with iscrowd, which training and AP leave out, "drop" them, or make "objects" of them: tools
            write iscrowd for every RLE.
        exif: "keep" pixels and annotations as stored, or "apply" the EXIF orientation: the pixels are turned, with masks
            and boxes unless these are of the turned image already.
        recode: "keep" the photo files' bytes, or "lossless": PNG photos are stored as QOI, which decodes several times as
            fast, with equal pixels; a folder that is made of the pack has PNGs again.
        images: whether a pack holds the image files' bytes, refers to them, or does without.
        images_dir: the folder of the images where it is not the dataset's, for all splits or by split.
        follow_links: trust symbolic links that lead out of the dataset's folder.
        classes: the categories of a folder whose files do not define them: a file (classes.txt, class_dict.csv,
            label_colors.txt, labelmap.txt …), names in the order of their values, or "from-data".
        split_by: split → share of the samples; in place of the source's splits.
        seed: of the shuffle before `split_by` cuts.
        group: a regular expression; samples for whose keys its first group (else the whole match) is equal stay in one
            split of `split_by`.
        max_pixels: larger images are refused, by readers of the pack, too; by default 8192 × 8192.
        limit: at most this many samples, the first ones.
        on_error: "stop" reads everything, then refuses a dataset with invalid items, counts them and shows the first;
            "skip" leaves them out and lists them.
        strict: correct nothing: what would be corrected and remarked is invalid.
        fail_fast: stop at the first invalid item, or the first error of a worker, instead of finishing the others.
        allow_loss: convert although the target cannot hold all of it, or these kinds of loss alone: "ids", "licences" …
            (`segdata.core.conversion_losses` has them). The report counts what is dropped either way.
        decode: decode every image fully, instead of checking its structure only.
        workers: processes; by default as many as there are processors. The result does not depend on it.
        shard_samples: most samples of a shard, the unit of work; by default a sixteenth of all, 256 to 4,096.
        hang_seconds: stop a worker that stays at one sample for longer.
        part: "2/4": convert this share of the shards alone. The parts of a pack may run at once, on one machine or on many
            that see the same folders; the one that finishes the last shard makes the pack.
        dry_run: read and check everything, write nothing; what the conversion itself would raise then is in the report.
        force: replace a target that holds something else.
        clean: after replacing a pack, remove the files of the old one.
        wait: seconds to wait for another process that works on the target.
        lock: by the kernel; False where the file system cannot: then a file beside the target is the lock.
        progress: called with (samples done, samples in all).

    Raises:
        SegdataError: see `segdata.errors`; the target is then as it was before.
    """
    options = {name: value for name, value in locals().items() if name not in ("source", "target")}
    require_folder(target, "a pack is written into a folder, and pushed from there")
    return convert_with(located(source), Path(target), ConvertOptions.of(**options))


def convert_with(source: Path, target: Path, options: ConvertOptions) -> ConvertReport:
    """`convert` with its options as one object."""
    _require_possible(options)
    if options.truth is not None:
        options = replace(options, images="none")
    dataset = _opened(source, options)
    _require_images_in_place(dataset, options)
    dataset = _filtered(dataset, options)
    is_adapted = options.to not in ("pack", origin(dataset))
    with dataset.kept_records():
        written = adapted(dataset, options.to) if is_adapted else dataset
        if options.to != "pack" and not is_adapted and is_corrected(dataset):
            written, is_adapted = as_corrected(dataset), True
        job = Job(written, target, options)
    if real_path(source) == real_path(target):
        raise UsageError("source and target are the same folder", file=target)
    if options.dry_run:
        return _foreseen(job, dry_run(job), is_adapted=is_adapted)
    if is_adapted and options.allow_loss < set(conversion_losses.NAMES) and not to_folder.is_done(job):
        require_lossless(job)
    if options.part is not None:
        return to_pack.part_of_pack(job, options.part)
    with locked(target, wait=options.wait, by_kernel=options.lock):
        return to_pack.to_pack(job) if options.to == "pack" else to_folder.to_folder(job)


def _foreseen(job: Job, report: ConvertReport, *, is_adapted: bool) -> ConvertReport:
    """The report of a dry run with what the conversion itself would do."""
    try:
        if is_adapted and not to_folder.is_done(job):
            require_allowed(job, report.problems["losses"])
        was_done = to_pack.is_there(job) if job.options.to == "pack" else to_folder.is_there(job)
    except SegdataError as error:
        return replace(report, stopped_by=error)
    return replace(report, was_done=was_done)


def _require_possible(options: ConvertOptions) -> None:
    if options.to != "pack":
        formats.writer(options.to)
    if options.limit is not None and options.limit < 1:
        raise UsageError("--limit is out of range", why=f"expected 1 or more, found {options.limit}")
    if options.fail_fast and options.on_error == "skip":
        raise UsageError("--fail-fast and --on-error skip exclude each other", fix="leave one of them out")
    if options.recode != "keep" and (options.to != "pack" or options.images == "none"):
        other = f"--to {options.to}" if options.to != "pack" else "--images none"
        raise UsageError(
            f"--recode {options.recode} has no effect on {other}",
            why="packs that hold photos have them in another coding",
            fix="convert to a pack with its photos",
        )
    if options.images == "reference" and options.to == "pack":
        for option, is_given in (
            ("--exif apply", options.exif == "apply"),
            ("--recode lossless", options.recode == "lossless"),
            ("--images-dir", options.read.images_dir),
        ):
            if is_given:
                raise _no_reference(option)
    if options.part is not None and options.to != "pack":
        raise UsageError(
            "--part and --to exclude each other",
            why="a pack is made of shards, a folder is not",
            fix="convert to a pack in parts, then segdata convert PACK FOLDER --to " + options.to,
        )
    if options.group is not None and options.split_by is None:
        raise UsageError("--group has no effect without --split-by", fix="add --split-by train=0.8,val=0.2")


def _require_images_in_place(dataset: Dataset, options: ConvertOptions) -> None:
    """Refuse to refer to images that lie under other names than the annotations say."""
    if options.images == "reference" and options.to == "pack" and dataset.scanned is not None:
        elsewhere = [entry for entry in dataset.scanned[1] if entry.disk]
        inside = [entry for entry in dataset.scanned[1] if entry.embedded]
        if inside:
            raise _no_reference(
                f"images inside annotation files ({inside[0].file} is inside that of {inside[0].key!r})"
            )
        if elsewhere:
            raise _no_reference(f"image names of another spelling ({elsewhere[0].file} is {elsewhere[0].disk})")


def _no_reference(what: str) -> UsageError:
    return UsageError(
        f"{what} and --images reference exclude each other",
        why="a pack refers to image files as they are, in the dataset's folder",
        fix="embed the images, as without --images",
    )


def _opened(source: Path, options: ConvertOptions) -> Dataset:
    if layout.is_pack(source) and (options.read.images_dir or options.classes):
        raise UsageError(
            f"{'--images-dir' if options.read.images_dir else '--classes'} has no effect on a pack",
            file=source,
            why="a pack has its images and categories",
            fix="give it where the dataset's folder is converted; --labels maps the categories of a pack",
        )
    if options.truth is not None:
        if options.where is not None:
            raise UsageError(
                "--where has no effect on results files",
                fix="convert them to a pack, then segdata convert that PACK with --where",
            )
        return open_results(
            source,
            options.truth,
            kind=options.source_format,
            splits=options.splits,
            labels=options.labels,
            limit=options.limit,
        )
    dataset = open_dataset(
        source,
        format=options.source_format,
        splits=options.splits,
        lists=options.lists,
        labels=options.labels,
        where=options.where,
        limit=options.limit,
        on_error=options.on_error,
        check_images=options.images != "none" or options.to != "pack",
        classes=options.classes,
        read=options.read,
    )
    if options.where is not None and not len(dataset):
        among = f" among those of {', '.join(map(repr, options.splits))}" if options.splits else ""
        raise NotThere(
            f"the query means no image of the pack{among}",
            file=source,
            why=f"--where {options.where!r}"[:300],
            fix="segdata stats PACK, with a part of the query as --where, counts what there is",
        )
    return dataset


def _filtered(dataset: Dataset, options: ConvertOptions) -> Dataset:
    if options.keep:
        dataset = filtered(dataset, filters.keep(dataset.labels, options.keep))
    if options.drop:
        dataset = filtered(dataset, filters.drop(dataset.labels, options.drop))
    if options.min_area > 0 or options.crowds == "drop":
        dataset = filtered(dataset, filters.Filter(options.min_area, options.crowds != "drop"))
    if options.crowds == "objects":
        dataset = filtered(dataset, filters.CrowdsAsObjects())
    if options.exif == "apply":
        dataset = filtered(dataset, orientation.ApplyOrientation())
    if options.recode == "lossless":
        dataset = filtered(dataset, StoreAsQoi())
    if options.split_by is not None:
        dataset = split_by(dataset, SplitBy(tuple(options.split_by.items()), options.seed, options.group))
    return dataset


@disk_errors()
def inspect(
    path: Path, *, deep: bool = False, source_format: str | None = None, progress: Progress | None = None
) -> ConvertReport:
    """Read and check a dataset folder; deep decodes every image and looks for what readers pass over.

    Raises:
        InvalidInput: the dataset is not valid; the message lists the first problems.
    """
    dataset = open_dataset(path, format=source_format)
    look = formats.named(dataset.format).inspect
    if deep and look is not None:
        look(path if path.is_file() else dataset.root, dataset.findings)
    return dry_run(Job(dataset, path, ConvertOptions(to="nothing", decode=deep, progress=progress)))
