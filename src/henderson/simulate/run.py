"""The simulator: pedigree, records, a ready parameter file and the truth, in one new folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from henderson.errors import UsageError
from henderson.simulate.config import SimulationConfig
from henderson.simulate.mating import simulate_pedigree
from henderson.simulate.model_file import model_toml, truth_json
from henderson.simulate.records import Columns, pedigree_rows, record_rows, true_animal_rows, true_herd_rows
from henderson.simulate.tables import TableWriter
from henderson.simulate.values import draw_truth

Progress = Callable[[str, int, int], None]  # stage, done, total


def simulate(config: SimulationConfig, out: Path, progress: Progress | None = None) -> None:
    """Return nothing, but `out` then holds pedigree, records, ``model.toml``, and the truth.

    Files: pedigree, records, truth_animals (id, true breeding values, inbreeding) and truth_herds in the configured
    format; ``model.toml``, ready for ``henderson run``; ``truth.json``, all parameters. They are written in a folder
    beside `out` that is renamed when whole, so `out` is never half-written.

    Raises `UsageError` if `out` holds something already, or if more animals would be recorded than there are.
    Cost: about 60 + 8 n_effects bytes an animal, and a block's texts; time is that of writing.
    """
    with whole_folder(out) as work:
        _write_all(config, work, progress or (lambda stage, done, total: None))


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of `out` when the block ends without an error; else it is removed.

    It is beside `out`, or in it if that is there already (it may be the current folder); then its files are moved.
    Raises `UsageError` if `out` holds something already.
    """
    out = Path(out)
    inside = out.exists()
    work = out / ".wip" if inside else out.parent / f".{out.name}.wip"
    if inside and (not out.is_dir() or any(path != work for path in out.iterdir())):
        raise UsageError(f"simulate: {out} exists and is not an empty folder; remove it or choose another one")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    work.mkdir(parents=True)
    try:
        yield work
        if not inside:
            work.rename(out)
            return
        for path in sorted(work.iterdir(), key=lambda path: path.name == "model.toml"):  # with it the folder is whole
            path.rename(out / path.name)
        work.rmdir()
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _write_all(config: SimulationConfig, folder: Path, progress: Progress) -> None:
    """Write every file of a simulation into `folder`."""
    n = config.animals

    def table(name: str, total: int, blocks: Iterator[Columns]) -> None:
        done = 0
        with TableWriter(folder / f"{name}.{config.format}", config.format) as writer:
            for columns in blocks:
                writer.write(columns)
                done += len(next(iter(columns.values())))
                progress(name, done, total)

    pedigree = simulate_pedigree(config, lambda done: progress("mating", done, n))
    truth = draw_truth(config, pedigree, lambda done: progress("breeding values", done, n))
    table("pedigree", n, pedigree_rows(config, pedigree))
    table("records", config.n_records, record_rows(config, pedigree, truth))
    table("truth_animals", n, true_animal_rows(config, truth))
    table("truth_herds", config.n_herds, true_herd_rows(config, truth))
    (folder / "truth.json").write_text(truth_json(config, truth), encoding="utf-8")
    (folder / "model.toml").write_text(model_toml(config), encoding="utf-8")
