"""Tests of pen strokes: likelihoods do not depend on how drawings are packed, sampling follows the likelihood, bad files."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.command import CONFIGS, UserError
from experiments.pen_strokes import alphabet, drawer, network
from experiments.pen_strokes.__main__ import FILES
from experiments.pen_strokes.drawings import make_drawings
from experiments.pen_strokes.schema import Drawings, PenModel, PenStrokes
from mdnjax import checkpoint
from mdnjax.config import load
from mdnjax.mixture import log_prob
from mdnjax.sequences import pack
from tests.commands import assert_not_blank, assert_one_line_error, run

MODEL = PenModel(hidden_sizes=(8,), num_components=3)
# Another size than MODEL, since networks are cached with the precision that they are made with: 64 bits here, 32 in commands.
TINY = ["data.num_train=40", "data.num_validation=10", "data.num_test=10", "model.hidden_sizes=[7]", "model.num_components=3"]
TINY += ["train.num_steps=4", "train.report_every=2", "train.batch_size=8", "sampling.num_drawings=2", "sampling.begin=5"]
TINY += ["sampling.temperatures=[0.5,1.0]"]


@pytest.fixture(scope="module")
def params():
    return jax.jit(network.make_network(MODEL).init)(jax.random.key(0))


@pytest.fixture(scope="module")
def drawings():
    return [letter.astype(np.float32) / np.array([18, 18, 1], np.float32) for letter in alphabet.write([3], 9)]


def totals(params, drawings, num_steps=None):
    """Returns the three terms of the NLL of each drawing, computed in packed rows."""
    rows = jax.tree.map(np.asarray, pack(drawings, num_steps))
    terms = [np.asarray(term) for term in jax.jit(network.nll, static_argnums=0)(MODEL, params, rows)]
    found = {}
    for row in range(rows.mask.shape[1]):
        for start, stop in zip(np.flatnonzero(rows.first[:, row]), np.flatnonzero(rows.last[:, row]), strict=True):
            values = np.asarray(rows.values)[:, start : stop + 1, row].T
            found[np.ascontiguousarray(values).tobytes()] = [term[start : stop + 1, row].sum() for term in terms]
    return np.array([found[np.ascontiguousarray(drawing, np.float32).tobytes()] for drawing in drawings])


def test_packed_drawings_have_the_likelihood_of_single_ones(params, drawings):
    single = np.concatenate([totals(params, [drawing]) for drawing in drawings])
    np.testing.assert_allclose(totals(params, drawings, 97), single, rtol=1e-4)


def test_the_order_of_drawings_changes_nothing(params, drawings):
    order = np.random.default_rng(0).permutation(len(drawings))
    np.testing.assert_allclose(totals(params, [drawings[i] for i in order]), totals(params, drawings)[order], rtol=1e-4)


def test_the_likelihood_is_that_of_the_mixture_and_two_bernoulli_variables(params, drawings):
    rows = pack(drawings[:1])
    points, values = network.point_distributions(MODEL, params, rows), np.asarray(rows.values)
    offset = -np.asarray(log_prob(network.mixtures(MODEL, params, rows), np.moveaxis(values[:2], 0, -1)))
    lift, end = (1 / (1 + np.exp(-np.asarray(logit, np.float64))) for logit in (points.lift, points.end))
    lifted, last = values[2] == 1, np.asarray(rows.last)
    bernoulli = [-np.log(np.where(lifted, lift, 1 - lift)), np.where(lifted, -np.log(np.where(last, end, 1 - end)), 0)]
    for term, expected in zip(network.nll(MODEL, params, rows), [offset, *bernoulli], strict=True):
        np.testing.assert_allclose(term, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("given", [0, 4])
def test_sampling_in_a_scan_agrees_with_sampling_step_by_step(params, drawings, temperature, given):
    num, step = 3, jax.jit(network.next_point, static_argnames="model")
    memories, last_points = network.make_network(MODEL).start((num,)), np.tile(network.START, (num, 1))
    if given:
        begun = np.stack([drawing[:given] for drawing in drawings[:num]])
        memories, last_points = network.memory_after(MODEL, params, begun), begun[:, -1]
    keys = jax.random.split(jax.random.key(1), num)
    points, masks = network.draw(keys, MODEL, params, memories, last_points, temperature, num_steps=12)
    for i, (key, drawing, mask) in enumerate(zip(keys, points, masks, strict=True)):
        memory, point, unfinished = jax.tree.map(lambda leaf, i=i: leaf[i], memories), jnp.asarray(last_points[i]), True
        for number in range(12):
            memory, point, ends = step(jax.random.fold_in(key, number), MODEL, params, memory, point, temperature)
            assert bool(mask[number]) == unfinished
            unfinished = unfinished and not ends
            np.testing.assert_allclose(point, drawing[number], rtol=1e-4, atol=1e-4)


def test_a_drawing_depends_on_its_own_key_alone(params):
    def drawn(keys):
        start = network.make_network(MODEL).start((len(keys),)), np.tile(network.START, (len(keys), 1))
        return network.draw(keys, MODEL, params, *start, 1.0, num_steps=6)[0]

    keys = jax.random.split(jax.random.key(1), 5)
    together, alone = drawn(keys), drawn(keys[3:4])
    np.testing.assert_allclose(together[3:4], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pen_strokes", "sheep"])
def test_the_configuration_files_are_valid(name):
    assert load(PenStrokes, CONFIGS / f"{name}.yaml").train.keep == "best"


def test_an_optimiser_with_a_line_search_is_refused(tmp_path):
    done = run("pen_strokes", f"output={tmp_path / 'run'}", "train.optimizer.name=lbfgs")
    assert_one_line_error(done, "got 'lbfgs', expected an optimiser of noisy losses")


def test_a_loaded_drawer_samples_the_same_drawings(params, tmp_path):
    saved = drawer.Drawer(MODEL, params, 18.5)
    drawer.save(tmp_path / "pen.safetensors", saved)
    loaded = drawer.load(tmp_path / "pen.safetensors")
    drawn, same = (np.concatenate(drawer.draw(each, jax.random.key(0), 2, num_steps=9)) for each in (saved, loaded))
    np.testing.assert_array_equal(drawn, same)
    checkpoint.save(tmp_path / "other.safetensors", {"params": params})
    with pytest.raises(checkpoint.CheckpointError, match="got no network of pen strokes"):
        drawer.load(tmp_path / "other.safetensors")


def test_dequantised_offsets_round_to_the_original_ones(drawings):
    rows = pack(drawings)
    noisy = network.dequantised(jax.random.key(0), rows, 1 / 18)
    np.testing.assert_array_equal(np.round(np.asarray(noisy.values)[:2] * 18), np.round(np.asarray(rows.values)[:2] * 18))
    np.testing.assert_array_equal(noisy.values[2], rows.values[2])


def test_the_command_writes_its_files_and_reads_drawings_in_its_own_layout(tmp_path):
    done = run("pen_strokes", f"output={tmp_path / 'run'}", *TINY)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert np.isfinite(metrics["test"]["point"])
    found = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.*")}
    assert found == {*FILES, "config.yaml"}
    for path in (tmp_path / "run" / "figures").glob("*.png"):
        assert_not_blank(path)
    trained = drawer.load(tmp_path / "run" / "model.safetensors")
    begun = np.stack([letter[:5] for letter in alphabet.write([7], 3)])
    with jax.enable_x64(False):
        drawings = [
            drawer.draw(trained, jax.random.key(0), 3, num_steps=7),
            drawer.continue_drawings(trained, jax.random.key(0), begun, num_steps=7),
        ]
    for sampled in drawings:
        assert [drawing.shape[1] for drawing in sampled] == [3] * 3
        assert all(1 <= len(drawing) <= 7 and np.isin(drawing[:, 2], (0, 1)).all() for drawing in sampled)
    letters = alphabet.write([0], 12)
    arrays = {}
    for part in ("train", "valid", "test"):
        arrays |= {f"{part}_points": np.concatenate(letters), f"{part}_lengths": np.array(list(map(len, letters)))}
    np.savez(tmp_path / "letters.npz", **arrays)
    parts = make_drawings(Drawings(path=str(tmp_path / "letters.npz")), 0)
    for part in parts:
        for drawing, letter in zip(part, letters, strict=True):
            np.testing.assert_array_equal(drawing, letter)


def arrays_with(**changes):
    points, lengths = np.array([[1, 2, 0], [3, 4, 1]], np.int16), np.array([2])
    good = {
        f"{part}_{what}": value
        for part in ("train", "valid", "test")
        for what, value in (("points", points), ("lengths", lengths))
    }
    return {name: array for name, array in {**good, **changes}.items() if array is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid_points": None}, "no array 'valid_points'"),
        ({"train_points": np.zeros((2, 2))}, "got shape (2, 2)"),
        ({"train_lengths": np.array([5])}, "got a sum of 5 points"),
        ({"train_lengths": np.array([2, 0])}, "whole numbers from 1"),
        ({"test_points": np.array([[1, np.nan, 0], [1, 1, 1]])}, "got nan"),
        ({"test_points": np.array([[1, 1, 2], [1, 1, 1]])}, "got 2 in the last column"),
        ({"train_points": np.array([[None] * 3] * 2)}, "not an NPZ file of plain arrays: it holds Python objects"),
    ],
)
def test_bad_files_raise_one_line_errors(tmp_path, changes, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays_with(**changes))
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        make_drawings(Drawings(path=str(path)), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [(None, "cannot read"), (b"no archive", "not an NPZ file")])
def test_unreadable_files_raise_one_line_errors(tmp_path, content, message):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    done = run("pen_strokes", f"output={tmp_path / 'run'}", f"data.path={path}")
    assert_one_line_error(done, message)
    assert not (tmp_path / "run").exists()
