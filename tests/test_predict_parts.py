"""Predictions for the files of a pattern: parts equal the predictions of one file, are whole, and are kept."""

import contextlib
import threading

import distributed  # pyright: ignore[reportMissingImports]
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from experiments import cluster
from experiments.command import UserError
from experiments.predict import parts, sharing
from experiments.predict.columns import Predict, _rounded
from mdnjax import parallel
from mdnjax.config import load as load_config
from tests.commands import assert_one_line_error, run
from tests.predictors import X, few_trees, plain_predictor  # noqa: F401 (a fixture)
from tests.test_cluster import THREADS

TABLE = pandas.DataFrame(np.tile(X, (3, 1)), columns=[f"x{i}" for i in range(X.shape[1])])


@pytest.fixture
def folder(tmp_path):
    mdn.save(tmp_path / "m.safetensors", plain_predictor())
    for name, rows in (("a", slice(0, 50)), ("b/c", slice(50, 120))):
        (tmp_path / "rows" / name).parent.mkdir(exist_ok=True, parents=True)
        TABLE[rows].to_parquet(tmp_path / "rows" / f"{name}.parquet", index=False, row_group_size=20)
    return tmp_path


def words_of(folder, *words):
    pattern = str(folder / "rows" / "**" / "*.parquet")
    return [folder / "m.safetensors", pattern, f"output={folder / 'p'}", "chunk_rows=16", "quantiles=[0.1]", *words]


def test_parts_are_those_of_one_file_and_are_kept_when_complete(folder):
    TABLE[:120].to_parquet(folder / "all.parquet", index=False)
    words = words_of(folder)
    whole = run("predict", words[0], folder / "all.parquet", f"output={folder / 'all_p.parquet'}", *words[3:])
    done = run("predict", *words)
    assert whole.returncode == done.returncode == 0, done.stderr
    assert "120 rows predicted" in done.stdout
    parts = [folder / "p" / name for name in ("a.parquet", "b/c.parquet")]
    assert sorted(path for path in (folder / "p").rglob("*") if path.is_file()) == parts
    found = pandas.concat(map(pandas.read_parquet, parts), ignore_index=True)
    pandas.testing.assert_frame_equal(found, pandas.read_parquet(folder / "all_p.parquet"), rtol=1e-6)

    parts[1].unlink()
    before = parts[0].stat().st_mtime_ns
    again = run("predict", *words)
    assert "70 rows predicted" in again.stdout
    assert "note: 1 parts were complete already" in again.stdout
    assert parts[0].stat().st_mtime_ns == before
    assert_one_line_error(run("predict", *words, "quantiles=[0.2]"), "a.parquet was made by another model", "--overwrite")
    assert "120 rows predicted" in run("predict", *words, "quantiles=[0.2]", "--overwrite").stdout
    assert "quantile_0.2" in pandas.read_parquet(parts[0])


def test_samples_of_equal_rows_in_different_parts_differ(folder):
    for name in ("a", "b/c"):
        TABLE[:20].to_parquet(folder / "rows" / f"{name}.parquet", index=False)
    assert run("predict", *words_of(folder, "samples=2")).returncode == 0
    first, second = (pandas.read_parquet(folder / "p" / f"{name}.parquet").filter(like="sample") for name in ("a", "b/c"))
    assert first.shape[1] == 2
    assert not np.isclose(first, second).any()


def test_samples_of_equal_rows_in_different_blocks_differ(folder, monkeypatch):
    monkeypatch.setattr(parallel, "max_block_rows", lambda: 16)
    TABLE.iloc[[0] * 40].to_parquet(folder / "equal.parquet", index=False)
    words = [folder / "m.safetensors", folder / "equal.parquet", f"output={folder / 'e.parquet'}", "samples=2", "chunk_rows=64"]
    assert run("predict", *words).returncode == 0
    samples = pandas.read_parquet(folder / "e.parquet").filter(like="sample")
    assert samples.shape == (40, 2)
    assert len(np.unique(samples)) == 80


