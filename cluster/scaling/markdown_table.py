"""Rows of tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def head(names: Sequence[str]) -> str:
    """Return the two lines that a table begins with."""
    return f"{row(names)}\n|{'---|' * len(names)}"


def row(cells: Sequence[str]) -> str:
    """Return a row."""
    return f"| {' | '.join(cells)} |"
