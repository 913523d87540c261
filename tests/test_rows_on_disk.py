"""Rows that stay on disk: training on them gives the same bits as in memory, also after an interruption."""

from typing import Any

import jax
import numpy as np
import pandas
import pytest

from experiments import reading
from experiments.command import UserError
from mdnjax.config.data import Table
from mdnjax.data.dataset import Dataset, joined
from mdnjax.data.stored import RowSource, StoreError
from mdnjax.fit_examples import make_config
from mdnjax.fitting import fit_networks
from mdnjax.training import functions, part_file
from mdnjax.training.feed import remove_files
from tests.commands import assert_one_line_error, run
from tests.test_tabular import FAST

NUM, NUM_VALIDATION = 300, 30
SETTINGS = [{"train.x_noise": 0.05, "model.scale_floor": 0.01}, {"train.x_noise": 0.3, "model.scale_floor": 0.1}]
CHANGES = {
    "model.experts": [],
    "model.embedding": "none",
    "model.hidden_sizes": [8],
    "model.num_components": 2,
    "ensemble.num_members": 2,
    "train.batch_size": 32,
    "train.num_steps": 60,
    "train.report_every": 10,
    "selection.settings": SETTINGS,
}


def rows_of(kind="plain"):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(NUM, 3))
    y = x[:, :1] * generator.choice([-1, 1], (NUM, 1)) + 0.1 * generator.normal(size=(NUM, 1))
    if kind == "lattice":
        y = np.rint(3 * y)
    if kind == "atoms":
        y = np.maximum(y, -0.3)
    if kind == "wild":
        y[[5, 290], 0] = 1e6, -1e5
    return Dataset(x, y)


def parts_of(rows):
    return Dataset(*(column[:-NUM_VALIDATION] for column in rows[:2])), Dataset(
        *(column[-NUM_VALIDATION:] for column in rows[:2])
    )


def source_of(rows, folder):
    """The same rows in another order, in chunks of different sizes."""
    order = np.random.default_rng(1).permutation(NUM)
    place = np.argsort(order)

    def chunks():
        for part in np.split(order, [1, 100, 250]):
            yield Dataset(rows.x[part], rows.y[part])

    return RowSource(NUM, place, NUM_VALIDATION, chunks, "rows", folder)


def assert_same_bits(found, expected):
    trees = [(fitted.population, fitted.predictor.networks, fitted.selected) for fitted in (found, expected)]
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("kind", ["plain", "lattice", "atoms", "wild"])
def test_training_on_stored_rows_has_the_same_bits_as_in_memory(tmp_path, monkeypatch, kind):
    if kind == "wild":  # also with first parameters that are fitted to some of the rows
        monkeypatch.setattr(functions, "MAX_START_ROWS", 100)
    config = make_config({**CHANGES, "data.rounding": "auto", "data.lattice": True, "data.atoms": "auto"}, "test")
    rows = rows_of(kind)
    expected = fit_networks(config, *parts_of(rows))
    assert expected.predictor.scaler.lattice.exists == (kind == "lattice")
    assert (expected.predictor.scaler.atoms is not None) == (kind == "atoms")
    assert_same_bits(fit_networks(config, *parts_of(rows), source=source_of(rows, tmp_path)), expected)
    remove_files(tmp_path)
    assert not tmp_path.exists()


def test_a_training_that_diverges_ends_at_the_same_state(tmp_path):
    settings = [SETTINGS[0], {**SETTINGS[1], "train.optimizer.learning_rate": 1e30}]
    config = make_config({**CHANGES, "selection.settings": settings, "selection.racing": False}, "test")
    rows = rows_of()
    with jax.enable_x64(False):
        expected = fit_networks(config, *parts_of(rows))
        found = fit_networks(config, *parts_of(rows), source=source_of(rows, tmp_path))
    assert expected.population.diverged.any()
    assert_same_bits(found, expected)


def test_an_interrupted_training_continues_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(part_file, "SECONDS", 0.0)
    config, rows, steps = make_config(CHANGES, "test"), rows_of(), list[int]()
    source = source_of(rows, tmp_path)

    def stop_at_30(report):
        if report.step == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_networks(config, *parts_of(rows), source=source, observe=stop_at_30)
    assert len(list(tmp_path.iterdir())) >= 2  # rows and trainings
    unread = source._replace(chunks=lambda: pytest.fail("the rows are stored already"))
    found = fit_networks(config, *parts_of(rows), source=unread, observe=lambda report: steps.append(report.step))
    assert min(steps) > 10
    assert_same_bits(found, fit_networks(config, *parts_of(rows)))


