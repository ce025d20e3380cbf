"""Submit scripts and site profiles; the scripts in slurm/ are those of the generic site."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from henderson.errors import ResourceError, UsageError
from henderson.jobs.cluster import slurm_workers
from henderson.jobs.sites import Site, load_site
from henderson.jobs.slurm import Request, plan_scripts, submit_scripts

ROOT = Path(__file__).parents[2]
SITES = sorted(p.stem for p in (ROOT / "cluster" / "sites").glob("*.toml"))

MODEL = """
[data]
records = "records.csv"
[pedigree.ped]
file = "pedigree.csv"
[model]
equations = "y = herd*b + id*u(v(g(1)))"
[variance.g]
sigma = [[1.0]]
gamma = { A = { pedigree = "ped" } }
[variance.res]
sigma = [[2.0]]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rows = [f"animal{i},{i % 10},{i % 7}.5" for i in range(1000)]
    (tmp_path / "records.csv").write_text("\n".join(["id,herd,y", *rows]) + "\n")
    (tmp_path / "pedigree.csv").write_text("\n".join(["id,sire,dam", *(f"animal{i},0,0" for i in range(1000))]) + "\n")
    (tmp_path / "model.toml").write_text(MODEL)
    return tmp_path / "model.toml"


def test_ready_scripts_are_those_of_the_generic_site() -> None:
    made = submit_scripts(Path("model.toml"), load_site("generic"), Request(nodes=2))
    there = {p.stem: p.read_text() for p in (ROOT / "slurm").glob("*.sbatch")}
    assert made == there


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("nodes", [1, 3])
def test_scripts_of_every_site_are_sound_shell(site: str, nodes: int, tmp_path: Path) -> None:
    for job, text in submit_scripts(Path("a b/model.toml"), load_site(site), Request(nodes=nodes)).items():
        script = tmp_path / f"{job}.sbatch"
        script.write_text(text)
        checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert checked.stderr == ""
        assert text.startswith("#!/bin/bash\n")
        # sbatch stops reading its options at the first command
        directives = [line.startswith("#SBATCH") for line in text.splitlines()]
        commands = [bool(line) and not line.startswith("#") for line in text.splitlines()]
        assert max(i for i, d in enumerate(directives) if d) < min(i for i, c in enumerate(commands) if c)
        assert "file=${1:-'a b/model.toml'}" in text


def test_the_solver_is_warned_through_srun_or_through_the_script() -> None:
    site = replace(load_site("generic"), warning=77)
    by_srun = submit_scripts(Path("m.toml"), site, Request(), ["solve"])["solve"]
    by_mpiexec = submit_scripts(Path("m.toml"), replace(site, launcher="mpiexec"), Request(), ["solve"])["solve"]
    assert "#SBATCH --signal=USR1@77" in by_srun
    assert "trap" not in by_srun
    assert "#SBATCH --signal=B:USR1@77" in by_mpiexec
    assert "trap 'kill -USR1" in by_mpiexec


def test_a_script_launched_by_mpiexec_hands_the_signal_on_and_returns_its_exit_code(tmp_path: Path) -> None:
    site = Site("here", time="1", cores=1, memory=1, launcher="mpiexec")
    (tmp_path / "bin").mkdir()
    launcher = tmp_path / "bin" / "mpiexec"
    launcher.write_text(
        "#!/bin/bash\ntrap 'echo told; exit 7' USR1\nkill -USR1 $PPID\nfor i in {1..100}; do sleep 0.1; done\n"
    )
    launcher.chmod(0o755)
    script = submit_scripts(Path("m.toml"), site, Request(), ["solve"])["solve"]
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_NTASKS": "1"}
    # the launcher must not be faster than the trap of its parent
    launcher.write_text(launcher.read_text().replace("kill -USR1", "sleep 0.5; kill -USR1"))
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (7, "told\n")


def test_options_replace_those_of_the_site() -> None:
    request = Request(nodes=3, ranks_per_node=5, time="1:00:00", partition="big", account="me", memory=9)
    text = submit_scripts(Path("m.toml"), load_site("example-intelmpi"), request, ["solve"])["solve"]
    for directive in ("nodes=3", "ntasks-per-node=5", "time=1:00:00", "partition=big", "account=me", "mem=9G"):
        assert f"#SBATCH --{directive}\n" in text


def test_container_stands_before_every_command() -> None:
    site = replace(load_site("generic"), container="apptainer exec h.sif")
    for text in submit_scripts(Path("m.toml"), site, Request(nodes=2)).values():
        assert "apptainer exec h.sif henderson" in text
    assert slurm_workers("generic", None, Path("logs")).python is None


def test_nodes_and_memory_come_of_the_sizes_of_the_files(model: Path) -> None:
    scripts = plan_scripts(model, "generic")
    assert list(scripts) == ["ingest", "solve"]
    assert "Reckoned from the sizes of the files: 1,000 records, 1,000 individuals" in scripts["solve"]
    assert "#SBATCH --nodes=1\n" in scripts["solve"]


def test_all_jobs_are_done_where_ranks_can(model: Path) -> None:
    assert 'henderson solve "$file" --engine petsc' in plan_scripts(model, "generic")["solve"]
    model.write_text(f'{MODEL}[jobs]\nrun = ["solve", "pev", "yhat"]\npev = {{ factor = "g", levels = "animal3" }}\n')
    scripts = plan_scripts(model, "generic")
    assert list(scripts) == ["ingest", "solve"]
    assert 'henderson run "$file" --engine petsc --requeue' in scripts["solve"]


def test_nodes_without_the_memory_are_refused(model: Path, tmp_path: Path) -> None:
    profile = tmp_path / "small.toml"
    profile.write_text('[slurm]\ntime = "1"\n[node]\ncores = 8\nmemory = 1\n')
    with pytest.raises(ResourceError, match=r"8 ranks, of 1 GiB .* fewer --ranks-per-node"):
        plan_scripts(model, str(profile))
    assert "--ntasks-per-node=2" in plan_scripts(model, str(profile), ranks_per_node=2)["solve"]


def test_without_data_the_site_decides(model: Path) -> None:
    (model.parent / "pedigree.csv").unlink()
    text = plan_scripts(model, "generic", nodes=4, jobs=["solve"])["solve"]
    assert "Reckoned" not in text
    assert "#SBATCH --mem=120G\n" in text
    assert "#SBATCH --nodes=4\n" in text


def test_every_mistake_of_a_profile_is_told_at_once(tmp_path: Path) -> None:
    profile = tmp_path / "site.toml"
    profile.write_text(
        '[slurm]\npartion = "x"\noptions = "--exclusive"\n[node]\ncores = 0\n[mpi]\nlauncher = "srum"\n[nodes]\n'
    )
    with pytest.raises(UsageError) as caught:
        load_site(str(profile))
    told = str(caught.value)
    for words in (
        "partition",
        "a list of texts",
        "above 0",
        "time is missing",
        "memory is missing",
        "'srun'",
        "'node'",
    ):
        assert words in told
    assert len(caught.value.problems) == 7


def test_an_unknown_site_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'generic'"):
        load_site("genric")
    with pytest.raises(UsageError, match="No such file"):
        load_site("nowhere/site.toml")
