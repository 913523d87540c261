"""Populations that are trained in several threads: members equal those of one thread, and an interrupt ends all threads."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdnjax.training.placement import Placement, place
from mdnjax.training.population import fit_population
from mdnjax.training.steps import init_state
from mdnjax.training.threads import train_in_threads

ALONE = Placement(tuple(jax.devices()[:1]), 1)


def step(state, target):
    """Adds 1 to the parameter; the loss is its squared distance to the target, but infinite for target 7 from step 3 on."""
    loss = jnp.where((target == 7) & (state.step >= 3), jnp.inf, (state.params - target) ** 2)
    return state._replace(step=state.step + 1, params=state.params + 1.0), loss


def distance(params, target):
    return jnp.abs(params - target)


def train(targets, observe=None, num_steps=24):
    start = [(init_state(optax.sgd(1.0), jnp.zeros(())), (target,)) for target in targets]
    states, inputs = place(ALONE, start, len(start))
    settings = {"num_steps": num_steps, "report_every": 4, "validation_score": distance, "patience": 2, "observe": observe}
    return fit_population(step, states, inputs, num_members=len(targets), placement=ALONE, **settings)


TARGETS = [np.float64(target) for target in (20, 1, 7, 12, 3)]


@pytest.mark.parametrize("num_threads", [2, 3, 9])
def test_the_number_of_threads_does_not_change_the_results(num_threads):
    """Some members stop by patience, one diverges, and others take all steps; the parts have different numbers of members."""
    reports = []
    in_threads = train_in_threads(train, TARGETS, num_threads, reports.append)
    in_one = train(TARGETS)
    jax.tree.map(np.testing.assert_array_equal, in_threads.state, in_one.state)
    np.testing.assert_array_equal(in_threads.diverged, in_one.diverged)
    np.testing.assert_array_equal(in_threads.history.loss, in_one.history.loss)
    np.testing.assert_array_equal(in_threads.history.validation_scores, in_one.history.validation_scores)
    np.testing.assert_array_equal(in_threads.history.report_steps, in_one.history.report_steps)
    assert all(len(values) == len(TARGETS) for report in reports for values in report[1:])
    assert max(report[0] for report in reports) == 24


def test_an_error_ends_all_threads():
    def interrupt(_):
        raise KeyboardInterrupt

    before, start = threading.active_count(), time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        train_in_threads(lambda part, observe: train(part, observe, 4_000_000), TARGETS, 2, interrupt)
    assert threading.active_count() == before
    assert time.perf_counter() - start < 60
