"""The commands for tables, from a file to predictions for new rows."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_diabetes

import mdnjax as mdn
from experiments import reading
from experiments.tabular import __main__ as tabular
from mdnjax.config.data import Table
from mdnjax.config.schema import Model
from mdnjax.ensemble import untrained
from tests.commands import assert_not_blank, assert_one_line_error, run

FAST = [
    "report=false",
    "train.num_steps=40",
    "train.report_every=20",
    "model.hidden_sizes=[8]",
    "model.num_components=2",
    "ensemble.num_members=2",
]
FAST += ["model.experts=[]", "model.embedding=none"]
FAST += ["selection.settings=[{train.x_noise: 0.05, model.scale_floor: 0.01}, {train.x_noise: 0.3, model.scale_floor: 0.1}]"]


def frame():
    bunch: Any = load_diabetes(as_frame=True, scaled=False)
    table = bunch.frame[:150].copy()
    table["sex"] = table["sex"].map({1.0: "f", 2.0: "m"})
    table.loc[table.index[5], "bmi"] = np.nan
    table["one"] = 1
    return table


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular")
    path = folder / "diabetes.csv"
    frame().to_csv(path, index=False)
    words = [f"data.path={path}", "data.target=target", "data.missing=impute", f"output={folder / 'run'}"]
    return folder, path, words, run("tabular", *FAST, *words, "report=true")


def test_a_table_is_trained_on_and_evaluated(done):
    folder, _, _, process = done
    assert process.returncode == 0, process.stderr
    assert "'one' is left out: it is 1 in every row" in process.stdout
    for row in ("network", "linear Gaussian", "marginal Gaussian", "% of the mixture: least squares"):
        assert row in process.stdout
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert metrics["evaluation"]["network"]["nll"] == pytest.approx(metrics["mdn"]["test_nll"], rel=1e-5)
    assert set(metrics["importance"]) == {*frame().columns} - {"target", "one"}
    assert "Where not to trust it: not tested, since there are 15 test rows, and 20 are needed." in process.stdout
    assert "diabetes.csv: target" in (folder / "run" / "report.html").read_text()
    names = {"loss", "importance", "observed", "calibration", "densities"}
    assert {path.stem for path in (folder / "run" / "figures").iterdir()} == names
    for path in (folder / "run" / "figures").iterdir():
        assert_not_blank(path)


def test_a_second_run_gives_the_same_bits(done):
    folder, _, words, _ = done
    before = (folder / "run" / "metrics.json").read_bytes()
    assert run("tabular", *FAST, *words).returncode == 0
    assert (folder / "run" / "metrics.json").read_bytes() == before


def test_predictions_for_new_rows(done, tmp_path):
    folder, path, _, _ = done
    model = folder / "run" / "model.safetensors"
    options = ["intervals=[0.8]", "modes=2", "density_at=target", "samples=3", "keep=age", "chunk_rows=64"]
    process = run("predict", model, path, *options, f"output={tmp_path / 'p.csv'}")
    assert process.returncode == 0, process.stderr
    predicted: Any = pandas.read_csv(tmp_path / "p.csv")
    assert list(predicted)[:3] == ["age", "mean", "sd"]
    assert len(predicted) == 150
    mixture = mdn.load(model)(frame())
    np.testing.assert_allclose(predicted["mean"], np.asarray(mdn.mean(mixture))[:, 0], rtol=1e-4)
    np.testing.assert_allclose(predicted["quantile_0.5"], np.asarray(mdn.median(mixture))[:, 0], rtol=1e-4)
    y = frame()[["target"]].to_numpy(np.float32)
    np.testing.assert_allclose(predicted["log_density"], mdn.log_prob(mixture, y), rtol=1e-3, atol=1e-4)
    assert (predicted["low_0.8"] < predicted["high_0.8"]).all()
    assert (predicted["mass_1"] >= predicted["mass_2"].fillna(0)).all()
    assert run("predict", model, path, *options, f"output={tmp_path / 'p.parquet'}").returncode == 0
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "p.parquet"), predicted, rtol=1e-5, check_dtype=False)


def test_a_new_category_is_noted(done, tmp_path):
    folder, *_ = done
    new = frame()[:10].assign(sex="x")
    new.to_csv(tmp_path / "new.csv", index=False)
    process = run("predict", folder / "run" / "model.safetensors", tmp_path / "new.csv", f"output={tmp_path / 'p.csv'}")
    assert process.returncode == 0, process.stderr
    assert "note: column 'sex': 10 rows have a category that training did not see, such as 'x'" in process.stdout


def damaged(path, folder, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "another setting":  # of the same length, in the header
        content = bytearray(bytes(content).replace(b'num_components\\":2', b'num_components\\":1'))
    elif how == "cut":
        content = content[: len(content) // 2]
    elif how == "foreign":
        content = bytearray(b"not a model")
    (folder / "bad.safetensors").write_bytes(content)
    return folder / "bad.safetensors"


@pytest.mark.parametrize("how", ["flipped", "another setting", "cut", "foreign"])
def test_a_damaged_model_is_refused(done, tmp_path, how):
    folder, path, *_ = done
    model = damaged(folder / "run" / "model.safetensors", tmp_path, how)
    assert_one_line_error(run("predict", model, path, f"output={tmp_path / 'p.csv'}"), "bad.safetensors")
    assert not (tmp_path / "p.csv").exists()
    with pytest.raises(ValueError, match="bad"):
        mdn.load(model)


BAD_PREDICT = [
    (["keep=agee"], "did you mean 'age'"),
    (["output=p.xlsx"], "expected a name that ends in .csv or .parquet"),
    (["density_at=none"], "got column 'none'"),
    (["quantiles=[2.0]"], "quantiles"),
    (["probabilities=true"], "probabilities: got a model of a target on no lattice"),
    (["sample=1"], "did you mean 'samples'"),
]


@pytest.mark.parametrize(("words", "expected"), BAD_PREDICT)
def test_bad_options_are_one_line(done, tmp_path, words, expected):
    folder, path, *_ = done
    model = folder / "run" / "model.safetensors"
    words = words if words[0].startswith("output") else [*words, f"output={tmp_path / 'p.csv'}"]
    assert_one_line_error(run("predict", model, path, *words), expected)
    assert not list(tmp_path.iterdir())


def test_an_error_in_a_later_chunk_leaves_no_file(done, tmp_path):
    folder, *_ = done
    new = frame()[:100].astype({"age": object})
    new.loc[new.index[80], "age"] = "old"
    new.to_csv(tmp_path / "new.csv", index=False)
    model = folder / "run" / "model.safetensors"
    process = run("predict", model, tmp_path / "new.csv", "chunk_rows=50", f"output={tmp_path / 'p.csv'}")
    assert process.returncode == 2
    assert "column 'age', row 81: got 'old'" in process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


BAD_TABLES = [
    (["data.path=nofile.csv", "data.target=y"], "cannot read nofile.csv"),
    (["data.target=y"], "data.path: got nothing"),
    (["data.path=x.csv"], "data.target: got nothing"),
    (["data.path=x.csv", "data.target=y", "data.split=grouped"], "expected the column of the groups"),
    (["data.path=x.csv", "data.target=[y,y]"], "got 'y' twice"),
    (["data.encoding=latin1x"], "data.encoding: got 'latin1x', expected an encoding of text"),
    (["data.encoding=latin1x"], "did you mean 'latin-1'"),
    (["data.pth=x.csv"], "did you mean 'data.path'"),
    (["selection.settings=[{train.x_nose: 1}]"], "did you mean 'train.x_noise'"),
    (["selection.settings=[{train.x_noise: 0}, {train.x_noise: 1}]"], "no 0 that switches one off"),
]


@pytest.mark.parametrize(("words", "expected"), BAD_TABLES)
def test_bad_input_is_one_line(tmp_path, words, expected):
    assert_one_line_error(run("tabular", *words, f"output={tmp_path / 'run'}"), expected)
    assert not (tmp_path / "run").exists()


def test_a_target_outside_of_its_support_is_one_line(done, tmp_path):
    _, path, *_ = done
    words = [f"data.path={path}", "data.target=target", "data.missing=impute", "data.target_support=[0, 100]"]
    assert_one_line_error(run("tabular", *FAST, *words, f"output={tmp_path / 'run'}"), "expected 0 < y < 100")
    assert not (tmp_path / "run").exists()


def test_several_targets_on_a_support(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 2))
    y = np.exp(x @ [[1, 0], [0.5, 1]] + 0.1 * generator.normal(size=(80, 2)))
    np.savez(tmp_path / "t.npz", x=x, y=y)
    words = [f"data.path={tmp_path / 't.npz'}", "data.target=y", "data.target_support=positive", f"output={tmp_path / 'run'}"]
    process = run("tabular", *FAST, *words)
    assert process.returncode == 0, process.stderr
    assert "linear Gaussian, y_1" in process.stdout
    predicted = run("predict", tmp_path / "run" / "model.safetensors", tmp_path / "t.npz", f"output={tmp_path / 'p.csv'}")
    assert predicted.returncode == 0, predicted.stderr
    table: Any = pandas.read_csv(tmp_path / "p.csv")
    assert "y_1_quantile_0.05" in table
    assert (table["y_0_quantile_0.05"] > 0).all()


def test_weighted_rows_of_whole_numbers_are_scored_by_cells(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(360, 2))
    y = np.clip(np.rint(3 + x[:, 0] + 0.5 * generator.normal(size=360)), 1, 5)
    table = pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y, "w": np.arange(360) % 3})
    table.to_csv(tmp_path / "t.csv", index=False)
    words = [f"data.path={tmp_path / 't.csv'}", "data.target=y", "data.weight=w", f"output={tmp_path / 'run'}"]
    process = run("tabular", *FAST, *words)
    assert process.returncode == 0, process.stderr
    printed = " ".join(process.stdout.split())
    assert "with the weights of the rows: NLL in nats by the probabilities of cells, divided by the step" in printed
    assert "at the scale floor" not in process.stdout
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["evaluation"]["network"]["nll"] == pytest.approx(metrics["mdn"]["test_nll"], rel=1e-4)
    assert set(metrics["importance"]) == {"a", "b"}
    predictor = mdn.load(tmp_path / "run" / "model.safetensors")
    test = reading.read_table(Table(path=str(tmp_path / "t.csv"), target=("y",), weight="w"), 0).splits.test
    nll = -predictor.log_prob(test.x, test.y)
    assert metrics["mdn"]["test_nll"] == pytest.approx(np.average(nll, weights=test.weight), rel=1e-5)
    for one in (slices := metrics["slices"])["slices"]:
        assert one.pop("median_width") == metrics["evaluation"]["network"]["width"][0][1]  # of all rows
        one["median_width"] = None
    expected = mdn.evaluate_slices(predictor, test.x, test.y, test.weight).numbers()
    for of_command, one in zip(slices["slices"], expected["slices"], strict=True):  # the command computes with 32-bit floats
        assert of_command.pop("observed") == pytest.approx(one.pop("observed"), abs=1e-6)
    assert slices == expected


def test_every_file_of_a_run_matches_its_patterns(done):
    folder, *_ = done
    from fnmatch import fnmatch

    written = [str(path.relative_to(folder / "run")) for path in (folder / "run").rglob("*.*")]
    assert all(any(fnmatch(name, pattern) for pattern in ("config.yaml", *tabular.FILES)) for name in written)


def test_a_wide_table_is_read(tmp_path):
    generator = np.random.default_rng(0)
    wide = pandas.DataFrame(generator.normal(size=(30, 100)), columns=[f"c{i}" for i in range(100)])
    wide.to_csv(tmp_path / "t.csv", index=False)
    assert reading.read_table(Table(path=str(tmp_path / "t.csv"), target=("c7",)), 0).splits.train.x.shape[1] == 99


@pytest.mark.parametrize(("factor", "lines"), [(None, 0), (1.0, 0), (0.8, 1)])
def test_a_line_says_by_which_factor_the_scales_are_multiplied(factor, lines):
    networks = untrained(Model(num_components=1, hidden_sizes=(2,)), 1, 1, num_members=2)
    networks = networks._replace(scale_factor=None if factor is None else np.full(2, factor, np.float32))
    selection = SimpleNamespace(selection=SimpleNamespace(settings=()))
    result: Any = SimpleNamespace(setting_weights=[], config=selection, predictor=SimpleNamespace(networks=networks))
    found = list(tabular.shares_of_mixture(result))
    assert len(found) == lines
    assert all("multiplied by 0.80, as the validation rows prefer" in line for line in found)
