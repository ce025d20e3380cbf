"""What an ingest takes is known before it begins, and a limit is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from henderson.errors import ResourceError
from henderson.ingest.header import read_schema
from henderson.ingest.memory import needs, workers_within
from henderson.ingest.plan import Plan, make_plan
from henderson.ingest.run import BLOCK_BYTES, ingest
from henderson.language.load import load_model
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.store.reader import open_store

MEASURE = """
import sys
from pathlib import Path
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.results.stages import peak_bytes
ingest(load_model(Path(sys.argv[1]), read_schema), Path(sys.argv[2]), workers=4, memory=int(sys.argv[3]))
print(peak_bytes())
"""


def plan_of(folder: Path) -> Plan:
    return make_plan(load_model(folder / "model.toml", read_schema), BLOCK_BYTES)


@pytest.fixture(scope="module", params=["csv", "parquet"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "data"
    simulate_testday(TestDayConfig(scale=0.002, format=request.param), folder)
    return folder


def test_a_limit_is_kept_and_changes_nothing(data: Path, tmp_path: Path) -> None:
    limit = needs(plan_of(data)).with_workers(1)
    command = [sys.executable, "-c", MEASURE, str(data / "model.toml"), str(tmp_path / "limited.zarr"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert limit / 3 < int(done.stdout) <= limit
    ingest(load_model(data / "model.toml", read_schema), tmp_path / "free.zarr")
    limited, free = (open_store(tmp_path / f"{name}.zarr").records for name in ("limited", "free"))
    np.testing.assert_array_equal(limited.row, free.row)
    np.testing.assert_array_equal(limited.responses["milk2"], free.responses["milk2"])


def test_a_limit_decides_how_many_work_at_a_time(data: Path) -> None:
    plan = plan_of(data)
    need = needs(plan)
    assert workers_within(plan, 4, need.with_workers(4)) == 4
    assert workers_within(plan, 4, need.with_workers(4) - 1) == 3
    assert workers_within(plan, 2, 1 << 60) == 2
    with pytest.raises(ResourceError, match=r"ingest takes about 0\.\d\d GiB with one worker, of 0\.\d\d GiB"):
        workers_within(plan, 2, need.with_workers(1) - 1)


def test_large_row_groups_take_more(tmp_path: Path) -> None:
    simulate_testday(TestDayConfig(scale=0.0005), tmp_path / "d")
    before = needs(plan_of(tmp_path / "d"))
    n = 2_000_000
    table = pq.read_table(tmp_path / "d" / "records.parquet").slice(0, 1)
    large = pa.table({name: pa.chunked_array([pa.repeat(table[name][0], n)]) for name in table.column_names})
    pq.write_table(large, tmp_path / "d" / "records.parquet", row_group_size=n)
    plan = plan_of(tmp_path / "d")
    assert needs(plan).together == before.together
    assert needs(plan).each > 100 * n
    with pytest.raises(ResourceError, match="smaller row groups"):
        workers_within(plan, 1, 500 << 20)
