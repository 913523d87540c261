"""Networks trained on one number of simulations by one method, and how good their posteriors are."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments.pipeline import Result, run
from experiments.posterior.checks import Quality, of_particles, of_ranks, of_reproduced, reproduced_by
from experiments.posterior.figures import PosteriorEvaluation
from experiments.posterior.problem import Problem, splits_of, trials_of
from experiments.posterior.published import PUBLISHED
from experiments.posterior.rounds import in_rounds
from experiments.posterior.schema import Posterior
from experiments.progress import Clock
from mdnjax.c2st import c2st_of_each
from mdnjax.data import Dataset, Splits
from mdnjax.data.dataset import select_rows
from mdnjax.posteriors.file import save_posterior
from mdnjax.posteriors.fit import columns_of, config_of, posterior_of, rows_of, with_chosen_components
from mdnjax.posteriors.likelihood import QUICK, LikelihoodPosterior
from mdnjax.posteriors.posterior import Evaluated
from mdnjax.posteriors.tempering import Effort
from mdnjax.training.functions import SAMPLE

Method = Literal["posterior", "likelihood"]
RANKS, COMPARISON = 3, 4  # purposes of a key, after INIT, TRAIN and SAMPLE
MAX_TESTS_OF_LIKELIHOOD = 500  # each of them takes a run of the particles
MAX_COMPARED = 200  # simulations, on which nothing is trained, that choose between the methods


class Outcome(NamedTuple):
    """Networks trained on one number of simulations by one method, and their evaluation.

    `nll` is -log p(theta|x) of the first test simulations, `comparison_nll` that of simulations which choose between the methods.
    `problems` are sentences about whatever is wrong with the posteriors.
    """

    result: Result
    evaluation: PosteriorEvaluation
    nll: np.ndarray
    seconds: float
    quality: Quality | None
    comparison_nll: np.ndarray
    problems: list[str]

    @property
    def file_name(self) -> str:
        """The name of its files."""
        rounds = f"_{self.evaluation.num_rounds}_rounds" if self.evaluation.num_rounds > 1 else ""
        return file_name(self.evaluation.num_simulations, self.evaluation.method) + rounds


def train_and_evaluate(config: Posterior, problem: Problem, num: int, method: Method, clock: Clock, folder: Path) -> Outcome:
    """Trains on the first `num` simulations, draws theta for every observation, and ranks the theta of the test simulations."""
    compares = config.method == "both"
    num_compared = min(MAX_COMPARED, num // 10) if compares else 0
    compared = select_rows(problem.simulations, slice(num - num_compared, num))
    config, begin = config.model_copy(update={"method": method}), time.monotonic()
    path = folder / f"{file_name(num, method)}.safetensors"
    result = train(config, problem, num - num_compared, clock, path)
    effort = Effort(config.likelihood.num_particles, config.likelihood.num_moves)
    posterior = posterior_of(method, result.predictor, problem.prior, problem.success, effort)
    save_posterior(path, posterior)
    key = jax.random.key(config.seed)
    with clock.phase("samples"):
        draws, quality = draw(posterior, problem, jax.random.fold_in(key, SAMPLE), config)
    seconds = time.monotonic() - begin
    with clock.phase("ranks"):
        tested = evaluate(posterior, problem, problem.test, jax.random.fold_in(key, RANKS), config.num_ranks)
        comparison_nll = np.zeros(0)
        if num_compared:
            comparison_nll = evaluate(posterior, problem, compared, jax.random.fold_in(key, COMPARISON), config.num_ranks).nll
    with clock.phase("checks"):
        reproduced = reproduced_by(problem, draws, config.data_seed)
    problems = [*of_ranks(tested, problem), *of_reproduced(reproduced), *of_particles(quality, config.num_draws)]
    label = f"{num:,} simulations, {method}" if compares else ""
    evaluation = PosteriorEvaluation(num, list(draws), tested.ranks, [], method, label, len(problems), reproduced)
    problems = [f"{evaluation.name}: {problem}" for problem in problems]
    return Outcome(result, evaluation, tested.nll, seconds, quality, comparison_nll, problems)


def after_rounds(config: Posterior, problem: Problem, outcome: Outcome, clock: Clock) -> Outcome:
    """Returns the outcome of the same number of simulations in rounds; its networks are those of single observations.

    The number of components is the one that was selected for all simulations together.
    Raises: ValueError if the training of a round diverged, or its posterior is too narrow for proposals.
    """
    num, method, chosen = outcome.evaluation.num_simulations, outcome.evaluation.method, outcome.result.config.model
    of_likelihood = config.likelihood.model_copy(update={"model": chosen})
    changed = {"likelihood": of_likelihood} if method == "likelihood" else {"model": chosen}
    rounds = in_rounds(config.model_copy(update={"method": method, **changed}), problem, num, clock)
    with clock.phase("checks"):
        reproduced = reproduced_by(problem, np.stack(rounds.draws), config.data_seed)
    label = f"{num:,} simulations, {method}, {config.data.num_rounds} rounds"
    problems = [*of_reproduced(reproduced), *of_particles(rounds.quality, config.num_draws)]
    evaluation = outcome.evaluation._replace(
        draws=rounds.draws, label=label, num_problems=len(problems), reproduced=reproduced, num_rounds=config.data.num_rounds
    )
    problems = [f"{label}: {problem}" for problem in problems]
    return outcome._replace(
        evaluation=evaluation, nll=np.zeros(0), seconds=rounds.seconds, quality=rounds.quality, problems=problems
    )


def file_name(num: int, method: str) -> str:
    """Returns the name of an outcome's files: the number of simulations, and the method if it is not the usual one."""
    return str(num) if method == "posterior" else f"{num}_{method}"


