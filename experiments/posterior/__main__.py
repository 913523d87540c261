"""Posteriors from simulations: learns p(theta|x) as a mixture, draws theta for each observation, and tests on new simulations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import command, report
from experiments.pipeline import Result, check_support, run
from experiments.posterior import figures
from experiments.posterior.figures import Evaluation
from experiments.posterior.published import PUBLISHED
from experiments.posterior.schema import Posterior
from experiments.posterior.simulations import Problem, columns_of, make_problem, splits_of
from experiments.progress import Clock
from experiments.reading.files import import_extra
from experiments.run_folder import create_run_folder
from experiments.study import divergence_message, num_components_is_auto, prepare
from mdnjax.c2st import c2st_of_each
from mdnjax.data import two_moons
from mdnjax.data.notes import outliers
from mdnjax.outside import outside
from mdnjax.ranks import rank
from mdnjax.statistics import sample
from mdnjax.training.functions import SAMPLE

FILES = ("metrics.json", "timing.json", "environment.json", "table.csv", "table.md")
FILES = (*FILES, "*.safetensors", "*.npz", "history_*.csv", "figures/*.png")
RANKS = 3  # purpose of a key, after INIT, TRAIN and SAMPLE


class Outcome(NamedTuple):
    """Networks trained on one number of simulations, and their evaluation."""

    result: Result
    evaluation: Evaluation


def study(config: Posterior, overwrite: bool) -> None:
    """Trains on each number of simulations, evaluates the posteriors, and writes the run folder."""
    prepare(config)
    if num_components_is_auto(config):
        raise command.UserError("model.num_components: got 'auto', expected a number")
    clock = Clock()
    with clock.phase("data"):
        problem = make_problem(config.data, config.data_seed, config.num_draws)
    if problem.references is not None:
        import_extra("sklearn")
    config = with_two_moons_support(config)
    check_support(config.data, splits_of(problem, max(problem.sizes), config.data.validation_share))
    notes = list(outside(problem.simulations.x, problem.observed, [column.name for column in columns_of(problem).inputs]))
    folder = create_run_folder(config, config.output, FILES, overwrite)
    outcomes = [train_and_evaluate(config, problem, size, clock, folder) for size in problem.sizes]
    if problem.references is not None:
        with clock.phase("two-sample scores"):
            outcomes = with_two_sample_scores(outcomes, problem.references)
    for outcome in outcomes:
        write_history_and_draws(folder, problem, outcome)
    with clock.phase("figures"):
        evaluations = [outcome.evaluation for outcome in outcomes]
        drawn = figures.draw(evaluations, problem.references, problem.truth is not None)
        report.write_figures(folder / "figures", drawn)
    write_metrics(config, folder, clock, problem, outcomes)
    report.print_end([*problem.notes, *notes, *outliers(problem.simulations), *outcomes[-1].result.notes], clock, folder)
    for outcome in outcomes:
        check_not_diverged(folder, config, outcome)


def with_two_moons_support(config: Posterior) -> Posterior:
    """Returns the configuration with the prior's box of two moons as support, unless simulations are read from a file."""
    if config.data.path is not None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"target_support": two_moons.BOX})})


def train_and_evaluate(config: Posterior, problem: Problem, num: int, clock: Clock, folder: Path) -> Outcome:
    """Trains on the first `num` simulations, draws theta for every observation, and ranks the theta of the test simulations."""
    splits = splits_of(problem, num, config.data.validation_share)
    result = run(config, splits, problem.truth, clock, folder / f"{num}.safetensors", columns_of(problem))
    key = jax.random.key(config.seed)
    with clock.phase("samples"):
        mixture = result.predictor.at(problem.observed)
        draws = result.predictor.units.absolute(np.asarray(sample(jax.random.fold_in(key, SAMPLE), mixture, (config.num_draws,))))
    with clock.phase("ranks"):
        rank_key = jax.random.fold_in(key, RANKS)
        ranks = rank(result.predictor, problem.test, rank_key, config.num_ranks)
    return Outcome(result, Evaluation(num, list(np.moveaxis(draws, 1, 0)), ranks, []))


