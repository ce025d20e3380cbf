"""Checkpoints: whole or not at all, of these equations or not used, and to the same bits."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.errors import ResourceError
from henderson.partitions.communicator import Alone
from henderson.partitions.threads import Team
from henderson.solvers import checkpoint
from henderson.solvers.checkpoint import Checkpointing, State, fingerprint_of
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.report import StopReason
from oracles.small_models import Recipe, small_model

FINGERPRINT = {"equations": 1, "method": "cg"}
FIRST = State({"x": [np.arange(5.0), np.ones(2)], "r": [np.array([0.1 + 0.2])]}, {"rz": 1.0 / 3.0}, [1.0, 0.1])


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def kept(folder: Path, stop: threading.Event, every: float = 1e9, label: str = "") -> Checkpointing:
    return Checkpointing(folder, every, stop, Alone(), label)


def operator_of(seed: int = 0, partitions: int = 2) -> Operator:
    spec, data = small_model(Recipe(seed=seed, n_traits=3, n_records=80, n_animals=40, maternal=True, permanent=True))
    return build_operator(full_rank(build_design(spec, data)), data, Team(1), partitions)


def same(a: State, b: State) -> bool:
    return (
        a.arrays.keys() == b.arrays.keys()
        and all(np.array_equal(p, q) for name in a.arrays for p, q in zip(a.arrays[name], b.arrays[name], strict=True))
        and dict(a.numbers) == dict(b.numbers)
        and list(a.history) == list(b.history)
    )


def test_what_is_written_is_read_to_the_bit(tmp_path: Path, stop: threading.Event) -> None:
    folder = tmp_path / "deep" / "folder"
    assert kept(folder, stop).save(FIRST, FINGERPRINT)
    found = kept(folder, stop).load(FINGERPRINT)
    assert found is not None
    assert same(found, FIRST)


def test_a_later_one_replaces_it_and_the_end_removes_it(tmp_path: Path, stop: threading.Event) -> None:
    folder = tmp_path / "c"
    checkpoints = kept(folder, stop)
    second = State({"x": [np.zeros(3)]}, {"rz": 2.0}, [1.0, 0.5, 0.25])
    assert checkpoints.save(FIRST, FINGERPRINT)
    assert checkpoints.save(second, FINGERPRINT)
    assert len(list(folder.iterdir())) == 2
    found = kept(folder, stop).load(FINGERPRINT)
    assert found is not None
    assert same(found, second)
    again = kept(folder, stop)
    again.load(FINGERPRINT)
    again.finished()
    assert not folder.exists()


def test_none_is_none(tmp_path: Path, stop: threading.Event) -> None:
    checkpoints = kept(tmp_path / "none", stop)
    assert checkpoints.load(FINGERPRINT) is None
    checkpoints.finished()


@pytest.mark.parametrize("what", ["label", "method", "ranks"])
def test_another_solve_does_not_use_it(
    tmp_path: Path, stop: threading.Event, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    kept(tmp_path, stop, label="a").save(FIRST, FINGERPRINT)
    other = kept(tmp_path, stop, label="b" if what == "label" else "a")
    if what == "ranks":
        other.communicator = type("Two", (Alone,), {"size": 2})()
    assert other.load(FINGERPRINT | ({"method": "pipecg"} if what == "method" else {})) is None
    assert f"another {what}" in caplog.text


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "marker"])
def test_a_damaged_one_is_not_used(
    tmp_path: Path, stop: threading.Event, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    kept(tmp_path, stop).save(FIRST, FINGERPRINT)
    (state,) = tmp_path.glob("*.bin")
    content = bytearray(state.read_bytes())
    if harm == "cut":
        state.write_bytes(content[:-8])
    elif harm == "changed":
        content[-3] ^= 1
        state.write_bytes(content)
    elif harm == "gone":
        state.unlink()
    else:
        (tmp_path / checkpoint.MARKER).write_text("{")
    assert kept(tmp_path, stop).load(FINGERPRINT) is None
    assert "is not used" in caplog.text


def test_a_failed_write_leaves_the_one_before(
    tmp_path: Path, stop: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = kept(tmp_path, stop)
    checkpoints.save(FIRST, FINGERPRINT)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", full)
        assert not checkpoints.save(State({}, {}), FINGERPRINT)
    assert "No space left" in caplog.text
    found = kept(tmp_path, stop).load(FINGERPRINT)
    assert found is not None
    assert same(found, FIRST)
    with pytest.raises(ResourceError, match="no checkpoint could be written"):
        checkpoint.require(False, tmp_path)


def test_when_it_is_time(tmp_path: Path, stop: threading.Event) -> None:
    never, always = kept(tmp_path, stop), kept(tmp_path, stop, every=0.0)
    assert not any(never.decide(i).save for i in range(1, 200))
    assert always.decide(1) == checkpoint.Decision(save=True)
    stop.set()
    decisions = [never.decide(i) for i in range(200, 260)]
    first = decisions.index(checkpoint.Decision(save=True, stop=True))
    assert first <= checkpoint.MOST


def test_the_fingerprint_depends_on_every_bit() -> None:
    a = np.arange(4.0)
    b = a.copy()
    b[2] = np.nextafter(b[2], 3.0)
    assert fingerprint_of([a], Alone(), rtol=1.0) == fingerprint_of([a.copy()], Alone(), rtol=1.0)
    assert fingerprint_of([a], Alone()) != fingerprint_of([b], Alone())


@pytest.mark.parametrize("at", [1, 7, 30])
def test_pcg_goes_on_to_the_same_bits(
    tmp_path: Path, stop: threading.Event, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    caplog.set_level(logging.INFO)
    operator = operator_of()
    M, rhs = BlockPreconditioner(operator), operator.right_hand_side()
    whole = pcg(operator, M, rhs, rtol=1e-12)

    def callback(iteration: int, _: float) -> None:
        if iteration == at:
            stop.set()

    first = pcg(operator, M, rhs, rtol=1e-12, callback=callback, checkpointing=kept(tmp_path / "c", stop))
    assert first.reason is StopReason.INTERRUPTED
    assert not first.converged
    assert at <= first.iterations < whole.iterations
    stop.clear()
    second = pcg(operator, M, rhs, rtol=1e-12, checkpointing=kept(tmp_path / "c", stop))
    assert "continues after iteration" in caplog.text
    assert second.residual_norms == whole.residual_norms
    assert second.iterations == whole.iterations
    assert all(
        np.array_equal(a[:n], b[:n]) for a, b, n in zip(second.solution, whole.solution, operator.n_owned, strict=True)
    )
    assert not (tmp_path / "c").exists()


def test_pcg_of_other_equations_starts_anew(tmp_path: Path, stop: threading.Event) -> None:
    stop.set()
    operator = operator_of()
    rhs = operator.right_hand_side()
    report = pcg(operator, BlockPreconditioner(operator), rhs, checkpointing=kept(tmp_path, stop))
    assert report.reason is StopReason.INTERRUPTED
    assert report.iterations == 0
    stop.clear()
    marker = json.loads((tmp_path / checkpoint.MARKER).read_text())
    other = operator_of(seed=5)
    M = BlockPreconditioner(other)
    fresh = pcg(other, M, other.right_hand_side(), checkpointing=kept(tmp_path, stop))
    assert fresh.converged
    assert fresh.residual_norms == pcg(other, M, other.right_hand_side()).residual_norms
    assert marker["history"] == pytest.approx([1.0])
