"""What the program says of an error."""

from __future__ import annotations

import json
import sys
import traceback

from henderson.jobs.failures import exit_code_of, known

KINDS = {3: "input", 4: "store", 5: "model", 6: "not converged", 7: "resources"}


def say(error: BaseException, *, as_json: bool) -> None:
    """Print an error on stderr, a bug with its traceback, nothing if the user has stopped the program."""
    ours = known(error)
    if isinstance(error, KeyboardInterrupt):
        return
    if ours is None:
        traceback.print_exception(error)
        return
    if as_json:
        print(json.dumps({"error": [str(p) for p in ours.problems], "exit_code": exit_code_of(ours)}), flush=True)
    kind = KINDS.get(ours.exit_code, "error")
    for line in str(ours).splitlines():
        print(f"{kind}: {line}", file=sys.stderr, flush=True)
