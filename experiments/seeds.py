"""The study's mixture density network over many seeds, each with its own data set and initialisation."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table

from experiments import command, report
from experiments.inverse_sine import InverseSine, check_optimizers
from experiments.pipeline import run
from experiments.progress import Clock
from mdnjax import runtime
from mdnjax.config.schema import Count

SUMMARY = {"mean": np.mean, "sd": lambda values: np.std(values, ddof=1), "min": np.min, "median": np.median, "max": np.max}
SHOWN = ("train_nll", "test_nll", "truth_nll", "excess_nll", "test_crps")


class Seeds(InverseSine, frozen=True):
    """The study's configuration, and how many seeds of it."""

    num_seeds: Count = Field(default=10, description="seeds to run: seed, seed + 1, ...")


def run_seeds(config: Seeds, overwrite: bool) -> None:
    """Trains and scores one network a seed, all in one compiled program, and writes a row for each."""
    runtime.setup(**dict(config.runtime))
    check_optimizers(config)
    folder = report.claim(config, overwrite, suffix="_seeds")
    members = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        clock = Clock()
        result = run(config.model_copy(update={"seed": seed}), clock)
        status = "diverged" if result.fit.diverged else "finished"
        members.append({"seed": seed, "status": status, **result.metrics, "seconds": sum(clock.seconds.values())})
    report.write_csv(folder / "members.csv", list(members[0]), [list(member.values()) for member in members])
    report.write_json(folder / "environment.json", report.environment())
    finished = [member for member in members if member["status"] == "finished"]
    summary = (
        {key: {name: float(f([m[key] for m in finished])) for name, f in SUMMARY.items()} for key in SHOWN} if finished else {}
    )
    diverged = len(members) - len(finished)
    report.write_json(folder / "metrics.json", {"num_seeds": len(members), "diverged": diverged, **summary})
    show(summary, len(members), diverged)
    print(f"results: {folder}")


def show(summary: dict[str, dict[str, float]], num_seeds: int, diverged: int) -> None:
    """Prints the summary over the seeds that finished."""
    table = Table(title=f"{num_seeds} seeds, {diverged} diverged", title_justify="left", show_edge=False)
    for heading in ("", *SUMMARY):
        table.add_column(heading, justify="right" if heading else "left")
    for key, numbers in summary.items():
        table.add_row(key, *(f"{number:.4f}" for number in numbers.values()))
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    command.main("experiments.seeds", __doc__ or "", Seeds, command.CONFIGS / "inverse_sine.yaml", run_seeds)
