"""Exact and Monte Carlo AI-REML of simulated evaluations of several sizes, as one table: seconds, memory, estimates.

    python cluster/scaling/reml_sizes.py FOLDER [--animals 60000,300000] [--traits 1,2] [--methods ai,mc-ai]
        [--pedigree random] [--limit 3600] [--threads 2]

Each fit starts from the data and is a process of its own, ended after --limit seconds. A fit that is in FOLDER already
is not made again. "off truth" is the largest |estimate - truth| of a (co)variance in standard errors; "MC / se" the
largest Monte Carlo error in standard errors; "off exact" the largest |estimate - exact| in Monte Carlo errors. Exits 1
if a Monte Carlo fit failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import markdown_table
from evaluations import make_evaluation

MEASURE = Path(__file__).with_name("measure.py")
COLUMNS = "animals,traits,method,equations,rounds,samples,s,CPU s,peak GiB,logL,off truth,MC / se,off exact"

SIMULATED = {"g": "sigma_g", "res": "sigma_e"}


def measured(command: list[str], limit: float) -> tuple[int, list[str], str]:
    """Return the exit code of a command, its seconds, processor seconds and peak in GiB, and what it said last."""
    words = [sys.executable, str(MEASURE), "--limit", str(limit), *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    numbers = done.stdout.strip().splitlines()[-1].removeprefix("-- ").split()  # "12.0 s, 11.0 CPU s, peak 1.00 GiB"
    said = done.stderr.strip().splitlines() or [""]
    return done.returncode, [numbers[0], numbers[2], numbers[6]], said[-1]


def data(folder: Path, animals: int, traits: int, pedigree: str) -> dict[str, Any]:
    """Return the truth of simulated data, which are made and ingested if they are not there."""
    size = ("--animals", str(animals), "--traits", str(traits))
    make_evaluation(folder, *size, "--pedigree", pedigree, "--integer-ids")
    found: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    return found


def fit(folder: Path, method: str, limit: float, threads: int) -> dict[str, Any]:
    """Return what a fit took: its times, and the record of the job and its parameters, if it came to an end."""
    kept = folder / f"{method}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    model, out = folder / f"{method}.toml", folder / f"{method}.out"
    before = (folder / "model.toml").read_text().partition("[jobs]")[0]
    model.write_text(f'{before}[jobs]\nrun = ["reml"]\nreml = {{ method = "{method}", start = "data" }}\n')
    options = ["--store", str(folder / "store.zarr"), "--out", str(out), "--threads", str(threads), "--quiet"]
    code, times, said = measured(["henderson", "reml", str(model), *options], limit)
    found = {"code": code, "times": times, "said": said}
    if code == 0:
        found["job"] = next(j for j in json.loads((out / "run.json").read_text())["jobs"] if j["job"] == "reml")
        found["fit"] = json.loads((out / "variances.json").read_text())
    kept.write_text(json.dumps(found))
    return found


def off(parameters: list[dict[str, Any]], of: list[float], unit: str) -> str:
    """Return the largest difference from other values in units of an error."""
    return f"{max(abs(p['value'] - value) / p[unit] for p, value in zip(parameters, of, strict=True)):.2f}"


def row(truth: dict[str, Any], animals: int, method: str, found: dict[str, Any], exact: list[float] | None) -> str:
    """Return the row of a fit."""
    first = [f"{animals:,}", str(len(truth["traits"])), method]
    if found["code"]:
        why = "the limit of time" if found["code"] == 124 else f"exit code {found['code']}: {found['said']}"
        return markdown_table.row([*first, "", why, "", *found["times"], "", "", "", ""])
    job, parameters = found["job"], found["fit"]["parameters"]
    values = [truth[SIMULATED[p["variance"]]][p["row"] - 1][p["col"] - 1] for p in parameters]
    samples = job["history"][-1].get("samples")
    cells = [*first, f"{job['equations']:,}", str(job["rounds"]), str(samples or ""), *found["times"]]
    likelihood = f"{found['fit']['loglik']:.2f}"
    if samples:
        likelihood += f" ({found['fit']['loglik_mc_se']:.2f})"
    cells += [likelihood, off(parameters, values, "se")]
    if samples:
        cells.append(f"{max(p['mc_se'] / p['se'] for p in parameters):.3f}")
        cells.append("" if exact is None else off(parameters, exact, "mc_se"))
    else:
        cells += ["", ""]
    return markdown_table.row(cells)


def main() -> int:
    """Return 1 if a Monte Carlo fit failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--animals", default="60000,300000")
    parser.add_argument("--traits", default="1,2")
    parser.add_argument("--methods", default="ai,mc-ai")
    parser.add_argument("--pedigree", default="random")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds of a fit")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    names = COLUMNS.split(",")
    print(markdown_table.head(names), flush=True)
    failed = False
    for animals in map(int, arguments.animals.split(",")):
        for traits in map(int, arguments.traits.split(",")):
            folder = arguments.folder / f"{arguments.pedigree}-{animals}-{traits}"
            truth, exact = data(folder, animals, traits, arguments.pedigree), None
            for method in arguments.methods.split(","):
                found = fit(folder, method, arguments.limit, arguments.threads)
                print(row(truth, animals, method, found, exact), flush=True)
                if found["code"] == 0 and method == "ai":
                    exact = [p["value"] for p in found["fit"]["parameters"]]
                failed |= found["code"] != 0 and method != "ai"
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
