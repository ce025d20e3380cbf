"""User relationship matrices: square tables with ids in the first row and column, or triplets i,j,value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import InputFileError, Problem, ResourceError
from henderson.ingest.files import Block, Source
from henderson.ingest.id_table import as_integers, labels_of
from henderson.ingest.lines import LineError, decode, is_comment, number, split
from henderson.ingest.parse import Words, line_numbers, parse_block, stack_words
from henderson.ingest.tasks import raise_problems, shift
from henderson.kernels.hashing import encode_words, table_size
from henderson.language.spec import MatrixSpec
from henderson.store.model_data import Labels, RelationshipMatrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SYMMETRY_RTOL = 1e-6  # |K_ij - K_ji| against the largest diagonal element: printed with six digits is symmetric enough
MAX_DENSE = 20_000  # rows of a block of related individuals that is inverted densely: 3.2 GB


@dataclass(frozen=True)
class _Triplets:
    ids: NDArray[Any]
    i: NDArray[np.int32]
    j: NDArray[np.int32]
    value: NDArray[np.float64]
    line: NDArray[np.int64]


def read_matrix(spec: MatrixSpec, blocks: list[Block]) -> RelationshipMatrix:
    """Return the inverse and the diagonal of a user matrix; individuals in the order of the file.

    Raises `InputFileError`: not square, ids that differ between rows and columns or occur twice, an element given
    twice with different values, not symmetric, not positive definite. Cost: that of a Cholesky factor of each block
    of individuals that are connected.
    """
    source = blocks[0].source
    if [n.lower() for n in source.names] in (["i", "j", "value"], ["id", "value"]):
        triplets = _triplets(blocks)
    else:
        triplets = _square(source)
    labels = labels_of(triplets.ids)
    K = _symmetric(triplets, source.shown)
    inverted = _invert(K, source.shown, labels)
    inverse, diagonal = (K, inverted.diagonal()) if spec.inverse else (inverted, K.diagonal())
    inverse.eliminate_zeros()
    inverse.sort_indices()
    return RelationshipMatrix(name=spec.name, labels=labels, inverse=inverse, diagonal=diagonal)


def _triplets(blocks: list[Block]) -> _Triplets:
    """Return the elements that the file lists; `id,value` lists a diagonal."""
    names = blocks[0].source.names
    rows, columns, values, lines = [], [], [], []
    problems: list[Problem] = []
    before = blocks[0].source.lines
    for block in blocks:
        parsed = parse_block(block, names[:-1], names[-1:])
        problems += [shift(p, before) for p in parsed.problems]
        if not parsed.problems:
            line = line_numbers(block, parsed.n_rows) + before + 1
            i, j, value = parsed.text[names[0]], parsed.text[names[-2]], parsed.reals[names[-1]]
            lacking = (i[:, 0] == 0) | (j[:, 0] == 0) | np.isnan(value)
            for r in np.flatnonzero(lacking)[:16]:
                problems.append(Problem("an element without ids or value", file=block.source.shown, line=int(line[r])))
            rows.append(i)
            columns.append(j)
            values.append(value)
            lines.append(line)
        before += parsed.n_lines
    raise_problems(problems)
    n = sum(len(r) for r in rows)
    both = stack_words([*rows, *columns])
    integers = as_integers(both)
    codes, ids = _number(both) if integers is None else _number_integers(integers)
    return _Triplets(ids, codes[:n], codes[n:], np.concatenate(values), np.concatenate(lines))


def _number(words: Words) -> tuple[NDArray[np.int32], Words]:
    """Return (code of each id, the ids), in the order of first appearance."""
    entries = np.empty_like(words)
    codes = np.empty(len(words), np.int32)
    n = encode_words(words, np.zeros(table_size(len(words)), np.uint64), entries, 0, codes)
    return codes, entries[:n].copy()


def _number_integers(values: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    ids, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    return rank[inverse.ravel()], ids[order]


def _square(source: Source) -> _Triplets:
    """Return the elements, zeros left out, of a square table. Cost: 8 n bytes a row while it is read."""
    n = len(source.names) - 1
    problems: list[Problem] = []
    ids: list[str] = []
    lines: list[int] = []
    values: list[NDArray[np.float64]] = []
    with open(source.path, "rb") as handle:
        handle.seek(source.start)
        for at, raw in enumerate(handle, source.lines + 1):
            try:
                text = decode(raw).rstrip("\r\n")
                if not text.strip() or is_comment(text):
                    continue
                fields = split(text)
                row = np.array([number(f) for f in fields[1:]])
            except (LineError, ValueError) as error:
                what = str(error) if isinstance(error, LineError) else f"not a number ({error})"
                problems.append(Problem(what, file=source.shown, line=at))
                continue
            if len(row) != n or np.isnan(row).any():
                what = f"{len(row)} values for {n} columns" if len(row) != n else "a value is missing"
                problems.append(
                    Problem(what, file=source.shown, line=at, remedy="a square table has as many rows as columns")
                )
                continue
            ids.append(fields[0])
            lines.append(at)
            values.append(row)
    raise_problems(problems)
    times = Counter(ids)
    places = {name: k for k, name in enumerate(source.names[1:])}
    for at, name in zip(lines, ids, strict=True):
        if name not in places:
            problems.append(Problem(f"row {name!r} has no column", file=source.shown, line=at))
        elif times[name] > 1:
            problems.append(Problem(f"row {name!r} occurs more than once", file=source.shown, line=at))
    lacking = [name for name in places if name not in times]
    problems += [Problem(f"column {name!r} has no row", file=source.shown) for name in lacking]
    raise_problems(problems)
    dense = np.array(values)[:, [places[name] for name in ids]]
    off = np.abs(dense - dense.T) > SYMMETRY_RTOL * np.abs(np.diag(dense)).max()
    for i, j in np.argwhere(np.triu(off))[:16].tolist():
        what = f"not symmetric: ({ids[i]}, {ids[j]}) is {dense[i, j]:g}, ({ids[j]}, {ids[i]}) is {dense[j, i]:g}"
        problems.append(Problem(what, file=source.shown, line=lines[i]))
    raise_problems(problems)
    i, j = np.nonzero(dense)
    words = _words(ids)
    integers = as_integers(words)
    labels: NDArray[Any] = words if integers is None else integers
    return _Triplets(labels, i.astype(np.int32), j.astype(np.int32), dense[i, j], np.array(lines, dtype=np.int64)[i])


def _words(ids: list[str]) -> Words:
    raw = [name.encode() for name in ids]
    width = 8 * max(1, -(-max(len(r) for r in raw) // 8))
    return np.array(raw, dtype=f"S{width}").view(np.uint64).reshape(len(ids), width // 8)


def _symmetric(t: _Triplets, file: str) -> csr_array:
    """Return the symmetric matrix of elements listed once or in both triangles."""
    from scipy.sparse import coo_array, csr_array

    n = len(t.ids)
    low, high = np.minimum(t.i, t.j), np.maximum(t.i, t.j)
    order = np.lexsort((t.line, high, low))
    low, high, i, value, line = low[order], high[order], t.i[order], t.value[order], t.line[order]
    first = np.flatnonzero(np.r_[True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    diagonal = np.zeros(n)
    on = low[first] == high[first]
    diagonal[low[first][on]] = value[first][on]
    labels = labels_of(t.ids)
    problems = [
        Problem(f"diagonal element of {labels.text(b, b + 1)[0]!r} is {diagonal[b]:g}, not positive", file=file)
        for b in np.flatnonzero(~(diagonal > 0))[:16].tolist()
    ]
    count = np.diff(np.r_[first, len(low)])
    owner = np.repeat(first, count)
    off = np.abs(value - value[owner]) > SYMMETRY_RTOL * diagonal.max(initial=0.0)
    for k in np.flatnonzero(off)[:16].tolist():
        names = labels.take(np.array([low[k], high[k]])).text()
        what = "not symmetric" if i[k] != i[owner[k]] else "an element is given twice"
        what += f": ({names[0]}, {names[1]}) is {value[owner[k]]:g} on line {line[owner[k]]} and {value[k]:g} here"
        problems.append(
            Problem(what, file=file, line=int(line[k]), remedy="give one triangle, or equal values in both")
        )
    raise_problems(problems)
    mean = np.add.reduceat(value, first) / count
    low, high = low[first].astype(np.int64), high[first].astype(np.int64)
    once = low != high
    rows, columns = np.concatenate([low, high[once]]), np.concatenate([high, low[once]])
    return csr_array(coo_array((np.concatenate([mean, mean[once]]), (rows, columns)), shape=(n, n)))


def _invert(K: csr_array, file: str, labels: Labels) -> csr_array:
    """Return the inverse, found block by block of connected individuals; between blocks it is zero."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import connected_components

    n = K.shape[0]
    n_blocks, block_of = connected_components(K, directed=False)
    order = np.argsort(block_of, kind="stable")
    edges = np.searchsorted(block_of[order], np.arange(n_blocks + 1))
    sizes = np.diff(edges)
    if sizes.max() > MAX_DENSE:
        gib = 8 * float(sizes.max()) ** 2 / 2**30
        what = f"{sizes.max()} individuals are connected: a dense inverse takes {gib:.0f} GiB"
        raise ResourceError(Problem(what, file=file, remedy=f"blocks of up to {MAX_DENSE} can be inverted"))
    alone = order[edges[:-1][sizes == 1]]
    rows, columns, values = [alone], [alone], [1.0 / K.diagonal()[alone]]
    for b in np.flatnonzero(sizes > 1):
        members = order[edges[b] : edges[b + 1]]
        dense = K[members][:, members].toarray()
        try:
            inverse = cho_solve(cho_factor(dense, lower=True), np.eye(len(members)))
        except LinAlgError as error:
            names = ", ".join(labels.take(members[:5]).text())
            what = f"not positive definite (among the individuals {names}{', ...' if len(members) > 5 else ''})"
            remedy = "add a small value to the diagonal, or remove individuals that are copies of each other"
            raise InputFileError(Problem(what, file=file, remedy=remedy)) from error
        inverse = (inverse + inverse.T) / 2
        i, j = np.nonzero(inverse)
        rows.append(members[i])
        columns.append(members[j])
        values.append(inverse[i, j])
    return csr_array(coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)))
