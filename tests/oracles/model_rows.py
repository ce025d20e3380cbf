"""Small models, one for each thing that a model can say: files in TOML and, where lmt can say it, XML, and a recipe.

The recipe is what `file_blup` solves densely; both parameter files are written from it, so that they say the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oracles.file_blup import Effect
from oracles.model_files import N_ANIMALS, N_RECORDS, Lines, Row, in_pedigree, per_trait, polynomials, positive, start
from oracles.pedigree_files import make_kind

# one function for each row of what a model can say


def animal(row: Row) -> None:
    row.random("g", *per_trait(row, "id", "u"), related=row.ped)


def direct_maternal(row: Row) -> None:
    for t in row.m.traits:
        row.random("g", Effect(t, "id", f"u_{t}"), Effect(t, "dam", f"m_{t}"), related=row.ped)


def permanent(row: Row) -> None:
    animal(row)
    row.random("pe", *per_trait(row, "id", "p"))
    row.random("mpe", *per_trait(row, "dam", "mp"))


def common_environment(row: Row) -> None:
    animal(row)
    row.random("litter", *per_trait(row, "litter", "c"))


def social(row: Row) -> None:
    for t in row.m.traits:
        row.random("g", Effect(t, "id", f"u_{t}"), related=row.ped)
        row.random("g", Effect(t, "mate1", f"s_{t}"), Effect(t, "mate2", f"s_{t}"), related=row.ped)


def sires(row: Row) -> None:
    row.random("s", *per_trait(row, "sire", "s"), related=row.ped)


def random_regression(row: Row) -> None:
    effects = per_trait(row, "dim", "k", covariate=True, nested="id", polynomials=polynomials(1, 2, 4))
    row.random("g", *effects, related=row.ped)


def regression_on_columns(row: Row) -> None:
    for t in row.m.traits:
        more = [Effect(t, c, f"{c}_{t}", covariate=True, nested="id") for c in ("x1", "x2")]
        row.random("g", Effect(t, "id", f"u_{t}"), *more, related=row.ped)


def different_orders(row: Row) -> None:
    one, two = row.m.traits
    long, short = polynomials(1, 2, 4), polynomials(1, 2)
    row.random(
        "g", Effect(one, "dim", "a1", True, "id", long), Effect(two, "dim", "a2", True, "id", short), related=row.ped
    )
    row.random("pe", Effect(one, "dim", "p1", True, "id", short), Effect(two, "id", "p2"))
    row.random("pen", Effect(one, "dim", "q1", True, "litter", polynomials(2)))


def nested_covariates(row: Row) -> None:
    animal(row)
    row.fixed(*per_trait(row, "age", "c", covariate=True, nested="sex", polynomials=polynomials(2, 3), centred=True))
    row.fixed(*per_trait(row, "dim", "d", covariate=True, centred=True))


def different_models(row: Row) -> None:
    one, two = row.m.traits
    row.fixed(Effect(one, "sex", "s"), Effect(two, "age", "a", True, centred=True))
    row.random("g", Effect(one, "id", "u1"), Effect(two, "id", "u2"), related=row.ped)
    row.random("m", Effect(two, "dam", "m2"), related=row.ped)
    row.random("c", Effect(one, "litter", "c1"))


def weights(row: Row) -> None:
    animal(row)
    row.m.weights, row.xml = "w", None


def sigma_files(row: Row) -> None:
    """Sigma and mask from files, scaled."""
    animal(row)
    for name in ("g", "res"):
        row.file(f"{name}.csv", ["# Sigma", *(",".join(map(repr, r)) for r in (row.m.sigma[name] / 2.0).tolist())])
        row.file(f"{name}.mask", ["T,F", "F,T"])
        row.toml[name] = [f'sigma = "{name}.csv"', "scale = 2.0", f'fix = "{name}.mask"']
        row.xml[name] = [f"file: {name}.csv", "scale: 2.0", f"mask: {name}.mask"]  # type: ignore[index]


def residual_by_class(row: Row) -> None:
    animal(row)
    other, sex = positive(row.rng, 2, 2.0), row.columns["sex"]
    row.toml["res"] = [f"sigma = {row.m.sigma['res'].tolist()}", 'by = "sex"', f"classes = {{ 2 = {other.tolist()} }}"]
    row.m.residual = lambda r: other if sex[r] == "2" else row.m.sigma["res"]
    row.xml = None


def _matrix(row: Row, name: str, inverse: bool, lines: Lines, diagonal: bool = False) -> None:
    row.file("K.csv", lines)
    row.matrix = ["[matrix.K]", 'file = "K.csv"', *["inverse = true"] * inverse, *["diagonal = true"] * diagonal]
    tag = "D" if diagonal else "E"
    row.gamma[name] = (
        'gamma = { matrix = "K" }',
        [f"<{tag}>", "file: K.csv", *["switch: inverse"] * inverse, f"</{tag}>"],
    )


def _user(row: Row, inverse: bool, sparse: bool) -> None:
    ids = [str(k) for k in row.rng.permutation(np.arange(1, 16))]
    K = positive(row.rng, 15)
    K[:6, 6:] = K[6:, :6] = 0.0
    K = np.linalg.inv(K) if inverse else K
    if sparse:
        lines = [
            "i,j,value",
            *(f"{ids[i]},{ids[j]},{float(K[i, j])!r}" for i in range(15) for j in range(i + 1) if K[i, j]),
        ]
    else:
        lines = [",".join(["id", *ids]), *(",".join([i, *map(repr, r)]) for i, r in zip(ids, K.tolist(), strict=True))]
    _matrix(row, "k", inverse, lines)
    row.random("k", *per_trait(row, "litter", "k"), related=("matrix", row.folder / "K.csv", inverse))


def gamma_dense(row: Row) -> None:
    _user(row, inverse=False, sparse=False)


def gamma_sparse(row: Row) -> None:
    _user(row, inverse=False, sparse=True)


def gamma_inverse(row: Row) -> None:
    _user(row, inverse=True, sparse=False)


def gamma_inverse_sparse(row: Row) -> None:
    _user(row, inverse=True, sparse=True)


def gamma_diagonal(row: Row) -> None:
    values = row.rng.uniform(0.3, 3.0, 15).tolist()
    _matrix(row, "k", False, ["id,value", *(f"{k + 1},{v!r}" for k, v in enumerate(values))], diagonal=True)
    row.random("k", *per_trait(row, "litter", "k"), related=("matrix", row.folder / "K.csv", False))


def write_blocks(
    path: Path, sigmas: dict[str, np.ndarray], inverse: bool, parts: dict[str, list[int]] | None = None
) -> None:
    """Write a Sigma for each level or record in the format of the suffix; `parts`: positions of some, if not all."""
    parts = parts or {}
    width = len(next(iter(sigmas.values())))
    lines: Lines = []
    if path.suffix == ".bin":
        values = [np.linalg.inv(s) if inverse else s for s in sigmas.values()]
        head = struct.pack(f"<{2 + len(sigmas)}q", len(sigmas), width, *map(int, sigmas))
        path.write_bytes(head + np.array(values, "<f8").tobytes())
        return
    tails: tuple[Lines, Lines] = ([], [])
    if path.suffix == ".coocsv":
        lines.append("level,i,j,value")
    for k, (level, whole) in enumerate(sigmas.items(), 1):
        at = parts.get(level, list(range(width)))
        sigma = whole[np.ix_(at, at)]
        sigma = np.linalg.inv(sigma) if inverse else sigma
        n = len(at)
        if path.suffix == ".coocsv":
            lines += [f"{level},{at[i] + 1},{at[j] + 1},{float(sigma[i, j])!r}" for i in range(n) for j in range(i + 1)]
            continue
        lines += [f"#sigma_{k},{n},{n}", *(",".join(map(repr, r)) for r in sigma.tolist())]
        tails[0].extend([f"#cp_{k},{n},1", *(str(p + 1) for p in at)])
        tails[1].extend([f"#rp_{k},1,1", level])
    path.write_text("\n".join([*lines, *tails[0], *tails[1]]) + "\n")


def _blocks(row: Row, name: str, suffix: str, sigmas: dict[str, np.ndarray], inverse: bool, **more: object) -> None:
    """Let a variance have the file; lmt's are inverses and have no Sigma for others."""
    scale = 0.5
    divided = {k: s / scale for k, s in sigmas.items()}
    parts = more.get("parts")
    write_blocks(row.folder / f"{name}{suffix}", divided, inverse, parts)  # type: ignore[arg-type]
    lines = [f'sigmas = {{ file = "{name}{suffix}", inverse = {str(inverse).lower()}, scale = {scale} }}']
    row.toml[name] = lines
    if more.get("default"):
        row.toml[name] = [*lines, f"sigma = {row.m.sigma[name].tolist()}"]
        row.xml = None
    elif row.xml is not None and inverse:
        row.xml[name] = ["type: block", f"file: {name}{suffix}", f"scale: {scale}"]
    else:
        row.xml = None


