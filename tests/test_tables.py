"""Files of tables: all formats give the same rows, and a bad file is a one-line error."""

import gzip
import zipfile

import numpy as np
import pandas
import pytest

from experiments.command import UserError
from experiments.reading import files, read_table
from mdnjax.config.data import Table
from mdnjax.data.values import TableError
from tests.tables import FRAME, NUM, written


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.npz"])
def test_every_format_holds_the_same_table(tmp_path, name):
    frame = FRAME[["x", "y"]] if name == "t.npz" else FRAME
    path = written(tmp_path, frame, name)
    table = files.read_file(path)
    assert list(table) == list(frame)
    np.testing.assert_allclose(table["x"], FRAME["x"])
    whole = {key: np.concatenate([chunk[key] for chunk in files.read_chunks(path, files.PLAIN, 7)]) for key in table}
    for key, values in table.items():
        assert (whole[key] == values).all()


def test_columns_without_names_get_their_number_as_name(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(f"{i} {i**2}  {i % 3}" for i in range(20)))
    found = read_table(Table(path=str(tmp_path / "t.txt"), target=("1",)), 0)
    assert [column.name for column in found.columns.inputs] == ["0", "2"]


def test_the_name_of_an_array_selects_all_its_columns(tmp_path):
    np.savez(
        tmp_path / "t.npz", theta=np.random.default_rng(0).normal(size=(30, 2)), x=np.random.default_rng(1).normal(size=(30, 3))
    )
    found = read_table(Table(path=str(tmp_path / "t.npz"), target=("theta",)), 0)
    assert found.columns.targets == ("theta_0", "theta_1")
    assert found.splits.train.x.shape[1] == 3


ROWS = "".join(f"{i},{i % 7}\n" for i in range(20))
BAD = {
    "empty file": ("t.csv", ""),
    "got no rows": ("t.csv", "x,y\n"),
    "got 1 row": ("t.csv", "x,y\n1,2\n"),
    "twice in the header": ("t.csv", "x,x\n" + ROWS),
    "got column '' twice in the header": ("t.csv", ",\n" + ROWS),
    "more fields than the header": ("t.csv", "x,y\n" + ROWS.replace("\n", ",5\n")),
    "line 5 has 3 fields": ("t.csv", "x,y\n1,2\n1,2\n1,2\n1,2,3\n" + ROWS),
    "data.delimiter=';'": ("t.csv", "x;y\n" + ROWS.replace(",", ";")),
    "separated by ';'": ("t.csv", "x;size, m;y\n" + ROWS.replace(",", ";1;")),
    "data.delimiter=';' and, as the numbers have a decimal comma, data.decimal=,": (
        "t.csv",
        "x;y\n" + ROWS.replace(",", ",5;"),
    ),
    "set data.encoding=latin-1": ("t.csv", "größe,y\n1,2\n".encode("latin-1") + ROWS.encode()),
    "set data.encoding=utf-16": ("t.csv", ("x,y\n" + ROWS).encode("utf-16")),
    "data.leave_out=['x'] or data.categorical=['x']": ("t.csv", "x,y\n" + "13.02.2024,1\n14.02.24,2\n" * 9),
    'set data.missing_values=["oops"] and data.missing=impute; if it is a category, set data.categorical=["x"]': (
        "t.csv",
        "x,y\n" + ROWS + "oops,1\n",
    ),
    "if '?' means a missing value, set data.missing_values=[\"?\"]": (
        "t.csv",
        "x,y\n" + "2024-03-01,1\n2024-03-02,2\n" * 9 + "?,1\n",
    ),
    "not UTF-8": ("t.csv", b"x,y\n\xff\xfe,1\n" + ROWS.encode()),
    "not a Parquet file": ("t.parquet", "nonsense"),
    "not an NPZ file": ("t.npz", "nonsense"),
    "got a name that ends in '.xlsx'": ("t.xlsx", "nonsense"),
    "row 21: got 'oops', expected a number": ("t.csv", "x,y\n" + ROWS + "oops,1\n"),
    "got inf": ("t.csv", "x,y\n" + ROWS + "inf,1\n"),
}


