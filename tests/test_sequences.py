"""Packed sequences and recurrent networks: results do not depend on packing, padding or computation step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax.recurrent import CELLS, make_recurrent
from mdnjax.sequences import masked_sum, pack, previous_steps

GENERATOR = np.random.default_rng(0)
SEQUENCES = [GENERATOR.normal(size=(length, 3)).astype(np.float32) for length in (5, 9, 1, 4, 7, 2, 2)]


def unpacked(rows, values):
    """The values of each sequence in an array `[C, T, N]`, found by the flags of the rows."""
    found, rows = [], jax.tree.map(np.asarray, rows)
    for row in range(rows.mask.shape[1]):
        starts, stops = np.flatnonzero(rows.first[:, row]), np.flatnonzero(rows.last[:, row])
        found += [np.asarray(values)[:, start : stop + 1, row].T for start, stop in zip(starts, stops, strict=True)]
    return found


def as_set(sequences):
    return sorted(sequence.tobytes() for sequence in sequences)


@pytest.mark.parametrize("num_steps", [None, 9, 12, 40])
def test_rows_hold_every_sequence_once(num_steps):
    rows = jax.tree.map(np.asarray, pack(SEQUENCES, num_steps))
    assert as_set(map(np.ascontiguousarray, unpacked(rows, rows.values))) == as_set(SEQUENCES)
    assert rows.mask.sum() == sum(map(len, SEQUENCES))
    assert (np.asarray(rows.values)[:, ~np.asarray(rows.mask)] == 0).all()


def test_rows_are_full():
    lengths = GENERATOR.integers(20, 251, 500)
    rows = pack([np.ones((length, 1), np.float32) for length in lengths], 250)
    assert np.mean(rows.mask) > 0.95


@pytest.mark.parametrize(
    ("sequences", "num_steps", "got"),
    [([], None, "no sequence"), ([np.zeros((0, 2))], None, "from 0"), ([np.zeros((5, 2))], 4, "to 5")],
)
def test_sequences_that_do_not_fit_are_an_error(sequences, num_steps, got):
    with pytest.raises(ValueError, match=got):
        pack(sequences, num_steps)


def test_previous_steps_stay_within_a_sequence():
    rows, start = pack(SEQUENCES, 12), np.array([7.0, 8.0, 9.0], np.float32)
    for sequence, shifted in zip(unpacked(rows, rows.values), unpacked(rows, previous_steps(rows, start)), strict=True):
        np.testing.assert_array_equal(shifted, np.concatenate([start[None], sequence[:-1]]))


@pytest.mark.parametrize("hidden_sizes", [(6,), (4, 5)])
@pytest.mark.parametrize("cell", list(CELLS))
def test_a_row_is_its_sequences_step_by_step(cell, hidden_sizes):
    network = make_recurrent(3, (2, 4), cell=cell, hidden_sizes=hidden_sizes)
    params = jax.jit(network.init)(jax.random.key(0))
    rows = pack(SEQUENCES, 12)
    memory = network.start(rows.first.shape[1:])
    in_rows = unpacked(rows, jax.jit(network.apply)(params, memory, rows.values, rows.first)[1])
    step = jax.jit(network.step)
    for sequence, raw in zip(unpacked(rows, rows.values), in_rows, strict=True):
        memory = network.start(())
        for x, expected in zip(sequence, raw, strict=True):
            memory, own = step(params, memory, x)
            np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", list(CELLS))
def test_values_of_padding_have_no_effect(cell):
    network = make_recurrent(3, (2,), cell=cell, hidden_sizes=(4,))
    params = jax.jit(network.init)(jax.random.key(0))
    rows = pack(SEQUENCES, 12)
    other = rows._replace(values=jnp.where(rows.mask, rows.values, 1e3))

    def total(params, rows):
        raw = network.apply(
            params, network.start(rows.first.shape[1:]), previous_steps(rows, np.zeros(3, np.float32)), rows.first
        )[1]
        return masked_sum(rows, jnp.sum(raw**2, axis=0))

    value_and_grad = jax.jit(jax.value_and_grad(total))
    for own, same in zip(*(jax.tree.leaves(value_and_grad(params, each)) for each in (rows, other)), strict=True):
        np.testing.assert_allclose(own, same, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("cell", "sizes"), [("rnn", (3,)), ("lstm", ())])
def test_other_cells_and_no_layers_are_an_error(cell, sizes):
    with pytest.raises(ValueError, match="lstm, gru"):
        make_recurrent(1, (1,), cell=cell, hidden_sizes=sizes)