def residual_by_record(row: Row, suffix: str = ".blkcsv", inverse: bool = True) -> None:
    """A Sigma for every record; of records that lack a trait, of the others only."""
    animal(row)
    some = [positive(row.rng, 2, 3.0) for _ in range(5)]  # few different ones
    own = [some[int(row.rng.integers(0, 5))] if r % 2 else positive(row.rng, 2, 3.0) for r in range(N_RECORDS)]
    parts = {}
    for r in range(N_RECORDS):
        there = [t for t, trait in enumerate(row.m.traits) if row.columns[trait][r] != "-9999"]
        if suffix != ".bin" and len(there) == 1:
            parts[str(r + 1)] = there
    _blocks(row, "res", suffix, {str(r + 1): s for r, s in enumerate(own)}, inverse, parts=parts)
    row.m.residual = lambda r: own[r]


def residual_by_record_elements(row: Row) -> None:
    residual_by_record(row, ".coocsv", False)


def residual_by_record_binary(row: Row) -> None:
    residual_by_record(row, ".bin", True)


def residual_of_some_records(row: Row) -> None:
    """A Sigma for some records, weights beside it, and random effects."""
    permanent(row)
    own = {str(r + 1): positive(row.rng, 2, 3.0) for r in range(0, N_RECORDS, 4)}
    _blocks(row, "res", ".coocsv", own, False, default=True)
    row.m.residual = lambda r: own.get(str(r + 1), row.m.sigma["res"])
    row.m.weights = "w"


