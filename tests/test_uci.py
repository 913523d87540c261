"""The benchmark of tables, on a generated folder, on a file, and on the tables of installed packages."""

import csv
import importlib.util
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from scipy import stats

import mdnjax as mdn
from experiments import reading
from experiments.uci import peers
from experiments.uci.points import Points, crps_of_points, interval_scores, scores_of
from experiments.uci.problems import problems_of
from experiments.uci.published import CRPS, NLL, ORDER
from experiments.uci.schema import Tables
from mdnjax.config.data import Table
from mdnjax.data.units import Units, own_units
from tests.commands import assert_one_line_error, run
from tests.test_tabular import FAST

TINY = [*FAST, "model.experts=[extra_trees]", "model.embedding=piecewise_linear"]


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
    return folder, run("uci", *TINY, f"data.root={root}", f"output={folder}", "data.single_gaussian=true")


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
        shares = [share for name in ("of_settings", "of_least_squares") for share in row[name].strip("[]").split(",") if share]
        assert sum(map(float, shares)) == pytest.approx(1)
    assert "Deep ensembles" in process.stdout
    assert "scale floor" in (folder / "table.md").read_text()


def test_it_continues_from_finished_parts(done, root):
    folder, _ = done
    before = rows_of(folder / "members.csv")
    (folder / "parts" / "000000.safetensors").unlink()
    words = [f"data.root={root}", f"output={folder}", "data.single_gaussian=true"]
    assert run("uci", *TINY, *words).returncode == 0
    after = rows_of(folder / "members.csv")
    same = [[row[key] for key in row if key != "seconds"] for row in before]
    assert [[row[key] for key in row if key != "seconds"] for row in after] == same


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data.sets=[yatch]"], "did you mean 'yacht'"),
        (["data.root=nowhere"], "expected a folder with NAME/data/data.txt"),
        (["peers=[ngbost]"], "peers: got 'ngbost', expected names of catboost,"),
        (["networks=false"], "networks: got false and no installed peer"),
        (["data.target=y"], "data.target: got ('y',), expected data.path=FILE beside it"),
        (["data.path=t.csv"], "expected no data.path beside it"),
    ],
)
def test_bad_input_is_one_line(root, tmp_path, words, expected):
    assert_one_line_error(run("uci", f"data.root={root}", *words, f"output={tmp_path / 'run'}"), expected)
    assert not (tmp_path / "run").exists()


def predict_marginal(rows, seed):
    """A peer that predicts the known targets for every row; numpy stands for its package, which is always installed."""
    points = np.tile(rows.known[1], (len(rows.test_x), 1))
    return Points(points.mean(axis=1), points)


@pytest.fixture
def calls(monkeypatch):
    """What a peer was fitted to; "broken" raises an error, and the package "absent" is not installed."""
    calls = []

    def broken(rows, seed):
        raise ValueError("got NaN,\nexpected none")

    monkeypatch.setattr(
        peers,
        "PEERS",
        {
            "numpy": lambda rows, seed: calls.append(rows) or predict_marginal(rows, seed),
            "scipy": broken,
            "absent": predict_marginal,
        },
    )
    return calls


def test_peers_are_scored_beside_the_networks_and_only_once(done, root, calls):
    folder, _ = done
    before = rows_of(folder / "members.csv")
    words = [*TINY, f"data.root={root}", f"output={folder}", "data.single_gaussian=true", "peers=[numpy,scipy,absent]"]
    process = run("uci", *words)
    assert process.returncode == 0, process.stderr
    assert "note: absent is not installed, so it is skipped; pip install -e '.[peers]' installs it" in process.stdout
    assert "note: scipy failed on split 1 of yacht (ValueError: got NaN, expected none)" in process.stdout
    rows = rows_of(folder / "members.csv")
    assert [{key: row[key] for key in before[0]} for row in rows[:8]] == before  # no network was trained again
    assert [(row["contender"], row["table"]) for row in rows[8:]] == [
        (name, table) for name in ("numpy", "scipy") for table in ("other", "other", "yacht", "yacht")
    ]
    assert len(calls) == 4
    assert all(len(rows.known[0]) == len(rows.train[0]) + len(rows.validation[0]) == 54 for rows in calls)
    assert {row["nll"] for row in rows[8:12]} == {"nan"}
    table = rows_of(folder / "peers.csv")
    assert [(row["table"], row["by"]) for row in table[:4]] == [
        ("other", by) for by in ("network", "single Gaussian", "numpy", "scipy (0 of 2 splits)")
    ]
    assert float(table[0]["CRPS"].split()[0]) < float(table[2]["CRPS"].split()[0])  # the network uses the inputs
    assert (table[2]["NLL"], table[3]["CRPS"]) == ("", "")
    assert run("uci", *words).returncode == 0
    assert len(calls) == 4
    assert rows_of(folder / "peers.csv") == table


