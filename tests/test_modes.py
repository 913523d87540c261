"""Tests of modes and regions: brute-force counts, missing values, scales that the dtype cannot resolve, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import mdnjax as mdn

NUM_MIXTURES, MAX_COMPONENTS = 200, 10
STEPS = np.concatenate([[1e-9], np.linspace(0.02, 6, 300), np.linspace(6.1, 14, 80), np.geomspace(14.2, 68, 60)])
BOX = (-1.0, 2.0)
# A mode of Student-t components lies between the tails of a narrow and of a wide one, far from both.
HIDDEN = (
    [-0.01923019, 0.92513889, 0.53099895, 0.31406453, 1.37329471, -1.90821159, -1.84820652],
    [0.57138336, 2.58719635, 5.67182255, -2.18959308, -3.03019953, 0.05866136, 2.92579675],
    [0.16536963, 1.08343685, 0.31033441, 2.5869, 0.201088, 0.37350982, 6.04805326],
    [6.93669891, 4.86141634, 6.10635757, 6.46853924, 36.28339005, 30.71371269, 6.4091506],
)


def random_parameters(seed):
    """Returns logits, locations, scales and degrees of freedom; the weight of a mixture's last components is 0."""
    rng = np.random.default_rng(seed)
    shape = (NUM_MIXTURES, MAX_COMPONENTS)
    logits, loc, scale = rng.standard_normal(shape), 3 * rng.standard_normal(shape), np.exp(rng.standard_normal(shape))
    df = 2.1 + np.exp(2 + rng.standard_normal(shape))
    used = np.arange(MAX_COMPONENTS) < 1 + np.arange(NUM_MIXTURES)[:, None] % MAX_COMPONENTS
    logits = np.where(used, logits, -np.inf)
    for parameter, values in zip((logits, loc, scale, df), HIDDEN, strict=True):
        parameter[6, :7] = values
    return logits, loc, scale, df


def number_of_modes(kind, box, logits, loc, scale, df):
    """Counts where the slope of log p, written out, changes its sign on a fine grid."""
    used = np.isfinite(logits)
    logits, loc, scale, df = (part[used] for part in (logits, loc, scale, df))
    points = np.unique(np.concatenate([loc + sign * step * scale for step in STEPS for sign in (-1, 1)]))
    z = (points[:, None] - loc) / scale
    if kind == "laplace":
        log_f, slope = -np.abs(z), -np.sign(z)
    elif kind == "student_t":
        constant = special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - 0.5 * np.log(df)
        log_f, slope = constant - (df + 1) / 2 * np.log1p(z**2 / df), -(df + 1) * z / (df + z**2)
    else:
        log_f, slope = -0.5 * z**2, -z
    share = special.softmax(logits - np.log(scale) + log_f, axis=1)
    rising = np.sum(share * slope / scale, axis=1) + (np.tanh(points / 2) if box else 0) > 0
    bounds = int(not rising[0]) + int(rising[-1]) if box else 0
    return np.sum(rising[:-1] & ~rising[1:]) + bounds


@pytest.mark.parametrize("case", ["diagonal", "laplace", "student_t", "laplace in a box"])
def test_no_mode_is_missed_and_none_is_false(case):
    kind, box = case.split()[0], "box" in case
    logits, loc, scale, df = parameters = random_parameters(0)
    if box:
        parameters = logits, loc / 3, np.minimum(scale, 0.9), df
    arrays = [jnp.asarray(part)[..., None] for part in parameters[1:]]
    component = mdn.StudentT(*arrays) if kind == "student_t" else mdn.FAMILIES[kind](*arrays[:2])
    mixture = mdn.Mixture(jnp.asarray(logits), component)
    mixture = mdn.warp(mixture, mdn.Support(BOX[:1], BOX[1:])) if box else mixture
    found = mdn.modes(mixture)
    expected = [number_of_modes(kind, box, *(part[i] for part in parameters)) for i in range(NUM_MIXTURES)]
    np.testing.assert_array_equal(found.num_modes, expected)
    np.testing.assert_allclose(np.nansum(found.mass, axis=-1), 1, rtol=1e-9)


def laplace_of_two():
    """Returns a mixture whose wider component has its mode within the reach of the other one."""
    loc, scale = jnp.array([[2.2254169], [-0.39841342]]), jnp.array([[3.0247536], [0.44077250]])
    return mdn.Mixture(jnp.array([1.148032, 0.06871175]), mdn.Laplace(loc, scale))


def test_regions_of_kinks_have_their_probability_and_contain_what_is_more_probable():
    mixture = laplace_of_two()
    region = mdn.hdr(mixture, 0.3)
    assert int(region.num_pieces) == 2
    inside = mdn.interval_prob(mixture, region.low[:, None], region.high[:, None])
    assert float(jnp.sum(inside)) == pytest.approx(0.3, abs=1e-12)
    y = jnp.linspace(-6, 10, 4001)
    within = jnp.any((y > region.low[:, None]) & (y < region.high[:, None]), axis=0)
    assert (np.asarray(within) == np.asarray(mdn.log_prob(mixture, y[:, None]) > region.log_density)).all()
    np.testing.assert_allclose(mdn.hdr_mass(mixture, region.low[:, None]), 0.3, atol=1e-12)


