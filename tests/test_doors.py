"""Predictions do not depend on the format of a row: array, dictionary, data frame, or file, alone or among others."""

import jax
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from experiments.command import UserError
from experiments.predict.writing import table_writer
from experiments.reading import files
from mdnjax.data import Dataset
from mdnjax.data.columns import Column, Columns, to_inputs, to_targets
from mdnjax.data.kinds import fit_columns
from tests.commands import assert_one_line_error, run
from tests.predictors import few_trees, random_predictor  # noqa: F401 (a fixture)

NUM = 40
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "year": 1.7e9 + 1000.0 * np.arange(NUM),
        "size": np.where(np.arange(NUM) % 9 == 3, np.nan, RNG.normal(5, 2, NUM)),
        "smoker": ["True", "False", "unknown", "True"] * 10,
        "code": ["01", "02", "2A", "1.0"] * 10,
        "when": pandas.Timestamp("2024-02-20 06:30")
        + pandas.to_timedelta(np.where(np.arange(NUM) % 11 == 5, np.nan, 17.25 * np.arange(NUM)), "h"),
        "price": 1.7e9 + 40.0 * RNG.normal(size=NUM),
    }
)
INPUTS = FRAME.drop(columns="price")


def table_of(frame):
    return {str(name): column.to_numpy() for name, column in frame.items()}


@pytest.fixture(scope="module")
def predictor():
    table = table_of(FRAME)
    columns, _ = fit_columns(table, ["price"], impute=True, categorical=["code"])
    return random_predictor(Dataset(to_inputs(columns, table), to_targets(columns, table)), columns)


@pytest.fixture(scope="module")
def expected(predictor):
    return predictor.mean(FRAME)[:, 0]


def assert_same(predictor, found, expected):
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-6 * float(predictor.scaler.y_factor[0]), rtol=0)