def test_a_file_of_rows_is_whole_or_absent(tmp_path):
    config, rows = make_config(CHANGES, "test"), rows_of()
    source = source_of(rows, tmp_path)

    def broken():
        yield rows
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"cannot write 4.8e-06 GB for 300 rows to .*: No space left on device"):
        fit_networks(config, *parts_of(rows), source=source._replace(chunks=broken))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        fit_networks(config, *parts_of(rows), source=source._replace(folder=tmp_path / "file"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"train.batch_size": None}, "train.batch_size null"), ({"data.censored": [None, 1.0]}, "data.censored")],
)
def test_what_needs_all_rows_is_refused(tmp_path, changes, message):
    rows = rows_of()
    with pytest.raises(StoreError, match=message):
        fit_networks(make_config({**CHANGES, **changes}, "test"), *parts_of(rows), source=source_of(rows, tmp_path))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three Parquet files with numbers, a category, missing values and a date, one of them empty."""
    folder, generator = tmp_path_factory.mktemp("parts"), np.random.default_rng(0)
    frame = pandas.DataFrame({"a": generator.normal(size=NUM), "b": generator.normal(size=NUM)})
    frame["kind"], frame["n"] = generator.choice(["u", "v", "w"], NUM), pandas.array(np.arange(NUM) % 7, "Int64")
    frame["day"] = pandas.date_range("2024-01-01", periods=NUM)
    frame["y"] = np.sin(2 * frame["a"]) + 0.1 * generator.normal(size=NUM)
    frame.loc[200, "n"] = pandas.NA
    for number, rows in enumerate((slice(120), slice(0), slice(120, None))):
        frame[rows].to_parquet(folder / f"part{number}.parquet", row_group_size=50)
    return folder


def section(files, **changes):
    return Table(path=str(files / "*.parquet"), target=("y",), missing="impute", **changes)


def test_a_pattern_of_files_is_one_table_in_memory_and_on_disk(files):
    expected = reading.read_table(section(files, in_memory=True), 3)
    found = reading.read_stored_table(section(files, in_memory=False), 3, files / "out")
    assert found.columns == expected.columns
    assert found.source is not None
    for part, other in zip(found.splits, expected.splits, strict=True):
        np.testing.assert_array_equal(part.x, other.x)
        np.testing.assert_array_equal(part.y, other.y)
    whole = joined(*found.source.chunks())
    known = joined(*expected.splits[:2])
    np.testing.assert_array_equal(whole.x[found.source.order], known.x)
    np.testing.assert_array_equal(whole.y[found.source.order], known.y)
    assert found.source.num_validation == len(expected.splits.validation.x)
    assert set(expected.notes) < set(found.notes)


def test_a_large_table_is_known_by_some_of_its_rows(files, monkeypatch):
    monkeypatch.setattr(reading, "MIN_ROWS_OF_STATISTICS", 100)
    monkeypatch.setattr(reading, "MAX_NUMBERS", 0)
    found = reading.read_stored_table(section(files, in_memory=False, max_validation_rows=20), 3, files / "out")
    assert found.source is not None
    assert found.sizes == (250, 20, 30)
    assert [len(rows) for rows in found.rows] == [len(part.x) for part in found.splits] == [63, 10, 10]
    assert any("those of 83 of these rows" in note for note in found.notes)
    whole = joined(*found.source.chunks())
    for rows, part in zip(found.rows, found.splits, strict=True):
        np.testing.assert_array_equal(whole.y[rows], part.y)
    assert not {*found.rows.test.tolist()} & {*found.source.order.tolist()}


def test_the_command_gives_the_same_metrics_for_rows_on_disk(files, tmp_path):
    words = [f"data.path={files}/*.parquet", "data.target=y", "data.missing=impute", *FAST]
    for name in ("true", "false"):
        done = run("tabular", *words, f"data.in_memory={name}", f"output={tmp_path / name}")
        assert done.returncode == 0, done.stderr
    assert "note: 300 rows in 3 files are read from disk: 243 for training, 27 for validation, 30 for testing" in done.stdout
    assert (tmp_path / "true" / "metrics.json").read_bytes() == (tmp_path / "false" / "metrics.json").read_bytes()
    assert not [path for path in (tmp_path / "false").iterdir() if path.name.startswith(".")]


def bad_value(folder, files):
    folder.mkdir()
    for path in files.glob("*.parquet"):
        frame: Any = pandas.read_parquet(path)
        frame["y"] = np.where(frame["day"] == "2024-05-10", np.inf, frame["y"])  # the tenth row of the third file
        frame.to_parquet(folder / path.name)
    return folder


def other_columns(folder, files):
    folder.mkdir()
    for path in files.glob("*.parquet"):
        frame: Any = pandas.read_parquet(path)
        frame.drop(columns=["b"] if "part2" in path.name else []).to_parquet(folder / path.name)
    return folder


def test_mistakes_are_one_line(files, tmp_path, monkeypatch):
    for changes, message in (
        ({"path": str(tmp_path / "*.parquet")}, "no file matches"),
        ({"path": str(tmp_path / "t.csv"), "in_memory": False}, "expected Parquet files"),
        ({"in_memory": False, "weight": "a"}, "data.weight: got 'a', which needs all rows in memory"),
        (
            {"path": str(other_columns(tmp_path / "other", files) / "*.parquet")},
            "part2.parquet: it lacks column 'b', expected the columns of",
        ),
    ):
        with pytest.raises(UserError, match=message):
            reading.read_stored_table(section(files).model_copy(update=changes), 0, tmp_path)
    with pytest.raises(UserError, match=r"data.in_memory: got false, which only experiments.tabular can do"):
        reading.read_table(section(files, in_memory=False), 0)
    words = ["tabular", f"data.path={files}/*.parquet", "data.target=y", "data.missing=impute", "data.in_memory=false", *FAST]
    (tmp_path / "file").touch()
    assert_one_line_error(run(*words, f"data.scratch={tmp_path / 'file'}", f"output={tmp_path / 'out'}"), "data: cannot write")
    monkeypatch.setattr(reading, "MIN_ROWS_OF_STATISTICS", 40)  # so that the wrong value is not among the known rows
    monkeypatch.setattr(reading, "MAX_NUMBERS", 0)
    words[1] = f"data.path={bad_value(tmp_path / 'bad', files)}/*.parquet"
    assert_one_line_error(run(*words, f"output={tmp_path / 'out2'}"), "part2.parquet: column 'y', row 11: got inf")
