"""Progress on stderr: bars on a terminal, a plain line now and then elsewhere; and the log of a run."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from henderson.jobs.progress import Event, Watcher

Progress = Callable[[str, int, int], None]

LOG = "log.jsonl"  # of a run, in its folder of results
PLAIN_EVERY = 5.0  # seconds between two lines where there is no terminal, and before the first
PROGRESS_EVERY = 1.0  # seconds between two lines of the log about the same stage, but for rounds and iterations


@contextlib.contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield `progress(stage, done, total)`, which shows the stages on stderr; None if it is to be `quiet`."""
    with _shown(quiet) as show:
        if show is None:
            yield None
        else:
            yield lambda stage, done, total: show({"event": "progress", "stage": stage, "done": done, "total": total})


@contextlib.contextmanager
def watching(file: Path, out: Path, *, engine: str, ranks: int, quiet: bool, log: Path | None) -> Iterator[Watcher]:
    """Yield what is told of a run: it shows it on stderr, and writes JSON lines into `log` (default: in `out`)."""
    from henderson.jobs.progress import Watcher

    with _shown(quiet) as show, contextlib.closing(JsonLog(log or out / LOG, wait=log is None)) as lines:
        watcher = Watcher([lines, *([show] if show is not None else [])])
        watcher.begin(file, out, engine, ranks)
        try:
            yield watcher
        except BaseException as error:
            watcher.end(error)
            raise
        watcher.end(None)


class JsonLog:
    """A file that gets one JSON object a line, at once; a run that goes on, or another one, appends to it.

    wait: until the folder is there, which a run makes when it has understood its model; without, it is made.
    """

    def __init__(self, path: Path, *, wait: bool) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._waiting: list[str] = []
        self._last: dict[str, float] = {}
        if not wait:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if event["event"] == "progress" and not self._due(event):
            return
        line = json.dumps(event, allow_nan=False) + "\n"
        if self._file is None and self._path.parent.is_dir():
            with contextlib.suppress(OSError):  # the run will say what is wrong with its folder
                self._file = self._path.open("a", encoding="utf-8")
                self._file.writelines(self._waiting)
        if self._file is None:
            self._waiting.append(line)
        else:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _due(self, event: Event) -> bool:
        now = time.monotonic()
        if event["done"] < event["total"] and now - self._last.get(event["stage"], -PROGRESS_EVERY) < PROGRESS_EVERY:
            return False
        self._last[event["stage"]] = now
        return True


@contextlib.contextmanager
def _shown(quiet: bool) -> Iterator[Callable[[Event], None] | None]:
    """Yield what shows events on stderr."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield PlainLines()


class PlainLines:
    """Says on stderr where a run is, at most one line every `PLAIN_EVERY` seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show an event, if it is time."""
        now = time.monotonic()
        if now - self._last >= PLAIN_EVERY and (text := sentence(event)):
            self._last = now
            print(text, file=sys.stderr, flush=True)


def sentence(event: Event) -> str:
    """Return an event in words, nothing for those that say nothing of how far a run is."""
    stage = event.get("stage")
    if event["event"] == "progress" and event["total"]:
        return f"{stage}: {100 * event['done'] // event['total']} %"
    if event["event"] == "iteration":
        return f"{stage}: {solving(event)}"
    if event["event"] == "round":
        return f"{stage}: {climbing(event)}"
    return ""


def solving(event: Event) -> str:
    """Return where an iteration is: ``iteration 120, residual 3.2e-06 of 1e-08, about 40 s left``."""
    residual, rtol = event["residual"], event["rtol"]
    text = f"iteration {event['iteration']}"
    if residual is not None:
        text += f", residual {residual:.1e}" + ("" if rtol is None else f" of {rtol:.0e}")
    left = event["remaining"]
    return text if left is None else f"{text}, about {duration(left)} left"


def climbing(event: Event) -> str:
    """Return where the rounds of REML are: ``round 7 of at most 200, log-likelihood -1234.5678``."""
    text = f"round {event['round']} of at most {event['most']}"
    if event["loglik"] is not None:
        text += f", log-likelihood {event['loglik']:.4f}"
    if event.get("mc_ratio") is not None:
        text += f", {event['samples']} samples, Monte Carlo error {event['mc_ratio']:.2g} of a standard error"
    return text


def duration(seconds: float) -> str:
    """Return ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        TextColumn("{task.percentage:>4.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield _BarSink(bars)


def _briefly(event: Event) -> str:
    """Return what stands behind a bar: ``120: 3.2e-06 of 1e-08, 40 s left``, or the log-likelihood of a round."""
    if event["event"] == "round":
        return f"{event['round']}" + ("" if event["loglik"] is None else f": log-likelihood {event['loglik']:.4f}")
    text = f"{event['iteration']}" + ("" if event["residual"] is None else f": {event['residual']:.1e}")
    text += "" if event["rtol"] is None else f" of {event['rtol']:.0e}"
    return text if event["remaining"] is None else f"{text}, {duration(event['remaining'])} left"


class _BarSink:
    """One bar for each stage: its share, and for solves and REML the residual or likelihood and the end."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        from henderson.jobs.progress import way

        kind = event["event"]
        if kind == "progress":
            self._draw(event["stage"], event["done"], event["total"], "")
        elif kind == "iteration":
            share = way(event["residual"] or 0.0, event["rtol"] or 0.0)
            self._draw(event["stage"], int(1000 * share), 1000, _briefly(event))
        elif kind == "round":
            self._draw(event["stage"], event["round"], event["most"], _briefly(event))

    def _draw(self, stage: str, done: int, total: int, note: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, note="")
        self._bars.update(self._tasks[stage], completed=done, total=total, note=note)
