"""An ensemble of mixture density networks with the interface of a scikit-learn regressor."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from numbers import Real
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from mdnjax import runtime
from mdnjax.config.nearest import nearest
from mdnjax.config.tabular import Tabular
from mdnjax.data.censoring import sides_of
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_probabilities, as_weight, examples_of_table, outlier_notes, target_names, warn_caller
from mdnjax.fit_examples import fit_rows, make_config
from mdnjax.fitting import preparation_of
from mdnjax.guarantees import guaranteed_intervals
from mdnjax.mixture import Mixture
from mdnjax.model_file import save
from mdnjax.outside import unlike_training
from mdnjax.predictor import Predictor
from mdnjax.progress import training_progress
from mdnjax.sklearn_values import as_targets, check_rows, check_targets, is_frame, seed_of

OUTPUTS = ("default", "pandas", "polars")


class MDNRegressor(RegressorMixin, BaseEstimator):
    """An ensemble of mixture density networks that predicts p(y|x): means, quantiles, intervals and samples.

    Each network uses another tenth of the rows for validation, which selects its best step. The validation rows of all networks
    together choose noise, scale floor and weight decay. The numbers of rows are padded to 64, 256, 1024, ..., so that data of
    similar size share one compiled program.

    Args:
        num_components: Components of each mixture, or "auto" to select their number by the validation rows.
        hidden_sizes: Units in each hidden layer of a network.
        family: Distribution of the components, such as "diagonal", "full" or "student_t".
        num_members: Networks in the ensemble.
        num_steps: Most steps of training. A network stops when its validation NLL has not improved for 300 steps.
        target_support: "real", "positive" or (low, high).
        calibration_share: Share of the rows, such as 0.2, that are used for the guarantee of intervals and recalibration alone.
        categorical: Columns of a data frame that are categories although they contain numbers; columns of text always are,
            and columns of dates become days, season, weekday and time of day.
        impute: Whether inputs may be missing. A missing number becomes the median, with one more input that marks it.
        settings: Other changed keys of the configuration `mdnjax.config.tabular`: {"train.optimizer.weight_decay": 0.3}.
        random_state: Seed, as in scikit-learn, or a `numpy.random.Generator`.
        compile_cache: Whether compiled programs are stored on disk (see `mdnjax.use_compile_cache`).
        verbose: Whether the progress of a fit is shown on stderr.

    Attributes:
        history_: The losses `[R, steps]` and validation NLLs `[R, reports]` of the R networks in the mixture, those with the
            largest weight first; nan after a network's last step. The reports are those after the steps `report_steps`.
        predictor_: The trained `mdnjax.Predictor`.
    """

    def __init__(
        self,
        *,
        num_components: Any = 5,  # fit checks parameters, not __init__, as scikit-learn requires
        hidden_sizes: Any = (64, 64, 64),
        family: Any = "diagonal",
        num_members: Any = 5,
        num_steps: Any = 1000,
        target_support: Any = "real",
        calibration_share: Any = 0.0,
        categorical: Any = (),
        impute: Any = False,
        settings: Any = None,
        random_state: Any = None,
        compile_cache: Any = False,
        verbose: Any = 0,
    ):
        self.num_components = num_components
        self.hidden_sizes = hidden_sizes
        self.family = family
        self.num_members = num_members
        self.num_steps = num_steps
        self.target_support = target_support
        self.calibration_share = calibration_share
        self.categorical = categorical
        self.impute = impute
        self.settings = settings
        self.random_state = random_state
        self.compile_cache = compile_cache
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, event: Any = None) -> MDNRegressor:
        """Trains on rows X `[N, X]`, an array or a data frame, and targets y `[N]` or `[N, D]`, with weights of the rows `[N]`.

        Args: `event` `[N]` is 1 where the target is observed and 0 where the true one is y or more (see `mdnjax.fit`).
        Warns of columns that are left out, and of outliers with their row, counted from 0.
        Raises: ValueError if the rows, the weights or the parameters cannot be used.
        """
        X, y = self._checked(X, y)
        weight = None if sample_weight is None else as_weight("sample_weight", sample_weight, len(y))
        censoring = None if event is None else sides_of("event", event, len(y))
        self.config_ = self._config(seed_of(self.random_state))
        self.single_target_ = np.ndim(y) == 1
        with runtime.one_cache_warning():
            if self.compile_cache:
                runtime.use_compile_cache()
            rows, columns = self._examples(X, np.asarray(y, np.float64).reshape(len(y), -1))
            options = {"preparation": preparation_of(self.config_), "budget": self.config_.budget}
            shown = training_progress("MDNRegressor", self.config_.train.num_steps, **options)
            with shown if self.verbose else nullcontext() as observe:
                fitted = fit_rows(self.config_, rows._replace(weight=weight, censoring=censoring), columns, observe)
        self.predictor_, self.history_ = fitted.predictor, fitted.history
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Returns the mean of p(y|x): `[N]`, or `[N, D]` if y had two axes; with `return_std` also the standard deviation."""
        rows = self._validated(X)
        mean = self._without_target_axis(self._fitted().mean(rows), 1)
        return (mean, self._without_target_axis(self.predictor_.sd(rows), 1)) if return_std else mean

    def predict_distribution(self, X: Any) -> Mixture:
        """Returns p(y|x) as a `Mixture`, which has all other statistics; it is the one before recalibration."""
        return self._fitted()(self._validated(X))

    def predict_quantiles(self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> Any:
        """Returns quantiles of each target: `[N, Q]`, or `[N, Q, D]`; after `set_output` a frame with columns `quantile_0.05`."""
        values = self._fitted().quantiles(self._validated(X), as_probabilities("quantiles", quantiles))
        return self._as_output(values, [f"quantile_{float(quantile)!r}" for quantile in quantiles], X)

    def predict_interval(self, X: Any, level: float = 0.9, guarantee: bool = False) -> Any:
        """Returns the central interval that has this probability: `[N, 2]`, or `[N, 2, D]`; after `set_output` a frame.

        With `guarantee` it contains y with at least this probability, by the rows of `calibration_share`.
        """
        if not isinstance(level, Real) or not 0 < level < 1:
            raise ValueError(f"level: got {level!r}, expected a number between 0 and 1")
        rows, predictor = self._validated(X), self._fitted()
        values = guaranteed_intervals(predictor, rows, [level]) if guarantee else predictor.intervals(rows, [level])
        return self._as_output(values[:, 0], [f"{end}_{float(level)!r}" for end in ("low", "high")], X)

    def predict_probabilities(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns the atoms of a target, or the values of its lattice (whole numbers), and their probabilities `[N, V]`."""
        return self._fitted().probabilities(self._validated(X))

    def predict_unlike(self, X: Any) -> np.ndarray:
        """Returns which rows are unlike those of training, `[N]`; about 1 % of rows like them are (`mdnjax.unlike_training`)."""
        return unlike_training(self._fitted(), self._validated(X))

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws samples of y for every row: `[N, S]`, or `[N, S, D]`."""
        key = jax.random.key(seed_of(random_state))
        return self._without_target_axis(self._fitted().sample(key, self._validated(X), num_samples), 2)

    def log_density(self, X: Any, y: Any, event: Any = None) -> np.ndarray:
        """Computes log p(y|x) of every row, in nats, and log P of the censored rows; the NLL is minus its mean."""
        rows, y = self._validated(X), as_targets(y)
        return self._fitted().log_prob(rows, y.reshape(len(y), -1), event)

    def set_output(self, *, transform: str | None = None) -> MDNRegressor:
        """Sets what `predict_quantiles` and `predict_interval` return: "default" is an array, "pandas" and "polars" are frames.

        The parameter has the name that it has in all of scikit-learn; None changes nothing.
        """
        if transform not in (None, *OUTPUTS):
            close = nearest(str(transform), OUTPUTS)
            raise ValueError(f"transform: got {transform!r}, expected one of {', '.join(OUTPUTS)}{close}")
        self._output = transform or self._output_kind()
        return self

    def save(self, path: str | Path) -> None:
        """Writes the model to one file, which `mdnjax.load` and `python -m experiments.predict` read."""
        save(path, self._fitted())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output, tags.input_tags.allow_nan = True, bool(self.impute)
        tags.non_deterministic = self.random_state is None
        return tags

    def _config(self, seed: int) -> Tabular:
        """Returns the configuration that the parameters set. Raises: ConfigError (a ValueError) that names a wrong one."""
        sizes = list(self.hidden_sizes) if isinstance(self.hidden_sizes, Iterable) else self.hidden_sizes
        if not isinstance(self.settings, dict | None):
            raise ValueError(f"settings: got {self.settings!r}, expected a dict of keys and values")
        model_changes = {"num_components": self.num_components, "hidden_sizes": sizes, "family": self.family}
        changes = {**{f"model.{name}": value for name, value in model_changes.items()}, "train.num_steps": self.num_steps}
        changes |= {"ensemble.num_members": self.num_members, "data.target_support": self.target_support, "seed": seed}
        changes["data.calibration_share"] = self.calibration_share
        return make_config({**changes, **(self.settings or {})}, "MDNRegressor")

    def _fitted(self) -> Predictor:
        check_is_fitted(self)
        return self.predictor_

    def _checked(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Returns rows and targets as scikit-learn checks them; the values of a data frame are checked as those of a table."""
        check_rows(X, impute=bool(self.impute))
        check_targets(y)
        if not is_frame(X):
            finite: Any = "allow-nan" if self.impute else True
            checked: Any = validate_data(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_all_finite=finite
            )
            return checked
        validate_data(self, X, skip_check_array=True)
        y = as_targets(y)
        check_consistent_length(X, y)
        return X, y

    def _examples(self, X: Any, y: np.ndarray) -> tuple[Dataset, Columns]:
        """Returns the examples and their columns; warns of outliers, and of columns of a table that are left out."""
        if is_frame(X) or self.impute:
            return examples_of_table(self._as_table(X), y, self.categorical, bool(self.impute))
        names = self._names(X)
        columns = Columns(tuple(Column(name) for name in names), target_names(y.shape[1], set(names)))
        warn_caller(outlier_notes(Dataset(X, y), columns))
        return Dataset(X, y), columns

    def _names(self, X: Any) -> list[str]:
        return [str(name) for name in getattr(self, "feature_names_in_", [f"x{i}" for i in range(X.shape[1])])]

    def _as_table(self, X: Any) -> Any:
        return X if is_frame(X) else dict(zip(self._names(X), X.T, strict=True))

    def _validated(self, X: Any) -> Any:
        """Returns rows to predict for; an array has the columns of the rows of training, also those that were left out."""
        check_is_fitted(self)
        plain = all(column.categories is None and column.dates is None for column in self.predictor_.columns.inputs)
        check_rows(X, plain, bool(self.impute))
        if is_frame(X):
            validate_data(self, X, reset=False, skip_check_array=True)
            return X
        finite: Any = "allow-nan" if self.impute else True
        X = validate_data(self, X, reset=False, dtype=np.float64 if plain else None, ensure_all_finite=finite if plain else False)
        return self._as_table(X)

    def _as_output(self, values: np.ndarray, names: Sequence[str], X: Any) -> Any:
        """Returns values `[N, Q, D]` as an array or a data frame; with several targets, each name begins with its target."""
        if self._output_kind() == "default":
            return self._without_target_axis(values, 2)
        targets = [""] if self.single_target_ else [f"{name}_" for name in self.predictor_.columns.targets]
        columns = {f"{target}{name}": values[:, j, d] for d, target in enumerate(targets) for j, name in enumerate(names)}
        frame = importlib.import_module(self._output_kind()).DataFrame
        return frame(columns, index=X.index) if self._output_kind() == "pandas" and hasattr(X, "iloc") else frame(columns)

    def _output_kind(self) -> str:
        return getattr(self, "_output", "default")

    def _without_target_axis(self, values: np.ndarray, axis: int) -> np.ndarray:
        return values[(slice(None),) * axis + (0,)] if self.single_target_ else values
