"""Targets on a lattice: log probabilities of cells against quadrature, and the discrete distribution against brute force."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from scipy import stats

import mdnjax as mdn
from mdnjax.cells import discrete, lattice_pit, log_cell, rounded_moments
from mdnjax.components import Diagonal, Full, Laplace, StudentT, Support
from mdnjax.data.lattice import Lattice, lattice_of
from mdnjax.data.units import Units, own_units
from mdnjax.evaluation import evaluate_mixtures
from mdnjax.observed import Observed
from tests.commands import run
from tests.oracles import random_mixture

DENSITIES = {
    "gaussian": stats.norm.logpdf,
    "laplace": lambda z: -np.abs(z) - np.log(2),
    "student_t": lambda z: stats.t.logpdf(z, 4.5),
}
MIDDLES = (0.0, 0.3, -1.0, 2.5, -6.0, 13.0, -40.0, 1e3, -1e5)
LENGTHS = (1e-3, 0.05, 0.9, 1.1, 3.0, 30.0)


def component_of(family, loc, scale):
    """One component for each cell, `[N, 1, 1]`."""
    loc, scale = (jnp.asarray(np.broadcast_to(part, np.shape(loc)), jnp.float32)[:, None, None] for part in (loc, scale))
    if family == "student_t":
        return StudentT(loc, scale, jnp.full_like(loc, 4.5))
    return {"gaussian": Diagonal, "laplace": Laplace}[family](loc, scale)


def log_integral(log_density, low, high):
    """The logarithm of the integral in float64, from nodes that are dense near the largest value of the density."""
    start = min(max(low, 0.0), high)  # the point of the interval nearest to the location
    distance = np.concatenate([[0.0], np.geomspace(1e-9, high - low, 4000)])
    total = -np.inf
    for side in (-1, 1):
        ends = np.clip(start + side * distance, low, high)
        nodes, weight = np.polynomial.legendre.leggauss(8)
        half = np.diff(ends) / 2
        points = (ends[:-1] + half)[:, None] + half[:, None] * nodes
        values = log_density(points) + np.log(np.maximum(np.abs(half), 1e-300))[:, None] + np.log(weight)
        total = np.logaddexp(total, np.logaddexp.reduce(np.where(half[:, None] == 0, -np.inf, values), axis=None))
    return total


@pytest.mark.parametrize("family", DENSITIES)
def test_the_log_probability_of_a_cell_is_exact_in_float32_far_into_the_tails(family):
    cells = [(middle - length / 2, middle + length / 2) for middle in MIDDLES for length in LENGTHS]
    low, high = np.array(cells, np.float32).T
    known = high - low > 100 * np.spacing(np.abs(low) + np.abs(high))  # others have hardly a digit left in their length
    cells, low, high = np.array(cells)[known], low[known], high[known]
    expected = np.array([log_integral(DENSITIES[family], *map(float, cell)) for cell in zip(low, high, strict=True)])
    mixture = mdn.Mixture(jnp.zeros((len(cells), 1), jnp.float32), component_of(family, np.zeros(len(cells)), 1.0))

    def total(mixture):
        values = log_cell(mixture, low[:, None], high[:, None])
        return jnp.sum(values), values

    (_, values), gradients = jax.value_and_grad(total, has_aux=True)(mixture)
    assert values.dtype == jnp.float32
    # A short cell far from 0 is known to few digits itself: its ends are rounded.
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high)) / (high - low)
    np.testing.assert_array_less(np.abs(values - expected), 3e-6 * np.abs(expected) + 2e-5 + 4 * rounding)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    # d log P / d loc = (f(low) - f(high)) / P, from densities relative to P in float64.
    densities = [np.exp(DENSITIES[family](np.float64(end)) - expected) for end in (low, high)]
    slope, scale = densities[0] - densities[1], densities[0] + densities[1]
    np.testing.assert_array_less(np.abs(gradients.component.loc[:, 0, 0] - slope), (3e-4 + 20 * rounding) * (scale + 1))


@pytest.mark.parametrize("family", DENSITIES)
def test_open_cells_are_tails_and_have_finite_gradients(family):
    component = component_of(family, np.zeros(3), 2.0)
    low, high = jnp.array([[[-jnp.inf], [1.0], [-jnp.inf]], [[-3.0], [jnp.inf], [jnp.inf]]], jnp.float32)

    def total(component):
        values = log_cell(mdn.Mixture(jnp.zeros((3, 1), jnp.float32), component), low, high)
        return jnp.sum(values), values

    (_, values), gradients = jax.value_and_grad(total, has_aux=True)(component)
    mixture = mdn.Mixture(jnp.zeros((3, 1), jnp.float32), component)
    np.testing.assert_allclose(jnp.exp(values), mdn.cdf(mixture, high) - mdn.cdf(mixture, low), rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_mixtures_several_targets_and_supports_are_products_and_sums():
    mixture = random_mixture(0, (6,), 3, 1)
    low = jnp.linspace(-2, 1, 6)[:, None]
    np.testing.assert_allclose(jnp.exp(log_cell(mixture, low, low + 0.7)), mdn.interval_prob(mixture, low, low + 0.7), rtol=1e-9)
    warped = mdn.warp(mixture, Support((0.0,), (np.inf,)))
    edges = jnp.array([0.0, 0.5, 1.5, 2.5, 3.5, 4.5])[:, None]
    np.testing.assert_allclose(
        jnp.exp(log_cell(warped, edges, edges + 1)), mdn.interval_prob(warped, edges, edges + 1), rtol=1e-9
    )
    two = random_mixture(1, (4,), 3, 2)
    low, high = jnp.full((4, 2), -0.5), jnp.full((4, 2), 0.8)
    np.testing.assert_allclose(jnp.exp(log_cell(two, low, high)), mdn.box_prob(two, low, high).value, rtol=1e-9)
    component: Any = mixture.component
    tril = jnp.ones((6, 3, 1, 1)) / component.scale[..., None]
    single = mdn.Mixture(mixture.logits, Full(component.loc, tril))
    ends = (jnp.full((6, 1), -0.5), jnp.full((6, 1), 0.8))
    np.testing.assert_allclose(log_cell(single, *ends), log_cell(mixture, *ends), rtol=1e-9)


def test_a_lattice_is_found_only_where_all_values_lie_on_it():
    whole = np.tile(np.arange(3.0, 9)[:, None], (20, 1))
    found = lattice_of("auto", whole)
    assert [float(part[0]) for part in found] == [1.0, 3.0, 8.0]
    np.testing.assert_array_equal(found.values(), np.arange(3, 9))
    tenths = lattice_of("auto", (np.tile(np.arange(5), 30)[:, None] * 0.1 + 20).astype(np.float32))
    assert tenths.step[0] == pytest.approx(0.1, rel=1e-5)
    assert not lattice_of("auto", np.tile([0.0, 1.0, 2.5], 20)[:, None]).exists  # 2.5 is no multiple of the smallest step
    assert not lattice_of("auto", np.arange(60.0)[:, None]).exists  # too few rows for each value
    assert lattice_of(1.0, np.arange(60.0)[:, None]).exists
    assert not lattice_of(0.5, np.column_stack([np.arange(60.0), np.arange(60) * 0.3])).exists
    assert not lattice_of(1e-6, np.arange(60.0)[:, None]).exists  # finer than a density can be told from


LATTICE = Lattice(np.array([0.5]), np.array([-1.0]), np.array([2.0]))


def test_values_of_a_lattice_are_those_that_numbers_round_to():
    assert LATTICE.nearest(np.array([[0.2], [0.3], [-9.1]])).tolist() == [[0.0], [0.5], [-9.0]]
    assert LATTICE.at_or_above(np.array([[0.2], [0.26], [0.25]])).tolist() == [[0.0], [0.5], [0.0]]


@pytest.mark.parametrize("units", [own_units(1), Units(np.array([7.0]), np.array([3.0]))], ids=["own", "relative"])
def test_the_discrete_distribution_agrees_with_brute_force(units):
    mixture = random_mixture(2, (5,), 3, 1)
    lattice = Lattice(
        *(units.factor * part + shift for part, shift in zip(LATTICE, (0, units.offset, units.offset), strict=True))
    )
    step, first = float(lattice.step[0]), float(lattice.first[0])
    observed = first + step * np.array([0.0, 3, 5, -1, 2])
    grid = first + step * np.arange(-4000, 4001)
    edges = jnp.asarray(units.relative((grid + step / 2)[:, None]))
    cdf = np.asarray(mdn.cdf(mixture[:, None], edges))
    mass = np.diff(cdf, axis=1, prepend=0)
    found = discrete(mixture, units, lattice, observed)
    np.testing.assert_allclose(found.probabilities().sum(axis=1), 1, rtol=1e-12)
    mean, variance = rounded_moments(mixture, units, lattice)
    np.testing.assert_allclose(mean[:, 0], mass @ grid, rtol=1e-3)
    np.testing.assert_allclose(variance[:, 0], mass @ grid**2 - (mass @ grid) ** 2, rtol=5e-3)
    brute = step * np.sum((cdf - (grid >= observed[:, None])) ** 2, axis=1)
    np.testing.assert_allclose(found.crps(observed), brute, rtol=1e-4)
    pit = lattice_pit(mixture, units, lattice, observed)
    at = np.array([np.searchsorted(grid, value - 1e-9) for value in observed])
    rows = np.arange(5)
    assert ((pit >= cdf[rows, at - 1] - 1e-9) & (pit <= cdf[rows, at] + 1e-9)).all()
    evaluation = evaluate_mixtures(mixture, observed[:, None], units, observed=Observed(lattice))
    assert evaluation.nll == pytest.approx(-np.mean(np.log(mass[rows, at] / step)), rel=1e-3)
    low, high = (np.array([grid[np.argmax(row >= level)] for row in cdf]) for level in (0.25, 0.75))
    assert evaluation.coverage[0][0] == np.mean((low <= observed) & (observed <= high))
    assert evaluation.width[0][0] == pytest.approx(np.median(high - low))
    assert evaluation.rmse[0] == pytest.approx(np.sqrt(np.mean((mass @ grid - observed) ** 2)), rel=1e-3)


def test_the_pit_of_draws_is_uniform():
    mixture = random_mixture(3, (4000,), 2, 1)
    draws = LATTICE.nearest(np.asarray(mdn.sample(jax.random.key(0), mixture)))
    assert stats.kstest(lattice_pit(mixture, own_units(1), LATTICE, draws[:, 0]), "uniform").pvalue > 0.001


def test_a_fit_of_whole_numbers_predicts_whole_numbers(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 2))
    y = np.clip(np.rint(4 + x[:, 0] + 0.6 * generator.normal(size=120)), 1, 8)
    settings = {"selection.settings": [], "ensemble.num_members": 1, "train.num_steps": 100, "train.report_every": 50}
    settings |= {"model.hidden_sizes": [8], "model.num_components": 2, "model.scale_floor": 0.001, "model.experts": []}
    predictor = mdn.fit(x, y, settings=settings)
    assert predictor.observed.lattice is not None
    values, probabilities = predictor.probabilities(x)
    np.testing.assert_array_equal(values, np.arange(y.min(), y.max() + 1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    inner = (y > y.min()) & (y < y.max())
    of_y = probabilities[np.arange(120), (y - y.min()).astype(int)]
    np.testing.assert_allclose(np.exp(predictor.log_prob(x, y))[inner], of_y[inner], rtol=1e-3, atol=1e-6)
    assert mdn.evaluate(predictor, x, y).nll == pytest.approx(-np.mean(predictor.log_prob(x, y)), rel=1e-4)
    for numbers in (predictor.quantiles(x, [0.1, 0.5]), predictor.intervals(x, [0.9]), predictor.sample(jax.random.key(0), x, 3)):
        np.testing.assert_array_equal(numbers, np.rint(numbers))
    assert np.sqrt(np.mean((predictor.mean(x)[:, 0] - y) ** 2)) < 0.9
    assert (predictor.log_prob(x, y) <= 0).all()  # a probability is at most 1, however narrow components are
    mdn.save(tmp_path / "m.safetensors", predictor)
    pandas.DataFrame({"x0": x[:, 0], "x1": x[:, 1], "y": y}).to_csv(tmp_path / "new.csv", index=False)
    options = ["probabilities=true", "intervals=[0.9]", "samples=2", "density_at=y", f"output={tmp_path / 'p.csv'}"]
    process = run("predict", tmp_path / "m.safetensors", tmp_path / "new.csv", *options)
    assert process.returncode == 0, process.stderr
    written: Any = pandas.read_csv(tmp_path / "p.csv")
    names = [f"probability_{value:g}" for value in values]
    np.testing.assert_allclose(written[names], probabilities, atol=1e-5)
    np.testing.assert_allclose(written[["mean", "sd"]], np.hstack([predictor.mean(x), predictor.sd(x)]), rtol=1e-4)
    np.testing.assert_array_equal(written[["low_0.9", "high_0.9"]], predictor.intervals(x, [0.9])[:, 0, :, 0])
    np.testing.assert_allclose(written["log_density"], predictor.log_prob(x, y), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(written[["quantile_0.5", "sample_1"]], np.rint(written[["quantile_0.5", "sample_1"]]))
    np.testing.assert_array_equal(mdn.load(tmp_path / "m.safetensors").probabilities(x)[1], probabilities)
    plain = mdn.fit(x, y, settings={**settings, "data.lattice": False})
    assert plain.observed.is_plain
    with pytest.raises(ValueError, match="got no single target of which values have probabilities"):
        plain.probabilities(x)
