"""Jobs of an lmt parameter file, with the solvers and samplers that they name."""

from __future__ import annotations

from typing import Any

from henderson.errors import unknown
from henderson.language.draft import Draft
from henderson.language.jobs import WITH_SOLVER, make_job, rtol_of_log, through_solver
from henderson.language.source import Problems
from henderson.language.xml_keys import Keys, nominated
from henderson.language.xml_tree import Element

# Keys of lmt that are handed on as they are, and what they are called here.
_JOB_KEYS: dict[str, dict[str, str]] = {
    "solve": {},
    "sample": {},
    "pevsample": {},
    "pevsolve": {"factor": "factor", "levels": "levels", "levelfile": "levelfile", "nrhs": "nrhs"},
    "airemlc": {
        "rounds": "max_rounds",
        "convtype": "convtype",
        "convtypell": "convtypell",
        "convtypeng": "convtypeng",
        "convtypecd": "convtypecd",
        "nscale": "nscale",
    },
    "mcemreml": {"rounds": "max_rounds"},
    "yhat": {},
    "residuals": {},  # not in lmt
}
_JOB_KEYS["aireml"] = _JOB_KEYS["airemlc"]
_LISTS = ("factor", "levels")
_COUNTS = ("nrhs", "rounds", "samples", "burnin", "chains")
_WITH_SAMPLER = ("sample", "pevsample", "mcemreml")
_REML_SWITCHES = {"writeai": "write_ai", "residuals": "residuals", "solutions": "solutions"}


def read_jobs(root: Element, draft: Draft, problems: Problems) -> None:
    """Read ``<jobs>``, ``<solvers>`` and ``<samplers>``; without ``<jobs>`` the only job is solve."""
    solvers = _read_tools(root, "solvers", problems)
    samplers = _read_tools(root, "samplers", problems)
    element = root.child("jobs")
    if element is None:
        return
    names = ("default", *_JOB_KEYS)
    top = Keys(element, problems, ("jobs",), names)
    run = top.texts("jobs") or ("solve",)
    default = element.child("default")
    threshold = Keys(default, problems, ("conv",)).number("conv") if default is not None else None
    for child in element.children:
        if child.name in _JOB_KEYS and child.name not in run:
            problems.add(f"<jobs>: element {child.title}, but 'jobs:' does not name {child.name!r}", child.at)
    jobs = []
    for name in run:
        if name not in _JOB_KEYS:
            top.fault(unknown("job", name, tuple(_JOB_KEYS)), "jobs")
            continue
        if run.count(name) > 1:
            top.fault(f"job {name!r} is named twice", "jobs")
        inner = element.child(name)
        options: dict[str, Any] = {}
        keys = None
        through: list[dict[str, Any]] = [{}]
        if inner is not None:
            keys, through = _read_job(name, inner, solvers, samplers, options, problems)

        def fault(option: str | None, message: str, name: str = name, keys: Keys = keys or top) -> None:
            lmt = {v: k for k, v in _JOB_KEYS.get(name, {}).items()}.get(option or "", option)
            keys.fault(message, lmt)

        for solver in through:
            if name == "solve" and threshold is not None and not {"rtol", "xtol"} & set(solver):
                solver["rtol"] = rtol_of_log(threshold)
            jobs.append(make_job(name, options | solver, fault))
    draft.jobs = tuple(job for job in jobs if job is not None)


