"""One HTML page that needs no network and runs no script: headings, tables, pictures and charts, all inside the file.

Every text that comes from data is escaped; a policy in the page's head forbids the browser to load or run anything.
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
.wide { overflow-x: auto; } .row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
figure { margin: .6rem 0; } figcaption { color: #6b7280; font-size: .85rem; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; border-radius: 3px; } svg { max-width: 100%; height: auto; }
details > summary { cursor: pointer; color: #3b6ea8; }
"""

Cell = str | float | int | None


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document; `parts` are made by the functions below."""
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
    """A value as text of the page: escaped, control and bidirectional characters shown, cut when very long."""
    shown = printable(value)
    return html.escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")


def heading(title: str) -> str:
    """A section's title."""
    return f"<h2>{text(title)}</h2>"


def note(words: str) -> str:
    """A line in grey."""
    return f'<p class="note">{text(words, 2000)}</p>'


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table; numbers are set to the right, None is "n/a"."""
    rows = list(rows)
    is_number = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]

    def cell(tag: str, value: Cell, place: int) -> str:
        kind = ' class="number"' if is_number[place] else ""
        return f"<{tag}{kind}>{text(number(value))}</{tag}>"

    lines = ["".join(cell("td", value, place) for place, value in enumerate(row)) for row in rows]
    head = "".join(cell("th", value, place) for place, value in enumerate(header))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def number(value: Cell) -> str:
    """A cell's value for people."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "n/a"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def picture(data: bytes, caption: str = "", *, kind: str = "png") -> str:
    """A PNG or JPEG inside the page."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<figure><img src="{source}" alt="{text(caption)}"><figcaption>{text(caption)}</figcaption></figure>'


def row(items: Iterable[str]) -> str:
    """Parts side by side while there is room."""
    return f'<div class="row">{"".join(f"<div>{item}</div>" for item in items)}</div>'


def folded(summary: str, parts: Iterable[str]) -> str:
    """Parts that are shown when somebody asks for them."""
    return f"<details><summary>{text(summary)}</summary>{''.join(parts)}</details>"
