"""Run a command; then print its wall and processor seconds and the largest resident memory of one of its processes.

    python cluster/scaling/measure.py [--limit SECONDS] COMMAND ...

Exits as the command does, or with 124 if it was ended at the limit. The memory of the command itself is read every
`EVERY` seconds: the system's own mark is set back by a run between its stages.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

EVERY = 0.2
ENDED = 124  # as timeout(1)


def resident(pid: int) -> float:
    """Return the resident memory of a process in GiB, 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 2**30


def main() -> int:
    """Return the exit code of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=math.inf, metavar="SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    begin, peak, ended = time.perf_counter(), 0.0, False
    process = subprocess.Popen(arguments.command)
    while True:
        try:
            code = process.wait(EVERY)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, resident(process.pid))
        if not ended and time.perf_counter() - begin > arguments.limit:
            process.terminate()
            ended = True
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = max(peak, used.ru_maxrss / 2**20)
    print(f"-- {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} CPU s, peak {peak:.2f} GiB", flush=True)
    return ENDED if ended else code


if __name__ == "__main__":
    sys.exit(main())
