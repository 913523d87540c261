"""A mixture density network in the manner of scikit-learn: fit and predict on arrays and data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mdnjax import runtime
from mdnjax.config.load import resolve, settings_layer
from mdnjax.config.tabular import Tabular
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import Dataset, make_scaler, make_support
from mdnjax.ensemble import train_networks, trained_of
from mdnjax.mixture import Mixture, log_prob
from mdnjax.placement import local_layout
from mdnjax.statistics import central_interval, marginal, mean, quantile
from mdnjax.statistics import sample as draw
from mdnjax.trained import answers, padded_size, save_model

FEWEST_ROWS = 5
VALIDATION_SHARE = 0.1
PATIENCE = 12  # reports: a third of the recommended time or less, for all but a few exact tables the same densities


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
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        if len(X) < FEWEST_ROWS:
            raise ValueError(f"got n_samples = {len(X)}, expected at least {FEWEST_ROWS}")
        config = self._config(check_random_state(self.random_state).randint(2**31))
        self.single_target_ = np.ndim(y) == 1
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(X.shape[1])])
        columns = (Column(str(name), None, float(centre)) for name, centre in zip(names, np.median(X, axis=0), strict=True))
        self.columns_ = Columns(tuple(columns), tuple(f"y{i}" for i in range(1 if self.single_target_ else y.shape[1])))
        order = np.random.default_rng(config.seed).permutation(len(X))
        rows = Dataset(self._inputs(X)[order], np.asarray(y, np.float32).reshape(len(y), -1)[order])
        support = make_support(config.data.target_support, rows.y.shape[1])
        scaler = make_scaler(rows, True, support)
        num_held_out = max(1, round(VALIDATION_SHARE * len(X)))
        train, held_out = (Dataset(rows.x[of], rows.y[of]) for of in (slice(0, -num_held_out), slice(-num_held_out, None)))
        sizes = (padded_size(len(train.x), 4), padded_size(num_held_out, 4))
        with runtime.one_cache_warning():
            if self.compile_cache:
                runtime.use_compile_cache()
            kept, population = train_networks(config, scaler, train, held_out, local_layout(), pad_to=sizes)
        if population.diverged[kept.runs[kept.weight > 0]].any():
            raise ValueError("training diverged with every setting: the loss was no longer finite")
        self.config_, self.trained_ = config, trained_of(config, kept, scaler)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The mean of p(y|x): `[N]`, or `[N, D]` where y was of two axes."""
        return self._of_targets(self._ask(X, mean), 1)

    def predict_distribution(self, X: Any) -> Mixture:
        """p(y|x) itself, for everything else that one may ask of a mixture."""
        return self._ask(X, lambda mixture: mixture)

    def predict_quantiles(self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Quantiles of each target: `[N, Q]`, or `[N, Q, D]`."""
        levels = np.asarray(quantiles, np.float32)
        if levels.ndim != 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"quantiles: got {quantiles!r}, expected a list of numbers from 0 to 1")

        def ask(mixture: Mixture) -> Any:
            return np.asarray(quantile(jax.tree.map(lambda leaf: leaf[:, None], mixture), levels))[..., 0]

        return self._each_target(X, ask)

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """The central interval that holds so much of the probability: `[N, 2]`, or `[N, 2, D]`."""
        if not 0 < level < 1:
            raise ValueError(f"level: got {level!r}, expected a number between 0 and 1")
        return self._each_target(X, lambda mixture: central_interval(mixture, level))

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws of y for every row: `[N, S]`, or `[N, S, D]`."""
        key = jax.random.key(check_random_state(random_state).randint(2**31))
        mixture = self.predict_distribution(X)
        return self._of_targets(np.moveaxis(np.asarray(draw(key, mixture, (num_samples,))), 0, 1), 2)

    def log_density(self, X: Any, y: Any) -> np.ndarray:
        """log p(y|x) of every row, in nats; its mean, with the sign changed, is the NLL."""
        X, y = validate_data(self, X, y, reset=False, dtype=np.float64, multi_output=True, y_numeric=True)
        y = np.asarray(y, np.float32).reshape(len(y), -1)
        return np.asarray(log_prob(self.predict_distribution(X), y))

    def save(self, path: str | Path) -> None:
        """Writes the model to one file, which `mdnjax.load` and `python -m experiments.predict` read."""
        check_is_fitted(self)
        save_model(Path(path), self.config_.model, self.trained_, self.columns_)

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
        changes |= {"train.patience": PATIENCE, **(self.settings or {})}
        return resolve(Tabular, [settings_layer(changes, dict.fromkeys(changes, "MDNRegressor"))])

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        return (X - np.array([column.centre for column in self.columns_.inputs])).astype(np.float32)

    def _ask(self, X: Any, question: Callable[[Mixture], Any]) -> Any:
        check_is_fitted(self)
        checked: Any = validate_data(self, X, reset=False, dtype=np.float64)
        return answers(self.config_.model, self.trained_, question, self._inputs(checked))

    def _each_target(self, X: Any, question: Callable[[Mixture], Any]) -> np.ndarray:
        targets = range(len(self.columns_.targets)) if hasattr(self, "columns_") else ()

        def ask(mixture: Mixture) -> Any:
            return np.stack([np.asarray(question(marginal(mixture, [target]))) for target in targets], axis=-1)

        return self._of_targets(self._ask(X, ask), 2)

    def _of_targets(self, values: np.ndarray, axis: int) -> np.ndarray:
        values = np.asarray(values, np.float64)
        return values[(slice(None),) * axis + (0,)] if self.single_target_ else values
