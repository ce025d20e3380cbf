"""Which files a model reads."""

from __future__ import annotations

from pathlib import Path

from henderson.ingest.files import expand
from henderson.language.spec import ModelSpec


def input_files(spec: ModelSpec) -> list[Path]:
    """Return the parameter file, the records, and what else the model uses, each once."""
    used = {v.gamma.name for v in spec.variances} | {p.name for p in spec.pedigrees if p.qfile is not None}
    used |= {t.pedigree for e in spec.equations for t in e.terms if t.pedigree is not None}
    pedigrees = [p for p in spec.pedigrees if p.name in used]
    named = [p.file for p in pedigrees] + [p.metafile for p in pedigrees if p.metafile is not None]
    named += [m.file for m in spec.matrices if m.name in used]
    named += [v.blocks.file for v in spec.variances if v.blocks is not None]
    named += [str(name) for job in spec.jobs if (name := job.get("levelfile")) is not None]
    named += [spec.data.missing_file] if spec.data.missing_file is not None else []
    base = spec.path("")
    found = [spec.source] if spec.source else []
    found += expand(spec.data.records, base, "[data] records")
    found += [spec.path(f) for f in named]
    return list(dict.fromkeys(found))
