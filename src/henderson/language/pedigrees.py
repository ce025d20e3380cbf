"""What the switches of a pedigree say together; the same for TOML and lmt's XML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from henderson.language.spec import PedigreeSpec

QFILES = (".bin", ".blkcsv", ".coocsv")


def has_groups(spec: PedigreeSpec) -> bool:
    """Return whether the first rows of the pedigree stand for groups: phantom parents or metafounders."""
    return bool(spec.phantomparents or spec.metafile or spec.metamatrix)


def are_fixed(spec: PedigreeSpec) -> bool:
    """Return whether the phantom parents of a pedigree are fixed effects in A."""
    return bool(spec.phantomparents) and not (spec.group_variance or spec.metafile or spec.metamatrix)


def pedigree_faults(spec: PedigreeSpec) -> Iterator[tuple[str, str]]:
    """Yield a key and what is wrong with it, for every contradiction among the switches of a pedigree."""
    meta = bool(spec.metafile or spec.metamatrix)
    if spec.metafile and spec.metamatrix:
        yield "metamatrix", "'metafile' and 'metamatrix' exclude each other"
    if spec.mgs and spec.probabilistic:
        yield "mgs", "'mgs' and 'probabilistic' exclude each other"
    if spec.qfile is not None:
        if Path(spec.qfile).suffix not in QFILES:
            yield "qfile", f"qfile {spec.qfile!r} must end in .bin, .blkcsv or .coocsv"
        elif not has_groups(spec):
            yield "qfile", "qfile: the pedigree has no groups; say how many of its first rows are phantom parents"
    if spec.group_variance is not None:
        if spec.group_variance <= 0.0:
            yield "group_variance", f"'group_variance' must be positive, not {spec.group_variance:g}"
        if meta or not spec.phantomparents:
            yield "group_variance", "'group_variance' is for phantom parents: it needs 'phantomparents'"
