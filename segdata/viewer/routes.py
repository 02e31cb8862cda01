"""The addresses of the server, and what stands behind each; docs/view.md lists them for other programs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from segdata.errors import SegdataError, UsageError, number_of
from segdata.viewer import pictures, wire
from segdata.viewer.answers import bytes_answer, error_answer, json_answer
from segdata.viewer.background import Pending
from segdata.viewer.guard import VERSION, Refused
from segdata.viewer.index import sort_of
from segdata.viewer.matching.whole import Thresholds
from segdata.viewer.session import Session

_STATIC = Path(__file__).parent / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
"""Endings of files that the page is made of, and of nothing else."""

_MOST_TILES = 256
_SIDES = ("truth", "predictions", "other")
_WORST = ("f1", "iou", "pq", "miou")
_MOST_OBJECTS = 2000
"""Objects whose records one answer has."""

Answer = Callable[[Session, Request], Any]


class Routes:
    """The application without its guard.

    Args:
        session: what is shown.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._threads = ThreadPoolExecutor(2, "queries")
        self._files = {
            path.relative_to(_STATIC).as_posix(): path
            for path in sorted(_STATIC.rglob("*"))
            if path.suffix in _KINDS and path.is_file()
        }
        routes = [Route("/", self._page), Route("/static/{name:path}", self._page)]
        routes += [Route(f"/api/{name}", self._answered(answer)) for name, answer in ANSWERS.items()]
        if session.editing is not None:
            routes += [Route("/api/edits", self._answered_later(_edit), methods=["POST"])]
            routes += [Route("/api/tool/{name:str}", self._answered_later(_propose), methods=["POST"])]
        routes += [
            Route("/api/thumb/{i:int}", self._answered_later(_thumb)),
            Route("/api/image/{i:int}", self._answered_later(_image)),
        ]
        self.app = Starlette(
            routes=routes,
            exception_handlers={
                404: lambda request, error: error_answer(_no_address()),
                405: lambda request, error: error_answer(_only_sent_to(request)),
            },
        )
        self.app.router.redirect_slashes = False

    def close(self) -> None:
        """Answer nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _page(self, request: Request) -> Response:
        """A file of the page, by a name from the table of those that there were at the start."""
        path = self._files.get(request.path_params.get("name", "index.html"))
        if path is None:
            return error_answer(_no_address())
        data = path.read_bytes()
        return _with_tag(request, hashlib.sha256(data).hexdigest()[:32]) or bytes_answer(
            data, _KINDS[path.suffix], ETag=_tag(hashlib.sha256(data).hexdigest()[:32]), Cache_Control="no-cache"
        )

    def _answered(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """An answer that is computed in a thread."""

        async def later(session: Session, request: Request) -> Any:
            compute = partial(answer, session, request)
            return await asyncio.get_running_loop().run_in_executor(self._threads, compute)

        return self._answered_later(later, is_first=answer is _pack)

    def _answered_later(
        self, answer: Callable[[Session, Request], Awaitable[Any]], *, is_first: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            session = self._session
            try:
                session.require_current(session.version if is_first else request.query_params.get("v", ""))
                result = await answer(session, request)
                response = result if isinstance(result, Response) else json_answer(result)
            except Pending as pending:
                response = json_answer({"progress": pending.progress}, 202)
            except Exception as error:
                response = error_answer(_read_further(error))
            response.headers[VERSION] = session.version
            return response

        return endpoint


def _no_address() -> Refused:
    return Refused(404, "there is no such address")


def _only_sent_to(request: Request) -> Refused:
    """Of an address that changes or makes something."""
    return Refused(405, f"{request.method[:20]} is not answered here", fix="send JSON with POST", allow="POST")


def _read_further(error: Exception) -> Exception:
    """Files that vanish while they are read are none of the page's mistakes."""
    return Refused(410, f"a file cannot be read: {error.strerror}") if isinstance(error, OSError) else error


def _tag(text: str) -> str:
    return f'"{text}"'


def _with_tag(request: Request, text: str) -> Response | None:
    """An answer without content, where the browser has it already."""
    if request.headers.get("if-none-match") == _tag(text):
        return Response(status_code=304, headers={"ETag": _tag(text), "Cache-Control": "no-cache"})
    return None


# ---------------------------------------------------------------------- the pack


def _pack(session: Session, request: Request) -> Any:
    return session.document


def _ids(session: Session, request: Request) -> Response:
    """Numbers of the samples that a query means, in order."""
    tag = hashlib.sha256(f"{session.version}-{session.edits}?{request.url.query}".encode()).hexdigest()[:32]
    if (same := _with_tag(request, tag)) is not None:
        return same
    sort, is_falling = sort_of(request.query_params.get("sort", "index"), session.sorts)
    meant = _meant(session, request)
    numbers = np.arange(len(session.index)) if meant is None else np.flatnonzero(meant)
    values = session.values(sort, _thresholds(request))
    numbers = session.index.ordered(numbers, values, is_falling=is_falling)
    total = str(len(numbers))
    return bytes_answer(wire.numbers(numbers), ETag=_tag(tag), Cache_Control="no-cache", X_Segdata_Total=total)


