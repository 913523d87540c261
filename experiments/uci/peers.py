"""Other methods for tables, each fitted as its documentation shows; their packages are optional.

A method that is fitted in rounds stops by the validation rows, and is then fitted again, with that number of rounds, on train and
validation rows: the networks of mdnjax learn from these rows too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.command import UserError
from experiments.uci.points import Points
from mdnjax.components import Diagonal
from mdnjax.config.nearest import nearest
from mdnjax.data import Splits
from mdnjax.data.dataset import joined
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture
from mdnjax.types import Float

INSTALL = "pip install -e '.[peers]'"
# Treeffuser runs beside mdnjax, but pip refuses it: it asks for numpy below 2 and for one old version of scikit-learn.
INSTALL_ALONE = {"treeffuser": "pip install --no-deps treeffuser einops ml-collections"}
MAX_ROUNDS = 2000
PATIENCE = 50  # rounds without a better score on the validation rows
NUM_SAMPLES = 100
MIN_ROWS_OF_THREADS = 20_000  # with fewer rows the threads of LightGBM and XGBoost wait for each other longer than they work
FOREST_LEVELS = (np.arange(50) + 0.5) / 50
BOOSTED_LEVELS = (np.arange(10) + 0.5) / 10  # fewer, since each of them is a model of its own; 0.05 and 0.95 are among them


class Rows(NamedTuple):
    """Inputs `x[N, X]` and targets `y[N]` of each part of a split, with the inputs of the test rows."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    known: tuple[np.ndarray, np.ndarray]
    test_x: np.ndarray

    @property
    def num_threads(self) -> int:
        """The number of threads of a peer whose rounds are short: one, or 0 for all cores."""
        return int(len(self.known[0]) < MIN_ROWS_OF_THREADS)


Peer = Callable[[Rows, int], Mixture | Points]


def rows_of(splits: Splits, units: Units) -> Rows:
    """Returns the rows that a peer is fitted to, with the targets in `units`."""
    parts = (splits.train, splits.validation, joined(splits.train, splits.validation))
    train, validation, known = ((part.x.astype(np.float64), units.relative(part.y)[:, 0]) for part in parts)
    return Rows(train, validation, known, splits.test.x.astype(np.float64))