@pytest.mark.parametrize("expected", BAD)
def test_a_bad_file_is_one_line(tmp_path, expected):
    name, content = BAD[expected]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises((UserError, TableError)) as caught:
        read_table(Table(path=str(path), target=("y",)), 0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hundred_columns_with_the_wrong_delimiter_are_not_printed(tmp_path):
    (tmp_path / "t.csv").write_text("\t".join(f"column_{i}" for i in range(100)) + "\n" + "\t".join("1" * 100) + "\n")
    with pytest.raises(UserError) as caught:
        read_table(Table(path=str(tmp_path / "t.csv"), target=("column_3",)), 0)
    assert len(str(caught.value)) < 400
    assert "data.delimiter='tab'" in str(caught.value)
    assert len(files.read_file(tmp_path / "t.csv", files.TextFormat("tab"))) == 100


def test_an_error_names_the_nearest_file(tmp_path):
    written(tmp_path, FRAME, "houses.csv")
    with pytest.raises(UserError, match=r"did you mean .*houses\.csv"):
        files.read_file(tmp_path / "house.csv")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": ("yy",)}, "did you mean 'y'"),
        ({"target": ("y",), "features": ("x", "y")}, "both target and input"),
        ({"target": ("y",), "split": "grouped", "split_by": "grp"}, "did you mean 'group'"),
        ({"target": ("y",), "split": "named", "split_by": "kind"}, "got 'a' in column 'kind'"),
        ({"target": ("y",), "split": "rows", "split_by": "no.txt"}, "cannot read row numbers"),
        ({"target": ("y",), "test_share": 0.999}, "expected at least 1 and 3"),
        ({"target": ("y",), "features": ("name",)}, "54 different texts in 54 rows"),
        ({"target": ("y",), "leave_out": ("grp",)}, "did you mean 'group'"),
        ({"target": ("day",)}, "column 'day', row 1: got the date '2024-02-29'"),
        ({"target": ()}, "data.target: got nothing"),
    ],
)
def test_a_bad_configuration_is_one_line(tmp_path, changes, expected):
    path = written(tmp_path, FRAME.assign(name=[f"n{i}" for i in range(NUM)]), "t.csv")
    with pytest.raises(UserError) as caught:
        read_table(Table(path=str(path)).model_copy(update=changes), 0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_and_notes_name_the_row_of_the_file_for_every_split(tmp_path):
    frame = FRAME[["x", "y"]].assign(z=np.cos(np.arange(NUM)))
    path = written(tmp_path, frame.assign(y=np.where(np.arange(NUM) == 41, -2.0, 1.0 + frame["y"] ** 2)), "t.csv")
    with pytest.raises(UserError, match=r"target 'y', row 42: got -2, expected 0 < y < inf \(data.target_support\)"):
        read_table(Table(path=str(path), target=("y",), target_support="positive"), 0)
    path = written(tmp_path, frame.assign(z=np.where(np.arange(NUM) == 58, 1e39, frame["z"])), "t.csv")
    words = r"column 'z', row 59: got 1e\+39, expected a number within 1e\+18 standard deviations"
    with pytest.raises(UserError, match=words):
        read_table(Table(path=str(path), target=("y",), split="time"), 0)
    path = written(tmp_path, frame.assign(z=np.where(np.arange(NUM) == 7, 1e9, frame["z"])), "t.csv")
    for seed in range(3):
        notes = read_table(Table(path=str(path), target=("y",)), seed).notes
        assert notes[0].startswith("input 'z' is 1e+09 in row 8, ")


def test_codes_and_copies_are_noted_for_the_whole_file(tmp_path):
    age = np.where(np.arange(NUM) % 9 == 2, 999, np.arange(NUM) * 37 % 61)
    frame = pandas.DataFrame({"age": age, "x": FRAME["x"], "day": "2024-03-01", "y": FRAME["y"]})
    frame["day"] = FRAME["day"].where(np.arange(NUM) % 9 != 2, "1970-01-01")
    path = written(tmp_path, pandas.concat([frame] * 3), "t.csv")
    notes = read_table(Table(path=str(path), target=("y",)), 0).notes
    assert [note for note in notes if "code for a missing value" in note] == [
        "input 'age' is 999 in 21 rows and from 0 to 60 in all others: it may be a code for a missing value; if it is, set "
        "data.missing_values=[999] and data.missing=impute"
    ]
    assert any(note.startswith("18 of 18 test rows have an exact copy among the training rows") for note in notes)
    table = Table(path=str(path), target=("y",), missing_values=("999",), missing="impute")
    assert not any("code" in note for note in read_table(table, 0).notes)


def test_words_that_may_mean_a_missing_value_are_words_until_told_otherwise(tmp_path):
    country = np.where(np.arange(NUM) % 3 == 0, "NA", np.where(np.arange(NUM) % 3 == 1, "None", "DE"))
    path = written(tmp_path, FRAME[["x", "y"]].assign(country=country), "t.csv")
    loaded = read_table(Table(path=str(path), target=("y",)), 0)
    assert loaded.columns.inputs[1].categories == ("DE", "NA", "None")
    assert any('set data.missing_values=["NA", "None"]' in note for note in loaded.notes)
    with pytest.raises(UserError, match="column 'country', row 1: got nothing"):
        read_table(Table(path=str(path), target=("y",), missing_values=("NA",)), 0)
    filled = read_table(Table(path=str(path), target=("y",), missing_values=("NA", "None"), missing="impute"), 0)
    assert filled.columns.inputs[1].categories == ("(missing)", "DE")
    numbers = written(tmp_path, FRAME[["x", "y"]].assign(z=[*np.arange(NUM - 1.0), "NA"]), "n.csv")
    with pytest.raises(UserError, match=rf"row {NUM}: got 'NA', expected a number.*set data.missing_values=\["):
        read_table(Table(path=str(numbers), target=("y",)), 0)


def test_a_decimal_comma_and_an_encoding_are_read_and_their_absence_is_named(tmp_path):
    frame = pandas.DataFrame({"größe": FRAME["x"], "kind": FRAME["kind"], "y": FRAME["y"]}).assign(
        z=[*np.arange(NUM - 1) + 0.5, "k. A."]
    )
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",", encoding="latin-1")
    text = (tmp_path / "t.csv").read_text("latin-1").replace(".5\n", ",5\n")
    (tmp_path / "t.csv").write_text(text, "latin-1")
    table = Table(path=str(tmp_path / "t.csv"), target=("y",), delimiter=";", encoding="latin-1")
    with pytest.raises(
        UserError, match=r"column 'größe', row 1: got '-1,0', expected a number with a decimal point; .* set data.decimal=,"
    ):
        read_table(table, 0)
    table = table.model_copy(update={"decimal": ","})
    with pytest.raises(UserError, match=rf"column 'z', row {NUM}: got 'k. A.', expected a number as in {NUM - 1} other rows"):
        read_table(table, 0)
    loaded = read_table(table.model_copy(update={"missing_values": ("k. A.",), "missing": "impute"}), 0)
    whole = np.concatenate([part.x for part in loaded.splits])[np.argsort(np.concatenate(loaded.rows))]
    np.testing.assert_allclose(whole[:, 0], FRAME["x"])
    np.testing.assert_allclose(whole[:-1, 4], np.arange(NUM - 1) + 0.5)
    (tmp_path / "t.csv").write_text("x;y\n" + "1.234;1,5\n2.345;2,5\n" * 9)
    with pytest.raises(UserError, match=r"column 'x': got '1.234', expected numbers without a point"):
        read_table(table, 0)


