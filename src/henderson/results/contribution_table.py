"""Effective contributions and daughter yield deviations: ``contributions.csv``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from henderson.accuracy.contributions import Contributions
from henderson.equations.model import Design
from henderson.results.files import replacing
from henderson.results.solution_tables import BLOCK, csv_options, labels_to_arrow, needs_quotes, number_array

SCHEMA = pa.schema(
    [(n, pa.string()) for n in ("factor", "subfactor", "level")] + [(n, pa.float64()) for n in ("erc", "edc", "dyd")]
)


def write_contributions(design: Design, found: Contributions, out: Path) -> Path:
    """Return the path of ``contributions.csv``: ``factor,subfactor,level,erc,edc,dyd``, empty where there is none.

    Animals without any of the three have no row.
    """
    path = out / "contributions.csv"
    quotes = any(needs_quotes(design.groups[g].labels) for g in found.records)
    with replacing(path) as part, pa_csv.CSVWriter(part, SCHEMA, write_options=csv_options(quotes, header=True)) as csv:
        for g in found.records:
            group = design.groups[g]
            for k, position in enumerate(group.positions):
                if position is None:
                    continue
                columns = [each[g][:, k] for each in (found.records, found.progeny, found.deviations)]
                some = np.flatnonzero(~np.isnan(columns).all(axis=0))
                for start in range(0, len(some), BLOCK):
                    rows = some[start : start + BLOCK]
                    names = [pa.repeat(position.factor, len(rows)), pa.repeat(position.subfactor, len(rows))]
                    names.append(labels_to_arrow(group.labels.take(rows)))
                    values = [number_array(c[rows], pa.float64()) for c in columns]
                    csv.write_batch(pa.RecordBatch.from_arrays([*names, *values], schema=SCHEMA))
    return path
