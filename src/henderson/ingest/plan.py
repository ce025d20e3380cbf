"""What an ingest will do: which files, cut how, and the fingerprint by which a store knows its inputs."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from henderson.errors import InputFileError, Problem
from henderson.ingest.files import Block, Source, cut, damaged_gzip, expand, is_gzip
from henderson.ingest.header import record_sources, shown, source_of
from henderson.ingest.missing_file import missing_source
from henderson.ingest.pedigree_rows import read_metafile
from henderson.ingest.roles import OwnSigmas, Roles, own_sigmas_of, roles_of
from henderson.language.spec import MatrixSpec, ModelSpec, PedigreeSpec
from henderson.store.schema import FORMAT_VERSION

MAX_BLOCKS = 4096


@dataclass(frozen=True)
class Plan:
    """The inputs of an ingest. Blocks are those of the records.

    Pedigrees and matrices that no term uses are left out.
    """

    fingerprint: str
    roles: Roles
    records: tuple[Source, ...]
    pedigrees: tuple[tuple[PedigreeSpec, Source], ...]
    matrices: tuple[tuple[MatrixSpec, Source], ...]
    block_bytes: int
    sigmas: tuple[tuple[OwnSigmas, Source], ...] = ()
    missing: Source | None = None  # which responses are missing

    def blocks(self, source: Source) -> list[Block]:
        """Return the blocks of a source; larger ones where there would be more than MAX_BLOCKS."""
        return cut(source, max(self.block_bytes, -(-self.bytes // MAX_BLOCKS)))

    @property
    def bytes(self) -> int:
        """Return the size of all inputs."""
        return sum(s.size for s in self.sources)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return all files: of the records, then the others."""
        return (*self.records, *(s for group in (self.pedigrees, self.matrices, self.sigmas) for _, s in group))

    def file(self, relation: str) -> str:
        """Return what messages call the file of a pedigree or matrix."""
        return {**{p.name: s for p, s in self.pedigrees}, **{m.name: s for m, s in self.matrices}}[relation].shown


def make_plan(spec: ModelSpec, block_bytes: int) -> Plan:
    """Return the plan for a model; reads the first lines of every file.

    Raises `InputFileError` with the mistakes of all files, `ModelError` for columns that do not exist.
    """
    base = spec.path("")
    problems: list[Problem] = []
    records: list[Source] = []
    sources: dict[str, Source] = {}
    try:
        records = record_sources(spec.data, base)
    except InputFileError as error:
        problems += error.problems
    used = {spec.variance(s.variance).gamma.name for s in spec.subfactors if s.variance is not None} | {
        t.pedigree for e in spec.equations for t in e.terms if t.pedigree is not None
    }
    used |= {p.name for p in spec.pedigrees if p.qfile is not None}
    pedigrees = []
    for pedigree in spec.pedigrees:
        if pedigree.name in used:
            try:
                pedigrees.append(_with_metafile(pedigree, base))
            except InputFileError as error:
                problems += error.problems
    matrices = [m for m in spec.matrices if m.name in used]
    parts: list[PedigreeSpec | MatrixSpec] = [*pedigrees, *matrices]
    for part in parts:
        key = f"[{'pedigree' if isinstance(part, PedigreeSpec) else 'matrix'}.{part.name}] file"
        try:
            path = expand([part.file], base, key)[0]
            sources[part.name] = source_of(path, shown(path, base), headless=isinstance(part, PedigreeSpec))
        except InputFileError as error:
            problems += error.problems
    sigmas = []
    for own in own_sigmas_of(spec):
        try:
            if own.blocks is not None:
                sigmas.append((own, _sigma_source(own, base)))
        except InputFileError as error:
            problems += error.problems
    missing = None
    try:
        if spec.data.missing_file is not None:
            missing = missing_source(spec.data.missing_file, base)
    except InputFileError as error:
        problems += error.problems
    if problems:
        raise InputFileError(problems)
    others = [*sources.values(), *(s for _, s in sigmas), *([] if missing is None else [missing])]
    roles = roles_of(spec, records[0].names, records[0].shown)
    return Plan(
        _fingerprint(spec, roles, [*records, *others], pedigrees, matrices),
        roles,
        tuple(records),
        tuple((p, sources[p.name]) for p in pedigrees),
        tuple((m, sources[m.name]) for m in matrices),
        block_bytes,
        tuple(sigmas),
        missing,
    )


def _sigma_source(own: OwnSigmas, base: Path) -> Source:
    """Return the file of the Sigmas. Raises `InputFileError` if it cannot be read."""
    assert own.blocks is not None
    path = base / own.blocks.file
    name = shown(path, base)
    if path.suffix == ".coocsv":
        return source_of(path, name)
    try:
        stat = path.stat()
    except OSError as error:
        raise InputFileError(Problem(f"cannot be read ({error.strerror})", file=name)) from error
    return Source(str(path), name, "blocks", (), stat.st_size, stat.st_mtime_ns)


def _with_metafile(spec: PedigreeSpec, base: Path) -> PedigreeSpec:
    """Return the pedigree with the matrix of its metafounders, if that is in a file."""
    if spec.metafile is None:
        return spec
    path = expand([spec.metafile], base, f"[pedigree.{spec.name}] metafile")[0]
    return replace(spec, metamatrix=read_metafile(path, shown(path, base)))


def _fingerprint(
    spec: ModelSpec,
    roles: Roles,
    sources: list[Source],
    pedigrees: list[PedigreeSpec],
    matrices: list[MatrixSpec],
) -> str:
    parts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "data": asdict(spec.data),
        "roles": asdict(roles),
        "pedigrees": [asdict(p) for p in pedigrees],
        "matrices": [asdict(m) for m in matrices],
        "files": [[s.shown, s.size, s.modified, list(s.names)] for s in sources],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def unzipped(source: Source, folder: Path, number: int) -> Source:
    """Return the source, or a decompressed copy of it in `folder` if it is compressed with gzip."""
    if source.format != "csv" or not is_gzip(Path(source.path)):
        return source
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:06d}.csv"
    if not path.exists():
        temporary = path.with_name(path.name + ".tmp")
        try:
            with gzip.open(source.path, "rb") as packed, temporary.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 22)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise damaged_gzip(source.shown, error) from error
        os.replace(temporary, path)
    return Source(**{**source.as_json(), "names": source.names, "path": str(path), "size": path.stat().st_size})