def test_a_missing_peer_is_one_line_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names, lines = peers.installed(("ngboost", "treeffuser"))
    assert names == []
    assert [line.partition("skipped; ")[2] for line in lines] == [
        "pip install -e '.[peers]' installs it",
        "pip install --no-deps treeffuser einops ml-collections installs it",
    ]


def test_a_file_is_split_by_seeds_and_read_as_for_a_single_run(tmp_path, calls):
    generator, path = np.random.default_rng(0), tmp_path / "own.csv"
    numbers = [f"{number:.3f}" if number > -1.5 else "" for number in generator.normal(size=40)]
    assert "" in numbers
    lines = [f"{number},{'ab'[i % 2]},{i}" for i, number in enumerate(numbers)]
    path.write_text("\n".join(["number,letter,y", *lines]))
    words = [f"data.path={path}", "data.target=y", "data.missing=impute", "data.num_splits=3", f"output={tmp_path / 'run'}"]
    process = run("uci", *words, "networks=false", "peers=numpy")
    assert process.returncode == 0, process.stderr
    (row,) = rows_of(tmp_path / "run" / "peers.csv")
    assert (row["table"], row["by"]) == ("own", "numpy")
    assert 20 < float(row["width 90 %"].split()[0]) < 40  # of whole numbers from 0 to 39
    assert len(calls) == 3
    for seed, rows in enumerate(calls):
        splits = reading.read_table(Table(path=str(path), target=("y",), missing="impute"), seed).splits
        np.testing.assert_array_equal(rows.test_x, splits.test.x)
        np.testing.assert_array_equal(rows.train[0], splits.train.x)
    assert not (tmp_path / "run" / "table.csv").exists()
    assert_one_line_error(run("uci", *words, "data.missing=refuse", "networks=false", "peers=numpy"), "missing")


def test_the_crps_of_points_is_that_of_their_empirical_distribution():
    generator = np.random.default_rng(0)
    values, y = generator.normal(size=(50, 7)), 2 * generator.normal(size=50)
    expected: Any = scoringrules.crps_ensemble(y, values, estimator="nrg")
    np.testing.assert_allclose(crps_of_points(values, y), expected, rtol=1e-12)
    np.testing.assert_allclose(crps_of_points(values[:, :1], y), np.abs(values[:, 0] - y), rtol=1e-12)


def test_quantiles_of_a_gaussian_have_the_scores_of_its_density():
    generator, units = np.random.default_rng(0), Units(np.array([50.0]), np.array([2.0]))
    loc, scale = generator.normal(size=30), generator.uniform(0.5, 2, size=30)
    y = units.absolute(generator.normal(loc, scale)[:, None])
    gaussian = mdn.Mixture(jnp.zeros((30, 1)), mdn.Diagonal(jnp.asarray(loc)[:, None, None], jnp.asarray(scale)[:, None, None]))
    quantiles = stats.norm.ppf((np.arange(1000) + 0.5) / 1000, loc[:, None], scale[:, None])
    expected, found = scores_of(gaussian, y, units), scores_of(Points(loc, quantiles), y, units)
    assert np.isnan(found.pop("nll"))
    assert expected.pop("nll") == pytest.approx(-np.mean(stats.norm.logpdf(y[:, 0], 50 + 2 * loc, 2 * scale)), rel=1e-5)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_ends_of_ten_quantiles_are_those_of_the_90_percent_interval():
    points = Points(np.zeros(2), np.array([np.arange(10.0), 2 * np.arange(10.0)]))
    scores = interval_scores(points, np.array([[9.0], [18.1]]), own_units(1))
    assert scores == {"coverage_90": 0.5, "width_90": 13.5}


def test_the_tables_of_packages_have_enough_rows(tmp_path):
    problems = problems_of(Tables(num_splits=2), tmp_path)
    assert len(problems) >= 8
    for problem in problems:
        first, second = problem.first_splits(2)
        assert first.seed != second.seed
        assert len(np.load(first.path)[first.target[0]]) > 100


def test_published_rows_have_a_cell_for_each_table():
    assert all(len(row) == len(ORDER) for row in (*NLL.values(), *CRPS.values()))
