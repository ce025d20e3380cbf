"""Reports of a pedigree: files in a folder, a table on the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from henderson.pedigree.plot import plot_inbreeding
from henderson.pedigree.summary import FamilySizes, PedigreeSummary, summarise
from henderson.pedigree.tables import write_tables
from henderson.store.model_data import Pedigree

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["PedigreeSummary", "print_summary", "summarise", "write_report"]

_MAX_ROWS = 40  # generations printed; summary.json has them all


def write_report(pedigree: Pedigree, out: Path, summary: PedigreeSummary | None = None) -> PedigreeSummary:
    """Return the summary (made unless given) after writing the reports into the folder `out`.

    Files: ``pedigree_sorted.csv``, ``pedigree_crossref.csv``, ``inbreeding.csv``, ``inbreeding.png``, ``summary.json``.
    """
    summary = summary or summarise(pedigree)
    out.mkdir(parents=True, exist_ok=True)
    write_tables(pedigree, out)
    plot_inbreeding(pedigree, summary, out / "inbreeding.png")
    (out / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    return summary


def print_summary(summary: PedigreeSummary, console: Console) -> None:
    """Print the summary as tables."""
    groups = [_groups(summary)] if summary.groups else []
    for table in (_counts(summary), *groups, _generations(summary), _families(summary)):
        console.print(table)


def _table(title: str, *headings: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right")
    return table


def _counts(summary: PedigreeSummary) -> Table:
    """Return the table of whole-pedigree numbers."""
    table = _table(f"Pedigree {summary.name}", "", "")
    table.show_header = False
    most = f" ({summary.most_inbred})" if summary.most_inbred else ""
    for name, value in [
        ("animals", f"{summary.animals:,}"),
        ("founders", f"{summary.founders:,}"),
        ("one parent unknown", f"{summary.one_parent_unknown:,}"),
        ("sires", f"{summary.sires:,}"),
        ("dams", f"{summary.dams:,}"),
        ("without progeny", f"{summary.without_progeny:,}"),
        ("generations", f"{summary.generations:,}"),
        ("longest ancestral path", f"{summary.longest_path:,}"),
        ("inbred", f"{summary.inbred:,}"),
        ("mean F", f"{summary.mean_inbreeding:.6f}"),
        ("mean F of the inbred", f"{summary.mean_inbreeding_of_inbred:.6f}"),
        ("maximum F", f"{summary.max_inbreeding:.6f}{most}"),
    ]:
        table.add_row(name, value)
    return table


def _groups(summary: PedigreeSummary) -> Table:
    """Return the table of genetic groups."""
    related = any(g.self_relationship is not None for g in summary.groups)
    names = ("group", "progeny", "mean fraction", "self-relationship")
    table = _table("\nGenetic groups", *names[: 3 + related])
    for g in summary.groups:
        cells = (g.group, f"{g.progeny:,}", f"{g.mean_fraction:.4f}", f"{g.self_relationship or 0.0:g}")
        table.add_row(*cells[: 3 + related])
    return table


def _generations(summary: PedigreeSummary) -> Table:
    """Return the table of inbreeding by generation, the last ones if there are many."""
    rows = summary.inbreeding_by_generation[-_MAX_ROWS:]
    hidden = len(summary.inbreeding_by_generation) - len(rows)
    note = f" (the last {len(rows)}; {hidden} more in summary.json)" if hidden else ""
    table = _table(f"\nInbreeding by generation{note}", "generation", "animals", "inbred", "mean F", "max F")
    for r in rows:
        table.add_row(str(r.generation), f"{r.animals:,}", f"{r.inbred:,}", f"{r.mean:.6f}", f"{r.maximum:.6f}")
    return table


def _families(summary: PedigreeSummary) -> Table:
    """Return the table of family sizes: how many families have 1, 2, 3-4, 5-8, ... members."""
    kinds: list[tuple[str, FamilySizes]] = [
        ("progeny per sire", summary.progeny_per_sire),
        ("progeny per dam", summary.progeny_per_dam),
        ("full sibs", summary.full_sibs),
    ]
    table = _table("\nFamily sizes", "members", *(name for name, _ in kinds))
    widest = max((sizes.classes for _, sizes in kinds), key=len)
    for i, (first, last, _) in enumerate(widest):
        counts = [f"{sizes.classes[i][2]:,}" if i < len(sizes.classes) else "" for _, sizes in kinds]
        table.add_row(str(first) if first == last else f"{first}-{last}", *counts)
    table.add_row("families", *(f"{sizes.families:,}" for _, sizes in kinds))
    table.add_row("mean", *(f"{sizes.mean:.2f}" for _, sizes in kinds))
    table.add_row("median", *(f"{sizes.median:g}" for _, sizes in kinds))
    table.add_row("largest", *(f"{sizes.maximum:,}" for _, sizes in kinds))
    return table
