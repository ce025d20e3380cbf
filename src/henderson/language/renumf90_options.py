"""The OPTION lines of a parameter file of BLUPF90: jobs, the missing value, functions, and what has no counterpart."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from henderson.language.expressions import parse_expression, print_expression
from henderson.language.renumf90 import Values
from henderson.language.source import Problems
from henderson.language.spec import JobSpec, Option
from henderson.language.syntax import Misfit

_METHODS = {
    "blup": "", "vce": "ai", "aireml": "ai", "airemlf90": "ai", "em-reml": "em", "emreml": "em", "remlf90": "em",
}  # fmt: skip
_SOLVERS = {"fspak": "direct", "yams": "direct", "pcg": "pcg"}
# Choices of storage, speed or output, which change no solution here.
_HARMLESS = ("blksize", "use_yams", "origID", "nthreads", "nthreadsiod", "max_string_readline", "max_field_readline")
_G = re.compile(r"\bG_(\d+)_(\d+)_(\d+)_(\d+)\b")
_R = re.compile(r"\bR_(\d+)_(\d+)\b")

Element = Callable[[int, int, int], str | None]


@dataclass
class Options:
    """What the OPTION lines ask for; `left_out` says which of them have no counterpart."""

    missing: float = 0.0
    jobs: tuple[JobSpec, ...] = (JobSpec("solve"),)
    functions: tuple[tuple[str, str], ...] = ()
    left_out: list[str] = field(default_factory=list)


def read_options(options: Sequence[Values], g: Element, problems: Problems) -> Options:
    """Return the options; `g` gives the element of a variance by effect and two traits, all counted from 1."""
    result = Options()
    method, standard_errors = "", False
    solving: dict[str, Option] = {}
    estimating: dict[str, Option] = {}
    functions = []
    for option in options:
        words = option.words
        name, values = (words[0] if words else ""), words[1:]
        first = values[0] if values else ""
        said = f"OPTION {' '.join(words)} (line {option.line})"
        match name:
            case "missing":
                result.missing = _number(first, option, problems) if first else 0.0
            case "conv_crit":
                # BLUPF90 stops by squared ratios
                rtol = math.sqrt(max(_number(first, option, problems), 0.0))
                if 0 < rtol < 1:
                    solving["rtol"] = estimating["rtol"] = float(f"{rtol:.12g}")
            case "maxrounds":
                if first.isdecimal() and int(first) > 0:
                    solving["max_it"] = estimating["max_rounds"] = int(first)
                else:
                    result.left_out.append(said)
            case "method":
                method = _METHODS.get(first.lower(), method)
                if first.lower() not in _METHODS:
                    result.left_out.append(said)
            case "EM-REML":
                method = "em" if first == "pure" else "ai"
                if first != "pure":
                    result.left_out.append(f"{said}: start values come without rounds of EM")
            case "solv_method":
                if first.lower() in _SOLVERS:
                    solving["method"] = _SOLVERS[first.lower()]
                else:
                    result.left_out.append(f"{said}: solved by PCG")
            case "sol" if first == "se":
                standard_errors = True
            case "se_covar_function" if len(values) >= 2:
                method = method or "ai"
                function = _function("".join(values[1:]), g)
                functions += [(first, function)] if function else []
                result.left_out += [] if function else [said]
            case _ if name not in _HARMLESS:
                result.left_out.append(said)
    result.functions = tuple(functions)
    result.jobs = _jobs(method, standard_errors, solving, estimating)
    return result


def _number(word: str, option: Values, problems: Problems) -> float:
    try:
        value = float(word.lower().replace("d", "e"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problems.add(f"OPTION {option.words[0]} takes a number, not {word[:60]!r}", (option.line, 1))
        return 0.0
    return value


def _jobs(
    method: str, standard_errors: bool, solving: Mapping[str, Option], estimating: Mapping[str, Option]
) -> tuple[JobSpec, ...]:
    jobs = []
    if method:
        jobs.append(JobSpec("reml", tuple(sorted({**estimating, "method": method}.items()))))
        solving = {k: v for k, v in solving.items() if k not in ("rtol", "max_it")}  # they were those of REML
    jobs.append(JobSpec("solve", tuple(sorted(solving.items()))))
    return (*jobs, JobSpec("pev")) if standard_errors else tuple(jobs)


def _function(text: str, g: Element) -> str | None:
    """Return a function such as G_2_2_1_1/(G_2_2_1_1+R_1_1) in our words, None if it has no counterpart."""
    unknown = []

    def element(match: re.Match[str]) -> str:
        effect, other, row, column = map(int, match.groups())
        found = g(effect, row, column) if effect == other else None
        unknown.extend([] if found else [match.group()])
        return found or match.group()

    ours = _R.sub(lambda m: f"res[{m[1]},{m[2]}]", _G.sub(element, text))
    try:
        return None if unknown else print_expression(parse_expression(ours))
    except Misfit:
        return None
