"""Runs of records, in arrays that nothing lies before: a read ahead of them ends the process."""

from __future__ import annotations

import subprocess
import sys

GUARDED = """
import ctypes, mmap
import numpy as np
from henderson.kernels.record_loops import LocalRecords
from henderson.kernels.record_spans import run_starts

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
page, found = mmap.PAGESIZE, []
for n in (40, 0):
    memory = mmap.mmap(-1, 2 * page)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    slots = np.frombuffer(memory, np.uint32, 4 * n, page).reshape(n, 4)
    slots[:] = np.array([[i // 3, 7, i, i // 6] for i in range(n)]).reshape(n, 4)
    assert libc.mprotect(begin, page, 0) == 0
    records = LocalRecords(0, n, slots, np.zeros(n, np.uint16), None, None, np.zeros((n, 1)))
    start = np.empty(n + 1, np.uint32)
    found.append(start[: run_starts(records, np.array([0, 3], np.uint64), start)].tolist())
    keep = memory, slots, records
print(found)
"""


def test_runs_are_found_without_a_look_at_what_is_before_the_first_record() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([[*range(0, 40, 3), 40], [0]])
