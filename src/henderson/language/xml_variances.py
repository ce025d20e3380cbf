"""Variances of an lmt parameter file: Sigma inline or from a file, the kinds of Gamma, and lmt's rarer types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from henderson.errors import unknown
from henderson.language.draft import Draft, DraftVariance
from henderson.language.sigma_files import block_fault, read_mask, read_square, scaled
from henderson.language.source import Problems
from henderson.language.spec import BlocksSpec, GammaSpec, MatrixSpec
from henderson.language.syntax import Misfit
from henderson.language.xml_keys import Keys, nominated, read_matrix
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
        if file is None:
            keys.fault("'type: block' needs 'file:'", "type")
            return
        variance.blocks, variance.blocks_at = BlocksSpec(file, inverse=True, scale=scale or 1.0), keys.at("file")
        if fault := block_fault(variance.blocks):
            keys.fault(f"'type: block': {fault}", "file")
        return
    folder = draft.source.parent
    try:
        key = "file"
        sigma = read_matrix(inline, problems) if inline is not None else read_square(folder / str(file))
        if sigma is not None:
            variance.sigma = scaled(sigma, scale)
        if mask is not None:
            key = "mask"
            variance.fix_at = keys.at(key)
            variance.fix = read_mask(folder / mask)
    except Misfit as e:
        keys.fault(e.message, key)


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
        keys = Keys(child, problems, ("file", "switch"))
        file, inverse = keys.text("file", needed=True), bool(keys.switches("inverse"))
        return GammaSpec("matrix", _declare_matrix(file, inverse, child.name == "D", draft)) if file else None
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


def _declare_matrix(file: str, inverse: bool, diagonal: bool, draft: Draft) -> str:
    """Return the name of the user matrix of a file: the file's stem, or its whole path if that is taken."""
    for name in (Path(file).stem, file, f"inverse of {file}"):
        made = MatrixSpec(name, file, inverse, diagonal)
        if draft.matrices.setdefault(name, made) == made:
            break
    return name
