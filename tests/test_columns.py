"""Columns of tables: numbers, categories, missing values, and the errors for tables that cannot be used."""

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mdnjax.data.columns import Column, Columns, blocks, input_labels, to_inputs, to_targets, unseen
from mdnjax.data.kinds import fit_columns
from mdnjax.data.values import TableError, days_of
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
    "expected numbers, dates or text": {"x": X.astype("timedelta64[s]"), "y": X},
    "column 'day', row 2: got '2024-02-30', expected a date such as 2024-03-01 or 2024-03-01 12:30, as in 5 other rows": {
        "day": text("2024-02-01", "2024-02-30", "2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"),
        "y": X,
    },
    "got '01/02/2024', a date whose day and month can be confused": {"day": text(*["01/02/2024", "13/02/2024"] * 3), "y": X},
    "column 'y', row 1: got the date '2024-03-01'": {"x": X, "y": X.astype("datetime64[D]") + np.timedelta64(19783, "D")},
    "got '1,5', expected a number with a decimal point": {"x": text("1,5", "2,25", "3", "4,1", "5,0", "6"), "y": X},
    "column 'x', row 3: got 'rotary', expected a number as in 4 other rows (2 rows with 'rotary')": {
        "x": text("1", "2", "rotary", "4", "rotary", "6"),
        "y": X,
    },
    "column 'x', row 2: got '1_000', expected a number as in 5 other rows": {"x": text("1", "1_000", "2", "3", "4", "5"), "y": X},
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
        fit_columns({"income": X, "y": X}, ["y"], leave_out=["incme"])
    with pytest.raises(TableError, match="did you mean 'income'"):
        fit_columns({"income": X, "y": X}, ["y"], ["incme"])


NUM = 60
DAYS = np.datetime64("2023-12-20") + np.arange(NUM) * 5
Y = np.sin(np.arange(NUM))


def test_dates_become_days_season_weekday_and_time_of_day():
    """The oracle is the calendar of the standard library."""
    hours = np.arange(NUM) % 24
    times = DAYS.astype("datetime64[m]") + hours * np.timedelta64(60, "m")
    columns, notes = fit_columns({"day": DAYS, "time": times, "y": Y}, ["y"])
    assert notes == []
    assert [column.dates for column in columns.inputs] == ["day", "time"]
    x = to_inputs(columns, {"day": DAYS, "time": times})
    assert x.shape == (NUM, columns.inputs[0].width + columns.inputs[1].width)
    dates = [datetime.date.fromisoformat(str(day)) for day in DAYS]
    np.testing.assert_array_equal(x[:, 0], [(date - datetime.date(1970, 1, 1)).days for date in dates])
    angle = np.array([2 * np.pi * (date.timetuple().tm_yday - 1) / 365.2425 for date in dates])
    two_days = 2 * np.pi * 2 / 365
    np.testing.assert_allclose(x[:, 1:3], np.stack([np.sin(angle), np.cos(angle)], axis=1), atol=two_days)
    np.testing.assert_array_equal(x[:, 3:10].argmax(axis=1), [date.weekday() for date in dates])
    assert (x[:, 3:10].sum(axis=1) == 1).all()
    np.testing.assert_allclose(x[:, 10], x[:, 0] + hours / 24, rtol=1e-15)
    clock = 2 * np.pi * hours / 24
    np.testing.assert_allclose(x[:, 20:], np.stack([np.sin(clock), np.cos(clock)], axis=1), atol=1e-9)


def test_a_date_is_the_same_date_in_every_notation():
    day = 19783.5
    values = [np.datetime64("2024-03-01T12:00"), datetime.datetime(2024, 3, 1, 12), "2024-03-01 12:00", "2024/3/1T12:00:00.000"]
    values += ["2024-03-01T14:00+02:00", "2024-03-01 12:00:00Z", b"2024-03-01 12:00", " 2024-03-01 06:30-0530 "]
    values += [datetime.datetime(2024, 3, 1, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))]
    assert days_of({"d": text(*values)}, "d").tolist() == [day] * len(values)
    assert days_of({"d": text(datetime.date(2024, 3, 1), "2024-03-01", "1969-12-31")}, "d").tolist() == [19783, 19783, -1]
    for wrong in (19783, "2024-13-01", "24-03-01", "01/02/2024", "2024-03-01 25:00", True, "March"):
        with pytest.raises(TableError, match="expected a date such as 2024-03-01"):
            days_of({"d": text(wrong)}, "d")


def test_missing_dates_become_a_day_that_occurs_and_are_marked():
    days = DAYS.copy()
    days[4] = "NaT"
    with pytest.raises(TableError, match="column 'day', row 5: got nothing"):
        fit_columns({"day": days, "y": Y}, ["y"])
    columns, _ = fit_columns({"day": days, "y": Y}, ["y"], impute=True)
    x = to_inputs(columns, {"day": days})
    assert x[4, -1] == 1
    assert x[4, 0] in x[5:, 0]
    assert input_labels(columns)[3] == "day, Monday"
    assert len(input_labels(columns)) == x.shape[1]


def test_what_only_counts_or_names_the_rows_is_left_out_unless_it_is_asked_for():
    count, names = np.arange(NUM) + 1, text(*(f"car {i}" for i in range(NUM)))
    names[7] = None
    for name in ("", "Unnamed: 0", "rownames", "id", "X", "index"):
        table = {name: count, "car": names, "x": Y + 1, "y": Y}
        columns, (first, second) = fit_columns(table, ["y"])
        assert [column.name for column in columns.inputs] == ["x"]
        assert first.startswith(f"column {name!r} is left out: it only counts the rows")
        assert second.startswith("column 'car' is left out: it has 60 different texts in 60 rows, such as 'car 0'")
        assert fit_columns(table, ["y"], leave_out=[name, "car"])[1] == []
        assert len(fit_columns(table, ["y"], [name, "x"])[0].inputs) == 2
        assert len(fit_columns(table, ["y"], categorical=["car"], impute=True)[0].inputs[0].categories or ()) == NUM
    columns, (note,) = fit_columns({"visit": count, "x": Y + 1, "y": Y}, ["y"])
    assert note.startswith("column 'visit' counts the rows")
    assert len(columns.inputs) == 2
    assert len(fit_columns({"id": count, "y": Y}, ["y"])[0].inputs) == 1  # the only input
    assert fit_columns({"id": count[::-1], "x": Y + 1, "y": Y}, ["y"])[1] == []


def test_few_numbers_with_a_word_among_them_are_categories():
    cylinders = text(*["3", "4", "6", "8"] * 14, "rotary", "4", "6", "rotary")
    columns, (note,) = fit_columns({"cylinders": cylinders, "y": Y}, ["y"])
    assert columns.inputs[0].categories == ("3", "4", "6", "8", "rotary")
    assert "in 2 rows words, such as 'rotary'" in note
    np.testing.assert_array_equal(to_inputs(columns, {"cylinders": text(6, 4.0, "rotary")}).argmax(axis=1), [2, 1, 4])


def test_a_column_of_a_model_must_be_there():
    with pytest.raises(TableError, match="got no column 'b', which the model needs, but 'a'"):
        to_inputs(Columns((Column("b"),), ("y",)), {"a": X})
