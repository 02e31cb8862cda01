"""Samples as a static HTML page, and what notebooks show of samples, packs and folders."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segdata.core import sample as core
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.errors import UsageError
from segdata.system.files import write_whole
from segdata.viz import html
from segdata.viz import overlay as draw
from segdata.viz.overlay import Look, Picture

_WIDTH = 720
"""Widest picture of the page, in pixels."""
_FIRST = 6
"""Samples of a pack that a notebook shows."""


def page(samples: Sequence[Sample], labels: LabelSpace, *, title: str, note: str = "", look: Look | None = None) -> str:
    """A self-contained page: one legend with counts, then every sample with its key, size and categories."""
    return html.page(title, [html.note(note), *_parts(samples, labels, look or Look())])


def save(
    samples: Sequence[Sample], labels: LabelSpace, path: Path, *, title: str, note: str = "", look: Look | None = None
) -> None:
    """Write the page of `page`.

    Raises:
        UsageError: the name does not end in .html.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError("a page is an HTML file", file=path, fix=f"--html {path}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page(samples, labels, title=title, note=note, look=look).encode("utf-8", "replace"))


def _parts(samples: Sequence[Sample], labels: LabelSpace, look: Look) -> Iterable[str]:
    rows = draw.legend_rows(samples, labels, look)
    yield html.legend(rows)
    pictures = (
        html.picture(_jpeg(draw.overlay_of(sample, labels, look)), _about(sample, labels), kind="jpeg")
        for sample in samples
    )
    yield html.row(pictures, least=22)


def _about(sample: Sample, labels: LabelSpace) -> str:
    counts = np.bincount(sample.instances.category, minlength=len(labels))
    order = np.argsort(-counts, kind="stable").tolist()
    named = [f"{counts[index]} {labels[index].name}" for index in order if counts[index]]
    return f"{sample.key}: {sample.width} × {sample.height}" + (f"; {', '.join(named)}" if named else "")


def _jpeg(picture: Picture) -> bytes:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((_WIDTH, 4 * _WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


# ---------------------------------------------------------------------- notebooks


def of_sequence(samples: Sequence[Sample], labels: LabelSpace, title: str) -> str:
    """The first samples of a pack or folder, for a notebook."""
    shown = [samples[index] for index in range(min(_FIRST, len(samples)))]
    more = "" if len(shown) == len(samples) else f", the first {len(shown)}"
    return f"<p>{html.text(title)}{more}</p>{html.STYLE_OF_ROWS}{''.join(_parts(shown, labels, Look()))}"


def _png(sample: Sample) -> bytes:
    """A sample's picture; of categories that it does not know by name, with their numbers."""
    labels = sample.labels or _numbered(sample)
    return draw.png(draw.overlay(sample, labels))


def _numbered(sample: Sample) -> LabelSpace:
    highest = int(sample.instances.category.max(initial=0))
    if sample.semantic is not None:
        values = sample.semantic[sample.semantic != np.iinfo(sample.semantic.dtype).max]
        highest = max(highest, int(values.max(initial=0)))
    return LabelSpace("numbers", tuple(Category(f"category {index}", index) for index in range(highest + 1)))


core.PICTURES.append(_png)
