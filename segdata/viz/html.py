"""Build self-contained HTML pages, without scripts: headings, tables, images and charts, all inside the file.

Text from data is escaped; a Content-Security-Policy in the page's head forbids the browser to load or run anything.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence

from segdata.errors import printable

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #23272e; max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.note { color: #6b7280; margin: .2rem 0 1rem; }
table { border-collapse: collapse; font-size: .88rem; margin: .6rem 0; }
th, td { text-align: left; padding: .22rem .9rem .22rem 0; border-bottom: 1px solid #e4e7eb; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } .row { display: grid; gap: 1.2rem; align-items: start; }
.row > div { min-width: 0; max-width: 56rem; }
figure { margin: .6rem 0; } figcaption { color: #6b7280; font-size: .85rem; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; border-radius: 3px; } svg { max-width: 100%; height: auto; }
.row svg { width: 100%; }
details > summary { cursor: pointer; color: #3b6ea8; overflow-wrap: anywhere; }
td.share { background: linear-gradient(90deg, #dbe6f3 var(--share), transparent var(--share)); padding-left: .5rem; }
.figures { border: 1px solid #e4e7eb; border-radius: 8px; padding: .7rem 1rem; margin: .8rem 0; }
.figures h3 { font-size: .95rem; margin: 0 0 .5rem; }
.figures div { display: flex; flex-wrap: wrap; gap: .7rem 1.7rem; }
.figures b { display: block; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures b { color: #23272e; } .figures span { color: #6b7280; font-size: .82rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.1rem; font-size: .9rem; margin: .6rem 0; }
.facts dt { color: #6b7280; } .facts dd { margin: 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .88rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; border-radius: 2px; vertical-align: -1px; }
.legend small { color: #6b7280; }
.tall { max-height: 38rem; overflow-y: auto; } .tall th { position: sticky; top: 0; background: #fff; }
"""

STYLE_OF_ROWS = (
    "<style>" + "\n".join(line for line in _STYLE.splitlines() if line.startswith((".row", ".legend"))) + "</style>"
)
"""The rules of rows and legends alone, for a part that stands in somebody else's page."""

TALL = 30
"""A table with more rows gets a scroll bar of its own."""

Cell = str | float | int | None


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document; `parts` are results of the functions below."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{text(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def text(value: object, most: int = 400) -> str:
    """Escape a value for the page: control and bidirectional characters become visible, long text is cut."""
    shown = printable(value)
    return html.escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")


def heading(title: str) -> str:
    """A section heading."""
    return f"<h2>{text(title)}</h2>"


def note(words: str) -> str:
    """A line in grey."""
    return f'<p class="note">{text(words, 2000)}</p>'


def figures(title: str, numbers: Iterable[tuple[str, Cell]]) -> str:
    """A framed box of a few (name, number) pairs in large type."""
    cells = "".join(f"<span><b>{text(share(value))}</b>{text(name)}</span>" for name, value in numbers)
    return f'<section class="figures"><h3>{text(title)}</h3><div>{cells}</div></section>'


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, bars: bool = False) -> str:
    """A table; columns of numbers are aligned to the right, None is "n/a".

    Args:
        bars: write floats with three decimals, and draw a bar behind those from 0 to 1.
    """
    rows = list(rows)
    is_number = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]

    def cell(tag: str, value: Cell, column: int) -> str:
        kind = ' class="number"' if is_number[column] else ""
        if bars and isinstance(value, float) and 0 <= value <= 1:
            kind = f' class="number share" style="--share:{100 * value:.1f}%"'
        return f"<{tag}{kind}>{text(share(value) if bars else number(value))}</{tag}>"

    lines = ["".join(cell("td", value, column) for column, value in enumerate(row)) for row in rows]
    head = "".join(cell("th", value, column) for column, value in enumerate(header))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    size = "wide tall" if len(rows) > TALL else "wide"
    return f'<div class="{size}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def number(value: Cell) -> str:
    """A value as text, floats with 4 significant digits (a table's cells); None, NaN and infinity are "n/a"."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "n/a"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def share(value: Cell) -> str:
    """A value as text, floats with 3 decimals (metrics); all else as `number` gives it."""
    return f"{value:.3f}" if isinstance(value, float) and math.isfinite(value) else number(value)


def picture(data: bytes, caption: str = "", *, kind: str = "png") -> str:
    """An image embedded in the page; `kind` is "png" or "jpeg"."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<figure><img src="{source}" alt="{text(caption)}"><figcaption>{text(caption)}</figcaption></figure>'


def legend(rows: Iterable[tuple[tuple[int, int, int] | None, str, str]]) -> str:
    """Colours (None for a heading), names and numbers, side by side."""
    items = []
    for color, name, value in rows:
        swatch = "" if color is None else f'<i style="background:rgb{color}"></i>'
        items.append(f"<span>{swatch}{text(name)} <small>{text(value)}</small></span>")
    return f'<p class="legend">{"".join(items)}</p>'


def row(items: Iterable[str], *, least: int = 26) -> str:
    """Parts side by side, as far as the page is wide enough; each at least so many rem (16 pixels) wide."""
    style = f"grid-template-columns:repeat(auto-fit,minmax(min({least}rem,100%),1fr))"
    return f'<div class="row" style="{style}">{"".join(f"<div>{item}</div>" for item in items)}</div>'


def facts(rows: Iterable[tuple[str, Cell]]) -> str:
    """Names and values of a page's head; rows without value are left out."""
    items = "".join(
        f"<dt>{text(name)}</dt><dd>{text(number(value))}</dd>" for name, value in rows if value not in (None, "")
    )
    return f'<dl class="facts">{items}</dl>'


def folded(summary: str, parts: Iterable[str], *, is_open: bool = False) -> str:
    """Parts under a summary line that opens and closes them (`<details>`)."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{text(summary)}</summary>{''.join(parts)}</details>"
