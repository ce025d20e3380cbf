"""Parts of the pages that runs leave: one style, tables, the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #5b6770; --paper: #ffffff; --block: #f5f7fa; --line: #d9e2ec;
  --rule: #9fb3c8; --accent: #22668c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #a3b1bf; --paper: #14191f; --block: #1d242c;
  --line: #36424e; --rule: #5b6b7c; --accent: #5ba9d6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: .8rem 0 .2rem; }
p { max-width: 46rem; } .note { color: var(--soft); font-size: .87rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem; } a { color: var(--accent); }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; display: block;
  max-width: 100%; overflow-x: auto; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th { border-bottom: 1px solid var(--rule); font-weight: 600; }
th.text, td.text { text-align: left; } td.text { white-space: normal; overflow-wrap: break-word; }
td.text:last-child:nth-child(n+5) { min-width: 16rem; }
pre { background: var(--block); padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); }
.columns { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; } .columns > div { max-width: 100%; }
.panels { display: flex; flex-wrap: wrap; gap: .8rem; margin: .8rem 0; } svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); }
@media print { nav { display: none; } }
"""


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int, last_text: bool = False) -> str:
    """Return an HTML table whose first `texts` columns are flush left; columns without any content are left out.

    last_text: whether the last column is flush left, too.
    """
    body = list(rows)
    shown = [k for k in range(len(header)) if any(row[k] for row in body)]
    left = {*range(texts), *([len(header) - 1] if last_text else [])}

    def line(tag: str, cells: Sequence[str]) -> str:
        marks = ((escape(cells[k]), " class='text'" if k in left else "") for k in shown)
        return "<tr>" + "".join(f"<{tag}{mark}>{cell}</{tag}>" for cell, mark in marks) + "</tr>"

    head = line("th", header) if any(header) else ""
    return f"<table>{head}{''.join(line('td', row) for row in body)}</table>"


def html_page(title: str, sections: Iterable[str]) -> str:
    """Return a self-contained page."""
    body = "\n".join(sections)
    width = "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    head = f"<meta charset='utf-8'>{width}<title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


def html_panels(pictures: Iterable[str]) -> str:
    """Return pictures side by side, as many in a row as there is room for."""
    return f"<div class='panels'>{''.join(pictures)}</div>"


def html_details(summary: str, body: str) -> str:
    """Return something that is shown when its summary is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"
