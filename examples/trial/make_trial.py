"""Write trial.csv: a progeny trial in randomised complete blocks, simulated with a fixed seed.

62 families, one tree of each in 24 blocks; wood density (kg/m3) and acoustic velocity (km/s). Variances: families 82.8
and 0.00225 with correlation 0.37, blocks 25 and 0.0015, residual 546 and 0.0174 with correlation 0.15. One tree in
twenty is dead, and of one in ten of the living the velocity was not measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FAMILIES, BLOCKS = 62, 24


def covariance(a: float, b: float, correlation: float) -> np.ndarray:
    """Return the covariance matrix of two variances and a correlation."""
    c = correlation * (a * b) ** 0.5
    return np.array([[a, c], [c, b]])


def main(path: Path) -> None:
    """Write the trial to `path`."""
    rng = np.random.Generator(np.random.Philox(20240))
    family = rng.multivariate_normal([0, 0], covariance(82.8, 0.00225, 0.37), FAMILIES, method="cholesky")
    block = rng.multivariate_normal([0, 0], covariance(25.0, 0.0015, 0.0), BLOCKS, method="cholesky")
    lines = ["Tree,Block,Family,bden,veloc"]
    for b in range(BLOCKS):
        for f in range(FAMILIES):
            residual = rng.multivariate_normal([0, 0], covariance(546.0, 0.0174, 0.15), method="cholesky")
            density, velocity = np.array([402.0, 3.61]) + block[b] + family[f] + residual
            dead, unmeasured = rng.random(2) < (0.05, 0.1)
            if not dead:
                measured = "NA" if unmeasured else f"{velocity:.3f}"
                lines.append(f"{b * FAMILIES + f + 1},B{b + 1:02d},F{f + 1:02d},{density:.1f},{measured}")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("trial.csv"))
