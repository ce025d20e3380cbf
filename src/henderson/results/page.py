"""Parts of the pages that runs leave: one style, tables, the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid #d9e2ec; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; } th { border-bottom: 1px solid #9fb3c8; font-weight: 600; }
th.text, td.text { text-align: left; } pre { background: #f5f7fa; padding: .8rem; overflow-x: auto; }
.columns { display: flex; flex-wrap: wrap; gap: 2.5rem; } svg { max-width: 100%; height: auto; }
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
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>\n{body}\n</body></html>\n"
