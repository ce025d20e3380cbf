"""The levels for which something is asked: by the names of factors or sub-factors, and by the user's own ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.errors import MAX_PRINTED, ModelError, unknown
from henderson.partitions.communicator import Communicator
from henderson.solvers.indices import Index
from henderson.store.model_data import Labels

BLOCK = 1 << 18  # labels that are looked at together


@dataclass(frozen=True)
class Chosen:
    """Some levels of a group, and which of their positions.

    levels: int64, ascending, of all processes; positions: of the group, ascending.
    """

    group: int
    levels: NDArray[np.int64]
    positions: tuple[int, ...]


def choose(
    operator: Operator,
    factors: Sequence[str],
    levels: Sequence[str] | None,
    communicator: Communicator,
    indices: Sequence[Index] = (),
) -> tuple[Chosen, ...]:
    """Return the levels that are asked for, the same on all processes. **Collective**.

    Parameters
    ----------
    operator
        The equations; each process looks at the levels that it owns.
    factors
        Factors (``fxcl``, ``fxco``, names of variances), printed sub-factors or indices; none: all random factors.
    levels
        Ids; None: all levels. An id has to be a level of one of the factors at least.
    communicator
        The processes.
    indices
        Those of the model: of one of them all positions that count are chosen.

    Raises
    ------
    ModelError
        A name or an id is not known.

    """
    design = operator.design
    positions = _positions(design, factors, indices)
    wanted = None if levels is None else list(dict.fromkeys(levels))
    seen = np.zeros(len(wanted or ()), np.bool_)
    chosen = []
    for g, of_group in positions.items():
        mine = [np.empty(0, np.int64)]
        for partition in operator.partitions:
            owned = partition.layout.groups[g].owned_levels().astype(np.int64)
            if wanted is not None:
                owned, found = _matching(design.groups[g].labels, owned, wanted)
                seen |= found
            mine.append(owned)
        everyone = np.sort(communicator.gather_rows(np.concatenate(mine)))
        if len(everyone):
            chosen.append(Chosen(g, everyone, tuple(of_group)))
    seen = communicator.logical_or(seen)
    if wanted is not None and not seen.all():
        missing = [repr(w) for w, there in zip(wanted, seen, strict=True) if not there]
        more = f" and {len(missing) - MAX_PRINTED} more" if len(missing) > MAX_PRINTED else ""
        names = sorted({name for g, of in positions.items() for name in _names(design, g, of)})
        what = "is no level" if len(missing) == 1 else "are no levels"
        raise ModelError(
            f"job 'pev': {', '.join(missing[:MAX_PRINTED])}{more} {what} of {', '.join(names)}; write the ids as the "
            "files have them, or name another 'factor'"
        )
    return tuple(chosen)


def labels_of(operator: Operator, chosen: Sequence[Chosen], communicator: Communicator) -> list[list[str]]:
    """Return the ids of the levels, the same on all processes: owners tell theirs. **Collective**."""
    mine: list[dict[int, str]] = []
    for choice in chosen:
        found: dict[int, str] = {}
        for partition in operator.partitions:
            owned = partition.layout.groups[choice.group].owned_levels()
            place = np.flatnonzero(np.isin(choice.levels, owned))
            names = operator.design.groups[choice.group].labels.take(choice.levels[place]).text()
            found |= dict(zip(place.tolist(), names, strict=True))
        mine.append(found)
    everyone = communicator.gather_all(mine)
    labels = []
    for k, choice in enumerate(chosen):
        known = {place: name for theirs in everyone for place, name in theirs[k].items()}
        labels.append([known[place] for place in range(len(choice.levels))])
    return labels


def _positions(design: Design, factors: Sequence[str], indices: Sequence[Index]) -> dict[int, list[int]]:
    """Return the positions of each group that belong to one of the factors, sub-factors or indices."""
    found: dict[int, list[int]] = {}
    known: dict[str, None] = dict.fromkeys(i.name for i in indices)
    of_indices = {(i.group, k) for i in indices if i.name in factors for k in i.positions}
    for g, group in enumerate(design.groups):
        for k, position in enumerate(group.positions):
            if position is None:
                continue
            known |= {position.factor: None, position.subfactor: None}
            named = bool({position.factor, position.subfactor} & set(factors)) or (g, k) in of_indices
            if named or (not factors and group.covariance is not None):
                found.setdefault(g, []).append(k)
    for name in factors:
        if name not in known:
            raise ModelError(f"job 'pev': {unknown('factor or sub-factor', name, list(known))}")
    return found


def _names(design: Design, g: int, positions: Sequence[int]) -> list[str]:
    return [p.subfactor for k in positions if (p := design.groups[g].positions[k]) is not None]


def _matching(
    labels: Labels, levels: NDArray[np.int64], wanted: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return those of `levels` whose labels are among `wanted`, and which of `wanted` were found."""
    if labels.is_integer:
        keys = np.array([_integer(w) for w in wanted], np.int64)
        usable = np.array([str(k) == w for k, w in zip(keys.tolist(), wanted, strict=True)], np.bool_)
    else:
        keys = np.array([w.encode() for w in wanted], np.bytes_)
        usable = np.ones(len(keys), np.bool_)
    order = np.argsort(keys, kind="stable")
    order = order[usable[order]]
    found, seen = [np.empty(0, np.int64)], np.zeros(len(wanted), np.bool_)
    for start in range(0, len(levels) if len(order) else 0, BLOCK):
        block = levels[start : start + BLOCK]
        values = labels.take(block).values
        if not labels.is_integer:
            width = values.shape[1]
            values = np.ascontiguousarray(values).view(f"S{width}").ravel() if width else np.zeros(len(block), "S1")
        place = np.minimum(np.searchsorted(keys[order], values), len(order) - 1)
        hit = keys[order][place] == values
        found.append(block[hit])
        seen[order[place[hit]]] = True
    return np.concatenate(found), seen


def _integer(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        return 0
    return value if -(2**63) <= value < 2**63 else 0
