"""An ensemble of mixture density networks with the interface of a scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mdnjax import runtime
from mdnjax.config.tabular import Tabular
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_probabilities, target_names
from mdnjax.fitting import fit_rows, make_config
from mdnjax.mixture import Mixture
from mdnjax.model_file import save
from mdnjax.predictor import Predictor
from mdnjax.progress import training_progress


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
        settings: Other changed keys of the configuration `mdnjax.config.tabular`: {"train.optimizer.weight_decay": 0.3}.
        random_state: Seed, as in scikit-learn.
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
        self.settings = settings
        self.random_state = random_state
        self.compile_cache = compile_cache
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> MDNRegressor:
        """Trains on rows X `[N, X]` and targets y `[N]` or `[N, D]`."""
        for name, values in (("X", X), ("y", y)):  # scikit-learn would read dates as nanoseconds, and ignore a mask
            if isinstance(values, np.ma.MaskedArray):
                raise ValueError(f"{name}: got a masked array, expected numbers without a mask")
            if getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M"):
                raise ValueError(f"{name}: got dates or times, expected numbers, such as the days since the first of them")
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self.config_ = self._config(check_random_state(self.random_state).randint(2**31))
        self.single_target_ = np.ndim(y) == 1
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(X.shape[1])])
        targets = target_names(1 if self.single_target_ else y.shape[1], set(map(str, names)))
        columns = Columns(tuple(Column(str(name)) for name in names), targets)
        with runtime.one_cache_warning():
            if self.compile_cache:
                runtime.use_compile_cache()
            rows = Dataset(X, np.asarray(y, np.float64).reshape(len(y), -1))
            progress = training_progress("MDNRegressor", self.config_.train.num_steps) if self.verbose else nullcontext()
            with progress as observe:
                fitted = fit_rows(self.config_, rows, columns, observe)
        self.predictor_, self.history_ = fitted.predictor, fitted.history
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Returns the mean of p(y|x): `[N]`, or `[N, D]` if y had two axes."""
        return self._without_target_axis(self._fitted().mean(self._validated(X)), 1)

    def predict_distribution(self, X: Any) -> Mixture:
        """Returns p(y|x) as a `Mixture`, which has all other statistics."""
        return self._fitted()(self._validated(X))

    def predict_quantiles(self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Returns quantiles of each target: `[N, Q]`, or `[N, Q, D]`."""
        levels = as_probabilities("quantiles", quantiles)
        return self._without_target_axis(self._fitted().quantiles(self._validated(X), levels), 2)

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """Returns the central interval that has this probability: `[N, 2]`, or `[N, 2, D]`."""
        if not 0 < level < 1:
            raise ValueError(f"level: got {level!r}, expected a number between 0 and 1")
        return self._without_target_axis(self._fitted().intervals(self._validated(X), [level])[:, 0], 2)

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws samples of y for every row: `[N, S]`, or `[N, S, D]`."""
        key = jax.random.key(check_random_state(random_state).randint(2**31))
        return self._without_target_axis(self._fitted().sample(key, self._validated(X), num_samples), 2)

    def log_density(self, X: Any, y: Any) -> np.ndarray:
        """Computes log p(y|x) of every row, in nats; the NLL is minus its mean."""
        check_is_fitted(self)
        X, y = validate_data(self, X, y, reset=False, dtype=np.float64, multi_output=True, y_numeric=True)
        return self.predictor_.log_prob(X, np.asarray(y, np.float64).reshape(len(y), -1))

    def save(self, path: str | Path) -> None:
        """Writes the model to one file, which `mdnjax.load` and `python -m experiments.predict` read."""
        save(path, self._fitted())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
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
        return make_config({**changes, **(self.settings or {})}, "MDNRegressor")

    def _fitted(self) -> Predictor:
        check_is_fitted(self)
        return self.predictor_

    def _validated(self, X: Any) -> Any:
        return validate_data(self, X, reset=False, dtype=np.float64)

    def _without_target_axis(self, values: np.ndarray, axis: int) -> np.ndarray:
        return values[(slice(None),) * axis + (0,)] if self.single_target_ else values
