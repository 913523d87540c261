"""Splits of a table are disjoint and complete, and columns that split it are no inputs."""

import numpy as np
import pandas
import pytest

from experiments.command import UserError
from experiments.reading import read_table
from experiments.reading.splits import split_rows
from mdnjax.config.data import Table
from tests.tables import FRAME, NUM, written

SPLITS = [("random", None), ("grouped", "group"), ("time", "day"), ("time", None), ("named", "part"), ("rows", "test.txt")]


@pytest.mark.parametrize(("split", "by"), SPLITS, ids=str)
def test_a_split_is_disjoint_and_complete(tmp_path, split, by):
    path = written(tmp_path, FRAME, "t.csv")
    (tmp_path / "test.txt").write_text("3\n5 58\n")
    by = str(tmp_path / by) if by == "test.txt" else by
    found = read_table(Table(path=str(path), target=("y",), features=("x", "kind"), split=split, split_by=by), 0)
    assert sorted(np.concatenate(found.rows)) == list(range(NUM))
    assert all(len(rows) for rows in found.rows)
    group = FRAME["group"].to_numpy()
    if split == "grouped":
        assert not set(group[found.rows.test]) & set(group[np.concatenate(found.rows[:2])])
        assert len(np.unique(group[found.rows.validation])) <= 3  # rows of a group stay adjacent
    if split == "time":
        latest = -1 if by else 1
        assert (latest * found.rows.test).min() > (latest * np.concatenate(found.rows[:2])).max()
        assert (latest * found.rows.validation).min() > (latest * found.rows.train).max()
    if split == "named":
        assert (FRAME["part"].to_numpy()[found.rows.test] == "test").all()
        assert (FRAME["part"].to_numpy()[found.rows.validation] == "validation").all()
    if split == "rows":
        assert found.rows.test.tolist() == [3, 5, 58]


def test_a_nested_split_leaves_out_the_test_rows():
    plain, nested = (split_rows(Table(nested=nested), {}, 100, 3) for nested in (False, True))
    assert not set(plain.test) & set(np.concatenate(nested))
    assert sorted(np.concatenate(nested)) == sorted(np.concatenate(plain[:2]))
    assert len(nested.test) == len(plain.test)


def test_a_random_split_depends_on_the_seed_alone():
    first, same, other = (split_rows(Table(), {}, 100, seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert set(first.test) != set(other.test)


def test_dates_split_in_the_order_of_time_in_every_notation(tmp_path):
    days = pandas.date_range("2024-09-20", periods=NUM)[::-1]
    for texts in ([f"{day.year}/{day.month}/{day.day}" for day in days], days):
        path = written(tmp_path, FRAME[["x", "y"]].assign(day=texts), "t.csv")
        rows = read_table(Table(path=str(path), target=("y",), split="time", split_by="day"), 0).rows
        assert sorted(rows.test) == list(range(6))
    for texts, expected in (([f"{day:%d.%m.%Y}" for day in days], "day and month"), ([None, *days[1:]], "row 1: got nothing")):
        path = written(tmp_path, FRAME[["x", "y"]].assign(day=texts), "t.csv")
        with pytest.raises(UserError, match=expected):
            read_table(Table(path=str(path), target=("y",), split="time", split_by="day"), 0)


def test_the_column_that_splits_is_no_input_by_default(tmp_path):
    path = written(tmp_path, FRAME, "t.csv")
    found = read_table(Table(path=str(path), target=("y",), split="time", split_by="day"), 0)
    assert "day" not in [column.name for column in found.columns.inputs]


def test_columns_that_are_left_out_are_no_inputs(tmp_path):
    path = written(tmp_path, FRAME, "t.csv")
    by_default = read_table(Table(path=str(path), target=("y",)), 0).columns.inputs
    assert [column.name for column in by_default] == ["x", "kind", "group", "day", "part"]
    found = read_table(Table(path=str(path), target=("y",), leave_out=("part", "day"), split="grouped", split_by="group"), 0)
    assert [column.name for column in found.columns.inputs] == ["x", "kind"]
