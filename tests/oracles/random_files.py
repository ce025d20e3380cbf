"""A random small model, written as real files: records, pedigree, user matrix, and parameter files."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oracles.file_blup import Effect, Recipe

POLYNOMIALS: list[tuple[str, Callable[[float], float]]] = [
    ("x^0", lambda x: 1.0),
    ("x", lambda x: x),
    ("x^2", lambda x: x * x),
    ("l2", lambda x: (3 * x * x - 1) / 2),
    ("exp(-x/4)", lambda x: math.exp(-x / 4)),
    ("l3 - 2*sqrt(x^2+1)", lambda x: (5 * x**3 - 3 * x) / 2 - 2 * math.sqrt(x * x + 1)),
]
Table = list[list[str]]


def covariance(rng: random.Random, n: int, scale: float = 1.0) -> np.ndarray:
    half = np.array([[rng.gauss(0, 1) for _ in range(n)] for _ in range(n)])
    return np.round(scale * (half @ half.T / n + np.eye(n)), 6)


def term(e: Effect, m: Recipe, integer: bool = False) -> str:
    """The term of an effect, as equations say it."""
    inside = ["t(i)"] if integer else []
    if e.polynomials:
        inside.append(f"p({','.join(str(i) for i, _ in e.polynomials)})")
    if e.nested:
        inside.append(f"n({e.nested})")
    if e.covariate and not e.centred and e.sub not in m.random:
        inside.append("c(n)")
    tree = f"({';'.join(inside)})" if inside else ""
    left = f"{e.variable}(t(co{tree}))" if e.covariate else e.variable
    if e.fractions is not None:
        left = f"{e.variable}(t(gg(ped)))"
    if e.sub not in m.random:
        return f"{left}*{e.sub}"
    variance, positions = m.random[e.sub]
    return f"{left}*{e.sub}(v({variance}({','.join(str(p + 1) for p in positions)})))"


class Written:
    """The files of one random model; `numeric` ones can be run as lmt's XML too."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = rng = random.Random(seed)
        self.folder = folder
        self.formula = rng.random() < 0.25
        self.numeric = not self.formula and rng.random() < 0.4
        self.m = Recipe(folder / "records.csv", [f"y{k}" for k in range(1, rng.randint(1, 3) + 1)])
        self.unknown = ["0"] if self.numeric else rng.choice([["0"], ["NA"], [""], ["0", "NA", ""]])
        self.selfing = not self.numeric and rng.random() < 0.2
        self.inbreeding = self.numeric or rng.random() < 0.8
        self.ids, self.dams = self._pedigree()
        self.lines = [str(k) for k in range(5)] if rng.random() < 0.5 or self.numeric else list("KLMNO")
        self.inverse, self.matrix_text = False, ""
        self._matrix()
        self.m.sigma = {}
        self.sections: list[str] = []
        self.text: list[str] = []
        self.columns = self._columns()
        if self.formula:
            self._formula()
        else:
            self._equations()
        self.m.sigma["res"] = covariance(rng, len(self.m.traits), 3)
        self._records()
        self.pev = rng.random() < 0.5
        self.direct = rng.random() < 0.3
        self.toml = self._toml()
        self.xml = self._xml() if self.numeric else None

    def _csv(self, name: str, header: Sequence[str], table: Table, hash_: bool = False) -> None:
        lines = [",".join(header), *(",".join(row) for row in table)]
        end = "\r\n" if self.rng.random() < 0.2 else "\n"
        text = ("#" if hash_ else "") + end.join(lines) + ("" if self.rng.random() < 0.2 else end)
        (self.folder / name).write_text(text, encoding="utf-8", newline="")

    def _pedigree(self) -> tuple[list[str], dict[str, str]]:
        rng = self.rng
        n = rng.randint(6, 26)
        numbers = rng.sample(range(1, 500), n)
        texts = [rng.choice(["a{}", "A{}", "Kuh {}", "0{}", "ö{}"]).format(k) for k in numbers]
        texts[0] = "x" + texts[0]
        ids = [str(k) for k in numbers] if self.numeric or rng.random() < 0.4 else texts
        rows: Table = []
        dams: dict[str, str] = {}
        males: list[str] = []
        females: list[str] = []
        for i in ids:
            both = males + females
            sire = rng.choice((both if self.selfing else males) or [""]) if rng.random() < 0.8 else ""
            dam = rng.choice((both if self.selfing else females) or [""]) if rng.random() < 0.8 else ""
            rng.choice([males, females]).append(i)
            dams[i] = dam
            rows.append([i, sire or rng.choice(self.unknown), dam or rng.choice(self.unknown)])
        rng.shuffle(rows)
        header = rng.choice([["id", "sire", "dam"], ["animal", "p1", "p2"]])
        self._csv("pedigree.csv", header, rows, hash_=self.numeric)
        return ids, dams

    def _matrix(self) -> None:
        rng, ids = self.rng, list(self.lines)
        rng.shuffle(ids)
        n = len(ids)
        K = covariance(rng, n)
        if rng.random() < 0.5:
            K[:2, 2:] = K[2:, :2] = 0
        self.inverse = rng.random() < 0.5
        K = np.linalg.inv(K) if self.inverse else K
        K = (K + K.T) / 2
        if rng.random() < 0.5:
            self._csv("K.csv", ["id", *ids], [[i, *map(repr, row.tolist())] for i, row in zip(ids, K, strict=True)])
            return
        half = rng.random() < 0.6
        table = [
            [ids[i], ids[j], repr(float(K[i, j]))]
            for i in range(n)
            for j in range(i + 1 if half else n)
            if i == j or K[i, j] != 0
        ]
        rng.shuffle(table)
        self._csv("K.csv", ["i", "j", "value"], table)

    def _columns(self) -> dict[str, list[str]]:
        """The columns of the records, nothing missing yet but parents."""
        rng = self.rng
        n = rng.randint(8, 40)
        pool = rng.sample(self.ids, rng.randint(2, len(self.ids)))
        unknown = rng.random() < 0.3
        herds = ["0", "1", "2", "17"] if self.numeric or rng.random() < 0.4 else ["0", "H1", "h 1", "07", "7"]
        sexes = ["1", "2"] if self.numeric else ["F", "M"]
        pens = ["0", "3", "4", "5", "-6"] if self.numeric or rng.random() < 0.5 else ["p", "q", "r", "s"]
        if herds[1] == "1" and not self.numeric and rng.random() < 0.5:
            herds = ["0", "01", "1", "2"]
        ids = [rng.choice(self.unknown) if unknown and rng.random() < 0.15 else rng.choice(pool) for _ in range(n)]
        real = rng.random() < 0.5
        columns = {
            "y_unused": ["1"] * n,
            "id": ids,
            "dam": [self.dams.get(i) or rng.choice(self.unknown) for i in ids],
            "mate1": [rng.choice(self.ids) for _ in range(n)],
            "mate2": [rng.choice(self.ids) for _ in range(n)],
            "herd": [rng.choice(herds) for _ in range(n)],
            "sex": [rng.choice(sexes) for _ in range(n)],
            "pen": [rng.choice(pens) for _ in range(n)],
            "line": [rng.choice(self.lines) for _ in range(n)],
            "age": [f"{rng.uniform(-3, 6):.3f}" if real else str(rng.randint(-2, 5)) for _ in range(n)],
            "dim": [f"{rng.uniform(-1, 1):.2f}" for _ in range(n)],
            "w": [f"{rng.uniform(0.3, 3):.2f}" for _ in range(n)],
        }
        columns |= {t: [f"{10 * rng.gauss(1, 1):.4f}" for _ in range(n)] for t in self.m.traits}
        self.real_age = real
        return columns

    def _records(self) -> None:
        rng, m, c = self.rng, self.m, self.columns
        n = len(c["id"])
        marks = ["NA", ""]
        if self.numeric or rng.random() < 0.5:
            m.missing = -9999.0
            marks = ["-9999", "-9999.0", "-10000"] if self.numeric else [*marks, "-9999", "-12000.5"]
        share = rng.choice([0.0, 0.1, 0.35])
        for r in range(n):
            for t in m.traits:
                if rng.random() < share:
                    c[t][r] = rng.choice(marks)
            gone = {t for t in m.traits if c[t][r] in marks}
            if self.numeric:
                continue
            for column in ("herd", "sex", "age", "dim", "pen"):
                users = {e for e in m.effects if column in ((e.nested or "").split(":") + e.variable.split(":"))}
                needed = {
                    e.trait
                    for e in users
                    if e.sub not in m.random or (e.covariate and e.variable == column) or e.where or self.formula
                }
                if needed <= gone and rng.random() < 0.3:
                    c[column][r] = rng.choice(["NA", ""])
        if not any(v not in marks for t in m.traits[:1] for v in c[t]) or any(
            all(v in marks for v in c[t]) for t in m.traits
        ):
            for t in m.traits:
                c[t][0] = "5.5"
            for column, value in (("herd", "0"), ("sex", "1" if self.numeric else "F"), ("age", "1"), ("dim", "0.5")):
                c[column][0] = value
        if not self.numeric and rng.random() < 0.4:
            m.weights = "w"
        names = list(c)
        rng.shuffle(names)
        self._csv("records.csv", names, [[c[k][r] for k in names] for r in range(n)], hash_=self.numeric)

    def _random(self, e: Effect, variance: str, gamma: tuple[str, Path, bool] | None = None) -> None:
        """Add a random effect at the next positions of a variance."""
        if any(f.sub == e.sub for f in self.m.effects if f.sub not in self.m.random):
            e = replace(e, sub=f"{e.sub}_2")  # a formula's fixed effect has the name already
        used = [p for v, ps in self.m.random.values() if v == variance for p in ps]
        if e.sub not in self.m.random:
            self.m.random[e.sub] = (variance, tuple(range(len(used), len(used) + len(e.names))))
        self.m.effects.append(e)
        self.m.gamma[variance] = gamma

    def _equations(self) -> None:
        rng, m = self.rng, self.m
        A = ("pedigree", self.folder / "pedigree.csv", self.inbreeding)
        K = ("matrix", self.folder / "K.csv", self.inverse)

        def polynomials(choices: Sequence[int], k: int) -> tuple[tuple[int, Callable[[float], float]], ...]:
            return tuple((i, POLYNOMIALS[i - 1][1]) for i in rng.sample(list(choices), k))

        shared_fixed = rng.random() < 0.4
        centred = rng.random() < 0.7
        age = {
            "covariate": True,
            "nested": rng.choice([None, None, "sex", "herd"]),
            "polynomials": rng.choice([(), polynomials([2, 3, 4, 5, 6], rng.randint(1, 2))]),
            "centred": centred,
        }
        use = {k: rng.random() < p for k, p in {"age": 0.6, "sex": 0.5, "over": 0.25}.items()}
        kinds = rng.sample(
            ["animal", "maternal", "curve", "pe", "mpe", "pen", "line", "mates", "shared", "one", "slope", "two"],
            rng.randint(1, 4),
        )
        curve = polynomials([1, 2, 3, 4, 6], rng.randint(1, 3))
        for t in m.traits:
            own = "" if shared_fixed else f"_{t}"
            if rng.random() < 0.6:
                m.effects.append(Effect(t, "1", f"mu_{t}"))
            if rng.random() < 0.7:
                m.effects.append(Effect(t, "herd", f"h_{t}"))
            if use["sex"]:
                m.effects.append(Effect(t, "sex", "s" + own))
            if use["age"] and rng.random() < 0.8:
                m.effects.append(Effect(t, "age", "c" + own, **age))  # type: ignore[arg-type]
            if use["over"]:
                m.effects += [Effect(t, "mate1", "o" + own), Effect(t, "mate2", "o" + own)]
            if not any(e.trait == t for e in m.effects):
                m.effects.append(Effect(t, "1", f"mu_{t}"))
            if "animal" in kinds or "maternal" in kinds:
                self._random(Effect(t, "id", f"u_{t}"), "g", A)
            if "maternal" in kinds:
                self._random(Effect(t, "dam", f"m_{t}"), "g", A)
            if "curve" in kinds:
                related = "animal" not in kinds and "maternal" not in kinds
                e = Effect(t, "dim", f"k_{t}", True, "id", curve)
                self._random(e, "curve", A if related else None)
            if "pe" in kinds:
                self._random(Effect(t, "id", f"p_{t}"), "pe")
            if "mpe" in kinds:
                self._random(Effect(t, "dam", f"mp_{t}"), "mpe")
            if "pen" in kinds:
                self._random(Effect(t, "pen", f"pen_{t}"), "pen")
            if "two" in kinds and len(m.random) < 9:
                variable = rng.choice(["pen", "herd"])
                self._random(Effect(t, variable, f"two_{t}"), "two")
                if rng.random() < 0.5:
                    self._random(Effect(t, "age", f"twor_{t}", True, rng.choice(["pen", "herd"])), "two")
            if "line" in kinds:
                self._random(Effect(t, "line", f"l_{t}"), "K", K)
            if "mates" in kinds:
                for column in ("mate1", "mate2"):
                    self._random(Effect(t, column, f"ma_{t}"), "mates", A if self.inbreeding else None)
            if "shared" in kinds:
                self._random(Effect(t, "pen", "same"), "same")
            if "one" in kinds:
                self._random(Effect(t, "1", f"r1_{t}"), "one")
            if "slope" in kinds:
                self._random(Effect(t, "age", f"sl_{t}", True), "slope")
        for variance in dict.fromkeys(v for v, _ in m.random.values()):
            size = sum(len(ps) for v, ps in m.random.values() if v == variance)
            order = list(range(size))
            rng.shuffle(order)
            m.random = {s: (v, tuple(order[p] for p in ps) if v == variance else ps) for s, (v, ps) in m.random.items()}
            m.sigma[variance] = covariance(rng, size, rng.choice([0.3, 1, 4]))
        self.text = [f"{t} = " + " + ".join(map(self._term, [e for e in m.effects if e.trait == t])) for t in m.traits]
        self.pairs = ""

    def _term(self, e: Effect) -> str:
        integer = e.covariate and not self.real_age and e.variable == "age" and self.rng.random() < 0.5
        return term(e, self.m, integer)

    def _formula(self) -> None:
        rng, m = self.rng, self.m
        A = ("pedigree", self.folder / "pedigree.csv", self.inbreeding)
        several = len(m.traits) > 1
        self.columns["herd"] = ["H" + h.replace(" ", "_") for h in self.columns["herd"]]
        terms: list[str] = ["trait"] if several else []
        for t in m.traits:
            m.effects.append(Effect(t, "1", f"(Intercept)_{t}" if several else "(Intercept)"))
        pool: list[tuple[str, dict[str, object]]] = [
            ("herd", {"variable": "herd"}),
            ("sex", {"variable": "sex"}),
            ("herd:sex", {"variable": "herd:sex"}),
            ("factor(pen)", {"variable": "pen"}),
            ("age", {"variable": "age", "covariate": True}),
            ("sex:age", {"variable": "age", "covariate": True, "nested": "sex"}),
        ]
        for text, keys in rng.sample(pool, rng.randint(0, 3)):
            own = several and rng.random() < 0.7
            terms.append(f"trait:{text}" if own else text)
            m.effects += [Effect(t, sub=f"{text}_{t}" if own else text, **keys) for t in m.traits]  # type: ignore[arg-type]
        left = f"cbind({', '.join(m.traits)})" if several else m.traits[0]
        fixed = f"{left} ~ {' + '.join(terms) or '1'}"
        randoms: list[str] = []
        if several:
            for text, name, gamma in rng.sample(
                [("vm(id, ped)", "id", A), ("pen", "pen", None), ("herd:sex", "herd:sex", None)], rng.randint(1, 3)
            ):
                structure = rng.choice(["us", "diag", ""])
                randoms.append(f"{structure}(trait):{text}" if structure else text)
                for t in m.traits:
                    self._random(Effect(t, name, f"{name}_{t}" if structure else name), name, gamma)
                sigma = covariance(rng, len(m.traits) if structure else 1)
                m.sigma[name] = np.diag(np.diag(sigma)) if structure == "diag" else sigma
        elif rng.random() < 0.5:
            t = m.traits[0]
            name = rng.choice(["pen", "line", "herd:sex"])
            shape = rng.choice(["1", "dim", "0 + dim", "dim||"])
            fixed += f" + (dim || {name})" if shape == "dim||" else f" + ({shape} | {name})"
            if shape in ("1", "0 + dim"):
                self._random(Effect(t, name, name) if shape == "1" else Effect(t, "dim", name, True, name), name)
                m.sigma[name] = covariance(rng, 1)
            elif shape == "dim":
                self._random(Effect(t, name, f"{name}_(Intercept)"), name)
                self._random(Effect(t, "dim", f"{name}_dim", True, name), name)
                m.sigma[name] = covariance(rng, 2)
            else:
                self._random(Effect(t, name, name), name)
                self._random(Effect(t, "dim", f"{name}_2", True, name), f"{name}_2")
                m.sigma[name], m.sigma[f"{name}_2"] = covariance(rng, 1), covariance(rng, 1)
        else:
            t = m.traits[0]
            randoms = ["vm(id, ped)", *rng.choice([[], ["ide(id)"], ["pen"], ["herd:pen"]])]
            self._random(Effect(t, "id", "id"), "id", A)
            m.sigma["id"] = covariance(rng, 1)
            for text in randoms[1:]:
                variable = "id" if text == "ide(id)" else text
                name = "id_2" if text == "ide(id)" else text
                self._random(Effect(t, variable, name), name)
                m.sigma[name] = covariance(rng, 1)
        quoted = [("fixed", fixed), ("random", "~ " + " + ".join(randoms) if randoms else "")]
        if several:
            quoted.append(("residual", "~ units:us(trait)"))
        self.pairs = "\n".join(f'{k} = "{v}"' for k, v in quoted if v)

    def _toml(self) -> Path:
        m = self.m
        out = ["[data]", 'records = "records.csv"']
        out += [f"missing = {m.missing}"] * (m.missing is not None) + ['weights = "w"'] * (m.weights is not None)
        out += ["[pedigree.ped]", 'file = "pedigree.csv"']
        out += ["selfing = true"] * self.selfing + ["inbreeding = false"] * (not self.inbreeding)
        out += ["[matrix.K]", 'file = "K.csv"'] + ["inverse = true"] * self.inverse
        out += ["[model]"]
        out += [self.pairs] if self.formula else ['equations = """', *self.text, '"""']
        out += [] if self.formula else [f"polynomials = {[p for p, _ in POLYNOMIALS]}"]
        for name, sigma in m.sigma.items():
            out += [f'[variance."{name}"]', f"sigma = {sigma.tolist()}"]
            kind = m.gamma.get(name)
            if kind and not self.formula:
                inner = 'A = { pedigree = "ped" }' if kind[0] == "pedigree" else 'matrix = "K"'
                out.append(f"gamma = {{ {inner} }}")
        method = ', method = "direct"' if self.direct else ""
        out += ["[jobs]", f"run = {['solve', 'pev'] if self.pev else ['solve']}", f"solve = {{ rtol = 1e-12{method} }}"]
        path = self.folder / "model.toml"
        path.write_text("\n".join(out) + "\n", encoding="utf-8")
        return path

    def _xml(self) -> Path | None:
        m = self.m
        if any(kind and kind[0] == "matrix" for kind in m.gamma.values()):
            return None

        def matrix(sigma: np.ndarray) -> list[str]:
            rows = [",".join(map(repr, row)) for row in sigma.tolist()]
            return ["<sigma>", '<matrix attributes="array">', *rows, "</matrix>", "</sigma>"]

        out = ["<root>", "<data>", "datafile: records.csv", "missingthreshold: -9998.5", "</data>"]
        out += ["<pedigrees>", "pedigrees: ped", "<ped>", "file: pedigree.csv", "</ped>", "</pedigrees>"]
        out += ["<models>", '<eqn attributes="strings">', *self.text, "</eqn>"]
        out += ['<poly attributes="strings">', *(p for p, _ in POLYNOMIALS), "</poly>", "</models>"]
        out += ["<vars>", "<res>", *matrix(m.sigma["res"]), "</res>"]
        names = [n for n in m.sigma if n != "res"]
        out += [f"vars: {','.join(names)}"]
        for name in names:
            gamma = ["<gamma>", "<A>", "pedigree: ped", "</A>", "</gamma>"] if m.gamma.get(name) else []
            out += [f"<{name}>", *matrix(m.sigma[name]), *gamma, f"</{name}>"]
        out += ["</vars>", "<solvers>", "solvers: it", "<it>", "<pcgiod>", "conv: -27.6", "</pcgiod>", "</it>"]
        out += ["</solvers>", "<jobs>", "jobs: solve", "<solve>", "solver: it", "</solve>", "</jobs>", "</root>"]
        path = self.folder / "model.xml"
        path.write_text("\n".join(out) + "\n", encoding="utf-8")
        return path
