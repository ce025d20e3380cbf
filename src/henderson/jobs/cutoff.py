"""The earlier part of the data: records before a date."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from henderson.errors import ModelError, Problem, unknown
from henderson.ingest.header import read_schema
from henderson.language.spec import Cutoff, ModelSpec

DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def with_cutoff(spec: ModelSpec, column: str, value: str) -> ModelSpec:
    """Return the model with only the records before `value` in a column of numbers, or of dates.

    A date may be a year (2015), a month (2015-07) or a day. Raises `ModelError` if there is no such column, or `value`
    is nothing that its values compare with.
    """
    kinds = read_schema(spec.data, spec.path(""))
    if column not in kinds:
        raise ModelError(Problem(unknown("column", column, list(kinds)), file=", ".join(spec.data.records)))
    numeric = kinds[column] != "text"
    try:
        sound = math.isfinite(float(value)) if numeric else DATE.fullmatch(value) is not None
    except ValueError:
        sound = False
    if not sound:
        what = "a number, as its values are" if numeric else "a date such as 2015, 2015-07 or 2015-07-01"
        raise ModelError(Problem(f"the cut-off {value!r} of column {column!r} is not {what}"))
    return replace(spec, data=replace(spec.data, cutoff=Cutoff(column, value, numeric)))
