"""Tables of names, values and colours that tools write beside label files, and tables that the user names.

    label_colors.txt, label_color.txt      R G B NAME a line (CamVid, CVAT, datumaro); also NAME R G B
    class_dict.csv, class_dict_seg.csv     name,r,g,b below a row of titles
    dataset_meta.json                      {label_map: {value: name}, segmentation_colors: [[r, g, b], …]} (datumaro)
    _classes.csv                           Pixel Value, Class (Roboflow)
    labelmap.txt                           NAME:R,G,B:parts:actions (CVAT, datumaro)
    class_names.txt, classes.txt, predefined_classes.txt, obj.names, codes.txt     a name a line
    FILE.json, FILE.toml                   named by the user: a list of names or tables; `labels` as in a manifest
    FILE.yaml                              named by the user: `names` as in YOLO's data.yaml

A row's value is what its file says, else its position, from 0. What a row is follows from the file's content, not from
its name.

Traps: codes of CamVid have names alone, their colours are the official ones; a row called Void is a category like any
other unless the whole table is a published one; several tables lie side by side, as copies or as contradictions.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from segdata.catalog.label_table import Row, Table
from segdata.core.findings import Findings
from segdata.core.labels import Byte, Category, Color, LabelSpace
from segdata.errors import InvalidAnnotation, NotThere, SegdataError
from segdata.formats.shared import json_text, yaml_text
from segdata.formats.shared.folder import names_in, read_bytes
from segdata.system import documents
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

META = "dataset_meta.json"
WITH_COLORS = ("label_colors.txt", "label_color.txt", "class_dict.csv", "class_dict_seg.csv", "labelmap.txt", META)
NAMES_ALONE = ("_classes.csv", "class_names.txt", "classes.txt", "predefined_classes.txt", "obj.names", "codes.txt")
FILES = (*WITH_COLORS, *NAMES_ALONE)
"""Names of files that are read as tables wherever they lie beside a dataset, the most telling first."""

_LARGEST = 65535
_MOST_BYTES = 8 << 20
_FORMS = "R G B NAME, NAME R G B, NAME:R,G,B:: or NAME alone, or columns name,r,g,b below a row of titles"
_FIX = "correct the row, or name another table with --classes FILE"

_VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore", "ignored")


# ---------------------------------------------------------------------- where tables come from


def in_folder(root: Path, folders: Sequence[str] = ("",)) -> Table | None:
    """The table beside a dataset; where several say the same, the first in the order of `FILES`.

    Args:
        folders: paths under the root of the folders to look in.

    Raises:
        InvalidAnnotation: a row that is none, or two tables that disagree.
        Unsafe: a link leads out of the root.
    """
    tables = []
    for folder in folders:
        present = {name.lower(): name for name in reversed(names_in(root / folder, ".txt", ".csv", ".names", META))}
        for name in FILES:
            if name in present:
                file = f"{folder}/{present[name]}" if folder else present[name]
                tables.append(parse(read_bytes(root, file, "the dataset"), root / file, file))
    tables = [table for table in tables if table.rows]
    if not tables:
        return None
    tables.sort(key=lambda table: not table.has_colors)
    first = tables[0]
    for other in tables[1:]:
        difference = _difference(first, other)
        if difference:
            raise InvalidAnnotation(
                "two tables of labels disagree",
                file=root / first.file,
                why=f"{first.file} and {other.file}: {difference}",
                fix=f"name the right one with --classes {root / first.file} or --classes {root / other.file}",
            )
    return replace(first, others=tuple(table.file for table in tables[1:]))


def beside(root: Path, folders: Sequence[str], findings: Findings) -> Table | None:
    """As `in_folder`, where the user names another table: one that is not valid is remarked, not refused."""
    try:
        return in_folder(root, folders)
    except SegdataError as error:
        findings.remark("table of labels passed over for the one that was named", f"{error.file}: {error.message}")
        return None


def _difference(first: Table, other: Table) -> str | None:
    """What two tables say differently, in words; None where they agree."""
    if len(first.rows) != len(other.rows):
        return f"{len(first.rows)} and {len(other.rows)} rows"
    for mine, theirs in zip(sorted(first.rows), sorted(other.rows), strict=True):
        if (mine.value, mine.name) != (theirs.value, theirs.name):
            return f"{mine.value} is {mine.name!r}, {theirs.value} is {theirs.name!r}"
        if mine.color != theirs.color and mine.color is not None and theirs.color is not None:
            return f"{mine.name!r} is {mine.color} and {theirs.color}"
    return None


def from_file(path: Path) -> LabelSpace:
    """The label space that a file of any kind above says.

    Raises:
        NotThere: there is no such file.
        InvalidAnnotation: a row that is none, no rows, or a name, value or title twice.
        InvalidManifest: a TOML file that is none.
    """
    if path.is_dir():
        raise NotThere("a table of labels is a file", file=path, why="it is a folder", fix="name the file in it")
    with disk_errors(path), open_file(path) as opened:
        content = opened.read(json_text.MOST + 1)
    table = parse(content, path, path.name)
    if not table.rows:
        raise InvalidAnnotation("a table of labels has no rows", file=path, why=f"a row is {_FORMS}")
    return table.label_space()


def remark_void_names(labels: LabelSpace, file: str, findings: Findings) -> None:
    """Count the categories of a dataset's own table that sound like void and count like any other."""
    for category in labels.categories:
        if category.name.lower() in _VOID_NAMES and not category.ignore:
            kind = f"category {category.name!r} of the dataset's own table counts like any other"
            findings.remark(kind, f"{file} (a --classes FILE in TOML can say ignore = true)")


