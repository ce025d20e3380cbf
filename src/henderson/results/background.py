"""What a page tells of the data behind a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from henderson.results.groups import Grouping
from henderson.results.store_facts import DataFacts, PedigreeFacts


@dataclass(frozen=True)
class EditFacts:
    """What one rule of `[checks]` has found of a trait: how many values, and the first of them in words."""

    trait: str
    column: str
    action: str
    reason: str
    count: int
    first: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """Records, pedigrees, the groups of individuals by pedigree, and edits (None: the model has no checks)."""

    data: DataFacts
    pedigrees: tuple[PedigreeFacts, ...]
    groupings: Mapping[str, Grouping] = field(default_factory=dict)
    edits: tuple[EditFacts, ...] | None = None
