"""Your own table: trains an ensemble, judges it on rows that were kept back, and writes a model that predicts for new rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments import command, reading, report
from experiments.pipeline import Result, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.study import MODEL_FILE, RUN_FILES, check_finite, prepare, resolve_num_components, write_run
from experiments.tabular import figures
from experiments.tabular.cells import HEADINGS, cells_of
from mdnjax.config.tabular import Tabular
from mdnjax.data import make_support
from mdnjax.data.dataset import joined
from mdnjax.evaluation import Evaluation, judge, linear_gaussian, marginal_gaussian, permutation_importance
from mdnjax.mixture import Mixture, num_targets
from mdnjax.plots import plot_calibration, plot_history
from mdnjax.statistics import marginal

MIN_WEIGHT_SHOWN = 0.01
NAMES = ("loss", "importance", "observed*", "calibration*", "densities*")
FILES = (*RUN_FILES, *(f"figures/{name}.png" for name in NAMES))


def study(config: Tabular, overwrite: bool) -> None:
    """Trains on one table and writes its run folder."""
    prepare(config)
    clock = Clock()
    with clock.phase("data"):
        read = reading.read(config.data, config.data_seed)
    folder = create_run_folder(config, config.output, FILES, overwrite)
    result = run(resolve_num_components(config, read.splits, clock), read.splits, None, clock, folder / MODEL_FILE, read.columns)
    test = read.splits.test
    with clock.phase("judgement"):
        mixture = result.predictor.at(test.x)
        judgements = judged(result, mixture)
        rises = permutation_importance(result.predictor, test, config.seed)
    if not result.fit.diverged:
        with clock.phase("figures"):
            report.write_figures(folder / "figures", draw(result, read, mixture, judgements["network"], rises))
    more = {
        "judgement": {name: own.numbers() for name, own in judgements.items()},
        "importance": {name: float(np.mean(rise)) for name, rise in rises.items()},
    }
    write_run(folder, clock, result, more)
    show(folder, clock, result, read, judgements)
    check_finite(folder, result)


def judged(result: Result, mixture: Mixture) -> dict[str, Evaluation]:
    """The network beside a linear Gaussian and the targets' own Gaussian, on the test rows."""
    train, validation, test = result.splits
    support = make_support(result.config.data.target_support, train.y.shape[1])
    simple = {"linear Gaussian": linear_gaussian, "marginal Gaussian": marginal_gaussian}
    known, units = joined(train, validation), result.predictor.units
    others = {name: judge(make(known, test.x, support, units), test.y, units) for name, make in simple.items()}
    return {"network": judge(mixture, test.y, units), **others}


def draw(
    result: Result, read: reading.Read, mixture: Mixture, own: Evaluation, rises: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, Figure]]:
    """Every figure by name; where there are several targets, one of each kind for each."""
    test = result.splits.test
    yield "loss", plot_history(result.fit.history)
    yield "importance", figures.plot_importance(dict(rises))
    surprise, units = result.predictor.nll(test), result.predictor.units
    observed = units.relative(test.y).astype(np.float32)
    for target, name in enumerate(read.columns.targets):
        several = num_targets(mixture) > 1
        single, y, after = (marginal(mixture, [target]) if several else mixture), observed[:, [target]], f"_{target}" * several
        name = units.select(target).label(name)
        yield f"observed{after}", figures.plot_observed(single, y, name)
        yield f"calibration{after}", plot_calibration(own.pit[:, target])
        yield f"densities{after}", figures.plot_densities(single, y, surprise, (read.rows.test + 1).tolist(), name)


def show(folder: Path, clock: Clock, result: Result, read: reading.Read, judgements: dict[str, Evaluation]) -> None:
    """Prints what was trained on, the one table, and what looks wrong."""
    sizes = [len(rows) for rows in read.rows]
    targets = read.columns.targets
    size = f"{sizes[0] + sizes[1]} rows to train and choose by, {sizes[2]} to test"
    print(f"{read.path}: {', '.join(targets)} from {len(read.columns.inputs)} columns; {size}")
    rows = [HEADINGS, *cells_of(judgements, targets)]
    report.print_table("Test rows: NLL in nats, the rest in the target's units", rows)
    for line in notes(result, read, judgements):
        print(line)
    report.print_end((), clock, folder)


def notes(result: Result, read: reading.Read, judgements: dict[str, Evaluation]) -> Iterator[str]:
    """What was chosen, and what looks wrong."""
    settings = zip(result.of_settings, result.config.selection.settings, strict=False)
    for weight, setting in sorted(settings, key=lambda pair: -pair[0]):
        if weight >= MIN_WEIGHT_SHOWN:
            yield f"{100 * weight:.0f} % of the mixture: " + ", ".join(f"{key} {value:g}" for key, value in setting.items())
    yield from (f"note: {text}" for text in (*read.notes, *result.notes))
    network, linear = judgements["network"].nll, judgements["linear Gaussian"].nll
    if network > linear:
        yield f"note: the NLL is {network - linear:.3f} above that of a linear Gaussian: too few rows, or a relation that simple"


if __name__ == "__main__":
    command.main("experiments.tabular", __doc__ or "", Tabular, None, study)
