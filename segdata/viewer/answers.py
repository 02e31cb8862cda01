"""Answers of the server: JSON, bytes, and errors with the HTTP status that they have."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from segdata.errors import DamagedData, InvalidInput, NotThere, SegdataError, Unsafe, UsageError
from segdata.viewer.guard import Refused, error_document

_STATUS: tuple[tuple[type[SegdataError], int], ...] = (
    (UsageError, 400),
    (NotThere, 404),
    (InvalidInput, 422),
    (DamagedData, 422),
    (Unsafe, 422),
)
"""Error → HTTP status; the first that fits, else 500."""


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document; NaN is null, and texts are written in ASCII."""
    text = json.dumps(_finite(document), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers=headers, media_type="application/json")


def bytes_answer(data: bytes, kind: str = "application/octet-stream", **headers: str) -> Response:
    """Bytes of a kind."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(data, headers={"Content-Type": kind, **names})


def error_answer(error: Exception) -> Response:
    """An error as JSON."""
    if isinstance(error, Refused):
        return json_answer(error_document(error), error.status, error.headers)
    if isinstance(error, SegdataError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return json_answer(error_document(error), status)
    logging.getLogger(__name__).error("a request was not answered", exc_info=error)
    return json_answer({"error": {"message": f"unexpected {type(error).__name__}: {error}"[:500]}}, 500)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
