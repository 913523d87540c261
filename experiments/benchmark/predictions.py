"""Times predictions of many rows by a pooled ensemble, such as `experiments.tabular` trains and `experiments.predict` uses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import mdnjax
from experiments.benchmark.timing import Contender
from mdnjax.data.scaler import relative_transform, relative_units
from mdnjax.mixture import Mixture
from mdnjax.predictor import Predictor

NUM_TRAINED, NUM_COLUMNS = 5000, 10
NUM_LEVELS = (1, 5, 19)


def trained(num_steps: int) -> Predictor:
    """Returns the ensemble that is recommended for tables, trained with few steps."""
    x, y = _rows(NUM_TRAINED)
    return mdnjax.fit(x, y, settings={"train.num_steps": num_steps})


def contenders(predictor: Predictor, num_rows: int) -> Iterator[Contender]:
    """Yields mean and sd alone, and with quantiles; a unit is a row, and they agree in the mean of all means."""
    x = _rows(num_rows)[0][:, : len(predictor.columns.inputs)]
    for num_levels in (0, *NUM_LEVELS):
        levels = np.linspace(0, 1, num_levels + 2)[1:-1]

        def run(levels: np.ndarray = levels) -> None:
            predict(predictor, x, levels)

        name = f"mean, sd, {num_levels} quantiles" if num_levels else "mean, sd"
        yield Contender(name, run, float(np.mean(predict(predictor, x, levels)[0])), num_rows)


def predict(predictor: Predictor, x: np.ndarray, levels: np.ndarray) -> list[np.ndarray]:
    """Returns means, variances and, if there are levels, quantiles."""

    def compute(mixture: Mixture) -> list[np.ndarray]:
        moments = predictor.observed.moments(mixture, relative_units(predictor.scaler))
        quantiles = [np.asarray(predictor.observed.mixture_quantiles(mixture, levels))] if len(levels) else []
        return [*moments, *quantiles]

    return predictor.map_rows(compute, predictor.inputs(x), transform=relative_transform(predictor.scaler))


def _rows(num: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(num, NUM_COLUMNS))
    return x, x[:, 0] + np.sin(2 * x[:, 1]) + 0.3 * (1 + np.abs(x[:, 2])) * generator.standard_t(5, size=num)
