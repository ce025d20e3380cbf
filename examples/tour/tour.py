"""A tour of an evaluation in ten minutes: simulate, check, solve, estimate variances, compare, validate, read.

Run it with a folder for what it makes: ``python tour.py tour.out``. Every step is a command of the command line or a
call of the library; the comments say which to take for data of your own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

import henderson

COMMAND = shutil.which("henderson", path=Path(sys.executable).parent) or "henderson"


def tour(folder: Path) -> None:
    """Go through all steps; everything they make is in `folder`."""
    # 1. Data. Simulated dairy herds have a known truth, so we can look up how good the predictions are. Data of your
    #    own are two CSV or Parquet files, the records and a pedigree (id, sire, dam), and a model beside them.
    step("Simulate 3,000 animals with two traits")
    data = folder / "data"
    run("simulate", "--out", data, "--animals", "3000", "--traits", "2", "--seed", "3")
    model = data / "model.toml"
    print(model.read_text())

    # 2. Look at model and data before anything expensive: every mistake is told at once, with file, line and remedy.
    #    `--data` reads the records, too: traits, groups of few records, traits that are almost the same.
    step("Check")
    run("check", model, "--data")

    # 3. Breeding values: the same as `henderson run model.toml --out solved.out`, which leaves solutions, a report to
    #    read in a browser (report.html) and all that is needed to do the run again (run.json).
    step("Solve")
    solved = henderson.solve(model, out=folder / "solved.out")
    (job,) = solved.record["jobs"]
    print(f"{job['equations']:,} equations in {job['iterations']} iterations")
    print(solved.effect("u1").nlargest(5, "value"))

    # 4. The simulated truth: correlation of true and predicted breeding values.
    truth = pd.read_csv(data / "truth_animals.csv", dtype={"id": str}).set_index("id")
    accuracy = truth["u_y1"].corr(solved.effect("u1")["value"])
    print(f"\nAccuracy of the first trait: {accuracy:.2f}")

    # 5. Variance components from the same data, with standard errors; functions of them as ASReml's vpredict.
    #    (Where a factor of the equations does not fit: reml = { method = "mc-ai" }, on any number of nodes.)
    step("Estimate the variances (simulated: 30, 15, 30 and 70, 21, 70)")
    fit = henderson.reml(model)
    print(fit.varcomp)
    h2 = fit.vpredict("g[1,1] / (g[1,1] + res[1,1])")
    print(f"h2 = {h2.value:.2f} (standard error {h2.se:.2f})")

    # 6. Reliabilities are a job after the solve. At this size they are exact; `pev = { method = "approximate" }` takes
    #    two passes over pedigree and records for millions of animals.
    step("Reliabilities")
    accurate = data / "accurate.toml"
    accurate.write_text(model.read_text().replace('run = ["solve"]', 'run = ["solve", "pev"]'))
    run("run", accurate, "--out", folder / "accurate.out", "--quiet")

    # 7. Results of any run, also of one on a cluster, are read back by folder: as a table, or as an array with
    #    dimensions (animal, effect, trait) of which only what is indexed is read (needs `henderson[xarray]`).
    step("Read results")
    results = henderson.read(folder / "accurate.out")
    print(results.to_pandas("g").groupby("subfactor")[["value", "reliability"]].describe().T)
    g = results.to_xarray("g")
    best = g["value"].sel(effect="id", trait="y2").to_series().nlargest(3)
    print(f"\nThe best of the second trait:\n{best}")
    print(f"mean reliabilities: {g['reliability'].mean('animal').squeeze('effect').to_series().to_dict()}")

    # 8. How well does the past foretell the future? The records of animals born from 2016 on are left out, both parts
    #    are solved, and method LR compares the breeding values: bias 0, dispersion 1 are best.
    step("Validate")
    validated = folder / "validated.out"
    run("validate", model, "--date-column", "born", "--cut-off", "2016", "--out", validated)

    # 9. Two evaluations beside each other, as each new one should be with the one before: who moved most, and why.
    step("Compare")
    run("compare", validated / "partial", validated / "whole", "--top", "3")
    print(f"\nPages to open in a browser: {', '.join(str(p) for p in sorted(folder.rglob('*.html')))}")


def run(*arguments: str | Path) -> None:
    """Run ``henderson ARGUMENTS``; a failure ends the tour."""
    print("$ henderson", *arguments, flush=True)
    subprocess.run([COMMAND, *map(str, arguments)], check=True)


def step(title: str) -> None:
    """Print where the tour is."""
    print(f"\n--- {title} ---\n", flush=True)


if __name__ == "__main__":
    tour(Path(sys.argv[1] if len(sys.argv) > 1 else "tour.out"))
