"""The jobs of a model in lmt's words, with the solvers and samplers that they name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from henderson.language.jobs import rtol_of_log
from henderson.language.spec import JobSpec, Option
from henderson.language.write_toml import grouped, number

_REML = {
    "max_rounds": "rounds",
    "convtype": "convtype",
    "convtypell": "convtypell",
    "convtypeng": "convtypeng",
    "convtypecd": "convtypecd",
    "nscale": "nscale",
}
_SWITCHES = {"write_ai": "writeai", "residuals": "residuals", "solutions": "solutions"}
_NAMES = {"pev": "pevsolve", "reml": "airemlc"}
_KNOWN = ("solve", "pev", "reml", "yhat", "residuals", "sample")
_PEV = ("factor", "levels", "levelfile", "nrhs")
_BAD_IN_WORD = re.compile(r"[,#<>&\s]")
_SAMPLER = ("samples", "burnin", "chains", "switch")


def write_jobs(jobs: Sequence[JobSpec]) -> tuple[list[str], list[str], list[str]]:
    """Return the lines of ``<jobs>``, ``<solvers>`` and ``<samplers>``, what lmt cannot say, and notes.

    None of the elements is needed for a single job `solve` without options.
    """
    if tuple(jobs) == (JobSpec("solve"),):
        return [], [], []
    writer = _Writer()
    names, elements = [], []
    for name, same in grouped(jobs):
        if (kind := same[0].name) not in _KNOWN:
            writer.lost.append(f"lmt has no job {kind!r}")
            continue
        if name == "residuals":
            writer.notes.append("job 'residuals' is not lmt's: there it is a switch of airemlc")
        if len(same) > 1 and name == "solve":
            lines = [f"solver: {','.join(writer.solver_of(job, number) for number, job in enumerate(same, 1))}"]
        else:
            name, lines = writer.job(same[0])
        if name in names:
            writer.lost.append(f"lmt does each job once, also {name!r}")
        names.append(name)
        elements += [f"<{name}>", *(f"  {line}" for line in lines), f"</{name}>"] if lines else []
    body = ["<jobs>", *(f"  {line}" for line in (f"jobs: {','.join(names)}", *elements)), "</jobs>"]
    for kind, tools in (("solvers", writer.solvers), ("samplers", writer.samplers)):
        if tools:
            lines = [f"{kind}: {','.join(tools)}"]
            for name, (inner, keys) in tools.items():
                lines += [f"<{name}>", f"  <{inner}>", *(f"    {line}" for line in keys), f"  </{inner}>", f"</{name}>"]
            body += [f"<{kind}>", *(f"  {line}" for line in lines), f"</{kind}>"]
    return body, writer.lost, writer.notes


def log_of_rtol(rtol: float) -> float:
    """Return lmt's natural-log threshold of a relative tolerance, with few digits if it reads back the same."""
    short = round(math.log(rtol), 2)
    return short if rtol_of_log(short) == rtol else math.log(rtol)


