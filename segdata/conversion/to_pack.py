"""A conversion's shards → a pack, which appears when its index is written."""

from __future__ import annotations

from segdata.conversion.job import Job, Report
from segdata.conversion.repair import mended
from segdata.conversion.shards import finished, work_folder, write
from segdata.errors import OF_THE_DATA
from segdata.pack import layout
from segdata.pack.read import is_pack, open_pack
from segdata.pack.write import UNFINISHED, commit, index_document, is_unfinished, write_dataset
from segdata.sources.dataset import without
from segdata.system.files import disk_errors, remove_tree, require_replaceable


def to_pack(job: Job, *, force: bool, clean: bool) -> Report:
    """Write shards into a work folder, then commit them.

    Args:
        force: replace a target that holds something else.
        clean: after replacing a pack, remove the files of the old one.
    """
    done = mended(job) if force else _finished_pack(job)
    work = work_folder(job)
    with disk_errors(job.target):
        for other in (path for begin in UNFINISHED for path in job.target.glob(f"{begin}*")):
            if done is not None or other != work:
                remove_tree(other)
        if done is not None:
            return done
        if is_pack(job.target) and not force:
            made = layout.read_index(job.target)["provenance"]
            job.refuse_to_replace(made["options"], made["segdata"])
        require_replaceable(job.target, force=force or is_unfinished(job.target), what="the pack")
        work.mkdir(parents=True, exist_ok=True)
    findings = job.data.findings
    kept = {number: finished(work, number) for number in range(len(job.tasks))}
    try:
        receipts = job.run(
            lambda number, beat: write(job, number, beat),
            {number: receipt for number, receipt in kept.items() if receipt is not None},
        )
        for receipt in receipts:
            findings.merge(receipt["problems"])
        job.stop_if_strict(findings)
    except OF_THE_DATA:
        remove_tree(work)
        if not any(job.target.iterdir()):
            job.target.rmdir()
        raise
    left_out = [index for receipt in receipts for index in receipt["left_out"]]
    splits = without(job.data.splits, left_out)
    dataset = write_dataset(work, splits, job.data.documents)
    root = job.data.root
    index = index_document(
        receipts,
        dataset,
        labels=job.data.labels,
        splits=splits,
        images=job.images,
        images_root=root if job.images == "reference" else None,
        provenance={
            "format": job.made_from,
            "layout": job.data.layout,
            "root": root.resolve().name,
            "fingerprint": job.fingerprint,
            "options": dict(job.options),
        },
        findings=findings,
    )
    commit(job.target, work, [*receipts, dataset], index)
    remove_tree(work)
    if clean:
        named = {entry["file"] for entry in layout.shard_files(index)}
        for path in job.target.glob("*.h5"):
            if path.name not in named:
                path.unlink()
    return job.report(index["samples"], index["instances"], findings, left_out=left_out)


def _finished_pack(job: Job) -> Report | None:
    """The report of a pack that is already what this job would make.

    Raises:
        DamagedData: the pack is not what was written.
    """
    if not is_pack(job.target):
        return None
    index = layout.read_index(job.target)
    if index["provenance"]["fingerprint"] != job.fingerprint:
        return None
    open_pack(job.target)
    return Report.of_pack(index, job.data.format, job.target)
