"""The study's mixture density network over many seeds, each with its own data set and initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, field_validator
from rich.console import Console
from rich.table import Table

from experiments import command, report
from experiments.inverse_sine import InverseSine, prepare
from experiments.pipeline import make_data, run
from experiments.progress import Clock
from experiments.run_folder import claim
from mdnjax.config.schema import Count
from mdnjax.trained import save_model

SUMMARY = {"mean": np.mean, "sd": lambda values: np.std(values, ddof=1), "min": np.min, "median": np.median, "max": np.max}
SHOWN = ("train_nll", "test_nll", "truth_nll", "excess_nll", "test_crps")


FILES = ("members.csv", "metrics.json", "environment.json", "diverged_*.safetensors")


class Seeds(InverseSine, frozen=True):
    """The study's configuration, and how many seeds of it."""

    num_seeds: Count = Field(default=10, description="seeds to run: seed, seed + 1, ...")

    @field_validator("num_seeds")
    @classmethod
    def _within_range(cls, num_seeds: int, info: Any) -> int:
        if info.data.get("seed", 0) + num_seeds > 2**32:
            raise ValueError(f"got {num_seeds}, expected the last seed to be below 2^32")
        return num_seeds


def run_seeds(config: Seeds, overwrite: bool) -> None:
    """Trains and scores one network a seed, all by one compiled program, and writes a row as each is done."""
    prepare(config)
    folder = claim(config, config.output.with_name(f"{config.output.name}_seeds"), FILES, overwrite)
    members: list[dict[str, Any]] = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        clock = Clock()
        member = config.model_copy(update={"seed": seed})
        with clock.phase("data"):
            splits, truth = make_data(member)
        result = run(member, splits, truth, clock)
        status = "diverged" if result.fit.diverged else "finished"
        if result.fit.diverged:
            save_model(folder / f"diverged_{seed}.safetensors", config.model, result.trained)
        members.append({"seed": seed, "status": status, **result.metrics, "seconds": sum(clock.seconds.values())})
        report.write_csv(folder / "members.csv", list(members[0]), [list(member.values()) for member in members])
    diverged = [member["seed"] for member in members if member["status"] == "diverged"]
    summary = summarise([member for member in members if member["status"] == "finished"])
    report.write_json(folder / "environment.json", report.environment())
    report.write_json(folder / "metrics.json", {"num_seeds": len(members), "diverged": diverged, **summary})
    show(summary, len(members), len(diverged))
    print(f"results: {folder}")
    if diverged:
        raise command.RunFailed(
            f"{len(diverged)} of {len(members)} seeds diverged: {', '.join(map(str, diverged))}; see {folder}"
        )


def summarise(members: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Statistics of each score over members; of one member there is no sd."""
    names = [name for name in SUMMARY if name != "sd" or len(members) > 1]
    if not members:
        return {}
    return {key: {name: float(SUMMARY[name]([member[key] for member in members])) for name in names} for key in SHOWN}


def show(summary: dict[str, dict[str, float]], num_seeds: int, diverged: int) -> None:
    """Prints the summary over the seeds that finished."""
    table = Table(title=f"{num_seeds} seeds, {diverged} diverged", title_justify="left", show_edge=False)
    for heading in ("", *next(iter(summary.values()), SUMMARY)):
        table.add_column(heading, justify="right" if heading else "left")
    for key, numbers in summary.items():
        table.add_row(key, *(f"{number:.4f}" for number in numbers.values()))
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    command.main("experiments.seeds", __doc__ or "", Seeds, command.CONFIGS / "inverse_sine.yaml", run_seeds)
