"""The inverted sinusoid: a regression that works, the same one failing on the swapped data, and a mixture that does not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import command, figures, report
from experiments.pipeline import make_data, run
from experiments.progress import Clock, training
from experiments.regression import make_regression, make_regression_functions
from experiments.run_folder import create_run_folder
from experiments.schemas import InverseSine
from experiments.study import (
    MODEL_FILE,
    RUN_FILES,
    check_finite,
    divergence_message,
    prepare,
    resolve_num_components,
    show,
    write_run,
)
from mdnjax import checkpoint
from mdnjax.compilation import JitOnce, in_background
from mdnjax.config import split
from mdnjax.data import Dataset, sinusoid
from mdnjax.training import functions
from mdnjax.training.train import train_one
from mdnjax.types import Params

FILES = (
    *RUN_FILES,
    *("regression.safetensors", "inverse_regression.safetensors"),
    *(f"figures/{name}.png" for name in ("regression", "inverse_regression", *figures.NAMES)),
)


class Warmup(NamedTuple):
    """A plain network and its mean squared errors; its data in the direction it was trained in."""

    train: Dataset
    params: Params
    metrics: dict[str, float]


def study(config: InverseSine, overwrite: bool) -> None:
    """Runs the whole study and writes its run folder."""
    prepare(config, regression=config.regression)
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    with in_background(partial(figures.compile_ahead, config, splits)):
        with clock.phase("regression"):
            towards_v = fit_regression("regression", config, *map(sinusoid.forward, splits))
        with clock.phase("inverse regression"):
            towards_u = fit_regression("inverse regression", config, *splits)
            towards_u.metrics["floor_mse"] = sinusoid.floor_mse()
        settled = resolve_num_components(config, splits, clock)
        result = run(settled, splits, truth, clock, folder / MODEL_FILE)
        if not result.fit.diverged:
            with clock.phase("figures"):
                report.write_figures(folder / "figures", figures.of_run(result, figures.INVERSE))
                report.write_figures(folder / "figures", of_regressions(config, towards_v, towards_u))
    if not result.fit.diverged:
        with clock.phase("figures"):
            report.write_figures(folder / "figures", figures.of_mixture(result, figures.INVERSE))
    forward, inverse = towards_v.metrics, towards_u.metrics
    write_run(folder, clock, result, {"regression": {"forward": forward, "inverse": inverse}})
    above = (
        ("regression, mean squared error", forward["train_mse"], forward["test_mse"], sinusoid.FORWARD_FLOOR_MSE),
        ("inverse regression, mean squared error", inverse["train_mse"], inverse["test_mse"], inverse["floor_mse"]),
    )
    show(f"Inverse sinusoid, seed {config.seed}", folder, clock, result, above)
    check_finite(folder, result)


def fit_regression(name: str, config: InverseSine, train: Dataset, validation: Dataset, test: Dataset) -> Warmup:
    """Fits the plain network by mean squared error, in the data's own units, as the original study does."""
    shape, numbers = split(config.regression)
    steps = make_regression_functions(shape, train.x.shape[1], train.y.shape[1])
    inputs = functions.make_training_inputs(numbers, jax.random.key(config.seed), train, validation)
    with training(name, config.regression.num_steps, "validation mse") as observe:
        fitted = train_one(steps, config.regression, inputs, observe)
    params = fitted.state.params
    if fitted.diverged:
        path = config.output / f"{name.replace(' ', '_')}.safetensors"
        checkpoint.save(path, params)
        raise command.RunFailed(divergence_message(name, int(fitted.state.step), config.regression.num_steps, path))

    def mse(part: Dataset) -> float:
        return float(np.mean((predict_regression(config, params, part.x) - part.y).astype(np.float64) ** 2))

    return Warmup(train, params, {"train_mse": mse(train), "test_mse": mse(test)})


def predict_regression(config: InverseSine, params: Params, x: np.ndarray) -> np.ndarray:
    """The plain network's y `[N, 1]` for every x `[N, 1]`."""
    return np.asarray(_apply(config.regression, params, x.T)).T


_apply = JitOnce(lambda regression, params, x: make_regression(regression, 1, 1).apply(params, x), static_argnums=(0,))


def of_regressions(config: InverseSine, forward: Warmup, inverse: Warmup) -> Iterator[tuple[str, Figure]]:
    """The figures of the plain network, by name."""
    for name, axes, warmup in (("regression", figures.FORWARD, forward), ("inverse_regression", figures.INVERSE, inverse)):
        grid = np.linspace(warmup.train.x.min(), warmup.train.x.max(), 400, dtype=np.float32)[:, None]
        yield name, figures.regression(warmup.train, grid, predict_regression(config, warmup.params, grid), axes, warmup.metrics)


if __name__ == "__main__":
    command.main("experiments.inverse_sine", __doc__ or "", InverseSine, command.CONFIGS / "inverse_sine.yaml", study)