def test_another_encoding_than_that_of_the_file_is_one_line(tmp_path):
    path = written(tmp_path, FRAME, "t.csv")
    with pytest.raises(UserError, match="got bytes that are not UTF-16 text"):
        read_table(Table(path=str(path), target=("y",), encoding="utf-16"), 0)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npz"])
def test_a_number_can_mean_a_missing_value_in_every_file(tmp_path, name):
    """Whole numbers, and numbers that the file writes as 999.0."""
    z = np.where(np.arange(NUM) % 9 == 3, 999, np.arange(NUM))
    path = written(tmp_path, pandas.DataFrame({"z": z, "w": z + 0.0, "x": z + 0.5, "y": FRAME["y"]}), name)
    table = Table(path=str(path), target=("y",), missing="impute", missing_values=("999", "999.5"))
    x = np.concatenate([part.x for part in read_table(table, 0).splits])
    assert x.shape == (NUM, 4)  # w is the same as z
    assert x.max() < NUM
    assert (x[:, [1, 3]].sum(axis=0) == (z == 999).sum()).all()
    (chunk,) = files.read_chunks(path, files.TextFormat(missing_values=("999",)), NUM)
    assert np.isnan(chunk["z"]).sum() == (z == 999).sum()


def test_names_that_a_terminal_or_a_figure_cannot_show(tmp_path):
    path = written(tmp_path, pandas.DataFrame({"a\x07b": FRAME["x"], "y": FRAME["y"]}), "t.csv")
    with pytest.raises(UserError, match=r"column 'a\\x07b': got a name with a control character"):
        read_table(Table(path=str(path), target=("y",)), 0)
    path = written(tmp_path, pandas.DataFrame({"体重": FRAME["x"], "[kg]": FRAME["y"]}), "t.csv")
    notes = read_table(Table(path=str(path), target=("[kg]",)), 0).notes
    assert any(note.startswith("column '体重' has letters that the font of the figures lacks") for note in notes)


