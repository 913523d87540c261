"""A mixture density network in the manner of scikit-learn: fit and predict on arrays and data frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from mdnjax.data.examples import target_names
from mdnjax.fitting import fit_rows, make_config
from mdnjax.mixture import Mixture
from mdnjax.model_file import save
from mdnjax.predictor import Predictor


class MDNRegressor(RegressorMixin, BaseEstimator):
    """An ensemble of mixture density networks: predicts p(y|x), and with it means, quantiles, intervals and samples.

    What is not named here is as `mdnjax.config.tabular` recommends it; `settings` maps other keys of that configuration to their
    values, such as {"train.optimizer.weight_decay": 0.3}. Each network holds out another tenth of the rows, by which its best
    state and, for all together, noise and scale floor are chosen.

    Args: num_components, hidden_sizes and family of a network; num_members of the ensemble; num_steps of training at most (a
    network ends by itself where the rows it holds out have gained nothing for 300); target_support "real", "positive" or
    (low, high); settings; random_state as scikit-learn has it; compile_cache, to keep compiled programs on disk, as
    `mdnjax.use_compile_cache` does it.
    Rows are padded to 64, 256, 1024, ..., so that data of about the same size share one compiled program.
    """

    def __init__(
        self,
        *,
        num_components: Any = 5,  # nothing is checked before fit: scikit-learn sets parameters as it likes
        hidden_sizes: Any = (64, 64, 64),
        family: Any = "diagonal",
        num_members: Any = 5,
        num_steps: Any = 1000,
        target_support: Any = "real",
        settings: Any = None,
        random_state: Any = None,
        compile_cache: Any = False,
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

    def fit(self, X: Any, y: Any) -> MDNRegressor:
        """Trains on rows X `[N, X]` and targets y `[N]` or `[N, D]`."""
        for name, values in (("X", X), ("y", y)):  # scikit-learn would take dates as nanoseconds, and what a mask hides
            if isinstance(values, np.ma.MaskedArray) or getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M"):
                got = "a masked array" if isinstance(values, np.ma.MaskedArray) else "dates or times"
                raise ValueError(f"{name}: got {got}, expected numbers, such as the days since the first of them")
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
            self.predictor_ = fit_rows(self.config_, rows, columns).predictor
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The mean of p(y|x): `[N]`, or `[N, D]` where y was of two axes."""
        return self._of_targets(self._fitted().mean(self._checked(X)), 1)

    def predict_distribution(self, X: Any) -> Mixture:
        """p(y|x) itself, for everything else that one may ask of a mixture."""
        return self._fitted()(self._checked(X))

    def predict_quantiles(self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Quantiles of each target: `[N, Q]`, or `[N, Q, D]`."""
        levels = np.asarray(quantiles, np.float64)
        if levels.ndim != 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"quantiles: got {quantiles!r}, expected a list of numbers from 0 to 1")
        return self._of_targets(self._fitted().quantiles(self._checked(X), levels), 2)

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """The central interval that holds so much of the probability: `[N, 2]`, or `[N, 2, D]`."""
        if not 0 < level < 1:
            raise ValueError(f"level: got {level!r}, expected a number between 0 and 1")
        return self._of_targets(self._fitted().intervals(self._checked(X), [level])[:, 0], 2)

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws of y for every row: `[N, S]`, or `[N, S, D]`."""
        key = jax.random.key(check_random_state(random_state).randint(2**31))
        return self._of_targets(self._fitted().sample(key, self._checked(X), num_samples), 2)

    def log_density(self, X: Any, y: Any) -> np.ndarray:
        """log p(y|x) of every row, in nats; its mean, with the sign changed, is the NLL."""
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
        """Raises: ConfigError (a ValueError) with what is wrong with a parameter."""
        sizes = list(self.hidden_sizes) if isinstance(self.hidden_sizes, Iterable) else self.hidden_sizes
        if not isinstance(self.settings, dict | None):
            raise ValueError(f"settings: got {self.settings!r}, expected a dict of keys and values")
        of_model = {"num_components": self.num_components, "hidden_sizes": sizes, "family": self.family}
        changes = {**{f"model.{name}": value for name, value in of_model.items()}, "train.num_steps": self.num_steps}
        changes |= {"ensemble.num_members": self.num_members, "data.target_support": self.target_support, "seed": seed}
        return make_config({**changes, **(self.settings or {})}, "MDNRegressor")

    def _fitted(self) -> Predictor:
        check_is_fitted(self)
        return self.predictor_

    def _checked(self, X: Any) -> Any:
        return validate_data(self, X, reset=False, dtype=np.float64)

    def _of_targets(self, values: np.ndarray, axis: int) -> np.ndarray:
        return values[(slice(None),) * axis + (0,)] if self.single_target_ else values
