"""Dense BLUP from the files themselves: V = Z G Z' + R, generalised least squares, u = G Z' V^-1 (y - X b).

Nothing is shared with the program: files are read with `csv`, the model is the list of `Effect` that its text was
written from.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

NOTHING = {"", "NA"}
Key = tuple[str, str]  # name as printed, level


@dataclass(frozen=True)
class Effect:
    """One term: a class or covariate times a sub-factor; `polynomials` are (id, function)."""

    trait: str
    variable: str
    sub: str
    covariate: bool = False
    nested: str | None = None
    polynomials: tuple[tuple[int, Callable[[float], float]], ...] = ()
    centred: bool = False
    where: tuple[str, str] | None = None
    fractions: dict[str, dict[str, float]] | None = None  # regression on groups: of each id its groups' fractions

    @property
    def names(self) -> list[str]:
        return [f"{self.sub}_{i}" for i, _ in self.polynomials] or [self.sub]


@dataclass
class Recipe:
    """A model and its files; `random` maps a sub-factor to its variance and positions, from 0.

    gamma: ("pedigree", file, inbreeding), ("matrix", file, inverse), or ("given", ids, matrix); own: Sigma of a level;
    residual: Sigma of a record by its number, from 0.
    """

    records: Path
    traits: list[str]
    effects: list[Effect] = field(default_factory=list)
    random: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    sigma: dict[str, np.ndarray] = field(default_factory=dict)
    gamma: dict[str, tuple[str, Any, Any] | None] = field(default_factory=dict)
    missing: float | None = None
    weights: str | None = None
    own: dict[str, Callable[[str], np.ndarray]] = field(default_factory=dict)
    residual: Callable[[int], np.ndarray] | None = None


@dataclass
class FileBlup:
    """Solutions, PEV and prior variance of random effects; X by (name, level), its fitted part, V^-1."""

    rows: list[tuple[int, str]]
    random: dict[Key, float]
    pev: dict[Key, float]
    prior: dict[Key, float]
    X: dict[Key, np.ndarray]
    fitted: np.ndarray
    rank: int
    V_inverse: np.ndarray


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with open(path, newline="", encoding="utf-8") as handle:
        lines = list(csv.reader(handle))
    header = [lines[0][0].lstrip("#"), *lines[0][1:]]
    return header, [dict(zip(header, line, strict=True)) for line in lines[1:]]


def is_integer(values: list[str]) -> bool:
    return all(re.fullmatch(r"[+-]?\d+", v) for v in values if v not in NOTHING)


def plain(values: list[str]) -> list[str]:
    """Integers as they print, if all are integers."""
    return [v if v in NOTHING else str(int(v)) for v in values] if is_integer(values) else values


def relationship(path: Path, inbreeding: bool) -> tuple[list[str], np.ndarray]:
    """A by the tabular method (Henderson 1976), or T D T' with D as if nobody was inbred."""
    header, rows = read(path)
    flat = plain([r[c] for r in rows for c in header[:3]])
    parents = {flat[k]: flat[k + 1 : k + 3] for k in range(0, len(flat), 3)}
    known = {i: [p for p in two if p not in NOTHING and p != "0"] for i, two in parents.items()}
    order: list[str] = []
    while len(order) < len(known):
        order += [i for i, two in known.items() if i not in order and all(p in order for p in two)]
    place = {i: k for k, i in enumerate(order)}
    A = np.zeros((len(order), len(order)))
    for i in order:
        k, two = place[i], [place[p] for p in known[i]]
        for p in two:
            A[k, :k] += A[p, :k] / 2
        A[:k, k] = A[k, :k]
        if inbreeding:
            A[k, k] = 1 + (A[two[0], two[1]] / 2 if len(two) == 2 else 0)
        else:
            A[k, k] = 1 - len(two) / 4 + sum(A[p, q] for p in two for q in two) / 4
    return order, A


def related(kind: tuple[str, Any, Any]) -> tuple[list[str], np.ndarray]:
    """Ids and Gamma."""
    if kind[0] == "given":
        return kind[1], kind[2]
    return (relationship if kind[0] == "pedigree" else user_matrix)(*kind[1:])