def with_two_sample_scores(outcomes: list[Outcome], references: list[np.ndarray]) -> list[Outcome]:
    """Adds the two-sample score of each observation; all are computed in parallel, since some take longer than others."""
    pairs = [(reference, draws) for o in outcomes for reference, draws in zip(references, o.evaluation.draws, strict=True)]
    scores = iter(c2st_of_each(*zip(*pairs, strict=True)))
    return [o._replace(evaluation=o.evaluation._replace(c2st=[next(scores) for _ in references])) for o in outcomes]


def write_history_and_draws(folder: Path, problem: Problem, outcome: Outcome) -> None:
    """Writes the training history of one number of simulations, and the draws for each observation."""
    result, num = outcome.result, outcome.evaluation.num_simulations
    report.write_history(folder / f"history_{num}.csv", result.fit.history)
    report.write_npz(folder / f"{num}.npz", {"x": problem.observed, "theta": np.stack(outcome.evaluation.draws)})


def write_metrics(config: Posterior, folder: Path, clock: Clock, problem: Problem, outcomes: list[Outcome]) -> None:
    """Writes the metrics, and writes and prints the table."""
    table = table_of(outcomes, problem)
    report.write_table(folder, table)
    runs = {str(outcome.evaluation.num_simulations): metrics_of(outcome) for outcome in outcomes}
    report.write_run(folder, clock, {"seed": config.seed, "runs": runs})
    source = "two moons" if problem.truth else str(config.data.path)
    report.print_table(f"Posteriors of {source}, seed {config.seed}; {len(problem.test.x)} test simulations", table)


def metrics_of(outcome: Outcome) -> dict[str, Any]:
    """Returns all metrics of one number of simulations."""
    (result, evaluation), ranks = outcome, outcome.evaluation.ranks
    return {
        "status": "diverged" if result.fit.diverged else "finished",
        **result.metrics,
        "c2st": evaluation.c2st,
        "rank_errors": ranks.errors(),
        **{f"hdr_coverage_{100 * level:.0f}": ranks.coverage(level) for level in (0.5, 0.9)},
        "diagnosis": result.diagnosis._asdict(),
    }


def table_of(outcomes: list[Outcome], problem: Problem) -> list[list[str]]:
    """Returns a row for each number of simulations; for two moons with the exact NLL and the published scores."""
    header = ["simulations", "test NLL"] + ["truth", "excess"] * bool(problem.truth) + ["in 50 %", "in 90 %", "rank error"]
    two_sample = ["C2ST", "smallest", "largest"] if problem.references is not None else []
    two_sample += PUBLISHED if two_sample and problem.truth else []
    return [header + two_sample, *(_row(outcome, problem) for outcome in outcomes)]


def _row(outcome: Outcome, problem: Problem) -> list[str]:
    evaluation, metrics = outcome.evaluation, outcome.result.metrics
    num, ranks, c2st = evaluation.num_simulations, evaluation.ranks, evaluation.c2st
    row = [str(num), f"{metrics['test_nll']:.3f}"]
    if problem.truth:
        row += [f"{metrics['truth_nll']:.3f}", f"{metrics['excess_nll']:.3f}"]
    row += [f"{100 * ranks.coverage(level):.1f} %" for level in (0.5, 0.9)] + [f"{max(ranks.errors()):.3f}"]
    if problem.references is not None:
        row += [f"{value:.3f}" for value in (float(np.mean(c2st)), min(c2st), max(c2st))]
    if problem.references is not None and problem.truth:
        row += [f"{scores[num]:.3f}" if num in scores else "" for scores in PUBLISHED.values()]
    return row


def check_not_diverged(folder: Path, config: Posterior, outcome: Outcome) -> None:
    """Raises: RunFailed if the training diverged."""
    if outcome.result.fit.diverged:
        num, step = outcome.evaluation.num_simulations, int(outcome.result.fit.state.step)
        path = folder / f"{num}.safetensors"
        raise command.RunFailed(divergence_message(f"{num} simulations", step, config.train.num_steps, path))


if __name__ == "__main__":
    command.main("experiments.posterior", __doc__ or "", Posterior, command.CONFIGS / "posterior.yaml", study)
