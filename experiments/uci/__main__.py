"""Trains one configuration on all splits of many tables, and sets its scores beside what others have published."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from experiments import command, report
from experiments.members import parts
from experiments.members.chunks import material_of
from experiments.members.plan import Member, digest_of
from experiments.members.resume import train_members
from experiments.run_folder import create_run_folder
from experiments.study import prepare
from experiments.uci import results
from experiments.uci.problems import Problem, problems_of
from mdnjax.config.data import Table
from mdnjax.config.tabular import Benchmark, Tabular
from mdnjax.data.dataset import joined
from mdnjax.data.scaler import mixture_units
from mdnjax.diagnostics import AT_FLOOR, scales_of
from mdnjax.evaluation import LEVELS, judge, linear_gaussian
from mdnjax.mixture import Mixture, responsibilities
from mdnjax.predictor import Predictor
from mdnjax.training.placement import local_placement

FILES = (parts.PATTERN, "tables/*.npz", "members.csv", "table.csv", "table.md", "environment.json")
NETWORK, SINGLE = "network", "single Gaussian"


class Task(NamedTuple):
    """A table by name, and the networks that are trained on one of its splits."""

    problem: str
    contender: str
    member: Member


def bench(config: Benchmark, overwrite: bool) -> None:
    """Trains what is not trained yet, and writes the table."""
    prepare(config)
    problems = problems_of(config.data, config.output / "tables")
    folder = create_run_folder(config, config.output, FILES, overwrite)
    tasks = tasks_of(config, problems)
    rows = train_members([task.member for task in tasks], local_placement(), folder, None)
    found = {row["member"]: row for row in rows}
    outcomes = {number: outcome for part in parts.read_all(folder) for number, outcome in _outcomes(part, tasks)}
    scores = [scored(task, found[task.member.number], outcomes[task.member.number]) for task in tasks]
    report.write_csv(folder / "members.csv", list(scores[0]), [list(row.values()) for row in scores])
    report.write_json(folder / "environment.json", report.environment())
    results.write(folder, scores)
    results.show(scores)
    print(f"results: {folder}")


def tasks_of(config: Benchmark, problems: list[Problem]) -> list[Task]:
    """Every split of every table, by the one configuration."""
    tasks: list[Task] = []
    contenders = {NETWORK: None, **({SINGLE: 1} if config.data.single_gaussian else {})}
    for setting, problem in enumerate(problems):
        splits = problem.first_splits(config.data.num_splits)
        for contender, num_components in contenders.items():
            for split in splits:
                own = _of_split(config, split, num_components)
                tasks.append(Task(problem.name, contender, Member(len(tasks), setting, own, digest_of(own))))
    return tasks


def scored(task: Task, row: parts.Row, predictor: Predictor) -> dict[str, Any]:
    """What the networks of a split come to on its test rows."""
    config, floors = task.member.config, predictor.networks.scale_floor
    train, validation, test = material_of(task.member).splits
    mixture, units = predictor.at(test.x), predictor.units
    own = judge(mixture, test.y, units)
    known = joined(train, validation)
    of_networks = np.array([config.model.scale_floor]) if floors is None else np.asarray(floors)
    floor = np.repeat(of_networks, config.model.fixed_num_components)[:, None] * mixture_units(predictor.scaler)[1].sd
    return {
        "table": task.problem,
        "contender": task.contender,
        "seed": config.seed,
        "status": row["status"],
        "num_rows": len(known.x) + len(test.x),
        "num_inputs": test.x.shape[1],
        "nll": own.nll,
        "crps": own.crps[0],
        "rmse": own.rmse[0],
        **{f"coverage_{100 * level:.0f}": own.coverage[0][i] for i, level in enumerate(LEVELS)},
        **{f"width_{100 * level:.0f}": own.width[0][i] for i, level in enumerate(LEVELS)},
        "calibration_error": own.calibration[0],
        "linear_nll": judge(linear_gaussian(known, test.x, None, units), test.y, units).nll,
        "validation_nll": row["validation_nll"],
        "of_settings": row["of_settings"],
        "scale_floor": float(floor.min()),
        "num_at_floor": at_floor(mixture, units.relative(test.y).astype(np.float32), floor),
        "num_test": len(test.x),
        "seconds": row["seconds"],
    }


def at_floor(mixture: Mixture, y: np.ndarray, floor: np.ndarray) -> int:
    """Rows whose observed value is mostly owed to components at the scale floor: there the NLL is what the floor allows."""
    low = (np.asarray(scales_of(mixture.component)) <= AT_FLOOR * floor).any(axis=-1)
    return int(np.sum(np.sum(np.asarray(responsibilities(mixture, y)) * low, axis=1) > 0.5))


def _of_split(config: Benchmark, split: Table, num_components: int | None) -> Tabular:
    model = config.model if num_components is None else config.model.model_copy(update={"num_components": num_components})
    own = {name: getattr(config, name) for name in ("seed", "train", "ensemble", "selection")}
    inherited = {name: getattr(config.data, name) for name in ("target_support", "standardise", "rounding", "nested")}
    return Tabular(data=split.model_copy(update=inherited), model=model, **own)


def _outcomes(part: parts.Part, tasks: list[Task]) -> list[tuple[int, Predictor]]:
    own = {row["member"]: i for i, row in enumerate(part.rows) if _is_of(row, tasks)}
    if not own:
        return []
    outcome = parts.outcome_of(part, tasks[min(own)].member)
    return [(number, outcome.predictor(tasks[number].member.config.model, i)) for number, i in own.items()]


def _is_of(row: parts.Row, tasks: list[Task]) -> bool:
    return row["member"] < len(tasks) and tasks[row["member"]].member.digest == row["config"]


if __name__ == "__main__":
    command.main("experiments.uci", __doc__ or "", Benchmark, None, bench)
