"""What the log of a run tells: the run may be on another node, only its files are looked at."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


@dataclass
class WatchedStage:
    """A stage: when it began (seconds of the run), how long it took if it is done, its peak, its last event."""

    name: str
    began: float
    seconds: float | None = None
    peak_bytes: int | None = None
    last: Event | None = None


@dataclass
class RunState:
    """Where a run is, from its events; another ``begin`` starts anew."""

    begin: Event | None = None
    stages: list[WatchedStage] = field(default_factory=list)
    components: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)  # value, value before
    end: Event | None = None
    last: Event | None = None

    def add(self, event: Event) -> None:
        """Take the next event."""
        kind = event["event"]
        if kind == "begin":
            self.begin, self.stages, self.components, self.end = event, [], {}, None
        self.last = event
        if kind == "end":
            self.end = event
        elif kind == "stage" and "seconds" not in event:
            self.stages.append(WatchedStage(event["stage"], event["elapsed"]))
        elif kind == "stage":
            stage = self._stage(event["stage"])
            stage.seconds, stage.peak_bytes = event["seconds"], event["peak_bytes"]
        elif self.stages and kind in ("progress", "iteration", "round"):
            self.stages[-1].last = event
        if kind == "round":
            now = event["components"]
            self.components = {n: (v, self.components.get(n, (None, None))[0]) for n, v in now.items()}

    def _stage(self, name: str) -> WatchedStage:
        for stage in reversed(self.stages):
            if stage.name == name and stage.seconds is None:
                return stage
        self.stages.append(WatchedStage(name, 0.0))
        return self.stages[-1]

    def silence(self) -> float:
        """Return the seconds since the last event."""
        if self.last is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.last["time"])).total_seconds())

    def lost(self) -> bool:
        """Return whether the process has ended without a word; only of one on this node that can be told."""
        if self.begin is None or self.end is not None or self.begin["node"] != platform.node():
            return False
        try:
            os.kill(self.begin["pid"], 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False


class LogReader:
    """Reads what is new in a log; opens it each time, so that other nodes' writing is seen on network file systems."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._begun = b""

    def new(self) -> list[Event]:
        """Return the events since the last call; none as long as there is no file. Other lines are passed over."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:  # another log of the same name
                    self._offset, self._begun = 0, b""
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(text)
        *lines, self._begun = (self._begun + text).split(b"\n")
        return [event for line in lines if (event := _event(line)) is not None]


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"event", "time", "elapsed"} <= event.keys() else None
