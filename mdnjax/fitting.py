"""From examples to a predictor in one call: what the commands, the estimator and a few lines of Python have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mdnjax.config.ensembles import Ensemble
from mdnjax.config.load import resolve, settings_layer
from mdnjax.config.schema import Run
from mdnjax.config.tabular import Tabular
from mdnjax.data.columns import Columns
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import examples_of_arrays, examples_of_table
from mdnjax.data.scaler import make_scaler, make_support
from mdnjax.predictor import Predictor, make_predictor, padded_size
from mdnjax.training.placement import Placement, local_placement
from mdnjax.training.population import Fit, Observer, Population, member
from mdnjax.training.selection import Candidates, select_candidate
from mdnjax.training.tasks import SelectedNetworks, Task, networks_of, train_networks
from mdnjax.training.training_file import load_training, save_training

MIN_ROWS = 5
VALIDATION_SHARE = 0.1
PATIENCE = 12  # reports: a third of the recommended time or less, for all but a few exact tables the same densities


class Fitted(NamedTuple):
    """A predictor, and the trainings that it came from; losses and scores are in nats and the data's own units."""

    predictor: Predictor
    selected: SelectedNetworks
    population: Population

    @property
    def diverged(self) -> bool:
        """Whether a training of a network that is used diverged."""
        return bool(self.selected.diverged.any())

    @property
    def leading(self) -> Fit:
        """The training of the network with the largest part of the mixture."""
        return member(self.population, int(self.selected.leading[0]))._replace(diverged=self.diverged)


def make_task(config: Run, train: Dataset, validation: Dataset) -> Task:
    """What is trained, with the units of training that the data give.

    Raises: ValueError if a target is not inside of the support that the configuration says.
    """
    support = make_support(config.data.target_support, train.y.shape[1])
    return Task(config, train, validation, make_scaler(train, config.data.standardise, support))


def placement_of(config: Run) -> Placement:
    """Where the networks of a configuration are trained: on all devices, or one network alone on the first."""
    return local_placement() if config.num_runs > 1 else Placement(tuple(jax.local_devices()[:1]), width=1)


