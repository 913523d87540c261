"""Arguments that are wrong without looking into arrays: one line with what was got, what was expected, and the nearest name."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import config

import mdnjax as mdn

NO_CHECK: Any = mdn  # by a type checker
KEY, Y = jax.random.key(0), jnp.zeros((3, 1))
MIXTURE = mdn.Mixture(jnp.zeros((3, 2)), mdn.Diagonal(jnp.zeros((3, 2, 1)), jnp.ones((3, 2, 1))))
FLAT = mdn.Mixture(jnp.zeros((3, 2)), mdn.Diagonal(jnp.zeros((3, 2)), jnp.ones((3, 2))))
OF_Y = (
    "log_prob",
    "prob",
    "nll",
    "responsibilities",
    "cdf",
    "survival",
    "pit",
    "crps",
    "crps_by_quadrature",
    "cde_loss",
    "hdr_mass",
)
OF_Y += ("quantile", "central_interval", "expected_shortfall", "hdr")
ALONE = ("mean", "variance", "covariance", "skewness", "kurtosis", "median", "entropy", "entropy_bounds", "modes", "weights")
ALONE += ("log_weights", "locations", "highest_mode", "split_variance", "pool", "temper")


@pytest.fixture(autouse=True)
def no_checks_of_annotations():
    """Users have none, and with them a wrong type would not reach the function."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", OF_Y)
def test_swapped_arguments_are_named(name):
    with pytest.raises(
        TypeError, match=r"mixture: got an array of shape \(3, 1\), expected a Mixture of arrays; it is the first"
    ):
        getattr(mdn, name)(Y, MIXTURE)


@pytest.mark.parametrize("name", ALONE)
def test_locations_without_an_axis_of_targets_are_refused(name):
    with pytest.raises(
        ValueError, match=r"got logits of shape \(3, 2\) and locations of shape \(3, 2\), expected \[\*batch, 2, D\]"
    ):
        getattr(mdn, name)(FLAT)
    with pytest.raises(TypeError, match="expected a Mixture of arrays"):
        getattr(mdn, name)(Y)


def test_samples_and_changes_of_units_refuse_what_is_no_mixture():
    for function in (
        lambda m: mdn.sample(KEY, m),
        lambda m: mdn.affine(m, jnp.zeros(1), jnp.ones(1)),
        lambda m: mdn.marginal(m, (0,)),
    ):
        with pytest.raises(ValueError, match="and locations of shape"):
            function(FLAT)
    with pytest.raises(TypeError, match="got type float, expected a Mixture"):
        NO_CHECK.marginal(0.5, (0,))
    with pytest.raises(TypeError, match="got logits of type list, expected a Mixture of arrays"):
        NO_CHECK.marginal(NO_CHECK.Mixture([0.0, 0.0], MIXTURE.component), (0,))


def test_a_mixture_of_other_leaves_can_still_be_made():
    assert jax.tree.map(jnp.linalg.norm, MIXTURE).logits.shape == ()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"family": "gaussian"}, "family: got 'gaussian', expected one of isotropic, .*; did you mean 'diagonal'"),
        ({"family": "studentt"}, "family: got 'studentt', .*; did you mean 'student_t'"),
        ({"activation": "reluu"}, "activation: got 'reluu', expected a function of jax.nn, .*; did you mean 'relu'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest_one(given, match):
    with pytest.raises(ValueError, match=match):
        mdn.make_mdn(2, 1, **{"num_components": 3, "hidden_sizes": (4,), **given})


@pytest.mark.parametrize("shape", [(5, 3), (5,), (2, 5, 1)])
@pytest.mark.parametrize("line", [False, True])
def test_a_wrong_number_of_inputs_is_refused(shape, line):
    model = mdn.make_mdn(2, 1, num_components=3, hidden_sizes=(4,), line=line)
    with pytest.raises(ValueError, match=rf"network: got {shape[-1]} inputs, expected 2: x is \[\*batch, 2\]"):
        model.apply(model.init(KEY), jnp.zeros(shape))


def test_inputs_without_an_axis_are_refused():
    model: Any = mdn.make_mdn(1, 1, num_components=3, hidden_sizes=(4,))
    with pytest.raises(ValueError, match=r"x: got a number, expected \[\*batch, X\]"):
        model.apply(model.init(KEY), 0.5)
