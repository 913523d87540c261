"""Posteriors from simulations: learns p(theta|x) or p(x|theta), draws theta for each observation, tests on new simulations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments import command, report
from experiments.page.blocks import Section
from experiments.page.writing import PAGE_FILE, write_page
from experiments.pipeline import check_support
from experiments.posterior import figures
from experiments.posterior.outcome import (
    Method,
    Outcome,
    after_rounds,
    chosen,
    metrics_of,
    table_of,
    train_and_evaluate,
    with_two_sample_scores,
)
from experiments.posterior.problem import Problem, splits_of
from experiments.posterior.schema import Posterior
from experiments.posterior.simulations import make_problem
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.study import check_optimizers, divergence_message, prepare
from mdnjax.config import load
from mdnjax.data.notes import outliers
from mdnjax.outside import outside, unlike_simulations
from mdnjax.posteriors.fit import MIN_SIMULATIONS, columns_of, with_support

FILES = ("metrics.json", "timing.json", "environment.json", "table.csv", "table.md")
FILES = (*FILES, PAGE_FILE, "*.safetensors", "*.npz", "history_*.csv", "figures/*.png")
DEFAULT = command.CONFIGS / "posterior.yaml"


def study(config: Posterior, overwrite: bool) -> None:
    """Trains on each number of simulations, evaluates the posteriors, and writes the run folder."""
    prepare(config)
    check_optimizers(**{"likelihood.train": config.likelihood.train})
    methods: Sequence[Method] = ("posterior", "likelihood") if config.method == "both" else (config.method,)
    clock, written = Clock(), config
    problem = read_problem(config, methods, clock)
    if config.data.path is None and problem.prior is not None:
        config = with_support(config, problem.prior)
    if "posterior" in methods:
        check_support(config.data, splits_of(problem, max(problem.sizes), config.data.validation_share))
    folder = create_run_folder(written, config.output, FILES, overwrite)
    outcomes = [train_and_evaluate(config, problem, size, method, clock, folder) for size in problem.sizes for method in methods]
    outcomes, failed = with_rounds(config, problem, outcomes, clock)
    if problem.references is not None:
        with clock.phase("two-sample scores"):
            outcomes = with_two_sample_scores(outcomes, problem.references)
    for outcome in outcomes:
        write_history_and_draws(folder, problem, outcome)
    with clock.phase("figures"):
        drawn = figures.draw([outcome.evaluation for outcome in outcomes], problem)
        report.write_figures(folder / "figures", drawn)
    title, table, notes = title_of(config, problem), table_of(outcomes, problem), [*notes_of(problem, outcomes), *failed]
    wanted = config.report and not any(outcome.result.fit.diverged for outcome in outcomes)
    write_page(folder, clock, title, lambda: page(written, problem, outcomes, table, notes), wanted=wanted)
    write_metrics(config, folder, clock, table, outcomes)
    report.print_table(title, table)
    report.print_end(notes, clock, folder)
    for outcome in outcomes:
        check_not_diverged(folder, config, outcome)


def read_problem(config: Posterior, methods: Sequence[Method], clock: Clock) -> Problem:
    """Reads or draws the simulations. Raises: UserError if they cannot be used, or a package that is needed is not installed."""
    if "likelihood" in methods:
        command.import_extra("blackjax", "posterior")
    with clock.phase("data"):
        problem = make_problem(config.data, config.data_seed, config.num_draws, config.method)
    check_prior(config, problem)
    if problem.references is not None:
        command.import_extra("sklearn")
    return problem


def notes_of(problem: Problem, outcomes: list[Outcome]) -> Iterator[str]:
    """Yields sentences about the simulations, the observations, and what looks wrong with the posteriors."""
    names = columns_of("posterior", problem.names, problem.simulations.x.shape[1]).inputs
    direct = [outcome for outcome in outcomes if outcome.evaluation.method == "posterior"]
    yield from problem.notes
    unlike = outside(problem.simulations.x, problem.observed, [column.name for column in names])
    if direct:
        unlike = unlike_simulations(direct[-1].result.predictor, problem.observed) | unlike
    yield from unlike.values()
    yield from outliers(problem.simulations)
    yield from direct[-1].result.notes if direct else []
    yield from (note for outcome in outcomes for note in outcome.problems)
    yield from chosen(outcomes)


def with_rounds(config: Posterior, problem: Problem, outcomes: list[Outcome], clock: Clock) -> tuple[list[Outcome], list[str]]:
    """Adds the outcomes of simulations in rounds, if they are wanted, and returns a sentence for each that failed."""
    added, failed = list[Outcome](), list[str]()
    for outcome in outcomes if config.data.num_rounds > 1 else ():
        try:
            added.append(after_rounds(config, problem, outcome, clock))
        except ValueError as error:
            failed.append(f"{outcome.evaluation.name}, {config.data.num_rounds} rounds: {error}")
    return [*outcomes, *added], failed


def check_prior(config: Posterior, problem: Problem) -> None:
    """Raises: UserError if the method needs a prior that the configuration does not give, or rounds a simulator."""
    if config.data.num_rounds > 1 and problem.simulate is None:
        expected = "expected 1: only simulations of data.task can be drawn; in Python, posterior.propose draws parameters"
        raise command.UserError(f"data.num_rounds: got {config.data.num_rounds} with data.path, {expected}")
    if min(problem.sizes) < config.data.num_rounds * MIN_SIMULATIONS:
        expected = f"expected at most {min(problem.sizes) // MIN_SIMULATIONS}, so that each has {MIN_SIMULATIONS} simulations"
        raise command.UserError(f"data.num_rounds: got {config.data.num_rounds}, {expected}")
    if config.method != "posterior" and problem.prior is None:
        expected = "expected finite bounds, between which the prior is uniform, or data.prior=normal"
        got = f"got {config.data.target_support!r} with method={config.method}"
        raise command.UserError(f"data.target_support: {got}, {expected}")
    if config.method != "posterior" and problem.prior is not None:
        theta = np.concatenate([problem.simulations.y, problem.test.y])
        if outside := int(np.sum(~np.isfinite(problem.prior.log_prob(theta)))):
            expected = "expected none, since the likelihood needs their prior"
            raise command.UserError(f"data.target_support: got {outside} simulations with theta outside of it, {expected}")


def write_history_and_draws(folder: Path, problem: Problem, outcome: Outcome) -> None:
    """Writes the training history of one outcome, and its draws for each observation."""
    report.write_history(folder / f"history_{outcome.file_name}.csv", outcome.result.fit.history)
    arrays = {"x": problem.observed, "theta": np.stack(outcome.evaluation.draws)}
    report.write_npz(folder / f"{outcome.file_name}.npz", arrays)


def write_metrics(config: Posterior, folder: Path, clock: Clock, table: list[list[str]], outcomes: list[Outcome]) -> None:
    """Writes the table and the metrics."""
    report.write_table(folder, table)
    runs = {outcome.file_name: metrics_of(outcome) for outcome in outcomes}
    report.write_run(folder, clock, {"seed": config.seed, "runs": runs})


def title_of(config: Posterior, problem: Problem) -> str:
    """Returns the title of the table and of the page."""
    source = str(config.data.path) if problem.task is None else problem.task.replace("_", " ")
    return f"Posteriors of {source}, seed {config.seed}; {len(problem.test.x)} test simulations"


def page(
    config: Posterior, problem: Problem, outcomes: list[Outcome], table: list[list[str]], notes: list[str]
) -> Iterator[Section]:
    """Yields the sections of the page, where the plotting library is installed."""
    from experiments.posterior.page import sections

    return sections(config, load(Posterior, DEFAULT), problem, outcomes, table, notes)


def check_not_diverged(folder: Path, config: Posterior, outcome: Outcome) -> None:
    """Raises: RunFailed if the training diverged."""
    if outcome.result.fit.diverged:
        num, step = outcome.evaluation.num_simulations, int(outcome.result.fit.state.step)
        path = folder / f"{outcome.file_name}.safetensors"
        raise command.RunFailed(divergence_message(f"{num} simulations", step, outcome.result.config.train.num_steps, path))


if __name__ == "__main__":
    command.main("experiments.posterior", __doc__ or "", Posterior, DEFAULT, study)
