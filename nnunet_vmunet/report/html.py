"""The HTML of a report: one file with its pictures inside, which a browser shows and prints without a network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #cfd8e0; padding-bottom: .2rem; }
.under { color: #555; margin-top: .2rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; vertical-align: top; }
th { border-bottom: 1px solid #999; font-weight: 600; }
th:first-child, td:first-child, .facts td { text-align: left; }
.facts td:first-child { color: #555; white-space: nowrap; }
td { overflow-wrap: anywhere; }
.note { color: #555; font-size: .9rem; }
figure { margin: 1rem 0; break-inside: avoid; }
figcaption { color: #555; font-size: .9rem; }
img { max-width: 100%; max-height: 36rem; }
.cases { display: flex; flex-wrap: wrap; gap: 1rem; }
.cases figure { flex: 1 1 24rem; margin: 0; max-width: 30rem; }
details { margin: .6rem 0; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } details { display: none; }
  h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""


def page(title: str, under: str, sections: Iterable[str]) -> str:
    """The whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        f'</head>\n<body>\n<h1>{escape(title)}</h1>\n<p class="under">{escape(under)}</p>\n'
        f"{''.join(sections)}</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def paragraph(text: str, *, is_note: bool = False) -> str:
    return f"<p{' class=note' * is_note}>{escape(text)}</p>\n"


def facts(pairs: Mapping[str, object]) -> str:
    """A table of names and values; what is None is left out."""
    rows = (
        f"<tr><td>{escape(name)}</td><td>{escape(str(v))}</td></tr>\n" for name, v in pairs.items() if v is not None
    )
    return f'<table class="facts">\n{"".join(rows)}</table>\n'


def table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the heading."""
    heading, *others = rows
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in others)
    return f"<table>\n<tr>{cells}</tr>\n{body}</table>\n"


def picture(file: Path, caption: str) -> str:
    """A PNG or JPEG inside the page."""
    kind = "png" if file.suffix == ".png" else "jpeg"
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return (
        f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def side_by_side(pictures: Iterable[str]) -> str:
    return f'<div class="cases">\n{"".join(pictures)}</div>\n'


def folded(summary: str, text: str) -> str:
    """Text that a click shows; it is not printed."""
    return f"<details><summary>{escape(summary)}</summary><p>{escape(text)}</p></details>\n"