def user_matrix(path: Path, inverse: bool) -> tuple[list[str], np.ndarray]:
    with open(path, newline="", encoding="utf-8") as handle:
        lines = list(csv.reader(handle))
    if lines[0][0].lstrip("#") == "id" and len(lines[0]) == 2:
        ids = plain([line[0] for line in lines[1:]])
        K = np.diag([float(line[1]) for line in lines[1:]])
    elif lines[0] == ["i", "j", "value"]:
        flat = plain([v for line in lines[1:] for v in line[:2]])
        ids = sorted(set(flat))
        K = np.zeros((len(ids), len(ids)))
        for k, line in enumerate(lines[1:]):
            i, j = ids.index(flat[2 * k]), ids.index(flat[2 * k + 1])
            K[i, j] = K[j, i] = float(line[2])
    else:
        ids = plain(lines[0][1:])
        down = plain([line[0] for line in lines[1:]])
        K = np.zeros((len(ids), len(ids)))
        for label, line in zip(down, lines[1:], strict=True):
            K[ids.index(label)] = [float(v) for v in line[1:]]
    return ids, np.linalg.inv(K) if inverse else K


def file_blup(m: Recipe) -> FileBlup:
    header, lines = read(m.records)
    columns = {c: [r[c] for r in lines] for c in header}
    as_written = set(m.traits)
    for e in m.effects:  # related ids are text where those of the pedigree or matrix are
        kind = m.gamma.get(m.random.get(e.sub, ("", ()))[0])
        if kind and not is_integer(related(kind)[0]):
            as_written.add(e.nested or e.variable)
    columns = {c: v if c in as_written else plain(v) for c, v in columns.items()}
    columns["1"] = ["1"] * len(lines)

    def observed(r: int, trait: str) -> bool:
        text = columns[trait][r]
        return text not in NOTHING and not (m.missing is not None and float(text) <= m.missing)

    def level(variable: str | None, r: int, zero_is_unknown: bool) -> str | None:
        if variable is None:
            return ""
        parts = [columns[v][r] for v in variable.split(":")]
        if any(p in NOTHING for p in parts) or (zero_is_unknown and parts == ["0"]):
            return None
        return ":".join(parts)

    rows = [(r, t) for r in range(len(lines)) for t in m.traits if observed(r, t)]
    y = np.array([float(columns[t][r]) for r, t in rows])
    design: dict[Key, np.ndarray] = {}
    seen: dict[str, set[str]] = {v: set() for v in m.sigma}
    for e in m.effects:
        variance, _ = m.random.get(e.sub, (None, ()))
        gamma = m.gamma.get(variance) if variance else None
        on = e.nested if e.covariate else e.variable
        zero_is_unknown = gamma is not None and (gamma[0] == "pedigree" or "0" not in related(gamma)[0])
        levels = {r: level(on, r, zero_is_unknown) for r in range(len(lines))}
        if e.where:
            levels = {r: s if columns[e.where[0]][r] == e.where[1] else None for r, s in levels.items()}
        if variance and e.fractions is None:
            mates = [f for f in m.effects if m.random.get(f.sub, ("", ()))[0] == variance]
            traits = {f.trait for f in mates if on == (f.nested if f.covariate else f.variable)}
            seen[variance] |= {s for r, t in rows if t in traits and (s := levels[r]) is not None}
        mine = [(k, r) for k, (r, t) in enumerate(rows) if t == e.trait and levels[r] is not None]
        x = {r: float(columns[e.variable][r]) if e.covariate else 1.0 for _, r in mine}
        if e.centred:
            groups = {s: [x[r] for _, r in mine if levels[r] == s] for s in {levels[r] for _, r in mine}}
            x = {r: v - float(np.mean(groups[levels[r]])) for r, v in x.items()}
        if e.fractions is not None:
            for k, r in mine:
                for group, value in e.fractions[columns[e.variable][r]].items():
                    design.setdefault((e.sub, group), np.zeros(len(rows)))[k] += value
                    seen.get(variance or "", set()).add(group)
            continue
        functions = [f for _, f in e.polynomials] or [lambda v: v]
        for k, r in mine:
            for name, f in zip(e.names, functions, strict=True):
                design.setdefault((name, levels[r] or ""), np.zeros(len(rows)))[k] += f(x[r])

    R = np.zeros((len(rows), len(rows)))
    for i, (r, t) in enumerate(rows):
        w = float(columns[m.weights][r]) if m.weights else 1.0
        for j, (s, u) in enumerate(rows):
            if r == s:
                sigma = m.sigma["res"] if m.residual is None else m.residual(r)
                R[i, j] = sigma[m.traits.index(t), m.traits.index(u)] / w
    V = R.copy()
    names = {e.sub: e.names for e in m.effects}
    parts: list[tuple[list[Key], np.ndarray, np.ndarray]] = []
    for variance, sigma in m.sigma.items():
        if variance == "res":
            continue
        kind = m.gamma.get(variance)
        if kind is None:
            ids, gamma = sorted(seen[variance]), np.eye(len(seen[variance]))
        else:
            ids, gamma = related(kind)
        at = [
            (name, i, p)
            for sub, (v, positions) in m.random.items()
            if v == variance
            for name, p in zip(names[sub], positions, strict=True)
            for i in range(len(ids))
        ]
        keys = [(name, ids[i]) for name, i, _ in at]
        levels_at, positions_at = [i for _, i, _ in at], [p for _, _, p in at]
        L = [np.linalg.cholesky(m.own[variance](i) if variance in m.own else sigma) for i in ids]
        half = np.array([L[i][p] for i, p in zip(levels_at, positions_at, strict=True)])
        G = gamma[np.ix_(levels_at, levels_at)] * (half @ half.T)
        Z = np.array([design.get(key, np.zeros(len(rows))) for key in keys]).T
        V += Z @ G @ Z.T
        parts.append((keys, Z, G))
    fixed = {n for s, all_ in names.items() if s not in m.random for n in all_}
    X = {key: column for key, column in design.items() if key[0] in fixed}
    dense = np.array(list(X.values())).T.reshape(len(rows), len(X))
    V_inverse = np.linalg.inv(V)
    half = np.linalg.cholesky(V_inverse).T
    scale = np.maximum(np.linalg.norm(dense, axis=0), 1e-9)
    u_, s_, vt = np.linalg.svd(half @ (dense / scale), full_matrices=False)
    rank = int((s_ > 1e-9 * s_.max(initial=1e-300)).sum())
    fitted = dense / scale @ (vt[:rank].T @ ((u_[:, :rank].T @ (half @ y)) / s_[:rank]))
    P = V_inverse - half.T @ u_[:, :rank] @ u_[:, :rank].T @ half
    random, pev, prior = {}, {}, {}
    for keys, Z, G in parts:
        values = G @ Z.T @ V_inverse @ (y - fitted)
        error = np.diag(G - G @ Z.T @ P @ Z @ G)
        random |= dict(zip(keys, values.tolist(), strict=True))
        pev |= dict(zip(keys, error.tolist(), strict=True))
        prior |= dict(zip(keys, np.diag(G).tolist(), strict=True))
    return FileBlup(rows, random, pev, prior, X, fitted, rank, V_inverse)


