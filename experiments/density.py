"""Problems with a known density: trains a mixture density network, and compares its scores and figures with the exact density."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from experiments import command, figures
from experiments.page.blocks import Section
from experiments.pipeline import Result, make_data, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.schemas import Density
from experiments.study import (
    MODEL_FILE,
    RUN_FILES,
    check_finite,
    prepare,
    resolve_num_components,
    show,
    table_of,
    write_figures,
    write_page,
    write_run,
)
from mdnjax.compilation import in_background
from mdnjax.config import load

DEFAULT = command.CONFIGS / "econ_density.yaml"
QUESTION = (
    "How near does a mixture density network come to a conditional density p(y | x) that is known? The truth gives the best "
    "possible score, so that the difference is the error of the network."
)
FILES = (*RUN_FILES, *(f"figures/{name}.png" for name in figures.FIGURE_NAMES))


def study(config: Density, overwrite: bool) -> None:
    """Runs one problem and writes its run folder."""
    prepare(config)
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    if truth is None or splits.train.x.shape[1] > 1 or splits.train.y.shape[1] > 1:
        expected = "a problem with one input, one target and a known density"
        raise command.UserError(f"data.name: got {config.data.name!r}, expected {expected}")
    with in_background(partial(figures.compile_ahead, config, splits), partial(clock.phase, "figures")):
        resolved = resolve_num_components(config, splits, clock)
        result = run(resolved, splits, truth, clock, folder / MODEL_FILE)
        write_figures(folder, clock, result, figures.run_figures(result, figures.PLAIN))
    write_figures(folder, clock, result, figures.mixture_figures(result, figures.PLAIN))
    title, table = f"{config.data.name}, seed {config.seed}", table_of(result)
    write_page(config, folder, clock, result, title, lambda: page(result, table, folder))
    write_run(folder, clock, result, {})
    show(title, folder, clock, result, table)
    check_finite(folder, result)


def page(result: Result, table: list[list[str]], folder: Path) -> Iterator[Section]:
    """Yields the sections of the page, where the plotting library is installed."""
    from experiments.page import known_density

    return known_density.sections(QUESTION, load(Density, DEFAULT), result, table, figures.PLAIN, folder)


if __name__ == "__main__":
    command.main("experiments.density", __doc__ or "", Density, DEFAULT, study)