@pytest.mark.parametrize("delimiter", ["é", "", "\n", ";;"])
def test_a_delimiter_is_one_ascii_character(tmp_path, delimiter):
    with pytest.raises(UserError, match="expected a single ASCII character, or tab"):
        read_table(Table(path=str(written(tmp_path, FRAME, "t.csv")), target=("y",), delimiter=delimiter), 0)


def test_what_is_no_array_in_a_zip_file_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        file.writestr("readme.txt", "no array")
    with pytest.raises(UserError, match=r"it holds 'readme\.txt', which is no array"):
        read_table(Table(path=str(tmp_path / "t.npz"), target=("y",)), 0)
    np.savez(tmp_path / "s.npz", x=np.array(["a", "b\ud800"] * 6), y=np.arange(12.0))
    with pytest.raises(UserError, match=r"column 'x', row 2: .* is not valid Unicode"):
        read_table(Table(path=str(tmp_path / "s.npz"), target=("y",)), 0)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_header_without_rows_is_one_empty_chunk(tmp_path, name):
    (chunk,) = files.read_chunks(written(tmp_path, FRAME.iloc[:0], name), files.PLAIN, 10)
    assert list(chunk) == list(FRAME.columns)
    assert all(len(values) == 0 for values in chunk.values())


def test_a_note_says_which_inputs_a_column_of_dates_becomes(tmp_path):
    days = np.datetime64("2024-03-01") + np.arange(NUM)
    frame = pandas.DataFrame({"day": days.astype(str), "time": [f"{day} {i % 24:02}:30" for i, day in enumerate(days[::-1])]})
    path = written(tmp_path, frame.assign(y=FRAME["y"]), "t.csv")
    notes = [note for note in read_table(Table(path=str(path), target=("y",)), 0).notes if "holds dates" in note]
    inputs = "holds dates and becomes these inputs: the days since 1970-01-01, the sine and cosine of the season, 1 or 0 for each"
    assert notes == [
        f"""column 'day' {inputs} weekday; data.leave_out=["day"] leaves it out""",
        f"""column 'time' {inputs} weekday, and the sine and cosine of the time of day; data.leave_out=["time"] leaves it out""",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b,y\n1,2,3\n1,2,3,4\n", "not a table: line 3 has 4 fields, and the lines before it have 3"),
        ('a,b,y\n1,2,3\n1,"2,3\n1,2,3\n', "not a table: a quotation mark in line 3 has no second one"),
        ("a,b,y\n1,2,3\n", "got 1 row, expected at least 10"),
        (gzip.compress(b"a,b,y\n1,2,3\n", mtime=0), "got a compressed file, expected text"),
        (None, "got a folder, expected a file, or a pattern such as"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_plain_sentence(tmp_path, content, words):
    path = tmp_path / "t.csv"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words):
        read_table(Table(path=str(path), target=("y",)), 0)