def check_solutions(table: Any, oracle: FileBlup, accuracy: bool) -> None:
    """Assert that a table of solutions is that of the oracle, with `se` and `reliability` if `accuracy`."""
    keys = list(zip(table.subfactor.astype(str), table.level.fillna("").astype(str), strict=True))
    assert len(set(keys)) == len(keys)
    value = dict(zip(keys, table.value, strict=True))
    fixed = [k for k in keys if k not in oracle.random]
    assert set(oracle.random) <= set(keys)
    assert set(fixed) <= set(oracle.X)
    assert len(fixed) == oracle.rank
    found = np.array([value[k] for k in oracle.random])
    wanted = np.array(list(oracle.random.values()))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    X = np.array([oracle.X[k] for k in fixed]).T.reshape(len(oracle.rows), len(fixed))
    np.testing.assert_allclose(X @ [value[k] for k in fixed], oracle.fitted, rtol=1e-6, atol=1e-6)
    if not accuracy:
        return
    se = dict(zip(keys, table.se, strict=True))
    reliability = dict(zip(keys, table.reliability, strict=True))
    pev = np.array(list(oracle.pev.values()))
    prior = np.array(list(oracle.prior.values()))
    np.testing.assert_allclose(np.square([se[k] for k in oracle.pev]), pev, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose([reliability[k] for k in oracle.pev], 1 - pev / prior, rtol=1e-6, atol=1e-6)
    variances = np.diag(np.linalg.inv(X.T @ oracle.V_inverse @ X))
    np.testing.assert_allclose([se[k] for k in fixed], np.sqrt(variances), rtol=1e-5, atol=1e-8)