def train(config: Posterior, problem: Problem, num: int, clock: Clock, model_file: Path) -> Result:
    """Trains the networks of the configuration's method on the first `num` simulations, and scores them."""
    method, splits = config.method, splits_of(problem, num, config.data.validation_share)
    splits = Splits(*(rows_of(method, part.y, trials_of(problem, part.x)) for part in splits))
    networks = config_of(config, None)
    if networks.model.num_components == "auto":
        with clock.phase("number of components"):
            networks = with_chosen_components(networks, method, *splits[:2])
    num_results = problem.simulations.x.shape[1] // (1 if method == "posterior" else problem.trials)
    truth = problem.truth if method == "posterior" else None
    return run(networks, splits, truth, clock, model_file, columns_of(method, problem.names, num_results))


def draw(posterior: Any, problem: Problem, key: Any, config: Posterior) -> tuple[np.ndarray, Quality | None]:
    """Draws theta `[M, S, D]` for each observation; particles also have numbers that show how well they moved."""
    if not isinstance(posterior, LikelihoodPosterior):
        return posterior.predictor.sample(key, problem.observed, config.num_draws), None
    tempered = posterior.tempered(key, trials_of(problem, problem.observed), config.num_draws)
    return np.asarray(tempered.draws), Quality(*(np.asarray(values).tolist() for values in tempered[2:]))


def evaluate(posterior: Any, problem: Problem, rows: Dataset, key: Any, num_ranks: int) -> Evaluated:
    """Ranks the theta of test simulations; those of a likelihood are fewer, since each takes a run of the particles."""
    if not isinstance(posterior, LikelihoodPosterior):
        return posterior.evaluate(key, rows, num_ranks)
    rows = select_rows(rows, slice(MAX_TESTS_OF_LIKELIHOOD))
    rows = rows._replace(x=trials_of(problem, rows.x))
    return posterior.evaluate(key, rows, min(num_ranks, QUICK.num_particles - 1))


def with_two_sample_scores(outcomes: list[Outcome], references: list[np.ndarray]) -> list[Outcome]:
    """Adds the two-sample score of each observation; all are computed in parallel, since some take longer than others."""
    pairs = [(reference, draws) for o in outcomes for reference, draws in zip(references, o.evaluation.draws, strict=True)]
    scores = iter(c2st_of_each(*zip(*pairs, strict=True)))
    return [o._replace(evaluation=o.evaluation._replace(c2st=[next(scores) for _ in references])) for o in outcomes]


def chosen(outcomes: list[Outcome]) -> list[str]:
    """Returns, for each number of simulations with both methods, which one gives the parameters set aside the higher density."""
    notes = []
    for first, second in itertools.pairwise(each for each in outcomes if each.evaluation.num_rounds == 1):
        if first.evaluation.num_simulations != second.evaluation.num_simulations:
            continue
        difference = first.comparison_nll - second.comparison_nll
        better = second if difference.mean() > 0 else first
        error = difference.std(ddof=1) / len(difference) ** 0.5
        doubt = "" if abs(difference.mean()) > 2 * error else ", which may be chance"
        notes.append(
            f"{better.evaluation.label} is chosen: the log density of {len(difference)} parameters set aside is "
            f"{abs(difference.mean()):.2f} ± {error:.2f} nats higher{doubt}"
        )
    return notes


