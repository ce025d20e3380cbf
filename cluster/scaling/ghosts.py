"""How many parents live outside the range of a rank, and on how many other ranks, for more ranks than are at hand.

    python cluster/scaling/ghosts.py FOLDER/store.zarr [--ranks 2,4,8,16,64,256]

Prints a table, and the constant c of ghosts = c sqrt(animals of a rank), which `iteration_model.py --ghosts` takes.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from henderson.store.reader import open_store


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--ranks", default="2,4,8,16,64,256")
    arguments = parser.parse_args()
    pedigree = next(iter(open_store(arguments.store).pedigrees.values()))
    parents = np.stack([pedigree.sire, pedigree.dam], axis=1)
    n = len(parents)
    constants = []
    print("| ranks | animals of a rank | ghosts, mean | largest | neighbours, mean |\n|---|---|---|---|---|")
    for ranks in map(int, arguments.ranks.split(",")):
        bounds = np.array([n * k // ranks for k in range(ranks + 1)])
        ghosts, neighbours = [], []
        for start, stop in itertools.pairwise(bounds):
            found = np.unique(parents[start:stop])
            found = found[(found >= 0) & ((found < start) | (found >= stop))]
            ghosts.append(len(found))
            neighbours.append(len(np.unique(np.searchsorted(bounds, found, side="right"))))
        print(f"| {ranks} | {n // ranks} | {np.mean(ghosts):.0f} | {max(ghosts)} | {np.mean(neighbours):.1f} |")
        constants.append(np.mean(ghosts) / np.sqrt(n / ranks))
    print(f"\nghosts = {np.median(constants):.1f} sqrt(animals of a rank)")


if __name__ == "__main__":
    main()
