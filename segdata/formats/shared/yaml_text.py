"""YAML files of datasets: plain lists, mappings and texts, with nothing that could grow or run.

Every scalar stays the text that it is, so that a class called `no` is not False and `1.0` is not 1. Aliases are refused: a
few lines of them stand for billions of entries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from segdata.errors import InvalidAnnotation, Unsafe

ENDINGS = (".yaml", ".yml")
MOST_BYTES = 1 << 20
_MOST_LEVELS = 20


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; keys and scalars are texts.

    Raises:
        Unsafe: larger than 1 MB, an alias, or nested deeper than 20 levels.
        InvalidAnnotation: no YAML, several documents, or no mapping.
    """
    if len(content) > MOST_BYTES:
        raise Unsafe("this YAML file is larger than any of a dataset", file=path, why=f"more than {MOST_BYTES:,} bytes")
    try:
        _check(content, path)
        document = yaml.load(content, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidAnnotation(
            "this is no YAML",
            file=path,
            place=f"line {mark.line + 1}, column {mark.column + 1}" if mark else None,
            why=str(getattr(error, "problem", None) or error)[:200],
            fix="correct the file",
        ) from error
    except ValueError as error:  # bytes of no encoding
        raise InvalidAnnotation("this is no YAML", file=path, why=str(error)[:200], fix="save it as UTF-8") from error
    if not isinstance(document, dict):
        raise InvalidAnnotation(
            "this YAML file holds no keys with values", file=path, why=f"found {type(document).__name__}"
        )
    return document


_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def _check(content: bytes, path: Path) -> None:
    """Refuse what must not be built, before anything is."""
    level = 0
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise Unsafe(
                "a YAML alias is not followed",
                file=path,
                place=f"line {event.start_mark.line + 1}",
                why=f"*{event.anchor} may stand for any number of entries",
                fix="write out what it stands for",
            )
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > _MOST_LEVELS:
            raise Unsafe("this YAML file is nested too deeply", file=path, why=f"more than {_MOST_LEVELS} levels")


def compose(document: dict[str, Any]) -> str:
    """A mapping as YAML, in its order; what other readers would take for another type is quoted."""
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text
