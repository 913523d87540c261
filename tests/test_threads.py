"""Populations that threads share: each member is what it is in one thread, and an interrupt ends them all."""

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
    """Towards a member's own target, with a loss that is infinite for a target of 7 from step 3 on."""
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
def test_threads_change_nothing(num_threads):
    """Members that end early, that diverge and that go on to the end, in parts of different lengths."""
    seen = []
    together = train_in_threads(train, TARGETS, num_threads, lambda *report: seen.append(report))
    alone = train(TARGETS)
    jax.tree.map(np.testing.assert_array_equal, together.state, alone.state)
    np.testing.assert_array_equal(together.diverged, alone.diverged)
    np.testing.assert_array_equal(together.history.loss, alone.history.loss)
    np.testing.assert_array_equal(together.history.validation_scores, alone.history.validation_scores)
    np.testing.assert_array_equal(together.history.report_steps, alone.history.report_steps)
    assert all(len(values) == len(TARGETS) for report in seen for values in report[1:])
    assert max(report[0] for report in seen) == 24


def test_an_error_ends_all_threads():
    def interrupt(done, *_):
        raise KeyboardInterrupt

    before, start = threading.active_count(), time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        train_in_threads(lambda part, observe: train(part, observe, 4_000_000), TARGETS, 2, interrupt)
    assert threading.active_count() == before
    assert time.perf_counter() - start < 60
