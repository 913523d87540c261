"""What the commands of one data set share: they prepare the machine, write a run folder, and show how it came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments import command, report
from experiments.pipeline import OF_TRUTH, Result
from experiments.progress import Clock
from mdnjax.config.schema import Loop, Run
from mdnjax.data import Splits
from mdnjax.fitting import choose_num_components, with_num_components
from mdnjax.training import functions
from mdnjax.training.selection import Candidates

MODEL_FILE = "model.safetensors"
RUN_FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", MODEL_FILE)


def prepare(config: Run, **others: Loop) -> None:
    """Settles the machine, and tries what a configuration cannot be checked for by itself.

    Raises: UserError if there is no device, or optax cannot work with the options of an optimiser.
    """
    several = config.num_runs > 1 or num_components_is_auto(config)
    command.settle(config.runtime, all_cores=several)
    check_optimizers(train=config.train, **others)


def check_optimizers(**loops: Loop) -> None:
    """Raises: UserError if optax cannot work with the options of an optimiser, by the names of the sections."""
    faults = []
    for name, loop in loops.items():
        try:
            functions.check(loop)
        except ValueError as error:
            faults.append(f"{name}.optimizer: {error}")
    if faults:
        raise command.UserError("; ".join(faults))


def num_components_is_auto(config: Run) -> bool:
    """Whether the number of components is left to the data."""
    return config.model.num_components == "auto"


def resolve_num_components(config: Run, splits: Splits, clock: Clock) -> Run:
    """The same configuration with a number of components; how the candidates came out is printed."""
    if not num_components_is_auto(config):
        return config
    numbers = ", ".join(map(str, sorted(config.selection.num_components)))

    def observe(number: int) -> None:
        print(f"number of components: {number} of {numbers}", file=sys.stderr, flush=True)

    with clock.phase("number of components"):
        found = choose_num_components(config, splits.train, splits.validation, observe=observe)
    show_numbers(found)
    return with_num_components(config, found.chosen)


def show_numbers(found: Candidates) -> None:
    """Prints how the candidates came out."""
    rows = [["components", "NLL", "more than the best", "± se", ""]]
    for i, number in enumerate(found.numbers):
        numbers = (found.validation_nll[i], found.choice.excess[i], found.choice.standard_error[i])
        rows.append([str(number), *(f"{value:.4f}" for value in numbers), "selected" if i == found.choice.chosen else ""])
    report.print_table("Number of components, by the validation points", rows)


def write_run(folder: Path, clock: Clock, result: Result, more: dict[str, Any]) -> None:
    """Writes history, environment, timing and metrics; configuration and model are there already."""
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
    report.write_history(folder / "history.csv", result.fit.history)
    report.write_run(folder, clock, metrics)


def show(title: str, folder: Path, clock: Clock, result: Result, above: tuple[tuple[Any, ...], ...] = ()) -> None:
    """Prints the one table of a run, with rows above those of the mixture, and what looks wrong."""
    mdn = result.metrics
    rows = [
        *above,
        ("mixture, NLL (nats)", mdn["train_nll"], mdn["test_nll"], mdn["entropy"]),
        ("truth on the same points, NLL", mdn["truth_train_nll"], mdn["truth_nll"], mdn["entropy"]),
        ("excess over the truth", mdn["train_excess_nll"], mdn["excess_nll"], 0.0),
        ("mixture, CRPS", None, mdn["test_crps"], None),
        ("coverage of the 50 % interval", None, mdn["coverage_50"], 0.5),
        ("coverage of the 90 % interval", None, mdn["coverage_90"], 0.9),
    ]
    cells = [[label, *("" if number is None else f"{number:.4f}" for number in numbers)] for label, *numbers in rows]
    report.print_table(title, [["", "train", "test", "known limit"], *cells])
    report.print_end(result.notes, clock, folder)


def check_finite(folder: Path, result: Result) -> None:
    """Raises: RunFailed if the training diverged, or a score is not finite."""
    if result.fit.diverged:
        path, step = folder / MODEL_FILE, int(result.fit.state.step)
        raise command.RunFailed(divergence_message("mdn", step, result.config.train.num_steps, path))
    unknown = () if result.truth else OF_TRUTH
    if wrong := [name for name, value in result.metrics.items() if not np.isfinite(value) and name not in unknown]:
        raise command.RunFailed(f"mdn: not finite on the data: {', '.join(wrong)}; the trained network is in {folder}")


def divergence_message(name: str, step: int, num_steps: int, path: Path) -> str:
    """The message of a run that diverged."""
    return (
        f"{name}: loss or parameters were no longer finite after step {step} of {num_steps}; the last finite state is in {path}"
    )
