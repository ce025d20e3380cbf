"""The jobs that a parameter file may ask for, and the options that each of them knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from henderson.errors import unknown
from henderson.language.spec import JobSpec, Option

Check = Callable[[object], Option]


def _number(low: float, high: float) -> Check:
    def check(value: object) -> Option:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
            raise ValueError(f"a number between {low:g} and {high:g} was expected, not {value!r}")
        return float(value)

    return check


def _whole(least: int) -> Check:
    def check(value: object) -> Option:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number from {least} on was expected, not {value!r}")
        return value

    return check


_count = _whole(1)


def _flag(value: object) -> Option:
    if not isinstance(value, bool):
        raise ValueError(f"true or false was expected, not {value!r}")
    return value


def _text(value: object) -> Option:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a text was expected, not {value!r}")
    return value


def _texts(value: object) -> Option:
    values = value if isinstance(value, list | tuple) else [value]
    if not values or any(isinstance(v, bool) or not isinstance(v, str | int) for v in values):
        raise ValueError(f"a list of names or ids was expected, not {value!r}")
    return tuple(str(v) for v in values)


def _choice(*choices: str) -> Check:
    def check(value: object) -> Option:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{unknown('value', str(value), choices)} (known: {', '.join(choices)})")
        return value

    return check


_SAMPLING: dict[str, Check] = {
    "sampler": _choice("singlepass", "blocked", "pev"),
    "samples": _count,
    "burnin": _count,
    "chains": _count,
    "switch": _texts,
    "rtol": _number(0, 1),
    "xtol": _number(0, 1),
}
# rtol: relative residual of the equations; xtol: relative change of the solutions between iterations (lmt's CD).
_SOLVING: dict[str, Check] = {
    "method": _choice("pcg", "direct"),
    "preconditioner": _choice("sweep", "border", "block", "diagonal"),
    "rtol": _number(0, 1),
    "xtol": _number(0, 1),
    "max_it": _count,
}
OPTIONS: dict[str, dict[str, Check]] = {
    "solve": _SOLVING,
    "pev": {
        **_SOLVING,
        "method": _choice("pcg", "direct", "sampling", "approximate"),
        "contributions": _flag,  # with method approximate
        "exact": _whole(0),  # the same: animals by which it is calibrated
        "samples": _count,
        "seed": _count,
        "factor": _texts,
        "levels": _texts,
        "levelfile": _text,
        "nrhs": _count,
    },
    "reml": {
        "method": _choice("ai", "mc-ai", "em", "mc-em", "auto"),
        "REML": _flag,  # false: maximum likelihood
        "start": _choice("data", "simpler"),
        "max_rounds": _count,
        "rtol": _number(0, 1),
        "convtype": _choice("ll", "ng", "cd"),
        "convtypell": _number(-math.inf, math.inf),
        "convtypeng": _number(-math.inf, math.inf),
        "convtypecd": _number(-math.inf, math.inf),
        "nscale": _number(-math.inf, math.inf),
        "solver_rtol": _number(0, 1),
        "solver_xtol": _number(0, 1),
        "solver_max_it": _count,
        "solver_method": _choice("pcg", "direct"),
        "mc_error": _number(0, 10),
        "most_samples": _count,
        "seed": _count,
        "write_ai": _flag,
        "residuals": _flag,
        "solutions": _flag,
        **{k: v for k, v in _SAMPLING.items() if k not in ("rtol", "xtol", "switch")},
    },
    "yhat": {},
    "residuals": {},
    "sample": _SAMPLING,
}
# lmt's names and what they are here.
ALIASES: dict[str, tuple[str, dict[str, Option]]] = {
    "pevsolve": ("pev", {}),
    "pevsample": ("pev", {"method": "sampling"}),
    "airemlc": ("reml", {"method": "ai"}),
    "aireml": ("reml", {"method": "ai"}),
    "mcemreml": ("reml", {"method": "mc-em"}),
}
NAMES = (*OPTIONS, *ALIASES)
WITH_SOLVER = ("solve", "pev", "pevsolve", "reml", "airemlc", "aireml", "mcemreml")


def make_job(name: str, options: Mapping[str, object], fault: Callable[[str | None, str], None]) -> JobSpec | None:
    """Return the job in its canonical name, its options checked and sorted; None if there is no such job.

    `fault` is called with the option (None for the name of the job) and what is wrong with it.
    """
    if name not in NAMES:
        fault(None, unknown("job", name, NAMES))
        return None
    canonical, implied = ALIASES.get(name, (name, {}))
    checks = OPTIONS[canonical]
    values = dict(implied)
    for key, value in options.items():
        if key not in checks:
            fault(key, unknown(f"option of job {name!r}:", key, list(checks)))
            continue
        try:
            values[key] = checks[key](value)
        except ValueError as e:
            fault(key, f"option {key!r} of job {name!r}: {e}")
    return JobSpec(canonical, tuple(sorted(values.items())))


def make_solver(options: Mapping[str, object], fault: Callable[[str | None, str], None]) -> dict[str, Option]:
    """Return the options of a solver, checked; `fault` is called with an option and what is wrong with it."""
    values: dict[str, Option] = {}
    for key, value in options.items():
        if key not in _SOLVING:
            fault(key, unknown("option of a solver:", key, list(_SOLVING)))
            continue
        try:
            values[key] = _SOLVING[key](value)
        except ValueError as e:
            fault(key, f"option {key!r}: {e}")
    return values


def through_solver(job: str, solver: Mapping[str, Option]) -> dict[str, Option]:
    """Return the options of a solver as options of the job (in its name or an alias) that uses it."""
    prefix = "solver_" if ALIASES.get(job, (job, {}))[0] == "reml" else ""
    return {prefix + key: value for key, value in solver.items()}


def rtol_of_log(threshold: float) -> float:
    """Return the relative tolerance that lmt's natural-log threshold stands for: -18.42 is 1e-8 (rounded ln 1e-8)."""
    power = round(threshold / math.log(10))
    return 10.0**power if abs(threshold - power * math.log(10)) < 0.005 else math.exp(threshold)
