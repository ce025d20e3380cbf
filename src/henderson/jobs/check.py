"""The model of a parameter file as it was understood: equations, factors, and what sits at which position of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from henderson.equations.group_regression import n_groups_of
from henderson.equations.memory import Counts, counts_of_store, estimate
from henderson.errors import HendersonError
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.plan import make_plan
from henderson.ingest.run import BLOCK_BYTES, is_current
from henderson.jobs.write import equations_text
from henderson.language.load import load_model
from henderson.language.spec import (
    FIXED_CLASSES,
    FIXED_COVARIATES,
    ONE,
    RESIDUAL,
    ModelSpec,
    SubFactor,
    Term,
    VarianceSpec,
)
from henderson.language.support import unsupported
from henderson.results.model_words import index_text
from henderson.results.run_record import effective_config


@dataclass(frozen=True)
class FactorRow:
    """One factor: a random one with its variance, or a sub-factor of the fixed ones, whose levels are its own.

    levels: how many, None if the data are not ingested; at_most: whether that is an upper bound, as where only levels
    count that are seen with the trait; width: coefficients of a level.
    """

    factor: str
    relationship: str
    levels_of: str
    levels: int | None
    at_most: bool
    width: int
    sigma: str

    @property
    def equations(self) -> int | None:
        """Return levels by width."""
        return None if self.levels is None else self.levels * self.width


@dataclass(frozen=True)
class PositionRow:
    """One coefficient of a level: its position in Sigma (None: fixed), its name in the results, what it multiplies."""

    factor: str
    position: int | None
    name: str
    traits: str
    term: str
    variance: str


@dataclass(frozen=True)
class Description:
    """A model in words: equations, facts of the data, factors, positions, jobs, notes, and the configuration."""

    equations: str
    data: tuple[str, ...]
    factors: tuple[FactorRow, ...]
    positions: tuple[PositionRow, ...]
    jobs: tuple[str, ...]
    notes: tuple[str, ...]
    config: dict[str, Any]


def describe_model(file: Path, store: Path | None = None) -> Description:
    """Return the description of a parameter file; levels are counted if `store` holds its data.

    Parameters
    ----------
    file
        The parameter file.
    store
        By default where ``henderson run`` puts it.

    Raises
    ------
    ModelError
        For all mistakes in the parameter file at once.

    """
    spec = load_model(file, read_schema, read_levels)
    counts, notes = _counts(spec, store or Path(f"{file.stem}.out") / "store.zarr", asked=store is not None)
    factors = tuple(_factors(spec, counts))
    if counts is not None:
        total = sum(item.bytes for item in estimate(spec, counts))
        equations = sum(f.equations or 0 for f in factors if f.factor != RESIDUAL)
        most = "at most " if any(f.at_most for f in factors) else ""
        notes.append(
            f"{most}{equations:,} equations; to solve them takes {-(-total // 2**20):,} MiB besides the program"
        )
    notes += [f"index {i.name} of {i.variance}: {index_text(i)}" for i in spec.indices]
    notes += [f"not computed by this version: {p.message}" for p in unsupported(spec)]
    return Description(
        equations_text(spec),
        tuple(_data(spec, counts)),
        factors,
        tuple(_positions(spec)),
        tuple(f"{j.name}{': ' if j.options else ''}{', '.join(f'{k} = {v}' for k, v in j.options)}" for j in spec.jobs),
        tuple(notes),
        effective_config(spec, {}),
    )


def _counts(spec: ModelSpec, store: Path, asked: bool) -> tuple[Counts | None, list[str]]:
    if not store.exists() and not asked:
        return None, ["levels are counted once the data are ingested (henderson ingest)"]
    try:
        if is_current(store, make_plan(spec, BLOCK_BYTES).fingerprint):
            return counts_of_store(store), []
    except HendersonError as e:
        return None, [f"levels are not counted: {e}"]
    return None, [f"levels are not counted: {store} is no whole store of these inputs"]


def _data(spec: ModelSpec, counts: Counts | None) -> Iterator[str]:
    yield f"records: {', '.join(spec.data.records)}" + (f", {counts.n_records:,} rows used" if counts else "")
    if spec.data.missing is not None:
        yield f"responses are missing at or below {spec.data.missing:g}, and where empty or NA"
    if spec.data.weights is not None:
        yield f"residual variance divided by {spec.data.weights}"
    for pedigree in spec.pedigrees:
        switches = [k for k in ("selfing", "add_missing_parents", "probabilistic", "mgs") if getattr(pedigree, k)]
        switches += [] if pedigree.inbreeding else ["without inbreeding"]
        switches += [f"{pedigree.phantomparents} phantom parents"] if pedigree.phantomparents else []
        switches += ["metafounders"] if pedigree.metafile or pedigree.metamatrix else []
        size = _size(counts, pedigree.name, "animals")
        yield f"pedigree {pedigree.name}: {', '.join([pedigree.file, *switches])}{size}"
    for matrix in spec.matrices:
        size = _size(counts, matrix.name, "individuals")
        yield f"matrix {matrix.name}: {matrix.file}{', the inverse' if matrix.inverse else ''}{size}"


def _size(counts: Counts | None, name: str, what: str) -> str:
    n = None if counts is None else counts.n_individuals.get(name)
    return "" if n is None else f", {n:,} {what}"


def _terms(spec: ModelSpec, subfactor: str) -> list[tuple[str, Term]]:
    """Return the trait and term of each use of a sub-factor."""
    return [(e.trait, t) for e in spec.equations for t in e.terms if t.subfactor == subfactor]


def _members(spec: ModelSpec, variance: str | None) -> list[SubFactor]:
    """Return the sub-factors of a variance by position, or the fixed ones in the order of the equations."""
    order = list(dict.fromkeys(t.subfactor for e in spec.equations for t in e.terms))
    mine = [spec.subfactor(name) for name in order if spec.subfactor(name).variance == variance]
    return sorted(mine, key=lambda s: s.positions)


def _factor_of(term: Term) -> str:
    return FIXED_CLASSES if term.kind == "class" else FIXED_COVARIATES


def _factors(spec: ModelSpec, counts: Counts | None) -> Iterator[FactorRow]:
    for s in _members(spec, None):
        terms = [t for _, t in _terms(spec, s.name)]
        levels, at_most = _count(spec, terms, counts)
        width = max(1, len(terms[0].polynomials))
        yield FactorRow(f"{_factor_of(terms[0])} {s.name}", "fixed", _levels_of(terms), levels, at_most, width, "")
    for variance in spec.variances:
        if variance.name == RESIDUAL:
            n = None if counts is None else counts.n_records
            relationship = "independent" + _own(variance)
            size = len(spec.traits)
            yield FactorRow(RESIDUAL, relationship, "records", n, False, size, _sigma(variance, size))
            continue
        members = _members(spec, variance.name)
        terms = [t for s in members for _, t in _terms(spec, s.name)]
        gamma = variance.gamma
        size = sum(len(s.positions) for s in members)
        if gamma.kind == "identity":
            relationship, (levels, at_most) = "independent", _count(spec, terms, counts)
        else:
            relationship = f"{gamma.kind} {gamma.name}" if gamma.name else gamma.kind
            levels = counts.n_individuals.get(gamma.name or "") if counts is not None else None
            at_most = False
        yield FactorRow(
            variance.name,
            relationship + _own(variance),
            _levels_of(terms),
            levels,
            at_most,
            size,
            _sigma(variance, size),
        )


def _own(variance: VarianceSpec) -> str:
    """Return which Sigma of their own levels have."""
    if variance.blocks is not None:
        return f", Sigmas from {variance.blocks.file}"
    return f", by {variance.by}" if variance.by else ""


def _levels_of(terms: list[Term]) -> str:
    names = dict.fromkeys(
        f"groups of {t.pedigree}" if t.kind == "group" else t.level_variable or "" for t in terms
    )  # a covariate that is not nested has no levels
    return ", ".join("mean" if n == ONE else n for n in names if n)


def _count(spec: ModelSpec, terms: list[Term], counts: Counts | None) -> tuple[int | None, bool]:
    """Return the number of levels of terms, and whether there may be fewer."""
    if counts is None:
        return None, False
    related = {
        t.level_variable
        for v in spec.variances
        if v.gamma.kind != "identity"
        for s in _members(spec, v.name)
        for _, t in _terms(spec, s.name)
    }  # of these the store does not know which individuals have records
    total, at_most = 0, False
    for variable in dict.fromkeys((t.level_variable, t.pedigree if t.kind == "group" else None) for t in terms):
        column, pedigree = variable
        if pedigree is not None:
            total += n_groups_of(spec, pedigree)
            continue
        if column is None or column == ONE:
            total += 1
            continue
        product = 1
        for part in column.split(":"):
            product *= counts.n_levels.get(part, 1)
        at_most = at_most or ":" in column or column in related
        total += min(product, max(1, counts.n_records))
    seen = {t.level_variable for t in terms}
    return total, at_most or len(seen) > 1 or any(t.where for t in terms)


def _sigma(variance: VarianceSpec, size: int) -> str:
    parts = [f"{variance.structure} {size} x {size}"]
    if variance.sigma is None and variance.blocks is None:
        parts.append("not given")
    if variance.fix is not None and any(map(any, variance.fix)):
        parts.append("held" if all(map(all, variance.fix)) else "partly held")
    parts += ["with equal elements"] if variance.equal else []
    parts += [f"of rank {variance.rank}"] if variance.rank is not None else []
    parts += [f"{len(variance.classes)} classes of their own"] if variance.classes else []
    return ", ".join(parts)


def _positions(spec: ModelSpec) -> Iterator[PositionRow]:
    for s in _members(spec, None):
        yield from _rows(spec, s, _factor_of(_terms(spec, s.name)[0][1]), None)
    for variance in spec.variances:
        if variance.name == RESIDUAL:
            for k, trait in enumerate(spec.traits):
                yield PositionRow(RESIDUAL, k + 1, trait, trait, "", _element(variance, k))
            continue
        for s in _members(spec, variance.name):
            yield from _rows(spec, s, variance.name, variance)


def _rows(spec: ModelSpec, s: SubFactor, factor: str, variance: VarianceSpec | None) -> Iterator[PositionRow]:
    """Yield a row for each coefficient of a sub-factor."""
    uses = _terms(spec, s.name)
    traits = ", ".join(dict.fromkeys(trait for trait, _ in uses))
    polynomials = uses[0][1].polynomials
    for k in range(max(1, len(polynomials))):
        texts = dict.fromkeys(_say(spec, t, t.polynomials[k] if t.polynomials else None) for _, t in uses)
        position = s.positions[k] if variance is not None else None
        element = _element(variance, position - 1) if variance is not None and position is not None else ""
        name = f"{s.name}_{polynomials[k]}" if polynomials else s.name
        yield PositionRow(factor, position, name, traits, " + ".join(texts), element)


def _element(variance: VarianceSpec, index: int) -> str:
    return "" if variance.sigma is None else f"{variance.sigma[index][index]:g}"


def _say(spec: ModelSpec, term: Term, polynomial: int | None) -> str:
    """Return what a coefficient is multiplied by: ``herd``, or ``x^2 of age in herd, centred``."""
    where = "".join(f" if {column} = {level}" for column, level in term.where)
    if term.kind == "class":
        return ("mean" if term.variable == ONE else term.variable) + where
    if term.kind == "group":
        return f"groups of {term.pedigree} by {term.variable}{where}"
    text = term.variable if polynomial is None else f"{spec.polynomials[polynomial - 1]} of {term.variable}"
    nested = f" in {term.nested_in}" if term.nested_in else ""
    return f"{text}{nested}{', centred' if term.centred else ''}{where}"
