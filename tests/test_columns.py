"""Columns of tables: numbers, categories, missing values, and the errors for tables that cannot be used."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mdnjax.data.columns import Column, Columns, blocks, fit_columns, to_inputs, to_targets, unseen
from mdnjax.data.values import TableError
from mdnjax.model_file import COLUMNS

NUMBERS = st.floats(-1e6, 1e6, width=32)


def text(*values):
    return np.array(values, object)


@st.composite
def tables(draw):
    """A table with a target, some columns of numbers and one of categories, none of them constant."""
    num = draw(st.integers(4, 12))
    columns = draw(st.integers(1, 3))
    table = {"y": np.arange(num, dtype=float)}
    for i in range(columns):
        values = draw(arrays.arrays(np.float64, num, elements=NUMBERS))
        table[f"x{i}"] = np.where(np.arange(num) == i, values + 1e7, values)
    table["c"] = text(*draw(st.lists(st.sampled_from("ab"), min_size=num - 2, max_size=num - 2)), "a", "b")
    return table


@given(tables())
@settings(max_examples=50, deadline=None)
def test_inputs_are_the_values_and_survive_a_file(table):
    columns, _ = fit_columns(table, ["y"])
    assert COLUMNS.validate_json(COLUMNS.dump_json(columns)) == columns
    x = to_inputs(columns, table)
    assert x.dtype == np.float64
    assert x.shape == (len(table["y"]), sum(column.width for column in columns.inputs))
    for (name, block), column in zip(blocks(columns), columns.inputs, strict=True):
        if column.categories is None:
            np.testing.assert_array_equal(x[:, block][:, 0], table[name])
        else:
            assert (np.array(column.categories)[x[:, block].argmax(axis=1)] == table[name]).all()
            assert (x[:, block].sum(axis=1) == 1).all()
    np.testing.assert_array_equal(to_targets(columns, table)[:, 0], table["y"])


@given(tables(), st.randoms())
@settings(max_examples=20, deadline=None)
def test_the_order_of_columns_and_rows_changes_nothing(table, random):
    columns, _ = fit_columns(table, ["y"])
    names, rows = list(table), list(range(len(table["y"])))
    random.shuffle(names)
    random.shuffle(rows)
    shuffled = {name: table[name][rows] for name in names}
    np.testing.assert_array_equal(to_inputs(columns, shuffled), to_inputs(columns, table)[rows])


def test_large_offsets_lose_no_digits():
    seconds = 1.7e9 + np.arange(8.0)
    columns, _ = fit_columns({"time": seconds, "y": np.arange(8.0)}, ["y"])
    np.testing.assert_array_equal(np.diff(to_inputs(columns, {"time": seconds})[:, 0]), np.ones(7))


def test_missing_numbers_become_the_median_and_are_marked():
    table = {"x": np.array([1.0, np.nan, 3.0, 5.0]), "y": np.arange(4.0)}
    with pytest.raises(TableError, match=r"column 'x', row 2: got nothing"):
        fit_columns(table, ["y"])
    columns, _ = fit_columns(table, ["y"], impute=True)
    np.testing.assert_array_equal(to_inputs(columns, table), [[1, 0], [3, 1], [3, 0], [5, 0]])
    with pytest.raises(TableError, match="target 'y', row 1"):
        to_targets(columns, {"x": table["x"], "y": np.full(4, np.nan)})


def test_missing_texts_are_a_category():
    table = {"c": text("a", None, "b", "a"), "y": np.arange(4.0)}
    columns, _ = fit_columns(table, ["y"], impute=True)
    assert columns.inputs[0].categories == ("(missing)", "a", "b")


def test_a_category_that_training_did_not_see():
    columns = Columns((Column("c", ("a", "b")),), ("y",))
    np.testing.assert_array_equal(to_inputs(columns, {"c": text("b", "z")}), [[0, 1], [0, 0]])
    assert "1 rows" in next(unseen(columns, {"c": text("b", "z")}))
    assert not list(unseen(columns, {"c": text("b", "a")}))


def test_numbers_can_be_categories_and_text_can_be_numbers():
    table = {"c": np.array([1.0, 2, 1, 2]), "t": text("1", " 2 ", "3.5", "1e3"), "y": np.arange(4.0)}
    columns, _ = fit_columns(table, ["y"], categorical=["c"])
    assert [column.categories for column in columns.inputs] == [("1", "2"), None]
    assert to_inputs(columns, table)[:, 2].tolist() == [1.0, 2.0, 3.5, 1000.0]


def test_constant_and_duplicate_columns_are_left_out_with_a_note():
    x = np.arange(5.0)
    columns, notes = fit_columns({"x": x, "one": np.ones(5), "again": x.copy(), "y": x**2}, ["y"])
    assert [column.name for column in columns.inputs] == ["x"]
    assert "'one'" in notes[0]
    assert "1 in every row" in notes[0]
    assert "'again' is left out: it is the same as 'x'" in notes[1]


def test_only_rows_of_training_determine_the_categories():
    table = {"c": text("a", "b", "a", "z"), "x": np.array([1.0, 2, 3, 1e6]), "y": np.arange(4.0)}
    columns, _ = fit_columns(table, ["y"], rows=np.array([0, 1, 2]))
    assert columns.inputs[0].categories == ("a", "b")


X = np.arange(6.0)
WRONG_TABLES = {
    "column 'price', row 3: got 'n/a?'": {"price": text("1", "2", "n/a?", "4", "5", "6"), "y": X},
    "column 'x', row 2: got inf": {"x": np.where(X == 1, np.inf, X), "y": X},
    "target 'y' is 2 in every row": {"x": X, "y": np.full(6, 2.0)},
    "no column is left": {"x": np.ones(6), "y": X},
    "expected one of 'x'": {"x": X, "target": X},
    "expected numbers or text": {"x": X.astype("datetime64[s]"), "y": X},
    "target 'y', row 2": {"x": X, "y": np.where(X == 1, np.nan, X)},
    "column 'y', row 1: got 'low'": {"x": X, "y": text("low", "high", "low", "low", "high", "low")},
    "30 different texts in 30 rows": {"x": text(*(f"n{i}" for i in range(30))), "y": np.arange(30.0)},
}


@pytest.mark.parametrize("expected", WRONG_TABLES)
def test_an_error_is_one_line_and_names_the_place(expected):
    with pytest.raises(TableError) as caught:
        fit_columns(WRONG_TABLES[expected], ["y"])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_suggests_the_nearest_name():
    with pytest.raises(TableError, match="did you mean 'income'"):
        fit_columns({"income": X, "y": X}, ["y"], ["incme"])


def test_a_column_of_a_model_must_be_there():
    with pytest.raises(TableError, match="got column 'b', expected one of 'a'"):
        to_inputs(Columns((Column("b"),), ("y",)), {"a": X})
