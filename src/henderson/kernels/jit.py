"""The one place that imports numba: how kernels are compiled and where they are cached.

Kernels are pure functions on arrays, compiled on first use without the GIL, so that Python threads run them side by
side (no threading layer, no OpenMP). Compiled code is kept beside the source, or, where that cannot be written, in the
user's cache directory (numba's own rule; `NUMBA_CACHE_DIR` overrides).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.cpython.unsafe.tuple import tuple_setitem

# what indexes arrays in hot loops: an int64 costs a test for negative values at every access
index = cast(Callable[[Any], int], np.uint64)
set_item = tuple_setitem  # set_item(t, k, value) is t with element k replaced; small tuples stay in registers

F = TypeVar("F", bound=Callable[..., Any])

# NumPy's division rules; multiply and add may be fused, but sums keep their order: the same input gives the same bits
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function: F) -> F:
    """Return `function`, compiled on first call and cached on disk; it runs without the GIL."""
    return cast(F, numba.njit(**OPTIONS)(function))


def inline(function: F) -> F:
    """Return `function` compiled into the kernels that call it."""
    return cast(F, numba.njit(forceinline=True, **OPTIONS)(function))
