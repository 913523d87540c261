"""Trains one configuration on all splits of many tables, and compares its scores with published ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from experiments import command, report
from experiments.members import parts
from experiments.members.chunks import member_data
from experiments.members.plan import Member, digest_of
from experiments.members.resume import train_members
from experiments.run_folder import create_run_folder
from experiments.study import prepare
from experiments.uci import results
from experiments.uci.problems import Problem, problems_of
from experiments.uci.schema import Benchmark
from mdnjax.config.data import Table
from mdnjax.config.tabular import Tabular
from mdnjax.data.dataset import joined
from mdnjax.data.scaler import mixture_units
from mdnjax.diagnostics import AT_FLOOR, scales_of
from mdnjax.evaluation import LEVELS, evaluate_mixtures, linear_gaussian
from mdnjax.mixture import Mixture, responsibilities
from mdnjax.predictor import Predictor
from mdnjax.training.placement import local_placement

FILES = (parts.PATTERN, "tables/*.npz", "members.csv", "table.csv", "table.md", "environment.json")
NETWORK, SINGLE = "network", "single Gaussian"


class SplitRun(NamedTuple):
    """One contender, trained on one split of a table."""

    problem: str
    contender: str
    member: Member


def bench(config: Benchmark, overwrite: bool) -> None:
    """Trains all splits that are not trained yet, and writes the table of scores."""
    prepare(config)
    problems = problems_of(config.data, config.output / "tables")
    folder = create_run_folder(config, config.output, FILES, overwrite)
    runs = split_runs(config, problems)
    rows = train_members([run.member for run in runs], local_placement(), folder, None)
    row_of = {row["member"]: row for row in rows}
    predictors = {number: predictor for part in parts.read_all(folder) for number, predictor in _predictors(part, runs)}
    scores = [scores_of(run, row_of[run.member.number], predictors[run.member.number]) for run in runs]
    report.write_csv(folder / "members.csv", list(scores[0]), [list(row.values()) for row in scores])
    report.write_json(folder / "environment.json", report.environment())
    results.write(folder, scores)
    results.show(scores)
    print(f"results: {folder}")


def split_runs(config: Benchmark, problems: list[Problem]) -> list[SplitRun]:
    """Returns a run for every table, contender and split, all with the same settings."""
    runs: list[SplitRun] = []
    contenders = {NETWORK: None, **({SINGLE: 1} if config.data.single_gaussian else {})}
    for setting, problem in enumerate(problems):
        splits = problem.first_splits(config.data.num_splits)
        for contender, num_components in contenders.items():
            for split in splits:
                split_config = _split_config(config, split, num_components)
                member = Member(len(runs), setting, split_config, digest_of(split_config))
                runs.append(SplitRun(problem.name, contender, member))
    return runs


def scores_of(run: SplitRun, row: parts.Row, predictor: Predictor) -> dict[str, Any]:
    """Computes the scores of a split's networks on its test rows."""
    config, floors = run.member.config, predictor.networks.scale_floor
    train, validation, test = member_data(run.member).splits
    mixture, units = predictor.at(test.x), predictor.units
    evaluation = evaluate_mixtures(mixture, test.y, units, lattice=predictor.lattice)
    known = joined(train, validation)
    network_floors = np.array([config.model.scale_floor]) if floors is None else np.asarray(floors)
    floor = np.repeat(network_floors, config.model.fixed_num_components)[:, None] * mixture_units(predictor.scaler)[1].sd
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
        "calibration_error": evaluation.calibration[0],
        "linear_nll": evaluate_mixtures(
            linear_gaussian(known, test.x, None, units), test.y, units, lattice=predictor.lattice
        ).nll,
        "validation_nll": row["validation_nll"],
        "of_settings": row["of_settings"],
        "scale_floor": float(floor.min()),
        "num_at_floor": num_at_floor(mixture, units.relative(test.y).astype(np.float32), floor),
        "num_test": len(test.x),
        "seconds": row["seconds"],
    }


def num_at_floor(mixture: Mixture, y: np.ndarray, floor: np.ndarray) -> int:
    """Counts the rows whose NLL the scale floor limits: components at the floor have most of the responsibility for y."""
    low = (np.asarray(scales_of(mixture.component)) <= AT_FLOOR * floor).any(axis=-1)
    return int(np.sum(np.sum(np.asarray(responsibilities(mixture, y)) * low, axis=1) > 0.5))


def _split_config(config: Benchmark, split: Table, num_components: int | None) -> Tabular:
    model = config.model if num_components is None else config.model.model_copy(update={"num_components": num_components})
    settings = {name: getattr(config, name) for name in ("seed", "train", "ensemble", "selection")}
    data = {name: getattr(config.data, name) for name in ("target_support", "standardise", "rounding", "lattice", "nested")}
    return Tabular(data=split.model_copy(update=data), model=model, **settings)


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