def _meant(session: Session, request: Request) -> Any:
    """(N,) bool, the images that the query of a request means; None for all."""
    where = request.query_params.get("where", "").strip()
    at = _thresholds(request)
    meant = session.matching(where, at) if where else None
    cell = request.query_params.get("cell")
    if cell is None:
        return meant
    has_cell = session.require_comparison().has_cell(*_cell(cell, len(session.pack.labels)), at)
    return has_cell if meant is None else meant & has_cell


def _thresholds(request: Request) -> Thresholds:
    """The IoU and the score of a request."""
    values = {}
    for name in ("iou", "score"):
        if text := request.query_params.get(name, ""):
            try:
                values[name] = float(text)
            except ValueError:
                values[name] = np.nan
            if not 0 <= values[name] <= 1:
                raise UsageError(f"{name} is {text[:40]!r}", why="expected a number from 0 to 1")
    return Thresholds(**values)


def _cell(text: str, categories: int) -> tuple[int | None, int | None]:
    """The row and the column of a cell of the matrix; None stands for nothing."""
    words = text.split(",")
    names = {"none": None, **{str(index): index for index in range(categories)}}
    if len(words) != 2 or not all(word in names for word in words):
        raise UsageError(f"cell is {text[:40]!r}", why="expected two numbers of categories, or none, as in 3,none")
    return names[words[0]], names[words[1]]


def _facets(session: Session, request: Request) -> Any:
    meant = _meant(session, request)
    compared = session.comparison
    nothing = dict.fromkeys(("tp", "fp", "fn"))
    return session.facets(meant) | (nothing if compared is None else compared.totals(meant, _thresholds(request)))


def _tiles(session: Session, request: Request) -> Any:
    words = [word for word in request.query_params.get("ids", "").split(",") if word]
    if len(words) > _MOST_TILES:
        raise Refused(413, f"more than {_MOST_TILES} tiles at once")
    if not all(word.isdecimal() and len(word) < 12 for word in words):
        raise UsageError("ids are numbers of samples with commas between them")
    at = _thresholds(request)
    return [session.tile(int(word), at) for word in words]


def _find(session: Session, request: Request) -> Any:
    return {"ids": session.index.find(request.query_params.get("text", "").strip())}


# ---------------------------------------------------------------------- one sample


def _number(request: Request) -> int:
    return int(request.path_params["i"])


async def _thumb(session: Session, request: Request) -> Response:
    text = request.query_params.get("side", "160")
    if not text.isdecimal() or len(text) > 5 or int(text) not in pictures.SIDES:
        sides = pictures.SIDES
        raise UsageError(f"side is {text[:20]!r}", why=f"expected {sides.start} … {sides.stop - 1} pixels")
    side = int(text)
    return await _picture(session, request, f"thumb-{side}", lambda sample: pictures.thumbnail(sample, side))


async def _image(session: Session, request: Request) -> Response:
    if request.query_params.get("exact") == "1":
        return await _picture(session, request, "exact", pictures.exact_picture, "image/png")
    return await _picture(session, request, "image", pictures.picture)


async def _picture(
    session: Session, request: Request, kind: str, make: Callable[[Any], bytes], media: str = "image/jpeg"
) -> Response:
    number = _number(request)
    sample = session.truth(number)
    if session.pack.info["images"] == "none":
        fix = "convert again with --images embed or --images reference"
        raise Refused(404, "the pack was made without images", fix=fix)
    tag = f"{session.version}-{kind}-{number}"
    if (same := _with_tag(request, tag)) is not None:
        return same
    try:
        data = await session.pictures.get((kind, number), lambda: make(sample), request.is_disconnected)
    except SegdataError as error:
        raise error.located(place=session.pack.place(number), key=sample.key) from error
    if data is None:
        return Response(status_code=499)
    return bytes_answer(data, media, ETag=_tag(tag), Cache_Control="private, no-cache")


def _side(session: Session, request: Request) -> Any:
    """The sample that is asked for, as annotated or as predicted."""
    side = request.query_params.get("of", "truth")
    if side not in _SIDES:
        raise UsageError(f"of is {side[:40]!r}", why=f"it can be {', '.join(_SIDES[:-1])} or {_SIDES[-1]}")
    number = _number(request)
    return session.annotated(number) if side == "truth" else session.predicted(number, by_other=side == "other")


