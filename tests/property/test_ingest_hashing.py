"""The hash tables against dictionaries."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from henderson.ingest.id_table import as_integers, build_table, labels_of
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import text_of, words_of_integers
from henderson.kernels.hashing import EMPTY, LITERAL_ZERO, NOT_FOUND

COMPILING = settings(deadline=None)  # the first call compiles
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
integers = st.one_of(st.integers(-20, 20), st.integers(-(2**63) + 1, 2**63 - 1))


def words(labels: list[str], extra: int = 0) -> np.ndarray:
    raw = [label.encode() for label in labels]
    width = 8 * (max([1, *(-(-len(r) // 8) for r in raw)]) + extra)
    return np.array(raw, dtype=f"S{width}").view(np.uint64).reshape(len(labels), width // 8)


@COMPILING
@given(st.lists(text.filter(lambda t: t != "0"), min_size=1, unique=True), st.lists(text), st.integers(0, 2))
def test_text_ids_are_found_exactly(ids: list[str], others: list[str], extra: int) -> None:
    table, twice, n_twice = build_table(words(ids))
    assert n_twice == len(twice) == 0
    keys = [*others, *reversed(ids), "0", ""]
    expected = [ids.index(k) if k in ids else {"0": LITERAL_ZERO, "": EMPTY}.get(k, NOT_FOUND) for k in keys]
    found, n_absent = table.find(words(keys, extra))
    assert found.tolist() == expected
    assert n_absent == expected.count(NOT_FOUND)
    assert labels_of(table.ids).text() == ids


@COMPILING
@given(st.lists(integers.filter(bool), min_size=1, unique=True), st.lists(st.one_of(integers.map(str), text)))
def test_integer_ids_are_found_by_value(ids: list[int], others: list[str]) -> None:
    table, _, _ = build_table(np.array(ids, dtype=np.int64))
    keys = [*others, *(f"{'-' if i < 0 else ''}00{abs(i)}" for i in ids), "000", ""]

    def expected(key: str) -> int:
        digits = key.removeprefix("-")
        if not key:
            return EMPTY
        if not (digits.isascii() and digits.isdigit()) or abs(int(key)) >= 2**63:
            return NOT_FOUND
        value = int(key)
        return LITERAL_ZERO if value == 0 else ids.index(value) if value in ids else NOT_FOUND

    assert table.find(words(keys))[0].tolist() == [expected(k) for k in keys]


@COMPILING
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1) | st.integers(-120, 120), st.booleans())))
def test_integers_become_the_words_of_their_text(values: list[tuple[int, bool]]) -> None:
    numbers, missing = np.array([v for v, _ in values], np.int64), np.array([m for _, m in values], np.bool_)
    assert text_of(words_of_integers(numbers)) == [str(v) for v, _ in values]
    assert text_of(words_of_integers(numbers, missing)) == ["" if m else str(v) for v, m in values]


@COMPILING
@given(st.lists(st.sampled_from(["a", "b", "ab", "a" * 8, "a" * 9, "7"]), min_size=1))
def test_ids_that_occur_twice_are_reported(ids: list[str]) -> None:
    _, twice, n_twice = build_table(words(ids))
    expected = [[k, ids.index(i)] for k, i in enumerate(ids) if ids.index(i) != k]
    assert n_twice == len(expected)
    assert twice.tolist() == expected[:32]


@COMPILING
@given(st.lists(st.one_of(st.just(""), text)))
def test_dictionary_numbers_labels_by_first_appearance(labels: list[str]) -> None:
    codes, entries = number_labels(words(labels) if labels else np.zeros((0, 1), np.uint64))
    known = list(dict.fromkeys(v for v in labels if v))
    assert labels_of(entries).text() == known
    assert codes.tolist() == [known.index(v) if v else -1 for v in labels]


def test_dictionary_grows() -> None:
    labels = [str(k * 7 % 50_000) for k in range(120_000)]
    codes, entries = number_labels(words(labels))
    assert len(entries) == 50_000
    assert labels_of(entries[codes]).text() == labels


@COMPILING
@given(st.lists(st.one_of(integers.map(str), st.just("")), min_size=1), text)
def test_integers_of_text(values: list[str], other: str) -> None:
    found = as_integers(words(values))
    assert found is not None
    assert found.tolist() == [int(v or 0) for v in values]
    digits = other.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        assert as_integers(words([*values, other])) is None
