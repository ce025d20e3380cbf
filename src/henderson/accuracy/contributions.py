"""Effective record and daughter contributions, and daughter yield deviations, of all animals.

Effective record contribution: what an animal's own records are worth, as a number of records r of it alone without
other effects, h2 = 1 / (1 + k): reliability R = r / (r + k), r = k R / (1 - R), with R from the information of its own
records, contemporaries and permanent environment absorbed. Effective daughter contribution: likewise for what progeny
say, each known by one record, of parents unrelated to each other: (4 k + 3) R / (1 - R) (VanRaden & Wiggans 1991,
J. Dairy Sci. 74:2737). k is sigma_e / sigma_u where the effect is a plain class effect of one trait; else 1, or 1/4 of
(4 k + 3), and contributions are in units of genetic variance.

Deviations: with J_c the information of the records of progeny c, all other effects known but the permanent environment
absorbed, and r_c = J_c y_c its deviation times that, elimination of c from the equations leaves for a parent

    sum_c M_c (2 y_c - u_mate),  M_c = ((J_c)^-1 + d_c S)^-1 / 4,

which divided by sum_c M_c is the daughter yield deviation (VanRaden & Wiggans 1991; for several traits Mrode & Swanson
2004, Livest. Prod. Sci. 86:253; Liu et al. 2004). At the solutions r_c = J_c u_c + (residuals' part of the equations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.approximate import Information
from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.kernels.own_records import HOME
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]

BLOCK = 1 << 14  # animals at a time
REGULAR = 1e-8  # of the information about a parent, relative: below it has no deviation


@dataclass(frozen=True)
class Contributions:
    """Of each group of breeding values, float64 (n_animals, width): NaN where there is nothing.

    records: effective record contributions; progeny: effective daughter contributions; deviations: of progeny.
    """

    records: dict[int, Floats]
    progeny: dict[int, Floats]
    deviations: dict[int, Floats]


def contributions(information: Information, operator: Operator, solutions: list[Floats]) -> Contributions:
    """Return the contributions and deviations of all animals.

    Parameters
    ----------
    information
        Gathered; its messages are left as they are, its information of own records not.
    operator
        The equations.
    solutions
        Of these, (n_levels, width) per group.

    """
    layout, animals = information.layout, information.animals
    w = layout.effects.width
    k = ratios(operator.design, information)
    own = _effective(layout.effects.sigma, animals.own, np.flatnonzero(animals.record >= 0), animals.record, k)
    told = np.flatnonzero(np.any(animals.node != 0.0, axis=1))
    progeny = _effective(layout.effects.sigma, animals.node, told, np.arange(len(animals.record)), 4.0 * k + 3.0)
    information.absorb_known()
    found = _deviations(information, operator, solutions)
    first = layout.genetic
    groups = operator.design.groups
    parts = [{g: each[:, at : at + groups[g].width] for g, at in first.items()} for each in (own, progeny, found)]
    assert found.shape[1] == w
    return Contributions(*parts)


def ratios(design: Design, information: Information) -> Floats:
    """Return sigma_e / sigma_u of each position of a breeding value, 1 where it is no class effect of one trait."""
    layout = information.layout
    sigma = layout.effects.sigma
    residual = np.asarray(design.residuals)[0]
    k, seen = np.ones(len(sigma)), np.zeros(len(sigma), np.int64)
    for term in design.terms:
        if layout.roles.role[term.slot] == HOME:
            at = int(layout.roles.base[term.slot]) + term.position
            seen[at] += 1
            plain = term.coefficient < 0 and seen[at] == 1
            k[at] = residual[term.trait, term.trait] / sigma[at, at] if plain else 1.0
    return k


def _unpacked(n: int, rows: NDArray[np.floating]) -> Floats:
    """Return the leading n by n blocks of packed symmetric matrices."""
    out = np.empty((len(rows), n, n))
    for t in range(n):
        for u in range(t + 1):
            out[:, t, u] = out[:, u, t] = rows[:, t * (t + 1) // 2 + u]
    return out


def _effective(
    sigma: Floats, packed: NDArray[np.floating], some: NDArray[np.int64], rows: NDArray[np.integer], scale: Floats
) -> Floats:
    """Return scale R / (1 - R) of the animals `some`, R from the information in `rows` of `packed` alone."""
    w = len(sigma)
    out = np.full((len(rows), w), np.nan)
    inverse = np.linalg.inv(sigma)
    for start in range(0, len(some), BLOCK):
        mine = some[start : start + BLOCK]
        left = np.diagonal(np.linalg.inv(inverse + _unpacked(w, packed[rows[mine]])), axis1=1, axis2=2)
        out[mine] = scale * (np.diag(sigma) / left - 1.0)
    return out


def _deviations(information: Information, operator: Operator, solutions: list[Floats]) -> Floats:
    layout, animals = information.layout, information.animals
    w, sigma, pedigree = layout.effects.width, layout.effects.sigma, layout.pedigree
    n = len(pedigree)
    u, residual = np.empty((n, w)), np.empty((n, w))
    part = _residual_part(operator, solutions)
    for g, at in layout.genetic.items():
        width = operator.design.groups[g].width
        u[:, at : at + width], residual[:, at : at + width] = solutions[g], part[g]
    own = _own_positions(operator.design, information)
    parents = np.unique(np.concatenate([pedigree.sire, pedigree.dam]))
    place = np.full(n + 1, -1, np.int64)
    parents = parents[parents >= 0]
    place[parents] = np.arange(len(parents))
    M_all, v_all = np.zeros((len(parents), w, w)), np.zeros((len(parents), w))
    with_records = np.flatnonzero((animals.record >= 0) & (pedigree.sire != pedigree.dam))
    for start in range(0, len(with_records), BLOCK):
        c = with_records[start : start + BLOCK]
        J = _unpacked(w, animals.own[animals.record[c]])
        r = np.einsum("itu,iu->it", J, u[c]) + residual[c] * own
        A = np.eye(w) + J @ (sigma / animals.precision[c][:, None, None])
        M = 0.25 * np.linalg.solve(A, J)
        v = 0.5 * np.linalg.solve(A, r[:, :, None])[:, :, 0]
        for parent, mate in ((pedigree.sire, pedigree.dam), (pedigree.dam, pedigree.sire)):
            known = parent[c] >= 0
            rows = place[parent[c[known]]]
            of_mate = np.where((mate[c] >= 0)[:, None], u[mate[c]], 0.0)
            np.add.at(M_all, rows, M[known])
            np.add.at(v_all, rows, (v - np.einsum("itu,iu->it", M, of_mate))[known])
    out = np.full((n, w), np.nan)
    for start in range(0, len(parents), BLOCK):
        M, v = M_all[start : start + BLOCK], v_all[start : start + BLOCK]
        diagonal = np.diagonal(M, axis1=1, axis2=2)
        scaled = diagonal * np.diag(sigma)  # information in units of the genetic variance
        there = scaled > REGULAR
        root = np.where(there, np.sqrt(np.where(there, diagonal, 1.0)), 1.0)
        unit = np.where(there[:, :, None] & there[:, None, :], M / (root[:, :, None] * root[:, None, :]), 0.0)
        unit += np.where(there, 0.0, 1.0)[:, :, None] * np.eye(w)
        regular = np.linalg.eigvalsh(unit)[:, 0] > REGULAR
        unit[~regular] = np.eye(w)
        value = np.linalg.solve(unit, (np.where(there, v, 0.0) / root)[:, :, None])[:, :, 0] / root
        out[parents[start : start + BLOCK]] = np.where(there & regular[:, None], value, np.nan)
    return out


def _own_positions(design: Design, information: Information) -> Floats:
    """Return 1 for the positions that an animal has in its own records, else 0."""
    roles = information.layout.roles
    own = np.zeros(information.layout.effects.width)
    for term in design.terms:
        if roles.role[term.slot] == HOME:
            own[int(roles.base[term.slot]) + term.position] = 1.0
    return own


def _residual_part(operator: Operator, solutions: list[Floats]) -> list[Floats]:
    """Return W' R^-1 (y - W x) by group: the right-hand side less the records' part of the product."""
    groups = frozenset(range(len(operator.design.groups)))
    x = operator.from_levels(solutions)
    out: Vectors = operator.zeros()
    operator.couple(groups, groups, x, out)
    rhs = operator.right_hand_side()
    return operator.to_levels([b - p for b, p in zip(rhs, out, strict=True)])
