"""Arrays in a scratch file: a process that keeps to a limit of memory, whatever the arrays take together.

While `ScratchMemory` is open, NumPy gets the data of all large arrays of this thread, and of teams of threads that
start under it, from `kernels.scratch_heap`: a file without a name that is mapped as a whole. A thread gives the pages
of the file back whenever the process has nearly as much in memory as it may. The system writes them to the disk in its
own time, keeps what there is room for, and reads ahead what is read in order.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import platform
import shutil
import struct
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import ResourceError
from henderson.kernels import scratch_heap as heap

log = logging.getLogger(__name__)

LARGE = 1 << 18  # bytes of an array that lies in the file
SPREAD = 4  # times the free disk: what addresses there are, as blocks leave gaps
PERIOD = 500  # microseconds
SLICE = 100_000  # nanoseconds that the watch runs at a time
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
MARGIN = 0.125  # of the limit, that memory may grow by before the watch sees it; between
LEAST_MARGIN, MOST_MARGIN = 80 << 20, 1 << 30
SET_HANDLER = 304  # place in NumPy's table of functions
KEPT = 0.7  # of what is beyond INTERPRETER and the margin: vectors that stay in memory
INTERPRETER = 448 << 20  # bytes that are no arrays, at most
_kept: list[object] = []  # arrays may outlive all that made them
_open: list[ScratchMemory] = []


class _Allocator(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


class ScratchMemory:
    """Keeps a process within `limit` bytes of resident memory, large arrays in a file in `folder`; a context manager.

    What is not an array of NumPy counts, but cannot be given back: the interpreter and compiled code, some 300 MB, and
    buffers of readers and writers. Arrays may live on after the end. Pages are given back when `margin` bytes are left.

    Raises
    ------
    ResourceError
        There is no room for the addresses, or `folder` cannot be written.

    """

    def __init__(self, folder: Path, limit: int, margin: int | None = None) -> None:
        self.limit = limit
        self._margin = int(min(max(MARGIN * limit, LEAST_MARGIN), MOST_MARGIN)) if margin is None else margin
        self._folder = folder
        self._state = np.zeros(heap.SIZE, np.int64)
        self._thread: threading.Thread | None = None

    @property
    def given_back(self) -> int:
        """Return how often the pages were given back."""
        return int(self._state[heap.GIVEN_BACK])

    @property
    def highest(self) -> int:
        """Return the largest resident memory seen, in bytes."""
        return int(self._state[heap.HIGHEST])

    @property
    def room(self) -> int:
        """Return the bytes of vectors that stay in memory."""
        return max(0, int(KEPT * (self.limit - INTERPRETER - self._margin)))

    def vector(self, n: int) -> NDArray[np.float64]:
        """Return `n` zeros, in memory as long as there is room for them: what is written again and again."""
        self._state[heap.ROOM] = self.room
        try:
            return np.zeros(n)
        finally:
            self._state[heap.ROOM] = 0

    def look(self) -> None:
        """Give pages back now, if it is time."""
        heap.look(*self._watched)

    def _watch(self) -> None:
        if (number := SCHED_SETATTR.get(platform.machine())) is not None:  # at once, though other threads are busy
            attributes = struct.pack("IIQiIQQQII", 56, 0, 0, 0, 0, SLICE, 0, 0, 0, 0)
            self._libc.syscall(number, 0, attributes, 0)  # before Linux 6.12 it has no effect
        heap.watch(*self._watched, PERIOD)

    def __enter__(self) -> ScratchMemory:
        state, free = self._state, shutil.disk_usage(self._folder).free
        self._capacity = capacity = SPREAD * free // mmap.PAGESIZE * mmap.PAGESIZE
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                self._file = os.dup(file.fileno())
        except OSError as error:
            raise ResourceError(f"{self._folder}: no scratch file can be made there: {error.strerror}") from None
        libc = ctypes.CDLL(None, use_errno=True)
        libc.malloc_trim(0)
        libc.mmap.restype = ctypes.c_void_p
        how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
        base = libc.mmap(None, capacity, *how, self._file, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            raise ResourceError(f"{capacity >> 30} GiB of addresses are refused; raise the limit of virtual memory")
        state[[heap.BASE, heap.FILE, heap.PAGE]] = base, self._file, mmap.PAGESIZE
        state[[heap.THRESHOLD, heap.ADVICE]] = LARGE, mmap.MADV_DONTNEED
        state[heap.N_FREE], state[heap.HEAD + heap.MOST] = 1, capacity
        self._libc, self._base = libc, base
        functions = heap.functions()
        allocator = _Allocator(b"henderson_scratch", 1, state.ctypes.data, *(f.address for f in functions))
        capsule = _capsule(allocator)
        for thing in (state, allocator, capsule, *functions):  # for ever: an array may be freed at the very end
            _kept.append(thing)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._watched = state, capacity, self._statm, self.limit - self._margin
        state[heap.STOP] = 1
        heap.watch(*self._watched, PERIOD)  # compiled here
        state[heap.STOP] = 0
        self._thread = threading.Thread(target=self._watch, name="henderson-memory", daemon=True)
        self._thread.start()
        self._before = _function(SET_HANDLER, ctypes.py_object)(capsule)
        _open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _open.remove(self)
        _function(SET_HANDLER, ctypes.py_object)(self._before)
        self._state[heap.STOP] = 1
        assert self._thread is not None
        self._thread.join()
        os.close(self._statm)
        message = "%d times pages of the scratch file were given back; at most %.2f GiB were in memory"
        log.info(message, self.given_back, self.highest / 2**30)
        if not self._state[heap.N_USED]:
            self._libc.munmap(ctypes.c_void_p(self._base), ctypes.c_size_t(self._capacity))
            os.close(self._file)  # else arrays are left; the file has no name, and goes with the process


def zeros(n: int) -> NDArray[np.float64]:
    """Return a vector of zeros; under a `ScratchMemory` the first ones are those that stay in memory."""
    return _open[-1].vector(n) if _open else np.zeros(n)


def look() -> None:
    """Give pages of the scratch file back, if there is one and it is time."""
    if _open:
        _open[-1].look()


def _function(number: int, *arguments: Any) -> Any:
    """Return a function of NumPy's table that returns an object (NumPy C-API, "memory management")."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))  # type: ignore[attr-defined]
    return ctypes.PYFUNCTYPE(ctypes.py_object, *arguments)(table[number])


def _capsule(allocator: _Allocator) -> Any:
    """Return the capsule that NumPy takes for an allocator; its name has to last."""
    name = ctypes.create_string_buffer(b"mem_handler")
    _kept.append(name)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    return new(ctypes.addressof(allocator), ctypes.addressof(name), None)
