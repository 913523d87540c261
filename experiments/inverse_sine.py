"""The inverted sinusoid: least squares predicts y from x, fails for x from y, and a mixture density network does not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import command, figures
from experiments.page.writing import write_page
from experiments.pipeline import make_data, run
from experiments.progress import Clock
from experiments.regression import make_regression, make_regression_functions
from experiments.run_folder import create_run_folder
from experiments.schemas import InverseSine
from experiments.study import (
    MODEL_FILE,
    RUN_FILES,
    check_finite,
    divergence_message,
    known_density_page,
    prepare,
    resolve_num_components,
    show,
    table_of,
    write_figures,
    write_run,
)
from mdnjax import checkpoint
from mdnjax.compilation import JitOnce, in_background
from mdnjax.config import split
from mdnjax.data import Dataset, sinusoid
from mdnjax.progress import training_progress
from mdnjax.training import functions
from mdnjax.training.train import train_one
from mdnjax.types import Params

DEFAULT = command.CONFIGS / "inverse_sine.yaml"
QUESTION = (
    "A curve, y = 7 sin(0.75 x) + 0.5 x with noise, gives one y for each x, but up to five x for one y. Which x are possible for "
    "a given y, and with which probabilities? Least squares predicts their mean, where there may be no x at all; a mixture "
    "density network predicts the whole distribution p(x | y)."
)
FILES = (
    *RUN_FILES,
    *("regression.safetensors", "inverse_regression.safetensors"),
    *(f"figures/{name}.png" for name in ("regression", "inverse_regression", *figures.FIGURE_NAMES)),
)


class FittedRegression(NamedTuple):
    """A plain network: the data that it was trained on, its parameters and its mean squared errors."""

    train: Dataset
    params: Params
    metrics: dict[str, float]


def study(config: InverseSine, overwrite: bool) -> None:
    """Runs the whole study and writes its run folder."""
    prepare(config, regression=config.regression)
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    with in_background(partial(figures.compile_ahead, config, splits), partial(clock.phase, "figures")):
        with clock.phase("regression"):
            forward = fit_regression("regression", config, *map(sinusoid.forward, splits))
        with clock.phase("inverse regression"):
            inverse = fit_regression("inverse regression", config, *splits)
            inverse.metrics["floor_mse"] = sinusoid.floor_mse()
        resolved = resolve_num_components(config, splits, clock)
        result = run(resolved, splits, truth, clock, folder / MODEL_FILE)
        groups = figures.run_figures(result, figures.INVERSE), regression_figures(config, forward, inverse)
        write_figures(folder, clock, result, *groups)
    write_figures(folder, clock, result, figures.mixture_figures(result, figures.INVERSE))
    mse, inverse_mse = forward.metrics, inverse.metrics
    above = (
        ("regression, mean squared error", mse["train_mse"], mse["test_mse"], sinusoid.FORWARD_FLOOR_MSE),
        ("inverse regression, mean squared error", *(inverse_mse[name] for name in ("train_mse", "test_mse", "floor_mse"))),
    )
    title, table = f"Inverse sinusoid, seed {config.seed}", table_of(result, above)
    page = partial(known_density_page, QUESTION, DEFAULT, result, table, figures.INVERSE, folder)
    write_page(folder, clock, title, page, wanted=config.report and not result.fit.diverged)
    write_run(folder, clock, result, {"regression": {"forward": mse, "inverse": inverse_mse}})
    show(title, folder, clock, result, table)
    check_finite(folder, result)


def fit_regression(name: str, config: InverseSine, train: Dataset, validation: Dataset, test: Dataset) -> FittedRegression:
    """Fits the plain network by mean squared error, in the data's units, as the original study does.

    Raises: RunFailed if the training diverged.
    """
    shape, numbers = split(config.regression)
    training = make_regression_functions(shape, train.x.shape[1], train.y.shape[1])
    inputs = functions.make_training_inputs(numbers, jax.random.key(config.seed), train, validation)
    with training_progress(name, config.regression.num_steps, "validation MSE") as observe:
        fitted = train_one(training, config.regression, inputs, observe)
    params = fitted.state.params
    if fitted.diverged:
        path = config.output / f"{name.replace(' ', '_')}.safetensors"
        checkpoint.save(path, params)
        raise command.RunFailed(divergence_message(name, int(fitted.state.step), config.regression.num_steps, path))

    def mse(part: Dataset) -> float:
        return float(np.mean((predict_regression(config, params, part.x) - part.y).astype(np.float64) ** 2))

    return FittedRegression(train, params, {"train_mse": mse(train), "test_mse": mse(test)})


def predict_regression(config: InverseSine, params: Params, x: np.ndarray) -> np.ndarray:
    """Returns the y `[N, 1]` that the plain network predicts for every x `[N, 1]`."""
    return np.asarray(_apply(config.regression, params, x.T)).T


_apply = JitOnce(lambda regression, params, x: make_regression(regression, 1, 1).apply(params, x), static_argnums=(0,))


def regression_figures(config: InverseSine, forward: FittedRegression, inverse: FittedRegression) -> Iterator[tuple[str, Figure]]:
    """Draws, by name, the figures of the plain networks."""
    for name, axes, fitted in (("regression", figures.FORWARD, forward), ("inverse_regression", figures.INVERSE, inverse)):
        grid = np.linspace(fitted.train.x.min(), fitted.train.x.max(), 400, dtype=np.float32)[:, None]
        prediction = predict_regression(config, fitted.params, grid)
        yield name, figures.regression_figure(fitted.train, grid, prediction, axes, fitted.metrics)


if __name__ == "__main__":
    command.main("experiments.inverse_sine", __doc__ or "", InverseSine, DEFAULT, study)
