"""A national test-day evaluation at any scale: its sizes, its covariances, its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from henderson.errors import UsageError
from henderson.simulate.config import MAX_ANIMALS, SimulationConfig, autoregressive

# At scale 1, the evaluation of Bohmanova-type models with heat tolerance: J Anim Breed Genet 127:235 (2010).
ANIMALS, COWS, HERDS = 9_330_000, 5_400_000, 15_000
YEARS, BULLS = 20, 2_500  # years of birth; bulls active in a year

PARITIES = 3
KNOTS = (5, 50, 200, 305)  # days in milk
TESTS = 11  # test days of a lactation at most
INTERVAL = 31  # days between the tests of a herd
LAST_DAY = 305
HEAT_MAX = 12  # degrees above the threshold

TRAITS = tuple(f"milk{k + 1}" for k in range(PARITIES))
KNOT_SD = (3.2, 3.0, 2.8, 3.2)  # genetic, kg a day
HEAT_SD = 0.12  # genetic, kg a day for a degree
PARITY_CORRELATION, KNOT_CORRELATION, HEAT_CORRELATION = 0.85, 0.85, -0.3
PERMANENT_RATIO, HERD_YEAR_RATIO = 1.3, 0.4  # variances relative to the genetic ones
RESIDUAL = (6.0, 8.0, 9.0)
CURVE = (24.0, 32.0, 25.0, 17.0)  # mean at the knots, first parity
PARITY_GAIN = 4.0
HEAT_MEAN = -0.25
TEST_SD = 3.0


@dataclass(frozen=True)
class TestDayConfig:
    """A test-day model with three parities: four-knot linear splines on days in milk, and a heat covariate.

    scale
        1 is about 9.3 M animals, 5.4 M cows, 90 M test days and 220 M equations; sizes are proportional.
    block
        Cows handled at a time; decides memory, never content.
    """

    __test__ = False  # not a test class

    scale: float = 0.001
    seed: int = 1
    format: Literal["csv", "parquet"] = "parquet"
    block: int = 1 << 14
    threads: int | None = None

    def __post_init__(self) -> None:
        if not (self.scale > 0 and 400 <= self.animals <= MAX_ANIMALS):
            raise UsageError(
                f"simulate testday: scale {self.scale:g} gives {self.animals} animals; they must be 400 or more"
            )

    @property
    def animals(self) -> int:
        """Return the size of the pedigree."""
        return round(ANIMALS * self.scale)

    @property
    def cows(self) -> int:
        """Return the number of cows with records."""
        return round(COWS * self.scale)

    def population(self) -> SimulationConfig:
        """Return the configuration of the pedigree."""
        return SimulationConfig(
            animals=self.animals,
            cohorts=YEARS,
            sires=max(8, round(BULLS * self.scale**0.5)),
            herds=max(2, round(HERDS * self.scale)),
            traits=TRAITS,
            records=self.cows,
            seed=self.seed,
            ids="integer",
            format=self.format,
            threads=self.threads,
        )


def effects() -> list[str]:
    """Return the names of the breeding values, in the model and in the truth: ``a1_1``, ..., ``ah1``, ``a2_1``, ..."""
    return [f"a{p + 1}_{k + 1}" if k < len(KNOTS) else f"ah{p + 1}" for p in range(PARITIES) for k in range(5)]


def genetic() -> NDArray[np.float64]:
    """Return Sigma of breeding values, (15, 15): four knots and heat of the first parity, then of the others."""
    sd = np.array([*KNOT_SD, HEAT_SD])
    within = np.eye(len(sd))
    within[:-1, :-1] = autoregressive(len(KNOTS), KNOT_CORRELATION)
    within[-1, :-1] = within[:-1, -1] = HEAT_CORRELATION
    return np.kron(autoregressive(PARITIES, PARITY_CORRELATION), within * sd[:, None] * sd)


def permanent() -> NDArray[np.float64]:
    """Return Sigma of permanent environments, (15, 15)."""
    return PERMANENT_RATIO * genetic()


def herd_year() -> NDArray[np.float64]:
    """Return Sigma of the curves of herd-years, (12, 12): four knots of each parity."""
    sd = np.array(KNOT_SD)
    within = autoregressive(len(KNOTS), KNOT_CORRELATION) * sd[:, None] * sd
    return HERD_YEAR_RATIO * np.kron(autoregressive(PARITIES, PARITY_CORRELATION), within)


def spline(day: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the linear spline basis at days in milk, (n, 4): 1 at its own knot, 0 at the others."""
    return np.stack([np.interp(day, KNOTS, unit) for unit in np.eye(len(KNOTS))], axis=-1)


def polynomials() -> list[str]:
    """Return the spline basis as expressions in x: second differences of |x - knot|."""
    k = KNOTS
    found = []
    for j in range(len(k)):
        left = f"abs(x-{k[j - 1]})/{k[j] - k[j - 1]}" if j > 0 else ""
        right = f"abs(x-{k[j + 1]})/{k[j + 1] - k[j]}" if j + 1 < len(k) else ""
        own = [str(k[j] - k[j - 1])] if j > 0 else []
        own += [str(k[j + 1] - k[j])] if j + 1 < len(k) else []
        middle = "+".join(f"1/{width}" for width in own)
        ends = "+".join(part for part in (left, right, "1" if len(own) == 1 else "") if part)
        found.append(f"0.5*({ends}-abs(x-{k[j]})*({middle}))")
    return found


def model_toml(config: TestDayConfig) -> str:
    """Return the parameter file with the true covariances."""
    lines = []
    for p, trait in enumerate(TRAITS):
        n, at = p + 1, 5 * p
        knots = ",".join(str(at + k) for k in range(1, 5))
        herd = ",".join(str(4 * p + k) for k in range(1, 5))
        curve = "dim(t(co(p(1,2,3,4);n({}))))"
        lines.append(
            f"{trait} = htd*t{n} + dim(t(co(p(2,3,4);c(n))))*c{n}"
            f" + {curve.format('hy')}*y{n}(v(hy({herd})))"
            f" + {curve.format('id')}*a{n}(v(g({knots}))) + heat(t(co(n(id))))*ah{n}(v(g({at + 5})))"
            f" + {curve.format('id')}*p{n}(v(pe({knots}))) + heat(t(co(n(id))))*ph{n}(v(pe({at + 5})))"
        )
    listed = ", ".join(f'"{p}"' for p in polynomials())
    suffix = config.format
    return (
        "\n\n".join(
            [
                f"# scale {config.scale:g}: {config.animals} animals, {config.cows} cows, seed {config.seed}",
                f'[data]\nrecords = "records.{suffix}"',
                f'[pedigree.ped]\nfile = "pedigree.{suffix}"',
                f'[model]\npolynomials = [{listed}]\nequations = """\n' + "\n".join(lines) + '\n"""',
                f'[variance.g]\nsigma = {_rows(genetic())}\ngamma = {{ A = {{ pedigree = "ped" }} }}',
                f"[variance.pe]\nsigma = {_rows(permanent())}",
                f"[variance.hy]\nsigma = {_rows(herd_year())}",
                f"[variance.res]\nsigma = {_rows(np.diag(RESIDUAL))}",
                '[jobs]\nrun = ["solve"]\nsolve = { rtol = 1e-6, xtol = 0.9 }  # published: 1e-12 on the squared ratio',
            ]
        )
        + "\n"
    )


def _rows(matrix: NDArray[np.float64]) -> str:
    return "[\n" + "".join("  [" + ", ".join(repr(round(float(v), 12)) for v in row) + "],\n" for row in matrix) + "]"
