"""Arrays in a scratch file: a process that keeps to a limit of memory, whatever the arrays take together.

While `ScratchMemory` is open, NumPy gets the data of all large arrays of this thread, and of teams of threads that
start under it, from `kernels.scratch_heap`: a file without a name that is mapped as a whole. A thread gives the pages
of the file back whenever the process has nearly as much in memory as it may. The system writes them to the disk in its
own time, keeps what there is room for, and reads ahead what is read in order.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from henderson.errors import ResourceError
from henderson.kernels import scratch_heap as heap

log = logging.getLogger(__name__)

LARGE = 1 << 18  # bytes of an array that lies in the file
SPREAD = 4  # times the free disk: what addresses there are, as blocks leave gaps
PERIOD = 1000  # microseconds
MARGIN = 0.08  # of the limit, that memory may grow by in a period; between
LEAST_MARGIN, MOST_MARGIN = 24 << 20, 1 << 30
SET_HANDLER, GET_HANDLER = 304, 305  # places in NumPy's table of functions
_kept: list[object] = []  # arrays may outlive all that made them


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
    """Keeps this process within `limit` bytes of resident memory, large arrays in a file in `folder`; a context manager.

    What is not an array of NumPy counts, but cannot be given back: the interpreter and compiled code, some 300 MB, and
    buffers of readers and writers. Arrays may live on after the end.

    Raises
    ------
    ResourceError
        There is no room for the addresses, or `folder` cannot be written.

    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
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

    def __enter__(self) -> ScratchMemory:
        state, free = self._state, shutil.disk_usage(self._folder).free
        self._capacity = capacity = SPREAD * free // heap.PAGE * heap.PAGE
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise ResourceError(f"{self._folder}: no scratch file can be made there: {error.strerror}") from None
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
        base = libc.mmap(None, capacity, 3, 1 | 0x4000, self._file.fileno(), 0)  # read and write; shared, no reserve
        if base in (None, ctypes.c_void_p(-1).value):
            raise ResourceError(f"{capacity >> 30} GiB of addresses are refused; raise the limit of virtual memory")
        state[[heap.BASE, heap.FILE, heap.THRESHOLD]] = base, self._file.fileno(), LARGE
        state[heap.N_FREE], state[heap.HEAD + heap.MOST] = 1, capacity
        self._libc, self._base = libc, base
        functions = [getattr(heap, name) for name in ("malloc", "calloc", "realloc", "free")]
        allocator = _Allocator(b"henderson_scratch", 1, state.ctypes.data, *(f.address for f in functions))
        capsule = _capsule(allocator)
        for thing in (state, allocator, capsule, *functions):  # for ever: an array may be freed at the very end
            _kept.append(thing)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        margin = int(min(max(MARGIN * self.limit, LEAST_MARGIN), MOST_MARGIN))
        watch = (state, capacity, self._statm, self.limit - margin, PERIOD)
        state[heap.STOP] = 1
        heap.watch(*watch)  # compiled here
        state[heap.STOP] = 0
        self._thread = threading.Thread(target=heap.watch, args=watch, name="henderson-memory", daemon=True)
        self._thread.start()
        self._before = _function(SET_HANDLER, ctypes.py_object)(capsule)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _function(SET_HANDLER, ctypes.py_object)(self._before)
        self._state[heap.STOP] = 1
        assert self._thread is not None
        self._thread.join()
        os.close(self._statm)
        log.info("%d times pages of the scratch file were given back", self.given_back)
        if not self._state[heap.N_USED]:
            self._libc.munmap(ctypes.c_void_p(self._base), ctypes.c_size_t(self._capacity))
            self._file.close()
        else:  # arrays are left; the file has no name, and goes with them or the process
            _kept.append(self._file)


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
