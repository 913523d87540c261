"""Trains a predictor on examples in one call: `mdnjax.fit`, and the functions that commands and the estimator share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mdnjax.batching import padded_size
from mdnjax.config.ensembles import Ensemble
from mdnjax.config.load import resolve, settings_layer
from mdnjax.config.schema import Run
from mdnjax.config.tabular import Tabular
from mdnjax.data.columns import Columns, is_table
from mdnjax.data.dataset import Dataset, select_rows
from mdnjax.data.examples import examples_of_arrays, examples_of_table, warn_caller
from mdnjax.data.notes import notes_on_atoms
from mdnjax.data.training_units import fit_units, support_and_atoms
from mdnjax.ensemble import used_networks
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.training import experts
from mdnjax.training.budget import Budget
from mdnjax.training.inputs import Task, whole_folds
from mdnjax.training.placement import Placement, local_placement
from mdnjax.training.population import Fit, History, Observer, Population, PopulationObserver, means_of, member
from mdnjax.training.selection import Candidates, select_candidate
from mdnjax.training.tasks import SelectedNetworks, networks_of, train_networks
from mdnjax.training.training_file import load_training, save_training

MIN_ROWS = 5
VALIDATION_SHARE = 0.1
MIN_ROWS_FOR_SHARES = 50  # with fewer, every row is used for validation, since a tenth of them says little
# Steps of a fit, and reports without a better validation NLL. A fit takes a third of the recommended time or less; the densities
# differ only for a few tables with hardly any noise.
NUM_STEPS = 1000
PATIENCE = 12


class Fitted(NamedTuple):
    """A predictor and the trainings that it was selected from; losses and scores are in nats and the data's own units."""

    predictor: Predictor
    selected: SelectedNetworks
    population: Population

    @property
    def diverged(self) -> bool:
        """Whether the training of any network in the predictor diverged."""
        return bool(self.selected.diverged.any())

    @property
    def history(self) -> History:
        """The curves of the R networks in the mixture, those with the largest weight first: `loss[R, steps]` and the like."""
        used = used_networks(self.selected.weight[0])
        runs = self.selected.runs[0][used[np.argsort(-self.selected.weight[0][used], kind="stable")]]
        loss, report_steps, scores = self.population.history
        return History(loss[runs], report_steps, scores[runs])

    @property
    def leading(self) -> Fit:
        """The training of the network with the largest weight in the mixture."""
        return member(self.population, int(self.selected.leading[0]))._replace(diverged=self.diverged)


def make_task(config: Run, train: Dataset, validation: Dataset) -> Task:
    """Returns the configuration and the data to train, with the units of training computed from the train rows.

    Wild targets are replaced by the nearest others (see `fit_units`). With few rows more of them are used for validation.
    Raises: ValueError if a target is outside of the support that the configuration sets, or has no such atoms.
    """
    if config.ensemble.rotate and len(train.x) + len(validation.x) < MIN_ROWS_FOR_SHARES:
        train, validation = whole_folds(train, validation, config.ensemble.num_members)
    scaler, train, validation = fit_units(config.data, train, validation, has_cells(config, train.y.shape[1]))
    return Task(config, train, validation, scaler)


def has_cells(config: Run, num_targets: int) -> bool:
    """Returns whether the loss can be that of the probabilities of cells, which need independent targets."""
    independent = num_targets == 1 or config.model.family not in ("full", "low_rank")
    return config.train.loss == "nll" and independent


def preparation_of(config: Run) -> str:
    """Returns what a fit does before its first step, for showing its progress."""
    return "fitting trees and compiling" if config.model.experts else "compiling"


def placement_of(config: Run) -> Placement:
    """Returns the devices that train the networks of a configuration: all, or for a single network the first."""
    return local_placement() if config.num_runs > 1 else Placement(tuple(jax.local_devices()[:1]), width=1)