def given(classes: str | Path | Sequence[str]) -> Path | list[str]:
    """What was given for the categories: a file, or their names, as a list or text with commas between them.

    Raises:
        NotThere: it looks like a path, and there is no such file.
    """
    if isinstance(classes, Path) or (isinstance(classes, str) and Path(classes).is_file()):
        return Path(classes)
    names = classes.split(",") if isinstance(classes, str) else list(classes)
    if isinstance(classes, str) and len(names) == 1 and (Path(classes).suffix or "/" in classes):
        why, fix = "it was given as the file of the classes", "check the path of --classes, or give names with commas"
        raise NotThere(f"{classes} does not exist", file=classes, why=why, fix=fix)
    return names


def from_names(names: Sequence[str]) -> LabelSpace:
    """A label space of names alone; their positions are the values.

    Raises:
        InvalidInput: no name, an empty one, or one twice.
    """
    stripped = [name.strip() for name in names]
    if not stripped or not all(stripped):
        why = f"found {', '.join(map(repr, names))}"
        raise InvalidAnnotation("a name of a category is empty", why=why, fix="give NAME,NAME,…")
    return _table("", [Category(name, index) for index, name in enumerate(stripped)]).label_space()


def parse(content: bytes, path: Path, file: str) -> Table:
    """The table of a file; its name tells JSON, TOML and CSV from text.

    Args:
        path: for messages.
        file: see `Table`.

    Raises:
        InvalidAnnotation: see `from_file`.
    """
    ending = file.rpartition(".")[2].lower()
    categories: Iterable[Category]
    if ending == "json":
        categories = _from_json(_json_parts(content.removeprefix(b"\xef\xbb\xbf"), path), path)
    elif ending == "toml":
        categories = _from_toml(content, path)
    elif f".{ending}" in yaml_text.ENDINGS:
        categories = _checked(_from_yaml(yaml_text.parse(content, path), path), path)
    else:
        lines = [
            (f"line {number}", line.strip())
            for number, line in enumerate(_decoded(_limited(content, path)).splitlines(), 1)
            if line.strip() and not line.lstrip().startswith(("#", "//"))
        ]
        is_csv = ending in ("csv", "tsv")
        categories = _checked((_csv if is_csv else _text)(lines, path), path)
    return _table(file, categories, content)


def _from_yaml(document: Mapping[str, Any], path: Path) -> Iterator[_Raw]:
    """Rows of `names`: a list, or numbers with names."""
    names = document.get("names")
    rows = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    for value, name in rows:
        if not isinstance(name, str):
            raise _not_valid(path, f"names[{value}]", f"{name!r:.80}")
        yield f"names[{value}]", str(value), name, None


