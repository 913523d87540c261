"""Pen strokes: what the network says of a drawing does not depend on where it lies, and drawing is what was learnt."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.command import CONFIGS, UserError
from experiments.pen_strokes import alphabet, drawer, pen
from experiments.pen_strokes.__main__ import FILES
from experiments.pen_strokes.drawings import make_drawings
from experiments.pen_strokes.schema import Drawings, PenModel, PenStrokes
from mdnjax import checkpoint
from mdnjax.config import load
from mdnjax.mixture import log_prob
from mdnjax.sequences import pack
from tests.commands import assert_not_blank, assert_one_line_error, run

MODEL = PenModel(hidden_sizes=(8,), num_components=3)
# Of another size than MODEL, since a network keeps the precision that it was made with, which is that of 64 bits here.
TINY = ["data.num_train=40", "data.num_validation=10", "data.num_test=10", "model.hidden_sizes=[7]", "model.num_components=3"]
TINY += ["train.num_steps=4", "train.report_every=2", "train.batch_size=8", "sampling.num_drawings=2", "sampling.begin=5"]
TINY += ["sampling.temperatures=[0.5,1.0]"]


@pytest.fixture(scope="module")
def params():
    return jax.jit(pen.make_network(MODEL).init)(jax.random.key(0))


@pytest.fixture(scope="module")
def drawings():
    return [one.astype(np.float32) / np.array([18, 18, 1], np.float32) for one in alphabet.write([3], 9)]


def totals(params, drawings, num_steps=None):
    """The NLL of each drawing's points, from rows."""
    rows = jax.tree.map(np.asarray, pack(drawings, num_steps))
    terms = [np.asarray(term) for term in jax.jit(pen.nll, static_argnums=0)(MODEL, params, rows)]
    found = {}
    for row in range(rows.mask.shape[1]):
        for start, stop in zip(np.flatnonzero(rows.first[:, row]), np.flatnonzero(rows.last[:, row]), strict=True):
            values = np.asarray(rows.values)[:, start : stop + 1, row].T
            found[np.ascontiguousarray(values).tobytes()] = [term[start : stop + 1, row].sum() for term in terms]
    return np.array([found[np.ascontiguousarray(one, np.float32).tobytes()] for one in drawings])


def test_masked_is_unpadded(params, drawings):
    alone = np.concatenate([totals(params, [one]) for one in drawings])
    np.testing.assert_allclose(totals(params, drawings, 97), alone, rtol=1e-4)


def test_the_order_of_drawings_changes_nothing(params, drawings):
    order = np.random.default_rng(0).permutation(len(drawings))
    np.testing.assert_allclose(totals(params, [drawings[i] for i in order]), totals(params, drawings)[order], rtol=1e-4)


