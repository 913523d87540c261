"""Problems whose density is known: trains a mixture density network, scores it against the truth, and shows both."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import command, figures, report
from experiments.pipeline import OF_TRUTH, Result, make_data, run
from experiments.progress import Clock
from experiments.run_folder import claim
from experiments.studies import Density
from experiments.sweep import choice
from mdnjax import recipe
from mdnjax.compilation import beside
from mdnjax.config.schema import Loop, Run
from mdnjax.data.columns import Columns
from mdnjax.trained import save_model

RUN_FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", "model.safetensors")
FILES = (*RUN_FILES, *(f"figures/{name}.png" for name in figures.NAMES))


def study(config: Density, overwrite: bool) -> None:
    """Runs one problem and writes its run folder."""
    prepare(config)
    folder, clock = claim(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    if truth is None or splits.train.x.shape[1] > 1 or splits.train.y.shape[1] > 1:
        raise command.UserError(f"data.name: got {config.data.name!r}, expected a problem of one input and a known density")
    with beside(partial(figures.compile_ahead, config, splits)):
        settled = settle_number(config, clock)
        result = run(settled, splits, truth, clock)
        if not result.fit.diverged:
            with clock.phase("figures"):
                report.write_figures(folder / "figures", figures.of_run(result, figures.PLAIN))
    if not result.fit.diverged:
        with clock.phase("figures"):
            report.write_figures(folder / "figures", figures.of_mixture(result, figures.PLAIN))
    write_run(folder, clock, result, {})
    show(f"{config.data.name}, seed {config.seed}", folder, clock, result)
    check_sound(folder, result)


def prepare(config: Run, **others: Loop) -> None:
    """Settles the machine, and tries what a configuration cannot be checked for by itself.

    Raises: UserError if there is no device, or optax cannot work with the options of an optimiser.
    """
    several = config.num_runs > 1 or choice.is_open(config)
    command.settle(config.runtime, all_cores=several)
    check_optimizers(train=config.train, **others)


def check_optimizers(**loops: Loop) -> None:
    """Raises: UserError if optax cannot work with the options of an optimiser, by the names of the sections."""
    faults = []
    for name, loop in loops.items():
        try:
            recipe.check(loop)
        except ValueError as error:
            faults.append(f"{name}.optimizer: {error}")
    if faults:
        raise command.UserError("; ".join(faults))


def settle_number(config: Run, clock: Clock) -> Run:
    """The same configuration with a number of components; how the candidates came out is printed."""
    if not choice.is_open(config):
        return config
    with clock.phase("number of components"):
        member = choice.of_run(config)
        found = choice.compare([member])[0]
    choice.show(found)
    return choice.with_number(member, found.chosen).config


def write_run(folder: Path, clock: Clock, result: Result, more: dict[str, Any], columns: Columns | None = None) -> None:
    """Writes model, history, environment, timing and metrics; the configuration is there already."""
    metrics = {
        "seed": result.config.seed,
        "status": "diverged" if result.fit.diverged else "finished",
        **more,
        "mdn": {
            **result.metrics,
            "steps": int(result.fit.state.step),
            "num_components": result.config.model.num_components,
            "diagnosis": result.diagnosis._asdict(),
        },
    }
    save_model(folder / "model.safetensors", result.config.model, result.trained, columns)
    report.write_history(folder / "history.csv", result.fit.history)
    report.write_json(folder / "environment.json", report.environment())
    report.write_json(folder / "timing.json", clock.seconds)
    report.write_json(folder / "metrics.json", metrics)  # last: where it stands, the run is complete


def show(title: str, folder: Path, clock: Clock, result: Result, above: tuple[tuple[Any, ...], ...] = ()) -> None:
    """Prints the one table of a run, with rows above those of the mixture, and what looks wrong."""
    mdn = result.metrics
    table = Table(title=title, title_justify="left", show_edge=False)
    for heading in ("", "train", "test", "known limit"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [
        *above,
        ("mixture, NLL (nats)", mdn["train_nll"], mdn["test_nll"], mdn["entropy"]),
        ("truth on the same points, NLL", mdn["truth_train_nll"], mdn["truth_nll"], mdn["entropy"]),
        ("excess over the truth", mdn["train_excess_nll"], mdn["excess_nll"], 0.0),
        ("mixture, CRPS", None, mdn["test_crps"], None),
        ("coverage of the 50 % interval", None, mdn["coverage_50"], 0.5),
        ("coverage of the 90 % interval", None, mdn["coverage_90"], 0.9),
    ]
    for label, *numbers in rows:
        table.add_row(label, *("" if number is None else f"{number:.4f}" for number in numbers))
    Console(width=100, highlight=False).print(table)
    for remark in result.remarks:
        print(f"note: {remark}")
    print(clock)
    print(f"results: {folder}")


def check_sound(folder: Path, result: Result) -> None:
    """Raises: RunFailed if the training diverged, or a score is not finite."""
    if result.fit.diverged:
        path, step = folder / "model.safetensors", int(result.fit.state.step)
        raise command.RunFailed(stopped("mdn", step, result.config.train.num_steps, path))
    unknown = () if result.truth else OF_TRUTH
    if wrong := [name for name, value in result.metrics.items() if not np.isfinite(value) and name not in unknown]:
        raise command.RunFailed(f"mdn: not finite on the data: {', '.join(wrong)}; the trained network is in {folder}")


def stopped(name: str, step: int, num_steps: int, path: Path) -> str:
    """The message of a run that diverged."""
    return (
        f"{name}: loss or parameters were no longer finite after step {step} of {num_steps}; the last finite state is in {path}"
    )


if __name__ == "__main__":
    command.main("experiments.density", __doc__ or "", Density, command.CONFIGS / "econ_density.yaml", study)
