"""From the parts of a sweep to its results: tables, figures, and the best member ready to be used or run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments import command, report
from experiments.members import parts, plan
from experiments.members.component_numbers import with_num_components
from experiments.members.plan import Member, Plan
from experiments.pipeline import columns_of
from experiments.sweep import figures, summary
from mdnjax.checkpoint import CheckpointError, write_bytes
from mdnjax.config import dump
from mdnjax.config.schema import Run
from mdnjax.model_file import save

FILES = (parts.PATTERN, "members.csv", "summary.csv", "best.yaml", "best.safetensors", "environment.json", "figures/*.png")
FILES += ("search.journal", "search.journal.lock")


def gather(planned: Plan, folder: Path) -> int:
    """Writes and prints the results if every member is trained; else gives the number of those that are not.

    Several workers may do this at once: each writes the same, file by file.
    Raises: RunFailed if no member finished.
    """
    members = plan.members_of(planned)
    found = parts.read_all(folder)
    rows = parts.rows_of(found, members)
    if missing := plan.num_members(planned) - len(rows):
        return missing
    summaries = summary.summarise(planned.settings, rows)
    summary.write_members(folder / "members.csv", planned.settings, rows)
    summary.write_summary(folder / "summary.csv", summaries)
    report.write_json(folder / "environment.json", report.environment())
    summary.show(planned.sweep.output.name, summaries, sum(row["seconds"] for row in rows))
    if not summaries[0].statistics:
        raise command.RunFailed(f"all {len(rows)} members diverged; see {folder}")
    best = members[summary.best_row(summaries[0], rows)["member"]]
    curves = _curves_and_best_model(folder, found, rows, members, best)
    write_bytes(folder / "best.yaml", dump(_again(best, folder)).encode())
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.of_sweep(summaries, rows, curves):
        report.write_figure(folder / "figures" / f"{name}.png", figure)
    print(f"best: seed {best.config.seed} of the first row, in best.yaml and best.safetensors")
    print(f"results: {folder}")
    return 0


def _curves_and_best_model(
    folder: Path, found: Sequence[parts.Part], rows: Sequence[parts.Row], members: Sequence[Member], best: Member
) -> list[figures.Curve]:
    """What needs the parts' arrays: learning curves, and the best member's network, which is written."""
    wanted = {(row["member"], row["config"]) for row in rows}
    curves: list[figures.Curve] = []
    for part in found:
        own = {row["member"]: i for i, row in enumerate(part.rows) if (row["member"], row["config"]) in wanted}
        if not own:  # of trials that have not been told
            continue
        try:
            outcome = parts.outcome_of(part, members[min(own)])
        except CheckpointError as error:
            raise command.RunFailed(f"{error}; remove it and run the sweep again to train its members again") from None
        curves += [(members[number].setting, outcome.report_steps, outcome.validation_scores[i]) for number, i in own.items()]
        if best.number in own:
            config = with_num_components(best, part.rows[own[best.number]]["num_components"]).config
            predictor, columns = outcome.predictor(config.model, own[best.number]), columns_of(best.config)
            save(folder / "best.safetensors", replace(predictor, columns=columns or predictor.columns))
    return curves


def _again(best: Member, folder: Path) -> Run:
    """The best member's configuration, to be run into a folder of its own."""
    return best.config.model_copy(update={"output": folder.with_name(f"{folder.name}_best")})
