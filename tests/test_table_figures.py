"""Figures of tables whose targets are whole numbers: they show probabilities, and intervals that end at these numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.tabular.figures import plot_densities, plot_observed
from mdnjax.components.diagonal import Diagonal
from mdnjax.data.lattice import Lattice
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.statistics import central_interval

NUM = 40
OBSERVED = Observed(Lattice(np.array([2.0]), np.array([4.0]), np.array([16.0])))
UNITS = Units(np.array([10.0]), np.array([3.0]))
LOC = np.linspace(-1.5, 1.5, NUM, dtype=np.float32)[:, None, None]
MIXTURE = Mixture(jnp.zeros((NUM, 1)), Diagonal(jnp.asarray(LOC), jnp.full((NUM, 1, 1), 0.6)))
Y = OBSERVED.draws(UNITS.absolute(LOC[:, 0] + 0.6 * np.random.default_rng(0).normal(size=(NUM, 1))))
RELATIVE = UNITS.relative(Y).astype(np.float32)


def test_the_lattice_in_other_units_has_the_same_values():
    relative = OBSERVED.relative(UNITS)
    np.testing.assert_allclose(UNITS.absolute(relative.values[:, None])[:, 0], OBSERVED.values, rtol=1e-12)
    y = np.linspace(3, 17, 50)[:, None]
    np.testing.assert_allclose(UNITS.absolute(relative.quantiles(UNITS.relative(y))), OBSERVED.quantiles(y), rtol=1e-12)


def test_each_panel_has_a_bar_for_each_value_whose_height_is_its_probability():
    figure = plot_densities(MIXTURE, RELATIVE, np.arange(NUM), np.arange(NUM).tolist(), "y", OBSERVED.relative(UNITS))
    expected = OBSERVED.probabilities(MIXTURE, UNITS)
    for axes in figure.axes:
        row = int(axes.get_title().split()[1].rstrip(":"))
        boxes: Any = axes.patches
        places = UNITS.absolute(np.array([[bar.get_x() + bar.get_width() / 2] for bar in boxes]))[:, 0]
        bars = dict(zip(places.round(6).tolist(), [bar.get_height() for bar in boxes], strict=True))
        assert 2 <= len(bars) <= 7
        for value, height in bars.items():
            np.testing.assert_allclose(height, expected[row, OBSERVED.values == value], atol=1e-5)
        assert sum(bars.values()) > 0.98
        assert axes.get_ylabel() == "probability"


def test_rows_count_as_inside_if_the_interval_of_whole_numbers_contains_them():
    figure = plot_observed(MIXTURE, RELATIVE, "y", OBSERVED.relative(UNITS))
    ends = OBSERVED.quantiles(UNITS.absolute(central_interval(MIXTURE, 0.8)))
    inside = int(np.sum((ends[:, 0] <= Y[:, 0]) & (Y[:, 0] <= ends[:, 1])))
    assert 0 < inside < NUM
    legend = figure.axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [f"observed inside ({inside})", f"observed outside ({NUM - inside})"]
