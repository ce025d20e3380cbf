"""Files that a variance names in the parameter file: Sigma, the mask of held elements, a Sigma for each level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from henderson.errors import unknown
from henderson.language.draft import DraftVariance
from henderson.language.source import listed
from henderson.language.spec import RESIDUAL, BlocksSpec, Matrix
from henderson.language.syntax import Misfit

BLOCK_FILES = (".blkcsv", ".coocsv", ".bin")


def parse_row(text: str) -> tuple[float, ...] | None:
    """Return the finite numbers of a comma-separated row, None if it is something else."""
    try:
        row = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return row if all(abs(v) < float("inf") for v in row) else None


def read_square(path: Path) -> Matrix:
    """Return the rows of numbers of a file, ``#`` lines left out. Raises `Misfit` for anything else."""
    rows = [parse_row(line) for line in _lines(path)]
    good = tuple(row for row in rows if row is not None)
    if len(good) < len(rows) or not rows:
        raise Misfit(f"{path.name} is not a matrix of numbers separated by commas", 0)
    return good


def read_mask(path: Path) -> tuple[tuple[bool, ...], ...]:
    """Return which elements a mask file holds constant: rows of T and F. Raises `Misfit` for anything else."""
    rows = [[part.strip() for part in line.split(",")] for line in _lines(path)]
    if not all(part in ("T", "F") for row in rows for part in row):
        raise Misfit(f"{path.name} must hold T (keep constant) and F only, separated by commas", 0)
    return tuple(tuple(part == "T" for part in row) for row in rows)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as e:
        raise Misfit(f"{path.name} cannot be read: {getattr(e, 'strerror', None) or e}", 0) from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def block_fault(blocks: BlocksSpec) -> str | None:
    """Return what is wrong with how a file of one Sigma a level is named."""
    suffix = Path(blocks.file).suffix
    if suffix not in BLOCK_FILES:
        return f"{unknown('suffix', suffix or blocks.file, BLOCK_FILES)} ({', '.join(BLOCK_FILES)})"
    return None if blocks.scale > 0.0 else f"'scale' must be positive, not {blocks.scale:g}"


def scaled(sigma: Matrix, scale: float | None) -> Matrix:
    """Return Sigma times `scale`, Sigma itself if there is none."""
    return sigma if scale is None else tuple(tuple(v * scale for v in row) for row in sigma)


def own_sigma_faults(variance: DraftVariance, levels: Sequence[str | None], grouped: bool) -> Iterator[str]:
    """Yield what is wrong with a Sigma for each level or class of levels.

    levels: the variables that have the levels of a random factor, None where a term has none; grouped: whether fixed
    genetic groups are absorbed in its Gamma.
    """
    if variance.blocks is None and variance.by is None:
        return
    if variance.blocks is not None and (variance.by is not None or variance.classes):
        yield "'sigmas' and 'by' exclude each other: a level has one Sigma"
    if variance.name == RESIDUAL:
        return
    if variance.type is not None or (variance.gamma is not None and variance.gamma.kind in ("H", "G")):
        yield "levels with a Sigma of their own need an identity, diagonal, pedigree or user gamma"
    if grouped:
        yield (
            "levels with a Sigma of their own and fixed groups in the relationship exclude each other; use "
            "'group_variance', metafounders, or a regression on the groups"
        )
    if variance.by is not None and len(set(levels)) > 1:
        names = listed(sorted(map(str, set(levels))))
        yield f"levels with a Sigma by class are those of one column of the records, not of {names}"
    for name in levels:
        if name is None or name == "1" or ":" in name:
            yield (
                "levels with a Sigma of their own are those of one column of the records, not of "
                f"{'a term without levels' if name in (None, '1') else f'the interaction {name!r}'}"
            )