def _last(session: Session, request: Request) -> dict[str, str]:
    """The number of the last correction of the sample that is asked for, as a header."""
    return {} if session.editing is None else {"X_Segdata_Edits": str(session.editing.last(_number(request)))}


def _masks(session: Session, request: Request) -> Response:
    last = _last(session, request)  # before the masks: a page that has older ones is refused
    return bytes_answer(wire.masks(_side(session, request)), **last)


def _semantic(session: Session, request: Request) -> Response:
    sample = _side(session, request)
    if sample.semantic is None:
        raise Refused(404, "this sample has no label map")
    data, size = wire.label_map(sample.semantic)
    return bytes_answer(data, Content_Encoding="gzip", X_Segdata_Size=size, **_last(session, request))


def _sample(session: Session, request: Request) -> Any:
    number = _number(request)
    sample = session.annotated(number)
    instances = sample.instances
    count = min(len(instances), _MOST_OBJECTS)
    codec = session.codec(number)
    return session.tile(number, _thresholds(request)) | {
        "file": sample.file,
        "codec": codec,
        "bytes": session.pack.image_bytes(number),
        "extra": dict(sample.extra),
        "objects": [
            {"id": int(instances.id[row]), "category": int(instances.category[row]), "extra": instances.extra[row]}
            for row in range(count)
        ],
        "more": number_of(len(instances) - count, "object") if len(instances) > count else None,
        "panoptic": sample.has_semantic and sample.has_instances,
    }


# ---------------------------------------------------------------------- comparison and statistics


def _matches(session: Session, request: Request) -> Any:
    number = _number(request)
    session.truth(number)
    is_other = request.query_params.get("of", "predictions") == "other"
    compared = session.require_other() if is_other else session.require_comparison()
    return compared.of_image(number, _thresholds(request))


def _compared(session: Session, request: Request) -> Any:
    """Predictions beside the other ones: where which is better, and what both count."""
    other = session.require_other()
    return session.require_comparison().compared_with(other, _meant(session, request), _thresholds(request))


def _confusion(session: Session, request: Request) -> Any:
    return session.require_comparison().confusion(_meant(session, request), _thresholds(request))


def _worst(session: Session, request: Request) -> Any:
    """The images with the smallest values of one number."""
    by, count = request.query_params.get("by", "f1"), request.query_params.get("n", "20")
    if by not in _WORST or not (count.isdecimal() and len(count) < 5):
        raise UsageError("there are no such worst images", why=f"by is one of {', '.join(_WORST)}, n a number")
    values = session.require_comparison().columns(_thresholds(request))["image", by]
    numbers = session.index.ordered(np.flatnonzero(~np.isnan(values)), values, is_falling=False)[: int(count)]
    return [{"i": int(i), "key": session.pack.key(int(i)), "value": float(values[i])} for i in numbers]


def _statistics(session: Session, request: Request) -> Any:
    return session.statistics()


# ---------------------------------------------------------------------- corrections


def _edits(session: Session, request: Request) -> Any:
    session.truth(_number(request))
    return session.require_editing().edits(_number(request))


async def _edit(session: Session, request: Request) -> Response:
    """Write an edit."""
    editing, body = session.require_editing(), await request.body()
    number, after, fields = editing.parsed(body)
    session.truth(number)
    if fields.get("op") == "accept" and "frame" not in fields and type(fields.get("prediction")) is int:
        fields |= session.accepted(number, fields["prediction"])
    edit = await asyncio.get_running_loop().run_in_executor(editing.threads, editing.append, number, fields, after)
    if edit is None:
        error = {"message": "another page has changed this image meanwhile", "fix": "look at what it did, and go on"}
        return json_answer({"error": error, **editing.edits(number)}, 409)
    return json_answer({"n": edit.n})


async def _propose(session: Session, request: Request) -> Response:
    """A mask that a tool proposes."""
    editing, body = session.require_editing(), await request.body()
    name = request.path_params["name"]
    number, ask = editing.asked(name, body)
    sample = session.truth(number)

    def propose() -> bytes:
        return wire.masks(editing.proposed(name, ask, number, sample))

    if await request.is_disconnected():
        return Response(status_code=499)
    return bytes_answer(await asyncio.get_running_loop().run_in_executor(editing.threads, propose))


ANSWERS: dict[str, Answer] = {
    "edits/{i:int}": _edits,
    "pack": _pack,
    "ids": _ids,
    "facets": _facets,
    "tiles": _tiles,
    "find": _find,
    "masks/{i:int}": _masks,
    "semantic/{i:int}": _semantic,
    "sample/{i:int}": _sample,
    "matches/{i:int}": _matches,
    "compared": _compared,
    "confusion": _confusion,
    "worst": _worst,
    "statistics": _statistics,
}
"""Address under /api/ → what answers it, in a thread."""
