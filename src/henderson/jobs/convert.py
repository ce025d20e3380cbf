"""Parameter files written in another language: lmt's XML and TOML both ways, renumf90's into TOML."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from henderson.errors import InputFileError, ModelError, Problem, UsageError
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.jobs.blank_files import convert_pedigree, convert_records
from henderson.language.draft import ColumnType, Schema
from henderson.language.load import load_model
from henderson.language.renumf90 import read_renumf90
from henderson.language.renumf90_model import build_model
from henderson.language.source import Problems
from henderson.language.spec import DataSpec, ModelSpec
from henderson.language.write_toml import write_toml
from henderson.language.write_xml import write_xml

Language = Literal["toml", "xml"]
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote, and what the user has to know of it."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def convert(file: Path, out: Path | None = None, to: Language | None = None, force: bool = False) -> Converted:
    """Return the files written for the model of `file`: the parameter file `out` first, then what it needs.

    Parameters
    ----------
    file
        lmt's XML (``.xml``), our TOML (``.toml``), or else a parameter file of renumf90.
    out
        The new file; by default `file` with the suffix of its language.
    to
        The language: by that of `out`, or else XML of a TOML file and TOML of all others.
    force
        Whether files that are there already may be overwritten.

    Raises
    ------
    ModelError
        For all that is wrong in `file`, or for all that the other language cannot say.
    UsageError
        A file is there already.

    """
    kind = file.suffix.lower()
    if to is None:
        suffix = out.suffix.lower() if out is not None else ""
        to = "toml" if suffix == ".toml" else "xml" if suffix == ".xml" or kind == ".toml" else "toml"
    out = out if out is not None else file.with_suffix(f".{to}")
    if out.suffix.lower() != f".{to}":
        raise UsageError(f"{out} is to be {to.upper()}: its name must end in .{to}")
    if kind in (".toml", ".xml"):
        return _convert_model(file, out, to, force)
    if to == "xml":
        raise UsageError("a parameter file of renumf90 becomes TOML; convert that in turn")
    return _convert_renumf90(file, out, force)


def _convert_model(file: Path, out: Path, to: Language, force: bool) -> Converted:
    notes: list[str] = []

    def schema(data: DataSpec, base: Path) -> Schema:
        try:
            return read_schema(data, base)
        except InputFileError as e:
            if file.suffix.lower() != ".xml":  # formulas mean nothing without the types of the columns
                raise
            notes.append(f"the columns of the records could not be checked: {e}")
            return _AnyColumn()

    spec = move(load_model(file, schema, read_levels), file.parent, out.parent)
    if to == "toml":
        texts = {out: write_toml(spec, list(_comments(file)))}
    else:
        written = write_xml(spec)
        texts = {out: written.text} | {out.with_name(name): text for name, text in written.files.items()}
        notes += written.notes
    write_files(texts, force)
    return Converted(tuple(texts), tuple(notes))


def _convert_renumf90(file: Path, out: Path, force: bool) -> Converted:
    problems = Problems(str(file))
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise ModelError(Problem(f"byte {e.start} is not UTF-8", str(file))) from None
    parsed = read_renumf90(text, problems)
    problems.stop_if_any()
    found = build_model(parsed, file, problems)
    problems.stop_if_any()
    base, folder = file.parent, out.parent
    spec, raw = found.spec, found.pedigrees
    records = folder / spec.data.records[0]
    tables = {spec.data.records[0]: parsed.datafile, **{p.file: raw[p.name].file for p in spec.pedigrees}}
    _may_write([out, *(folder / name for name in tables)], force)
    folder.mkdir(parents=True, exist_ok=True)
    dams = [
        (name, animal, base / found.pedigrees[p].file, found.pedigrees[p].columns) for name, animal, p in found.dams
    ]
    responses = list(spec.traits)
    convert_records(
        base / parsed.datafile, records, found.columns, responses, found.missing, dams, skip=found.skip_header
    )
    pedigrees = []
    for pedigree in spec.pedigrees:
        one = raw[pedigree.name]
        groups = convert_pedigree(base / one.file, folder / pedigree.file, one.columns, one.groups)
        pedigrees.append(replace(pedigree, phantomparents=groups))
    spec = replace(spec, pedigrees=tuple(pedigrees))
    comments = [f"From {file.name}, a parameter file of renumf90. Sub-factor e3_2 is effect 3 of trait 2."]
    comments += [f"Not carried over: {what}" for what in found.left_out]
    if not any(job.name == "reml" for job in spec.jobs):
        comments.append('To estimate the variances, as airemlf90 does: [jobs] run = ["reml", "solve"]')
    write_files({out: write_toml(spec, comments)}, force)
    load_model(out, read_schema, read_levels)  # what is wrong in the model is said of the new file
    files = (out, *(folder / name for name in tables))
    return Converted(files, tuple(f"not carried over: {what}" for what in found.left_out))


def _may_write(paths: Sequence[Path], force: bool) -> None:
    if not force and (there := [str(path) for path in paths if path.exists()]):
        raise UsageError(f"{', '.join(there)} would be overwritten; give another --out, or --force")


def write_files(texts: dict[Path, str], force: bool) -> None:
    """Write texts to files, all of them or, if one is there already and `force` is false, none."""
    _may_write([*texts], force)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class _AnyColumn(dict[str, ColumnType]):
    """Columns of records that cannot be read: any name is one of them."""

    def __contains__(self, column: object) -> bool:
        return True


def _comments(file: Path) -> Iterator[str]:
    """Yield the comments of an XML file, the blanks around their lines taken off."""
    if file.suffix.lower() == ".xml":
        for comment in _COMMENT.findall(file.read_text(encoding="utf-8", errors="replace")):
            yield "\n".join(line.strip() for line in comment.strip().splitlines())


def move(spec: ModelSpec, old: Path, new: Path) -> ModelSpec:
    """Return the model with its paths, relative to the folder `old`, made relative to the folder `new`."""
    if os.path.abspath(old) == os.path.abspath(new):
        return spec

    def path(file: str) -> str:
        return file if os.path.isabs(file) else Path(os.path.relpath(old / file, new)).as_posix()

    def optional(file: str | None) -> str | None:
        return None if file is None else path(file)

    jobs = tuple(
        replace(j, options=tuple((k, path(str(v)) if k == "levelfile" else v) for k, v in j.options)) for j in spec.jobs
    )
    pedigrees = tuple(
        replace(p, file=path(p.file), qfile=optional(p.qfile), metafile=optional(p.metafile)) for p in spec.pedigrees
    )
    return replace(
        spec,
        data=replace(
            spec.data, records=tuple(map(path, spec.data.records)), missing_file=optional(spec.data.missing_file)
        ),
        pedigrees=pedigrees,
        matrices=tuple(replace(m, file=path(m.file)) for m in spec.matrices),
        variances=tuple(
            v if v.blocks is None else replace(v, blocks=replace(v.blocks, file=path(v.blocks.file)))
            for v in spec.variances
        ),
        jobs=jobs,
    )
