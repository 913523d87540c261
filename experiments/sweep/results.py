"""From the parts of a sweep to its results: tables, figures, and the best member ready to be used or run again."""

from __future__ import annotations

from pathlib import Path

import jax

from experiments import command, report
from experiments.sweep import figures, parts, plan, table
from experiments.sweep.plan import Member, Plan, digest_of
from mdnjax.checkpoint import CheckpointError, write_bytes
from mdnjax.config import dump
from mdnjax.trained import Trained, save_model

FILES = (parts.PATTERN, "members.csv", "summary.csv", "best.yaml", "best.safetensors", "environment.json", "figures/*.png")
FILES += ("search.journal", "search.journal.lock")


def gather(planned: Plan, folder: Path) -> int:
    """Writes and prints the results if every member is trained; else gives the number of those that are not.

    Several workers may do this at once: each writes the same, file by file.
    Raises: RunFailed if no member finished.
    """
    members = {member.number: member for member in plan.members_of(planned)}
    wanted = {number: digest_of(member.config) for number, member in members.items()}
    found = parts.read_all(folder)
    rows = [row for row in parts.rows_of(found) if wanted.get(row["member"]) == row["config"]]
    if missing := len(members) - len(rows):
        return missing
    summaries = table.summarise(planned.settings, rows)
    table.write_members(folder / "members.csv", planned.settings, rows)
    table.write_summary(folder / "summary.csv", summaries)
    report.write_json(folder / "environment.json", report.environment())
    table.show(planned.sweep.output.name, summaries, sum(row["seconds"] for row in rows))
    if not summaries[0].statistics:
        raise command.RunFailed(f"all {len(rows)} members diverged; see {folder}")
    best = members[table.best_row(summaries[0], rows)["member"]]
    _write_arrays(folder, found, members, best, summaries, rows)
    print(f"best: seed {best.config.seed} of the first row, in best.yaml and best.safetensors")
    print(f"results: {folder}")
    return 0


def _write_arrays(
    folder: Path,
    found: list[parts.Part],
    members: dict[int, Member],
    best: Member,
    summaries: list[table.Summary],
    rows: list[parts.Row],
) -> None:
    """What needs the parts' arrays: the best member's model, and the figures."""
    curves: list[figures.Curve] = []
    for part in found:
        try:
            outcome = parts.outcome_of(part, members[part.rows[0]["member"]])
        except CheckpointError as error:
            raise command.RunFailed(f"{error}; remove it and run the sweep again to train its members again") from None
        for i, row in enumerate(part.rows):
            curves.append((row["setting"], outcome.report_steps, outcome.held_out[i]))
            if row["member"] == best.number:
                trained: Trained = jax.tree.map(lambda leaf, i=i: leaf[i], outcome.trained)
                save_model(folder / "best.safetensors", best.config.model, trained)
    again = best.config.model_copy(update={"output": folder.with_name(f"{folder.name}_best")})
    write_bytes(folder / "best.yaml", dump(again).encode())
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.of_sweep(summaries, rows, curves):
        report.write_figure(folder / "figures" / f"{name}.png", figure)
