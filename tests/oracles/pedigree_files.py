"""Random pedigree files of every kind with records, and their BLUP from dense matrices and plain loops.

Nothing is shared with the program but the text of the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oracles.dense_pedigree import average_relationship

KINDS = ("plain", "selfing", "uncertain", "mgs", "mgd", "metafounders", "uncertain metafounders", "random groups")
Pairs = list[list[tuple[int, int, float]]]


@dataclass
class Kind:
    """A pedigree of one kind: its file, the TOML of its switches, and A of its animals in the order of the file."""

    lines: list[str]
    switches: str
    xml: str
    A: np.ndarray
    labels: list[str]
    Q: np.ndarray | None = None
    first: int = 0  # rows that have no records
    files: dict[str, str] = field(default_factory=dict)


def make_kind(kind: str, seed: int, n: int = 60) -> Kind:
    rng = np.random.default_rng([seed, sum(map(ord, kind))])
    m = 3 if kind in ("metafounders", "uncertain metafounders", "random groups", "fixed groups") else 0
    n += m
    labels = [f"a{k}" for k in rng.permutation(n)]
    if kind in ("mgs", "mgd"):
        return _bulls(kind == "mgd", rng, n, labels)
    selfing = kind == "selfing"
    pairs: Pairs = [[] for _ in range(m)]
    for i in range(m, n):
        pools = [np.arange(m if selfing else m + k, i, 1 if selfing else 2) for k in (0, 1)]
        k = int(rng.choice([1, 1, 2, 3])) if "uncertain" in kind else 1
        probabilities = np.round(rng.dirichlet(np.ones(k)) * (1.0 if rng.random() < 0.7 or k == 1 else 0.8), 3)
        mine = []
        for p in probabilities:
            two = [rng.choice(x) if len(x) and rng.random() < 0.75 else _unknown(rng, m) for x in pools]
            mine.append((int(two[0]), int(two[1]), float(min(p, 1.0))))
        pairs.append(mine)
    written = pairs
    sums = [sum(p for _, _, p in mine) for mine in pairs]
    pairs = [
        [(s, d, p / total) for s, d, p in mine] if abs(total - 1.0) <= 0.005 else mine
        for mine, total in zip(pairs, sums, strict=True)
    ]
    name = labels.__getitem__
    text = {-1: "0"} | {i: name(i) for i in range(n)}
    lines = ["id,sire,dam" + (",p" if "uncertain" in kind else "")]
    for i, mine in enumerate(written):
        for s, d, p in mine or [(-1, -1, 1.0)]:
            lines.append(",".join([name(i), text[s], text[d], *([repr(p)] if "uncertain" in kind else [])]))
    switches, xml = [], []
    if "uncertain" in kind:
        switches.append("probabilistic = true")
        xml.append("switch: probabilistic")
    if selfing:
        switches.append("selfing = true")
        xml.append("switch: selfing")
    made = Kind(lines, "", "", np.empty(0), labels, first=m)
    if "metafounders" in kind:
        root = rng.uniform(-0.2, 0.5, (m, m))
        gamma = np.round(root @ root.T + np.diag(rng.uniform(0.1, 0.5, m)), 6)
        rows = [", ".join(map(repr, row)) for row in gamma.tolist()]
        if kind == "metafounders":
            switches.append("metamatrix = [" + ", ".join(f"[{row}]" for row in rows) + "]")
            xml.append('<metamatrix attributes="array">\n' + "\n".join(rows) + "\n</metamatrix>")
        else:
            switches.append('metafile = "gamma.csv"')
            xml.append("metafile: gamma.csv")
            made.files["gamma.csv"] = "# Gamma\n" + "\n".join(rows) + "\n"
        made.A = average_relationship(n, pairs, gamma)
    elif m:
        known = [[(s if s >= m else -1, d if d >= m else -1, p) for s, d, p in mine] for mine in pairs]
        made.Q = group_fractions(pairs, m)
        A = average_relationship(n, known)
        A[:m] = A[:, :m] = 0.0
        switches.append(f"phantomparents = {m}")
        xml.append(f"phantomparents: {m}")
        if kind == "random groups":
            switches.append("group_variance = 0.4")
            xml.append("group_variance: 0.4")
            A = A + 0.4 * made.Q @ made.Q.T
        made.A = A
    else:
        made.A = average_relationship(n, pairs)
    made.switches, made.xml = "\n".join(switches), "\n".join(xml)
    return made


def _unknown(rng: np.random.Generator, m: int) -> int:
    """An unknown parent, or one of the `m` groups that stand for them."""
    return int(rng.integers(0, m)) if m else -1


def group_fractions(pairs: Pairs, m: int) -> np.ndarray:
    Q = np.zeros((len(pairs), m))
    Q[:m] = np.eye(m)
    for i in range(m, len(pairs)):
        for s, d, p in pairs[i]:
            for parent in (s, d):
                if parent >= 0:
                    Q[i] += p * Q[parent] / 2
    return Q


def _bulls(granddam: bool, rng: np.random.Generator, n: int, labels: list[str]) -> Kind:
    """Sires, maternal grandsires (and granddams): A of all with a dam of each animal's own between them."""
    lines = ["id,sire,mgs" + (",mgd" if granddam else "")]
    full: Pairs = []
    for i in range(n):
        s, g, d = (int(rng.integers(0, i)) if i and rng.random() < 0.7 else -1 for _ in range(3))
        d = d if granddam else -1
        full.append([(2 * g + 1 if g >= 0 else -1, 2 * d + 1 if d >= 0 else -1, 1.0)])
        full.append([(2 * s + 1 if s >= 0 else -1, 2 * i, 1.0)])
        text = [labels[k] if k >= 0 else "0" for k in (s, g, *([d] if granddam else []))]
        lines.append(",".join([labels[i], *text]))
    A = average_relationship(2 * n, full)[1::2, 1::2]
    return Kind(lines, "mgs = true", "switch: mgs", A, labels)


