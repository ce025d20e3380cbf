"""What a solve will take on a cluster before it is submitted: bytes, rounds, seconds, disk, the request to SLURM."""

from __future__ import annotations

import math
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from henderson.equations.memory import (
    Counts,
    MemoryItem,
    estimate,
    estimate_embedded,
    estimate_per_rank,
    most_equations,
)
from henderson.errors import UsageError
from henderson.ingest.memory import INTERPRETER
from henderson.ingest.plan import make_plan
from henderson.ingest.run import BLOCK_BYTES, is_current
from henderson.jobs.background import bytes_of_births
from henderson.jobs.communication import Traffic, seconds_of_a_round, stream_rate, traffic
from henderson.jobs.memory import ALREADY_THERE
from henderson.jobs.pilot import PILOT, Extrapolated, Pilot, extrapolated, run_pilots, scan
from henderson.jobs.progress import Progress
from henderson.jobs.run import Settings, understand
from henderson.jobs.sites import Site, load_site
from henderson.jobs.sizing import MOST_NODES, SPARE, counts_of_files
from henderson.jobs.slurm import Request, one_process, submit_scripts
from henderson.language.spec import JobSpec, ModelSpec
from henderson.store.slices import StoreParts

CHECKPOINT_VECTORS = 4  # of what a checkpoint keeps; the old one goes when the new one is there
SLACK = 1.5  # the time asked for, relative to the time reckoned
MINUTE = 60.0
KEPT = ("program", "responses", "individuals")  # of what a solve holds, until its page is written
MANY_ROUNDS = 60  # from which a better preconditioner is worth a try
TALKING = 0.2  # share of a round spent on messages from which fewer ranks do about as well


@dataclass(frozen=True)
class Stage:
    """Seconds of a part of the run, and from what they are known."""

    name: str
    seconds: float
    known: str


@dataclass(frozen=True)
class Limit:
    """What there is of something, and what is needed of it, in its unit; None: unknown."""

    what: str
    need: float
    limit: float | None
    unit: str

    @property
    def share(self) -> float:
        """Return the need relative to the limit, 0 where that is unknown."""
        return 0.0 if self.limit is None else self.need / self.limit


@dataclass(frozen=True)
class Plan:
    """What a solve takes on `nodes` with `ranks_per_node`; times are None where no pilot was solved.

    rank: what the first rank holds, item by item; known: how each number is known, by its name; request: options of
    sbatch.
    """

    engine: str
    nodes: int
    ranks_per_node: int
    threads: int
    preconditioner: str
    counts: Counts
    equations: int
    rank: tuple[MemoryItem, ...]
    node_bytes: int
    pilots: tuple[Pilot, ...]
    whole: Extrapolated | None
    round_seconds: float | None
    traffic: Traffic | None
    stages: tuple[Stage, ...]
    disk: tuple[MemoryItem, ...]
    limits: tuple[Limit, ...]
    request: tuple[str, ...]
    notes: tuple[str, ...]
    suggestions: tuple[str, ...]

    @property
    def rank_bytes(self) -> int:
        """Return the bytes of the first rank at its peak."""
        return sum(item.bytes for item in self.rank)

    @property
    def seconds(self) -> float | None:
        """Return the seconds of the run; None: unknown."""
        return sum(s.seconds for s in self.stages) if self.stages else None

    @property
    def binding(self) -> Limit | None:
        """Return the limit that is nearest to being reached, or furthest beyond; None if none is known."""
        known = (x for x in self.limits if x.limit is not None and (x.unit or x.share > 1.0))
        return max(known, key=lambda x: x.share, default=None)


