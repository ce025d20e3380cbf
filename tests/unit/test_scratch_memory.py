"""Arrays in a scratch file: the limit is kept, and nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from henderson.equations.memory import counted, counts_of, counts_of_store, estimate_embedded
from henderson.errors import ResourceError
from henderson.jobs.out_of_core import out_of_core
from henderson.jobs.run import Settings, ingest_only, understand
from henderson.kernels import scratch_heap
from henderson.language.spec import JobSpec, ModelSpec
from henderson.partitions.scratch import LARGE, ScratchMemory, zeros
from henderson.partitions.threads import Team
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.store.reader import open_store

N = LARGE // 8
MARGIN = 64 << 20  # bytes that memory may grow by before it is seen

SOLVE = """
import sys
from contextlib import nullcontext
from pathlib import Path
import numpy as np
from henderson.jobs.run import understand
from henderson.partitions.scratch import ScratchMemory
from henderson.results.stages import peak_bytes
from henderson.solvers.solve import Equations
from henderson.store.reader import open_store

folder, limit, out = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
spec = understand(folder / "model.toml")
with ScratchMemory(folder, limit, margin=MARGIN) if limit else nullcontext() as memory:
    with Equations(spec, open_store(folder / "store.zarr"), 2, 6) as equations:
        equations.let_go_of_records()
        report = equations.solve(rtol=1e-3, preconditioner="sweep").report
    print(peak_bytes(), memory.given_back if limit else 0, report.iterations)
    np.save(out, np.concatenate([x.ravel() for x in report.solution]))
"""


def solved(folder: Path, limit: int) -> tuple[int, int, int, np.ndarray]:
    """Return peak memory, how often pages were given back, rounds, and solutions."""
    out = folder / f"found{limit}.npy"
    code = SOLVE.replace("MARGIN", str(MARGIN))
    command = [sys.executable, "-c", code, str(folder), str(limit), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    peak, given_back, rounds = map(int, done.stdout.split())
    return peak, given_back, rounds, np.load(out)


def test_a_solve_keeps_to_its_limit_and_finds_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data"
    simulate_testday(TestDayConfig(scale=0.01, format="parquet"), data)
    ingest_only(data / "model.toml", Settings(store=data / "store.zarr"))
    solved(data, 0)  # kernels are compiled here, which takes memory, too
    peak, _, rounds, found = solved(data, 0)
    limit = peak - 2 * MARGIN
    kept, given_back, again, same = solved(data, limit)
    assert kept <= limit
    assert given_back > 5
    assert again == rounds
    np.testing.assert_array_equal(same, found)


def test_blocks_come_and_go(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    with ScratchMemory(tmp_path, 8 << 30) as memory:
        kept: dict[int, tuple[np.ndarray, int]] = {}
        for step in range(300):
            at = int(rng.integers(20))
            if at in kept:
                array, value = kept.pop(at)
                assert (array == value).all()
                del array
            else:
                array = np.zeros(int(rng.integers(N // 2, 4 * N)))
                assert not array.any()
                array[:] = step
                kept[at] = array, step
            array = np.empty(0)
        assert all((a == v).all() for a, v in kept.values())
        kept.clear()
        state = memory._state
        assert state[scratch_heap.N_USED] == 0
        assert state[scratch_heap.N_FREE] == 1  # all joined again


def test_zeros_are_zeros_where_files_cannot_have_holes(tmp_path: Path) -> None:
    with ScratchMemory(tmp_path, 8 << 30) as memory:
        a, state = np.ones(N), memory._state
        file = int(state[scratch_heap.FILE])
        state[scratch_heap.FILE] = -1
        del a
        state[scratch_heap.FILE] = file
        assert np.empty(N).all()
        assert not np.zeros(N).any()


def test_arrays_grow_and_outlive_it(tmp_path: Path) -> None:
    with ScratchMemory(tmp_path, 8 << 30):
        a = np.ones(N // 2)
        a.resize(3 * N)
        b = np.arange(3.0 * N)
        b.resize(N // 4)
        assert a.sum() == N // 2
        assert not list(tmp_path.iterdir())  # the file has no name
    assert a[0] == 1.0
    np.testing.assert_array_equal(b, np.arange(N // 4))
    a.resize(0)


def test_vectors_stay_in_memory_while_there_is_room(tmp_path: Path) -> None:
    with ScratchMemory(tmp_path, 1 << 30) as memory:
        assert 200 << 20 < memory.room < 1 << 29
        many = [zeros(4 << 20) for _ in range(memory.room // (32 << 20) + 3)]
        assert memory._state[scratch_heap.N_USED] == 3
        many.clear()
        assert memory._state[scratch_heap.IN_MEMORY] == 0
    assert zeros(3).tolist() == [0.0, 0.0, 0.0]


def test_threads_of_a_team_use_the_file(tmp_path: Path) -> None:
    with ScratchMemory(tmp_path, 1 << 30) as memory, Team(2) as team:
        arrays = team.run(lambda part: np.full(N, part), 4)
        assert memory._state[scratch_heap.N_USED] == 4
        assert [a[-1] for a in arrays] == [0, 1, 2, 3]


def test_what_is_too_large_is_a_memory_error(tmp_path: Path) -> None:
    with ScratchMemory(tmp_path, 1 << 30), pytest.raises(MemoryError):
        np.zeros(1 << 50)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, Path]:
    folder = tmp_path_factory.mktemp("model") / "data"
    simulate_testday(TestDayConfig(scale=0.002, format="parquet"), folder)
    ingest_only(folder / "model.toml", Settings(store=folder / "store.zarr"))
    return understand(folder / "model.toml"), folder / "store.zarr"


def test_only_solves_beyond_the_limit_use_a_file(model: tuple[ModelSpec, Path]) -> None:
    spec, store = model
    jobs = spec.jobs
    assert not out_of_core(spec, jobs, store, store, 1 << 30, 1).in_file
    assert not out_of_core(spec, (*jobs, JobSpec("pev")), store, store, 1 << 20, 1).in_file
    with pytest.raises(ResourceError, match=r"too little .* allow 0\.50 GiB"):
        out_of_core(spec, jobs, store, store, 300 << 20, 1)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        with pytest.raises(ResourceError, match="no scratch file"), ScratchMemory(Path("/proc/self"), 1 << 30):
            pass
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(ResourceError, match="no scratch file"), ScratchMemory(tmp_path, 1 << 30):
            pass


def test_the_store_is_counted_like_its_data(model: tuple[ModelSpec, Path]) -> None:
    spec, store = model
    found, wanted = counted(store, counts_of_store(store)), counts_of(open_store(store))
    assert found.n_recorded == wanted.n_recorded
    assert found.n_parents == wanted.n_parents
    assert estimate_embedded(spec, found) == estimate_embedded(spec, wanted)
