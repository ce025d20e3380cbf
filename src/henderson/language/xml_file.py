"""Reading an lmt parameter file (XML) into a draft of the model: data, pedigrees, genomic data, equations."""

from __future__ import annotations

from pathlib import Path

from henderson.errors import unknown
from henderson.language.draft import Draft
from henderson.language.equations import parse_equations
from henderson.language.pedigrees import pedigree_faults
from henderson.language.source import Problems
from henderson.language.spec import DataSpec, PedigreeSpec
from henderson.language.xml_jobs import read_jobs
from henderson.language.xml_keys import Keys, check_children, check_escape, nominated, read_matrix
from henderson.language.xml_tree import Element, read_tree
from henderson.language.xml_variances import read_variances

TOP = ("data", "models", "model", "vars", "pedigrees", "genotypes", "grms", "jobs", "solvers", "samplers")


def read_xml(path: Path, problems: Problems) -> Draft:
    """Return the draft of an lmt parameter file; mistakes in single values are noted in `problems`.

    Raises
    ------
    ModelError
        The file is not XML, or has entities.

    """
    root = read_tree(path)
    draft = Draft(path)
    if root.name != "root":
        problems.add(f"the outermost element is {root.title}, not <root>", root.at)
        return draft
    check_children(root, TOP, problems)
    Keys(root, problems, (), TOP)
    if (data := _needed(root, ("data",), problems)) is not None:
        _read_data(data, draft, problems)
    if (pedigrees := root.child("pedigrees")) is not None:
        for child in nominated(pedigrees, "pedigrees", problems):
            _read_pedigree(child, draft, problems)
    genomic = {kind: _read_genomic(root, kind, draft, problems) for kind in ("genotypes", "grms")}
    if (models := _needed(root, ("models", "model"), problems)) is not None:
        _read_models(models, draft, problems)
    if (variances := _needed(root, ("vars",), problems)) is not None:
        read_variances(variances, genomic, draft, problems)
    read_jobs(root, draft, problems)
    return draft


def _needed(root: Element, names: tuple[str, ...], problems: Problems) -> Element | None:
    element = next((e for name in names if (e := root.child(name)) is not None), None)
    misspelt = any(c.name not in TOP for c in root.children)  # reported already, and most likely the one missing
    if element is None and not misspelt:
        problems.add(f"{root.title}: element <{names[0]}> is missing", root.at)
    return element


def _read_data(element: Element, draft: Draft, problems: Problems) -> None:
    keys = Keys(element, problems, ("datafile", "missingthreshold", "missingfile"))
    file, missing = keys.text("datafile", needed=True), keys.number("missingthreshold")
    if file is not None:
        draft.data = DataSpec((file,), missing, missing_file=keys.text("missingfile"))


def _read_pedigree(element: Element, draft: Draft, problems: Problems) -> None:
    known = ("file", "switch", "phantomparents", "qfile", "metafile", "group_variance")
    keys = Keys(element, problems, known, ("metamatrix",))
    switches = keys.switches("selfing", "probabilistic", "mgs")
    matrix = element.child("metamatrix")
    spec = PedigreeSpec(
        element.name,
        keys.text("file", needed=True) or "",
        selfing="selfing" in switches,
        probabilistic="probabilistic" in switches,
        phantomparents=keys.count("phantomparents"),
        qfile=keys.text("qfile"),
        metafile=keys.text("metafile"),
        metamatrix=read_matrix(matrix, problems) if matrix is not None else None,
        mgs="mgs" in switches,
        group_variance=keys.number("group_variance"),
    )
    for key, message in pedigree_faults(spec):
        keys.fault(message, key if key in known else None)
    draft.pedigrees[element.name] = spec


_GENOMIC_KEYS = {
    "genotypes": ("file", "cross", "pedigree", "pq", "pq_file", "switch"),
    "grms": ("genotype", "file", "cross", "method", "switch"),
}


def _read_genomic(root: Element, kind: str, draft: Draft, problems: Problems) -> dict[str, Keys]:
    """Return the genotype sets, or the genomic relationship matrices, by name."""
    if (element := root.child(kind)) is None:
        return {}
    sets = {}
    genotypes = root.child("genotypes")
    known_genotypes = [c.name for c in genotypes.children] if genotypes is not None else []
    for child in nominated(element, kind, problems):
        keys = Keys(child, problems, _GENOMIC_KEYS[kind])
        if kind == "genotypes":
            for key in ("file", "cross", "pedigree"):
                keys.text(key, needed=True)
            if (pedigree := keys.text("pedigree")) is not None and pedigree not in draft.pedigrees:
                keys.fault(unknown("pedigree", pedigree, list(draft.pedigrees)), "pedigree")
        else:
            if ("genotype" in keys.values) == ("file" in keys.values):
                keys.fault("exactly one of 'genotype:' and 'file:' (with 'cross:') is needed")
            if "file" in keys.values:
                keys.text("cross", needed=True)
            if (genotype := keys.text("genotype")) is not None and genotype not in known_genotypes:
                keys.fault(unknown("genotype set", genotype, known_genotypes), "genotype")
            keys.choice("method", ("VR", "YA"))
        sets[child.name] = keys
    return sets


def _read_models(element: Element, draft: Draft, problems: Problems) -> None:
    Keys(element, problems, (), ("eqn", "poly"))
    equations = element.child("eqn")
    if equations is None:
        if all(c.name in ("eqn", "poly") for c in element.children):
            problems.add(f"{element.title}: element <eqn> is missing", element.at)
        return
    check_escape(equations, ("strings",), problems)
    before = len(problems.found)
    draft.equations = parse_equations(equations.text.lines(), problems)
    if not draft.equations and len(problems.found) == before:
        problems.add("<eqn> holds no equation", equations.at)
    if (polynomials := element.child("poly")) is not None:
        check_escape(polynomials, ("strings",), problems)
        draft.polynomials = list(polynomials.text.lines())