def plan_solve(
    file: Path,
    *,
    nodes: int = 1,
    ranks_per_node: int = 1,
    threads: int | None = None,
    site: str | None = None,
    store: Path | None = None,
    out: Path | None = None,
    preconditioner: str | None = None,
    rtol: float | None = None,
    pilot: int = PILOT,
    progress: Progress | None = None,
) -> Plan:
    """Return what a solve of a parameter file takes on `nodes` with `ranks_per_node` each.

    One rank is the embedded engine with `threads` (None: all cores of the node), more are the petsc engine. From the
    store, if it is that of the inputs, pilots of at most `pilot` equations are solved; from the files alone only sizes
    are reckoned. Without a `site` a node is what this machine is.

    Raises `ModelError` for mistakes in the parameter file, `UsageError` for the site, `InputFileError` for files that
    are not there, `StoreError` for a damaged store.
    """
    before = time.process_time()
    n_ranks = nodes * ranks_per_node
    if n_ranks > 1 and threads is not None:
        raise UsageError("--threads: only with one rank, which is the embedded engine; each of more ranks has one")
    settings = Settings(out=out, store=store, rtol=rtol, preconditioner=preconditioner)
    spec = settings.applied_to(understand(file, ("solve",)))
    job = spec.jobs[0]
    if job.get("method") == "direct":
        raise UsageError("plan reckons the iteration, and job solve has method = direct: run it, or leave method out")
    profile = load_site(site) if site is not None else this_machine()
    out, store = settings.folders(file)
    engine = "embedded" if n_ranks == 1 else "petsc"
    threads = (threads or profile.cores) if n_ranks == 1 else 1
    ingested = is_current(store, make_plan(spec, BLOCK_BYTES).fingerprint)
    counts, rate = scan(store) if ingested else (counts_of_files(spec), math.inf)
    notes = [] if ingested else [f"{store} is no whole store of these inputs: sizes are guessed from the files"]
    pilots: tuple[Pilot, ...] = ()
    whole = None
    equations = most_equations(spec, counts)
    if ingested:
        here = min(threads, len(os.sched_getaffinity(0)))
        if here < threads:
            notes.append(f"the pilots had {here} of the {threads} threads; the rest is taken to help as much")
        pilots = run_pilots(spec, job, store, equations, threads=here, largest=pilot, before=before, progress=progress)
        whole = _with_threads(extrapolated(pilots, spec, counts), here, threads)
        equations = whole.equations
        if not whole.converged:
            notes.append(f"a pilot did not converge in {pilots[-1].rounds} rounds: expect that of the whole, too")
    else:
        notes.append("seconds and rounds need pilot solves: run `henderson ingest` first, then plan again")
    rank = _rank_bytes(spec, counts, n_ranks, whole)
    page = _page_bytes(rank, n_ranks, equations, bytes_of_births(spec, StoreParts(store)) if ingested else 0)
    node_bytes = sum(ranks_per_node * i.bytes for i in rank) + sum(i.bytes for i in page)
    talk = None if n_ranks == 1 else traffic(counts, equations, n_ranks, job)
    each = None if whole is None else seconds_of_a_round(whole.round_seconds, equations, n_ranks, talk, stream_rate())
    stages = () if whole is None or each is None else tuple(_stages(whole, each, n_ranks, _reading(spec, counts, rate)))
    disk = _disk(spec, store if ingested else None, equations, whole)
    plan = Plan(
        engine,
        nodes,
        ranks_per_node,
        threads,
        str(job.get("preconditioner") or "border"),
        counts,
        equations,
        (*rank, *page),
        node_bytes,
        pilots,
        whole,
        each,
        talk,
        stages,
        disk,
        (),
        (),
        tuple(notes + _busy(whole)),
        (),
    )
    plan = replace(plan, limits=_limits(plan, profile, out))
    return replace(
        plan,
        request=_request(file, plan, profile),
        suggestions=tuple(_suggestions(plan, spec, job, profile, ranks_per_node)),
    )


