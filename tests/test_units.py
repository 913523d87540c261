"""Predictions follow offsets and factors of the data, and lose no digits."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnjax.data import Dataset, make_scaler, make_support
from tests.predictors import NUM, X, Y, few_trees, plain_predictor, random_predictor  # noqa: F401 (a fixture)


def statistics_of(predictor, x):
    return {"mean": predictor.mean(x), "quantiles": predictor.quantiles(x, [0.1, 0.9]), "sd": predictor.sd(x)}


@given(st.sampled_from(["x", "y"]), st.floats(0, 12), st.sampled_from([-1, 1]))
@settings(max_examples=15, deadline=None)
def test_an_offset_changes_only_the_location(of, digits, sign):
    offset = sign * 10.0**digits
    x, y = (X + offset, Y) if of == "x" else (X, Y + offset)
    moved, plain = statistics_of(random_predictor(Dataset(x, y)), x), statistics_of(plain_predictor(), X)
    tolerance = 1e-5 + 1e-14 * abs(offset)  # float64 has lost these digits of the data
    for name, values in plain.items():
        location = offset if of == "y" and name != "sd" else 0
        np.testing.assert_allclose(moved[name] - location, values, atol=tolerance)


@given(st.sampled_from(["x", "y"]), st.floats(-30, 30), st.sampled_from(["real", "positive", "bounded"]))
@settings(max_examples=20, deadline=None)
def test_a_factor_changes_only_the_unit(of, digits, kind):
    factor = 10.0**digits
    x, scale = (X * factor, 1.0) if of == "x" else (X, factor)
    values, high = (Y, None) if kind == "real" else (np.exp(Y), 100.0)
    supports = {"real": ("real", "real"), "positive": ("positive",) * 2, "bounded": ((0.0, high), (0.0, (high or 0) * scale))}
    plain = statistics_of(random_predictor(Dataset(X, values), support=supports[kind][0]), X)
    scaled = statistics_of(random_predictor(Dataset(x, values * scale), support=supports[kind][1]), x)
    for name, known in plain.items():
        np.testing.assert_allclose(scaled[name] / scale, known, rtol=2e-5, atol=1e-6)


def test_a_column_that_was_constant_in_training_has_no_effect():
    x = np.column_stack([X, np.full(NUM, 3.0)])
    predictor = random_predictor(Dataset(x, Y))
    np.testing.assert_array_equal(predictor.mean(x + np.array([0.0, 0.0, 1000.0])), predictor.mean(x))


def test_a_target_too_far_from_its_bounds_is_refused_before_training():
    for support, target in (("positive", 1e6 + Y), ((-1e9, 1e9), Y), ((-np.inf, 1e9), Y)):
        with pytest.raises(ValueError, match="of its standard deviations from its bounds, expected less than 1e\\+04"):
            make_scaler(Dataset(X, target), True, make_support(support, 1))


def test_no_rows_give_empty_arrays():
    nothing = np.zeros((0, 2))
    assert (plain_predictor().mean(nothing).shape, plain_predictor().quantiles(nothing, [0.1, 0.2]).shape) == ((0, 1), (0, 2, 1))
    assert (plain_predictor()(nothing).shape, plain_predictor().log_prob(nothing, np.zeros((0, 1))).shape) == ((0,), (0,))
    assert plain_predictor().sample(jax.random.key(0), nothing, 3).shape == (0, 3, 1)
