"""From a draft to the one frozen `ModelSpec`: everything that relates the parts of a parameter file to one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from henderson.errors import nearest, unknown
from henderson.language.checks import check_columns
from henderson.language.draft import Draft, DraftVariance, Schema
from henderson.language.functions import parse_function
from henderson.language.indices import make_indices
from henderson.language.pedigrees import are_fixed, has_groups
from henderson.language.sigma_files import own_sigma_faults
from henderson.language.source import Place, Problems, listed
from henderson.language.spec import (
    ONE,
    RESIDUAL,
    Equation,
    GammaSpec,
    ModelSpec,
    VarianceSpec,
)
from henderson.language.terms import SubFactors, compile_equations, compile_polynomials, make_subfactors
from henderson.language.variances import check_constraints, check_sigma


def assemble(draft: Draft, schema: Schema | None, problems: Problems) -> ModelSpec | None:
    """Return the model, None if anything is wrong (noted in `problems`).

    `schema` has the types of the columns of the records by name; None if they could not be read.
    """
    polynomials = compile_polynomials(draft.polynomials, problems)
    equations, subfactors = compile_equations(draft.equations, polynomials, draft.polynomials, problems)
    if schema is not None:
        _check_columns(draft, schema, problems)
    _check_pedigrees(draft, problems)
    _check_use_of_variances(draft, subfactors, problems)
    _check_levels(draft, problems)
    _check_own_sigmas(draft, problems)
    sizes = {name: _check_size(draft, name, subfactors, problems) for name in [*draft.variances, RESIDUAL]}
    _check_missing_sigma(draft, equations, subfactors, problems)
    by_class = RESIDUAL in draft.variances and draft.variances[RESIDUAL].by is not None
    known = sizes | ({f"{RESIDUAL}.*": sizes[RESIDUAL]} if by_class else {})
    functions = [(name, parse_function(name, source, known, problems)) for name, source in draft.functions.items()]
    parts = make_subfactors(subfactors)
    indices = make_indices(draft, equations, parts, polynomials, problems)
    if problems.found or draft.data is None:
        return None
    residual = draft.variances.get(RESIDUAL, DraftVariance(RESIDUAL))
    others = sorted((v for v in draft.variances.values() if v.name != RESIDUAL), key=lambda v: v.name)
    return ModelSpec(
        data=replace(draft.data, checks=draft.checks),
        equations=equations,
        subfactors=parts,
        variances=tuple(_variance(v) for v in (*others, residual)),
        polynomials=tuple(p for p in polynomials if p is not None),
        pedigrees=tuple(draft.pedigrees[k] for k in sorted(draft.pedigrees)),
        matrices=tuple(draft.matrices[k] for k in sorted(draft.matrices)),
        jobs=draft.jobs,
        lmt_files=draft.lmt_files,
        validation=draft.validation,
        indices=indices,
        functions=tuple((name, text) for name, text in functions if text is not None),
        source=draft.source,
    )


def _variance(v: DraftVariance) -> VarianceSpec:
    return VarianceSpec(
        name=v.name,
        sigma=v.sigma,
        structure=v.structure or "us",  # type: ignore[arg-type]
        gamma=v.gamma or GammaSpec(),
        fix=v.fix,
        equal=v.equal,
        rank=v.rank,
        classes=v.classes,
        by=v.by,
        type=v.type,
        options=v.options,
        blocks=v.blocks,
    )


def _check_columns(draft: Draft, schema: Schema, problems: Problems) -> None:
    uses: list[tuple[str, Place | None]] = []
    for equation in draft.equations:
        uses.append((equation.response, equation.at))
        uses += [(column, term.variable.at) for term in equation.terms for column in term.variable.columns]
    if draft.data is not None:
        if draft.data.weights is not None:
            uses.append((draft.data.weights, draft.data_at.get("weights")))
        uses += [(column, draft.data_at.get("classes")) for column in draft.data.classes]
    uses += [(v.by, v.by_at) for v in draft.variances.values() if v.by is not None]
    uses += check_columns(draft, problems)
    if draft.validation is not None and draft.validation.date is not None:
        uses.append((draft.validation.date, draft.validation_at))
    report_missing_columns(uses, draft, schema, problems)


def report_missing_columns(
    uses: Sequence[tuple[str, Place | None]], draft: Draft, schema: Schema, problems: Problems
) -> None:
    """Note every column, used at a place, that the records lack; each of them once."""
    records = listed(draft.data.records) if draft.data else "the records"
    missing: dict[str, Place | None] = {}
    for column, at in uses:
        if column not in schema:
            missing.setdefault(column, at)
    for column, at in missing.items():
        near = nearest(column, list(schema))
        known = [*schema][:12] + ["..."] * (len(schema) > 12)
        hint = f"did you mean {near!r}?" if near else f"columns: {', '.join(known)}"
        formula = next((f"formula {k!r}: " for k, s in draft.formulas.items() if at in s.places), "")
        problems.add(f"{formula}{records} has no column {column!r}", at, hint)


def _check_pedigrees(draft: Draft, problems: Problems) -> None:
    for equation in draft.equations:
        for term in equation.terms:
            v = term.variable
            if v.pedigree is not None and v.pedigree not in draft.pedigrees:
                problems.add(unknown("pedigree", v.pedigree, list(draft.pedigrees)), v.at)
            elif v.pedigree is not None and not has_groups(draft.pedigrees[v.pedigree]):
                problems.add(
                    f"t(gg({v.pedigree})): pedigree {v.pedigree!r} has no groups",
                    v.at,
                    "say how many of its first rows are phantom parents, 'phantomparents'",
                )
    for variance in draft.variances.values():
        gamma = variance.gamma
        if gamma is None or gamma.name is None:
            continue
        kind, known = ("matrix", draft.matrices) if gamma.kind == "matrix" else ("pedigree", draft.pedigrees)
        if gamma.kind in ("pedigree", "matrix") and gamma.name not in known:
            problems.add(
                f"gamma of variance {variance.name!r}: {unknown(kind, gamma.name, list(known))}", variance.gamma_at
            )


def _check_use_of_variances(draft: Draft, subfactors: SubFactors, problems: Problems) -> None:
    declared = [name for name in draft.variances if name != RESIDUAL]
    used, all_known = set(), True
    for term in subfactors.first.values():
        s = term.subfactor
        if s.variance is None:
            continue
        used.add(s.variance)
        if s.variance == RESIDUAL:
            problems.add(f"sub-factor {s.name!r} names the residual variance {RESIDUAL!r}", s.at, "use another one")
        elif s.variance not in draft.variances:
            all_known = False
            problems.add(f"sub-factor {s.name!r}: {unknown('variance', s.variance, declared)}", s.at)
    # An unknown name is most often a misspelt one, which leaves the right one unused: say that once. Nor can anything
    # be said where an equation could not be read.
    if all_known and not problems.found:
        for name in declared:
            if name not in used:
                problems.add(
                    f"variance {name!r} is declared, but no sub-factor uses it",
                    draft.variances[name].at,
                    f"used: {', '.join([*sorted(used), RESIDUAL])}",
                )


def _check_levels(draft: Draft, problems: Problems) -> None:
    for equation in draft.equations:
        for term in equation.terms:
            variance = draft.variances.get(term.subfactor.variance or "")
            if variance is None or variance.gamma is None or variance.gamma.kind == "identity":
                continue
            v = term.variable
            levels = v.nested_in if v.kind == "covariate" else v.name
            if levels is None or levels == ONE or v.kind == "group":
                problems.add(
                    f"sub-factor {term.subfactor.name!r} of variance {variance.name!r} has no individuals: its levels "
                    f"are related by {variance.gamma.name!r}, but variable {v.name!r} names none",
                    v.at,
                    "use the column of the individuals, or nest the covariate in it",
                )


def _check_own_sigmas(draft: Draft, problems: Problems) -> None:
    """Note what is wrong with variances whose levels have a Sigma of their own."""
    for variance in draft.variances.values():
        used = [t.variable for e in draft.equations for t in e.terms if t.subfactor.variance == variance.name]
        levels = [None if v.kind == "group" else v.nested_in if v.kind == "covariate" else v.name for v in used]
        gamma = variance.gamma
        pedigree = draft.pedigrees.get(gamma.name or "") if gamma is not None and gamma.kind == "pedigree" else None
        grouped = pedigree is not None and are_fixed(pedigree)
        for fault in own_sigma_faults(variance, levels, grouped):
            problems.add(f"variance {variance.name!r}: {fault}", variance.blocks_at or variance.by_at or variance.at)


def _check_size(draft: Draft, name: str, subfactors: SubFactors, problems: Problems) -> int | None:
    """Return the number of positions of a variance, None if it is unknown because of a mistake."""
    variance = draft.variances.get(name, DraftVariance(name))
    sound = check_sigma(variance, problems)
    n_sigma = len(variance.sigma) if variance.sigma is not None else None
    if name == RESIDUAL:
        if (n := len(draft.equations)) == 0:
            return None
        what = f"the equations have {n} trait{'s' * (n > 1)}"
    else:
        if not (owners := _owners(name, subfactors, problems)):
            return n_sigma
        n = max(owners) if n_sigma is None else len(owners)
        what = f"the equations use {len(owners)} position{'s' * (len(owners) > 1)}"
        if n_sigma in (None, len(owners)) and (gaps := sorted(set(range(1, n + 1)) - set(owners))):
            beyond = sorted(p for p in owners if p > n)
            extra = f", and position {listed(beyond)} lies outside of it" if beyond else ""
            problems.add(
                f"variance {name!r}: no sub-factor uses position {listed(gaps)} of its {n}{extra}", variance.at
            )
    if sound and n_sigma != n:
        problems.add(f"sigma of variance {name!r} is {n_sigma} by {n_sigma}, but {what}", variance.sigma_at)
    _check_classes(variance, n, what, problems)
    check_constraints(variance, n, sound, problems)
    return n


def _check_classes(variance: DraftVariance, n: int, what: str, problems: Problems) -> None:
    """Check Sigma of single residual classes as that of all."""
    if variance.classes and variance.by is None:
        problems.add(
            f"variance {variance.name!r} has a sigma for class {variance.classes[0][0]!r}, but no 'by'",
            variance.sigma_at or variance.at,
            'name the column of the classes, by = "sex"',
        )
    for level, sigma in variance.classes:
        title = f"{variance.name}, class {level}"
        one = DraftVariance(title, variance.at, sigma, variance.sigma_at or variance.at, variance.structure)
        if check_sigma(one, problems) and len(sigma) != n:
            problems.add(f"sigma of variance {title!r} is {len(sigma)} by {len(sigma)}, but {what}", one.sigma_at)


def _owners(name: str, subfactors: SubFactors, problems: Problems) -> dict[int, str]:
    owners: dict[int, str] = {}
    for s in subfactors.of_variance(name):
        for position in s.positions:
            if position in owners:
                problems.add(
                    f"position {position} of variance {name!r} is used twice, by sub-factor {owners[position]!r} "
                    f"and by {s.name!r}",
                    s.at,
                    "every position belongs to one sub-factor",
                )
            owners.setdefault(position, s.name)
    return owners


def _check_missing_sigma(
    draft: Draft, equations: Sequence[Equation], subfactors: SubFactors, problems: Problems
) -> None:
    if any(job.name in ("reml", "sample") for job in draft.jobs):
        return
    needed = dict.fromkeys(t.subfactor.variance for t in subfactors.first.values() if t.subfactor.variance is not None)
    for name in [*needed, RESIDUAL] if equations else []:
        variance = draft.variances.get(name)
        if variance is None and name != RESIDUAL:
            continue  # unknown, and reported as such
        if variance is None or not (
            variance.sigma or variance.sigma_at or variance.type or variance.classes or variance.blocks
        ):
            problems.add(
                f"variance {name!r} has no sigma, and no job estimates it",
                variance.at if variance else None,
                f"give sigma of {name!r}, or run the job 'reml' first",
            )
