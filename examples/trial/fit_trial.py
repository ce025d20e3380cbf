"""Families of the trial: is their covariance needed, how heritable are the traits, which families to plant."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import henderson

FOLDER = Path(__file__).parent


def main(picture: Path | None) -> None:
    """Print the fit, tests and predictions; write the picture if there is a path for it."""
    trial = pd.read_csv(FOLDER / "trial.csv")
    fixed, residual = "cbind(bden, veloc) ~ trait", "~ units:us(trait)"

    correlated = henderson.reml(fixed, "~ us(trait):Block + us(trait):Family", residual, data=trial)
    independent = henderson.reml(fixed, "~ diag(trait):Block + diag(trait):Family", residual, data=trial)
    without = henderson.reml(fixed, "~ us(trait):Block", residual, data=trial)
    print(correlated.summary())
    print()
    print(correlated.lrt(independent))  # the covariances: plain chi-squared
    print()
    print(correlated.lrt(without))  # the families: on the boundary

    h2 = correlated.vpredict("4 * Family[1,1] / (Family[1,1] + res[1,1])")
    print(f"\nh2 of density: {h2.value:.3f} (standard error {h2.se:.3f})")

    families = correlated.predict("Family")
    density = families[families["trait"] == "bden"].nlargest(5, "predicted")
    print(f"\nThe five densest families:\n{density.to_string(index=False)}")
    if picture is not None:
        correlated.plot().savefig(picture, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
