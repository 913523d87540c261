"""What is kept of many trainings."""

import jax.numpy as jnp
import numpy as np
import optax

from mdnjax.training.population import History, Population
from mdnjax.training.selection import best_runs, selected_params, selected_scores, smallest_within_one_error, training_keys
from mdnjax.training.steps import Best, init_state


def population(validation_scores, best, diverged):
    state = init_state(optax.sgd(1.0), jnp.zeros(len(best)))
    state = state._replace(params=jnp.arange(3.0), best=Best(jnp.array(best), jnp.array([1, 2, 3]), 10 + jnp.arange(3.0)))
    return Population(state, History(np.zeros((3, 4)), np.array([2, 4]), np.array(validation_scores)), np.array(diverged))


def test_scores_are_those_of_what_is_kept():
    """A run that stopped early has no last report, one that diverged no score."""
    found = population([[3.0, 2.0], [1.0, np.nan], [5.0, 0.0]], [1.5, 1.0, 0.0], [False, False, True])
    assert selected_scores(found, "last").tolist() == [2.0, 1.0, np.inf]
    assert selected_scores(found, "best").tolist() == [1.5, 1.0, np.inf]
    assert selected_params(found.state, "last").tolist() == [0, 1, 2]
    assert selected_params(found.state, "best").tolist() == [10, 11, 12]


def test_best_of_each_group():
    assert best_runs(np.array([3.0, 1.0, 2.0, np.inf, 5.0, np.inf]), 3).tolist() == [1, 4]
    assert best_runs(np.array([np.inf, np.inf]), 1).tolist() == [0, 1]


def test_the_first_of_many_runs_is_the_run_alone():
    first, *others = training_keys(7, 4)
    assert first == training_keys(7, 1)[0]
    assert len({str(key) for key in (first, *others)}) == 4


def test_the_smallest_as_good_is_chosen_by_paired_differences():
    """Examples differ by much more than candidates do: unpaired, all would be as good as the best."""
    generator = np.random.default_rng(0)
    hardness = 5 * generator.standard_normal(500)
    noise = 0.1 * generator.standard_normal((4, 500))
    choice = smallest_within_one_error(hardness + noise + np.array([[1.0], [0.1], [0.003], [0.0]]))
    assert choice.chosen == 2
    assert choice.excess.argmin() in (2, 3)
    assert choice.standard_error.max() < 0.02


def test_one_example_tells_nothing():
    assert smallest_within_one_error(np.array([[3.0], [1.0]])).chosen == 0
