"""Levels of classes: which are seen, how they are ordered and joined; interactions."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.equations.levels import ClassColumn, class_column, concatenate, seen_levels, union
from henderson.store.model_data import Labels, ModelData, Pedigree, Records


def integers(*values: int) -> Labels:
    return Labels(np.array(values, np.int64))


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.fixture
def data() -> ModelData:
    pedigree = Pedigree("ped", integers(30, 10, 20), *[codes(-1, -1, -1)] * 3, *[np.zeros(3)] * 2)
    records = Records(
        np.arange(5),
        {"y": np.arange(5.0)},
        {},
        {"a": codes(1, 0, 1, -1, 0), "b": codes(0, 1, 0, 1, 0)},
        {("id", "ped"): codes(0, -2, 2, -1, 0)},
    )
    return ModelData(records, {"a": Labels.from_text(["é", "z"]), "b": integers(10, 9)}, {"ped": pedigree})


def test_seen_levels_keep_their_order_and_zero_is_the_last() -> None:
    column = ClassColumn(codes(2, -2, 0, -1), integers(7, 8, 9), has_zero=True)
    seen = seen_levels(column)
    assert seen.labels.text() == ["7", "9", "0"]
    np.testing.assert_array_equal(seen.codes, [1, 2, 0, -1])
    part = seen_levels(column, np.array([True, False, False, True]))
    assert part.labels.text() == ["9"]
    np.testing.assert_array_equal(part.codes, [0, -1, -1, -1])


def test_all_seen_shares_the_array() -> None:
    column = ClassColumn(codes(0, 1), integers(4, 5))
    assert seen_levels(column).codes is column.codes
    assert union([column])[1][0] is column.codes


def test_union_sorts_integers_by_value_and_text_by_code_point() -> None:
    labels, (a, b) = union([ClassColumn(codes(0, 1), integers(10, 9)), ClassColumn(codes(-1, 0), integers(9))])
    assert labels.text() == ["9", "10"]
    np.testing.assert_array_equal(a, [1, 0])
    np.testing.assert_array_equal(b, [-1, 0])
    text = Labels.from_text(["é", "10", "B"])
    labels, (a, b) = union([ClassColumn(codes(0, 1, 2), text), ClassColumn(codes(1, 0, -2), integers(10, 9))])
    assert labels.text() == ["10", "9", "B", "é"]
    np.testing.assert_array_equal(a, [3, 0, 2])
    np.testing.assert_array_equal(b, [1, 0, -1])


def test_concatenate_widths_and_empty_parts() -> None:
    assert concatenate([Labels.from_text(["a"]), Labels.from_text(["long"])]).text() == ["a", "long"]
    assert concatenate([integers(), Labels.from_text(["a"])]).text() == ["a"]
    assert concatenate([integers(), integers()]).text() == []


def test_interaction_joins_what_occurs(data: ModelData) -> None:
    column = class_column(data, "a:b")
    assert column.labels.text() == ["é:10", "é:9", "z:10"]
    np.testing.assert_array_equal(column.codes, [2, 1, 2, -1, 0])


def test_interaction_with_a_related_column(data: ModelData) -> None:
    column = class_column(data, "b:id:1")
    labels = column.labels.text()
    assert [labels[c] if c >= 0 else None for c in column.codes] == ["10:30:1", "9:0:1", "10:20:1", None, "10:30:1"]


def test_unknown_variable(data: ModelData) -> None:
    with pytest.raises(KeyError, match="nothing"):
        class_column(data, "nothing")
