"""The inverted sinusoid: a regression that works, the same one failing on the swapped data, and a mixture that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table

from experiments import command, figures, report
from experiments.pipeline import Result, make_data, run
from experiments.progress import Clock, training
from experiments.run_folder import claim
from mdnjax import checkpoint, recipe
from mdnjax.config import split
from mdnjax.config.schema import Config, Loop, Optimizer, Regression
from mdnjax.config.section import Folder
from mdnjax.data import Dataset, sinusoid
from mdnjax.trained import save_model
from mdnjax.types import Params

FILES = (
    *("metrics.json", "timing.json", "environment.json", "history.csv"),
    *("model.safetensors", "regression.safetensors", "inverse_regression.safetensors"),
    *(f"figures/{name}.png" for name in figures.NAMES),
)


class InverseSine(Config, frozen=True):
    """The study's configuration: the one of every run, and the warm-up."""

    output: Folder = Field(default=Path("results/inverse_sine"), description="folder of the results")
    regression: Regression = Field(
        default_factory=lambda: Regression(
            num_steps=3000,
            report_every=500,
            optimizer=Optimizer(name="rmsprop", learning_rate=0.01, schedule="constant_schedule", options={"decay": 0.99}),
        ),
        description="warm-up",
    )


class Warmup(NamedTuple):
    """A plain network and its mean squared errors; its data in the direction it was trained in."""

    train: Dataset
    params: Params
    metrics: dict[str, float]


def study(config: InverseSine, overwrite: bool) -> None:
    """Runs the whole study and writes its run folder."""
    prepare(config)
    folder = claim(config, config.output, FILES, overwrite)
    clock = Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    with clock.phase("regression"):
        towards_v = fit_regression("regression", config, *map(sinusoid.forward, splits))
    with clock.phase("inverse regression"):
        towards_u = fit_regression("inverse regression", config, *splits)
        towards_u.metrics["floor_mse"] = sinusoid.floor_mse()
    result = run(config, splits, truth, clock)
    metrics = {
        "seed": config.seed,
        "status": "diverged" if result.fit.diverged else "finished",
        "regression": {"forward": towards_v.metrics, "inverse": towards_u.metrics},
        "mdn": {**result.metrics, "steps": int(result.fit.state.step)},
    }
    write(folder, config, clock, (towards_v, towards_u), result, metrics)
    show(folder, clock, metrics)
    if result.fit.diverged:
        raise command.RunFailed(stopped("mdn", metrics["mdn"]["steps"], config.train.num_steps, folder / "model.safetensors"))
    if wrong := [name for name, value in result.metrics.items() if not np.isfinite(value)]:
        raise command.RunFailed(f"mdn: not finite on the data: {', '.join(wrong)}; the trained network is in {folder}")


def stopped(name: str, step: int, num_steps: int, path: Path) -> str:
    """The message of a run that diverged."""
    return (
        f"{name}: loss or parameters were no longer finite after step {step} of {num_steps}; the last finite state is in {path}"
    )


def prepare(config: InverseSine) -> None:
    """Settles the machine, and tries what a configuration cannot be checked for by itself.

    Raises: UserError if there is no device, or optax cannot work with the options of an optimiser.
    """
    command.settle(config.runtime, all_cores=config.ensemble.num_members * config.ensemble.num_restarts > 1)
    faults = []
    sections: list[tuple[str, Loop]] = [("train", config.train), ("regression", config.regression)]
    for name, loop in sections:
        try:
            recipe.check(loop)
        except ValueError as error:
            faults.append(f"{name}.optimizer: {error}")
    if faults:
        raise command.UserError("; ".join(faults))


def fit_regression(name: str, config: InverseSine, train: Dataset, validation: Dataset, test: Dataset) -> Warmup:
    """Fits the plain network by mean squared error, in the data's own units, as the original study does."""
    shape, numbers = split(config.regression)
    steps = recipe.make_regression_recipe(shape, train.x.shape[1], train.y.shape[1])
    inputs = recipe.make_inputs(numbers, jax.random.key(config.seed), train, validation)
    with training(name, config.regression.num_steps, "validation mse") as observe:
        fitted = recipe.follow(steps, config.regression, inputs, observe)
    params = fitted.state.params
    if fitted.diverged:
        path = config.output / f"{name.replace(' ', '_')}.safetensors"
        checkpoint.save(path, params)
        raise command.RunFailed(stopped(name, int(fitted.state.step), config.regression.num_steps, path))

    def mse(part: Dataset) -> float:
        return float(np.mean((predict_regression(config, params, part.x) - part.y).astype(np.float64) ** 2))

    return Warmup(train, params, {"train_mse": mse(train), "test_mse": mse(test)})