@dataclass
class Records:
    """Two traits with missing values on random animals: lines of the file, and arrays (-1: not observed)."""

    lines: list[str]
    animal: np.ndarray
    herd: np.ndarray
    y: np.ndarray


def make_records(kind: Kind, seed: int, n: int = 80) -> Records:
    rng = np.random.default_rng([seed, 7])
    animal = rng.integers(kind.first, len(kind.labels), n)
    herd = rng.integers(0, 4, n)
    y = np.round(rng.normal(10.0, 3.0, (n, 2)), 3)
    y[rng.random((n, 2)) < 0.2] = np.nan
    y[0] = (1.0, 2.0)
    lines = ["id,herd,y1,y2"]
    for a, h, (y1, y2) in zip(animal, herd, y, strict=True):
        lines.append(",".join([kind.labels[a], f"h{h}", *("NA" if np.isnan(v) else repr(float(v)) for v in (y1, y2))]))
    return Records(lines, animal, herd, y)


SIGMA = np.array([[4.0, 1.0], [1.0, 2.0]])
RESIDUAL = np.array([[6.0, -1.0], [-1.0, 5.0]])


@dataclass
class Blup:
    """u, its PEV and prior by (animal, trait), and the fitted fixed part of every observation."""

    u: np.ndarray
    pev: np.ndarray
    beta: np.ndarray
    X: np.ndarray


