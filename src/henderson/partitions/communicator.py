"""What the processes of a run say to each other outside of products; products go through `exchange`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[Any]


class Communicator(Protocol):
    """The processes of a run, numbered 0 to size - 1.

    All methods are **Collective**: every process calls them in one order. Reductions add in the order of the ranks, so
    that all ranks get the same bits.
    """

    rank: int
    size: int

    def sum(self, values: Array) -> Array:
        """Return the sum over the ranks, elementwise."""

    def minimum(self, values: Array) -> Array:
        """Return the smallest over the ranks, elementwise."""

    def logical_or(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether it is true on any rank, elementwise."""

    def gather_rows(self, values: Array) -> Array:
        """Return the rows of all ranks, on every rank: those of rank 0, then of rank 1...

        Rows of one type and row shape on all ranks, any number of them.
        """

    def gather_all(self, value: T) -> list[T]:
        """Return the (small, picklable) value of every rank, on every rank."""

    def broadcast(self, value: T | None, root: int = 0) -> T:
        """Return the (picklable) value of `root` on every rank."""

    def all_to_all(self, send: Sequence[Array]) -> list[Array]:
        """Return what every rank has sent here; send[k] goes to rank k.

        Rows of one type and row shape on all ranks, any number of them.
        """

    def barrier(self) -> None:
        """Wait for all, asleep: other ranks may need the core."""


class Alone:
    """The communicator of one process."""

    rank = 0
    size = 1

    def sum(self, values: Array) -> Array:
        """Return `values`."""
        return np.asarray(values)

    def minimum(self, values: Array) -> Array:
        """Return `values`."""
        return np.asarray(values)

    def logical_or(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return `values`."""
        return np.asarray(values)

    def gather_rows(self, values: Array) -> Array:
        """Return `values`."""
        return np.asarray(values)

    def gather_all(self, value: T) -> list[T]:
        """Return [value]."""
        return [value]

    def broadcast(self, value: T | None, root: int = 0) -> T:
        """Return `value`."""
        assert value is not None
        return value

    def all_to_all(self, send: Sequence[Array]) -> list[Array]:
        """Return `send`."""
        return list(send)

    def barrier(self) -> None:
        """Return."""


ALONE = Alone()
