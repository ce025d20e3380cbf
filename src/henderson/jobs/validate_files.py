"""What `henderson validate` leaves: `validation.json`, `validation.csv` and the page `validation.html`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

from henderson.jobs.focal import MANY_FAMILIES
from henderson.jobs.validate import EffectValidation, Validation
from henderson.results.comparison import agree
from henderson.results.files import finite, replacing, write_json
from henderson.results.lr import LEVEL, Estimate
from henderson.results.page import html_page, html_table
from henderson.results.run_record import plain
from henderson.results.trend_validation import BOUND, MethodThree

NAMES = ("partial", "whole")
MOST_PICTURES = 12

INTERVALS = (
    f"bootstrap of sire families (of fewer than {MANY_FAMILIES}, those of sires with the same sire together), wider as "
    "few families need by the t distribution"
)
STATISTICS = (
    ("bias", "mean partial - mean whole", 0.0),
    ("bias_sd", "in genetic standard deviations", 0.0),
    ("dispersion", "regression of whole on partial", 1.0),
    ("correlation", "ratio of accuracies", None),
    ("ratio", "regression of partial on whole: ratio of reliabilities", None),
    ("reliability", "of partial: covariance / genetic variance of the focal", None),
)
TRENDS = (
    ("partial", "by unit of birth time", None),
    ("whole", "by unit of birth time", None),
    ("difference", "trend whole - trend partial", 0.0),
    ("difference_sd", "in genetic standard deviations", 0.0),
)
COLUMNS = ("statistic", "value", "low", "high", "expected", "holds", "what it is")

Row = tuple[str, Estimate, float | None, str]


def rows_of(effect: EffectValidation) -> Iterator[Row]:
    """Yield name, estimate, value expected of the right model (None: none), and meaning of each statistic."""
    for name, meaning, expected in STATISTICS:
        yield name, getattr(effect.lr, name), expected, meaning
    for name, meaning, expected in TRENDS if effect.trend is not None else ():
        yield f"trend {name}", getattr(effect.trend, name), expected, f"{meaning} ({effect.groups_by})"
    if (three := effect.bulls) is not None:
        said = "below" if three.within_bound else "NOT below"
        yield "III slope", three.slope, 1.0, f"bulls: of whole on partial, se {three.slope_se:.2g}"
        yield "III delta", three.delta, 0.0, f"bulls: bias of the trend by year, se {three.delta_se:.2g}"
        meaning = f"in genetic standard deviations, se {three.delta_sd_se:.2g}; {said} {BOUND:g}, Interbull's bound"
        yield "III delta_sd", three.delta_sd, 0.0, meaning


def counts_of(effect: EffectValidation) -> str:
    """Return how many individuals and bulls the statistics are of."""
    text = f"{effect.lr.n:,} focal individuals of {effect.lr.families:,} families"
    if (three := effect.bulls) is not None:
        text += f"; {three.n:,} bulls of {three.families:,}, {three.with_new:,} with new daughters"
    return text + ("; intervals of bias, dispersion and trends also by the model" if effect.by_model else "")


def cells(row: Row) -> tuple[str, ...]:
    """Return a statistic as texts, in the order of `COLUMNS`."""
    name, estimate, expected, meaning = row
    numbers = (f"{v:.4g}" if math.isfinite(v) else "" for v in (estimate.value, estimate.low, estimate.high))
    verdict = "" if expected is None else {True: "yes", False: "no", None: ""}[estimate.holds(expected)]
    return (name, *numbers, "" if expected is None else f"{expected:g}", verdict, meaning)


def validation_json(validation: Validation) -> dict[str, Any]:
    """Return a validation as JSON has it; what cannot be said is null."""
    effects = []
    for e in validation.effects:
        statistics = {
            name: plain(estimate)
            | ({} if expected is None else {"expected": expected, "holds": estimate.holds(expected)})
            for name, estimate, expected, _ in rows_of(e)
        }
        effects.append(
            {
                "factor": e.factor,
                "subfactor": e.subfactor,
                "focal": e.lr.n,
                "families": e.lr.families,
                "genetic_variance_of_focal": finite(e.lr.variance),
                "intervals_by_model": e.by_model,
                "method_iii": None if e.bulls is None else plain(e.bulls) | _verdict(e.bulls),
                "statistics": {name.replace(" ", "_"): value for name, value in statistics.items()},
                "groups_by": e.groups_by,
                "groups": [
                    {"group": g, "n": a.n, "partial": finite(a.mean_old), "whole": finite(a.mean_new)}
                    for g, a in e.groups
                ],
            }
        )
    return {
        "column": validation.column,
        "cut_off": validation.cut_off,
        "records": {"partial": validation.n_partial, "whole": validation.n_whole},
        "confidence": LEVEL,
        "intervals": INTERVALS,
        "effects": effects,
        "notes": list(validation.notes),
    }


def _verdict(three: MethodThree) -> dict[str, Any]:
    return {"bound": BOUND, "within_bound": three.within_bound}


def write_validation(validation: Validation, out: Path) -> tuple[Path, ...]:
    """Return the paths of `validation.html`, `validation.json`, `validation.csv` and `focal.csv` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    page, data, table, focal = (
        out / f"{n}" for n in ("validation.html", "validation.json", "validation.csv", "focal.csv")
    )
    write_json(data, validation_json(validation))
    with replacing(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("factor", "subfactor", *COLUMNS[:-1]))
        for e in validation.effects:
            for name, estimate, expected, _ in rows_of(e):
                numbers = [finite(getattr(estimate, f.name)) for f in fields(estimate)]
                verdict = "" if expected is None else {True: "true", False: "false", None: ""}[estimate.holds(expected)]
                writer.writerow((e.factor, e.subfactor, name, *numbers, expected, verdict))
    with replacing(focal) as part:
        _write_focal(validation, part)
    with replacing(page) as part:
        part.write_text(_page(validation), encoding="utf-8")
    return page, data, table, focal


