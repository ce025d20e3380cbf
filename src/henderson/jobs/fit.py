"""A fit of variance components as users hold it: tables as pandas frames, tests, predictions, pictures."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from henderson.errors import ResourceError, UsageError, unknown
from henderson.jobs.points import grid_points, row_points
from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES, ModelSpec
from henderson.reml.result import FunctionValue, RemlFit
from henderson.results.component_table import components
from henderson.results.delta import function_of_components
from henderson.results.fit_text import Criteria, Section, as_html, as_text, sections
from henderson.results.fitted import fitted_values
from henderson.results.lrt import LrtResult, likelihood_ratio
from henderson.results.predict import Predictor
from henderson.results.solution_tables import labels_to_arrow
from henderson.results.wald import WaldTest, wald_tests
from henderson.solvers.solutions import SubfactorSolutions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW_FIXED = 500  # fixed effects up to which a printed fit has its Wald tests


class Fit:
    """A fit of variance components by REML or ML; `result` is what the engine left, all arrays in it."""

    def __init__(self, result: RemlFit) -> None:
        self.result = result

    # --- numbers ------------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> ModelSpec:
        """Return the model, its variances at the estimates."""
        return self.result.spec

    @property
    def method(self) -> str:
        """Return ``REML`` or ``ML``."""
        return self.result.method

    @property
    def converged(self) -> bool:
        """Return whether the estimates are a maximum."""
        return self.result.stop_reason.converged

    @property
    def loglik(self) -> float:
        """Return the log-likelihood without the 2 pi constant, as ASReml prints it."""
        return self.result.loglik

    @property
    def loglik_mc_se(self) -> float | None:
        """Return the Monte Carlo error of the log-likelihood, None if it was not sampled."""
        return self.result.loglik_mc_se

    @property
    def loglik_full(self) -> float:
        """Return the log-likelihood with the 2 pi constant, as lme4 prints it."""
        return self.result.loglik_full

    @property
    def n_parameters(self) -> int:
        """Return the number of free parameters: variance components, under ML with the fixed effects."""
        free = self.result.n_parameters
        return free + (self.result.rank if self.method == "ML" else 0)

    @property
    def aic(self) -> float:
        """Return -2 logL + 2 k.

        REML: as ASReml, `loglik` and the k variance components, to compare models with the same fixed effects. ML: as
        R, `loglik_full` and all parameters, the fixed effects among them.
        """
        return -2.0 * self._loglik + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Return -2 logL + k log(n); n are the observations, under REML less the rank of X. Otherwise as `aic`."""
        n = self.result.n_observations - (self.result.rank if self.method == "REML" else 0)
        return -2.0 * self._loglik + self.n_parameters * math.log(n)

    @property
    def _loglik(self) -> float:
        return self.loglik if self.method == "REML" else self.loglik_full

    # --- tables -------------------------------------------------------------------------------------------------------

    @cached_property
    def varcomp(self) -> pd.DataFrame:
        """Return component, std_error, z_ratio and constraint of each variance parameter, named as ASReml names them.

        constraint: P positive, U unconstrained, B at the boundary (no standard error), F fixed, C equal to another.
        """
        rows = components(self.result)
        columns = {
            "component": [c.value for c in rows],
            "std_error": [math.nan if c.std_error is None else c.std_error for c in rows],
            "z_ratio": [math.nan if c.z_ratio is None else c.z_ratio for c in rows],
            "constraint": [c.constraint for c in rows],
        }
        return pd.DataFrame(columns, index=pd.Index([c.name for c in rows]))

    def sigma(self, variance: str, label: str | None = None) -> pd.DataFrame:
        """Return the estimated covariance matrix of a variance; `label`: the class of a residual by class."""
        found = self._estimate(variance, label)
        return pd.DataFrame(found.sigma, list(found.positions), list(found.positions))

    def correlation(self, variance: str, label: str | None = None) -> pd.DataFrame:
        """Return the estimated correlations of a variance."""
        found = self._estimate(variance, label)
        return pd.DataFrame(found.correlation, list(found.positions), list(found.positions))

    def _estimate(self, variance: str, label: str | None) -> Any:
        keys = {(n, None if c is None else str(c)): v for (n, c), v in self.result.sigma.items()}
        wanted = (variance, None if label is None else str(label))
        if wanted not in keys:
            names = [n if c is None else f"{n}, {c}" for n, c in keys]
            raise UsageError(unknown("variance", variance if label is None else f"{variance}, {label}", names))
        return keys[wanted]

    def fixef(self) -> pd.DataFrame:
        """Return estimate, std_error and z_ratio of the fixed effects that were kept, by sub-factor and level."""
        frame = self._effects([p for p in self.result.solutions if _is_fixed(p)], "estimate")
        frame["z_ratio"] = frame["estimate"] / frame["std_error"]
        return frame

    def ranef(self, name: str | None = None) -> pd.DataFrame:
        """Return blup and std_error (root of the prediction error variance) of random effects, by sub-factor and level.

        name: a variance or a sub-factor; None: all.
        """
        random = [p for p in self.result.solutions if not _is_fixed(p)]
        chosen = [p for p in random if name is None or name in (p.factor, p.subfactor)]
        if name is not None and not chosen:
            known = dict.fromkeys(n for p in random for n in (p.factor, p.subfactor))
            raise UsageError(unknown("random factor", name, list(known)))
        return self._effects(chosen, "blup")

    @staticmethod
    def _effects(parts: Sequence[SubfactorSolutions], title: str) -> pd.DataFrame:
        frames = []
        for part in parts:
            kept = slice(None) if part.kept is None else part.kept
            levels = labels_to_arrow(part.labels).to_pandas()[kept]
            index = pd.MultiIndex.from_product([[part.subfactor], levels], names=["subfactor", "level"])
            se = np.full(len(part.values), np.nan) if part.se is None else part.se
            frames.append(pd.DataFrame({title: part.values[kept], "std_error": se[kept]}, index=index))
        if not frames:
            return pd.DataFrame({title: [], "std_error": []})
        return pd.concat(frames)

    def fitted(self) -> pd.DataFrame:
        """Return fitted value and residual of each observation: columns row (of the file, from 0), trait, and both."""
        parts = [fitted_values(self.result, t) for t in range(len(self.spec.traits))]
        frames = [
            pd.DataFrame({"row": f.row, "trait": f.trait, "fitted": f.value, "residual": f.residual}) for f in parts
        ]
        return pd.concat(frames, ignore_index=True)

    # --- tests --------------------------------------------------------------------------------------------------------

    def wald(
        self,
        kind: Literal["incremental", "conditional"] = "incremental",
        denominator: Literal["none", "residual"] = "none",
    ) -> pd.DataFrame:
        """Return Wald tests of the fixed terms: df, Wald, F (= Wald / df), and their probability.

        incremental: each term adjusted for those before it. conditional: each for all that do not contain it. Without a
        denominator the probability is of chi-squared, with ``residual`` of F with n - rank(X) degrees of freedom. Both
        take the variance components for known: they are too small where few groups make a term's error.
        """
        if kind not in ("incremental", "conditional"):
            raise UsageError(unknown("kind of test", kind, ("incremental", "conditional")))
        if denominator not in ("none", "residual"):
            raise UsageError(unknown("denominator", denominator, ("none", "residual")))
        tests = wald_tests(self.result, kind, None if denominator == "none" else denominator)
        columns: dict[str, Any] = {
            "df": [t.df for t in tests],
            "Wald": [t.statistic for t in tests],
            "F": [t.f_value for t in tests],
        }
        if denominator == "residual":
            columns["den_df"] = [t.denominator_df for t in tests]
        columns["Pr(chisq)" if denominator == "none" else "Pr(>F)"] = [t.p_value for t in tests]
        return pd.DataFrame(columns, index=pd.Index([t.term for t in tests]))

    def lrt(self, other: Fit, mixture: Mapping[int, float] | None = None) -> LrtResult:
        """Return the likelihood ratio test of two nested fits, the smaller one found by its parameters.

        Variances that the smaller fit drops lie on the boundary of the larger: the reference is then a mixture of
        chi-squared distributions (Self & Liang 1987; Stram & Lee 1994), or the one given as `mixture`, weights by
        degrees of freedom. Refused where the log-likelihoods cannot be compared, as under REML with other fixed
        effects.
        """
        if not isinstance(other, Fit):
            raise UsageError(f"lrt: compares with another fit, not {type(other).__name__}")
        return likelihood_ratio(self.result, other.result, mixture)

    def vpredict(self, expression: str) -> FunctionValue:
        """Return value and se of a function of the components, such as ``g[1,1] / (g[1,1] + res[1,1])``."""
        return function_of_components(self.result, expression)

    # --- predictions --------------------------------------------------------------------------------------------------

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.result)

    def predict(
        self,
        classify: str | Sequence[str] | pd.DataFrame | None = None,
        *,
        at: Mapping[str, Any] | None = None,
        random: bool = True,
    ) -> pd.DataFrame:
        """Return predictions with standard errors.

        classify
            Class columns, ``"Variety"``, ``"Variety:Nitrogen"`` or a list: the mean of each combination of their
            levels, fixed classes averaged over equally, covariates at their mean, random terms left out unless all
            their classes are named. Or a frame of new rows, which has the columns of all fixed terms; random terms
            whose columns it lacks are left out.
        at
            Values of columns, one or several each: ``{"Days": [0, 9]}``.
        random
            False leaves all random terms out.

        Means that the data do not determine have no value, and status ``aliased``. A level of a random term that the
        data do not have adds nothing to the value, and its variance to that of the prediction.
        """
        if isinstance(classify, pd.DataFrame):
            if at is not None:
                raise UsageError("at= is for means of classes; put its columns into the frame")
            frame, points = row_points(self._predictor, classify)
        elif not (classify is None or isinstance(classify, (str, Sequence))):
            raise UsageError(f"predict: names of classes or a DataFrame are wanted, not {type(classify).__name__}")
        else:
            frame, points = grid_points(self._predictor, classify, at or {})
        found = []
        for t, trait in enumerate(self.spec.traits):
            p = self._predictor.predict(points, t, random)
            one = frame.copy()
            if len(self.spec.traits) > 1:
                one.insert(0, "trait", trait)
            one["predicted"], one["std_error"] = p.value, p.se
            one["status"] = np.where(p.estimable, "estimable", "aliased")
            found.append(one)
        return pd.concat(found, ignore_index=not isinstance(classify, pd.DataFrame))

    # --- pictures and print -------------------------------------------------------------------------------------------

    def plot(self) -> Figure:
        """Return a Matplotlib figure: residuals, quantiles of residuals and random effects, log-likelihood by round."""
        from henderson.results.reml_figures import diagnostics

        return diagnostics(self.result)

    def summary(self) -> str:
        """Return the fit as text: components, correlations, functions, fixed effects, Wald tests."""
        return as_text(*self._sections())

    def _sections(self, wald: bool = True) -> tuple[list[str], list[Section]]:
        tests: list[WaldTest] = []
        if wald and 0 < self.result.rank <= FEW_FIXED:
            with contextlib.suppress(ResourceError):
                tests = wald_tests(self.result)
        return sections(self.result, Criteria(self.aic, self.bic), tests)

    def __repr__(self) -> str:
        head, tables = self._sections(wald=False)
        return as_text(head, [t for t in tables if t.title in ("Variance components", "Fixed effects")])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return as_html(*self._sections())


def _is_fixed(part: SubfactorSolutions) -> bool:
    return part.factor in (FIXED_CLASSES, FIXED_COVARIATES)