def predict_regression(config: InverseSine, params: Params, x: np.ndarray) -> np.ndarray:
    """The plain network's y `[N, 1]` for every x `[N, 1]`."""
    network = recipe.make_regression(config.regression, 1, 1)
    return np.asarray(jax.jit(network.apply)(params, x.T)).T


def write(
    folder: Path, config: InverseSine, clock: Clock, warmups: tuple[Warmup, Warmup], result: Result, metrics: dict[str, Any]
) -> None:
    """Writes everything but the configuration, which is there already."""
    if not result.fit.diverged:
        write_figures(folder / "figures", config, clock, warmups, result)
    save_model(folder / "model.safetensors", config.model, result.trained)
    report.write_history(folder / "history.csv", result.fit.history)
    report.write_json(folder / "environment.json", report.environment())
    report.write_json(folder / "timing.json", clock.seconds)
    report.write_json(folder / "metrics.json", metrics)  # last: where it stands, the run is complete


def write_figures(folder: Path, config: InverseSine, clock: Clock, warmups: tuple[Warmup, Warmup], result: Result) -> None:
    """Draws and writes every figure of the study."""
    folder.mkdir(exist_ok=True)
    with clock.phase("figures"):
        for name, figure in figures.of_mixture(config.model, result):
            report.write_figure(folder / f"{name}.png", figure)
        for name, warmup, axes in zip(
            ("regression", "inverse_regression"), warmups, (figures.FORWARD, figures.INVERSE), strict=True
        ):
            grid = np.linspace(warmup.train.x.min(), warmup.train.x.max(), 400, dtype=np.float32)[:, None]
            figure = figures.regression(warmup.train, grid, predict_regression(config, warmup.params, grid), axes, warmup.metrics)
            report.write_figure(folder / f"{name}.png", figure)


def show(folder: Path, clock: Clock, metrics: dict[str, Any]) -> None:
    """Prints the study's one table."""
    mdn, regression = metrics["mdn"], metrics["regression"]
    table = Table(title=f"Inverse sinusoid, seed {metrics['seed']}", title_justify="left", show_edge=False)
    for heading in ("", "train", "test", "known limit"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [
        ("regression, mean squared error", *_pair(regression["forward"], "mse"), sinusoid.FORWARD_FLOOR_MSE),
        ("inverse regression, mean squared error", *_pair(regression["inverse"], "mse"), regression["inverse"]["floor_mse"]),
        ("mixture, NLL (nats)", *_pair(mdn, "nll"), mdn["entropy"]),
        ("truth on the same points, NLL", mdn["truth_train_nll"], mdn["truth_nll"], mdn["entropy"]),
        ("excess over the truth", mdn["train_nll"] - mdn["truth_train_nll"], mdn["excess_nll"], 0.0),
        ("mixture, CRPS", None, mdn["test_crps"], None),
        ("coverage of the 50 % interval", None, mdn["coverage_50"], 0.5),
        ("coverage of the 90 % interval", None, mdn["coverage_90"], 0.9),
    ]
    for label, *numbers in rows:
        table.add_row(label, *("" if number is None else f"{number:.4f}" for number in numbers))
    Console(width=100, highlight=False).print(table)
    print("seconds:", ", ".join(f"{name} {spent:.1f}" for name, spent in clock.seconds.items()))
    print(f"results: {folder}")


def _pair(metrics: dict[str, float], name: str) -> tuple[float, float]:
    return metrics[f"train_{name}"], metrics[f"test_{name}"]


if __name__ == "__main__":
    command.main("experiments.inverse_sine", __doc__ or "", InverseSine, command.CONFIGS / "inverse_sine.yaml", study)