def fit_networks(
    config: Run,
    train: Dataset,
    validation: Dataset,
    *,
    placement: Placement | None = None,
    columns: Columns | None = None,
    observe: PopulationObserver | None = None,
    pad_to: tuple[int, int] | None = None,
    start: Population | None = None,
    budget: float | None = None,
) -> Fitted:
    """Trains all networks of a configuration as one population, and makes a predictor from the selected networks.

    Args: observe(report) gets the losses and validation NLLs of all trainings; `pad_to` are the numbers of train and
    validation rows that programs are compiled for, at least those of the data; `start` is the population of an earlier fit with
    the same settings and examples, whose unfinished trainings continue up to `train.num_steps`. `budget` are the seconds that
    all of this may take: training ends before, with rates that fall with the time, so that results depend on the machine.
    Raises: ValueError if the trainings in `start` have already taken that many steps.
    """
    if start is not None and int(np.max(start.state.step)) >= config.train.num_steps:
        got, taken = config.train.num_steps, int(np.max(start.state.step))
        raise ValueError(f"train.num_steps: got {got} for trainings that have taken {taken} steps, expected more")

    limit = None if budget is None else Budget(budget)
    config = config if limit is None else with_constant_rates(config)
    task, placement = make_task(config, train, validation), placement or placement_of(config)
    selected, population = train_networks([task], placement, observe=observe, pad_to=pad_to, start=start, budget=limit)
    return Fitted(make_predictor(config.model, networks_of(config, selected), task.scaler, columns), selected, population)


def choose_num_components(
    config: Run,
    train: Dataset,
    validation: Dataset,
    *,
    observe: Callable[[int], None] | None = None,
    pad_to: tuple[int, int] | None = None,
) -> Candidates:
    """Trains one network (the best of its restarts) for each number in `selection.num_components`, and selects a number.

    Selects the smallest number whose validation NLL is within one standard error of the best. A candidate that diverged is never
    selected, unless all diverged: then it is the smallest. Args: observe(number) is called before each candidate is trained.
    """
    nlls, scored = {}, make_task(single_network(config, 1), train, validation).validation
    for number in sorted(config.selection.num_components):
        if observe:
            observe(number)
        fitted = fit_networks(single_network(config, number), train, validation, pad_to=pad_to)
        nlls[number] = np.full(len(scored.x), np.inf) if fitted.diverged else fitted.predictor.nll(scored)
    return select_candidate(nlls, validation.weight)


def single_network(config: Run, num_components: int) -> Run:
    """Returns the configuration of a single network (the best of its restarts) with this number of components.

    It has no experts: those for new rows have seen the validation rows, by which numbers of components are compared.
    """
    with_number = with_num_components(config, num_components)
    model = with_number.model.model_copy(update={"experts": ()})
    return with_number.model_copy(update={"model": model, "ensemble": Ensemble(num_restarts=config.ensemble.num_restarts)})


def with_constant_rates(config: Run) -> Run:
    """Returns the configuration with an optimiser of a constant learning rate, which a budget multiplies by a cosine."""
    optimizer = config.train.optimizer.model_copy(update={"schedule": "constant_schedule", "schedule_options": {}})
    return config.model_copy(update={"train": config.train.model_copy(update={"optimizer": optimizer})})


def with_num_components(config: Run, num_components: int) -> Run:
    """Returns the configuration with this number of components."""
    return config.model_copy(update={"model": config.model.model_copy(update={"num_components": num_components})})


