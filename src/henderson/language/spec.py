"""The model as everything below the language layer sees it: one frozen `ModelSpec`, whatever file it came from.

Words are those of lmt: a *factor* is a coefficient matrix of levels by positions with covariance Gamma (x) Sigma, a
*sub-factor* one or more of its positions, a *term* ties a trait to a variable and a sub-factor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FIXED_CLASSES = "fxcl"
FIXED_COVARIATES = "fxco"
RESIDUAL = "res"
ONE = "1"

Matrix = tuple[tuple[float, ...], ...]
Scalar = str | int | float | bool
Option = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Cutoff:
    """Records whose value of `column`, a number or a date (YYYY-MM-DD), is `value` or later are left out."""

    column: str
    value: str
    numeric: bool


ACTIONS = ("warn", "drop", "error")


@dataclass(frozen=True)
class ChecksSpec:
    """What the records may hold. Columns with limits, sorted by name.

    action
        About a value that is not: told; also taken as missing; or an error.
    range
        Lowest and highest value of a response or covariate; a record beyond that of a covariate has no observation of
        the traits that use it.
    outliers, within
        How many standard deviations a response may lie from the mean of its level of the class `within`, of all if
        None; the standard deviation is that within the levels, and has regard to the size of each.
    smallest
        How many observations of a trait a level of a class column has at least, after the others are taken out.
    collinear
        Correlation of two responses from which on they are told to be almost the same.
    born, parent_age
        Column of the pedigree with years or dates of birth; parents are born so many years before their progeny.
    """

    action: Literal["warn", "drop", "error"] = "warn"
    range: tuple[tuple[str, float, float], ...] = ()
    outliers: tuple[tuple[str, float], ...] = ()
    within: str | None = None
    smallest: tuple[tuple[str, int], ...] = ()
    collinear: float = 0.99
    born: str | None = None
    parent_age: float = 0.0


@dataclass(frozen=True)
class ValidationSpec:
    """What `henderson validate` takes from the parameter file: column of dates, where to cut them."""

    date: str | None = None
    cut_off: str | None = None


@dataclass(frozen=True)
class DataSpec:
    """The records: files (globs allowed, relative to the parameter file) and how to read them."""

    records: tuple[str, ...]
    missing: float | None = None  # responses equal to or below this are missing; empty and NA always are
    weights: str | None = None  # column: residual covariance is Sigma / weight
    classes: tuple[str, ...] = ()  # numeric columns that formulas treat as classes
    missing_file: str | None = None  # a flag for each record and trait: lmt's missing-value indicator
    checks: ChecksSpec | None = None
    cutoff: Cutoff | None = None  # of the earlier part of the data; no file says it, `henderson validate` does


@dataclass(frozen=True)
class PedigreeSpec:
    """A pedigree file (id, sire, dam are its first three columns) and its switches."""

    name: str
    file: str
    inbreeding: bool = True
    selfing: bool = False
    add_missing_parents: bool = False
    probabilistic: bool = False
    phantomparents: int = 0
    qfile: str | None = None
    metafile: str | None = None
    metamatrix: Matrix | None = None
    mgs: bool = False  # the third column is the maternal grandsire, a fourth the maternal granddam
    group_variance: float | None = None  # of phantom parents in A, in units of Sigma; None: they are fixed


@dataclass(frozen=True)
class MatrixSpec:
    """A user relationship matrix: id header row and column, or triplets i,j,value; `inverse` if that is in the file."""

    name: str
    file: str
    inverse: bool = False
    diagonal: bool = False  # lmt's <D>: a diagonal matrix


@dataclass(frozen=True)
class Term:
    """One product `variable * subfactor` of an equation.

    kind
        ``class``: one coefficient per level of `variable`; ``covariate``: a regression on `variable`, one per level of
        `nested_in` if given; ``group``: the rows of the group matrix Q of `pedigree`.
    variable
        A column, the literal ``1`` (a column of ones, level ``1``), or an interaction of class columns joined by ``:``.
    polynomials
        1-based ids into `ModelSpec.polynomials`; empty if the covariate enters as it is.
    centred
        Whether the covariate is centred (within class when nested) before its polynomials are evaluated.
    where
        Pairs (class column, level): the term enters the equation only of records that have all these levels:
        ``x(t(co);w(sex=F))`` in equations, ``at(sex, 'F'):x`` and ``diag(sex):id`` in formulas.
    """

    variable: str
    subfactor: str
    kind: Literal["class", "covariate", "group"] = "class"
    nested_in: str | None = None  # a column, or an interaction of class columns joined by ":"
    polynomials: tuple[int, ...] = ()
    integer: bool = False
    centred: bool = False
    pedigree: str | None = None
    where: tuple[tuple[str, str], ...] = ()

    @property
    def level_variable(self) -> str | None:
        """Return the variable whose values are the levels; None for a covariate that is not nested."""
        return self.variable if self.kind != "covariate" else self.nested_in


@dataclass(frozen=True)
class Equation:
    """The model of one trait: its response column and its terms in order."""

    trait: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class SubFactor:
    """A named effect; fixed if `variance` is None, else the given (1-based) positions of that variance's Sigma."""

    name: str
    variance: str | None = None
    positions: tuple[int, ...] = ()


