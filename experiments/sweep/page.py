"""The page about a sweep: the table of settings, and parallel coordinates on which a setting can be chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.members.plan import Plan
from experiments.page.blocks import Bullets, Grid, Paragraph, Section
from experiments.page.parallel import parallel_coordinates
from experiments.page.pictures import pictures_of
from experiments.page.settings import settings_that_differ
from experiments.schemas import InverseSine
from experiments.sweep.summary import Summary, short, table_of, text

MAX_LINES = 500
MEANINGS = (
    "Settings are ranked by the mean validation NLL over their seeds, and never by the test NLL. ± se is its standard error: "
    "settings that differ by less than two standard errors may differ by chance.",
    "Excess: the test NLL minus that of the exact density on the same points, where it is known. Near best: the share of seeds "
    "within 0.05 nats of the best member of all.",
)
SCORES = ("validation_nll", "test_nll", "excess_nll")


def sections(folder: Path, summaries: Sequence[Summary], planned: Plan, best: str) -> Iterator[Section]:
    """Yields the sections; `best` says which member is the best."""
    keys = list(summaries[0].values)
    num_members, diverged = (sum(getattr(summary, key) for summary in summaries) for key in ("num_members", "num_diverged"))
    question = f"Which values of {', '.join(keys) or 'the seed'} give the best networks?"
    trained = f"{num_members} members of {len(summaries)} settings were trained."
    yield Section("Question", [Paragraph(f"{question} {trained} {best}")])
    data = planned.configs[0].data
    yield Section("Data", [Paragraph(getattr(data, "path", None) or f"Points drawn from {data.name.replace('_', ' ')}.")])
    values = {key: dict.fromkeys(text(summary.values[key], 4) for summary in summaries) for key in keys}
    varied = Grid("Varied keys", ["key", "values"], [[key, ", ".join(of)] for key, of in values.items()], 2)
    fixed = settings_that_differ(planned.configs[0], InverseSine(), leave_out=keys)
    yield Section("Settings", [varied, *fixed] if keys else fixed)
    header, *rows = table_of(summaries)
    yield Section("Scores", [Grid("Settings, the best first", header, rows, 1 + len(keys)), Bullets(MEANINGS)])
    notes = [f"{diverged} of {num_members} members diverged; they are left out of the means of their settings."] * (diverged > 0)
    yield Section("Where not to trust it", [Bullets(notes)] if notes else [])
    shown = [summary for summary in summaries if summary.statistics][:MAX_LINES]
    yield Section("All settings", [_parallel(shown, keys)])
    pictures = {f"by_{key}": f"The scores of all members against {key}: a point for each member, and medians." for key in keys}
    pictures |= {"map": "The mean validation NLL over both keys.", "learning_curves": "The validation NLL against the step."}
    yield Section("Pictures", pictures_of(folder, pictures))


def _parallel(shown: Sequence[Summary], keys: Sequence[str]) -> Any:
    """Returns the parallel coordinates of the keys and of the mean scores that are known."""
    metrics = [name for name in SCORES if any(math.isfinite(summary.statistics[name]["mean"]) for summary in shown)]
    scores = [[summary.statistics[name]["mean"] for summary in shown] for name in metrics]
    values = [[summary.values[key] for summary in shown] for key in keys]
    texts = [[text(summary.values[key], 4) for key in keys] for summary in shown]
    texts = [[*row, *(f"{column[i]:.4g}" for column in scores)] for i, row in enumerate(texts)]
    names = [short(key, keys) for key in keys] + [name.replace("_nll", " NLL").replace("_", " ") for name in metrics]
    return parallel_coordinates(names, [*values, *scores], texts, len(scores))
