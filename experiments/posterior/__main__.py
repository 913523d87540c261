"""Posteriors from simulations: p(theta|x) as a mixture, asked for what was observed, and tested by fresh simulations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import command, report
from experiments.pipeline import Result, check_support, run
from experiments.posterior import figures
from experiments.posterior.published import PUBLISHED
from experiments.posterior.schema import Posterior
from experiments.posterior.simulations import Problem, columns_of, make_problem, splits_of
from experiments.progress import Clock
from experiments.reading.files import need
from experiments.run_folder import create_run_folder
from experiments.study import divergence_message, num_components_is_auto, prepare
from mdnjax.c2st import c2st_of_each
from mdnjax.data import two_moons
from mdnjax.data.dataset import outlier_notes
from mdnjax.outside import outside
from mdnjax.ranks import rank
from mdnjax.statistics import sample
from mdnjax.training.functions import SAMPLE

FILES = ("metrics.json", "timing.json", "environment.json", "table.csv", "table.md")
FILES = (*FILES, "*.safetensors", "*.npz", "history_*.csv", "figures/*.png")
RANKS = 3  # purpose of a key, after those of a recipe


class Outcome(NamedTuple):
    """What came of one number of simulations."""

    result: Result
    shown: figures.Shown


def study(config: Posterior, overwrite: bool) -> None:
    """Learns from each number of simulations, and writes the run folder."""
    prepare(config)
    if num_components_is_auto(config):
        raise command.UserError("model.num_components: got 'auto', expected a number")
    clock = Clock()
    with clock.phase("data"):
        problem = make_problem(config.data, config.data_seed, config.num_draws)
    if problem.references is not None:
        need("sklearn")
    config = with_box(config)
    check_support(config.data, splits_of(problem, max(problem.sizes), config.data.validation_share))
    notes = list(outside(problem.pool.x, problem.observed, [column.name for column in columns_of(problem).inputs]))
    folder = create_run_folder(config, config.output, FILES, overwrite)
    outcomes = [learn(config, problem, num, clock, folder) for num in problem.sizes]
    if problem.references is not None:
        with clock.phase("two-sample scores"):
            outcomes = judged(outcomes, problem.references)
    for outcome in outcomes:
        write_networks(folder, problem, outcome)
    with clock.phase("figures"):
        shown = [outcome.shown for outcome in outcomes]
        drawn = figures.draw(shown, problem.references, problem.truth is not None)
        report.write_figures(folder / "figures", drawn)
    write(config, folder, clock, problem, outcomes)
    report.print_end([*notes, *outlier_notes(problem.pool), *outcomes[-1].result.notes], clock, folder)
    for outcome in outcomes:
        check(folder, config, outcome)


def with_box(config: Posterior) -> Posterior:
    """The same with the box of two moons, where these are learnt."""
    if config.data.of_file:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"target_support": two_moons.BOX})})


def learn(config: Posterior, problem: Problem, num: int, clock: Clock, folder: Path) -> Outcome:
    """Trains on so many simulations, draws for every observation, and ranks the test simulations."""
    splits = splits_of(problem, num, config.data.validation_share)
    result = run(config, splits, problem.truth, clock, folder / f"{num}.safetensors", columns_of(problem))
    key = jax.random.key(config.seed)
    with clock.phase("samples"):
        mixture = result.predictor.at(problem.observed)
        draws = result.predictor.units.located(np.asarray(sample(jax.random.fold_in(key, SAMPLE), mixture, (config.num_draws,))))
    with clock.phase("ranks"):
        rank_key = jax.random.fold_in(key, RANKS)
        ranks = rank(result.predictor, problem.test, rank_key, config.num_ranks)
    return Outcome(result, figures.Shown(num, list(np.moveaxis(draws, 1, 0)), ranks, []))


def judged(outcomes: list[Outcome], references: list[np.ndarray]) -> list[Outcome]:
    """The same with two-sample scores: those of all numbers of simulations at once, since some take longer than others."""
    pairs = [(reference, draws) for o in outcomes for reference, draws in zip(references, o.shown.draws, strict=True)]
    scores = iter(c2st_of_each(*zip(*pairs, strict=True)))
    return [o._replace(shown=o.shown._replace(c2st=[next(scores) for _ in references])) for o in outcomes]


def write_networks(folder: Path, problem: Problem, outcome: Outcome) -> None:
    """Writes the history of a network, and its draws."""
    result, num = outcome.result, outcome.shown.num
    report.write_history(folder / f"history_{num}.csv", result.fit.history)
    report.write_npz(folder / f"{num}.npz", {"x": problem.observed, "theta": np.stack(outcome.shown.draws)})


def write(config: Posterior, folder: Path, clock: Clock, problem: Problem, outcomes: list[Outcome]) -> None:
    """Writes and prints the table."""
    table = table_of(outcomes, problem)
    report.write_table(folder, table)
    report.write_run(folder, clock, {"seed": config.seed, "runs": {str(o.shown.num): metrics(o) for o in outcomes}})
    what = "two moons" if problem.truth else str(config.data.path)
    title = f"Posteriors of {what}, seed {config.seed}; {len(problem.test.x)} test simulations"
    report.print_table(title, table)


def metrics(outcome: Outcome) -> dict[str, Any]:
    """Everything that is known of one number of simulations."""
    (result, shown), ranks = outcome, outcome.shown.ranks
    return {
        "status": "diverged" if result.fit.diverged else "finished",
        **result.metrics,
        "c2st": shown.c2st,
        "rank_errors": ranks.errors(),
        **{f"hdr_coverage_{100 * level:.0f}": ranks.coverage(level) for level in (0.5, 0.9)},
        "diagnosis": result.diagnosis._asdict(),
    }


def table_of(outcomes: list[Outcome], problem: Problem) -> list[list[str]]:
    """A row for each number of simulations; of two moons, what is known beside it."""
    header = ["simulations", "test NLL"] + ["truth", "excess"] * bool(problem.truth) + ["in 50 %", "in 90 %", "rank error"]
    judged = ["C2ST", "smallest", "largest", *PUBLISHED] if problem.references is not None else []
    return [header + judged, *(_row(outcome, problem) for outcome in outcomes)]


def _row(outcome: Outcome, problem: Problem) -> list[str]:
    shown, known = outcome.shown, outcome.result.metrics
    row = [str(shown.num), f"{known['test_nll']:.3f}"]
    if problem.truth:
        row += [f"{known['truth_nll']:.3f}", f"{known['excess_nll']:.3f}"]
    row += [f"{100 * shown.ranks.coverage(level):.1f} %" for level in (0.5, 0.9)] + [f"{max(shown.ranks.errors()):.3f}"]
    if problem.references is not None:
        row += [f"{value:.3f}" for value in (float(np.mean(shown.c2st)), min(shown.c2st), max(shown.c2st))]
        row += [f"{scores[shown.num]:.3f}" if shown.num in scores else "" for scores in PUBLISHED.values()]
    return row


def check(folder: Path, config: Posterior, outcome: Outcome) -> None:
    """Raises: RunFailed if the training diverged."""
    if outcome.result.fit.diverged:
        num, step = outcome.shown.num, int(outcome.result.fit.state.step)
        path = folder / f"{num}.safetensors"
        raise command.RunFailed(divergence_message(f"{num} simulations", step, config.train.num_steps, path))


if __name__ == "__main__":
    command.main("experiments.posterior", __doc__ or "", Posterior, command.CONFIGS / "posterior.yaml", study)
