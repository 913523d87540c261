"""Problems whose density is known: trains a mixture density network, scores it against the truth, and shows both."""

from __future__ import annotations

from functools import partial

from experiments import command, figures, report
from experiments.pipeline import make_data, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.schemas import Density
from experiments.study import MODEL_FILE, RUN_FILES, check_finite, prepare, resolve_num_components, show, write_run
from mdnjax.compilation import in_background

FILES = (*RUN_FILES, *(f"figures/{name}.png" for name in figures.NAMES))


def study(config: Density, overwrite: bool) -> None:
    """Runs one problem and writes its run folder."""
    prepare(config)
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    if truth is None or splits.train.x.shape[1] > 1 or splits.train.y.shape[1] > 1:
        raise command.UserError(f"data.name: got {config.data.name!r}, expected a problem of one input and a known density")
    with in_background(partial(figures.compile_ahead, config, splits)):
        settled = resolve_num_components(config, splits, clock)
        result = run(settled, splits, truth, clock, folder / MODEL_FILE)
        if not result.fit.diverged:
            with clock.phase("figures"):
                report.write_figures(folder / "figures", figures.of_run(result, figures.PLAIN))
    if not result.fit.diverged:
        with clock.phase("figures"):
            report.write_figures(folder / "figures", figures.of_mixture(result, figures.PLAIN))
    write_run(folder, clock, result, {})
    show(f"{config.data.name}, seed {config.seed}", folder, clock, result)
    check_finite(folder, result)


if __name__ == "__main__":
    command.main("experiments.density", __doc__ or "", Density, command.CONFIGS / "econ_density.yaml", study)
