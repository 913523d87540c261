"""The benchmark of tables, on a generated folder and on the tables of installed packages."""

import csv

import numpy as np
import pytest

from experiments.uci.problems import problems_of
from experiments.uci.published import CRPS, NLL, ORDER
from experiments.uci.schema import Tables
from tests.commands import assert_one_line_error, run
from tests.test_tabular import FAST


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root, generator = tmp_path_factory.mktemp("uci"), np.random.default_rng(0)
    for name, num in (("yacht", 60), ("other", 60)):
        folder = root / name / "data"
        folder.mkdir(parents=True)
        x = generator.normal(size=(num, 2))
        np.savetxt(folder / "data.txt", np.column_stack([x, x[:, 0] + 0.1 * generator.normal(size=num)]))
        np.savetxt(folder / "index_features.txt", [0, 1])
        np.savetxt(folder / "index_target.txt", [2])
        for split in range(2):
            np.savetxt(folder / f"index_test_{split}.txt", generator.permutation(num)[: num // 10])
    return root


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "uci"
    return folder, run("uci", *FAST, f"data.root={root}", f"output={folder}", "data.single_gaussian=true")


def test_every_split_of_every_table_is_scored(done):
    folder, process = done
    assert process.returncode == 0, process.stderr
    rows = rows_of(folder / "members.csv")
    assert [(row["table"], row["contender"]) for row in rows] == [
        (name, by) for name in ("other", "yacht") for by in ("network", "single Gaussian") for _ in range(2)
    ]
    for row in rows:
        assert float(row["nll"]) < 3
        assert 0 <= float(row["coverage_95"]) <= 1
        assert sum(map(float, row["of_settings"].strip("[]").split(","))) == pytest.approx(1)
    assert "Deep ensembles" in process.stdout
    assert "scale floor" in (folder / "table.md").read_text()


def test_it_continues_from_finished_parts(done, root):
    folder, _ = done
    before = rows_of(folder / "members.csv")
    (folder / "parts" / "000000.safetensors").unlink()
    words = [f"data.root={root}", f"output={folder}", "data.single_gaussian=true"]
    assert run("uci", *FAST, *words).returncode == 0
    after = rows_of(folder / "members.csv")
    same = [[row[key] for key in row if key != "seconds"] for row in before]
    assert [[row[key] for key in row if key != "seconds"] for row in after] == same


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data.sets=[yatch]"], "did you mean 'yacht'"),
        (["data.root=nowhere"], "expected a folder with NAME/data/data.txt"),
    ],
)
def test_bad_input_is_one_line(root, tmp_path, words, expected):
    assert_one_line_error(run("uci", f"data.root={root}", *words, f"output={tmp_path / 'run'}"), expected)
    assert not (tmp_path / "run").exists()


def test_the_tables_of_packages_have_enough_rows(tmp_path):
    problems = problems_of(Tables(num_splits=2), tmp_path)
    assert len(problems) >= 8
    for problem in problems:
        first, second = problem.first_splits(2)
        assert first.seed != second.seed
        assert len(np.load(first.path)[first.target[0]]) > 100


def test_published_rows_have_a_cell_for_each_table():
    assert all(len(row) == len(ORDER) for row in (*NLL.values(), *CRPS.values()))
