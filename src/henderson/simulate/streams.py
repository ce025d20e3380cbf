"""Random numbers addressed by index: item i of a stream is the same whatever block asks for it.

Every item uses a fixed number of 64-bit words of a counter-based generator (Philox 4x64; Salmon, Moraes, Dror & Shaw
2011), whose key is (seed, stream) and whose counter is the word's position; nothing depends on what was drawn before.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

WORDS_PER_COUNT = 4


class Stream(IntEnum):
    """What a stream of random numbers is for; its items are numbered by what the comment says."""

    MATING = 1  # animal
    MENDELIAN = 2  # animal
    RECORDED = 3  # animal
    HERD_SIZE = 4  # herd
    HERD_EFFECT = 5  # herd
    PERMANENT = 6  # recorded animal
    RECORD = 7  # row of the record file
    RESIDUAL = 8  # row of the record file
    PEDIGREE_ORDER = 9  # animal
    RECORD_ORDER = 10  # record
    TEST_DAY = 11  # recorded cow
    HERD_PHASE = 12  # herd
    HERD_YEAR = 13  # herd-year
    TEST = 14  # test day of a herd


def uniforms(seed: int, stream: Stream, width: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return items start..stop of a stream of uniform numbers in the open interval (0, 1), shape (stop - start, width).

    The value is (k + 1/2) / 2^52 with k the upper 52 bits of a word, so neither 0 nor 1 can come up.
    """
    first, n_words = start * width, (stop - start) * width
    count, skip = divmod(first, WORDS_PER_COUNT)
    generator = np.random.Philox(
        key=np.array([seed, int(stream)], dtype=np.uint64), counter=np.array([count, 0, 0, 0], dtype=np.uint64)
    )
    words = generator.random_raw(n_words + skip)[skip:]
    words >>= np.uint64(12)
    values = words.astype(np.float64)
    values += 0.5
    values *= 2.0**-52
    return values.reshape(stop - start, width)


def normals(seed: int, stream: Stream, width: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return items start..stop of a stream of standard normal numbers (inverse distribution), (stop - start, width)."""
    values = uniforms(seed, stream, width, start, stop)
    return np.asarray(ndtri(values, out=values), dtype=np.float64)


def correlated(factor: NDArray[np.floating], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return z L', shape (n, k): rows with covariance L L' for standard normal rows of `z` and lower triangular L.

    Written as sums of columns: a product of matrices may round differently in blocks of different size.
    """
    result = np.empty_like(z)
    for i in range(factor.shape[0]):
        column = factor[i, 0] * z[:, 0]
        for j in range(1, i + 1):
            column += factor[i, j] * z[:, j]
        result[:, i] = column
    return result


def random_order(seed: int, stream: Stream, n: int) -> NDArray[np.int64]:
    """Return a random permutation of 0..n. Cost: a sort; 16 n bytes."""
    return np.argsort(uniforms(seed, stream, 1, 0, n)[:, 0], kind="stable")
