"""What is simulated: one frozen `SimulationConfig`, checked when made, and what its omitted values stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from henderson.errors import Problem, UsageError

Matrix = tuple[tuple[float, ...], ...]
MAX_ANIMALS = 2**31 - 2  # store indices are int32
RESERVED_NAMES = frozenset({"id", "sire", "dam", "herd", "sex", "age", "born"})
CHOICES = {
    "pedigree": ("dairy", "random"),
    "recorded": ("females", "all", None),
    "ids": ("text", "integer"),
    "format": ("csv", "parquet"),
}

# Defaults on a scale with phenotypic variance 100 in every trait, before maternal and permanent effects are added.
GENETIC_VARIANCE, RESIDUAL_VARIANCE = 30.0, 70.0
GENETIC_CORRELATION, RESIDUAL_CORRELATION = 0.5, 0.3  # of neighbouring traits; powers of it further apart
MATERNAL_VARIANCE, MATERNAL_CORRELATION = 10.0, -0.2  # the correlation is that with the direct effect
PERMANENT_VARIANCE = 10.0


@dataclass(frozen=True)
class SimulationConfig:
    """An animal model with known truth: pedigree, records, parameters, files.

    animals
        Size of the pedigree.
    pedigree
        ``dairy``: overlapping years, a few bulls used very unequally, dams mostly from the herd of their progeny, a
        share of parents unknown, females recorded. ``random``: discrete generations mated at random, all animals
        recorded, parents known. Neither selects: parents do not depend on breeding values.
    cohorts
        Years (dairy, default 20) or generations (random, default 10).
    sires
        Bulls active in a year (dairy, default 300 but at most a twentieth of the year's births), or sires of a
        generation (random, default a fortieth of the generation).
    herds
        Number of herds, of unequal size; default a fortieth of the animals.
    records
        Number of records if an integer, share of the animals if not (0.6 is 60 for every 100 animals).
    repeats
        Records of each recorded animal; with more than one, or with `sigma_p`, the model has a permanent environment
        ``pe``.
    recorded
        ``females`` (default for dairy) or ``all``; with all, the model has an effect of sex.
    sigma_g, sigma_e, sigma_p
        Additive genetic, residual and permanent covariances in the order of the traits; default heritability 0.3. With
        `maternal` effects `sigma_g` has twice the traits' rows: direct effects first, then maternal ones.
    missing
        Share of missing values, one for all traits or one each.
    herd_sd, sex_effect, age_effect
        Standard deviation of herd effects, difference female - male, regression on age (per day); one or one per trait.
    unknown
        Share of unknown sires and, separately, unknown dams after the founder cohorts; default 0.03 for dairy, else 0.
    shuffle
        Whether rows of both files come in random order; otherwise animals come in order of birth.
    block
        Rows produced at a time; decides memory, never content.
    """

    animals: int = 10_000
    pedigree: Literal["dairy", "random"] = "dairy"
    cohorts: int | None = None
    sires: int | None = None
    herds: int | None = None
    traits: tuple[str, ...] = ("y1", "y2", "y3")
    records: int | float = 0.6
    repeats: int = 1
    recorded: Literal["females", "all"] | None = None
    maternal: bool = False
    sigma_g: Matrix | None = None
    sigma_e: Matrix | None = None
    sigma_p: Matrix | None = None
    missing: float | tuple[float, ...] = 0.1
    herd_sd: float | tuple[float, ...] = 5.0
    sex_effect: float | tuple[float, ...] = 4.0
    age_effect: float | tuple[float, ...] = 0.02
    unknown: float | None = None
    seed: int = 1
    ids: Literal["text", "integer"] = "text"
    format: Literal["csv", "parquet"] = "csv"
    shuffle: bool = True
    block: int = 1 << 18
    threads: int | None = None

    def __post_init__(self) -> None:
        if problems := [Problem(f"simulate: {text}") for text in _problems(self)]:
            raise UsageError(problems)

    @property
    def n_traits(self) -> int:
        """Return the number of traits."""
        return len(self.traits)

    @property
    def n_cohorts(self) -> int:
        """Return the number of years or generations."""
        return min(self.cohorts or (20 if self.pedigree == "dairy" else 10), self.animals)

    @property
    def n_sires(self) -> int:
        """Return the number of sires active in a year, or of a generation."""
        births = self.animals / self.n_cohorts
        if self.sires is not None:
            return self.sires
        return max(1, min(300, int(births / 20)) if self.pedigree == "dairy" else int(births / 40))

    @property
    def n_herds(self) -> int:
        """Return the number of herds."""
        return self.herds or max(1, self.animals // 40)

    @property
    def n_records(self) -> int:
        """Return the number of rows of the record file."""
        return self.records if isinstance(self.records, int) else max(1, round(self.records * self.animals))

    @property
    def n_recorded(self) -> int:
        """Return the number of animals with records; the last of them may have fewer than `repeats`."""
        return -(-self.n_records // self.repeats)

    @property
    def records_all(self) -> bool:
        """Return whether both sexes are recorded."""
        return (self.recorded or ("females" if self.pedigree == "dairy" else "all")) == "all"

    @property
    def has_permanent(self) -> bool:
        """Return whether the model has a permanent environment of the animal."""
        return self.repeats > 1 or self.sigma_p is not None

    @property
    def share_unknown(self) -> float:
        """Return the share of unknown sires and of unknown dams after the founder cohorts."""
        return self.unknown if self.unknown is not None else (0.03 if self.pedigree == "dairy" else 0.0)

    @property
    def female_share(self) -> float:
        """Return the probability of a female: most males of a dairy population never enter its pedigree."""
        return 0.75 if self.pedigree == "dairy" else 0.5

    def genetic(self) -> NDArray[np.float64]:
        """Return Sigma_g, (n_traits, n_traits), or twice as many rows with maternal effects after the direct ones."""
        if self.sigma_g is not None:
            return np.array(self.sigma_g, dtype=np.float64)
        within = autoregressive(self.n_traits, GENETIC_CORRELATION)
        if not self.maternal:
            return GENETIC_VARIANCE * within
        between = MATERNAL_CORRELATION * np.sqrt(GENETIC_VARIANCE * MATERNAL_VARIANCE)
        return np.kron(np.array([[GENETIC_VARIANCE, between], [between, MATERNAL_VARIANCE]]), within)

    def residual(self) -> NDArray[np.float64]:
        """Return Sigma_e, (n_traits, n_traits)."""
        if self.sigma_e is not None:
            return np.array(self.sigma_e, dtype=np.float64)
        return RESIDUAL_VARIANCE * autoregressive(self.n_traits, RESIDUAL_CORRELATION)

    def permanent(self) -> NDArray[np.float64]:
        """Return Sigma_p, (n_traits, n_traits)."""
        if self.sigma_p is not None:
            return np.array(self.sigma_p, dtype=np.float64)
        return PERMANENT_VARIANCE * autoregressive(self.n_traits, RESIDUAL_CORRELATION)

    def per_trait(self, value: float | tuple[float, ...]) -> NDArray[np.float64]:
        """Return `value` once per trait, (n_traits,)."""
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (self.n_traits,)).copy()


def autoregressive(n: int, correlation: float) -> NDArray[np.float64]:
    """Return the (n, n) correlation matrix correlation^|i - j|, positive definite for |correlation| < 1."""
    i = np.arange(n)
    distance = np.abs(i[:, None] - i[None, :])
    return np.asarray(np.power(correlation, distance, dtype=np.float64), dtype=np.float64)


def _problems(config: SimulationConfig) -> list[str]:
    """Return a sentence for every value that cannot be simulated."""
    c = config
    found: list[str] = []
    if not 1 <= c.animals <= MAX_ANIMALS:
        found.append(f"animals is {c.animals}; it must be 1 to {MAX_ANIMALS}")
    for name, known in CHOICES.items():
        if getattr(c, name) not in known:
            found.append(f"{name} is {getattr(c, name)!r}; it must be one of {', '.join(k for k in known if k)}")
    for name in ("cohorts", "sires", "herds", "repeats", "block", "threads"):
        if (value := getattr(c, name)) is not None and value < 1:
            found.append(f"{name} is {value}; it must be at least 1")
    if not 0 <= c.seed < 2**64:
        found.append(f"seed is {c.seed}; it must be 0 to 2^64 - 1")
    if not c.records > 0:
        found.append(f"records is {c.records}; it must be a number of records, or a share of the animals, above 0")
    if c.unknown is not None and not 0 <= c.unknown <= 1:
        found.append(f"unknown is {c.unknown}; it must be 0 to 1")
    if not c.traits or len(set(c.traits)) != len(c.traits):
        found.append(f"traits are {', '.join(c.traits) or 'none'}; name each trait once")
    found += [
        f"trait {name!r} must be letters, digits and _, begin with a letter, "
        f"and be none of {', '.join(sorted(RESERVED_NAMES))}"
        for name in c.traits
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in RESERVED_NAMES
    ]
    for name in ("missing", "herd_sd", "sex_effect", "age_effect"):
        value = np.asarray(getattr(c, name), dtype=np.float64)
        if value.ndim > 0 and value.shape != (c.n_traits,):
            found.append(f"{name} has {value.size} values for {c.n_traits} traits; give one, or one per trait")
        if name == "missing" and not (np.all(value >= 0) and np.all(value < 1)):
            found.append("missing must be at least 0 and below 1")
    n = c.n_traits
    for name, matrix, rows in (
        ("sigma_g", c.sigma_g, 2 * n if c.maternal else n),
        ("sigma_e", c.sigma_e, n),
        ("sigma_p", c.sigma_p, n),
    ):
        if matrix is not None and (reason := _not_a_covariance(matrix, rows)):
            found.append(f"{name} {reason}")
    return found


def _not_a_covariance(matrix: Matrix, rows: int) -> str | None:
    """Return why `matrix` is no positive definite matrix with that many rows, or None."""
    if len(matrix) != rows or any(len(row) != rows for row in matrix):
        return f"must have {rows} rows of {rows} values"
    values = np.array(matrix, dtype=np.float64)
    if not np.array_equal(values, values.T):
        return "is not symmetric"
    smallest = float(np.linalg.eigvalsh(values)[0])
    return None if smallest > 0 else f"is not positive definite (smallest eigenvalue {smallest:.3g})"