def test_regions_of_missing_and_impossible_values():
    mixture = mdn.warp(laplace_of_two(), mdn.Support((0.0,), (np.inf,)))
    y = jnp.array([np.nan, -1.0, 0.0, np.inf])[:, None]
    np.testing.assert_array_equal(mdn.hdr_mass(mixture, y), [np.nan, 1, 1, 1])
    assert np.isnan(mdn.hdr_coverage(jnp.array([0.2, np.nan]), 0.5))
    assert float(mdn.hdr_coverage(jnp.array([0.2, 0.8]), 0.5)) == 0.5


def test_scales_that_are_small_for_the_dtype():
    """The first row has scales below eps times the location; in the second the location plus the scale is the location."""
    loc, scale = np.array([[1e6, 1e6 + 1], [1e6, 1e6 + 1]]), np.array([[0.05, 0.07], [0.01, 0.07]])

    def of(loc, scale, dtype):
        return mdn.Mixture(
            jnp.zeros(loc.shape, dtype), mdn.Laplace(*(jnp.asarray(part[..., None], dtype) for part in (loc, scale)))
        )

    def numbers(mixture):
        modes, region = mdn.modes(mixture), mdn.hdr(mixture, 0.9)
        mass = mdn.hdr_mass(mixture, jnp.asarray(mixture.component.loc[:, 0] + 0.0625, mixture.logits.dtype))
        counts = jnp.stack([modes.num_modes, region.num_pieces], axis=-1)
        return counts, jnp.stack([region.size, region.log_density, mass, *modes.mass.T, *modes.log_density.T], axis=-1)

    counts, values = map(np.asarray, numbers(of(loc, scale, jnp.float32)))
    expected_counts, expected = map(np.asarray, numbers(of(loc - 1e6, np.float32(scale), jnp.float64)))
    np.testing.assert_array_equal(counts, [expected_counts[0], [0, 0]])
    np.testing.assert_allclose(values[0], expected[0], rtol=2e-5)
    assert np.isnan(values[1]).all()


TWO = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), laplace_of_two())
KEY = jax.random.key(0)
WRONG = {
    "hdr: got level=90.0, expected a number from 0 to 1; 90 % is 0.9": lambda: mdn.hdr(TWO, 90.0),
    "hdr: got level with batch (3,), expected one that broadcasts": lambda: mdn.hdr(TWO, jnp.ones(3)),
    "hdr_mass: got y with batch (3,), expected one that broadcasts": lambda: mdn.hdr_mass(TWO, jnp.ones((3, 1))),
    "hdr_level: got level=-0.5, expected a number from 0 to 1": lambda: mdn.hdr_level(KEY, TWO, -0.5),
    "hdr_level: got num_samples=0, expected an integer of at least 2": lambda: mdn.hdr_level(KEY, TWO, 0.5, 0),
    "hdr_mass_by_samples: got y with batch (9, 2)": lambda: mdn.hdr_mass_by_samples(KEY, TWO, jnp.ones((9, 2, 1)), 9),
    "highest_mode: got least_mass=90": lambda: mdn.highest_mode(TWO, 90.0),
    "branches: got least_mass=2": lambda: mdn.branches(TWO, 2.0),
    "hdr_coverage: got level=90": lambda: mdn.hdr_coverage(jnp.ones(3), 90.0),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_one_line(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        WRONG[message]()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_least_mass_that_no_mode_has_gives_nan():
    assert np.isnan(mdn.highest_mode(TWO, 0.9)).all()
    traced = jax.jit(mdn.highest_mode)(TWO, jnp.array(-1.0))
    assert np.isnan(traced).all()


def test_all_modes_of_many_components_are_found_part_by_part():
    """Of 40 components, 40 are apart in the first mixture, 3 in the second and none in the third."""
    places = np.arange(40.0)
    loc = 10 * np.stack([places, places % 3, 0 * places])
    logits = np.log(np.array([1 + places, 1 + 0 * places, 1 + 0 * places]))
    mixture = mdn.Mixture(jnp.array(logits), mdn.Diagonal(jnp.array(loc)[..., None], jnp.ones((3, 40, 1))))
    found = mdn.modes(mixture)
    assert found.num_modes.tolist() == [40, 3, 1]
    for row, num in enumerate((40, 3, 1)):
        np.testing.assert_allclose(found.y[row, :num, 0], 10 * np.arange(num), atol=1e-4)
        assert np.isnan(found.y[row, num:]).all()
    np.testing.assert_allclose(found.mass[0], (1 + places) / np.sum(1 + places), rtol=1e-5)
