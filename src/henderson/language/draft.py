"""A parameter file as its reader leaves it: values checked one by one, their relations not yet.

Both readers, TOML and lmt's XML, fill the same draft; `assemble` checks its whole and makes the `ModelSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from henderson.language.equations import ParsedEquation
from henderson.language.source import Place, Source
from henderson.language.spec import (
    BlocksSpec,
    ChecksSpec,
    DataSpec,
    GammaSpec,
    JobSpec,
    Matrix,
    MatrixSpec,
    Option,
    PedigreeSpec,
    ValidationSpec,
)

ColumnType = Literal["integer", "real", "text"]
Schema = Mapping[str, ColumnType]


@dataclass
class DraftVariance:
    """What a file says of one variance; None where it says nothing."""

    name: str
    at: Place | None = None
    sigma: tuple[tuple[float, ...], ...] | None = None
    sigma_at: Place | None = None
    structure: str | None = None
    gamma: GammaSpec | None = None
    gamma_at: Place | None = None
    fix: tuple[tuple[bool, ...], ...] | None = None
    fix_at: Place | None = None
    equal: tuple[tuple[tuple[int, int], ...], ...] = ()
    equal_at: Place | None = None
    rank: int | None = None
    rank_at: Place | None = None
    classes: tuple[tuple[str, Matrix], ...] = ()
    by: str | None = None
    by_at: Place | None = None
    type: str | None = None
    options: tuple[tuple[str, Option], ...] = ()
    blocks: BlocksSpec | None = None
    blocks_at: Place | None = None


@dataclass(frozen=True)
class DraftWeight:
    """What an index says of a sub-factor or coefficient: its weight, or that of the curve at some points.

    x: an expression by which points become values of the covariate; None: they are.
    """

    subfactor: str
    weight: float
    points: tuple[float, ...] | None
    x: str | None
    at: Place | None


@dataclass
class DraftIndex:
    """A linear function of the coefficients of a level, as a file says it."""

    name: str
    weights: list[DraftWeight]
    at: Place | None = None


@dataclass
class Draft:
    """All of one parameter file."""

    source: Path
    data: DataSpec | None = None
    data_at: Mapping[str, Place] = field(default_factory=dict)  # of weights and of classes
    pedigrees: dict[str, PedigreeSpec] = field(default_factory=dict)
    matrices: dict[str, MatrixSpec] = field(default_factory=dict)
    equations: list[ParsedEquation] = field(default_factory=list)
    polynomials: list[Source] = field(default_factory=list)
    formulas: dict[str, Source] = field(default_factory=dict)
    variances: dict[str, DraftVariance] = field(default_factory=dict)
    jobs: tuple[JobSpec, ...] = (JobSpec("solve"),)
    lmt_files: bool = False
    functions: dict[str, Source] = field(default_factory=dict)
    checks: ChecksSpec | None = None
    checks_at: Place | None = None
    validation: ValidationSpec | None = None
    validation_at: Place | None = None  # of the column of dates
    indices: dict[str, DraftIndex] = field(default_factory=dict)
