"""Run a command; then print its wall and processor seconds and the largest resident memory of one of its processes.

    python cluster/scaling/measure.py COMMAND ...

Exits as the command does. The memory of the command itself is read every `EVERY` seconds: the system's own mark is set
back by a run between its stages.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

EVERY = 0.2


def resident(pid: int) -> float:
    """Return the resident memory of a process in GiB, 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 2**30


def main() -> int:
    """Return the exit code of the command."""
    begin, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(sys.argv[1:])
    while True:
        try:
            code = process.wait(EVERY)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, resident(process.pid))
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = max(peak, used.ru_maxrss / 2**20)
    print(f"-- {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} CPU s, peak {peak:.2f} GiB", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
