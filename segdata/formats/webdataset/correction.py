"""A sample of a WebDataset that a person corrected."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import with_residue
from segdata.formats.parquet import rows
from segdata.formats.parquet.tables import COLUMNS


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample with its document's objects; a document holds whatever a sample has."""
    before, after = correction.before, correction.after
    residue = dict(after.extra.get("webdataset", {}))
    if after.has_instances:
        residue["absent"] = [name for name in residue.get("absent", ()) if name != COLUMNS.objects]
    document = dict(residue.get("document", {}))
    if correction.has_other_objects and COLUMNS.objects in document:
        numbers = rows.Numbers.of(correction.labels, by_position=True)
        new = rows.objects(COLUMNS, after, numbers)
        items = [{name: value for name, value in item.items() if value is not None} for item in new]
        for index, place in enumerate(correction.rows.tolist()):
            if not correction.changed[index]:
                items[index] = document[COLUMNS.objects][int(before.instances.order[place])]
        residue["document"] = {**document, COLUMNS.objects: items}
    return with_residue(correction, "webdataset", {name: value for name, value in residue.items() if value})
