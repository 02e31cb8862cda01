"""The categories of COCO documents: one label space for all of them, joined by name where their ids differ."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.coco.corrections import whole_number
from segdata.formats.coco.documents import MAX_ID, Document, twice
from segdata.formats.shared import json_text


class _Used(msgspec.Struct):
    category_id: Any = None


_RECORDS = 'write a list of records: "categories": [{"id": 1, "name": "cat"}, …]'
_USED = msgspec.json.Decoder(_Used)


def _used(document: Document) -> set[int]:
    """The category numbers of a document's annotations; records that cannot be read have none."""
    numbers: set[int] = set()
    for raw in document.annotations:
        with contextlib.suppress(*json_text.INVALID):
            number = whole_number(_USED.decode(raw).category_id)
            numbers.update(() if number is None else (number,))
    return numbers


def label_space(documents: Sequence[Document], findings: Findings) -> LabelSpace:
    """The categories of the documents that give samples; sets `Document.category_ids` where ids have to change.

    Raises:
        InvalidAnnotation: category records that are not valid.
    """
    merged: dict[int, Category] = {}
    id_of_name: dict[str, int] = {}
    for document in documents:
        if document.kind not in ("instances", "image_info", "panoptic") and merged:
            continue
        categories = list(_categories(document, findings))
        if not findings.strict:
            categories = _without_doubles(document, categories, findings)
        for index, category in enumerate(categories):
            known = merged.get(category.id)
            if known is not None and known.name == category.name:
                continue
            if known is not None and findings.strict:
                raise InvalidAnnotation(
                    f"two documents give category id {category.id} different names",
                    file=document.path,
                    place=f"$.categories[{index}]",
                    why=f"{known.name!r} and {category.name!r}",
                    fix="leave out --strict: categories are joined by name; or convert the splits on their own",
                )
            if known is None and (category.name not in id_of_name or findings.strict):
                merged[category.id] = category
                id_of_name[category.name] = category.id
                continue
            if category.name not in id_of_name:
                ids = [*merged, *(other.id for other in categories)]
                id_of_name[category.name] = max(ids) + 1
                merged[max(ids) + 1] = replace(category, id=max(ids) + 1)
            document.category_ids[category.id] = id_of_name[category.name]
            findings.remark(
                "category with another id than in the documents before: joined by name",
                f"{document.name}: {category.name} (id {category.id}, here {id_of_name[category.name]})",
            )
    names = {category.name for category in merged.values()}
    official = {category.name for category in manifest.label_space("coco").categories}
    try:
        return LabelSpace("coco" if names and names <= official else "custom", tuple(merged.values()))
    except SegdataError as error:
        raise error.located(file=documents[0].path, place="$.categories") from error


def declared(documents: Sequence[Document], labels: LabelSpace, findings: Findings) -> LabelSpace:
    """Declared categories with the numbers that the documents use.

    Categories that the documents define are put into the declared order, by name. Where they define none, the numbers of
    names in a row count from 1, as in COCO's files, or from 0 where category 0 is used.

    Raises:
        InvalidAnnotation: the documents define others, or use numbers that have no name.
    """
    defined = {category.id: category for document in documents for category in _categories(document, findings)}
    if defined:
        return _in_order(documents[0], defined, labels, findings)
    used = set[int]().union(*map(_used, documents))
    count = len(labels)
    if used and 0 not in used and [category.id for category in labels.categories] == list(range(count)):
        numbered = [replace(category, id=category.id + 1) for category in labels.categories]
        labels = LabelSpace(labels.name, tuple(numbered))
        shown = ", ".join(f"{category.id} is {category.name}" for category in numbered[:5])
        findings.remark(
            "no category is defined: the declared ones are numbered from 1 (a table in TOML can say id = …)",
            f"{documents[0].name}: {shown}{' …' if count > 5 else ''}",
        )
    if not used <= labels.index_of_id.keys():
        raise InvalidAnnotation(
            "annotations use categories that are not declared",
            file=documents[0].path,
            why=f"categories {sorted(used)[:20]} are used; declared are "
            + ", ".join(f"{category.id} {category.name}" for category in labels.categories[:20]),
            fix="name all of them with --classes, in the order of their numbers, or give a table in TOML with name and id",
        )
    return labels


