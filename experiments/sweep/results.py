"""Writes the results of a sweep from its parts: tables, figures, and the configuration and network of the best member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from experiments import command, report
from experiments.members import parts, plan
from experiments.members.component_numbers import with_num_components
from experiments.members.plan import Member, Plan
from experiments.page.blocks import Section
from experiments.page.writing import PAGE_FILE, write_page
from experiments.pipeline import columns_of
from experiments.progress import Clock
from experiments.sentences import say
from experiments.sweep import figures, summary
from mdnjax.checkpoint import CheckpointError, write_bytes
from mdnjax.config import dump
from mdnjax.config.schema import Run
from mdnjax.model_file import save

FILES = (
    parts.PATTERN,
    "members.csv",
    "summary.csv",
    "best.yaml",
    "best.safetensors",
    "environment.json",
    "figures/*.png",
    PAGE_FILE,
)
FILES += ("search.journal", "search.journal.lock")


def gather(planned: Plan, folder: Path) -> None:
    """Writes and prints the results of a sweep whose members are trained.

    Raises: RunFailed if all members diverged, or the results of a member cannot be read.
    """
    members = plan.members_of(planned)
    found = parts.read_all(folder)
    rows = parts.rows_of(found, members)
    if missing := len(members) - len(rows):
        raise command.RunFailed(f"{missing} of {len(members)} members cannot be read from {folder}; run the sweep again")
    summaries = summary.summarise(planned.settings, rows)
    summary.write_members(folder / "members.csv", planned.settings, rows)
    summary.write_summary(folder / "summary.csv", summaries)
    report.write_json(folder / "environment.json", report.environment())
    summary.show(planned.sweep.output.name, summaries, sum(row["seconds"] for row in rows))
    if not summaries[0].statistics:
        raise command.RunFailed(f"all {len(rows)} members diverged; see {folder}")
    best = members[summary.best_row(summaries[0], rows)["member"]]
    curves = _curves_and_best_model(folder, found, rows, members, best)
    write_bytes(folder / "best.yaml", dump(_rerun_config(best, folder)).encode())
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.of_sweep(summaries, rows, curves):
        report.write_figure(folder / "figures" / f"{name}.png", figure)
    say(f"best member: seed {best.config.seed} of the setting in row 1; written to best.yaml and best.safetensors")
    title = f"Sweep {planned.sweep.output.name}: {len(members)} members"
    write_page(folder, Clock(), title, lambda: page(folder, planned, summaries, best), wanted=planned.sweep.report)
    say(f"results: {folder}")


def page(folder: Path, planned: Plan, summaries: Sequence[summary.Summary], best: Member) -> Iterator[Section]:
    """Yields the sections of the page, where the plotting library is installed."""
    from experiments.sweep.page import sections

    return sections(folder, summaries, planned, f"The best member has seed {best.config.seed} of the first setting.")


def _curves_and_best_model(
    folder: Path, found: Sequence[parts.Part], rows: Sequence[parts.Row], members: Sequence[Member], best: Member
) -> list[figures.Curve]:
    """Returns the learning curves and writes the network of the best member, so that each part is read only once."""
    wanted = {(row["member"], row["config"]) for row in rows}
    curves: list[figures.Curve] = []
    for part in found:
        indices = {row["member"]: i for i, row in enumerate(part.rows) if (row["member"], row["config"]) in wanted}
        if not indices:  # a part of trials that the search has no result of
            continue
        try:
            outcome = parts.outcome_of(part, members[min(indices)])
        except CheckpointError as error:
            raise command.RunFailed(f"{error}; remove this file and run the sweep again to train its members") from None
        curves += [(members[number].setting, outcome.report_steps, outcome.validation_scores[i]) for number, i in indices.items()]
        if best.number in indices:
            index = indices[best.number]
            config = with_num_components(best, part.rows[index]["num_components"]).config
            predictor, columns = outcome.predictor(config.model, index), columns_of(best.config)
            save(folder / "best.safetensors", replace(predictor, columns=columns or predictor.columns))
    return curves


def _rerun_config(best: Member, folder: Path) -> Run:
    """Returns the configuration of the best member, with another output folder, so that it can be run as it is."""
    return best.config.model_copy(update={"output": folder.with_name(f"{folder.name}_best")})
