"""Run a command; then print its wall and processor seconds and the largest resident memory of one of its processes.

    python cluster/scaling/measure.py COMMAND ...

Exits as the command does.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time


def main() -> int:
    """Return the exit code of the command."""
    begin = time.perf_counter()
    code = subprocess.run(sys.argv[1:], check=False).returncode
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
    print(f"-- {seconds:.1f} s, {cpu:.1f} CPU s, peak {peak:.2f} GiB", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
