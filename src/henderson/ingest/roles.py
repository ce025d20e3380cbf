"""What each column of the records is for, from the terms of the model."""

from __future__ import annotations

from dataclasses import dataclass

from henderson.errors import ModelError, Problem, unknown
from henderson.language.pedigrees import are_fixed
from henderson.language.spec import ONE, RESIDUAL, BlocksSpec, ChecksSpec, Cutoff, ModelSpec, Term
from henderson.store.schema import RecordColumns


@dataclass(frozen=True)
class Required:
    """A record on which `trait` is observed must have a value in `column`; `role` says why, for messages."""

    trait: str
    column: str
    role: str  # covariate | class | residual class


@dataclass(frozen=True)
class Relation:
    """The ids of `column` are individuals of the pedigree or matrix `name`."""

    column: str
    name: str
    kind: str  # pedigree | matrix


@dataclass(frozen=True)
class OwnSigmas:
    """A variance with a Sigma for each level or record, from the file `blocks`, or for each class of the column `by`.

    columns: the columns of its levels; none of the residual. relation: the pedigree or matrix of its Gamma.
    """

    variance: str
    width: int
    columns: tuple[str, ...]
    relation: str | None
    by: str | None
    blocks: BlocksSpec | None


@dataclass(frozen=True)
class Roles:
    """The columns to read and keep, and the rules they obey. The first relation is the home of the records."""

    columns: RecordColumns
    relations: tuple[Relation, ...]
    required: tuple[Required, ...]
    missing: float | None
    locality: tuple[str, ...]  # classes of fixed effects: herd mates lie together
    grouped: tuple[str, ...] = ()  # pedigrees whose matrix Q the terms need
    absorbed: tuple[str, ...] = ()  # pedigrees with fixed groups in A: Q tells whether they can be estimated
    own_sigmas: tuple[OwnSigmas, ...] = ()  # variances with a Sigma for each level or record
    cutoff: Cutoff | None = None  # later records are left out
    checks: ChecksSpec | None = None  # values that are told, or taken as missing

    @property
    def text(self) -> tuple[str, ...]:
        """Return the columns read as text: related ones, classes, dates."""
        return tuple(dict.fromkeys([*(r.column for r in self.relations), *self.columns.classes, *self._dates(False)]))

    @property
    def reals(self) -> tuple[str, ...]:
        """Return the columns read as numbers: responses, covariates, weights, dates that are numbers."""
        weights = [self.columns.weights] if self.columns.weights is not None else []
        return tuple(dict.fromkeys([*self.columns.responses, *self.columns.covariates, *weights, *self._dates(True)]))

    def _dates(self, numeric: bool) -> list[str]:
        return [self.cutoff.column] if self.cutoff is not None and self.cutoff.numeric == numeric else []


def roles_of(spec: ModelSpec, names: tuple[str, ...], file: str) -> Roles:
    """Return the roles of the columns that the model uses; `names` are those of the records, `file` the first of them.

    Raises `ModelError` for columns that the records do not have, and for pedigrees and matrices that are not declared.
    """
    classes: dict[str, None] = {}
    relations: dict[Relation, None] = {}
    covariates: dict[str, None] = {}
    required: dict[Required, None] = {}
    locality: dict[str, None] = {}
    grouped: dict[str, None] = {}
    absorbed: dict[str, None] = {}
    for equation in spec.equations:
        for term in equation.terms:
            if term.kind == "group" and term.pedigree is not None:
                grouped[term.pedigree] = None
            if term.kind == "covariate" and term.variable != ONE:
                covariates[term.variable] = None
                if not term.where:  # the equations look at the records of the level
                    required[Required(equation.trait, term.variable, "covariate")] = None
            relation = _relation(spec, term)
            levels = [c for c in (term.level_variable or ONE).split(":") if c != ONE]
            if relation is not None and len(levels) == 1:
                relations[Relation(levels[0], *relation)] = None
            else:
                classes.update(dict.fromkeys(levels))
            classes.update(dict.fromkeys(column for column, _ in term.where))
            if spec.subfactor(term.subfactor).variance is None and not term.where:
                required.update({Required(equation.trait, c, "class"): None for c in levels})
                locality.update(dict.fromkeys(levels))
    for pedigree in spec.pedigrees:  # groups in A: the equations look whether they can be told from fixed effects
        used = any(v.gamma.kind == "pedigree" and v.gamma.name == pedigree.name for v in spec.variances)
        if used and are_fixed(pedigree):
            absorbed[pedigree.name] = None
    if spec.residual.by is not None:
        classes[spec.residual.by] = None
        required.update({Required(trait, spec.residual.by, "residual class"): None for trait in spec.traits})
    own_sigmas = own_sigmas_of(spec)
    classes.update({own.by: None for own in own_sigmas if own.by is not None})
    related = {r.column for r in relations}
    plain = tuple(c for c in classes if c not in related)
    columns = RecordColumns(
        responses=tuple(dict.fromkeys(spec.traits)),
        covariates=tuple(covariates),
        weights=spec.data.weights,
        classes=plain,
        related=tuple((r.column, r.name) for r in relations),
    )
    roles = Roles(
        columns,
        tuple(relations),
        tuple(required),
        spec.data.missing,
        tuple(c for c in plain if c in locality),
        tuple(grouped),
        tuple(absorbed),
        own_sigmas,
        spec.data.cutoff,
        spec.data.checks,
    )
    problems = [
        Problem(unknown("column", c, names), file=file)
        for c in dict.fromkeys(roles.reals + roles.text)
        if c not in names
    ]
    declared = {p.name for p in spec.pedigrees} | {m.name for m in spec.matrices}
    problems += [
        Problem(unknown("pedigree or matrix", n, sorted(declared)))
        for n in dict.fromkeys(r.name for r in relations)
        if n not in declared
    ]
    if problems:
        raise ModelError(problems)
    return roles


def own_sigmas_of(spec: ModelSpec) -> tuple[OwnSigmas, ...]:
    """Return the variances of a model whose levels or records have a Sigma of their own, residual classes apart."""
    found = []
    for v in spec.variances:
        if v.blocks is None and (v.by is None or v.name == RESIDUAL):
            continue
        members = {s.name: len(s.positions) for s in spec.subfactors if s.variance == v.name}
        terms = [t for e in spec.equations for t in e.terms if t.subfactor in members]
        columns = tuple(dict.fromkeys(t.level_variable for t in terms if t.level_variable is not None))
        width = len(spec.traits) if v.name == RESIDUAL else sum(members.values())
        relation = v.gamma.name if v.gamma.kind != "identity" else None
        found.append(OwnSigmas(v.name, width, columns, relation, v.by, v.blocks))
    return tuple(found)


def _relation(spec: ModelSpec, term: Term) -> tuple[str, str] | None:
    """Return (name, kind) of the pedigree or matrix that relates the levels of a term."""
    if term.kind == "group":
        return (term.pedigree, "pedigree") if term.pedigree is not None else None
    variance = spec.subfactor(term.subfactor).variance
    if variance is None:
        return None
    gamma = spec.variance(variance).gamma
    if gamma.kind in ("pedigree", "matrix") and gamma.name is not None:
        return gamma.name, gamma.kind
    return None