def _table(file: str, categories: Iterable[Category], content: bytes = b"") -> Table:
    kept = tuple(categories)
    return Table(file, tuple(Row(item.id, item.name, item.color) for item in kept), content, categories=kept)


def _limited(content: Any, path: Path) -> Any:
    """The content of a table, if it is not larger than any."""
    if len(content) > _MOST_BYTES:
        why = f"{len(content):,} bytes; a table of {_LARGEST:,} rows has fewer than {_MOST_BYTES:,}"
        raise InvalidAnnotation("this is larger than any table of labels", file=path, why=why, fix=_FIX)
    return content


def _decoded(content: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 where it begins with its mark; else in Latin-1."""
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


# ---------------------------------------------------------------------- rows


_Raw = tuple[str, str, str, Sequence[str] | None]
"""A row before it is checked: its place, value ("" for its position), name, and the words of its colour or None."""


def _checked(rows: Iterable[_Raw], path: Path) -> Iterator[Category]:
    """Rows as categories."""
    named: dict[str, str] = {}
    valued: dict[int, str] = {}
    for position, (where, value, words, color) in enumerate(rows):
        name = " ".join(words.split())
        number = position if value == "" else _number(value)
        if not name or number is None or number > _LARGEST:
            raise _not_valid(path, where, f"value {value!r} and name {name!r}")
        if name in named:
            raise _not_valid(path, where, f"{name!r} is the name at {named[name]}, too")
        if number in valued:
            raise _not_valid(path, where, f"{number} is the value at {valued[number]}, too")
        named[name] = valued[number] = where
        yield Category(name, number, None if color is None else _color(color, path, where))


def _number(word: str) -> int | None:
    """A whole number, also where it is written 128.0."""
    match = re.fullmatch(r"\s*(\d{1,9})(?:\.0*)?\s*", word)
    return int(match[1]) if match else None


def _color(words: Sequence[str], path: Path, where: str) -> Color:
    numbers = [number for number in map(_number, words) if number is not None and number < 256]
    if len(words) != 3 or len(numbers) != 3:
        raise _not_valid(path, where, f"colour {', '.join(words)!r}: expected R G B, each 0 … 255")
    return numbers[0], numbers[1], numbers[2]


def _not_valid(path: Path, where: str, why: str) -> InvalidAnnotation:
    message = "a row of the table of labels is not valid"
    return InvalidAnnotation(message, file=path, place=where, why=why[:300], fix=_FIX)


# ---------------------------------------------------------------------- text


_TRIPLE = r"[\[(]?\s*(?P<red>\d+)[\s,]+(?P<green>\d+)[\s,]+(?P<blue>\d+)\s*[\])]?"
_COLOR_FIRST = re.compile(rf"{_TRIPLE}[\s,:]+(?P<name>.*\S)")
_COLOR_LAST = re.compile(rf"(?P<name>.*?[^\s,:])[\s,:]+{_TRIPLE}")
_LABELMAP = re.compile(r"(?P<name>[^:]*):(?P<color>[^:]*):[^:]*:.*")
_VALUE_FIRST = re.compile(r"(?P<value>\d+)\s*[:=,;\s]\s*(?P<name>.*\S)")


def _text(lines: Sequence[tuple[str, str]], path: Path) -> list[_Raw]:
    """Rows of a text file, all in one of its forms."""
    lines = [(line, " ".join(text.split())) for line, text in lines]
    if lines and any(_LABELMAP.fullmatch(text) for _, text in lines):
        return [_labelmap_row(line, text, path) for line, text in lines]
    for pattern in (_COLOR_FIRST, _COLOR_LAST):
        matches = [(line, text, pattern.fullmatch(text)) for line, text in lines]
        if any(match for _, _, match in matches):
            rows: list[_Raw] = []
            for line, text, match in matches:
                if match is None:
                    raise _not_valid(path, line, f"other rows have a colour; expected R G B and a name, found {text!r}")
                rows.append((line, "", match["name"], [match["red"], match["green"], match["blue"]]))
            return _with_fourth_number(rows, path) if pattern is _COLOR_FIRST else _with_values(rows)
    if lines and path.name.lower() in WITH_COLORS[:2]:
        line, text = lines[0]
        raise _not_valid(path, line, f"expected R G B and a name, found {text!r}")
    if lines and lines[0][1] == "__ignore__":  # Labelme's name of value -1
        lines = lines[1:]
    return _with_values([(line, "", text, None) for line, text in lines])


def _labelmap_row(line: str, text: str, path: Path) -> _Raw:
    match = _LABELMAP.fullmatch(text)
    if match is None:
        raise _not_valid(path, line, f"expected NAME:R,G,B:parts:actions, found {text!r}")
    color = match["color"].strip()
    words = color.split(",")
    if color and len(words) != 3:
        raise _not_valid(path, line, f"expected NAME:R,G,B:parts:actions, found {text!r}")
    return line, "", match["name"], words if color else None


def _with_values(rows: list[_Raw]) -> list[_Raw]:
    """Rows whose names all begin with a number of their own have it as their value."""
    matches = [match for match in (_VALUE_FIRST.fullmatch(name) for _, _, name, _ in rows) if match is not None]
    if len({match["value"] for match in matches}) < len(rows):
        return rows
    return [
        (line, match["value"], match["name"], color) for (line, _, _, color), match in zip(rows, matches, strict=True)
    ]


def _with_fourth_number(rows: list[_Raw], path: Path) -> list[_Raw]:
    """Rows that begin with four numbers: value R G B where the first are all different, R G B 255 with opacity."""
    matches = [match for match in (_VALUE_FIRST.fullmatch(name) for _, _, name, _ in rows) if match is not None]
    if len(matches) < len(rows):
        return rows
    if all(match["value"] == "255" for match in matches):
        return [(line, "", match["name"], color) for (line, _, _, color), match in zip(rows, matches, strict=True)]
    firsts = [int(color[0]) if color else 0 for *_, color in rows]
    if firsts != sorted(set(firsts)) or firsts[0] > 1:
        raise _not_valid(path, rows[0][0], f"four numbers before a name: {' '.join(rows[0][3] or ())} {rows[0][2]}")
    return [
        (line, str(first), match["name"], [*(color or ())[1:], match["value"]])
        for (line, _, _, color), first, match in zip(rows, firsts, matches, strict=True)
    ]


# ---------------------------------------------------------------------- CSV, JSON, TOML


_TITLES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "class", "label", "class_name", "classname", "category", "names", "classes", "label_name"),
    "value": ("value", "pixel value", "id", "class_id", "index", "label_id", "pixel", "pixel_value", "train_id"),
    "red": ("r", "red"),
    "green": ("g", "green"),
    "blue": ("b", "blue"),
    "color": ("color", "colour", "rgb", "color_rgb", "hex"),
}


def _csv(lines: Sequence[tuple[str, str]], path: Path) -> list[_Raw]:
    """Rows of a CSV file, with or without a row of titles."""
    if not lines:
        return []
    separator = max(",;\t", key=lines[0][1].count)
    cells = [(line, _cells(line, text, separator, path)) for line, text in lines]
    titles = [cell.lower() for cell in cells[0][1]]
    columns = {
        kind: next((titles.index(name) for name in names if name in titles), -1) for kind, names in _TITLES.items()
    }
    has_titles = columns["name"] >= 0 and (len(titles) > 1 or len(cells) > 1)
    if not has_titles:
        return _text([(line, " ".join(row)) for line, row in cells], path)
    rows: list[_Raw] = []
    for line, row in cells[1:]:
        if len(row) < len(titles):
            raise _not_valid(path, line, f"{len(row)} of {len(titles)} columns: {', '.join(row)}")
        color = [row[columns[kind]] for kind in ("red", "green", "blue")] if columns["red"] >= 0 else None
        if columns["color"] >= 0:
            color = _words(row[columns["color"]])
        value = row[columns["value"]] if columns["value"] >= 0 else ""
        if columns["value"] >= 0 and not value:
            raise _not_valid(path, line, "it has no value")
        rows.append((line, value, row[columns["name"]], color))
    return rows


def _cells(line: str, text: str, separator: str, path: Path) -> list[str]:
    """The cells of a line of CSV."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator))]
    except csv.Error as error:
        raise _not_valid(path, line, str(error)) from error


def _words(color: object) -> list[str] | None:
    """The three words of a colour: [r, g, b], "r g b", "(r, g, b)" or "#rrggbb"; None for nothing."""
    if color is None or color == "":
        return None
    if isinstance(color, (list, tuple)):
        return [str(item) for item in color]
    text = str(color).strip()
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        return [str(int(text.lstrip("#")[start : start + 2], 16)) for start in (0, 2, 4)]
    return re.findall(r"[^\s,;()\[\]]+", text)


_LISTS = ("label_map", "labels", "classes", "categories", "names", "class_names")


def _json_parts(content: bytes, path: Path) -> Any:
    """A document; of an object with a list under one of its titles, only that and the colours."""
    if content.lstrip()[:1] == b"{":
        top = json_text.decode(content, dict[str, Raw], path)
        names = [name for name in _LISTS if name in top and bytes(top[name]).lstrip()[:1] in (b"[", b"{")]
        if names:
            names += [name for name in ("segmentation_colors",) if name in top]
            return {name: json_text.decode(_limited(top[name], path), Any, path) for name in names}
    return json_text.decode(_limited(content, path), Any, path)


def _from_json(document: Any, path: Path) -> Iterator[Category]:
    """A list of names or of objects with a name, {value: name} or {name: value}, or one of these under its title."""
    colors: Any = None
    if isinstance(document, dict):
        colors = document.get("segmentation_colors")
        inner = next((document[title] for title in _LISTS if isinstance(document.get(title), (list, dict))), None)
        if inner is not None:
            document = inner
    if isinstance(document, dict):
        is_by_value = all(_number(key) is not None for key in document)
        pairs = document.items() if is_by_value else ((value, name) for name, value in document.items())
        document = [{"value": value, "name": name} for value, name in pairs]
    if not isinstance(document, list) or not document:
        raise InvalidAnnotation("a table of labels has no rows", file=path, why="expected a list of names", fix=_FIX)
    rows: list[_Raw] = []
    for index, item in enumerate(document):
        fields = {str(key).lower(): value for key, value in item.items()} if isinstance(item, dict) else {"name": item}
        name = _first(fields, _TITLES["name"])
        value = _first(fields, _TITLES["value"])
        if not isinstance(name, str) or isinstance(value, bool):
            raise _not_valid(
                path, f"$[{index}]", f"expected a name, or an object with name, id and color: {item!r}"[:200]
            )
        color = _words(_first(fields, _TITLES["color"]))
        if color is None and isinstance(colors, list) and index < len(colors):
            color = _words(colors[index])
        rows.append((f"$[{index}]", "" if value is None else str(value), name, color))
    return _checked(rows, path)


def _first(fields: Mapping[str, Any], titles: Sequence[str]) -> Any:
    return next((fields[title] for title in titles if fields.get(title) is not None), None)


class _Label(Struct, forbid_unknown_fields=True, kw_only=True):
    """A row of `labels` in a TOML file."""

    name: str
    id: Annotated[int, Meta(ge=-1, le=_LARGEST)] | None = None
    color: tuple[Byte, Byte, Byte] | None = None
    isthing: bool | None = None
    supercategory: str | None = None
    ignore: bool = False


def _from_toml(content: bytes, path: Path) -> list[Category]:
    """`labels` as in a manifest; rows may be names alone, and may leave out their ids."""
    labels = documents.parse_toml(content, path).get("labels")
    if not isinstance(labels, list) or not labels:
        raise InvalidAnnotation(
            "a table of labels has no rows", file=path, place="labels", why="expected a list of tables", fix=_FIX
        )
    categories = []
    for index, item in enumerate(labels):
        fields = item if isinstance(item, dict) else {"name": item}
        row = documents.typed_table(fields, _Label, str(path), f"labels[{index}]")
        number = index if row.id is None else row.id
        categories.append(Category(row.name, number, row.color, row.isthing, row.supercategory, row.ignore))
    try:
        return list(LabelSpace(path.stem, tuple(categories)).categories)
    except SegdataError as error:
        raise error.located(file=path) from error