def fit_networks(
    config: Run,
    train: Dataset,
    validation: Dataset,
    *,
    placement: Placement | None = None,
    columns: Columns | None = None,
    observe: Observer | None = None,
    pad_to: tuple[int, int] | None = None,
    start: Population | None = None,
) -> Fitted:
    """Trains all networks of a configuration as one population, and makes a predictor of those that are used.

    Args: observe(step, loss, validation NLL) gets the means over the trainings that have not diverged; `pad_to` are sizes of the
    two parts for which programs are compiled, whatever theirs are; `start` is the population of an earlier fit of the same
    settings and examples, from which the trainings that had not ended go on to `train.num_steps`.
    Raises: ValueError if those of the start have taken as many steps already.
    """
    if start is not None and int(np.max(start.state.step)) >= config.train.num_steps:
        got, taken = config.train.num_steps, int(np.max(start.state.step))
        raise ValueError(f"train.num_steps: got {got} for trainings that have taken {taken} steps, expected more")

    def observe_all(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        if observe and not diverged.all():
            observe(step, float(np.mean(losses[~diverged])), float(np.mean(scores[~diverged])))

    task, placement = make_task(config, train, validation), placement or placement_of(config)
    selected, population = train_networks([task], placement, observe=observe_all, pad_to=pad_to, start=start)
    return Fitted(make_predictor(config.model, networks_of(config, selected), task.scaler, columns), selected, population)


def choose_num_components(
    config: Run,
    train: Dataset,
    validation: Dataset,
    *,
    observe: Callable[[int], None] | None = None,
    pad_to: tuple[int, int] | None = None,
) -> Candidates:
    """Trains a network (the best of its restarts) of each number in `selection.num_components`, and chooses among them.

    The smallest whose validation NLL is within one standard error of the best is chosen. A candidate that diverged is out of the
    question; so are all where all did, and then the smallest is chosen. Args: observe(number) is called before each.
    """
    nlls = {}
    for number in sorted(config.selection.num_components):
        if observe:
            observe(number)
        fitted = fit_networks(single_network(config, number), train, validation, pad_to=pad_to)
        nlls[number] = np.full(len(validation.x), np.inf) if fitted.diverged else fitted.predictor.nll(validation)
    return select_candidate(nlls)


def single_network(config: Run, num_components: int) -> Run:
    """The configuration of one network with this number of components, the best of its restarts."""
    return with_num_components(config, num_components).model_copy(
        update={"ensemble": Ensemble(num_restarts=config.ensemble.num_restarts)}
    )


def with_num_components(config: Run, num_components: int) -> Run:
    """The same configuration with this number of components."""
    return config.model_copy(update={"model": config.model.model_copy(update={"num_components": num_components})})


def fit_rows(
    config: Run, rows: Dataset, columns: Columns, observe: Observer | None = None, training_file: str | Path | None = None
) -> Fitted:
    """Trains on rows in any order: some of them, drawn by the configuration's seed, are held out for validation.

    Sizes are padded to 64, 256, 1024, ..., so that data of about the same size share one compiled program. A number of components
    that is `auto` is chosen first. Trainings that are in the file go on; at the end all are written to it.
    Raises: ValueError if there are too few rows, every training diverged, or the file holds other trainings.
    """
    if len(rows.x) < MIN_ROWS:
        raise ValueError(f"got n_samples = {len(rows.x)}, expected at least {MIN_ROWS}")
    order = np.random.default_rng(config.seed).permutation(len(rows.x))
    num = max(1, round(VALIDATION_SHARE * len(order)))
    train, validation = (Dataset(rows.x[part], rows.y[part]) for part in (order[:-num], order[-num:]))
    pad_to = (padded_size(len(train.x), 4), padded_size(num, 4))
    if config.model.num_components == "auto":
        config = with_num_components(config, choose_num_components(config, train, validation, pad_to=pad_to).chosen)
    start, path = None, None if training_file is None else Path(training_file)
    task = make_task(config, train, validation)
    if path is not None and path.exists():
        start = load_training(path, task)
    fitted = fit_networks(config, train, validation, columns=columns, observe=observe, pad_to=pad_to, start=start)
    if path is not None:
        save_training(path, fitted.population, task)
    if fitted.diverged:
        raise ValueError("training diverged with every setting: the loss was no longer finite")
    return fitted


def make_config(changes: Mapping[str, Any], source: str) -> Tabular:
    """The recommended settings for tables with other values of some keys, such as {"train.x_noise": 0.1}.

    Raises: ConfigError (a ValueError) with what is wrong with a key or a value, and the source that it came from.
    """
    changes = {"train.num_steps": 1000, "train.patience": PATIENCE, **{str(key): _plain(value) for key, value in changes.items()}}
    return resolve(Tabular, [settings_layer(changes, dict.fromkeys(changes, source))])


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def fit(
    x: Any,
    y: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    categorical: Sequence[str] = (),
    impute: bool = False,
    observe: Observer | None = None,
    training_file: str | Path | None = None,
) -> Predictor:
    """Trains an ensemble of mixture density networks with the recommended settings, and gives p(y|x) as a predictor.

    Args: x is an array `[N]` or `[N, X]` of numbers, or a table, a mapping from names to columns (a dict, a data frame); y is an
    array `[N]` or `[N, D]`, or the name of a column of the table, or a list of names. `settings` are other values of keys of the
    configuration, such as {"model.num_components": "auto", "data.target_support": "positive"}. Of a table, columns in
    `categorical` are categories even if they are numbers, and with `impute` missing inputs are filled.
    observe(step, loss, validation NLL) is called along the training. What `training_file` holds is gone on from: with a larger
    "train.num_steps" than before; networks that had ended by `train.patience` stay as they are.
    Raises: ValueError if the examples or the settings cannot be used.
    """
    config = make_config({"seed": seed, **(settings or {})}, "settings")
    if hasattr(x, "keys"):
        rows, columns = examples_of_table(x, y, categorical, impute)
    else:
        rows, columns = examples_of_arrays(x, y)
    return fit_rows(config, rows, columns, observe, training_file).predictor