def records_of_space(labels: LabelSpace) -> list[dict[str, Any]]:
    """Category records of a document that has none of its own."""
    return [
        {"id": category.id, "name": category.name, "supercategory": category.supercategory or category.name}
        for category in labels.categories
    ]


def _in_order(
    document: Document, defined: Mapping[int, Category], labels: LabelSpace, findings: Findings
) -> LabelSpace:
    """Categories that a document defines, in the declared order."""
    id_of_name = {category.name: number for number, category in defined.items()}
    if all(
        labels.index_of_id.keys() >= {number} and labels[labels.index_of_id[number]].name == category.name
        for number, category in defined.items()
    ):
        return labels
    unknown = sorted(id_of_name.keys() ^ labels.index_of_name.keys())
    if unknown:
        raise InvalidAnnotation(
            "the document defines other categories than those declared",
            file=document.path,
            place="$.categories",
            why=f"it defines {', '.join(map(repr, list(id_of_name)[:10]))}; "
            f"declared are {', '.join(map(repr, list(labels.index_of_name)[:10]))}",
            fix="leave out --classes; --labels TABLE.toml maps categories, --keep and --drop choose some",
        )
    findings.remark("categories in the order that was declared, by their names", document.name)
    return LabelSpace(labels.name, tuple(defined[id_of_name[category.name]] for category in labels.categories))


def _without_doubles(document: Document, categories: list[Category], findings: Findings) -> list[Category]:
    """The categories without those that no annotation uses and that have another one's name; used ones are joined."""
    count = Counter(category.name for category in categories)
    if len(count) == len(categories):
        return categories
    used = _used(document)
    kept: list[Category] = []
    for name in count:
        same = [category for category in categories if category.name == name]
        chosen = next((category for category in same if category.id in used), same[0])
        for other in same:
            if other is chosen:
                continue
            document.category_ids[other.id] = chosen.id
            how = "joined with it" if other.id in used else "left out, as no annotation uses it"
            findings.remark(f"category of another one's name: {how}", f"{document.name}: {name!r} (id {other.id})")
        kept.append(chosen)
    return sorted(kept, key=categories.index)


def _categories(document: Document, findings: Findings) -> Iterator[Category]:
    records = document.header.get("categories")
    records = [] if records is None or records == {} else records
    if not isinstance(records, list):
        raise InvalidAnnotation(
            "categories is not a list",
            file=document.path,
            place="$.categories",
            why=f"found {records!r}"[:200],
            fix=_RECORDS,
        )
    ids = [record.get("id") for record in records if isinstance(record, dict)]
    if all(type(number) is int for number in ids) and len(set(ids)) < len(ids):
        raise twice("category id", ids, "categories", document.path)
    for index, record in enumerate(records):
        if isinstance(record, dict) and type(record.get("id")) is not int and not findings.strict:
            number = whole_number(record.get("id"))
            if number is not None:
                findings.remark("category id is not written as a whole number", f"{document.name}: {record['id']!r}")
                record = {**record, "id": number}
        yield _category(record, document.path, f"$.categories[{index}]")


def _category(record: Any, path: Path, json_path: str) -> Category:
    is_valid = (
        isinstance(record, dict)
        and type(record.get("id")) is int
        and 0 <= record["id"] <= MAX_ID
        and isinstance(record.get("name"), str)
    )
    if not is_valid:
        raise InvalidAnnotation(
            "a category record is not valid",
            file=path,
            place=json_path,
            why=f"expected an integer id and a name, found {record!r}"[:300],
            fix=_RECORDS,
        )
    color, group = record.get("color"), record.get("supercategory")
    is_color = isinstance(color, list) and len(color) == 3 and all(type(v) is int and 0 <= v < 256 for v in color)
    isthing = record.get("isthing")
    return Category(
        record["name"],
        record["id"],
        color=(color[0], color[1], color[2]) if is_color else None,
        isthing=None if isthing is None else bool(isthing),
        supercategory=group if isinstance(group, str) else None,
    )