def this_machine() -> Site:
    """Return a site of one node: this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Site("generic", "", len(os.sched_getaffinity(0)), memory >> 30)


def seconds_of(limit: str) -> float | None:
    """Return the seconds of a time limit as sbatch takes it: m, m:s, h:m:s, d-h, d-h:m or d-h:m:s; None if none."""
    days, dash, rest = limit.rpartition("-")
    try:
        numbers = [int(n) for n in rest.split(":")]
        day = int(days) if dash else 0
    except ValueError:
        return None
    units = (3600, 60, 1) if dash or len(numbers) == 3 else (60, 1)
    return float(86400 * day + sum(n * u for n, u in zip(numbers, units, strict=False)))


def _with_threads(whole: Extrapolated, here: int, threads: int) -> Extrapolated:
    faster = here / threads
    alone = ("start", "write", "report")
    seconds = {name: s if name in alone else s * faster for name, s in whole.seconds.items()}
    return replace(whole, round_seconds=whole.round_seconds * faster, seconds=seconds)


def _rank_bytes(spec: ModelSpec, counts: Counts, n_ranks: int, whole: Extrapolated | None) -> tuple[MemoryItem, ...]:
    program = MemoryItem("program", INTERPRETER if whole is None or n_ranks > 1 else whole.program)
    items = estimate_embedded(spec, counts) if n_ranks == 1 else estimate_per_rank(spec, counts, n_ranks)
    return (program, *(i for i in items if i.bytes))


def _page_bytes(rank: tuple[MemoryItem, ...], n_ranks: int, equations: int, births: int) -> tuple[MemoryItem, ...]:
    """Return what the first rank takes beyond its peak so far when its page is written and vectors are given back."""
    kept = sum(i.bytes for i in rank if i.what in KEPT) + 8 * equations // n_ranks
    more = kept + births - sum(i.bytes for i in rank)
    return (MemoryItem("years of birth", more),) if births and more > 0 else ()


def _reading(spec: ModelSpec, counts: Counts, rate: float) -> float:
    """Return the seconds that reading the store takes, as it is decoded by all cores."""
    read = sum(i.bytes for i in estimate(spec, counts) if i.what in ALREADY_THERE)
    return read / rate / len(os.sched_getaffinity(0))


def _stages(whole: Extrapolated, round_seconds: float, n_ranks: int, reading: float) -> list[Stage]:
    found = [
        Stage("start", whole.seconds["start"], "measured: imports and kernels"),
        Stage("read store", reading / n_ranks, "bytes, at the rate of its counts"),
    ]
    grown = "pilots, grown with records and individuals" if n_ranks == 1 else "pilots, cut by the ranks"
    for name in ("design", "rank", "partitions", "setup"):
        found.append(Stage(name, whole.seconds[name] / n_ranks, grown))
    found.append(Stage("solve", whole.rounds * round_seconds, "rounds x seconds of a round"))
    found.append(Stage("write", whole.seconds["write"], "pilots, grown with equations"))
    found.append(Stage("report", whole.seconds["report"], "pilots, as they grow"))
    return found


def _disk(spec: ModelSpec, store: Path | None, equations: int, whole: Extrapolated | None) -> tuple[MemoryItem, ...]:
    base = spec.source.parent if spec.source else Path()
    if store is not None:
        held = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    else:
        from henderson.ingest.header import record_sources

        held = sum(Path(s.path).stat().st_size for s in record_sources(spec.data, base))
    row = 24.0 if whole is None else whole.row_bytes
    return (
        MemoryItem("store", held),
        MemoryItem("solutions", round(row * equations)),
        MemoryItem("checkpoints", 2 * CHECKPOINT_VECTORS * 8 * equations),
    )


def _busy(whole: Extrapolated | None) -> list[str]:
    if whole is None:
        return []
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores:
        return []
    return [f"this machine was busy (load {load:.0f} on {cores} cores): seconds are too long rather than too short"]


def _limits(plan: Plan, site: Site, out: Path) -> tuple[Limit, ...]:
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    new = sum(item.bytes for item in plan.disk if item.what != "store")
    most = seconds_of(site.time) if site.time else None
    found = [Limit("memory of a node", plan.node_bytes, site.memory * 2.0**30, "bytes")]
    if plan.seconds is not None:
        found.append(Limit("wall time", plan.seconds, most, "seconds"))
    found.append(Limit("disk", new, float(shutil.disk_usage(there).free), "bytes"))
    found.append(Limit("cores of a node", plan.ranks_per_node * plan.threads, site.cores, ""))
    return tuple(found)


def _request(file: Path, plan: Plan, site: Site) -> tuple[str, ...]:
    """Return the options of sbatch: those of `henderson slurm` with the reckoned memory and time."""
    limit = seconds_of(site.time) if site.time else None
    seconds = None if plan.seconds is None else SLACK * plan.seconds + 5 * MINUTE
    if seconds is not None and limit is not None:
        seconds = min(seconds, max(limit, MINUTE))
    asked = site.time or "24:00:00" if seconds is None else _as_time(seconds)
    memory = min(site.memory, math.ceil(SPARE * plan.node_bytes / 2**30))
    if plan.engine == "embedded":
        partition = [f"--partition={site.partition}"] if site.partition else []
        account = [f"--account={site.account}"] if site.account else []
        return (*partition, *account, *one_process(plan.threads, memory), f"--time={asked}", *site.options)
    request = Request(plan.nodes, plan.ranks_per_node, asked, memory=memory)
    script = submit_scripts(file, site, request, ("solve",))["solve"]
    mark = "#SBATCH "
    return tuple(line.removeprefix(mark) for line in script.splitlines() if line.startswith(mark))


def _as_time(seconds: float) -> str:
    minutes = math.ceil(seconds / MINUTE)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def _suggestions(plan: Plan, spec: ModelSpec, job: JobSpec, site: Site, ranks_per_node: int) -> list[str]:
    found = []
    over = {x.what for x in plan.limits if x.share > 1.0}
    limit = site.memory * 2**30

    def fits(nodes: int, per_node: int) -> bool:
        items = _rank_bytes(spec, plan.counts, nodes * per_node, plan.whole)
        return SPARE * per_node * sum(i.bytes for i in items) <= limit

    if "memory of a node" in over or not fits(plan.nodes, ranks_per_node):
        tried = [n for e in range(13) for n in (2**e, 3 * 2**e // 2) if plan.nodes < n <= MOST_NODES]
        per_node = max(2, ranks_per_node)
        enough = next((n for n in tried if fits(n, per_node)), None)
        if enough is not None:
            found.append(f"--nodes {enough} --ranks-per-node {per_node} has the memory")
        fewer = next((r for r in range(ranks_per_node - 1, 0, -1) if fits(plan.nodes, r)), None)
        if fewer is not None:
            found.append(f"--ranks-per-node {fewer} has the memory")
        if enough is None and fewer is None:
            found.append("take nodes with more memory: no number of these nodes holds it")
    if "cores of a node" in over:
        found.append(f"a node has {site.cores} cores: fewer --ranks-per-node (or --threads)")
    if "wall time" in over:
        found.append("more ranks, or a longer --time: a solve that is stopped goes on from its checkpoint")
    if plan.whole is not None and plan.whole.rounds >= MANY_ROUNDS and plan.preconditioner != "sweep":
        found.append("fewer rounds: try plan with --preconditioner sweep, whose rounds cost more each")
    if plan.traffic is not None and plan.round_seconds and plan.traffic.seconds > TALKING * plan.round_seconds:
        found.append(f"{plan.traffic.seconds / plan.round_seconds:.0%} of a round are messages: fewer ranks do as well")
    return found