def _read_job(
    name: str,
    element: Element,
    solvers: dict[str, dict[str, Any]],
    samplers: dict[str, dict[str, Any]],
    options: dict[str, Any],
    problems: Problems,
) -> tuple[Keys, list[dict[str, Any]]]:
    """Return the keys of a job, and what each of the solvers that it names adds to its `options`."""
    known = [*_JOB_KEYS[name]]
    known += ["solver"] if name in WITH_SOLVER else []
    known += ["sampler"] if name in _WITH_SAMPLER else []
    known += ["switch"] if name in ("airemlc", "aireml") else []
    known += ["conv"] if name == "mcemreml" else []
    keys = Keys(element, problems, known)
    for key, option in _JOB_KEYS[name].items():
        if key in keys.values:
            options[option] = _value(keys, key)
    if "switch" in known:
        options.update({_REML_SWITCHES[s]: True for s in keys.switches(*_REML_SWITCHES)})
    if (threshold := keys.number("conv") if "conv" in known else None) is not None:
        options["rtol"] = rtol_of_log(threshold)
    for tool in keys.texts("sampler") if "sampler" in known else ():
        if tool not in samplers:
            keys.fault(unknown("sampler", tool, list(samplers)), "sampler")
        options.update(_pev_sampling(samplers.get(tool, {})) if name == "pevsample" else samplers.get(tool, {}))
    named = keys.texts("solver") if "solver" in known else ()
    for tool in named:
        if tool not in solvers:
            keys.fault(unknown("solver", tool, list(solvers)), "solver")
    if len(named) > 1 and name != "solve":
        keys.fault(f"job {name!r} takes one solver, not {len(named)}", "solver")
    return keys, [through_solver(name, solvers.get(tool, {})) for tool in named] or [{}]


def _pev_sampling(sampler: dict[str, Any]) -> dict[str, Any]:
    """Return what a sampler says of independent samples, of which those of all chains count and none are burnt."""
    found = {k: v for k, v in sampler.items() if k == "rtol"}
    if "samples" in sampler:
        found["samples"] = sampler["samples"] * sampler.get("chains", 1)
    return found


def _value(keys: Keys, key: str) -> object:
    if key in _LISTS:
        return keys.texts(key)
    if key in _COUNTS:
        return keys.count(key) or 1  # a wrong number is noted already
    if (key.startswith("convtype") and key != "convtype") or key == "nscale":
        return keys.number(key) or 0.0
    return keys.text(key) or ""


def _read_tools(root: Element, kind: str, problems: Problems) -> dict[str, dict[str, Any]]:
    """Return the named solvers or samplers with their options."""
    element = root.child(kind)
    if element is None:
        return {}
    types = ("pcgiod", "direct") if kind == "solvers" else ("singlepass", "blocked", "pev")
    tools: dict[str, dict[str, Any]] = {}
    for tool in nominated(element, kind, problems):
        Keys(tool, problems, (), types)
        inner = [c for c in tool.children if c.name in types]
        if len(inner) != 1:
            if len(inner) == len(tool.children):
                problems.add(f"{tool.title}: exactly one of {', '.join(f'<{t}>' for t in types)} is needed", tool.at)
            tools[tool.name] = {}
            continue
        read = _solver_options if kind == "solvers" else _sampler_options
        tools[tool.name] = read(inner[0], problems)
    return tools


def _tolerance(keys: Keys, options: dict[str, Any]) -> None:
    criterion = keys.choice("convtype", ("CR", "CD", "cr", "cd"))
    threshold = keys.number("conv")
    if threshold is None and criterion is not None and criterion.upper() == "CD":
        threshold = -18.42  # lmt's default
    if threshold is None:
        return
    if threshold >= 0:
        keys.fault(f"'conv' is the natural logarithm of a tolerance and must be negative, not {threshold:g}", "conv")
        return
    options["xtol" if criterion is not None and criterion.upper() == "CD" else "rtol"] = rtol_of_log(threshold)


def _solver_options(element: Element, problems: Problems) -> dict[str, Any]:
    if element.name == "direct":
        Keys(element, problems)
        return {"method": "direct"}
    keys = Keys(element, problems, ("rounds", "conv", "convtype"))
    options: dict[str, Any] = {}
    if (rounds := keys.count("rounds")) > 0:
        options["max_it"] = rounds
    _tolerance(keys, options)
    return options


def _sampler_options(element: Element, problems: Problems) -> dict[str, Any]:
    keys = Keys(element, problems, ("samples", "rounds", "burnin", "chains", "switch", "conv", "convtype"))
    options: dict[str, Any] = {"sampler": element.name}
    for key, option in (("samples", "samples"), ("rounds", "samples"), ("burnin", "burnin"), ("chains", "chains")):
        if (count := keys.count(key)) > 0:
            options[option] = count
    if "switch" in keys.values:
        options["switch"] = keys.texts("switch")
    _tolerance(keys, options)
    return options
