"""What the program says of an error."""

from __future__ import annotations

import json
import sys
import traceback
from typing import NoReturn

import click

from henderson.jobs.failures import exit_code_of, known
from henderson.jobs.launcher import launched

KINDS = {3: "input", 4: "store", 5: "model", 6: "not converged", 7: "resources", 8: "different"}


def end(error: BaseException, *, as_json: bool) -> NoReturn:
    """Say the error and exit; of several copies that a launcher has started one says it, and all end.

    A copy that simply exits before it has started MPI would leave the others waiting for it.
    """
    if launched().size > 1:
        try:
            from henderson.partitions.mpi import world
        except (ImportError, RuntimeError):
            if launched().rank > 0:
                sys.exit(exit_code_of(error))
        else:
            from henderson.jobs.together import end_together

            end_together(world(), None, error, lambda e: say(e, as_json=as_json))
    say(error, as_json=as_json)
    sys.exit(exit_code_of(error))


def say(error: BaseException, *, as_json: bool) -> None:
    """Print an error on stderr, a bug with its traceback, nothing if the user has stopped the program."""
    ours = known(error)
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return
    if isinstance(error, click.ClickException):
        error.show()
        return
    if ours is None:
        traceback.print_exception(error)
        return
    if as_json:
        print(json.dumps({"error": [str(p) for p in ours.problems], "exit_code": exit_code_of(ours)}), flush=True)
    kind = KINDS.get(ours.exit_code, "error")
    for line in str(ours).splitlines():
        print(f"{kind}: {line}", file=sys.stderr, flush=True)