def installed(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Returns the peers that are installed, and a line for each that is not.

    Raises: UserError if a name is not that of a peer.
    """
    if unknown := next((name for name in names if name not in PEERS), None):
        raise UserError(f"peers: got {unknown!r}, expected names of {', '.join(PEERS)}{nearest(unknown, PEERS)}")
    missing = [name for name in names if not importlib.util.find_spec(name)]
    lines = [
        f"note: {name} is not installed, so it is skipped; {INSTALL_ALONE.get(name, INSTALL)} installs it" for name in missing
    ]
    return [name for name in names if name not in missing], lines


def predict(name: str, rows: Rows, seed: int) -> Mixture | Points:
    """Fits a peer and predicts for the test rows; what its package prints and warns of is not shown."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return PEERS[name](rows, seed)


def _catboost(rows: Rows, seed: int) -> Mixture:
    from catboost import CatBoostRegressor  # pyright: ignore[reportMissingImports]

    options: dict[str, Any] = {"loss_function": "RMSEWithUncertainty", "random_seed": seed, "allow_writing_files": False}
    first = CatBoostRegressor(iterations=MAX_ROUNDS, **options)
    first.fit(*rows.train, eval_set=rows.validation, early_stopping_rounds=PATIENCE, verbose=False)
    options["learning_rate"] = first.learning_rate_  # CatBoost chooses it by the number of rounds, which is another one now
    model = CatBoostRegressor(iterations=first.get_best_iteration() + 1, **options).fit(*rows.known, verbose=False)
    mean, variance = np.asarray(model.predict(rows.test_x, prediction_type="RMSEWithUncertainty")).T
    return _gaussian(mean, np.sqrt(variance))


def _lightgbm(rows: Rows, seed: int) -> Points:
    """Predicts the mean by squared error, and each quantile by a model of its own; quantiles that cross are sorted."""
    from lightgbm import Dataset, early_stopping, train  # pyright: ignore[reportMissingImports]

    def fitted(**objective: Any) -> np.ndarray:
        options: dict[str, Any] = {"seed": seed, "num_threads": rows.num_threads, "verbosity": -1, **objective}
        stop = early_stopping(PATIENCE, verbose=False)
        first = train(options, Dataset(*rows.train), MAX_ROUNDS, valid_sets=[Dataset(*rows.validation)], callbacks=[stop])
        return np.asarray(train(options, Dataset(*rows.known), max(first.best_iteration, 1)).predict(rows.test_x))

    quantiles = [fitted(objective="quantile", alpha=level) for level in BOOSTED_LEVELS]
    return Points(fitted(objective="regression"), np.sort(np.stack(quantiles, axis=1), axis=1))


def _quantile_forest(rows: Rows, seed: int) -> Points:
    """Predicts quantiles of a random forest, which has no rounds to stop: it is fitted once."""
    from quantile_forest import RandomForestQuantileRegressor  # pyright: ignore[reportMissingImports]

    model = RandomForestQuantileRegressor(random_state=seed, n_jobs=-1).fit(*rows.known)
    quantiles = np.asarray(model.predict(rows.test_x, quantiles=FOREST_LEVELS.tolist()))
    return Points(np.asarray(model.predict(rows.test_x, quantiles="mean")), quantiles)


def _ngboost(rows: Rows, seed: int) -> Mixture:
    from ngboost import NGBRegressor  # pyright: ignore[reportMissingImports]

    options: dict[str, Any] = {"random_state": seed, "verbose": False}
    first = NGBRegressor(n_estimators=MAX_ROUNDS, **options)
    x, y = rows.validation
    first.fit(*rows.train, X_val=x, Y_val=y, early_stopping_rounds=PATIENCE)
    model = NGBRegressor(n_estimators=int(first.best_val_loss_itr) + 1, **options).fit(*rows.known)
    normal = model.pred_dist(rows.test_x).params
    return _gaussian(normal["loc"], normal["scale"])


def _treeffuser(rows: Rows, seed: int) -> Points:
    """Draws samples of a diffusion model, which stops by a tenth of the known rows that it holds out itself."""
    from treeffuser import Treeffuser  # pyright: ignore[reportMissingImports]

    model = Treeffuser(seed=seed, n_jobs=rows.num_threads).fit(*rows.known)
    samples = np.asarray(model.sample(rows.test_x, n_samples=NUM_SAMPLES, seed=seed)).reshape(NUM_SAMPLES, -1).T
    return Points(samples.mean(axis=1), samples)


def _xgboostlss(rows: Rows, seed: int) -> Mixture:
    import xgboost  # pyright: ignore[reportMissingImports]
    from xgboostlss.distributions.Gaussian import Gaussian  # pyright: ignore[reportMissingImports]
    from xgboostlss.model import XGBoostLSS  # pyright: ignore[reportMissingImports]

    train, validation, known = (xgboost.DMatrix(x, label=y) for x, y in rows[:3])
    options: dict[str, Any] = {"eta": 0.05, "seed": seed, "nthread": rows.num_threads}
    sets = [(train, "train"), (validation, "validation")]  # the package needs two; the last one stops
    first, model = XGBoostLSS(Gaussian()), XGBoostLSS(Gaussian())
    first.train(dict(options), train, MAX_ROUNDS, evals=sets, early_stopping_rounds=PATIENCE, verbose_eval=False)
    model.train(dict(options), known, first.booster.best_iteration + 1, verbose_eval=False)
    normal = model.predict(xgboost.DMatrix(rows.test_x), pred_type="parameters")
    return _gaussian(normal["loc"].to_numpy(), normal["scale"].to_numpy())


def _gaussian(mean: Float[np.ndarray, " N"], sd: Float[np.ndarray, " N"]) -> Mixture:
    """Returns a Gaussian of each row as a mixture of one component."""
    loc, scale = (jnp.asarray(part, jnp.float32)[:, None, None] for part in (mean, sd))
    return Mixture(jnp.zeros((len(mean), 1)), Diagonal(loc, scale))


PEERS: dict[str, Peer] = {  # by the name of the package
    "catboost": _catboost,
    "lightgbm": _lightgbm,
    "quantile_forest": _quantile_forest,
    "ngboost": _ngboost,
    "treeffuser": _treeffuser,
    "xgboostlss": _xgboostlss,
}
