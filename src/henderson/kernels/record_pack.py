"""Records without gaps: the traits a record has observations of as bits, and these observations one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit

TRAITS_PER_WORD = 63  # the highest bit is always set: a word that is 0 would end an id (see `hashing`)


@jit
def pack_observed(responses: NDArray[np.float64], words: NDArray[np.uint64], values: NDArray[np.float64]) -> int:
    """Return the largest number of observations of a record.

    responses: (n_traits, n), NaN where missing. words: (n, ceil(n_traits / 63)), set to the pattern of each record.
    values: (n_traits, n), set to its observations in the order of the traits, then NaN.
    """
    most = 0
    n_traits = responses.shape[0]
    for i in range(responses.shape[1]):
        for w in range(words.shape[1]):
            words[i, w] = np.uint64(1) << np.uint64(63)
        k = 0
        for t in range(n_traits):
            y = responses[t, i]
            if not np.isnan(y):
                words[i, t // TRAITS_PER_WORD] |= np.uint64(1) << np.uint64(t % TRAITS_PER_WORD)
                values[k, i] = y
                k += 1
        most = max(most, k)
        for rest in range(k, n_traits):
            values[rest, i] = np.nan
    return most


@jit
def unpack_observed(words: NDArray[np.uint64], values: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Set `out` (n_traits, n) to the responses, NaN where missing: what `pack_observed` was given."""
    for i in range(out.shape[1]):
        k = 0
        for t in range(out.shape[0]):
            bit = np.uint64(1) << np.uint64(t % TRAITS_PER_WORD)
            out[t, i] = np.nan
            if words[i, t // TRAITS_PER_WORD] & bit:
                out[t, i] = values[k, i]
                k += 1


@jit
def keys_of_reals(values: NDArray[np.float64], keys: NDArray[np.uint64]) -> None:
    """Set `keys` (n, 1) to a word for each number as `hashing` takes them: equal for equal numbers, 0 for NaN alone."""
    bits = (values + 0.0).view(np.uint64)  # -0.0 is 0.0
    for i in range(values.shape[0]):
        keys[i, 0] = np.uint64(0) if np.isnan(values[i]) else bits[i] ^ np.uint64(0xFFFFFFFFFFFFFFFF)


def reals_of_keys(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the numbers of keys that are not 0."""
    return np.ascontiguousarray(~keys[:, 0]).view(np.float64)
