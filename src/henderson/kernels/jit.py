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
from numba.core.cgutils import get_or_insert_function
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic

types = numba.types  # of arguments, by name
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


def of_system(name: str, result: str, *arguments: str) -> Callable[..., Any]:
    """Return a function of the C library for kernels; types by their name in numba, ``intp`` for pointers."""
    signature = getattr(types, result)(*(getattr(types, a) for a in arguments))
    return cast(Callable[..., Any], types.ExternalFunction(name, signature))


def callback(result: str, *arguments: str) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes a function of one int64 array (as its address) and `arguments` one that C can call.

    The compiled function has its address as `address`; it must neither fail nor call Python.
    """
    signature = getattr(types, result)(types.CPointer(types.int64), *(getattr(types, a) for a in arguments))
    return cast(Callable[[Callable[..., Any]], Any], numba.cfunc(signature, cache=True, error_model="numpy"))


def routine(signature: Any, function: Callable[..., Any]) -> int:
    """Return the address of `function`, compiled and cached on disk; it stays for the life of the process."""
    compiled = numba.cfunc(signature, **OPTIONS)(function)
    _routines.append(compiled)
    return cast(int, compiled.address)


def instructions(function: Callable[..., Any]) -> Callable[..., None]:
    """Return what `function` writes, instruction by instruction, for kernels to call; it is told literal numbers."""
    return cast(Callable[..., None], intrinsic(prefer_literal=True)(function))


_routines: list[Any] = []
declare = get_or_insert_function  # declare(module, type, name) is a function of the compiler itself

array_at = numba.carray  # array_at(pointer, shape) is the array that begins there
