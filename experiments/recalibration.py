"""Measures NLL, CRPS and coverage before and after recalibration over many draws of data, for right and for wrong predictions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from pydantic import Field
from scipy.special import ndtr

from experiments import command
from experiments.findings import Findings, write
from experiments.run_folder import create_run_folder
from experiments.schemas import Runtime
from mdnjax.components import Diagonal
from mdnjax.config.section import Count, Folder, Section, Seed
from mdnjax.data.units import own_units
from mdnjax.mixture import Mixture
from mdnjax.observed import PLAIN
from mdnjax.progress import ProgressLine
from mdnjax.recalibration import Recalibration, fit_recalibration, normal_scores
from mdnjax.scores import crps

FILES = ("recalibration.csv", "recalibration.md", "environment.json")
NUM_NEW = 1000  # rows by which a recalibrated prediction is scored
LEVEL = 0.9


class Draws(Section, frozen=True):
    """How many data sets are drawn, and where the table is written."""

    output: Folder = Field(default=Path("results/recalibration"), description="folder of the table")
    seed: Seed = Field(default=0, description="seed of the data")
    num_draws: Count = Field(default=100, description="data sets for each prediction and number of rows")
    num_rows: tuple[Count, ...] = Field(default=(50, 200, 1000), description="rows that give the map, in a data set")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


class Case(NamedTuple):
    """A prediction N(x + shift, scale^2) of y = x + e, with e from N(0, 1), or from another law with mean 0 and variance 1."""

    shift: float = 0.0
    scale: float = 1.0
    law: str = "normal"


CASES = {
    "right": Case(),
    "half as wide": Case(scale=0.5),
    "twice as wide": Case(scale=2.0),
    "half a standard deviation too high": Case(shift=0.5),
    "normal, but errors are exponential": Case(law="exponential"),
    "normal, but errors have heavy tails": Case(law="student"),
}


class Scores(NamedTuple):
    """Mean NLL, mean CRPS and the coverage of central intervals on new rows."""

    nll: float
    crps: float
    coverage: float


def measure(settings: Draws, overwrite: bool) -> None:
    """Draws all data sets, and prints and writes the scores."""
    command.setup_runtime(settings.runtime)
    create_run_folder(settings, settings.output, FILES, overwrite)
    names = [f"{name} {when}" for name in ("NLL", "CRPS", f"coverage of {100 * LEVEL:g} %") for when in ("before", "after")]
    rows, line = [["prediction", "rows", "map used", *names]], ProgressLine()
    for count, (name, num) in enumerate(itertools.product(CASES, settings.num_rows)):
        text = f"{name}, {num} rows: {count + 1} of {len(CASES) * len(settings.num_rows)}"
        line.update(lambda _, text=text: text)
        drawn = [scores_of_draw(CASES[name], num, [settings.seed, count, draw]) for draw in range(settings.num_draws)]
        used = np.mean([used for used, *_ in drawn])
        before, after = (Scores(*np.mean([scores[i] for scores in drawn], axis=0)) for i in (1, 2))
        means = [f"{value:.3f}" for pair in zip(before[:2], after[:2], strict=True) for value in pair]
        means += [f"{100 * share:.1f} %" for share in (before.coverage, after.coverage)]
        rows.append([name, str(num), f"{100 * used:.0f} %", *means])
    line.end()
    note = f"Means over {settings.num_draws} data sets, with {NUM_NEW} new rows each; where no map is used, nothing changes."
    write(settings.output, Findings([rows], [note]), "recalibration")


def scores_of_draw(case: Case, num: int, seed: list[int]) -> tuple[bool, Scores, Scores]:
    """Returns whether a map is used, and the scores of new rows before and after recalibration by `num` rows."""
    generator = np.random.default_rng(seed)
    error = errors(case, generator, num + NUM_NEW)
    z = (error - case.shift) / case.scale  # the normal scores of the prediction
    known = fit_recalibration(z[:num])
    new = error[num:, None]  # x is 0, since only y - x counts
    mixture = Mixture(jnp.zeros((NUM_NEW, 1)), Diagonal(*(jnp.full((NUM_NEW, 1, 1), value) for value in case[:2])))
    return not known.is_identity, scores_of(mixture, None, new), scores_of(mixture, known, new)


def errors(case: Case, generator: np.random.Generator, num: int) -> np.ndarray:
    """Draws y - x, with mean 0 and variance 1."""
    if case.law == "exponential":
        return generator.exponential(size=num) - 1
    return generator.standard_t(4, num) / np.sqrt(2) if case.law == "student" else generator.normal(size=num)


def scores_of(mixture: Mixture, known: Recalibration | None, y: np.ndarray) -> Scores:
    """Returns the scores of a mixture, or of the one that `known` recalibrates."""
    changes = known is not None and not known.is_identity
    observed = PLAIN._replace(recalibration=known if changes else None)
    if changes:
        crps_of_rows, pit = observed.scores(mixture, own_units(1), y)[:2]
    else:
        crps_of_rows, pit = np.asarray(crps(mixture, y)), ndtr(normal_scores(mixture, y))
    nll = -float(np.mean(observed.log_prob(mixture, own_units(1), y)))
    return Scores(nll, float(np.mean(crps_of_rows)), float(np.mean(np.abs(pit - 0.5) <= LEVEL / 2)))


if __name__ == "__main__":
    command.main("experiments.recalibration", __doc__ or "", Draws, None, measure)