def test_the_likelihood_is_that_of_the_mixture_and_two_coins(params, drawings):
    rows = pack(drawings[:1])
    said, values = pen.pens(MODEL, params, rows), np.asarray(rows.values)
    offset = -np.asarray(log_prob(pen.mixtures(MODEL, params, rows), np.moveaxis(values[:2], 0, -1)))
    lift, end = (1 / (1 + np.exp(-np.asarray(logit, np.float64))) for logit in (said.lift, said.end))
    lifted, last = values[2] == 1, np.asarray(rows.last)
    coins = [-np.log(np.where(lifted, lift, 1 - lift)), np.where(lifted, -np.log(np.where(last, end, 1 - end)), 0)]
    for term, expected in zip(pen.nll(MODEL, params, rows), [offset, *coins], strict=True):
        np.testing.assert_allclose(term, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("given", [0, 4])
def test_drawing_in_a_scan_is_drawing_step_by_step(params, drawings, temperature, given):
    num, step = 3, jax.jit(pen.next_point, static_argnames="model")
    memories, last_points = pen.make_network(MODEL).start((num,)), np.tile(pen.START, (num, 1))
    if given:
        begun = np.stack([one[:given] for one in drawings[:num]])
        memories, last_points = pen.remember(MODEL, params, begun), begun[:, -1]
    keys = jax.random.split(jax.random.key(1), num)
    points, there = pen.draw(keys, MODEL, params, memories, last_points, temperature, num_steps=12)
    for i, (key, own, alive) in enumerate(zip(keys, points, there, strict=True)):
        after, last, drawing = jax.tree.map(lambda leaf, i=i: leaf[i], memories), jnp.asarray(last_points[i]), True
        for number in range(12):
            after, last, ends = step(jax.random.fold_in(key, number), MODEL, params, after, last, temperature)
            assert bool(alive[number]) == drawing
            drawing = drawing and not ends
            np.testing.assert_allclose(last, own[number], rtol=1e-4, atol=1e-4)


def test_a_drawing_depends_on_its_own_key_alone(params):
    def drawn(keys):
        start = pen.make_network(MODEL).start((len(keys),)), np.tile(pen.START, (len(keys), 1))
        return pen.draw(keys, MODEL, params, *start, 1.0, num_steps=6)[0]

    keys = jax.random.split(jax.random.key(1), 5)
    many, one = drawn(keys), drawn(keys[3:4])
    np.testing.assert_allclose(many[3:4], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pen_strokes", "sheep"])
def test_the_configurations_are_sound(name):
    assert load(PenStrokes, CONFIGS / f"{name}.yaml").train.keep == "best"


def test_an_optimiser_that_needs_one_loss_is_refused(tmp_path):
    done = run("pen_strokes", f"output={tmp_path / 'run'}", "train.optimizer.name=lbfgs")
    assert_one_line_error(done, "got 'lbfgs', expected an optimiser of noisy losses")


def test_a_drawer_is_kept_whole(params, tmp_path):
    own = drawer.Drawer(MODEL, params, 18.5)
    drawer.save(tmp_path / "pen.safetensors", own)
    again = drawer.load(tmp_path / "pen.safetensors")
    drawn, same = (np.concatenate(drawer.draw(each, jax.random.key(0), 2, num_steps=9)) for each in (own, again))
    np.testing.assert_array_equal(drawn, same)
    checkpoint.save(tmp_path / "other.safetensors", {"params": params})
    with pytest.raises(checkpoint.CheckpointError, match="no network of pen strokes"):
        drawer.load(tmp_path / "other.safetensors")


def test_dequantised_offsets_round_back(drawings):
    rows = pack(drawings)
    noisy = pen.dequantised(jax.random.key(0), rows, 1 / 18)
    np.testing.assert_array_equal(np.round(np.asarray(noisy.values)[:2] * 18), np.round(np.asarray(rows.values)[:2] * 18))
    np.testing.assert_array_equal(noisy.values[2], rows.values[2])


def test_the_command_writes_what_it_says_and_reads_its_own_drawings(tmp_path):
    done = run("pen_strokes", f"output={tmp_path / 'run'}", *TINY)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert np.isfinite(metrics["test"]["point"])
    found = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.*")}
    assert found == {*FILES, "config.yaml"}
    for path in (tmp_path / "run" / "figures").glob("*.png"):
        assert_not_blank(path)
    own = drawer.load(tmp_path / "run" / "model.safetensors")
    begun = np.stack([one[:5] for one in alphabet.write([7], 3)])
    with jax.enable_x64(False):
        drawings = [
            drawer.draw(own, jax.random.key(0), 3, num_steps=7),
            drawer.draw_on(own, jax.random.key(0), begun, num_steps=7),
        ]
    for drawn in drawings:
        assert [one.shape[1] for one in drawn] == [3] * 3
        assert all(1 <= len(one) <= 7 and np.isin(one[:, 2], (0, 1)).all() for one in drawn)
    letters = alphabet.write([0], 12)
    arrays = {}
    for part in ("train", "valid", "test"):
        arrays |= {f"{part}_points": np.concatenate(letters), f"{part}_lengths": np.array([len(one) for one in letters])}
    np.savez(tmp_path / "letters.npz", **arrays)
    parts = make_drawings(Drawings(path=str(tmp_path / "letters.npz")), 0)
    for part in parts:
        for one, letter in zip(part, letters, strict=True):
            np.testing.assert_array_equal(one, letter)


def arrays_with(**changes):
    points, lengths = np.array([[1, 2, 0], [3, 4, 1]], np.int16), np.array([2])
    good = {
        f"{part}_{what}": value
        for part in ("train", "valid", "test")
        for what, value in (("points", points), ("lengths", lengths))
    }
    return {name: array for name, array in {**good, **changes}.items() if array is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"valid_points": None}, "no array 'valid_points'"),
        ({"train_points": np.zeros((2, 2))}, "got shape (2, 2)"),
        ({"train_lengths": np.array([5])}, "they come to 5 points"),
        ({"train_lengths": np.array([2, 0])}, "whole numbers from 1"),
        ({"test_points": np.array([[1, np.nan, 0], [1, 1, 1]])}, "got nan"),
        ({"test_points": np.array([[1, 1, 2], [1, 1, 1]])}, "got 2 in the last column"),
        ({"train_points": np.array([[None] * 3] * 2)}, "cannot be read"),
    ],
)
def test_bad_files_get_one_line(tmp_path, changes, said):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays_with(**changes))
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        make_drawings(Drawings(path=str(path)), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "said"), [(None, "there is no file"), (b"no archive", "cannot be read")])
def test_what_is_no_archive_gets_one_line(tmp_path, content, said):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    done = run("pen_strokes", f"output={tmp_path / 'run'}", f"data.path={path}")
    assert_one_line_error(done, said)
    assert not (tmp_path / "run").exists()