def _levels(row: Row, variance: str, levels: Sequence[str], suffix: str, inverse: bool, default: bool) -> None:
    n = len(row.m.sigma[variance])
    chosen = levels[::3] if default else levels
    own = {level: positive(row.rng, n, 2.0) for level in chosen}
    _blocks(row, variance, suffix, own, inverse, default=default)
    row.m.own[variance] = lambda level: own.get(level, row.m.sigma[variance])


def sigma_by_level(row: Row) -> None:
    common_environment(row)
    _levels(row, "litter", [str(k) for k in range(1, 16)], ".blkcsv", inverse=True, default=False)


def sigma_by_level_elements(row: Row) -> None:
    """Herds, of which one is called 0, and curves within litters."""
    row.random("c", *per_trait(row, "litter", "c"))
    row.random("k", *per_trait(row, "dim", "k", covariate=True, nested="litter", polynomials=polynomials(1, 2)))
    row.random("h", *per_trait(row, "herd", "r"))
    row.m.effects = [e for e in row.m.effects if not e.sub.startswith("h_")]
    row.fixed(*per_trait(row, "1", "mu"))
    _levels(row, "k", [str(k) for k in range(1, 16)], ".coocsv", inverse=False, default=True)
    _levels(row, "h", ["0", "1", "2", "3"], ".coocsv", inverse=False, default=False)


def sigma_by_level_binary(row: Row) -> None:
    permanent(row)
    _levels(row, "pe", [str(k + 1) for k in range(N_ANIMALS)], ".bin", inverse=True, default=False)


def sigma_of_animals(row: Row) -> None:
    """Animals related by a pedigree, direct and maternal effects, with a Sigma for each."""
    direct_maternal(row)
    _levels(row, "g", [str(k + 1) for k in range(N_ANIMALS)], ".blkcsv", inverse=True, default=False)


def sigma_of_diagonal(row: Row) -> None:
    gamma_diagonal(row)
    _levels(row, "k", [str(k) for k in range(1, 16)], ".bin", inverse=True, default=False)


def sigma_of_matrix(row: Row) -> None:
    gamma_sparse(row)
    _levels(row, "k", [str(k) for k in range(1, 16)], ".coocsv", inverse=False, default=True)


def sigma_by_class(row: Row) -> None:
    """Litters of three kinds, one of which has the Sigma of all others."""
    common_environment(row)
    own = {"0": positive(row.rng, 2, 0.5), "2": positive(row.rng, 2, 5.0)}
    classes = ", ".join(f"{k} = {v.tolist()}" for k, v in own.items())
    sigma = row.m.sigma["litter"]
    row.toml["litter"] = [f"sigma = {sigma.tolist()}", 'by = "kind"', f"classes = {{ {classes} }}"]
    row.m.own["litter"] = lambda level: own.get(str(int(level) % 3), sigma)
    row.xml = None