def test_bad_patterns_are_one_line(folder):
    words = words_of(folder)
    assert_one_line_error(run("predict", *words, f"output={folder / 'p.csv'}"), "expected a folder, such as output=predictions/")
    assert_one_line_error(run("predict", words[0], folder / "none*.parquet", *words[2:]), "none*.parquet', which matches no file")
    (folder / "rows" / "d.csv").write_text("x0\n1\n")
    assert_one_line_error(run("predict", words[0], folder / "rows" / "*", *words[2:]), "d.csv', expected Parquet files alone")
    TABLE.assign(more=1).to_parquet(folder / "rows" / "e.parquet")
    assert_one_line_error(run("predict", *words), "e.parquet: got a column 'more', expected the columns of")
    (folder / "rows" / "e.parquet").write_text("nothing")
    assert_one_line_error(run("predict", *words), "e.parquet: not a Parquet file")
    assert not (folder / "p").exists()


def test_blocks_are_computed_in_threads_and_given_in_order(monkeypatch):
    monkeypatch.setattr(parallel, "num_cores", lambda: 2)
    together, read = threading.Barrier(2, timeout=10), []

    def square(i):
        if i:
            together.wait()  # two blocks at a time, or it fails
        return i * i

    results = parallel.map_in_threads(square, (read.append(i) or i for i in range(9)))
    assert next(results) == 0
    assert len(read) == 1  # the first is computed before the others are read
    assert [next(results), next(results)] == [1, 4]
    assert len(read) <= 7
    assert list(results) == [9, 16, 25, 36, 49, 64]
    with pytest.raises(ZeroDivisionError):
        list(parallel.map_in_threads(lambda i: 1 / (i - 3), range(6)))


@pytest.mark.parametrize("factor", [3e-30, 0.02, 1.0, 700.0, 1e12])
def test_rounding_is_that_of_text(factor):
    generator = np.random.default_rng(0)
    values = factor * generator.choice([-1, 1], 2000) * 10.0 ** generator.uniform(-25, 1, 2000)
    values = np.concatenate([values, [0.0, np.nan, np.inf, -np.inf, factor]])
    expected = np.array([float(f"{value:.8g}") for value in values])
    small = ~(np.abs(values) > factor)
    np.testing.assert_array_equal(_rounded(values, factor)[small], expected[small])


@contextlib.contextmanager
def threads(*_):
    """Gives workers that are threads of this process, which start at once."""
    with distributed.LocalCluster(**THREADS) as workers, distributed.Client(workers, set_as_default=False) as client:
        yield client


def test_workers_share_the_parts_and_write_the_same(folder, monkeypatch):
    monkeypatch.setattr(cluster, "connect", threads)
    words = words_of(folder)
    here = run("predict", *words)
    expected = {path: pandas.read_parquet(path) for path in sorted((folder / "p").rglob("*.parquet"))}
    words[2] = f"output={folder / 'shared'}"
    done = run("predict", *words, "cluster.workers=2")
    assert here.returncode == done.returncode == 0, done.stderr
    assert "120 rows predicted" in done.stdout
    for path, table in expected.items():
        found = pandas.read_parquet(folder / "shared" / path.relative_to(folder / "p"))
        pandas.testing.assert_frame_equal(found, table, rtol=1e-6)
    again = run("predict", *words)  # complete parts do not depend on who made them
    assert "0 rows predicted" in again.stdout
    assert "note: 2 parts were complete already" in again.stdout


def test_a_worker_that_reads_another_model_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(sharing, "digest_of", lambda _: "0")
    with pytest.raises(UserError, match=r"m.safetensors is not the file that the command has read"):
        sharing._model_of_worker(str(folder / "m.safetensors"), "1")


def test_a_part_that_a_lost_worker_completed_is_kept(folder):
    words = words_of(folder)
    assert run("predict", *words).returncode == 0
    config = load_config(Predict, None, [f"model={words[0]}", f"file={words[1]}", *map(str, words[2:])])
    part = parts.parts_of(config)[0]
    (record,) = parts.records([part])
    before = part.output.stat().st_mtime_ns
    assert sharing._predict_on_worker(sharing.Part(part, record, False), print).num_rows == 0
    assert part.output.stat().st_mtime_ns == before


def test_a_single_file_cannot_be_shared(folder):
    words = words_of(folder)
    words[1:3] = [folder / "rows" / "a.parquet", f"output={folder / 'p.parquet'}"]
    assert_one_line_error(run("predict", *words, "cluster.workers=2"), "cluster: got the single file", "'rows/*.parquet'")
