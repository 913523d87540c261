"""Trains a predictor on examples in one call: `mdnjax.fit`, and what it shares with the estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdnjax.batching import padded_size
from mdnjax.calibration import calibrated, without_calibration_rows
from mdnjax.config.load import resolve, settings_layer
from mdnjax.config.schema import Run
from mdnjax.config.tabular import Tabular
from mdnjax.data.columns import Columns, is_table
from mdnjax.data.dataset import Dataset, select_rows
from mdnjax.data.examples import examples_of_arrays, examples_of_table, warn_caller
from mdnjax.data.notes import notes_on_atoms, notes_on_censoring
from mdnjax.data.training_units import support_and_atoms
from mdnjax.fitting import Fitted, choose_num_components, fit_networks, has_cells, make_task, with_num_components
from mdnjax.predictor import Predictor
from mdnjax.training import experts
from mdnjax.training.history import Observer, PopulationObserver, means_of
from mdnjax.training.training_file import load_training, save_training

MIN_ROWS = 5
VALIDATION_SHARE = 0.1
# Steps of a fit, and reports without a better validation NLL. A fit takes a third of the recommended time or less; the densities
# differ only for a few tables with hardly any noise.
NUM_STEPS = 1000
PATIENCE = 12


def fit_rows(
    config: Run,
    rows: Dataset,
    columns: Columns,
    observe: PopulationObserver | None = None,
    training_file: str | Path | None = None,
) -> Fitted:
    """Trains on rows in any order; a tenth of them, drawn by the configuration's seed, is used for validation.

    Rows of weight 0 are left out before that, and so are the rows of `data.calibration_share`.
    The numbers of rows are padded to 64, 256, 1024, ..., so that data of similar size share one compiled program. If the number
    of components is `auto`, it is selected first. Training continues from `training_file` if that exists, and is saved to it.
    Raises: ValueError if there are too few rows, training diverged, or the file was written with other settings or examples.
    """
    rows = rows if rows.weight is None else select_rows(rows, rows.weight > 0)
    if len(rows.x) < MIN_ROWS:
        raise ValueError(f"got n_samples = {len(rows.x)}, expected at least {MIN_ROWS}")
    warn_caller(_notes_on_target(config, rows, columns))
    rows, held = without_calibration_rows(config, rows, columns)
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
    return fitted._replace(predictor=calibrated(config, fitted.predictor, held))


def _notes_on_target(config: Run, rows: Dataset, columns: Columns) -> Iterator[str]:
    atoms = support_and_atoms(config.data, rows, has_cells(config, rows.y.shape[1]))[1]
    if rows.censoring is not None:
        return notes_on_censoring(columns.targets[0], rows.censoring)
    return iter(()) if atoms is None else notes_on_atoms(columns.targets[0], atoms, rows.y)


def make_config(changes: Mapping[str, Any], source: str) -> Tabular:
    """Returns the settings recommended for tables, with some keys changed, such as {"train.x_noise": 0.1}.

    Raises: ConfigError (a ValueError) that names a wrong key or value and the `source` of the changes.
    """
    values = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in changes.items()}
    changes = {"train.num_steps": NUM_STEPS, "train.patience": PATIENCE, **values}
    if not experts.is_available():  # without the extra that installs it, these inputs are left out
        changes = {"model.experts": [], **changes}
    return resolve(Tabular, [settings_layer(changes, dict.fromkeys(changes, source))])


def fit(
    x: Any,
    y: Any,
    *,
    weight: Any = None,
    event: Any = None,
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
        event: Which targets are observed (1, True or "observed"), and which are censored, as in tables of survival times: the
            true target is y or more (0, False or "right"), or y or less ("left"). As many values as rows, or the name of a
            column of the table, which is then no input. None: all are observed.
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
        rows, columns = examples_of_table(x, y, categorical, impute, weight, event)
    else:
        rows, columns = examples_of_arrays(x, y, weight, event)
    return fit_rows(config, rows, columns, observe and means_of(observe), training_file).predictor