def sigma_of_animals_by_class(row: Row) -> None:
    """Animals whose records are of one kind; those without records have the Sigma of all others."""
    animal(row)
    row.columns["line"] = [str(int(i) % 2) for i in row.columns["id"]]
    other, sigma, seen = positive(row.rng, 2, 5.0), row.m.sigma["g"], set(row.columns["id"])
    row.toml["g"] = [f"sigma = {sigma.tolist()}", 'by = "line"', f"classes = {{ 1 = {other.tolist()} }}"]
    row.m.own["g"] = lambda level: other if level in seen and int(level) % 2 else sigma
    row.xml = None


def _group_regression(row: Row, random: bool) -> None:
    """Unknown parents belong to two groups, whose fractions are a regression beside the animals."""
    lines = [line.split(",") for line in (row.folder / "ped.csv").read_text().split()[1:]]
    row.file("plain.csv", ["#id,sire,dam", *(",".join(line) for line in lines)])
    fractions = {"901": {"901": 1.0}, "902": {"902": 1.0}}
    parents = {i: [p if p != "0" else str(901 + int(i) % 2) for p in two] for i, *two in lines}
    row.file("ped.csv", ["#id,sire,dam", "901,0,0", "902,0,0", *(",".join([i, *two]) for i, two in parents.items())])
    while len(fractions) < len(parents) + 2:
        for i, two in parents.items():
            if i not in fractions and all(p in fractions for p in two):
                sums = {g: sum(fractions[p].get(g, 0.0) for p in two) / 2 for g in ("901", "902")}
                fractions[i] = {g: v for g, v in sums.items() if v}
    row.pedigrees = {"ped": (["phantomparents = 2"], ["phantomparents: 2"]), "plain": ([], [])}
    row.random("g", *per_trait(row, "id", "u"), related=("pedigree", row.folder / "plain.csv", True))
    in_pedigree(row, "g", "plain")
    effects = per_trait(row, "id", "q", fractions=fractions)
    if random:
        row.random("gg", *effects)
    else:
        row.fixed(*effects)


def group_regression(row: Row) -> None:
    _group_regression(row, random=False)


def random_group_regression(row: Row) -> None:
    _group_regression(row, random=True)


def several_pedigrees(row: Row) -> None:
    row.pedigrees = {}
    for name, kind in (("one", "uncertain"), ("two", "mgd"), ("three", "selfing")):
        _pedigree_of(row, name, kind)


def _pedigree_of(row: Row, name: str, kind: str) -> list[str]:
    """Add animals of a pedigree of some kind, and return who they are."""
    made = make_kind(kind, 7)
    row.file(f"{name}.csv", made.lines)
    for file, text in made.files.items():
        row.file(file, [text])
    row.pedigrees[name] = (made.switches.split("\n"), made.xml.split("\n"))
    row.columns[name] = [made.labels[k] for k in row.rng.integers(0, len(made.labels), N_RECORDS)]
    row.random(f"v{name}", *per_trait(row, name, f"u{name}"), related=("given", made.labels, made.A))
    in_pedigree(row, f"v{name}", name)
    return made.labels


def sigma_of_uncertain_parents(row: Row) -> None:
    """Animals with parents of weights of their own, some from metafounders, most with a Sigma of their own."""
    row.pedigrees = {}
    labels = _pedigree_of(row, "one", "uncertain metafounders")
    _levels(row, "vone", labels, ".coocsv", inverse=False, default=True)


ROWS: tuple[Callable[[Row], None], ...] = (
    animal, direct_maternal, permanent, common_environment, social, sires, random_regression, regression_on_columns,
    different_orders, nested_covariates, different_models, weights, sigma_files, residual_by_class, gamma_dense,
    gamma_sparse, gamma_inverse, gamma_inverse_sparse, gamma_diagonal, residual_by_record, residual_by_record_elements,
    residual_by_record_binary, residual_of_some_records, sigma_by_level, sigma_by_level_elements, sigma_by_level_binary,
    sigma_of_animals, sigma_of_diagonal, sigma_of_matrix, sigma_by_class, sigma_of_animals_by_class,
    group_regression, random_group_regression, several_pedigrees, sigma_of_uncertain_parents,
)  # fmt: skip


def make(function: Callable[[Row], None], folder: Path, seed: int = 1) -> tuple[Row, dict[str, Path]]:
    """Write one row: its recipe, and its parameter files by form."""
    row = start(folder, seed + ROWS.index(function))
    function(row)
    row.m.effects = [replace(e) for e in row.m.effects]
    return row, row.write()