def dense(kind: Kind, records: Records, more: Sequence[np.ndarray] = ()) -> Blup:
    """BLUP of y = herd + u (+ columns `more` by animal, for each trait) with known variances."""
    n = len(kind.labels)
    rows = [(r, t) for r in range(len(records.y)) for t in range(2) if not np.isnan(records.y[r, t])]
    y = np.array([records.y[r, t] for r, t in rows])
    Z = np.zeros((len(rows), 2 * n))
    X = np.zeros((len(rows), 8 + 2 * len(more)))
    R = np.zeros((len(rows), len(rows)))
    for k, (r, t) in enumerate(rows):
        Z[k, 2 * records.animal[r] + t] = 1.0
        X[k, 2 * records.herd[r] + t] = 1.0
        for c, column in enumerate(more):
            X[k, 8 + 2 * c + t] = column[records.animal[r]]
        for j, (q, v) in enumerate(rows):
            R[k, j] = RESIDUAL[t, v] if q == r else 0.0
    G = np.kron(kind.A, SIGMA)
    V = Z @ G @ Z.T + R
    inverse = np.linalg.inv(V)
    beta = np.linalg.pinv(X.T @ inverse @ X, rcond=1e-11) @ X.T @ inverse @ y
    u = G @ Z.T @ inverse @ (y - X @ beta)
    P = inverse - inverse @ X @ np.linalg.pinv(X.T @ inverse @ X, rcond=1e-11) @ X.T @ inverse
    pev = np.diag(G - G @ Z.T @ P @ Z @ G)
    return Blup(u.reshape(n, 2), pev.reshape(n, 2), beta, X)


def write_model(folder: Path, kind: Kind, records: Records, *, jobs: str = '["solve"]', terms: str = "") -> Path:
    """Write records, pedigree and model.toml; `terms` is added to both equations, %d stands for the trait."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ped.csv").write_text("\n".join(kind.lines) + "\n")
    (folder / "records.csv").write_text("\n".join(records.lines) + "\n")
    for name, text in kind.files.items():
        (folder / name).write_text(text)
    extra = [terms % t if "%d" in terms else terms for t in (1, 2)]
    text = f"""[data]
records = "records.csv"
[pedigree.ped]
file = "ped.csv"
{kind.switches}
[model]
equations = \"\"\"
y1 = herd*h1 + id*u1(v(g(1))){extra[0]}
y2 = herd*h2 + id*u2(v(g(2))){extra[1]}
\"\"\"
[variance.g]
sigma = {SIGMA.tolist()}
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.res]
sigma = {RESIDUAL.tolist()}
[jobs]
run = {jobs}
solve = {{ rtol = 1e-12 }}
"""
    path = folder / "model.toml"
    path.write_text(text)
    return path


def write_xml(folder: Path, kind: Kind) -> Path:
    """Write the model of `write_model` as lmt's XML, beside its files."""
    switches = "\n".join(f"      {line}" for line in kind.xml.split("\n")) if kind.xml else ""
    xml = f"""<root>
  <data>
    datafile: records.csv
  </data>
  <pedigrees>
    pedigrees: ped
    <ped>
      file: ped.csv
{switches}
    </ped>
  </pedigrees>
  <models>
    <eqn attributes="strings">
      y1 = herd*h1 + id*u1(v(g(1)))
      y2 = herd*h2 + id*u2(v(g(2)))
    </eqn>
  </models>
  <vars>
    <res>
      <sigma>
        <matrix attributes="array">
          6,-1
          -1,5
        </matrix>
      </sigma>
    </res>
    vars: g
    <g>
      <sigma>
        <matrix attributes="array">
          4,1
          1,2
        </matrix>
      </sigma>
      <gamma>
        <A>
          pedigree: ped
        </A>
      </gamma>
    </g>
  </vars>
</root>
"""
    path = folder / "model.xml"
    path.write_text(xml)
    return path


def check_breeding_values(table: Any, kind: Kind, records: Records) -> None:
    """Assert that a table of solutions has the breeding values; with fixed groups in A their differences."""
    value = dict(zip(zip(table.subfactor, table.level, strict=True), table.value, strict=True))
    found = np.array([[value[f"u{t}", label] for t in (1, 2)] for label in kind.labels])
    if kind.Q is None or "group_variance" in kind.switches:
        np.testing.assert_allclose(found, dense(kind, records).u, atol=1e-7)
        return
    m = kind.Q.shape[1]
    blup = dense(kind, records, [kind.Q[:, k] for k in range(m)])
    total = blup.u + kind.Q @ blup.beta[8:].reshape(m, 2)  # up to a constant, which the herds hold too
    np.testing.assert_allclose(found[m:] - found[m], total[m:] - total[m], atol=1e-7)
