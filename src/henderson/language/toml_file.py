"""Reading a TOML parameter file into a draft of the model."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import TypeVar

from henderson.errors import ModelError, Problem, unknown
from henderson.language.checks import read_checks
from henderson.language.draft import Draft, DraftVariance
from henderson.language.equations import parse_equations
from henderson.language.indices import read_indices
from henderson.language.pedigrees import pedigree_faults
from henderson.language.sigma_files import block_fault, read_mask, read_square, scaled
from henderson.language.source import Problems, Source
from henderson.language.spec import BlocksSpec, DataSpec, GammaSpec, MatrixSpec, PedigreeSpec, ValidationSpec
from henderson.language.syntax import Misfit
from henderson.language.toml_jobs import read_jobs
from henderson.language.toml_places import Places, find_places
from henderson.language.values import Table, read_equal, say
from henderson.language.variances import STRUCTURES

T = TypeVar("T")

TABLES = (
    "data", "pedigree", "matrix", "model", "variance", "solvers", "jobs", "functions", "validation", "checks", "index",
)  # fmt: skip
FORMULAS = ("fixed", "random", "residual")
_PLACE = re.compile(r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)


def read_toml(path: Path, problems: Problems) -> Draft:
    """Return the draft of a TOML parameter file; mistakes in single values are noted in `problems`.

    Raises
    ------
    ModelError
        The file is not TOML; with line and column.

    """
    text = _decode(path)
    return read_tables(_load(text, path), path, problems, find_places(text))


def read_tables(values: Mapping[str, object], path: Path, problems: Problems, places: Places | None = None) -> Draft:
    """Return the draft of the content of a TOML file; `path` is the file, or one that could be in its place."""
    root = Table(values, (), places or Places(), problems)
    root.check_keys(TABLES, "table")
    draft = Draft(path)
    _read_data(root, draft)
    for name, table in root.tables("pedigree"):
        _read_pedigree(name, table, draft)
    for name, table in root.tables("matrix"):
        table.check_keys(("file", "inverse", "diagonal"))
        file = table.needed_text("file")
        inverse, diagonal = table.flag("inverse", False), table.flag("diagonal", False)
        draft.matrices[name] = MatrixSpec(name, file or "", inverse, diagonal)
    _read_model(root, draft)
    for name, table in root.tables("variance"):
        _read_variance(name, table, draft)
    read_jobs(root, draft)
    read_checks(root, draft)
    _read_validation(root, draft)
    read_indices(root, draft)
    if (functions := root.table("functions")) is not None:
        for name in functions.values:
            if (function := functions.text(name)) is not None:
                draft.functions[name] = functions.places.string(function, "functions", name)
    return draft


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ModelError(Problem(f"byte {e.start} is not UTF-8", str(path), line)) from None


def _load(text: str, path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ModelError(Problem("lists or tables are nested too deep", str(path), 1)) from None
    except tomllib.TOMLDecodeError as e:
        match = _PLACE.match(str(e))
        what = match["what"] if match else str(e)
        if match and match["line"]:
            line, column = int(match["line"]), int(match["column"])
        else:
            lines = text.rstrip().split("\n")
            line, column = len(lines), len(lines[-1]) + 1
        raise ModelError(Problem(f"not valid TOML: {what}", str(path), line, column)) from None


def _read_data(root: Table, draft: Draft) -> None:
    if "data" not in root.values:
        root.problems.add("the table [data] is missing", None, 'it names the records: records = "records.csv"')
        return
    if (table := root.table("data")) is None:
        return
    table.check_keys(("records", "missing", "missing_file", "weights", "classes"))
    records = table.texts("records")
    if "records" not in table.values:
        table.fault("'records' is missing")
    missing, weights, classes = table.number("missing"), table.text("weights"), table.texts("classes") or ()
    for key in ("weights", "classes"):
        if (at := table.at(key)) is not None:
            draft.data_at = {**draft.data_at, key: at}
    if records is not None:
        flags = table.text("missing_file")
        draft.data = DataSpec(records, missing, weights, tuple(sorted(set(classes))), flags)


def _read_pedigree(name: str, table: Table, draft: Draft) -> None:
    table.check_keys(
        (
            "file", "inbreeding", "selfing", "add_missing_parents", "probabilistic", "phantomparents", "qfile",
            "metafile", "metamatrix", "mgs", "group_variance",
        )
    )  # fmt: skip
    spec = PedigreeSpec(
        name,
        table.needed_text("file") or "",
        inbreeding=table.flag("inbreeding", True),
        selfing=table.flag("selfing", False),
        add_missing_parents=table.flag("add_missing_parents", False),
        probabilistic=table.flag("probabilistic", False),
        phantomparents=table.count("phantomparents"),
        qfile=table.text("qfile"),
        metafile=table.text("metafile"),
        metamatrix=table.matrix("metamatrix"),
        mgs=table.flag("mgs", False),
        group_variance=table.number("group_variance"),
    )
    for key, message in pedigree_faults(spec):
        table.fault(message, key)
    draft.pedigrees[name] = spec


def _read_model(root: Table, draft: Draft) -> None:
    if "model" not in root.values:
        root.problems.add("the table [model] is missing", None, "it holds the equations or formulas")
        return
    if (table := root.table("model")) is None:
        return
    table.check_keys(("equations", "polynomials", *FORMULAS))
    equations = table.text("equations")
    for line, key in enumerate(FORMULAS, start=1):
        if (formula := table.text(key)) is not None:
            # tables that no file holds have no places: then each formula is a line of its own
            known = table.places.of("model") is not None
            source = table.places.string(formula, "model", key) if known else Source.plain(formula, (line, 1))
            draft.formulas[key] = source
    if "equations" in table.values and any(key in table.values for key in FORMULAS):
        table.fault("'equations' and formulas exclude each other", "equations")
    elif equations is not None:
        source = table.places.string(equations, "model", "equations")
        draft.equations = parse_equations(source.lines(), root.problems)
        if not draft.equations and not root.problems.found:
            table.fault("'equations' holds no equation", "equations")
    elif "fixed" not in table.values and "equations" not in table.values:
        table.fault("'equations' or 'fixed' is missing")
    if "polynomials" in table.values:
        if isinstance(table.values["polynomials"], list):
            if "fixed" in table.values:
                table.fault("'polynomials' belongs to 'equations'; a formula says I(x^2)", "polynomials")
            texts = table.texts("polynomials") or () if table.values["polynomials"] else ()
            draft.polynomials = [
                table.places.string(text, "model", "polynomials", str(n)) for n, text in enumerate(texts)
            ]
        else:
            table.fault(f"'polynomials' must be a list of texts, not {say(table.values['polynomials'])}", "polynomials")


def _read_validation(root: Table, draft: Draft) -> None:
    if (table := root.table("validation")) is None:
        return
    table.check_keys(("date", "cut_off"))
    value = table.values.get("cut_off")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | str | date)):
        table.fault(f"'cut_off' must be a number or a date, not {say(value)}", "cut_off")
    draft.validation = ValidationSpec(table.text("date"), None if value is None else str(value))
    draft.validation_at = table.at("date")


def _read_variance(name: str, table: Table, draft: Draft) -> None:
    table.check_keys(("sigma", "sigmas", "scale", "structure", "gamma", "fix", "equal", "rank", "by", "classes"))
    folder = draft.source.parent
    if (scale := table.number("scale")) is not None and scale <= 0.0:
        table.fault(f"'scale' must be positive, not {scale:g}", "scale")
        scale = None
    variance = DraftVariance(
        name,
        at=table.at(),
        sigma=_or_file(table, "sigma", table.matrix, lambda file: read_square(folder / file)),
        sigma_at=table.at("sigma") if "sigma" in table.values else None,
        structure=table.text("structure"),
        gamma=_read_gamma(table),
        gamma_at=table.at("gamma"),
        fix=_or_file(table, "fix", table.flags, lambda file: read_mask(folder / file)),
        fix_at=table.at("fix"),
        equal=read_equal(table),
        equal_at=table.at("equal"),
        rank=table.count("rank") or None,
        rank_at=table.at("rank"),
        by=table.text("by"),
        by_at=table.at("by"),
        blocks=_read_blocks(table, scale),
        blocks_at=table.at("sigmas"),
    )
    if variance.sigma is not None:
        variance.sigma = scaled(variance.sigma, scale)
    if variance.structure is not None and variance.structure not in STRUCTURES:
        table.fault(f"{unknown('structure', variance.structure, STRUCTURES)} ({', '.join(STRUCTURES)})", "structure")
    if (classes := table.table("classes")) is not None:
        sigmas = ((level, classes.matrix(level)) for level in sorted(classes.values))
        variance.classes = tuple((level, scaled(sigma, scale)) for level, sigma in sigmas if sigma is not None)
    if variance.gamma is not None and name == "res":
        table.fault("the residual variance 'res' takes no gamma; see 'weights' in [data]", "gamma")
    draft.variances[name] = variance


def _or_file(table: Table, key: str, inline: Callable[[str], T | None], read: Callable[[str], T]) -> T | None:
    """Return a value of the table, or what is in the file that it names."""
    if not isinstance(table.values.get(key), str):
        return inline(key)
    try:
        return None if (file := table.text(key)) is None else read(file)
    except Misfit as e:
        table.fault(f"{key!r}: {e.message}", key)
        return None


def _read_blocks(table: Table, scale: float | None) -> BlocksSpec | None:
    """Return the file of a Sigma for each level: a name, or a table with ``file``, ``inverse`` and ``scale``."""
    if not isinstance(table.values.get("sigmas"), dict):
        file, inverse, own = table.text("sigmas"), False, None
    else:
        inner = table.table("sigmas")
        assert inner is not None
        inner.check_keys(("file", "inverse", "scale"))
        file, inverse, own = inner.needed_text("file"), inner.flag("inverse", False), inner.number("scale")
    if file is None:
        return None
    blocks = BlocksSpec(file, inverse, (1.0 if own is None else own) * (scale or 1.0))
    if fault := block_fault(blocks):
        table.fault(f"'sigmas': {fault}", "sigmas")
    return blocks


def _read_gamma(table: Table) -> GammaSpec | None:
    gamma = table.table("gamma")
    if gamma is None:
        return None
    gamma.check_keys(("A", "matrix"), "kind of gamma")
    if ("A" in gamma.values) == ("matrix" in gamma.values):
        if not gamma.values or "A" in gamma.values:
            gamma.fault('write either { A = { pedigree = "name" } } or { matrix = "name" }')
        return None
    if "matrix" in gamma.values:
        matrix = gamma.text("matrix")
        return GammaSpec("matrix", matrix) if matrix else None
    if (inner := gamma.table("A")) is None:
        return None
    inner.check_keys(("pedigree",))
    pedigree = inner.needed_text("pedigree")
    return GammaSpec("pedigree", pedigree) if pedigree else None
