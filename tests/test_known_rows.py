"""Rows that are unlike those of training although each of their inputs is inside: rates of false alarms, a hole, files."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from mdnjax.checkpoint import CheckpointError
from mdnjax.config.load import resolve
from mdnjax.config.schema import Model
from mdnjax.config.tabular import Tabular
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import Dataset, joined
from mdnjax.data.training_units import make_scaler
from mdnjax.embedding import Embedding
from mdnjax.ensemble import Networks
from mdnjax.fitting import make_task
from mdnjax.known_rows import KnownRows, known_rows
from mdnjax.model import make_last_layer, make_mdn
from mdnjax.outside import note_of_test_rows, outside_of_training, unlike_simulations
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.training.inputs import rotated_split, some_inputs
from tests.commands import run

MODEL = Model(num_components=2, hidden_sizes=(8, 8), activation="tanh", embedding="piecewise_linear", embedding_size=3)
COLUMNS = Columns((Column("a"), Column("b")), ("y",))


def ring(generator, num):
    """Points of a ring around the origin: the middle is a combination that they do not have."""
    radius, angle = generator.uniform(1, 2, num), generator.uniform(0, 2 * np.pi, num)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def predictor_of(trained: np.ndarray, held_out: np.ndarray, model: Model = MODEL) -> Predictor:
    """A predictor with random networks, whose units are those of the rows that it contains."""
    x = np.concatenate([trained, held_out])
    scaler = make_scaler(Dataset(x, x[:, :1]), True)
    params = make_mdn(2, 1, **dict(model)).init(jax.random.key(0))
    networks = Networks(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32)[None], params))
    predictor = make_predictor(model, networks, scaler, COLUMNS)
    parts = (predictor.scaled(part).astype(np.float32) for part in (trained, held_out))
    return replace(predictor, known=known_rows(*parts))


@pytest.mark.parametrize("num_held_out", [400, 0])
def test_rows_like_those_of_training_are_marked_at_the_stated_rate(num_held_out):
    """Over 20 draws of all rows: the standard deviation of the mean share is about .001 (.005 / sqrt(20))."""
    shares = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        predictor = predictor_of(ring(generator, 400), ring(generator, num_held_out))
        p = mdn.likeness(predictor, ring(generator, 1000))
        assert p.min() > 0
        assert p.max() <= 1
        shares.append([np.mean(p <= limit) for limit in (0.01, 0.1)])
    of_level, of_tenth = np.mean(shares, axis=0)
    assert 0.002 < of_level < 0.014  # both distances are related, so that twice the smaller p-value is too large
    assert 0.04 < of_tenth < 0.115


@pytest.mark.parametrize("num_held_out", [400, 0])
def test_a_combination_that_training_did_not_have_is_found(num_held_out):
    generator = np.random.default_rng(0)
    predictor = predictor_of(ring(generator, 400), ring(generator, num_held_out))
    hole = generator.uniform(-0.4, 0.4, (50, 2))
    assert outside_of_training(predictor, predictor.inputs(hole)) == {}
    assert mdn.unlike_training(predictor, hole).all()
    assert mdn.unlike_training(predictor, {"b": hole[:, 1], "a": hole[:, 0]}).all()
    assert mdn.unlike_training(predictor, [[40.0, 0.0]]).all()
    assert mdn.likeness(predictor, hole[:0]).shape == (0,)
    several = ring(generator, 30)
    np.testing.assert_array_equal(mdn.likeness(predictor, several[7:8]), mdn.likeness(predictor, several)[7:8])
    assert len(unlike_simulations(predictor, np.concatenate([several[:1], hole[:1]]))) == 1
    assert "observation 2 is unlike the simulations" in unlike_simulations(predictor, np.array([[1.5, 0], [0, 0]]))[1]


def test_equal_rows_are_not_unlike():
    """All distances are 0, as those of inputs with few values are; then no row is farther away than another."""
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    predictor = predictor_of(np.tile(grid, (20, 1)), np.tile(grid, (10, 1)))
    assert (mdn.likeness(predictor, grid) == 1).all()
    assert mdn.unlike_training(predictor, [[2.5, 2.5]]).all()


def test_a_note_is_for_more_marked_test_rows_than_chance_explains():
    generator = np.random.default_rng(0)
    predictor = predictor_of(ring(generator, 400), ring(generator, 400))
    usual, hole = ring(generator, 200), generator.uniform(-0.4, 0.4, (20, 2))
    assert [*note_of_test_rows(predictor, usual)] == []
    assert [*note_of_test_rows(replace(predictor, known=None), hole)] == []
    (note,) = note_of_test_rows(predictor, np.concatenate([usual, hole]))
    assert "220 test rows are unlike those of training (about 2.2 would be by chance)" in note


def test_few_rows_have_a_larger_level():
    rows = np.zeros((30, 2), np.float32)
    few = known_rows(rows, rows[:5])
    assert few is not None
    assert (len(few.held_out), few.level) == (0, 2 / 31)
    assert known_rows(rows[:1], rows) is None


def test_the_last_layer_is_that_of_the_network():
    """With it, the head of the network gives what the network gives; experts are 0."""
    model = MODEL.model_copy(update={"experts": ("boosted_trees",), "line": False})
    params = make_mdn(2, 1, **dict(model)).init(jax.random.key(1))
    z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5)))
    layer = make_last_layer(2, 1, Embedding("piecewise_linear", 3), hidden_sizes=(8, 8), activation="tanh")(params, z)
    head = params["head"]
    logits = (np.asarray(head["kernel"]).T @ np.asarray(layer) + np.asarray(head["bias"])[:, None])[:2]
    mixture = make_mdn(2, 1, **dict(model)).apply(params, np.concatenate([z, np.zeros((1, 5))]).T)
    np.testing.assert_allclose(np.asarray(mixture.logits), logits.T, rtol=1e-6)


def test_networks_without_hidden_layers_compare_their_inputs():
    generator = np.random.default_rng(0)
    model = Model(num_components=2, hidden_sizes=())
    predictor = predictor_of(ring(generator, 300), ring(generator, 300), model)
    assert mdn.unlike_training(predictor, [[0.0, 0.0], [1.5, 0.0]]).tolist() == [True, False]


@pytest.mark.parametrize("run_number", [0, 7])
def test_the_rows_are_those_of_the_training(run_number):
    """Held-out rows are validation rows of that network, the others rows that it was trained on, as `rotated_split` has them."""
    config = resolve(Tabular, [])
    x = np.random.default_rng(0).normal(size=(300, 1))
    task = make_task(config, *(Dataset(part, part) for part in (x[:270], x[270:])))
    parts = some_inputs(task, run_number, 50)
    expected = rotated_split(task.train, task.validation, run_number % config.ensemble.num_members)
    for found, part in zip(parts, expected, strict=True):
        scaled = ((part.x - task.scaler.x_mean) / task.scaler.x_sd).astype(np.float32)
        assert len(found) == min(len(scaled), 50)
        assert np.isin(found, scaled).all()
        assert len(np.unique(found)) == len(found)
    assert len(joined(*expected).x) == 300


def test_files_and_the_command(tmp_path):
    generator = np.random.default_rng(0)
    predictor = predictor_of(ring(generator, 400), ring(generator, 400))
    mdn.save(tmp_path / "m.safetensors", predictor)
    loaded = mdn.load(tmp_path / "m.safetensors")
    rows = ring(generator, 100)
    np.testing.assert_array_equal(mdn.likeness(loaded, rows), mdn.likeness(predictor, rows))
    new = pandas.DataFrame({"a": [1.5, 0.0, 9.0], "b": [0.0, 0.0, 0.0]})
    new.to_csv(tmp_path / "new.csv", index=False)
    done = run("predict", tmp_path / "m.safetensors", tmp_path / "new.csv", "outside=true", f"output={tmp_path / 'p.csv'}")
    assert done.returncode == 0, done.stderr
    written = pandas.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert written["outside"].tolist() == ["", "combination", "a"]
    assert "note: 1 of 3 rows: the combination of inputs is unlike those of training" in done.stdout
    assert "as are about 1 % of rows like those of training" in done.stdout

    mdn.save(tmp_path / "old.safetensors", replace(predictor, known=None))
    old = mdn.load(tmp_path / "old.safetensors")
    with pytest.raises(ValueError, match="likeness: got a predictor without rows of training"):
        mdn.unlike_training(old, rows)
    words = ["outside=true", f"output={tmp_path / 'q.csv'}"]
    done = run("predict", tmp_path / "old.safetensors", tmp_path / "new.csv", *words)
    assert "note: the model contains no rows of training" in done.stdout
    for wrong in (np.zeros((5, 3)), np.full((5, 2), np.nan), np.zeros((1, 2))):
        mdn.save(tmp_path / "wrong.safetensors", replace(predictor, known=KnownRows(wrong, wrong[:0])))
        with pytest.raises(CheckpointError, match="rows of training"):
            mdn.load(tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match="c"):
        mdn.likeness(loaded, {"c": [1.0]})
