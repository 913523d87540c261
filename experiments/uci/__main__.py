"""Trains one configuration on all splits of many tables, and compares its scores with published ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments import command, report
from experiments.members import parts
from experiments.members.data import member_data
from experiments.members.train import train_members
from experiments.members.trainer import trainer_here
from experiments.page.plain import plain_sections
from experiments.page.writing import PAGE_FILE, write_page
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.sentences import say
from experiments.study import prepare
from experiments.uci import peers, results
from experiments.uci.peer_fits import peer_rows
from experiments.uci.points import interval_scores
from experiments.uci.problems import problems_of
from experiments.uci.runs import NETWORK, SplitRun, split_runs
from experiments.uci.schema import Benchmark
from mdnjax.baselines import linear_gaussian
from mdnjax.data.dataset import joined
from mdnjax.data.scaler import latent_targets, mixture_units
from mdnjax.diagnostics import AT_FLOOR, scales_of
from mdnjax.ensemble import floors_of
from mdnjax.evaluation import LEVELS, evaluate_mixtures
from mdnjax.mixture import Mixture, responsibilities
from mdnjax.predictor import Predictor

FILES = (parts.PATTERN, "tables/*.npz", "peers/*.json", "members.csv", "table.csv", "peers.csv", "table.md")
FILES += ("environment.json", PAGE_FILE)


def bench(config: Benchmark, overwrite: bool) -> None:
    """Fits all contenders to all splits that they are not fitted to yet, and writes the table of scores."""
    if config.budget is not None:
        got = f"budget: got {config.budget:g}, expected null: the splits of a benchmark are trained together"
        raise command.UserError(got)
    if config.data.calibration_share:
        got = f"got {config.data.calibration_share:g}, expected 0: guarantees and recalibration are those of experiments.tabular"
        raise command.UserError(f"data.calibration_share: {got}")
    if config.data.event:
        raise command.UserError(f"data.event: got {config.data.event!r}, expected null: peers do not know censored rows")
    prepare(config)
    names, missing = peers.installed(config.peers)
    if not (config.networks or names):
        raise command.UserError(f"networks: got false and no installed peer, expected one of them; {peers.INSTALL}")
    problems = problems_of(config.data, config.output / "tables")
    say(*missing, *(f"note: {note}" for problem in problems for note in problem.notes))
    folder = create_run_folder(config, config.output, FILES, overwrite)
    runs = split_runs(config, problems)
    scores = network_rows(runs, folder) if config.networks else []
    scores += peer_rows(names, [run for run in runs if run.contender == NETWORK], folder)
    report.write_json(folder / "environment.json", report.environment())
    results.write(folder, scores)
    results.show(scores)
    tables = [(shown.title, shown.cells) for shown in results.tables(scores)]
    page = partial(plain_sections, __doc__ or "", config, None, tables, [], folder, {})
    write_page(folder, Clock(), f"Scores on {len(problems)} tables", page, wanted=config.report)
    say(f"results: {folder}")


def network_rows(runs: list[SplitRun], folder: Path) -> list[dict[str, Any]]:
    """Trains the networks of all runs that are not trained yet, and returns a row of scores for each run."""
    rows = train_members([run.member for run in runs], trainer_here(), folder)
    row_of = {row["member"]: row for row in rows}
    predictors = {number: predictor for part in parts.read_all(folder) for number, predictor in _predictors(part, runs)}
    return [scores_of(run, row_of[run.member.number], predictors[run.member.number]) for run in runs]


def scores_of(run: SplitRun, row: parts.Row, predictor: Predictor) -> dict[str, Any]:
    """Computes the scores of a split's networks on its test rows."""
    config = run.member.config
    train, validation, test = member_data(run.member).splits
    mixture, units = predictor.at(test.x), predictor.units
    evaluation = evaluate_mixtures(mixture, test.y, units, observed=predictor.observed)
    known = joined(train, validation)
    latent = known._replace(y=latent_targets(predictor.scaler, known.y))
    simple = linear_gaussian(latent, test.x, None, units)
    network_floors = floors_of(predictor.networks, config.model.scale_floor)
    floor = np.repeat(network_floors, config.model.fixed_num_components)[:, None] * mixture_units(predictor.scaler)[1].sd
    others = mixture.logits.shape[-1] - len(floor)  # components of least squares, which have no floor
    floor = np.pad(floor, ((0, others), (0, 0)))
    return {
        "table": run.problem,
        "contender": run.contender,
        "seed": config.seed,
        "status": row["status"],
        "num_rows": len(known.x) + len(test.x),
        "num_inputs": test.x.shape[1],
        "nll": evaluation.nll,
        "crps": evaluation.crps[0],
        "rmse": evaluation.rmse[0],
        **{f"coverage_{100 * level:.0f}": evaluation.coverage[0][i] for i, level in enumerate(LEVELS)},
        **{f"width_{100 * level:.0f}": evaluation.width[0][i] for i, level in enumerate(LEVELS)},
        **interval_scores(mixture, test.y, units, predictor.observed),
        "calibration_error": evaluation.calibration[0],
        "linear_nll": evaluate_mixtures(simple, test.y, units, observed=predictor.observed).nll,
        "validation_nll": row["validation_nll"],
        "of_settings": row["of_settings"],
        "of_least_squares": row.get("of_least_squares", []),
        "scale_floor": float(floor.min()),
        "num_at_floor": num_at_floor(mixture, units.relative(test.y).astype(np.float32), floor),
        "num_test": len(test.x),
        "seconds": row["seconds"],
    }


def num_at_floor(mixture: Mixture, y: np.ndarray, floor: np.ndarray) -> int:
    """Counts the rows whose NLL the scale floor limits: components at the floor have most of the responsibility for y."""
    low = (np.asarray(scales_of(mixture.component)) <= AT_FLOOR * floor).any(axis=-1)
    return int(np.sum(np.sum(np.asarray(responsibilities(mixture, y)) * low, axis=1) > 0.5))


def _predictors(part: parts.Part, runs: list[SplitRun]) -> list[tuple[int, Predictor]]:
    index_of = {row["member"]: i for i, row in enumerate(part.rows) if _is_current(row, runs)}
    if not index_of:
        return []
    outcome = parts.outcome_of(part, runs[min(index_of)].member)
    return [(number, outcome.predictor(runs[number].member.config.model, i)) for number, i in index_of.items()]


def _is_current(row: parts.Row, runs: list[SplitRun]) -> bool:
    return row["member"] < len(runs) and runs[row["member"]].member.digest == row["config"]


if __name__ == "__main__":
    command.main("experiments.uci", __doc__ or "", Benchmark, None, bench)
