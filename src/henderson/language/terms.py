"""From parsed equations to the terms and sub-factors of the model: lmt's rules of sharing, polynomials, centring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from henderson.language import polynomials as poly
from henderson.language.equations import ParsedEquation, ParsedSubFactor, ParsedTerm, ParsedVariable
from henderson.language.source import Place, Problems, Source, listed
from henderson.language.spec import Equation, SubFactor, Term
from henderson.language.syntax import Misfit


@dataclass
class SubFactors:
    """The sub-factors met so far, by name, with the term that brought each of them in first."""

    first: dict[str, ParsedTerm] = field(default_factory=dict)

    def of_variance(self, name: str) -> list[ParsedSubFactor]:
        """Return the sub-factors of a variance in the order of the equations."""
        return [t.subfactor for t in self.first.values() if t.subfactor.variance == name]


def compile_polynomials(sources: Sequence[Source], problems: Problems) -> list[str | None]:
    """Return the canonical polynomials, None for those that are wrong (noted in `problems`)."""
    texts: list[str | None] = []
    for number, source in enumerate(sources, start=1):
        text = None
        try:
            text = poly.canonical(source.text)
            if not poly.is_defined(text):
                problems.add(f"polynomial {number}, {source.text!r}, has no finite value anywhere", source.at(0))
        except Misfit as e:
            problems.add(f"polynomial {number}, {source.text!r}: {e.message}", source.at(e.index))
        texts.append(text)
    return texts


def compile_equations(
    parsed: Sequence[ParsedEquation], polynomials: Sequence[str | None], written: Sequence[Source], problems: Problems
) -> tuple[tuple[Equation, ...], SubFactors]:
    """Return the equations in their order, and the sub-factors; mistakes are noted in `problems`.

    `polynomials` has the canonical text of each polynomial (None if it is wrong), `written` what the user wrote.
    """
    subfactors = SubFactors()
    equations = []
    responses: dict[str, Place] = {}
    for equation in parsed:
        if equation.response in responses:
            first = responses[equation.response][0]
            problems.add(f"response {equation.response!r} has two equations, the first on line {first}", equation.at)
        responses.setdefault(equation.response, equation.at)
        for term in equation.terms:
            _check_shared(term, subfactors, problems)
            _check_polynomials(term, polynomials, written, problems)
            _check_positions(term, problems)
        equations.append(Equation(equation.response, tuple(_term(t) for t in equation.terms)))
    return tuple(equations), subfactors


def make_subfactors(subfactors: SubFactors) -> tuple[SubFactor, ...]:
    """Return the sub-factors sorted by name."""
    all_ = (t.subfactor for t in subfactors.first.values())
    return tuple(sorted((SubFactor(s.name, s.variance, s.positions) for s in all_), key=lambda s: s.name))


def _term(term: ParsedTerm) -> Term:
    v = term.variable
    fixed_covariate = v.kind == "covariate" and term.subfactor.variance is None
    return Term(
        variable=v.name,
        subfactor=term.subfactor.name,
        kind=v.kind,
        nested_in=v.nested_in,
        polynomials=v.polynomials,
        integer=v.integer,
        centred=fixed_covariate and v.centred is not False,
        pedigree=v.pedigree,
        where=v.where,
    )


def _check_shared(term: ParsedTerm, subfactors: SubFactors, problems: Problems) -> None:
    new = term.subfactor
    first = subfactors.first.setdefault(new.name, term)
    old = first.subfactor
    if (old.variance, old.positions) != (new.variance, new.positions):
        problems.add(
            f"sub-factor {new.name!r} has two specifiers, {_specifier(new)} here and {_specifier(old)} "
            f"on line {old.at[0]}",
            new.at,
            "one sub-factor has one specifier: give the two effects two names, or both the same specifier",
        )
    if _expansion(first.variable) != _expansion(term.variable):
        problems.add(
            f"sub-factor {new.name!r} is {_describe(term.variable)} here and {_describe(first.variable)} "
            f"on line {old.at[0]}",
            term.variable.at,
            "a sub-factor that is shared must be of one kind, with the same polynomials",
        )


def _specifier(s: ParsedSubFactor) -> str:
    return f"v({s.variance}({','.join(map(str, s.positions))}))" if s.variance else "none (fixed)"


def _expansion(v: ParsedVariable) -> tuple[object, ...]:
    return v.kind, v.nested_in is None, v.polynomials, v.pedigree, v.centred if v.kind == "covariate" else None


def _describe(v: ParsedVariable) -> str:
    if v.kind == "group":
        return f"a regression on the groups of {v.pedigree!r}"
    if v.kind == "class":
        return "a class effect"
    ids = f" on polynomials {listed(v.polynomials)}" if v.polynomials else ""
    switch = {None: "", True: " with c(y)", False: " with c(n)"}[v.centred]
    return f"a {'nested ' if v.nested_in else ''}regression{ids}{switch}"


def _check_polynomials(
    term: ParsedTerm, polynomials: Sequence[str | None], written: Sequence[Source], problems: Problems
) -> None:
    v, fixed = term.variable, term.subfactor.variance is None
    if v.kind != "class" and ":" in v.name:
        problems.add(f"variable {v.name!r} is a product, and no class", v.at, "add it as a column to the data")
    if v.centred and not fixed:
        problems.add(f"variable {v.name!r}: c(y), but a random covariate is not centred", v.at, "leave out c(y)")
    if len(set(v.polynomials)) < len(v.polynomials):
        problems.add(f"variable {v.name!r} names a polynomial twice in p({','.join(map(str, v.polynomials))})", v.at)
    for number in v.polynomials:
        if number > len(polynomials):
            problems.add(
                f"variable {v.name!r} names polynomial {number}, but there are {len(polynomials)} polynomials", v.at
            )
        elif (text := polynomials[number - 1]) and fixed and v.centred is not False and poly.is_constant(text):
            problems.add(
                f"variable {v.name!r} is a fixed covariate, which is centred: polynomial {number}, "
                f"{written[number - 1].text!r}, is constant and would be an intercept",
                v.at,
                "use a term 1*name for the intercept, or switch the centring off by c(n)",
            )


def _check_positions(term: ParsedTerm, problems: Problems) -> None:
    s = term.subfactor
    if s.variance is None:
        return
    wanted = len(term.variable.polynomials) or 1
    if wanted != len(s.positions):
        what = f"{wanted} polynomials" if term.variable.polynomials else "one coefficient per level"
        problems.add(
            f"sub-factor {s.name!r}: {what}, but {len(s.positions)} position{'s' * (len(s.positions) > 1)} of Sigma "
            f"in v({s.variance}({','.join(map(str, s.positions))}))",
            s.at,
            "name one position for each polynomial",
        )
