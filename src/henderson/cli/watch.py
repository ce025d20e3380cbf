"""What `henderson watch` does: show a run from its log."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from henderson.cli.commands import plain_console
from henderson.cli.progress import LOG, PlainLines, duration, sentence
from henderson.errors import InputFileError, Problem, ResourceError
from henderson.jobs.together import FAILURE
from henderson.jobs.watch import Event, LogReader, RunState, WatchedStage

QUIET = 60.0  # seconds without an event after which that is said


def watch_run(path: Path, *, once: bool, every: float) -> int:
    """Show the run with log `path`, or in folder `path`, until it ends; return its exit code, 0 if it still runs.

    Raises `InputFileError` if there is no log and `once`, `ResourceError` if the process is gone without an end.
    """
    log = path / LOG if path.is_dir() or path.suffix != ".jsonl" else path
    reader, state = LogReader(log), RunState()
    console = plain_console(120)
    if once or not sys.stdout.isatty():
        _follow_plainly(reader, state, once=once, every=every)
        console.print(_picture(state))
    else:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                _take(reader, state)
                live.update(_picture(state) if state.last else Text(f"waiting for {log}"), refresh=True)
                if state.end is not None or state.lost():
                    break
                time.sleep(every)
    if state.lost():
        raise ResourceError(
            f"the process has ended without a word ({_why(state, log.parent)}); the same command goes on from its "
            "checkpoint, if it has written one"
        )
    return 0 if state.end is None else int(state.end["exit_code"])


def _why(state: RunState, out: Path) -> str:
    """Return what another of several processes has said of its failure, which ends them all."""
    if (state.begin or {}).get("ranks", 1) > 1:  # else the file would be of an earlier run
        with contextlib.suppress(OSError):
            return (out / FAILURE).read_text(encoding="utf-8").strip()
    return "killed, or out of memory"


def _follow_plainly(reader: LogReader, state: RunState, *, once: bool, every: float) -> None:
    lines = PlainLines()
    while True:
        events = _take(reader, state)
        if once and state.last is None:
            remedy = "name the --out folder of a run, or its --json-log; without --once the run is waited for"
            raise InputFileError(Problem("there is no log of a run", file=str(reader.path), remedy=remedy))
        if once or state.end is not None or state.lost():
            return
        for event in [e for e in events if sentence(e)][-1:]:
            lines(event)
        time.sleep(every)


def _take(reader: LogReader, state: RunState) -> list[Event]:
    events = reader.new()
    for event in events:
        state.add(event)
    return events


def _picture(state: RunState) -> Group:
    begin = state.begin or {}
    ranks = f", {begin['ranks']} ranks" if begin.get("ranks", 1) > 1 else ""
    head = f"{begin.get('file', '')} on {begin.get('node', '?')} ({begin.get('engine', '?')}{ranks})"
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, right in (("stage", False), ("seconds", True), ("peak MiB", True), ("", False)):
        table.add_column(name, justify="right" if right else "left", no_wrap=bool(name))
    for stage in state.stages:
        running = stage.seconds is None
        seconds = _elapsed(state, stage) if stage.seconds is None else stage.seconds
        peak = "" if stage.peak_bytes is None else f"{stage.peak_bytes / 2**20:,.0f}"
        note = "" if stage.last is None else sentence(stage.last).removeprefix(f"{stage.name}: ")
        table.add_row(stage.name, f"{seconds:,.1f}", peak, note, style="bold" if running and state.end is None else "")
    parts: list[Text | Table] = [Text(head), table]
    if state.components:
        rounds = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for name in ("component", "value", "change in the last round"):
            rounds.add_column(name, justify="left" if name == "component" else "right")
        for name, (value, before) in state.components.items():
            change = "" if value is None or before is None else f"{value - before:+.2e}"
            rounds.add_row(name, "" if value is None else f"{value:.6g}", change)
        parts.append(rounds)
    return Group(*parts, Text(_status(state)))


def _elapsed(state: RunState, stage: WatchedStage) -> float:
    now = (state.last or {}).get("elapsed", stage.began) + (state.silence() if state.end is None else 0.0)
    return float(now - stage.began)


def _status(state: RunState) -> str:
    if state.end is not None:
        code, message = state.end["exit_code"], state.end["message"]
        took = duration(state.end["elapsed"])
        return f"done after {took}" if code == 0 else f"ended after {took} with exit code {code}: {message}"
    if state.lost():
        return "the process is gone"
    silent = state.silence()
    return f"no news for {duration(silent)}" if silent > QUIET else "running"
