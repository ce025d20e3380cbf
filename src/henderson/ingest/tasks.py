"""The one place that imports Dask: many independent tasks, a few at a time.

A task is a top-level function of small arguments that can be pickled (paths, byte ranges, declarations); what it
makes it writes to disk, what it returns is small. Threads run them here, as the work is done by code that releases
the GIL; inside `on_cluster` the workers of a distributed cluster run the same tasks.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import dask
from dask.callbacks import Callback

from henderson.errors import InputFileError, Problem, ResourceError
from henderson.ingest.cluster import Cluster, LocalWorkers, SlurmWorkers

Progress = Callable[[str, int, int], None]
R = TypeVar("R")

LOOK_AFTER = 10.0  # seconds without a finished task before it is asked whether there are workers left
THREADS_PER_PROCESS = 8  # of a worker job: parsing holds the GIL now and then
TAIL = 5  # lines of the log of a worker that an error shows

CONFIG = {
    "distributed.scheduler.worker-ttl": None,  # a worker in long compiled code is not lost; one that closes is
    "distributed.scheduler.allowed-failures": 2,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.memory.target": False,  # results are small, and mapped files count as a process's memory
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 65536,
        "OMP_NUM_THREADS": 1,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    },
}


@dataclass(frozen=True)
class _Running:
    """A cluster that is up: its client, and whether workers are there or may still come."""

    client: Any
    look: Callable[[], None]


_running: ContextVar[_Running | None] = ContextVar("_running", default=None)


def run_tasks(
    stage: str,
    function: Callable[..., R],
    arguments: Iterable[tuple[Any, ...]],
    workers: int,
    progress: Progress | None,
) -> list[R]:
    """Return ``[function(*a) for a in arguments]``, at most `workers` of them at any time in this process.

    Inside `on_cluster` its workers run them, as many as they have threads. `progress` is told of each. Raises what a
    task raises; `ResourceError` if the workers of a cluster die.
    """
    calls = list(arguments)
    lock = threading.Lock()
    done = 0

    def told(*_: Any) -> None:
        nonlocal done
        with lock:
            done += 1
            if progress is not None:
                progress(stage, min(done, len(calls)), len(calls))

    if progress is not None:
        progress(stage, 0, len(calls))
    if (running := _running.get()) is not None and calls:
        return _distributed(running, stage, function, calls, told)
    # the arguments stay inside a partial, where Dask does not look for collections in them
    delayed = [dask.delayed(partial(function, *a), pure=False, traverse=False)() for a in calls]
    with Callback(posttask=told):
        return list(dask.compute(*delayed, scheduler="threads", num_workers=max(1, workers), optimize_graph=False))


def _distributed(
    running: _Running, stage: str, function: Callable[..., R], calls: list[tuple[Any, ...]], told: Callable[[], None]
) -> list[R]:
    """Return the results of the calls, run by the workers of the cluster.

    An argument that is one object in all calls (the list of all parts, say) is sent once, not with each.
    """
    from distributed import CancelledError, KilledWorker

    first = calls[0]
    common = tuple(k for k in range(len(first)) if len(calls) > 1 and all(call[k] is first[k] for call in calls))
    # a task rather than data that are scattered: when the worker that holds it dies, another makes it again
    shared = running.client.submit(partial(tuple, [first[k] for k in common]), pure=False)
    name = f"{getattr(function, '__name__', 'task').strip('_')}-{uuid.uuid4().hex[:8]}"
    futures = [
        running.client.submit(partial(_call, function, common, _without(call, common)), shared, key=f"{name}-{i}")
        for i, call in enumerate(calls)
    ]
    finished: SimpleQueue[Any] = SimpleQueue()
    for future in futures:
        future.add_done_callback(finished.put)
    try:
        for _ in futures:
            while True:
                try:
                    future = finished.get(timeout=LOOK_AFTER)
                    break
                except Empty:
                    running.look()
            if future.status != "finished":
                future.result()  # raises what the task has raised
            told()
        return list(running.client.gather(futures))
    except KilledWorker as error:
        raise ResourceError(
            f"ingest, {stage}: workers died {error.allowed_failures + 1} times with the same task, probably for lack "
            "of memory; give them more, or fewer cores each. Run again: the ingest goes on where it stopped"
        ) from error
    except CancelledError as error:
        raise ResourceError(f"ingest, {stage}: the cluster was lost; run again, it goes on where it stopped") from error
    finally:
        running.client.cancel([f for f in futures if not f.done()])


def _without(call: tuple[Any, ...], positions: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(value for k, value in enumerate(call) if k not in positions)


def _call(function: Callable[..., R], positions: tuple[int, ...], own: tuple[Any, ...], shared: tuple[Any, ...]) -> R:
    """Return ``function(*call)``, the call put together from its own arguments and the shared ones at `positions`."""
    rest, common = iter(own), dict(zip(positions, shared, strict=True))
    return function(*(common[k] if k in common else next(rest) for k in range(len(own) + len(shared))))


@contextmanager
def on_cluster(cluster: Cluster | None) -> Iterator[None]:
    """Let the workers of `cluster` run all tasks meanwhile; None: threads, as always.

    The workers end and their jobs are cancelled on the way out, whatever happened. Raises `ResourceError` if SLURM does
    not take the jobs.
    """
    if cluster is None:
        yield
        return
    with _ended_by_sigterm(), _quiet(), dask.config.set(CONFIG), ExitStack() as stack:
        start = _local if isinstance(cluster, LocalWorkers) else _slurm
        token = _running.set(start(cluster, stack))  # type: ignore[arg-type]
        try:
            yield
        finally:
            _running.reset(token)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's notes on every connection out of the log; its errors stay."""
    import distributed  # sets its own levels when it is imported

    logger = logging.getLogger(distributed.__name__)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM (scancel, a time limit) end this process through its exits, so that no worker job stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _local(cluster: LocalWorkers, stack: ExitStack) -> _Running:
    from distributed import Client, LocalCluster

    options = {"processes": True, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
    there = stack.enter_context(LocalCluster(n_workers=cluster.n_workers, **options))
    return _Running(stack.enter_context(Client(there, set_as_default=False)), lambda: None)


def _slurm(cluster: SlurmWorkers, stack: ExitStack) -> _Running:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ResourceError("dask-jobqueue is not installed: pip install henderson[slurm]") from error
    from distributed import Client

    if shutil.which("sbatch") is None:
        raise ResourceError("sbatch is not there: this is no machine of a SLURM cluster; use --cluster local or none")
    name = f"henderson-ingest-{uuid.uuid4().hex[:8]}"
    cluster.logs.mkdir(parents=True, exist_ok=True)
    prologue = [*cluster.prologue, "export OMP_NUM_THREADS=1 ARROW_DEFAULT_MEMORY_POOL=system"]
    options: dict[str, Any] = {
        "job_name": name,
        "queue": cluster.partition,
        "account": cluster.account,
        "cores": cluster.cores,
        "processes": -(-cluster.cores // THREADS_PER_PROCESS),
        "memory": f"{cluster.memory}B",
        "walltime": cluster.walltime,
        "job_extra_directives": list(cluster.directives),
        "job_script_prologue": prologue,
        "python": cluster.python or sys.executable,
        "interface": cluster.interface,
        "local_directory": cluster.scratch,
        "log_directory": str(cluster.logs),
        "worker_extra_args": ["--memory-limit", "0", "--no-dashboard"],  # SLURM holds the limit
        "scheduler_options": {"dashboard_address": ":0"},
    }
    there = SLURMCluster(**options)
    stack.callback(_cancel, name)
    stack.enter_context(there)
    _try(there.job_script())
    client = stack.enter_context(Client(there, set_as_default=False))
    there.scale(jobs=cluster.n_jobs)

    def look() -> None:
        if client.scheduler_info(n_workers=-1)["workers"]:
            return
        if not _ask("squeue", "--noheader", "--name", name, "--format=%A").strip():
            raise ResourceError(
                "all worker jobs have ended before the ingest was done: their time limit, or an error; run again, the "
                f"ingest goes on where it stopped. The last lines of their logs:\n{_last_lines(cluster.logs, name)}"
            )

    return _Running(client, look)


def _try(script: str) -> None:
    """Raise `ResourceError` with what SLURM says if it would not take the script."""
    answer = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = answer.stderr.strip().splitlines()[-1:] or ["nothing was said"]
        raise ResourceError(f"SLURM does not take the worker jobs: {said[0]}; look at the site profile")


def _ask(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout if answer.returncode == 0 else "unknown"


def _cancel(name: str) -> None:
    """Cancel the jobs of that name: those that Dask knows it has cancelled, those it was about to start it has not."""
    subprocess.run(["scancel", "--quiet", "--name", name], capture_output=True, check=False)


def _last_lines(logs: Path, name: str) -> str:
    files = sorted(logs.glob(f"{name}-*.err"), key=os.path.getmtime)[-2:]
    lines = [f"{f}: {line}" for f in files for line in f.read_text(errors="replace").splitlines()[-TAIL:]]
    return "\n".join(lines) or f"{logs}: none"


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise `InputFileError` with the problems, each once, in the order of files and lines.

    Return if there are none.
    """
    unique = list(dict.fromkeys(problems))
    if unique:
        raise InputFileError(unique)


def shift(problem: Problem, lines: int) -> Problem:
    """Return the problem with its line, which counts from 0 in its block, counted from 1 in the file.

    `lines` go before.
    """
    return problem if problem.line is None else replace(problem, line=problem.line + lines + 1)
