"""From a parameter file of renumf90 to the model: columns get names, effects terms, correlated effects one variance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from henderson.language.renumf90 import RenumEffect, RenumFile, Values, positions, square
from henderson.language.renumf90_options import read_options
from henderson.language.source import Problems
from henderson.language.spec import (
    RESIDUAL,
    DataSpec,
    Equation,
    GammaSpec,
    Matrix,
    ModelSpec,
    PedigreeSpec,
    SubFactor,
    Term,
    VarianceSpec,
)

DEFAULT_DEPTH = 3


@dataclass(frozen=True)
class RawPedigree:
    """A pedigree file of renumf90: the columns of animal, sire and dam, and whether negative parents are groups."""

    file: str
    columns: tuple[int, int, int]
    groups: bool = False


@dataclass
class Renumbered:
    """The model of a renumf90 file, and what its data files have to become.

    columns
        Names of the columns of the data file, by number; columns that the model does not use have none.
    dams
        New columns: name, number of the column of the animals, name of the pedigree that gives their dams.
    missing
        The value that means missing in the responses, exactly.
    left_out
        Everything that could not be carried over.
    """

    spec: ModelSpec
    columns: dict[int, str]
    dams: list[tuple[str, int, str]]
    pedigrees: dict[str, RawPedigree]
    missing: float
    skip_header: int
    left_out: list[str]


def csv_name(file: str, taken: Collection[str]) -> str:
    """Return the name of the CSV file that is made of a blank-separated one, none of those that are taken."""
    stem = Path(file).stem or "data"
    names = (f"{stem}{end}.csv" for end in ("", "_named", *(f"_{n}" for n in range(2, len(taken) + 3))))
    return next(name for name in names if name not in taken)


def build_model(file: RenumFile, source: Path, problems: Problems) -> Renumbered:
    """Return the model of a parameter file of renumf90; mistakes are noted in `problems`."""
    return _Builder(file, source, problems).build()


@dataclass
class _Builder:
    file: RenumFile
    source: Path
    problems: Problems
    columns: dict[int, str] = field(default_factory=dict)
    dams: list[tuple[str, int, str]] = field(default_factory=list)
    raw: dict[str, RawPedigree] = field(default_factory=dict)
    pedigrees: dict[str, PedigreeSpec] = field(default_factory=dict)
    variances: list[VarianceSpec] = field(default_factory=list)
    subfactors: dict[str, SubFactor] = field(default_factory=dict)
    terms: list[list[Term]] = field(default_factory=list)
    places: dict[int, dict[int, int]] = field(default_factory=dict)  # by effect: position in Sigma of each trait
    left_out: list[str] = field(default_factory=list)
    csv: list[str] = field(default_factory=list)  # new files: of the records, of the pedigrees

    def build(self) -> Renumbered:
        file = self.file
        self._name_columns()
        self._csv(file.datafile)
        self.terms = [[] for _ in file.traits]
        for effect in file.effects:
            if effect.positions:
                self._add(effect)
        residual = square(file.residual, len(file.traits), self.problems) if file.residual else None
        self.variances.append(VarianceSpec(RESIDUAL, residual))
        options = read_options(file.options, self._element, self.problems)
        for t, terms in enumerate(self.terms, start=1):
            if not terms and not self.problems.found:
                self.problems.add(f"trait {t} has no effect")
        spec = ModelSpec(
            data=DataSpec((self.csv[0],), weights=self.columns.get(file.weight or 0)),
            equations=tuple(
                Equation(self.columns[p], tuple(terms)) for p, terms in zip(file.traits, self.terms, strict=True)
            ),
            subfactors=tuple(self.subfactors[name] for name in sorted(self.subfactors)),
            variances=tuple(sorted(self.variances, key=lambda v: (v.name == RESIDUAL, v.name))),
            pedigrees=tuple(self.pedigrees[name] for name in sorted(self.pedigrees)),
            jobs=options.jobs,
            functions=options.functions,
            source=self.source,
        )
        left_out = [*self.left_out, *options.left_out]
        return Renumbered(spec, self.columns, self.dams, self.raw, options.missing, file.skip_header, left_out)

    def _csv(self, file: str) -> str:
        """Return the name of a new CSV file: of no input, and of no other new one."""
        inputs = [self.file.datafile, *(w for e in self.file.effects for w in e.words("FILE"))]
        self.csv.append(csv_name(file, {*self.csv, *(Path(f).name for f in inputs)}))
        return self.csv[-1]

    def _name_columns(self) -> None:
        """Name every column in use by its first role: y response, w weight, id animal, x covariate, c class."""
        roles = [(p, "y") for p in self.file.traits] + [(self.file.weight or 0, "w")]
        for effect in self.file.effects:
            role = "id" if effect.random in ("animal", "sire") else "c" if effect.is_cross else "x"
            roles += [(p, role) for p in effect.positions] + [(p, "c") for p in effect.nested]
            if "RR_POSITION" in effect.keywords:
                roles += [(p, "x") for p in self._rr_positions(effect)]
        roles += [(p, "c") for columns in self.file.combined.values() for p in columns]
        for position, role in roles:
            if position and position not in self.file.combined:
                self.columns.setdefault(position, f"{role}{position}")

    def _column(self, position: int) -> str:
        """Return the name of a column; of a combined one the interaction of those that it is made of."""
        if position in self.file.combined:
            return ":".join(self.columns.get(p, f"c{p}") for p in self.file.combined[position])
        return self.columns[position]

    def _add(self, effect: RenumEffect) -> None:
        stem = f"e{effect.number}"
        for keyword in ("SNP_FILE", "GEN_INT", "REC_SEX"):
            if keyword in effect.keywords:
                self._leave_out(effect.keywords[keyword])
        if effect.random is None:
            for t, position in enumerate(effect.positions):
                if position:
                    self._term(t, self._plain(effect, t), SubFactor(self._name(stem, t)))
            return
        coefficients = self._coefficients(effect)
        if effect.random == "diagonal":
            self._random(effect, f"v{effect.number}", coefficients, "(CO)VARIANCES", GammaSpec())
            return
        pedigree = self._pedigree(effect)
        related = sum(e.random in ("animal", "sire") for e in self.file.effects) > 1
        suffix = str(effect.number) if related else ""
        optional = effect.words("OPTIONAL")
        gamma = GammaSpec("pedigree", pedigree) if pedigree else GammaSpec()
        maternal = self._dams(effect, pedigree) if pedigree and ("mat" in optional or "mpe" in optional) else {}
        direct = [*coefficients, ("mat", maternal)] if maternal and "mat" in optional else coefficients
        self._random(effect, f"g{suffix}", direct, "(CO)VARIANCES", gamma)
        if "pe" in optional:
            pe = [(f"pe_{name}" if name else "pe", terms) for name, terms in coefficients]
            self._random(effect, f"pe{suffix}", pe, "(CO)VARIANCES_PE", GammaSpec())
        if "mpe" in optional and maternal:
            self._random(effect, f"mpe{suffix}", [("mpe", maternal)], "(CO)VARIANCES_MPE", GammaSpec())

    def _plain(self, effect: RenumEffect, t: int) -> Term:
        """Return the term of an effect in the equation of a trait, its sub-factor not yet named."""
        column = self._column(effect.positions[t])
        if effect.is_cross:
            return Term(column, "")
        if ":" in column:
            self.problems.add("a combined column can be a class only, not a covariate", (effect.line, 1))
        nested = effect.nested[t] if t < len(effect.nested) else 0
        return Term(column, "", "covariate", nested_in=self._column(nested) if nested else None)

    def _coefficients(self, effect: RenumEffect) -> list[tuple[str, dict[int, Term]]]:
        """Return, for each coefficient of a level, its name and its terms by trait: one, or one for each covariate."""
        present = [t for t, position in enumerate(effect.positions) if position]
        if "RANDOM_REGRESSION" not in effect.keywords:
            return [("", {t: self._plain(effect, t) for t in present})]
        values = effect.keywords["RANDOM_REGRESSION"]
        covariates = [self.columns[p] for p in self._rr_positions(effect)]
        if effect.words("RANDOM_REGRESSION")[:1] != ("data",) or not covariates:
            message = "RANDOM_REGRESSION is understood with covariates in the data only: 'data', and RR_POSITION"
            self.problems.add(message, (values.line, 1), "add the values of the polynomials as columns")
            return []
        return [
            (f"r{k}", {t: Term(x, "", "covariate", nested_in=self._column(effect.positions[t])) for t in present})
            for k, x in enumerate(covariates, start=1)
        ]

    def _rr_positions(self, effect: RenumEffect) -> tuple[int, ...]:
        words = effect.words("RR_POSITION")
        return positions(effect.keywords["RR_POSITION"], words, self.problems, lowest=1) if words else ()

    def _dams(self, effect: RenumEffect, pedigree: str) -> dict[int, Term]:
        """Return the terms of maternal effects: the dams of the animals are a new column of the records."""
        if "RANDOM_REGRESSION" in effect.keywords:
            self.problems.add("maternal effects together with RANDOM_REGRESSION are not understood", (effect.line, 1))
        terms = {}
        for t, position in enumerate(effect.positions):
            if position and position not in self.file.combined:
                dam = (f"dam{position}", position, pedigree)
                if dam not in self.dams:
                    self.dams.append(dam)
                terms[t] = Term(dam[0], "")
        return terms

    def _random(
        self, effect: RenumEffect, name: str, parts: list[tuple[str, dict[int, Term]]], keyword: str, gamma: GammaSpec
    ) -> None:
        """Add a variance; its positions are those of the first coefficient for all traits, then of the second, ..."""
        n_traits = len(self.file.traits)
        values = effect.keywords.get(keyword)
        whole = square(values, n_traits * len(parts), self.problems) if values and parts else None
        kept = []
        for k, (part, terms) in enumerate(parts):
            for t in range(n_traits):
                index = k * n_traits + t
                if t not in terms:
                    continue
                if whole is not None and whole[index][index] == 0:
                    where = f"effect {effect.number}{f' ({part})' if part else ''}, trait {t + 1}"
                    self.left_out.append(f"{where}: its variance is 0, so it is not in the model")
                    continue
                kept.append(index)
                stem = f"e{effect.number}_{part}" if part else f"e{effect.number}"
                subfactor = SubFactor(self._name(stem, t), name, (len(kept),))
                self._term(t, terms[t], subfactor)
                if k == 0 and keyword == "(CO)VARIANCES":
                    self.places.setdefault(effect.number, {})[t + 1] = len(kept)
        if kept:
            sigma: Matrix | None = whole and tuple(tuple(whole[i][j] for j in kept) for i in kept)
            self.variances.append(VarianceSpec(name, sigma, gamma=gamma))

    def _pedigree(self, effect: RenumEffect) -> str | None:
        """Return the name of the pedigree of an effect, added if it is new."""
        words = effect.words("FILE")
        if len(words) != 1:
            self.problems.add(f"RANDOM {effect.random} needs FILE with one pedigree file", (effect.line, 1))
            return None
        numbers = (
            positions(effect.keywords["FILE_POS"], effect.words("FILE_POS"), self.problems)
            if "FILE_POS" in effect.keywords
            else ()
        )
        animal, sire, dam, other_dam = (*numbers[:4], *(1, 2, 3, 0)[len(numbers) :])[:4]
        if min(animal, sire, dam) < 1:
            self.problems.add("FILE_POS needs columns of animal, sire and dam", (effect.line, 1))
        if other_dam:
            self.left_out.append(f"FILE_POS: the alternate dam in column {other_dam}")
        upg = effect.words("UPG_TYPE")
        groups = upg[:1] == ("in_pedigrees",)
        if upg and not groups:
            self._leave_out(effect.keywords["UPG_TYPE"], ": unknown parents are one group; assign negative parents")
        depth = effect.words("PED_DEPTH")
        if depth[:1] != ("0",):
            what = f"PED_DEPTH {depth[0]}" if depth else f"PED_DEPTH (default {DEFAULT_DEPTH})"
            self.left_out.append(f"{what}: the whole pedigree is used, as by PED_DEPTH 0")
        if effect.random == "sire":
            self.left_out.append("RANDOM sire: relationships are those of the whole pedigree, sires and dams")
        inbreeding = effect.words("INBREEDING")
        if inbreeding[:1] == ("file",):
            self._leave_out(effect.keywords["INBREEDING"], ": inbreeding is computed from the pedigree")
        raw = RawPedigree(words[0], (animal, sire, dam), groups)
        name = next((n for n, r in self.raw.items() if r == raw), None)
        if name is None:
            name = "ped" if not self.raw else f"ped{len(self.raw) + 1}"
            self.raw[name] = raw
            counted = bool(inbreeding) and not inbreeding[0].startswith("no")
            self.pedigrees[name] = PedigreeSpec(name, self._csv(words[0]), inbreeding=counted, add_missing_parents=True)
        return name

    def _leave_out(self, values: Values, why: str = "") -> None:
        self.left_out.append(f"{values.keyword} {' '.join(values.words)[:60]} (line {values.line}){why}")

    def _name(self, stem: str, t: int) -> str:
        return stem if len(self.file.traits) == 1 else f"{stem}_{t + 1}"

    def _term(self, t: int, term: Term, subfactor: SubFactor) -> None:
        self.subfactors[subfactor.name] = subfactor
        self.terms[t].append(replace(term, subfactor=subfactor.name))

    def _element(self, effect: int, row: int, column: int) -> str | None:
        """Return the element of a variance by effect and traits, if effects are numbered here as by renumf90."""
        if any("OPTIONAL" in e.keywords or "RANDOM_REGRESSION" in e.keywords for e in self.file.effects):
            return None
        places: Mapping[int, int] = self.places.get(effect, {})
        if row not in places or column not in places:
            return None
        chosen = next(e for e in self.file.effects if e.number == effect)
        related = sum(e.random in ("animal", "sire") for e in self.file.effects) > 1
        name = f"v{effect}" if chosen.random == "diagonal" else f"g{effect if related else ''}"
        return f"{name}[{places[row]},{places[column]}]"
