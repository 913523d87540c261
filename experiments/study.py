"""Steps that the commands for one data set share: preparing the machine, writing the run folder, and printing the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import command, report
from experiments.page.blocks import Section as PageSection
from experiments.page.writing import PAGE_FILE
from experiments.pipeline import TRUTH_METRICS, Result
from experiments.progress import Clock, print_candidate
from experiments.schemas import CommandRun
from mdnjax.config.schema import Loop, Run
from mdnjax.data import Splits
from mdnjax.fitting import choose_num_components, with_num_components
from mdnjax.training import optimizers
from mdnjax.training.selection import Candidates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.charts import Names

MODEL_FILE = "model.safetensors"
TEST_SCORES_FILE = "test_scores.npz"
RUN_FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", TEST_SCORES_FILE, MODEL_FILE, PAGE_FILE)


def prepare(config: CommandRun, **others: Loop) -> None:
    """Sets up the machine, and checks the optimisers, which only optax itself can check.

    Raises: UserError if there is no device, or optax does not accept the options of an optimiser.
    """
    several = config.num_runs > 1 or num_components_is_auto(config)
    command.setup_runtime(config.runtime, all_cores=several)
    check_optimizers(train=config.train, **others)


def check_optimizers(**loops: Loop) -> None:
    """Raises: UserError, with the name of each section whose optimiser has options that optax does not accept."""
    faults = []
    for name, loop in loops.items():
        try:
            optimizers.check_loop_optimizer(loop)
        except ValueError as error:
            faults.append(f"{name}.optimizer: {error}")
    if faults:
        raise command.UserError("; ".join(faults))


def num_components_is_auto(config: Run) -> bool:
    """Returns whether the number of components is to be selected from the data."""
    return config.model.num_components == "auto"


def resolve_num_components(config: Run, splits: Splits, clock: Clock) -> Run:
    """Returns the configuration with its number of components, selected if it is auto; the candidates' scores are printed."""
    if not num_components_is_auto(config):
        return config
    observe = partial(print_candidate, candidates=config.selection.num_components)
    with clock.phase("number of components"):
        found = choose_num_components(config, splits.train, splits.validation, observe=observe)
    print_candidates(found)
    return with_num_components(config, found.chosen)


def print_candidates(found: Candidates) -> None:
    """Prints the score of each number of components."""
    rows = [["components", "NLL", "above the best", "± se", ""]]
    for i, number in enumerate(found.numbers):
        scores = (found.validation_nll[i], found.selected.excess[i], found.selected.standard_error[i])
        rows.append([str(number), *map(report.figures, scores), "selected" if i == found.selected.position else ""])
    title = "Number of components, by validation NLL: the smallest within one standard error of the best is selected"
    report.print_table(title, rows)


def write_figures(folder: Path, clock: Clock, result: Result, *groups: Iterable[tuple[str, Figure]]) -> None:
    """Draws and writes the figures of a run, unless it diverged."""
    if not result.fit.diverged:
        with clock.phase("figures"):
            for figures in groups:
                report.write_figures(folder / "figures", figures)


def known_density_page(
    question: str, default: Path, result: Result, table: Sequence[Sequence[str]], names: Names, folder: Path
) -> Iterator[PageSection]:
    """Yields the sections of the page about data with a known density; only here the plotting library is imported."""
    from experiments.page import known_density

    return known_density.sections(question, default, result, table, names, folder)


def write_run(folder: Path, clock: Clock, result: Result, more: dict[str, Any]) -> None:
    """Writes history, environment, timing and metrics; configuration and model are written earlier."""
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
    report.write_npz(folder / TEST_SCORES_FILE, {"y": result.splits.test.y, **result.test_scores})
    report.write_run(folder, clock, metrics)


def show(title: str, folder: Path, clock: Clock, result: Result, table: Sequence[Sequence[str]]) -> None:
    """Prints the table of a run, and then what looks wrong."""
    report.print_table(title, table)
    report.print_end(result.notes, clock, folder)


def table_of(result: Result, above: tuple[tuple[Any, ...], ...] = ()) -> list[list[str]]:
    """Returns the table of a run with its header; the rows `above` come before those of the mixture."""
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
    return [["", "train", "test", "known limit"], *([label, *map(report.figures, numbers)] for label, *numbers in rows)]


def check_finite(folder: Path, result: Result) -> None:
    """Raises: RunFailed if the training diverged, or a score is not finite."""
    if result.fit.diverged:
        path, step = folder / MODEL_FILE, int(result.fit.state.step)
        raise command.RunFailed(divergence_message("mixture", step, result.config.train.num_steps, path))
    unknown = () if result.truth else TRUTH_METRICS
    if wrong := [name for name, value in result.metrics.items() if not np.isfinite(value) and name not in unknown]:
        raise command.RunFailed(f"mixture: scores are not finite: {', '.join(wrong)}; the trained network is in {folder}")


def divergence_message(name: str, step: int, num_steps: int, path: Path) -> str:
    """Returns the error message of a run that diverged."""
    return (
        f"{name}: loss or parameters were no longer finite after step {step} of {num_steps}; the last finite state is in {path}; "
        "try a lower optimizer.learning_rate"
    )