class _Writer:
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.notes: list[str] = []
        self.solvers: dict[str, tuple[str, list[str]]] = {}
        self.samplers: dict[str, tuple[str, list[str]]] = {}

    def job(self, job: JobSpec) -> tuple[str, list[str]]:
        """Return lmt's name of a job and the lines of its element."""
        options = dict(job.options)
        name, lines = _NAMES.get(job.name, job.name), []
        for key, option in options.items():
            words = [v for v in (option if isinstance(option, tuple) else (option,)) if isinstance(v, str)]
            if bad := [w for w in words if _BAD_IN_WORD.search(w)]:
                self.lost.append(f"job {job.name!r}: {key!r} has {bad[0]!r}; lmt's lists hold no blanks, no , # < &")
        if job.name == "pev" and options.get("method") == "sampling":
            del options["method"]
            name = "pevsample"
            options["sampler"] = "pev"
        elif job.name == "pev":
            lines += [f"{k}: {_word(options.pop(k))}" for k in _PEV if k in options]
        elif job.name == "reml":
            name = self._reml_name(options)
            known = _REML if name == "airemlc" else {"max_rounds": "rounds"}
            lines += [f"{lmt}: {_word(options.pop(k))}" for k, lmt in known.items() if k in options]
            switches = [lmt for k, lmt in _SWITCHES.items() if options.pop(k, False)] if name == "airemlc" else []
            lines += [f"switch: {','.join(switches)}"] if switches else []
            if name == "mcemreml" and "rtol" in options:
                lines.append(f"conv: {_threshold(options.pop('rtol'))}")
        prefix = "solver_" if job.name == "reml" else ""
        lines += self._solver(name, options, prefix) if name != "yhat" and "sample" not in name else []
        if name in ("sample", "pevsample", "mcemreml"):
            lines += self._sampler(name, options)
        for option in options:
            self.notes.append(f"job {job.name!r}: option {option!r} is left out, lmt has none like it")
        return name, lines

    def solver_of(self, job: JobSpec, number: int) -> str:
        """Return the name of the solver of one of several solves."""
        options = dict(job.options)
        tool = f"solver_{job.name}_{number}"
        if not self._solver(f"{job.name}_{number}", options, ""):
            self.solvers[tool] = ("pcgiod", [])
        self.notes += [f"job {job.name!r}: option {o!r} is left out, lmt has none like it" for o in options]
        return tool

    def _reml_name(self, options: dict[str, Option]) -> str:
        method = options.pop("method", "ai")
        if options.get("REML") is False:
            self.lost.append("job 'reml': lmt has no maximum likelihood (REML = false)")
        options.pop("REML", None)
        if method not in ("ai", "mc-em"):
            self.notes.append(f"job 'reml': method {method!r} is written as 'airemlc'")
        return "mcemreml" if method == "mc-em" else "airemlc"

    def _solver(self, name: str, options: dict[str, Option], prefix: str) -> list[str]:
        direct = options.pop(f"{prefix}method", "pcg") == "direct"
        lines = []
        if f"{prefix}max_it" in options:
            lines.append(f"rounds: {_word(options.pop(f'{prefix}max_it'))}")
        rtol, xtol = options.pop(f"{prefix}rtol", None), options.pop(f"{prefix}xtol", None)
        if rtol is not None and xtol is not None:
            self.notes.append(f"job {name!r}: lmt has one criterion; xtol (its CD) is left out, rtol (its CR) is kept")
        if rtol is not None:
            lines += [f"conv: {_threshold(rtol)}", "convtype: CR"]
        elif xtol is not None:
            lines += [f"conv: {_threshold(xtol)}", "convtype: CD"]
        if not lines and not direct:
            return []
        tool = f"solver_{name}"
        self.solvers[tool] = ("direct", []) if direct else ("pcgiod", lines)
        return [f"solver: {tool}"]

    def _sampler(self, name: str, options: dict[str, Option]) -> list[str]:
        kind = str(options.pop("sampler", "singlepass"))
        lines = [f"{k}: {_word(options.pop(k))}" for k in _SAMPLER if k in options]
        for key, criterion in (("rtol", "CR"), ("xtol", "CD")):
            if key in options and not any(line.startswith("conv") for line in lines):
                lines += [f"conv: {_threshold(options.pop(key))}", f"convtype: {criterion}"]
        if not lines and kind == "singlepass" and name != "mcemreml":
            return []
        tool = f"sampler_{name}"
        self.samplers[tool] = (kind, lines)
        return [f"sampler: {tool}"]


def _threshold(option: Option) -> str:
    return number(log_of_rtol(float(option))) if isinstance(option, int | float) else str(option)


def _word(option: Option) -> str:
    if isinstance(option, tuple):
        return ",".join(map(str, option))
    return option if isinstance(option, str) else number(option)