FORMATS = {
    "dict": table_of,
    "array": lambda frame: frame.to_numpy(object),
    "list of lists": lambda frame: frame.to_numpy(object).tolist(),
    "other order and other columns": lambda frame: frame[frame.columns[::-1]].assign(more=1),
    "text of everything": lambda frame: frame.astype(str).replace({"nan": "", "NaT": ""}),
    "pandas categories": lambda frame: frame.astype({"smoker": "category", "code": "category"}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_has_the_same_mean_in_every_format(predictor, expected, name):
    assert_same(predictor, predictor.mean(FORMATS[name](INPUTS))[:, 0], expected)


@pytest.mark.parametrize("size", [1, 7])
def test_a_row_has_the_same_mean_alone_and_among_others(predictor, expected, size):
    found = [predictor.mean(INPUTS[start : start + size])[:, 0] for start in range(0, NUM, size)]
    assert_same(predictor, np.concatenate(found), expected)


GERMAN = files.TextFormat(";", (), ",", "latin-1")
FILES = [(name, files.PLAIN) for name in ("t.csv", "t.tsv", "t.parquet", "t.npz")] + [("t.csv", GERMAN)]


@pytest.mark.parametrize(("name", "text_format"), FILES, ids=[*(name for name, _ in FILES[:-1]), "decimal comma"])
def test_a_row_has_the_same_mean_from_every_file(predictor, expected, name, text_format, tmp_path):
    """The file is read whole, in chunks, and without the rows that have other spellings of a category."""
    texts = ("smoker", "code")
    for rows in (np.arange(NUM), np.flatnonzero(FRAME["smoker"] != "unknown"), np.flatnonzero(FRAME["code"].isin(["01", "02"]))):
        path, frame = tmp_path / name, INPUTS.iloc[rows]
        if name.endswith(".parquet"):
            frame.to_parquet(path)
        elif name.endswith(".npz"):
            np.savez(path, **{key: column.to_numpy(str if key in texts else None) for key, column in frame.items()})
        else:
            separator = text_format.delimiter or ("\t" if name.endswith(".tsv") else ",")
            frame.to_csv(path, index=False, sep=separator, decimal=text_format.decimal, encoding=text_format.encoding)
        for size in (1000, 3):
            chunks = files.read_chunks(path, text_format, size, texts)
            assert_same(predictor, np.concatenate([predictor.mean(chunk)[:, 0] for chunk in chunks]), expected[rows])


def test_a_row_has_the_same_mean_from_a_saved_and_an_exported_model_and_by_command(predictor, expected, tmp_path):
    mdn.save(tmp_path / "m.safetensors", predictor)
    loaded = mdn.load(tmp_path / "m.safetensors")
    assert_same(predictor, loaded.mean(INPUTS)[:, 0], expected)
    program = jax.export.deserialize(bytearray(mdn.export_model(loaded)))
    texts = [column.categories and list(column.categories) for column in loaded.columns.inputs]
    numbers = [
        [known.index(value) if known else value for value, known in zip(row, texts, strict=True)]
        for row in INPUTS.assign(when=(INPUTS["when"] - pandas.Timestamp(0)) / pandas.Timedelta(1, "D")).to_numpy()
    ]
    assert_same(predictor, np.asarray(program.call(np.array(numbers, np.float64))["mean"])[:, 0], expected)
    INPUTS.to_csv(tmp_path / "new.csv", index=False)
    INPUTS.assign(größe=1.5).to_csv(tmp_path / "german.csv", index=False, sep=";", decimal=",", encoding="latin-1")
    german = ["delimiter=;", "decimal=,", "encoding=latin-1"]
    for name, options in (("new.csv", []), ("new.csv", ["chunk_rows=7"]), ("german.csv", german)):
        words = [tmp_path / "m.safetensors", tmp_path / name, f"output={tmp_path / 'p.csv'}", "quantiles=[]", *options]
        done = run("predict", *words, "--overwrite")
        assert done.returncode == 0, done.stderr
        assert_same(predictor, pandas.read_csv(tmp_path / "p.csv")["mean"].to_numpy(), expected)
    words = [tmp_path / "m.safetensors", tmp_path / "german.csv", f"output={tmp_path / 'q.csv'}"]
    assert_one_line_error(run("predict", *words, "delimiter=;"), "got bytes that are not UTF-8 text", "set encoding=latin-1")
    assert_one_line_error(
        run("predict", *words, *german[:1], *german[2:]), "column 'year', row 1: got '1700000000,0'", "set decimal=,"
    )


def test_a_named_index_of_a_file_is_a_column(tmp_path):
    FRAME.set_index("year").to_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(files.read_file(tmp_path / "t.parquet")["year"], FRAME["year"])


def test_an_unnamed_index_that_counts_the_rows_is_left_out_with_a_note(tmp_path):
    for name, write in (("t.csv", FRAME.to_csv), ("t.parquet", FRAME.iloc[::-1].iloc[::-1].to_parquet)):
        write(tmp_path / name)
        columns, notes = fit_columns(files.read_file(tmp_path / name), ["price"], impute=True, categorical=["code"])
        assert [column.name for column in columns.inputs] == list(INPUTS)
        assert any("counts the rows" in note for note in notes) or name.endswith("parquet")


def test_columns_that_would_overwrite_each_other_are_refused(predictor, tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros((5, 2)), x_0=np.ones(5))
    with pytest.raises(ValueError, match="got column 'x_0' twice"):
        files.read_file(tmp_path / "t.npz")
    mdn.save(tmp_path / "m.safetensors", predictor)
    INPUTS.assign(mean=1).to_csv(tmp_path / "new.csv", index=False)
    words = [tmp_path / "m.safetensors", tmp_path / "new.csv", f"output={tmp_path / 'p.csv'}", "keep=[mean]"]
    assert_one_line_error(run("predict", *words), "keep: got 'mean', which is the name of a column of the predictions")
    assert not (tmp_path / "p.csv").exists()


def test_an_error_names_the_row_of_the_file(predictor, tmp_path):
    mdn.save(tmp_path / "m.safetensors", predictor)
    INPUTS.assign(year=np.where(np.arange(NUM) == 25, np.inf, INPUTS["year"])).to_csv(tmp_path / "new.csv", index=False)
    words = [tmp_path / "m.safetensors", tmp_path / "new.csv", f"output={tmp_path / 'p.csv'}", "chunk_rows=7"]
    last = run("predict", *words).stderr.splitlines()[-1]  # after the progress of the first chunks
    assert last.endswith("new.csv: column 'year', row 26: got inf, expected a finite number")


def test_a_target_that_float32_cannot_hold_is_refused_as_a_mixture(predictor):
    with pytest.raises(ValueError, match="float32 cannot hold this mixture in the target's own units"):
        predictor(INPUTS)
    relative = predictor.relative(INPUTS)
    np.testing.assert_allclose(predictor.absolute(np.asarray(mdn.mean(relative))), predictor.mean(INPUTS), rtol=1e-12)


TRUTH_VALUES = {"True": [True, 1, 1.0, "TRUE", "true", " True ", np.True_, np.float32(1)], "False": [False, 0, "FALSE", 0.0]}
TEXTS = {"1": [1, 1.0, "1", "1.0", b"1", np.int8(1), np.float32(1)], "01": ["01"], "0.1": [0.1, np.float32(0.1), "0.1"]}
TEXTS |= {"(missing)": [None, np.nan, "", pandas.NA, pandas.NaT, np.float64("nan")]}


@pytest.mark.parametrize(
    "values_of", [TRUTH_VALUES, TEXTS, {"1.0": [1, 1.0, "1", "1.0"], "2A": ["2A", b"2A"]}], ids=lambda values: str([*values])
)
def test_a_value_is_the_same_category_as_every_type(values_of):
    columns = Columns((Column("c", tuple(values_of)),), ("y",))
    for index, (category, values) in enumerate(values_of.items()):
        for value in values:
            for array in (np.array([value, "other"], object), np.array([value])):
                found = to_inputs(columns, {"c": array})[0]
                assert found.tolist() == [float(i == index) for i in range(len(values_of))], (category, value)
    assert not to_inputs(columns, {"c": np.array(["other", 7], object)}).any()


def test_a_file_that_is_not_there_is_named_and_a_header_without_rows_gives_a_header(predictor, tmp_path):
    mdn.save(tmp_path / "m.safetensors", predictor)
    INPUTS.iloc[:0].to_csv(tmp_path / "none.csv", index=False)
    INPUTS.iloc[:0].to_parquet(tmp_path / "none.parquet")
    for name in ("none.csv", "none.parquet"):
        done = run("predict", tmp_path / "m.safetensors", tmp_path / name, f"output={tmp_path / 'p.csv'}", "--overwrite")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "p.csv").read_text() == "mean,sd,quantile_0.05,quantile_0.5,quantile_0.95\n"
    done = run("predict", tmp_path / "m.safetensors", tmp_path / "no.csv", f"output={tmp_path / 'q.csv'}")
    assert_one_line_error(done, "cannot read", "no.csv")
    done = run("predict", tmp_path, tmp_path / "none.csv", f"output={tmp_path / 'q.csv'}")
    assert_one_line_error(done, "got a folder, expected a file, such as", "m.safetensors")
    assert not (tmp_path / "q.csv").exists()


def test_copied_columns_are_written_unchanged(predictor, tmp_path):
    mdn.save(tmp_path / "m.safetensors", predictor)
    INPUTS.assign(id=[f"00{i}" for i in range(NUM)]).to_csv(tmp_path / "new.csv", index=False)
    words = [tmp_path / "m.safetensors", tmp_path / "new.csv", f"output={tmp_path / 'p.csv'}", "keep=[id]", "chunk_rows=7"]
    assert run("predict", *words).returncode == 0
    assert pandas.read_csv(tmp_path / "p.csv", dtype=str)["id"].tolist() == [f"00{i}" for i in range(NUM)]


def test_copied_columns_may_change_their_type_within_the_file(predictor, tmp_path):
    """A column of a Parquet file has one type: it is text if the chunks of a text file have several types."""
    mdn.save(tmp_path / "m.safetensors", predictor)
    names = [str(i) if i < 10 else f"a{i}" for i in range(NUM)]
    INPUTS.assign(id=names, number=range(NUM)).to_csv(tmp_path / "new.csv", index=False)
    words = [tmp_path / "m.safetensors", tmp_path / "new.csv", f"output={tmp_path / 'p.parquet'}", "chunk_rows=7"]
    assert run("predict", *words, "keep=[id,number]").returncode == 0
    written = pandas.read_parquet(tmp_path / "p.parquet")
    assert written["id"].tolist() == names
    assert written["number"].tolist() == list(range(NUM))


def test_predictions_that_another_command_wrote_meanwhile_are_not_replaced(tmp_path):
    path = tmp_path / "p.csv"

    def write_into(overwrite):
        with table_writer(path, overwrite) as write:
            write({"mean": np.zeros(1)})
            path.write_text("mean\n1\n")

    with pytest.raises(UserError, match=r"p\.csv already exists"):
        write_into(overwrite=False)
    assert path.read_text() == "mean\n1\n"
    write_into(overwrite=True)
    assert path.read_text() == "mean\n0.0\n"
    assert [*tmp_path.iterdir()] == [path]
