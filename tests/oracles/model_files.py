"""The files of a small model in TOML and XML, both written from the recipe that `file_blup` solves densely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oracles.file_blup import Effect, Recipe
from oracles.random_files import POLYNOMIALS, term

N_ANIMALS, N_RECORDS = 50, 90
Lines = list[str]


def positive(rng: np.random.Generator, n: int, scale: float = 1.0) -> np.ndarray:
    half = rng.normal(size=(n, n))
    return np.round(scale * (half @ half.T / n + np.eye(n)), 6)


@dataclass
class Row:
    """A model being made: `toml` and `xml` replace the lines of Sigma of a variance; xml is None if lmt has no word."""

    folder: Path
    rng: np.random.Generator
    m: Recipe
    columns: dict[str, list[str]]
    dams: dict[str, str]
    toml: dict[str, Lines] = field(default_factory=dict)
    xml: dict[str, Lines] | None = field(default_factory=dict)
    matrix: Lines = field(default_factory=list)
    gamma: dict[str, tuple[str, Lines]] = field(default_factory=dict)
    pedigrees: dict[str, tuple[Lines, Lines]] = field(default_factory=lambda: {"ped": ([], [])})

    def fixed(self, *effects: Effect) -> None:
        self.m.effects += effects

    def random(self, variance: str, *effects: Effect, related: tuple[str, object, object] | None = None) -> None:
        """Add random effects at the next positions of a variance."""
        for e in effects:
            if e.sub not in self.m.random:
                first = sum(len(p) for v, p in self.m.random.values() if v == variance)
                self.m.random[e.sub] = (variance, tuple(range(first, first + len(e.names))))
            self.m.effects.append(e)
        n = sum(len(p) for v, p in self.m.random.values() if v == variance)
        self.m.gamma[variance] = related
        self.m.sigma[variance] = positive(self.rng, n, 2.0)

    @property
    def ped(self) -> tuple[str, Path, bool]:
        return ("pedigree", self.folder / "ped.csv", True)

    def file(self, name: str, lines: Sequence[str]) -> None:
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def write(self) -> dict[str, Path]:
        """Write records and parameter files: by form."""
        names = list(self.columns)
        n = len(self.columns["id"])
        self.file(
            "records.csv", ["#" + ",".join(names), *(",".join(self.columns[c][r] for c in names) for r in range(n))]
        )
        equations = [
            f"{t} = " + " + ".join(dict.fromkeys(term(e, self.m) for e in self.m.effects if e.trait == t))
            for t in self.m.traits
        ]
        forms = {"toml": self._toml(equations)}
        if self.xml is not None:
            forms["xml"] = self._xml(equations, self.xml)
        return forms

    def _toml(self, equations: Lines) -> Path:
        out = ["[data]", 'records = "records.csv"', "missing = -9999"]
        out += ['weights = "w"'] * (self.m.weights is not None)
        for name, (lines, _) in self.pedigrees.items():
            out += [f"[pedigree.{name}]", f'file = "{name}.csv"', *lines]
        out += self.matrix
        out += ["[model]", 'equations = """', *equations, '"""', f"polynomials = {[p for p, _ in POLYNOMIALS]}"]
        for name, sigma in self.m.sigma.items():
            out += [f"[variance.{name}]", *self.toml.get(name, [f"sigma = {sigma.tolist()}"])]
            if name in self.gamma:
                out.append(self.gamma[name][0])
            elif (kind := self.m.gamma.get(name)) is not None:
                out.append(
                    'gamma = { A = { pedigree = "ped" } }' if kind[0] != "matrix" else 'gamma = { matrix = "K" }'
                )
        out += ["[jobs]", "run = ['solve', 'pev']", "solve = { rtol = 1e-12 }"]
        self.file("model.toml", out)
        return self.folder / "model.toml"

    def _xml(self, equations: Lines, xml: dict[str, Lines]) -> Path:
        out = ["<root>", "<data>", "datafile: records.csv", "missingthreshold: -9998.5", "</data>"]
        out += ["<pedigrees>", f"pedigrees: {','.join(self.pedigrees)}"]
        for name, (_, lines) in self.pedigrees.items():
            out += [f"<{name}>", f"file: {name}.csv", *lines, f"</{name}>"]
        out += ["</pedigrees>"]
        out += ["<models>", '<eqn attributes="strings">', *equations, "</eqn>"]
        out += ['<poly attributes="strings">', *(p for p, _ in POLYNOMIALS), "</poly>", "</models>", "<vars>"]
        others = [n for n in self.m.sigma if n != "res"]
        out += [f"vars: {','.join(others)}"] if others else []
        for name, sigma in self.m.sigma.items():
            rows = [",".join(map(repr, row)) for row in sigma.tolist()]
            inner = xml.get(name, ['<matrix attributes="array">', *rows, "</matrix>"])
            out += [f"<{name}>", "<sigma>", *inner, "</sigma>"]
            if name in self.gamma:
                out += ["<gamma>", *self.gamma[name][1], "</gamma>"]
            elif self.m.gamma.get(name) is not None:
                out += ["<gamma>", "<A>", "pedigree: ped", "</A>", "</gamma>"]
            out.append(f"</{name}>")
        out += ["</vars>", "<solvers>", "solvers: it", "<it>", "<pcgiod>", "conv: -27.6", "</pcgiod>", "</it>"]
        out += ["</solvers>", "<jobs>", "jobs: solve", "<solve>", "solver: it", "</solve>", "</jobs>", "</root>"]
        self.file("model.xml", out)
        return self.folder / "model.xml"


def start(folder: Path, seed: int, n_traits: int = 2) -> Row:
    """Records and pedigree, and a mean of each trait by herd."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    sire = ["0"] * 10 + [str(2 * int(rng.integers(0, k // 4)) + 1) for k in range(10, N_ANIMALS)]
    dam = ["0"] * 10 + [str(2 * int(rng.integers(1, k // 2))) for k in range(10, N_ANIMALS)]
    ids = [str(k + 1) for k in range(N_ANIMALS)]
    rows = [f"{i},{s},{d}" for i, s, d in zip(ids, sire, dam, strict=True)]
    order = rng.permutation(N_ANIMALS)
    (folder / "ped.csv").write_text("\n".join(["#id,sire,dam", *(rows[k] for k in order)]) + "\n")
    at = rng.integers(10, N_ANIMALS, N_RECORDS)
    litter = [str(int(v)) for v in rng.integers(1, 16, N_RECORDS)]

    def draw(low: int, high: int) -> list[str]:
        return [str(int(v)) for v in rng.integers(low, high, N_RECORDS)]

    def reals(low: float, high: float) -> list[str]:
        return [f"{v:.3f}" for v in rng.uniform(low, high, N_RECORDS)]

    columns = {
        "id": [ids[k] for k in at], "sire": [sire[k] for k in at], "dam": [dam[k] for k in at],
        "mate1": draw(1, N_ANIMALS + 1), "mate2": draw(1, N_ANIMALS + 1), "herd": draw(0, 4), "sex": draw(1, 3),
        "litter": litter, "kind": [str(int(v) % 3) for v in litter], "age": reals(-2, 5), "dim": reals(-1, 1),
        "x1": reals(-1, 2), "x2": reals(0, 1), "w": reals(0.4, 2.5),
    }  # fmt: skip
    traits = [f"y{t + 1}" for t in range(n_traits)]
    for t in traits:
        values = 10.0 + 3.0 * rng.normal(size=N_RECORDS)
        columns[t] = [f"{v:.4f}" if rng.random() < 0.85 else "-9999" for v in values]
    m = Recipe(folder / "records.csv", traits, missing=-9999.0)
    row = Row(folder, rng, m, columns, dict(zip(ids, dam, strict=True)))
    row.fixed(*(Effect(t, "herd", f"h_{t}") for t in traits))
    m.sigma["res"] = positive(rng, n_traits, 4.0)
    return row


def per_trait(row: Row, variable: str, sub: str, **keys: object) -> list[Effect]:
    return [Effect(t, variable, f"{sub}_{t}", **keys) for t in row.m.traits]  # type: ignore[arg-type]


def polynomials(*numbers: int) -> tuple[tuple[int, Callable[[float], float]], ...]:
    return tuple((k, POLYNOMIALS[k - 1][1]) for k in numbers)


def in_pedigree(row: Row, variance: str, pedigree: str) -> None:
    row.gamma[variance] = (
        f'gamma = {{ A = {{ pedigree = "{pedigree}" }} }}', ["<A>", f"pedigree: {pedigree}", "</A>"]
    )  # fmt: skip