@dataclass(frozen=True)
class GammaSpec:
    """Covariance among levels: identity, a pedigree's A, or a user matrix; `name` of the pedigree or matrix.

    The other kinds of lmt are parsed and validated, but not computed yet.
    """

    kind: Literal["identity", "pedigree", "matrix", "H", "G"] = "identity"
    name: str | None = None
    options: tuple[tuple[str, Option], ...] = ()


@dataclass(frozen=True)
class BlocksSpec:
    """A file with a Sigma for each level of a random factor, for each record of the residual.

    inverse: the file holds inverses (as lmt's); scale: every Sigma is multiplied by it.
    """

    file: str
    inverse: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class VarianceSpec:
    """A (co)variance: `sigma` among positions (known for solve, start value for REML) and `gamma` among levels.

    The residual is the one named ``res``; its positions are the traits in the order of the equations.

    fix
        Elements held at their value in `sigma` by REML; of ``corgh``, off the diagonal: correlations.
    equal
        Groups of elements (row, column), counted from 1, row >= column, that REML keeps equal; of ``corgh``, off the
        diagonal: correlations.
    rank
        Of an unstructured Sigma that REML estimates, None for full rank.
    by, classes
        One Sigma for each class of the column `by`: of records (the residual), or of levels, which have one class each
        on all their records. `sigma` is that of classes that `classes` does not name, and of levels without records.
    blocks
        A file with a Sigma for each level or record; `sigma` is that of those it does not name.
    """

    name: str
    sigma: Matrix | None = None
    structure: Literal["us", "diag", "corgh", "cs", "id"] = "us"
    gamma: GammaSpec = GammaSpec()
    fix: tuple[tuple[bool, ...], ...] | None = None
    by: str | None = None
    equal: tuple[tuple[tuple[int, int], ...], ...] = ()
    rank: int | None = None
    classes: tuple[tuple[str, Matrix], ...] = ()
    type: str | None = None  # lmt's snpblup1: validated, not computed yet
    options: tuple[tuple[str, Option], ...] = ()
    blocks: BlocksSpec | None = None

    def n_bound(self, n: int) -> int:
        """Return how many elements of an `n` by `n` Sigma follow from the others because of its rank."""
        return 0 if self.rank is None else (n - self.rank) * (n - self.rank + 1) // 2

    @property
    def own_sigmas(self) -> bool:
        """Return whether levels (or records) have a Sigma of their own, from a file or by class."""
        return self.blocks is not None or self.by is not None


@dataclass(frozen=True)
class JobSpec:
    """One job with its options (known keys only), e.g. ``solve`` with ``rtol``."""

    name: str
    options: tuple[tuple[str, Option], ...] = ()

    def get(self, key: str, default: Option | None = None) -> Option | None:
        """Return the option `key`, or `default`."""
        return dict(self.options).get(key, default)


@dataclass(frozen=True)
class IndexSpec:
    """A linear function of the coefficients of a level of `variance`: weights by printed name (``c_2``), sorted."""

    name: str
    variance: str
    weights: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ModelSpec:
    """A whole analysis. Pedigrees, matrices, sub-factors, variances and indices are sorted by name (``res`` last).

    `source` is the parameter file; paths in the specification are relative to its folder. It is not compared.
    """

    data: DataSpec
    equations: tuple[Equation, ...]
    subfactors: tuple[SubFactor, ...]
    variances: tuple[VarianceSpec, ...]
    polynomials: tuple[str, ...] = ()  # canonical text; evaluated by language.polynomials
    pedigrees: tuple[PedigreeSpec, ...] = ()
    matrices: tuple[MatrixSpec, ...] = ()
    jobs: tuple[JobSpec, ...] = (JobSpec("solve"),)
    functions: tuple[tuple[str, str], ...] = ()
    validation: ValidationSpec | None = None
    indices: tuple[IndexSpec, ...] = ()
    lmt_files: bool = False  # lmt's output files beside ours, as for its own parameter files
    source: Path | None = field(default=None, compare=False)

    @property
    def traits(self) -> tuple[str, ...]:
        """Return the response columns in the order of the equations."""
        return tuple(e.trait for e in self.equations)

    def subfactor(self, name: str) -> SubFactor:
        """Return the sub-factor called `name`."""
        return next(s for s in self.subfactors if s.name == name)

    def variance(self, name: str) -> VarianceSpec:
        """Return the variance called `name`."""
        return next(v for v in self.variances if v.name == name)

    def n_positions(self, variance: str) -> int:
        """Return the number of positions of a variance: of the residual the traits."""
        if variance == RESIDUAL:
            return len(self.equations)
        return sum(len(s.positions) for s in self.subfactors if s.variance == variance)

    @property
    def residual(self) -> VarianceSpec:
        """Return the residual variance."""
        return self.variance(RESIDUAL)

    def path(self, file: str) -> Path:
        """Return `file` as seen from the folder of the parameter file."""
        return (self.source.parent if self.source else Path()) / file
