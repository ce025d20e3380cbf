"""User relationship matrices against NumPy, in every form of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.errors import InputFileError
from henderson.ingest.files import cut
from henderson.ingest.header import source_of
from henderson.ingest.matrix_file import read_matrix
from henderson.language.spec import MatrixSpec
from henderson.store.model_data import RelationshipMatrix

IDS = ["b", "a", "10", "d"]
K = np.array([[1.2, 0.5, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 0.9, 0.1], [0.0, 0.0, 0.1, 1.1]])


def read(folder: Path, content: str, *, inverse: bool = False, block_bytes: int = 1 << 20) -> RelationshipMatrix:
    path = folder / "K.csv"
    path.write_text(content)
    return read_matrix(MatrixSpec("K", "K.csv", inverse=inverse), cut(source_of(path, "K.csv"), block_bytes))


def square(rows: list[int], columns: list[int], matrix: np.ndarray = K) -> str:
    lines = ["id," + ",".join(IDS[c] for c in columns)]
    lines += [IDS[r] + "," + ",".join(repr(float(matrix[r, c])) for c in columns) for r in rows]
    return "\n".join(lines) + "\n"


def triplets(pairs: list[tuple[int, int]], matrix: np.ndarray = K) -> str:
    return "i,j,value\n" + "".join(f"{IDS[i]},{IDS[j]},{float(matrix[i, j])!r}\n" for i, j in pairs)


LOWER = [(i, j) for i in range(4) for j in range(i + 1) if K[i, j]]
BOTH = [(i, j) for i in range(4) for j in range(4)]


@pytest.mark.parametrize(
    "content",
    [
        square([0, 1, 2, 3], [0, 1, 2, 3]),
        square([3, 1, 0, 2], [0, 2, 1, 3]),
        triplets(LOWER),
        triplets([(j, i) for i, j in LOWER]),
        triplets([(1, 1), (1, 0), (0, 0), (2, 3), (2, 2), (3, 3)]),
        triplets(BOTH),
    ],
)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("block_bytes", [5, 1 << 20])
def test_every_form_gives_the_same_matrix(tmp_path: Path, content: str, inverse: bool, block_bytes: int) -> None:
    found = read(tmp_path, content, inverse=inverse, block_bytes=block_bytes)
    place = [found.labels.text().index(i) for i in IDS]
    expected = (K, np.diag(np.linalg.inv(K))) if inverse else (np.linalg.inv(K), np.diag(K))
    np.testing.assert_allclose(found.inverse.toarray()[np.ix_(place, place)], expected[0], rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(found.diagonal[place], expected[1], rtol=1e-14)
    assert found.inverse.nnz == 8  # unrelated blocks stay apart
    assert (found.inverse - found.inverse.T).nnz == 0


def test_integers_and_a_diagonal(tmp_path: Path) -> None:
    found = read(tmp_path, "id,value\n007,2\n3,4\n")
    assert found.labels.is_integer
    assert found.labels.text() == ["7", "3"]
    np.testing.assert_array_equal(found.inverse.toarray(), [[0.5, 0], [0, 0.25]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,a,b\na,1,0.5\nb,0.4,1\n", ["line 2", "not symmetric", "0.5", "0.4"]),
        ("id,a,b\na,1,0.5\n", ["'b' has no row"]),
        ("id,a,b\na,1,0.5\nc,0.5,1\n", ["line 3", "'c' has no column"]),
        ("id,a,b\na,1,0.5\na,1,0.5\n", ["line 3", "more than once"]),
        ("id,a,b\na,1,x\nb,1,1\n", ["line 2", "x"]),
        ("id,a,b\na,1\nb,1,1\n", ["line 2", "1 values for 2 columns"]),
        ("id,a,b\na,1,2\nb,2,1\n", ["not positive definite", "a, b"]),
        ("i,j,value\na,a,1\nb,b,1\na,b,0.5\na,b,0.25\n", ["line 5", "twice"]),
        ("i,j,value\na,a,1\nb,b,1\na,b,0.5\nb,a,0.25\n", ["line 5", "not symmetric"]),
        ("i,j,value\na,a,1\na,b,0.5\n", ["'b'", "not positive"]),
        ("i,j,value\na,a,1\n,a,0.5\n", ["line 3", "without ids"]),
        ("i,j,value\na,a,1\nb,a\n", ["line 3", "2 fields"]),
    ],
)
def test_unusable_matrices(tmp_path: Path, content: str, words: list[str]) -> None:
    with pytest.raises(InputFileError) as caught:
        read(tmp_path, content)
    assert all(w in str(caught.value) for w in ["K.csv", *words]), str(caught.value)
