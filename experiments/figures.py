"""Figures of a problem with one input and one target; each study passes the names of its axes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import charts, pipeline
from experiments.charts import Names
from experiments.page.summaries import summarise
from experiments.pipeline import Result
from experiments.schemas import CommandRun
from mdnjax.compilation import JitOnce
from mdnjax.data import Dataset, Splits
from mdnjax.mixture import Mixture, locations, log_prob, weights
from mdnjax.predictor import Predictor
from mdnjax.statistics import Region, branches, hdr
from mdnjax.types import Float

FORWARD, INVERSE, PLAIN = Names("x", "y"), Names("y (observed)", "x (to be predicted)"), Names("x", "y (to be predicted)")
NUM_GRID = 300
_hdr = JitOnce(hdr)
MIN_MODE_MASS = 0.01  # of the modes that are drawn
FIGURE_NAMES = ("data", "loss", "weights", "scales", "locations", "ribbon", "intervals", "samples")
FIGURE_NAMES += ("density", "calibration", "overview")


class Curves(NamedTuple):
    """A mixture at a grid of inputs x, and its density on a grid of targets y: everything that jax computes for the figures."""

    x: Float[np.ndarray, " G"]
    y: Float[np.ndarray, " G"]
    mixture: Mixture
    weights: Float[np.ndarray, "G K"]
    low: Float[np.ndarray, "G K"]
    loc: Float[np.ndarray, "G K"]
    high: Float[np.ndarray, "G K"]
    density: Float[np.ndarray, "G G"]
    regions: list[tuple[str, Region]]
    branches: Float[np.ndarray, "B G"]


def curves(predictor: Predictor, splits: Splits) -> Curves:
    """Computes the curves of a predictor over the range of the training points."""
    x = np.linspace(splits.train.x.min(), splits.train.x.max(), NUM_GRID, dtype=np.float32)
    y = np.linspace(*charts.padded_range(splits.train.y), NUM_GRID, dtype=np.float32)
    mixture = sort_components(jax.tree.map(np.asarray, predictor.at(x[:, None])))
    low, loc, high = (np.asarray(locations(mixture, step))[..., 0] for step in (-1.0, 0.0, 1.0))
    learnt = np.exp(np.asarray(log_prob(mixture[:, None], y[:, None])))
    regions = [(f"{100 * level:.0f} % region", _hdr(mixture, level)) for level in (0.9, 0.5)]
    return Curves(x, y, mixture, np.asarray(weights(mixture)), low, loc, high, learnt, regions, branches(mixture, MIN_MODE_MASS))


def compile_ahead(config: CommandRun, splits: Splits) -> None:
    """Compiles the programs of a run, of its figures and of its page."""
    predictor = pipeline.compile_ahead(config, splits)
    curves(predictor, splits)
    if config.report and importlib.util.find_spec("bokeh"):
        summarise(predictor, splits.test.x[:1], NUM_GRID, NUM_GRID)


def run_figures(result: Result, names: Names) -> Iterator[tuple[str, Figure]]:
    """Draws, by name, the figures of points and histories, which need no curves of the mixture."""
    points, metrics = (result.splits.train.x, result.splits.train.y), result.metrics
    yield "data", charts.plot_points([("data", *points)], names, f"{len(points[0])} training points")
    yield "loss", charts.plot_history(result.fit.history, metrics["truth_nll"], metrics["truth_train_nll"], noisy=result.noisy)
    data_and_samples = [("data", *points), ("samples", *_samples(result))]
    yield "samples", charts.plot_points(data_and_samples, names, "One Gumbel-max sample for every data point")
    yield "calibration", charts.plot_calibration(result.pit)


def mixture_figures(result: Result, names: Names) -> Iterator[tuple[str, Figure]]:
    """Draws, by name, the figures that show the mixture as a function of its input."""
    points = (result.splits.train.x, result.splits.train.y)
    x, y, mixture, weight, low, loc, high, learnt, regions, modes = curves(result.predictor, result.splits)
    assert result.truth
    exact = np.exp(result.truth.log_prob(*(a.reshape(-1, 1) for a in np.meshgrid(x, y, indexing="ij")))).reshape(learnt.shape)
    metrics = result.metrics

    if weight.shape[1] > 1:
        yield "weights", charts.plot_components(x, weight, weight, Names(names.x, "weight"), "Mixing weights")
    yield (
        "scales",
        charts.plot_components(
            x, (high - low) / 2, weight, Names(names.x, f"scale of {names.y[0]}"), "Scales (faint: no weight)", log=True
        ),
    )
    yield "locations", charts.plot_components(x, loc, weight, names, "Locations (faint: no weight)")
    yield "ribbon", charts.plot_ribbon(points, x, mixture, names, "Locations ± one scale, over the data")
    title = "Highest-density regions, and modes as branches"
    yield "intervals", charts.plot_intervals(points, x, regions, modes, names, title)
    title = f"p({names.y[0]} | {names.x[0]}): test NLL {metrics['test_nll']:.3f}, truth {metrics['truth_nll']:.3f}"
    yield "density", charts.plot_density(x, y, learnt, exact, names, title)
    yield "overview", charts.plot_overview(points, x, mixture, y, learnt, _samples(result), names)


def _samples(result: Result) -> tuple[np.ndarray, np.ndarray]:
    return result.splits.train.x[: len(result.samples)], result.samples


def regression_figure(data: Dataset, grid: np.ndarray, prediction: np.ndarray, names: Names, metrics: dict[str, float]) -> Figure:
    """Draws the prediction of the plain network over its data."""
    floor = f", best possible {metrics['floor_mse']:.2f}" if "floor_mse" in metrics else ""
    title = f"Regression of {names.y[0]} on {names.x[0]}: test MSE {metrics['test_mse']:.2f}{floor}"
    return charts.plot_regression((data.x, data.y), grid, prediction, names, title)


def sort_components(mixture: Mixture) -> Mixture:
    """Sorts components by their mean location, so that neighbours in a figure have consecutive numbers."""
    weight = np.asarray(weights(mixture))
    total = np.maximum(np.sum(weight, axis=0), np.finfo(weight.dtype).tiny)  # a component may have no weight anywhere
    centre = np.sum(weight * np.asarray(locations(mixture))[..., 0], axis=0) / total
    order = np.argsort(centre)
    return Mixture(mixture.logits[:, order], jax.tree.map(lambda leaf: leaf[:, order], mixture.component))
