"""Validate a conversion without writing."""

from __future__ import annotations

from typing import Any

from segdata.conversion import shards
from segdata.conversion.job import ConvertReport, Job
from segdata.conversion.shards import Seen, Shard
from segdata.core import conversion_losses
from segdata.core.findings import Findings
from segdata.errors import LossyConversion


def dry_run(job: Job) -> ConvertReport:
    """Validate a conversion without writing; images are decoded unless `images="none"`."""
    findings = job.dataset.findings
    samples, instances, left_out = _read_all(job, findings, check_images=job.options.images != "none")
    return job.report(samples, instances, findings, left_out=left_out, is_dry_run=True)


def require_lossless(job: Job) -> None:
    """Read everything once, and stop when the target format cannot hold it.

    Raises:
        LossyConversion: with what would be dropped and is not allowed to be, counted.
    """
    findings = Findings()
    findings.merge({**job.dataset.findings.as_dict(), "skipped": [], "first": []})
    _read_all(job, findings, check_images=False)
    require_allowed(job, findings.as_dict()["losses"])


def require_allowed(job: Job, dropped: conversion_losses.Losses) -> None:
    """Stop when something would be dropped that is not allowed to be.

    Raises:
        LossyConversion: with these losses, counted.
    """
    allowed = job.options.allow_loss
    refused = conversion_losses.not_allowed(dropped, allowed)
    if refused:
        allowing = [
            kind["kind"]
            for kind in conversion_losses.grouped(dropped)
            if kind["kind"] in allowed or kind["losses"].keys() & refused
        ]
        raise LossyConversion(
            job.options.to,
            refused,
            conversion_losses.grouped(refused),
            listed=conversion_losses.lines(refused),
            allowing=allowing,
        )


def _read_all(job: Job, findings: Findings, *, check_images: bool) -> tuple[int, int, list[int]]:
    """How many samples there are, how many instances, and the indices of samples that could not be read.

    What was found is added to the findings in the order of the samples.

    Raises:
        InvalidInput: what is not valid, unless it may be left out.
    """

    def read(shard: Shard) -> tuple[list[int], int, Seen, dict[str, Any]]:
        instances = 0
        for _, sample in shard.samples(check_images=check_images):
            instances += len(sample.instances)
            _ = sample.semantic
        return sorted(shard.left_out), instances, shard.seen, shard.findings.as_dict()

    results = shards.run(job, read)
    for *_, shard_findings in results:
        findings.merge(shard_findings)
    job.require_valid(findings)
    left_out = [index for indices, *_ in results for index in indices]
    samples = len(job.dataset) - len(left_out)
    job.check_counts(findings, samples, [seen for _, _, seen, _ in results])
    return samples, sum(instances for _, instances, *_ in results), left_out