def fit_rows(
    config: Run,
    rows: Dataset,
    columns: Columns,
    observe: PopulationObserver | None = None,
    training_file: str | Path | None = None,
) -> Fitted:
    """Trains on rows in any order; a tenth of them, drawn by the configuration's seed, is used for validation.

    Rows of weight 0 are left out before that.
    The numbers of rows are padded to 64, 256, 1024, ..., so that data of similar size share one compiled program. If the number
    of components is `auto`, it is selected first. Training continues from `training_file` if that exists, and is saved to it.
    Raises: ValueError if there are too few rows, training diverged, or the file was written with other settings or examples.
    """
    rows = rows if rows.weight is None else select_rows(rows, rows.weight > 0)
    if len(rows.x) < MIN_ROWS:
        raise ValueError(f"got n_samples = {len(rows.x)}, expected at least {MIN_ROWS}")
    warn_caller(_notes_on_atoms(config, rows, columns))
    order = np.random.default_rng(config.seed).permutation(len(rows.x))
    num = max(1, round(VALIDATION_SHARE * len(order)))
    train, validation = (select_rows(rows, part) for part in (order[:-num], order[-num:]))
    pad_to = (padded_size(len(train.x), 4), padded_size(num, 4))
    if config.model.num_components == "auto":
        config = with_num_components(config, choose_num_components(config, train, validation, pad_to=pad_to).chosen)
    start, path = None, None if training_file is None else Path(training_file)
    task = make_task(config, train, validation)
    if path is not None and path.exists():
        start = load_training(path, task)
    more = {"columns": columns, "observe": observe, "pad_to": pad_to, "start": start}
    fitted = fit_networks(config, train, validation, **more, budget=getattr(config, "budget", None))
    if path is not None:
        save_training(path, fitted.population, task)
    if fitted.diverged:
        raise ValueError("training diverged with every setting: the loss was no longer finite")
    return fitted


def _notes_on_atoms(config: Run, rows: Dataset, columns: Columns) -> Iterator[str]:
    atoms = support_and_atoms(config.data, rows, has_cells(config, rows.y.shape[1]))[1]
    return iter(()) if atoms is None else notes_on_atoms(columns.targets[0], atoms, rows.y)


def make_config(changes: Mapping[str, Any], source: str) -> Tabular:
    """Returns the settings recommended for tables, with some keys changed, such as {"train.x_noise": 0.1}.

    Raises: ConfigError (a ValueError) that names a wrong key or value and the `source` of the changes.
    """
    values = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in changes.items()}
    changes = {"train.num_steps": NUM_STEPS, "train.patience": PATIENCE, **values}
    if not experts.is_available():  # scikit-learn comes with an extra, and without it the networks do without these inputs
        changes = {"model.experts": [], **changes}
    return resolve(Tabular, [settings_layer(changes, dict.fromkeys(changes, source))])


def fit(
    x: Any,
    y: Any,
    *,
    weight: Any = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    categorical: Sequence[str] = (),
    impute: bool = False,
    observe: Observer | None = None,
    training_file: str | Path | None = None,
) -> Predictor:
    """Trains an ensemble of mixture density networks with the recommended settings, and returns it as a predictor of p(y|x).

    Args:
        x: Numbers `[N]` or `[N, X]`, or a table: a mapping from names to columns, such as a dict or a data frame.
        y: Numbers `[N]` or `[N, D]`, or the name of the table's target column, or a list of names.
        weight: How much each row counts, as many numbers as rows, or the name of a column of the table, which is then no input.
            A row of weight 2 has the effect of two equal rows, and a row of weight 0 is left out.
        settings: Changed keys of the configuration: {"model.num_components": "auto", "data.target_support": "positive"}.
        seed: Determines the validation rows, the initial parameters and the noise.
        categorical: Columns of a table that are categories although they contain numbers.
        impute: Whether a table may lack inputs. A missing number becomes the median, with one more input that marks it.
        observe: Called as observe(step, loss, validation NLL), means over the networks in training, at each report.
        training_file: File that the training is saved to. If it exists, training continues from it, up to a larger
            "train.num_steps"; networks that `train.patience` had stopped stay as they are.
    Warns of columns that are left out, of outliers with their row, counted from 0, and of values of the target that get a
    probability of their own.
    Raises: ValueError if the examples, the weights or the settings cannot be used.
    """
    config = make_config({"seed": seed, **(settings or {})}, "settings")
    if is_table(x):
        rows, columns = examples_of_table(x, y, categorical, impute, weight)
    else:
        rows, columns = examples_of_arrays(x, y, weight)
    return fit_rows(config, rows, columns, observe and means_of(observe), training_file).predictor
