"""The public plots: each draws what it says on the axes that it gets, for rows in any order, and explains wrong arguments."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import mdnjax as mdn
from mdnjax import plots

matplotlib.use("agg")
NUM = 40
X = np.random.default_rng(0).permutation(np.linspace(-1, 1, NUM))
Y = X + 0.1 * np.random.default_rng(1).standard_normal(NUM)
MIXTURE = mdn.Mixture(jnp.zeros((NUM, 1)), mdn.Diagonal(jnp.asarray(X)[:, None, None], jnp.full((NUM, 1, 1), 0.1)))


def axes():
    return Figure().subplots()


@pytest.mark.parametrize("shape", [(NUM,), (NUM, 1)])
def test_a_ribbon_is_one_scale_on_either_side_of_the_location(shape):
    ax = axes()
    assert plots.ribbon(X.reshape(shape), Y.reshape(shape), MIXTURE, ax=ax) is ax
    (line,), (_, band) = ax.lines, ax.collections
    np.testing.assert_allclose(np.asarray(line.get_ydata()), np.sort(X), atol=1e-12)
    assert band.get_datalim(ax.transData).bounds == pytest.approx((-1, -1.1, 2, 2.2))


def test_curves_are_the_median_and_the_central_intervals():
    ax = plots.curves(X, Y, MIXTURE, levels=(0.9,), ax=axes())
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_ydata()), np.sort(X), atol=1e-9)
    assert ax.collections[1].get_datalim(ax.transData).height == pytest.approx(2 + 2 * 0.1 * 1.6448536, rel=1e-6)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["90 % interval", "median"]


def test_a_density_is_its_square_root_on_a_grid_of_targets():
    ax = plots.density(X, Y, MIXTURE, ax=axes())
    shown = np.asarray(ax.collections[0].get_array())
    assert shown.shape == (plots.NUM_GRID, NUM)
    assert shown.max() == pytest.approx(np.sqrt(1 / (0.1 * np.sqrt(2 * np.pi))), rel=1e-2)


@pytest.mark.parametrize(("num", "num_bins"), [(15, 2), (100, 10), (5000, 20)])
def test_bars_of_a_calibration_plot_follow_the_number_of_rows(num, num_bins):
    y = np.random.default_rng(0).standard_normal(num)
    mixture = mdn.Mixture(jnp.zeros((num, 1)), mdn.Diagonal(jnp.zeros((num, 1, 1)), jnp.ones((num, 1, 1))))
    ax = plots.calibration(y, mixture, ax=axes())
    (bars,) = ax.containers
    assert len(bars) == num_bins
    assert np.mean([bar.get_height() for bar in bars]) == pytest.approx(1)


def test_without_axes_a_figure_is_made():
    import matplotlib.pyplot as plt

    ax = plots.ribbon(X, Y, MIXTURE)
    assert ax is plt.gca()
    plt.close()


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda: plots.ribbon(X[:5], Y, MIXTURE), "y: got 40 numbers for 5 rows of x"),
        (lambda: plots.ribbon(np.stack([X, X], 1), Y, MIXTURE), r"x: got shape \(40, 2\), expected \[N\] or \[N, 1\]"),
        (lambda: plots.density(X, Y, MIXTURE[:5]), r"mixture: got batch shape \(5,\), expected \(40,\)"),
        (lambda: plots.curves(X, Y, MIXTURE, levels=(90.0,)), "levels: got 90.0, expected numbers between 0 and 1"),
        (lambda: plots.calibration(X[:0], MIXTURE), r"y: got shape \(0,\)"),
    ],
)
def test_wrong_arguments_are_explained(plot, message):
    with pytest.raises(ValueError, match=message):
        plot()
