"""Reading a parameter file, TOML or lmt's XML, into the one frozen `ModelSpec`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from henderson.errors import InputFileError, UsageError
from henderson.language.assemble import assemble
from henderson.language.draft import Draft, Schema
from henderson.language.formula import compile_formulas, parse_formulas
from henderson.language.source import Problems
from henderson.language.spec import DataSpec, ModelSpec
from henderson.language.toml_file import read_tables, read_toml
from henderson.language.xml_file import read_xml

ReadSchema = Callable[[DataSpec, Path], Schema]
ReadLevels = Callable[[DataSpec, Path, str], Sequence[str]]
_READERS = {".toml": read_toml, ".xml": read_xml}


def load_model(path: str | Path, read_schema: ReadSchema, read_levels: ReadLevels | None = None) -> ModelSpec:
    """Return the model of a parameter file.

    Parameters
    ----------
    path
        A ``*.toml`` or ``*.xml`` file.
    read_schema
        Given the data and the folder of the parameter file, returns the columns of the records and their types
        (``integer``, ``real`` or ``text``).
    read_levels
        Given also a column, returns its levels in sorted order; needed only for formulas with a term per level, such as
        ``diag(sex):id``.

    Raises
    ------
    ModelError
        With everything that is wrong in the parameter file.
    InputFileError
        The records cannot be read (from `read_schema`), and the parameter file is sound as far as can be seen.
    UsageError
        There is no such file, or it is neither TOML nor XML.

    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path} is no parameter file: its name must end in .toml or .xml")
    if not path.is_file():
        raise UsageError(f"there is no parameter file {path}")
    problems = Problems(str(path))
    return _finish(reader(path, problems), problems, read_schema, read_levels)


def load_tables(
    tables: Mapping[str, object],
    folder: Path,
    read_schema: ReadSchema,
    read_levels: ReadLevels | None = None,
    name: str = "model",
) -> ModelSpec:
    """Return the model of what a TOML file would hold, as tables; paths are relative to `folder`.

    `name` is what messages call it. Otherwise as `load_model`.
    """
    problems = Problems(name)
    return _finish(read_tables(tables, folder / "model.toml", problems), problems, read_schema, read_levels)


def _finish(draft: Draft, problems: Problems, read_schema: ReadSchema, read_levels: ReadLevels | None) -> ModelSpec:
    formulas = parse_formulas(draft.formulas, problems)
    schema, unreadable = _schema(draft, read_schema)
    if formulas and schema is not None and draft.data is not None:
        data = draft.data
        levels = None if read_levels is None else (lambda column: list(read_levels(data, draft.source.parent, column)))
        compile_formulas(formulas, draft, schema, levels, problems)
    model = None
    if not formulas or schema is not None:
        model = assemble(draft, schema, problems)
    problems.stop_if_any()
    if unreadable is not None:
        raise unreadable
    if model is None:
        raise AssertionError("a parameter file without a mistake gave no model")
    return model


def _schema(draft: Draft, read_schema: ReadSchema) -> tuple[Schema | None, InputFileError | None]:
    if draft.data is None:
        return None, None
    try:
        return read_schema(draft.data, draft.source.parent), None
    except InputFileError as e:
        return None, e
