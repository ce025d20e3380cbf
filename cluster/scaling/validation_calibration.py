"""How often the 95 % intervals of `henderson validate` hold the truth, over simulated data sets with the right model.

    python cluster/scaling/validation_calibration.py LINES.jsonl [--animals 2000] [--runs 20] [--first 1]
        [--cut-off 2016] [--daughters 3]

Every data set adds a line to LINES.jsonl, so that a study may be done in parts; the table is of all its lines. The
truth is bias 0, dispersion 1, no difference of trends, and of method III slope 1 and delta 0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from henderson.cli.validate import validate_model
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate

EXPECTED = {"bias_sd": 0.0, "dispersion": 1.0, "trend_difference_sd": 0.0, "III_slope": 1.0, "III_delta_sd": 0.0}


def study(animals: int, seed: int, cut_off: str, daughters: int) -> dict[str, Any]:
    """Return what the validation of one simulated data set says."""
    with tempfile.TemporaryDirectory(prefix="calibration.") as name:
        folder = Path(name)
        simulate(
            SimulationConfig(animals=animals, traits=("y1",), herds=max(2, animals // 60), seed=seed), folder / "d"
        )
        validate_model(
            folder / "d" / "model.toml", cut_off=cut_off, date_column="born", out=folder / "v", focal=None, born=None,
            replicates=1000, seed=1, daughters=daughters, as_json=False, quiet=True, engine="embedded", threads=1,
        )  # fmt: skip
        (effect,) = json.loads((folder / "v" / "validation.json").read_text(encoding="utf-8"))["effects"]
    statistics = {name: effect["statistics"].get(name) for name in EXPECTED}
    bulls = {} if effect["method_iii"] is None else {k: effect["method_iii"][k] for k in ("n", "with_new")}
    return {"animals": animals, "seed": seed, "families": effect["families"], **bulls, "statistics": statistics}


def table(lines: list[dict[str, Any]]) -> str:
    """Return, by number of animals: mean, standard deviation, mean half width and coverage of each statistic."""
    rows = ["animals  families  bulls  statistic            sets    mean      sd  half width  coverage"]
    for animals in sorted({line["animals"] for line in lines}):
        mine = [line for line in lines if line["animals"] == animals]
        families = np.mean([line["families"] for line in mine])
        bulls = np.mean([line["n"] for line in mine if "n" in line] or [0])
        for name, expected in EXPECTED.items():
            found = [s for line in mine if (s := line["statistics"][name]) is not None and s["low"] is not None]
            if len(found) < 2:
                continue
            value, low, high = (np.array([s[k] for s in found]) for k in ("value", "low", "high"))
            held = np.mean((low <= expected) & (expected <= high))
            rows.append(
                f"{animals:7,}  {families:8.1f}  {bulls:5.1f}  {name:19s}  {len(found):4d}  {value.mean():6.3f}  "
                f"{value.std(ddof=1):6.3f}  {(high - low).mean() / 2:10.3f}  {held:8.2f}"
            )
    return "\n".join(rows)


def main() -> None:
    """Add data sets to the study, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--animals", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--cut-off", default="2016")
    parser.add_argument("--daughters", type=int, default=3)
    given = parser.parse_args()
    for seed in range(given.first, given.first + given.runs):
        found = study(given.animals, seed, given.cut_off, given.daughters)
        with given.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    print(table([json.loads(line) for line in given.lines.read_text(encoding="utf-8").splitlines()]))


if __name__ == "__main__":
    main()
