"""Targets with atoms and censored targets: intervals, moments, scores and the whole way from a table, against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mdnjax as mdn
from experiments.uci.points import interval_scores
from mdnjax.cells import log_prob_or_cell
from mdnjax.components import Diagonal, Laplace, StudentT, Support
from mdnjax.data import Dataset, to_training_units
from mdnjax.data.atoms import Atoms, atoms_of
from mdnjax.data.scaler import log_slopes
from mdnjax.data.training_units import make_scaler, to_train_on
from mdnjax.data.units import Units, own_units
from mdnjax.evaluation import evaluate_mixtures
from mdnjax.mixed import atom_probabilities, crps_with_atoms, log_prob_with_atoms, moments_with_atoms, pit_with_atoms
from mdnjax.observed import Observed
from tests.oracles import random_mixture

RNG = np.random.default_rng(0)
POSITIVE = np.concatenate([np.zeros(40), RNG.gamma(2.0, 1.5, 60)])[:, None]
SPIKE = np.concatenate([np.full(30, 1.0), RNG.normal(0.5, 2.0, 70)])[:, None]
SHARE = np.concatenate([np.zeros(20), np.ones(15), RNG.beta(2, 2, 65)])[:, None]
CAPPED = np.minimum(RNG.normal(0, 2.0, (100, 1)), 1.5)


def found(*arguments, **options) -> Atoms:
    atoms = atoms_of(*arguments, **options)
    assert atoms is not None
    return atoms


UNIT = Support((0.0,), (1.0,))
KINDS = {
    "end": found("auto", POSITIVE),
    "inside": found("auto", SPIKE),
    "positive": found("auto", POSITIVE, Support((0.0,), (np.inf,))),
    "both ends": found("auto", SHARE, UNIT),
    "upper end": found((-1.0,), -POSITIVE - 1),
    "capped": found((), CAPPED, censored=(None, 1.5)),
}
DATA = {"end": POSITIVE, "inside": SPIKE, "positive": POSITIVE, "both ends": SHARE, "upper end": -POSITIVE - 1, "capped": CAPPED}
SUPPORTS = {"positive": Support((0.0,), (np.inf,)), "both ends": UNIT}


def mixture_of(kind, num=6):
    """Mixtures of the latent number, with components in the intervals of the atoms and outside of them."""
    mixture = random_mixture(3, (num,), 4, 1)
    support = KINDS[kind].support_of_latent(SUPPORTS.get(kind))
    if support is None:
        return mixture
    narrow = mdn.affine(mixture, np.zeros(1), np.array([0.3]))  # draws of wide logarithms say little about their moments
    return mdn.warp(narrow, support)


def draws_of(kind, mixture, num=200_000):
    latent = np.asarray(mdn.sample(jax.random.key(0), mixture, (num,)), np.float64)
    return latent, KINDS[kind].as_recorded().observed(latent)[..., 0].T


def test_an_atom_is_found_only_where_all_other_values_are_rare():
    assert KINDS["end"].value[:1].tolist() == [0.0]
    assert KINDS["both ends"].value[:2].tolist() == [0.0, 1.0]
    counts = RNG.poisson(2.0, (200, 1)).astype(float)
    assert atoms_of("auto", counts) is None  # a lattice
    assert atoms_of("auto", RNG.normal(size=(200, 1))) is None
    assert atoms_of("auto", np.concatenate([np.zeros((4, 1)), RNG.normal(size=(20, 1))])) is None  # four rows are few
    assert atoms_of("auto", np.repeat(POSITIVE, 2, axis=1)) is None  # of several targets no value is an atom
    weight = np.where(POSITIVE[:, 0] == 0, 1e-3, 1.0)
    assert atoms_of("auto", POSITIVE, weight=weight) is None
    with pytest.raises(ValueError, match="got 2 targets, expected a single one"):
        atoms_of((0.0,), np.repeat(POSITIVE, 2, axis=1))
    with pytest.raises(ValueError, match="got 2 values that are neither atoms nor censored"):
        atoms_of((0.0,), np.array([[0.0], [1], [2]]))
    with pytest.raises(ValueError, match="got 5 atoms, expected at most 4"):
        atoms_of((0.0, 1.0, 2.0, 3.0, 4.0), POSITIVE)


def test_weights_of_whole_numbers_have_the_effect_of_copies():
    weight = RNG.integers(0, 3, 100).astype(float)
    weighted, copied = found("auto", SPIKE, weight=weight), found("auto", np.repeat(SPIKE, weight.astype(int), axis=0))
    for first, second in zip(weighted, copied, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_is_a_monotone_function_of_its_latent_number_and_comes_back(kind):
    atoms, y = KINDS[kind].as_recorded(), DATA[kind]
    np.testing.assert_allclose(atoms.observed(atoms.latent(y)), y, atol=1e-12)
    low, high, exact = atoms.cells(y)
    inside = (low < atoms.latent(y)) & (atoms.latent(y) < high)
    assert (exact | inside).all()
    assert exact.sum() == np.sum(~np.isin(y, atoms.value[atoms.used]))
    grid = np.linspace(-12, 12, 4001)[:, None]
    assert (np.diff(atoms.observed(grid)[:, 0]) >= -1e-12).all()
    np.testing.assert_allclose(jnp.asarray(atoms.observed(jnp.asarray(grid))), atoms.observed(grid), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_moments_and_scores_agree_with_draws(kind):
    atoms, mixture, units = KINDS[kind].as_recorded(), mixture_of(kind), own_units(1)
    _, draws = draws_of(kind, mixture)
    values = atoms.value[atoms.used]
    shares = np.stack([np.mean(np.isclose(draws, value, atol=1e-9), axis=1) for value in values], axis=1)
    np.testing.assert_allclose(atom_probabilities(mixture, units, atoms), shares, atol=6e-3)
    mean, variance = moments_with_atoms(mixture, units, atoms)
    error = draws.std(axis=1) / np.sqrt(draws.shape[1])
    np.testing.assert_array_less(np.abs(mean[:, 0] - draws.mean(axis=1)), 5 * error + 1e-6)
    squares = (draws - draws.mean(axis=1, keepdims=True)) ** 2
    error = squares.std(axis=1) / np.sqrt(draws.shape[1])
    np.testing.assert_array_less(np.abs(variance[:, 0] - squares.mean(axis=1)), 6 * error + 1e-6)
    y = np.array([values[0], *np.quantile(draws, (0.2, 0.6, 0.9, 0.99)), values[-1]])[:, None]
    few = np.sort(draws[:, :20_000], axis=1)
    rank = 2 * np.arange(1, few.shape[1] + 1) - few.shape[1] - 1
    spread = few @ rank / few.shape[1] ** 2
    brute = np.abs(few - y).mean(axis=1) - spread
    np.testing.assert_allclose(crps_with_atoms(mixture, units, atoms, y), brute, rtol=0.03, atol=0.01)
    pit = pit_with_atoms(mixture, units, atoms, y)
    below, at = np.mean(draws < y - 1e-9, axis=1), np.mean(np.abs(draws - y) < 1e-9, axis=1)
    assert ((pit >= below - 6e-3) & (pit <= below + at + 6e-3)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_atoms_and_the_density_of_the_others_have_probability_one(kind):
    atoms, mixture, units = KINDS[kind].as_recorded(), mixture_of(kind, 1), own_units(1)
    ends = {"positive": (0, 4e4), "both ends": (0, 1)}.get(kind, (-40.0, 40.0))
    middle = np.linspace(0, 1, 20_001)[1:-1]
    grid = ends[0] + (ends[1] - ends[0]) * middle if kind != "positive" else np.exp(-30 + 42 * middle)
    known = atoms.place_of(grid[:, None])[:, 0] < 0
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(grid), axis=0), mixture)
    density = np.exp(log_prob_with_atoms(repeated, units, atoms, grid[:, None]))
    total = np.trapezoid(np.where(known, density, 0), grid) + atom_probabilities(mixture, units, atoms).sum()
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", ["end", "inside"])
def test_other_units_change_only_units(kind):
    atoms, mixture = KINDS[kind], mixture_of(kind)
    units = Units(np.array([2.0]), np.array([3.0]))
    moved = mdn.affine(mixture, np.array([-2 / 3]), np.array([1 / 3]))
    y = DATA[kind][[0, 45, 60, 70, 80, 99]]
    for function in (log_prob_with_atoms, crps_with_atoms, pit_with_atoms):
        np.testing.assert_allclose(
            function(moved, units, atoms, y), function(mixture, own_units(1), atoms, y), rtol=2e-5, atol=2e-6
        )
    for moments, expected in zip(
        moments_with_atoms(moved, units, atoms), moments_with_atoms(mixture, own_units(1), atoms), strict=True
    ):
        np.testing.assert_allclose(moments, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("family", ["diagonal", "laplace", "student_t"])
def test_squares_below_a_value_agree_with_quadrature(family):
    loc, scale = jnp.array([[0.3]]), jnp.array([[1.7]])
    component = {
        "diagonal": Diagonal(loc, scale),
        "laplace": Laplace(loc, scale),
        "student_t": StudentT(loc, scale, jnp.array([[4.5]])),
    }[family]
    law = {"diagonal": stats.norm, "laplace": stats.laplace, "student_t": stats.t(4.5)}[family]
    for y in (-4.0, 0.3, 2.0, 9.0):
        expected = law.expect(lambda z, y=y: max(y - 0.3 - 1.7 * z, 0) ** 2, ub=(y - 0.3) / 1.7, epsabs=1e-10)
        assert float(component.squared_deficits(jnp.array([y]))[0, 0]) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_exact_targets_is_that_of_their_density_and_of_others_that_of_their_cell():
    mixture, y = random_mixture(5, (4,), 3, 1), jnp.array([[0.2], [-1.0], [0.4], [3.0]])
    cells = jnp.array([[[-jnp.inf], [0.1]], [[-jnp.inf], [-0.5]], [[0.3], [0.5]], [[2.0], [jnp.inf]]])
    exact = jnp.array([[True], [False], [False], [False]])

    def values_of(mixture):
        values = log_prob_or_cell(mixture, y, cells, exact)
        return jnp.sum(values), values

    (_, values), gradients = jax.value_and_grad(values_of, has_aux=True)(mixture)
    expected = [mdn.log_prob(mixture[0], y[0])]
    expected += [jnp.log(mdn.interval_prob(mixture[i], cells[i, 0], cells[i, 1])) for i in (1, 2, 3)]
    np.testing.assert_allclose(values, np.array(expected).ravel(), rtol=1e-9)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_training_do_not_depend_on_how_often_an_atom_occurs(kind):
    atoms, support = KINDS[kind], KINDS[kind].support_of_latent(SUPPORTS.get(kind))
    y, x = DATA[kind], np.arange(len(DATA[kind]))[:, None] / 10.0
    scaler = make_scaler(Dataset(x, y), True, support, atoms)
    ordinary = atoms.place_of(y)[:, 0] < 0
    z = to_training_units(scaler, Dataset(x, y), np.float64)
    assert z.exact is not None
    assert (z.exact[:, 0] == ordinary).all()
    np.testing.assert_allclose([z.y[ordinary].mean(), z.y[ordinary].std()], [0, 1], atol=1e-9)
    assert (log_slopes(scaler, y)[~ordinary] == 0).all()
    assert z.cells is not None
    np.testing.assert_array_less(z.cells[~ordinary, 0], z.y[~ordinary])
    np.testing.assert_array_less(z.y[~ordinary], z.cells[~ordinary, 1])


def test_intervals_of_a_benchmark_end_at_the_atom():
    below_0 = mdn.Mixture(jnp.zeros((3, 1)), Diagonal(jnp.full((3, 1, 1), -2.0), jnp.full((3, 1, 1), 0.1)))
    scores = interval_scores(below_0, np.zeros((3, 1)), own_units(1), Observed(atoms=KINDS["end"]))
    assert scores == {"coverage_90": 1.0, "width_90": 0.0}


def test_scores_of_both_parts_add_up():
    atoms, mixture = KINDS["inside"], mixture_of("inside", 100)
    scores = evaluate_mixtures(mixture, SPIKE, own_units(1), observed=Observed(atoms=atoms))
    parts = scores.atoms
    assert parts is not None
    assert parts.values == [1.0]
    assert parts.observed_share == [pytest.approx(0.3)]
    assert scores.nll == pytest.approx(parts.nll_of_kind + 0.7 * parts.nll_of_rest)


def test_cells_are_bounded_in_the_loss_of_training_and_censored_targets_start_spread():
    scaler = make_scaler(Dataset(np.zeros((100, 1)), CAPPED), True, None, KINDS["capped"])
    examples = Dataset(np.arange(100.0)[:, None], CAPPED)
    plain, bounded = to_training_units(scaler, examples), to_train_on(scaler, examples)
    censored = CAPPED[:, 0] == 1.5
    assert plain.cells is not None
    assert bounded.cells is not None
    assert np.isposinf(plain.cells[censored, 1]).all()
    np.testing.assert_allclose(bounded.cells[censored, 1] - bounded.cells[censored, 0], 2, rtol=1e-5)
    np.testing.assert_array_equal(bounded.y[~censored], plain.y[~censored])
    assert len(np.unique(bounded.y[censored])) == censored.sum()
    assert (bounded.y[censored] > bounded.cells[censored, 0]).all()
    scaler = make_scaler(Dataset(np.zeros((100, 1)), POSITIVE), True, None, KINDS["end"])
    bounded = to_train_on(scaler, Dataset(np.zeros((100, 1)), POSITIVE))
    assert bounded.cells is not None
    assert np.isfinite(bounded.cells[POSITIVE[:, 0] == 0]).all()
