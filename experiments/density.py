"""Problems with a known density: trains a mixture density network, and compares its scores and figures with the exact density."""

from __future__ import annotations

from functools import partial

from experiments import command, figures
from experiments.page.writing import write_page
from experiments.pipeline import make_data, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.schemas import Density
from experiments.study import (
    MODEL_FILE,
    RUN_FILES,
    check_finite,
    known_density_page,
    prepare,
    resolve_num_components,
    show,
    table_of,
    write_figures,
    write_run,
)
from mdnjax.compilation import in_background

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
    page = partial(known_density_page, QUESTION, DEFAULT, result, table, figures.PLAIN, folder)
    write_page(folder, clock, title, page, wanted=config.report and not result.fit.diverged)
    write_run(folder, clock, result, {})
    show(title, folder, clock, result, table)
    check_finite(folder, result)


if __name__ == "__main__":
    command.main("experiments.density", __doc__ or "", Density, DEFAULT, study)
