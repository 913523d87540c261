"""Selection of parameters, restarts and numbers of components after training."""

import jax.numpy as jnp
import numpy as np
import optax

from mdnjax.training.history import History
from mdnjax.training.population import Population
from mdnjax.training.selection import best_runs, selected_params, selected_scores, smallest_within_one_error, training_keys
from mdnjax.training.steps import Best, init_state


def population(validation_scores, best, diverged):
    state = init_state(optax.sgd(1.0), jnp.zeros(len(best)))
    state = state._replace(params=jnp.arange(3.0), best=Best(jnp.array(best), jnp.array([1, 2, 3]), 10 + jnp.arange(3.0)))
    return Population(state, History(np.zeros((3, 4)), np.array([2, 4]), np.array(validation_scores)), np.array(diverged))


def test_scores_are_those_of_the_selected_parameters():
    """A training that stopped early has no score in the last column; one that diverged has an infinite score."""
    trained = population([[3.0, 2.0], [1.0, np.nan], [5.0, 0.0]], [1.5, 1.0, 0.0], [False, False, True])
    assert selected_scores(trained, "last").tolist() == [2.0, 1.0, np.inf]
    assert selected_scores(trained, "best").tolist() == [1.5, 1.0, np.inf]
    assert selected_params(trained.state, "last").tolist() == [0, 1, 2]
    assert selected_params(trained.state, "best").tolist() == [10, 11, 12]


def test_best_of_each_group():
    assert best_runs(np.array([3.0, 1.0, 2.0, np.inf, 5.0, np.inf]), 3).tolist() == [1, 4]
    assert best_runs(np.array([np.inf, np.inf]), 1).tolist() == [0, 1]


def test_the_first_of_many_keys_is_that_of_a_single_training():
    first, *others = training_keys(7, 4)
    assert first == training_keys(7, 1)[0]
    assert len({str(key) for key in (first, *others)}) == 4


def test_the_smallest_candidate_within_one_error_is_selected_by_paired_differences():
    """Examples differ much more than candidates: without pairing, all would be within one standard error of the best."""
    generator = np.random.default_rng(0)
    hardness = 5 * generator.standard_normal(500)
    noise = 0.1 * generator.standard_normal((4, 500))
    selected = smallest_within_one_error(hardness + noise + np.array([[1.0], [0.1], [0.003], [0.0]]))
    assert selected.position == 2
    assert selected.excess.argmin() in (2, 3)
    assert selected.standard_error.max() < 0.02


def test_the_first_candidate_is_selected_if_there_is_only_one_example():
    assert smallest_within_one_error(np.array([[3.0], [1.0]])).position == 0