def _write_focal(validation: Validation, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    schema = pa.schema({"subfactor": pa.string(), "level": pa.string(), "partial": pa.float64(), "whole": pa.float64()})
    with path.open("wb") as file:
        file.write((",".join(schema.names) + "\n").encode())
        options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
        with pa_csv.CSVWriter(file, schema, write_options=options) as writer:
            for e in validation.effects:
                names = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(e.ids)), [e.subfactor])
                columns = [names.cast(pa.string()), e.ids, pa.array(e.partial), pa.array(e.whole)]
                writer.write_table(pa.table(columns, schema=schema))


def _page(validation: Validation) -> str:
    from henderson.results import comparison_figures as figures  # loads Matplotlib

    title = f"Validation: records before {validation.cut_off} against all"
    counts = [
        ("cut-off", f"{validation.column} {validation.cut_off}"),
        ("records before it", f"{validation.n_partial:,}"),
        ("records in all", f"{validation.n_whole:,}"),
    ]
    sections = [
        f"<h1>{escape(title)}</h1>",
        html_table(("", ""), counts, texts=2),
        *(f"<p>{escape(note)}</p>" for note in validation.notes),
        f"<p>Method LR (Legarra &amp; Reverter 2018) with {LEVEL:.0%} intervals by {INTERVALS}; "
        "focal: individuals without a record of their own or of progeny before the "
        "cut-off, with one after it, or those named. III: method III of Interbull (Boichard et al. 1995), solutions of "
        "bulls from all data on those from the earlier data and on the years by which their daughters came later.</p>",
    ]
    for k, e in enumerate(validation.effects):
        sections.append(f"<h2>{escape(e.factor)}: {escape(e.subfactor)}</h2>")
        sections.append(f"<p>{escape(counts_of(e))}</p>")
        sections.append(html_table(COLUMNS, map(cells, rows_of(e)), texts=1, last_text=True))
        if k < MOST_PICTURES:
            sections.append(figures.old_against_new(e.partial, e.whole, agree(e.partial, e.whole), NAMES))
            if len(e.groups) > 1:
                sections.append(figures.trend(e.groups_by, e.groups, NAMES))
    return html_page(title, sections)
