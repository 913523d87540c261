"""Your own table: trains an ensemble, evaluates it on test rows, and writes a model that predicts for new rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments import command, reading, report
from experiments.charts import as_label, plot_calibration, plot_history
from experiments.page.blocks import Section
from experiments.page.writing import write_page
from experiments.pipeline import Result, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.schemas import TabularRun
from experiments.sentences import say
from experiments.slice_report import SLICES_FILE, plot_slices, show_slices, write_slices
from experiments.study import MODEL_FILE, RUN_FILES, check_finite, prepare, resolve_num_components, write_figures, write_run
from experiments.tabular import figures
from experiments.tabular.figures import LEVEL
from experiments.tabular.score_tables import HEADINGS, cells_of, table_of_atoms
from mdnjax.baselines import linear_gaussian, marginal_gaussian
from mdnjax.calibration import calibrated, recalibration_note, without_calibration_rows
from mdnjax.conformity import Conformal
from mdnjax.data.dataset import joined, observed_rows, select_rows
from mdnjax.data.scaler import latent_targets
from mdnjax.data.training_units import support_and_atoms
from mdnjax.evaluation import LEVELS, Evaluation, evaluate_mixtures, permutation_importance
from mdnjax.fitting import has_cells
from mdnjax.guarantees import group_places, guaranteed_intervals_of_inputs
from mdnjax.least_squares import NAMES
from mdnjax.mixture import Mixture, num_targets
from mdnjax.observed import observed_of
from mdnjax.outside import note_of_test_rows
from mdnjax.slices import Slices, slices_of
from mdnjax.statistics import marginal
from mdnjax.training.feed import remove_files

MIN_WEIGHT_SHOWN, MAX_FACTOR_SHOWN = 0.01, 0.995
WIDTH_LABEL = f"median width of the {100 * LEVEL:.0f} % intervals"
GUARANTEED_LEVEL = 0.9
MAX_GROUPS_SHOWN = 8
FIGURE_PATTERNS = ("loss", "importance", "observed*", "calibration*", "densities*", "slices")
FILES = (*RUN_FILES, SLICES_FILE, *(f"figures/{name}.png" for name in FIGURE_PATTERNS))


def study(config: TabularRun, overwrite: bool) -> None:
    """Trains on one table and writes its run folder."""
    prepare(config)
    clock = Clock()
    with clock.phase("data"):
        table = reading.read_stored_table(config.data, config.data_seed, config.output)
    config = config if table.source is None else without_experts(config)
    say(*(f"note: {note}" for note in table.notes))  # before training, since some of them may make it useless
    folder, result = trained(config, table, clock, overwrite)
    scratch = table.source and table.source.folder
    table = table._replace(splits=result.splits, source=None)  # of rows on disk, fewer are scored, and no others stay in memory
    test = result.splits.test
    with clock.phase("evaluation"):
        mixture = result.predictor.at(test.x)
        evaluations = evaluate(result, mixture)
        rises = permutation_importance(result.predictor, test, config.seed)
        slices = table_slices(table, evaluations["network"])
    write_figures(
        folder, clock, result, draw(result, table, mixture, evaluations["network"], rises), plot_slices(slices, WIDTH_LABEL)
    )
    write_slices(folder, slices)
    more = {
        "evaluation": {name: evaluation.numbers() for name, evaluation in evaluations.items()},
        "importance": {name: float(np.mean(rise)) for name, rise in rises.items()},
        "slices": slices.numbers(),
    }
    if (known := result.predictor.recalibration) is not None:
        more["recalibration"] = {"is_used": not known.is_identity, "gain": float(known.gain)}
    title = f"{table.path.name}: {', '.join(table.columns.targets)}"
    sections = partial(page, config, result, table, mixture, evaluations, rises, slices)
    write_page(folder, clock, title, sections, wanted=config.report and not result.fit.diverged)
    write_run(folder, clock, result, more)
    if scratch is not None:  # now, since a run that is killed while it scores is not to train again
        remove_files(scratch)
    show(folder, clock, result, table, evaluations, slices)
    check_finite(folder, result)


def trained(config: TabularRun, table: reading.LoadedTable, clock: Clock, overwrite: bool) -> tuple[Path, Result]:
    """Creates the run folder, and trains and scores."""
    try:
        train, held = without_calibration_rows(config, table.splits.train, table.columns)
        support_and_atoms(config.data, train, has_cells(config, len(table.columns.targets)))
    except ValueError as error:
        raise command.UserError(str(error)) from None
    folder = create_run_folder(config, config.output, FILES, overwrite)
    splits = table.splits._replace(train=train)
    resolved = resolve_num_components(config, splits, clock)
    result = run(
        resolved,
        splits,
        None,
        clock,
        folder / MODEL_FILE,
        table.columns,
        lambda fitted: calibrated(config, fitted, held),
        table.source,
    )
    return folder, result


def without_experts(config: TabularRun) -> TabularRun:
    """Returns the configuration for rows on disk: trees are fitted to all rows at once, so that there are none."""
    if config.model.experts:
        say(f"note: rows on disk are trained on without model.experts ({', '.join(config.model.experts)}), which need all rows")
    return config.model_copy(update={"model": config.model.model_copy(update={"experts": ()})})


def evaluate(result: Result, mixture: Mixture) -> dict[str, Evaluation]:
    """Evaluates the network, a linear Gaussian and the marginal Gaussian of the targets on the test rows."""
    train, validation, test = result.splits
    scaler = result.predictor.scaler
    simple = {"linear Gaussian": linear_gaussian, "marginal Gaussian": marginal_gaussian}
    known, units = joined(train, validation), result.predictor.units
    known = known._replace(y=latent_targets(scaler, known.y))
    mixtures = {"network": mixture, **{name: make(known, test.x, scaler.support, units) for name, make in simple.items()}}
    observed = dict.fromkeys(mixtures, observed_of(scaler)) | {"network": result.predictor.observed}
    return {
        name: evaluate_mixtures(predicted, test.y, units, weight=test.weight, observed=observed[name], censoring=test.censoring)
        for name, predicted in mixtures.items()
    }


def table_slices(table: reading.LoadedTable, evaluation: Evaluation) -> Slices:
    """Returns the slices of the test rows, with the median widths of their intervals."""
    test, widths = table.splits.test, evaluation.widths[:, :, LEVELS.index(LEVEL)].T
    return slices_of(table.columns, test.x, evaluation.pit, test.weight, widths)


def draw(
    result: Result, table: reading.LoadedTable, mixture: Mixture, evaluation: Evaluation, rises: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, Figure]]:
    """Draws all figures, by name; with several targets, each has its own."""
    yield "loss", plot_history(result.fit.history, noisy=result.noisy)
    yield "importance", figures.plot_importance(dict(rises))
    shown = observed_rows(result.splits.test)
    which = "test rows" if result.splits.test.censoring is None else "test rows whose target is observed,"
    test, mixture = select_rows(result.splits.test, shown), mixture[shown]
    nll, units = result.predictor.nll(test), result.predictor.units
    y, numbers = units.relative(test.y).astype(np.float32), (table.rows.test[shown] + 1).tolist()
    for target, name in enumerate(table.columns.targets):
        several = num_targets(mixture) > 1
        single, suffix = (marginal(mixture, [target]) if several else mixture), f"_{target}" * several
        own, name = units.select(target), as_label(units.select(target).label(name))
        observed = result.predictor.observed.select(target).relative(own)
        yield f"observed{suffix}", figures.plot_observed(single, y[:, [target]], name, observed, which)
        yield f"calibration{suffix}", plot_calibration(evaluation.pit[:, target])
        yield f"densities{suffix}", figures.plot_densities(single, y[:, [target]], nll, numbers, name, observed)


def show(
    folder: Path,
    clock: Clock,
    result: Result,
    table: reading.LoadedTable,
    evaluations: Mapping[str, Evaluation],
    slices: Slices,
) -> None:
    """Prints the sizes of the parts, the tables of scores and of slices, the selected settings, and what looks wrong."""
    sizes = table.sizes or [len(rows) for rows in table.rows]
    targets, num = table.columns.targets, len(table.columns.inputs)
    size = f"{sizes[0] + sizes[1]} rows for training and validation, {len(table.rows.test)} for testing"
    say(f"{table.path}: {', '.join(targets)} from {num} column{'s' * (num > 1)}; {size}")
    weighted = "" if result.splits.test.weight is None else ", with the weights of the rows"
    cells = "" if result.predictor.observed.lattice is None else " by the probabilities of cells, divided by the step"
    censored = result.splits.test.censoring
    known = "" if censored is None else f", CRPS and RMSE of the {np.sum(censored == 0)} rows whose target is observed"
    title = f"Scores on the test rows{weighted}: NLL in nats{cells}; CRPS, RMSE and widths in the target's units{known}"
    report.print_table(title, [HEADINGS, *cells_of(evaluations, targets)])
    if evaluations["network"].atoms is not None:
        title = "Both parts of the target: which atom it is, or none, with probabilities, and the density of all others"
        report.print_table(title, table_of_atoms(evaluations))
    if (scores := result.predictor.conformal) is not None:
        say(guarantee_note(result, scores))
    if result.predictor.recalibration is not None:
        say(recalibration_note(result.predictor))
    show_slices(slices)
    say(*shares_of_mixture(result))
    report.print_end(notes(result, evaluations), clock, folder)


def guarantee_note(result: Result, scores: Conformal) -> str:
    """Returns a sentence about the intervals with a guarantee on the test rows."""
    test, num = result.splits.test, len(scores.density)
    level = min(GUARANTEED_LEVEL, num / (num + 1))
    ends = guaranteed_intervals_of_inputs(result.predictor, test.x, [level])[:, 0]
    inside = 100 * np.mean((ends[:, 0] <= test.y) & (test.y <= ends[:, 1]), axis=0)
    width = np.median(ends[:, 1] - ends[:, 0], axis=0)
    shown = ", ".join(
        f"{share:.1f} % of the test rows, median width {value:.4g}" for share, value in zip(inside, width, strict=True)
    )
    text = f"Intervals with a guarantee of {100 * level:.3g} %, by {num} rows that nothing was trained on, contain {shown}"
    if scores.column is None:
        return text
    places, hits = group_places(result.predictor, test.x), np.all((ends[:, 0] <= test.y) & (test.y <= ends[:, 1]), axis=1)
    groups = [(name, hits[places == place]) for place, name in enumerate(scores.names) if np.any(places == place)]
    of_groups = ", ".join(f"{name} {100 * np.mean(of_group):.1f} %" for name, of_group in groups[:MAX_GROUPS_SHOWN])
    return f"{text}; within the categories of {scores.column}: {of_groups}{', ...' * (len(groups) > MAX_GROUPS_SHOWN)}"


def shares_of_mixture(result: Result) -> Iterator[str]:
    """Yields lines about the settings with the largest weights, and about the factor of their scales."""
    parts = [
        (weight, "networks with " + ", ".join(f"{key} {value:g}" for key, value in setting.items()))
        for weight, setting in zip(result.setting_weights, result.config.selection.settings, strict=False)
    ]
    if (linear := result.predictor.networks.least_squares) is not None:
        parts += zip(linear.weight.tolist(), NAMES, strict=True)
    for weight, name in sorted(parts, key=lambda part: -part[0]):
        if weight >= MIN_WEIGHT_SHOWN:
            yield f"{100 * weight:.0f} % of the mixture: {name}"
    if (factor := result.predictor.networks.scale_factor) is not None and factor[0] < MAX_FACTOR_SHOWN:
        yield f"all scales are multiplied by {factor[0]:.2f}, as the validation rows prefer (selection.adjust_scales)"


def notes(result: Result, evaluations: Mapping[str, Evaluation]) -> Iterator[str]:
    """Yields sentences about what looks wrong."""
    yield from result.notes
    yield from note_of_test_rows(result.predictor, result.splits.test.x)
    network, linear = evaluations["network"].nll, evaluations["linear Gaussian"].nll
    if network > linear:
        yield (
            f"the test NLL is {network - linear:.3f} above that of a linear Gaussian: the relation may be linear, or the "
            "rows too few to learn more than that; use more rows, or the simpler model"
        )


def page(
    config: TabularRun,
    result: Result,
    table: reading.LoadedTable,
    mixture: Mixture,
    evaluations: Mapping[str, Evaluation],
    rises: Mapping[str, np.ndarray],
    slices: Slices,
) -> Iterator[Section]:
    """Yields the sections of the page, where the plotting library is installed."""
    from experiments.tabular.page import TableFindings, sections

    known, scores = result.predictor.recalibration, result.predictor.conformal
    about = [] if scores is None else [guarantee_note(result, scores)]
    about += [] if known is None else [recalibration_note(result.predictor)]
    shares = [*about, *shares_of_mixture(result)]
    found = TableFindings(evaluations, rises, slices, shares, [*table.notes, *notes(result, evaluations)])
    return sections(config, table, result, mixture, found)


if __name__ == "__main__":
    command.main("experiments.tabular", __doc__ or "", TabularRun, None, study)