def metrics_of(outcome: Outcome) -> dict[str, Any]:
    """Returns all metrics of one outcome; those of rounds are scores of draws, since each observation has its own networks."""
    result, evaluation = outcome.result, outcome.evaluation
    reproduced = {"predictive_p_values": [each.p_values() for each in evaluation.reproduced]} if evaluation.reproduced else {}
    of_draws = {"seconds": outcome.seconds, "c2st": evaluation.c2st, **reproduced, "problems": outcome.problems}
    if evaluation.num_rounds > 1:
        return {"status": "finished", "method": evaluation.method, "rounds": evaluation.num_rounds, **of_draws}
    ranks = evaluation.ranks
    own = {} if evaluation.method == "posterior" else {"test_nll": float(outcome.nll.mean())}
    metrics = {f"likelihood_{name}" if own else name: value for name, value in result.metrics.items()}
    return {
        "status": "diverged" if result.fit.diverged else "finished",
        "method": evaluation.method,
        **of_draws,
        **metrics,
        **own,
        "rank_errors": ranks.errors(),
        **{f"hdr_coverage_{100 * level:.0f}": ranks.coverage(level) for level in (0.5, 0.9)},
        **({"comparison_nll": float(outcome.comparison_nll.mean())} if len(outcome.comparison_nll) else {}),
        **({} if outcome.quality is None else {"particles": outcome.quality._asdict()}),
        "diagnosis": result.diagnosis._asdict(),
    }


def table_of(outcomes: list[Outcome], problem: Problem) -> list[list[str]]:
    """Returns a row for each outcome; tasks have the exact NLL and the published scores where they are known."""
    header = ["simulations", "method", "seconds", "test NLL"] + ["truth", "excess"] * bool(problem.truth)
    header += ["in 50 %", "in 90 %", "rank error"]
    two_sample = ["C2ST", "smallest", "largest"] if problem.references is not None else []
    two_sample += published_at(outcomes, problem) if two_sample else []
    return [header + two_sample, *(_row(outcome, problem, published_at(outcomes, problem)) for outcome in outcomes)]


def published_at(outcomes: list[Outcome], problem: Problem) -> dict[str, dict[int, float]]:
    """Returns the published scores of the task at these numbers of simulations."""
    nums = {outcome.evaluation.num_simulations for outcome in outcomes}
    return {name: scores for name, scores in PUBLISHED.get(problem.task or "", {}).items() if nums & scores.keys()}


def _row(outcome: Outcome, problem: Problem, published: dict[str, dict[int, float]]) -> list[str]:
    evaluation = outcome.evaluation
    num, c2st = evaluation.num_simulations, evaluation.c2st
    method = evaluation.method if evaluation.num_rounds == 1 else f"{evaluation.method}, {evaluation.num_rounds} rounds"
    row = [str(num), method, f"{outcome.seconds:.0f}", *_scores_of_networks(outcome, problem)]
    if problem.references is not None:
        row += [f"{value:.3f}" for value in (float(np.mean(c2st)), min(c2st), max(c2st))]
        row += [f"{scores[num]:.3f}" if num in scores else "" for scores in published.values()]
    return row


def _scores_of_networks(outcome: Outcome, problem: Problem) -> list[str]:
    """Returns the scores of the test simulations, which networks of single observations do not have."""
    if outcome.evaluation.num_rounds > 1:
        return [""] * (6 if problem.truth else 4)
    ranks, nll = outcome.evaluation.ranks, float(outcome.nll.mean())
    scores = [f"{nll:.3f}"]
    if problem.truth:
        truth = -float(problem.truth.log_prob(*(values[: len(outcome.nll)] for values in problem.test[:2])).mean())
        scores += [f"{truth:.3f}", f"{nll - truth:.3f}"]
    return [*scores, *(f"{100 * ranks.coverage(level):.1f} %" for level in (0.5, 0.9)), f"{max(ranks.errors()):.3f}"]
