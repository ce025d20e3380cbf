"""Variances of an lmt parameter file: Sigma inline or from a file, the kinds of Gamma, and lmt's rarer types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from henderson.errors import unknown
from henderson.language.draft import Draft, DraftVariance
from henderson.language.source import Problems
from henderson.language.spec import GammaSpec, Matrix, MatrixSpec, Option
from henderson.language.xml_keys import Keys, nominated, parse_row, read_matrix
from henderson.language.xml_tree import Element

Genomic = Mapping[str, Mapping[str, Keys]]
KINDS = ("A", "H", "G", "E", "D")


def read_variances(element: Element, genomic: Genomic, draft: Draft, problems: Problems) -> None:
    """Read ``<vars>``: ``<res>``, and one element for each name in ``vars:``."""
    children = nominated(element, "vars", problems, also=("res",))
    residual = element.child("res")
    if residual is None:
        problems.add("<vars>: element <res> is missing", element.at)
    elif residual not in children:
        children.append(residual)
    for child in children:
        draft.variances[child.name] = _read_variance(child, genomic, draft, problems)


def _read_variance(element: Element, genomic: Genomic, draft: Draft, problems: Problems) -> DraftVariance:
    keys = Keys(element, problems, ("type",), ("sigma", "gamma", "marker_sb1"))
    variance = DraftVariance(element.name, at=element.at, type=keys.choice("type", ("snpblup1",)))
    sigma, gamma, marker = (element.child(name) for name in ("sigma", "gamma", "marker_sb1"))
    if sigma is not None:
        _read_sigma(sigma, variance, draft, problems)
    if gamma is not None:
        if element.name == "res":
            problems.add("<res>: the residual takes no <gamma>", gamma.at)
        variance.gamma_at = gamma.at
        variance.gamma = _read_gamma(gamma, genomic, draft, problems)
    if (variance.type == "snpblup1") != (marker is not None):
        keys.fault("'type: snpblup1' and element <marker_sb1> need each other")
    elif marker is not None:
        marker_keys = Keys(marker, problems, ("genotype",))
        _known(marker_keys, "genotype", "genotype set", genomic["genotypes"])
        variance.options = (*variance.options, *((f"marker_sb1.{k}", v) for k, v in marker_keys.options()))
    return variance


def _read_sigma(element: Element, variance: DraftVariance, draft: Draft, problems: Problems) -> None:
    keys = Keys(element, problems, ("file", "scale", "type", "mask"), ("matrix",))
    variance.sigma_at = element.at
    inline, file, mask = element.child("matrix"), keys.text("file"), keys.text("mask")
    if (inline is None) == (file is None):
        if not element.children or inline is not None:
            keys.fault("exactly one of 'file:' and <matrix> is needed")
        return
    scale = keys.number("scale")
    if scale is not None and scale <= 0:
        keys.fault(f"'scale' must be positive, not {scale:g}", "scale")
        scale = None
    if keys.choice("type", ("block",)) == "block":
        options: dict[str, Option] = {"sigma.file": file or "", "sigma.type": "block"}
        if file is None or not file.endswith(".blkcsv"):
            keys.fault("'type: block' needs 'file:' with a .blkcsv file", "type")
        variance.type = "block"
        variance.options = tuple(sorted((options | ({"sigma.scale": scale} if scale else {})).items()))
        return
    folder = draft.source.parent
    sigma = read_matrix(inline, problems) if inline is not None else _matrix_file(keys, folder / str(file))
    if sigma is not None:
        variance.sigma = tuple(tuple(v * scale for v in row) for row in sigma) if scale else sigma
    if mask is not None:
        variance.fix_at = keys.at("mask")
        variance.fix = _mask_file(keys, folder / mask)


def _lines(keys: Keys, path: Path, key: str) -> list[str] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as e:
        keys.fault(f"{path.name} cannot be read: {getattr(e, 'strerror', None) or e}", key)
        return None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _matrix_file(keys: Keys, path: Path) -> Matrix | None:
    if (lines := _lines(keys, path, "file")) is None:
        return None
    rows = [parse_row(line) for line in lines]
    good = tuple(row for row in rows if row is not None)
    if len(good) < len(rows) or not rows:
        keys.fault(f"{path.name} is not a matrix of numbers separated by commas", "file")
        return None
    return good


def _mask_file(keys: Keys, path: Path) -> tuple[tuple[bool, ...], ...] | None:
    if (lines := _lines(keys, path, "mask")) is None:
        return None
    rows = [[part.strip() for part in line.split(",")] for line in lines]
    if not all(part in ("T", "F") for row in rows for part in row):
        keys.fault(f"{path.name} must hold T (keep constant) and F only, separated by commas", "mask")
        return None
    return tuple(tuple(part == "T" for part in row) for row in rows)


def _read_gamma(element: Element, genomic: Genomic, draft: Draft, problems: Problems) -> GammaSpec | None:
    Keys(element, problems, (), KINDS)
    kinds = [c for c in element.children if c.name in KINDS]
    if len(kinds) != 1:
        if len(kinds) == len(element.children):
            problems.add(f"<gamma>: exactly one of {', '.join(f'<{k}>' for k in KINDS)} is needed", element.at)
        return None
    child = kinds[0]
    if child.name == "A":
        pedigree = Keys(child, problems, ("pedigree",)).text("pedigree", needed=True)
        return GammaSpec("pedigree", pedigree) if pedigree else None
    if child.name in ("E", "D"):
        file = Keys(child, problems, ("file",)).text("file", needed=True)
        return GammaSpec("matrix", _declare_matrix(file, child.name == "D", draft)) if file else None
    if child.name == "G":
        keys = Keys(child, problems, ("grm",))
        _known(keys, "grm", "relationship matrix", genomic["grms"])
        return GammaSpec("G", keys.text("grm"), ())
    keys = Keys(child, problems, ("pedigree", "grm", "genotype", "type", "aweight", "switch"))
    _known(keys, "pedigree", "pedigree", draft.pedigrees)
    tblup = keys.choice("type", ("tblup",)) is not None
    source, what = "grm", "relationship matrix"
    if tblup or "genotype" in keys.values:
        source, what = "genotype", "genotype set"
    _known(keys, source, what, genomic[f"{source}s"])
    keys.number("aweight")
    keys.switches("adjustg2a")
    return GammaSpec("H", keys.text("pedigree"), tuple(o for o in keys.options() if o[0] != "pedigree"))


def _known(keys: Keys, key: str, what: str, names: Mapping[str, object]) -> None:
    name = keys.text(key, needed=True)
    if name is not None and name not in names:
        keys.fault(unknown(what, name, list(names)), key)


def _declare_matrix(file: str, diagonal: bool, draft: Draft) -> str:
    """Return the name of the user matrix of a file: the file's stem, or its whole path if that is taken."""
    name = Path(file).stem
    if name in draft.matrices and draft.matrices[name].file != file:
        name = file
    draft.matrices[name] = MatrixSpec(name, file, diagonal=diagonal)
    return name
