"""The log of a run, and those who look at it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from henderson.cli.main import main
from henderson.cli.progress import LOG, PlainLines, sentence
from henderson.cli.watch import watch_run
from henderson.errors import InputFileError, ResourceError
from henderson.jobs.convergence import Convergence
from henderson.jobs.watch import LogReader, RunState
from oracles.animal_model import simulate_two_traits

HENDERSON = str(Path(sys.executable).with_name("henderson"))

REML = """
[jobs]
run = ["reml", "solve"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small model of two traits."""
    path = tmp_path_factory.mktemp("watch")
    simulate_two_traits(path)
    return path


def events(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["henderson", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_log_has_the_history_of_a_solve(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "elsewhere" / "my.jsonl"
    out = tmp_path / "out"
    assert command(monkeypatch, "solve", folder / "model.toml", "--out", out, "--json-log", log, "--quiet") == 0
    told = events(log)
    record = json.loads((out / "run.json").read_text())
    rounds = [e for e in told if e["event"] == "iteration"]
    assert [e["residual"] for e in rounds] == record["jobs"][0]["history"][1:]
    assert [e["iteration"] for e in rounds] == list(range(1, len(rounds) + 1))
    assert {e["rtol"] for e in rounds} == {1e-8}
    assert [s["name"] for s in record["stages"]] == [e["stage"] for e in told if "peak_bytes" in e]
    assert (told[0]["event"], told[-1]["event"], told[-1]["exit_code"]) == ("begin", "end", 0)
    elapsed = [float(str(e["elapsed"])) for e in told]
    assert elapsed == sorted(elapsed)
    assert not (out / LOG).exists()


def test_rounds_of_reml_have_the_components_by_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder / "reml.toml"
    text = (folder / "model.toml").read_text()
    head, _, tail = text.partition("[jobs]")
    tail = tail.partition("\n[")[2]
    model.write_text(head + REML + (f"\n[{tail}" if tail else ""))
    out = tmp_path / "out"
    assert command(monkeypatch, "run", model, "--out", out, "--store", folder / "s", "--quiet") == 0
    last = [e for e in events(out / LOG) if e["event"] == "round"][-1]
    estimates = {p["name"]: p["value"] for p in json.loads((out / "variances.json").read_text())["parameters"]}
    assert set(last["components"]) == set(estimates)  # type: ignore[call-overload]
    assert last["components"] == pytest.approx(estimates, rel=1e-3)
    capsys.readouterr()
    assert watch_run(out, once=True, every=1.0) == 0
    shown = capsys.readouterr().out
    assert "log-likelihood" in shown
    assert all(name in shown for name in estimates)
    assert "done after" in shown


def test_a_run_that_fails_is_shown_with_its_exit_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder / "short.toml"
    head = (folder / "model.toml").read_text().partition("[jobs]")[0]
    model.write_text(head + "[jobs]\nrun = ['solve']\nsolve = { max_it = 2 }\n")
    assert command(monkeypatch, "run", model, "--out", tmp_path, "--store", folder / "s2", "--quiet") == 6
    assert command(monkeypatch, "watch", tmp_path) == 6
    assert "ended after" in capsys.readouterr().out
    assert command(monkeypatch, "run", model, "--out", tmp_path, "--store", folder / "s2", "--quiet") == 6
    assert [e["event"] for e in events(tmp_path / LOG)].count("begin") == 2  # appended


def test_a_run_is_followed_while_it_runs(folder: Path, tmp_path: Path) -> None:
    watch = subprocess.Popen(
        [HENDERSON, "watch", str(tmp_path / "out"), "--every", "0.1"], stdout=subprocess.PIPE, text=True
    )
    run = [HENDERSON, "solve", str(folder / "model.toml"), "--out", str(tmp_path / "out"), "--quiet"]
    subprocess.run(run, check=True, timeout=200)
    shown, _ = watch.communicate(timeout=60)
    assert watch.returncode == 0
    assert "done after" in shown


def test_the_first_of_two_ranks_writes_the_log(folder: Path, tmp_path: Path, mpiexec: str) -> None:
    run = [mpiexec, "-n", "2", HENDERSON, "solve", str(folder / "model.toml"), "--out", str(tmp_path)]
    subprocess.run([*run, "--engine", "petsc", "--quiet"], check=True, timeout=120)
    told = events(tmp_path / LOG)
    assert (told[0]["engine"], told[0]["ranks"]) == ("petsc", 2)
    history = json.loads((tmp_path / "run.json").read_text())["jobs"][0]["history"]
    assert [e["residual"] for e in told if e["event"] == "iteration"] == history[1:]
    assert [e["event"] for e in told].count("end") == 1


def test_a_process_that_is_gone_is_told_from_one_that_runs(tmp_path: Path) -> None:
    import platform

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    begin = {"event": "begin", "time": "2026-01-01T00:00:00+00:00", "elapsed": 0.0, "file": "m", "out": "o"}
    begin |= {"engine": "embedded", "ranks": 1, "node": platform.node(), "pid": gone.pid}
    (tmp_path / LOG).write_text(json.dumps(begin) + "\n")
    with pytest.raises(ResourceError, match="without a word"):
        watch_run(tmp_path, once=False, every=0.1)
    (tmp_path / "failure.txt").write_text("rank 1: MemoryError: no more\n")
    with pytest.raises(ResourceError, match="killed, or out of memory"):  # one process: the file is of an earlier run
        watch_run(tmp_path, once=True, every=0.1)
    (tmp_path / LOG).write_text(json.dumps(begin | {"ranks": 2}) + "\n")
    with pytest.raises(ResourceError, match="rank 1: MemoryError: no more"):
        watch_run(tmp_path, once=True, every=0.1)
    (tmp_path / LOG).write_text(json.dumps(begin | {"node": "another"}) + "\n")
    assert watch_run(tmp_path, once=True, every=0.1) == 0
    (tmp_path / LOG).unlink()
    with pytest.raises(InputFileError, match="no log"):
        watch_run(tmp_path, once=True, every=0.1)


def test_half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / LOG)
    assert reader.new() == []
    line = json.dumps({"event": "stage", "time": "2026-01-01T00:00:00+00:00", "elapsed": 1.0, "stage": "solve"}) + "\n"
    (tmp_path / LOG).write_text(line + line[:20])
    assert len(reader.new()) == 1
    with (tmp_path / LOG).open("a") as file:
        file.write(line[20:] + "no event\n")
    state = RunState()
    for event in reader.new():
        state.add(event)
    assert [s.name for s in state.stages] == ["solve"]
    (tmp_path / LOG).write_text(line)  # another log of the same name
    assert len(reader.new()) == 1


def test_the_end_is_estimated_from_the_rate_of_convergence() -> None:
    convergence = Convergence()
    assert convergence.remaining(1e-8) is None
    for k in range(1, 41):  # one digit in ten iterations, ten iterations a second
        convergence.add(k, 10 ** (-k / 10), k / 10)
    assert convergence.remaining(1e-8) == pytest.approx(4.0)
    assert convergence.remaining(1e-3) == 0.0
    assert convergence.remaining(math.inf) is None
    for k in range(41, 82):  # four seconds without progress: the mean rate of both times, halved
        convergence.add(k, 1e-4, k / 10)
    assert convergence.remaining(1e-8) == pytest.approx(2.0 * 4.0 * 8.0 / 3.9)
    stuck = Convergence()
    for k in range(20):
        stuck.add(k, 0.5, float(k))
    assert stuck.remaining(1e-8) is None


def test_a_terminal_gets_bars(folder: Path, tmp_path: Path) -> None:
    terminal, its_end = os.openpty()
    command = [HENDERSON, "solve", str(folder / "model.toml"), "--out", str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=its_end, env=os.environ | {"TERM": "xterm"})
    os.close(its_end)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal nobody writes to any more
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    os.close(terminal)
    assert run.wait(timeout=60) == 0
    iterations = json.loads((tmp_path / "run.json").read_text())["jobs"][0]["iterations"]
    assert b"ingest" in shown or b"records" in shown
    assert re.search(rb"solve.*100 %.* " + str(iterations).encode() + rb": \d\.\de-\d+ of 1e-08", shown)


def test_plain_lines_are_seldom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr("henderson.cli.progress.time.monotonic", lambda: now[0])
    lines = PlainLines()
    event = {"event": "iteration", "stage": "solve", "iteration": 3, "residual": 1e-3, "rtol": 1e-8, "remaining": 90.0}
    for _ in range(110):
        lines(event)
        now[0] += 0.1
    assert capsys.readouterr().err.splitlines() == 2 * [sentence(event)]
    assert sentence(event) == "solve: iteration 3, residual 1.0e-03 of 1e-08, about 90 s left"
