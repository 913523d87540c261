"""A trained ensemble as one value: it predicts mixtures and statistics in the data's own units from rows of raw data.

Rows are an array `[N, C]` with a column for each input, or any mapping from names to columns, such as a dict or a data frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mdnjax.config import schema
from mdnjax.config.numbers import split
from mdnjax.conformity import Conformal
from mdnjax.data.columns import Columns, as_table, check_scaled_inputs, is_table, numbered_columns, to_inputs
from mdnjax.data.dataset import Dataset, select_rows
from mdnjax.data.examples import as_numbers, as_probabilities
from mdnjax.data.scaler import (
    MAX_SCALED,
    Scaler,
    TargetTransform,
    float32_problem,
    limited_inputs,
    log_slopes,
    mixture_units,
    relative_transform,
    relative_units,
    scaled_in_float32,
    scaled_inputs,
    target_transform,
    to_training_units,
)
from mdnjax.data.units import Units
from mdnjax.data.values import TableError
from mdnjax.ensemble import Networks, compiled_nlls, num_networks, predict_compiled
from mdnjax.known_rows import KnownRows
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed, observed_of
from mdnjax.parallel import map_row_blocks
from mdnjax.recalibration import Recalibration, normal_scores
from mdnjax.statistics import mean, variance
from mdnjax.statistics.targets import marginals
from mdnjax.types import AnyArray, Array, Float, PRNGKey


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained mixture density network, or an ensemble of them, that predicts p(y|x) for the rows of a table.

    `predictor(rows)` is the mixture p(y|x) in the targets' own units; `mean`, `sd`, `quantiles`, `intervals`, `sample` and
    `log_prob` are float64, accurate even where float32 has too few digits (such as for seconds since 1970).
    """

    model: schema.Model
    networks: Networks
    scaler: Scaler
    columns: Columns
    conformal: Conformal | None = None
    recalibration: Recalibration | None = None
    known: KnownRows | None = None

    def __repr__(self) -> str:
        names, linear = [column.name for column in self.columns.inputs], ", least squares" * bool(self.networks.least_squares)
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        kind = f"{num_networks(self.networks)} networks of {self.model.num_components} {self.model.family} components{linear}"
        return f"Predictor({', '.join(self.columns.targets)} from {shown}; {kind})"

    def __call__(self, rows: Any) -> Mixture:
        """Returns the mixture p(y|x) in the targets' own units; an array of rows may have any batch axes.

        With atoms it is that of the latent number, of which `observed.quantiles` makes the target, and always the one before
        recalibration.
        Raises: TableError (a ValueError) if the rows lack a column that the networks were trained on, or hold a value that is
        missing or far outside of the training data; ValueError if float32 cannot represent the mixture (then use `relative`).
        """
        if (reason := float32_problem(self.scaler)) is not None:
            raise ValueError(
                f"float32 cannot hold this mixture in the target's own units: {reason}; use the predictor's mean, quantiles, "
                "intervals, sample and log_prob, or relative(x), the mixture over (y - offset) / factor"
            )
        return self._mixture(rows, target_transform(self.scaler))

    def relative(self, rows: Any) -> Mixture:
        """Returns the mixture over v = (y - offset) / factor, of order 1, for `scaler.y_offset` and `scaler.y_factor`."""
        return self._mixture(rows, relative_transform(self.scaler))

    def inputs(self, rows: Any) -> Float[np.ndarray, "N X"]:
        """Converts rows to inputs of the networks: float64, not standardised, an input for each category and missing-value flag.

        Raises: TableError if a column is not there or holds a value that cannot be used.
        """
        return to_inputs(self.columns, as_table(self.columns, rows))

    def at(self, inputs: Float[AnyArray, "N X"]) -> Mixture:
        """Returns the mixtures p(y|x) at inputs that `inputs` returned; they are in the units `self.units`."""
        return _predict(self, mixture_units(self.scaler)[1], self.scaled(inputs))

    @property
    def units(self) -> Units:
        """Units of the mixtures of `at` and `map_rows`: the targets' own, or those of `relative` where float32 needs them."""
        return mixture_units(self.scaler)[0]

    @property
    def observed(self) -> Observed:
        """The lattice, atoms or recalibration of the targets, which apply to all numbers but not to the mixtures."""
        return observed_of(self.scaler, self.recalibration)

    def scaled(self, inputs: Float[AnyArray, "N X"]) -> Float[np.ndarray, "N X"]:
        """Standardises inputs for the networks. Raises: TableError for a value that is far outside of the training data."""
        z = scaled_inputs(self.scaler, inputs)
        check_scaled_inputs(self.columns, inputs, z, MAX_SCALED)
        return limited_inputs(self.scaler, z).astype(_dtype(self.networks))

    def nll(self, dataset: Dataset) -> Float[np.ndarray, " N"]:
        """Computes the NLL of every example, in nats and the data's own units, in float64; see `log_prob`."""
        scaled = to_training_units(self.scaler, dataset, _dtype(self.networks))
        shape, numbers = split(self.model)

        def of_block(rows: np.ndarray) -> Array:
            part = select_rows(scaled, rows)
            return compiled_nlls(shape, numbers, self.networks, part.x, part.y, part.cells, part.exact)

        relative = map_row_blocks(of_block, len(scaled.x)) if len(scaled.x) else np.zeros(0)
        nll = np.asarray(relative, np.float64) + log_slopes(self.scaler, dataset.y, dataset.censoring)
        known = self.observed.recalibration
        return nll if known is None else nll - known.log_ratio(self.normal_scores(dataset))

    def normal_scores(self, dataset: Dataset) -> Float[np.ndarray, " N"]:
        """Returns Phi^-1(F(y|x)) of a single target by the mixtures, before recalibration."""
        at = relative_units(self.scaler).relative(dataset.y)
        return self.map_rows(normal_scores, dataset.x, at, transform=relative_transform(self.scaler))

    def map_rows(
        self,
        function: Callable[..., Any],
        inputs: Float[AnyArray, "N X"],
        *others: np.ndarray,
        transform: TargetTransform | None = None,
        max_rows: int | None = None,
    ) -> Any:
        """Applies a function to the mixtures of blocks of rows, in threads, and returns the results as numpy arrays.

        Args: function(mixture, *others) gets the rows of a block, as `map_row_blocks` says; `others` have a row for each of the
        inputs; `transform` gives the units of the mixtures, by default `units`; a block has at most `max_rows` rows.
        """
        z, transform = self.scaled(inputs), transform or mixture_units(self.scaler)[1]
        if not len(z):  # a row of zeros gives the shapes of the results
            z, *arrays = (np.zeros((1, *values.shape[1:]), values.dtype) for values in (z, *others))
            return jax.tree.map(lambda leaf: np.asarray(leaf)[:0], function(_predict(self, transform, z), *arrays))

        def of_block(rows: np.ndarray) -> Any:
            return function(_predict(self, transform, z[rows]), *(np.asarray(values)[rows] for values in others))

        return map_row_blocks(of_block, len(z), max_rows)

    def mean(self, rows: Any) -> Float[np.ndarray, "N D"]:
        """Returns the mean of each target."""
        return self._moments(rows)[0] if self.observed.has_moments else self.absolute(self._relative_statistic(mean, rows))

    def sd(self, rows: Any) -> Float[np.ndarray, "N D"]:
        """Returns the standard deviation of each target."""
        if self.observed.has_moments:
            return np.sqrt(self._moments(rows)[1])
        return np.sqrt(self._relative_statistic(variance, rows)) * self.scaler.y_factor

    def quantiles(self, rows: Any, levels: Sequence[float | int] | np.ndarray) -> Float[np.ndarray, "N Q D"]:
        """Returns quantiles of the marginal distribution of each target, at probabilities from 0 to 1."""
        return self._marginal_statistic(self.observed.mixture_quantiles, as_probabilities("levels", levels), rows)

    def intervals(self, rows: Any, levels: Sequence[float | int] | np.ndarray) -> Float[np.ndarray, "N L 2 D"]:
        """Returns both ends of the central intervals of these probabilities, of the marginal distribution of each target."""
        return self._marginal_statistic(self.observed.mixture_intervals, as_probabilities("levels", levels), rows)

    def probabilities(self, rows: Any) -> tuple[Float[np.ndarray, " V"], Float[np.ndarray, "N V"]]:
        """Returns the values of a single target that have probabilities, and these: atoms, or all values of a lattice.

        The first and the last of a lattice include everything beyond them. Raises: ValueError if no value has a probability.
        """
        if not self.observed.has_probabilities or len(self.columns.targets) > 1:
            expected = "expected atoms (data.atoms), or a lattice of values (data.lattice)"
            raise ValueError(f"probabilities: got no single target of which values have probabilities, {expected}")
        function = partial(self.observed.probabilities, units=relative_units(self.scaler))
        return self.observed.values, self.map_rows(function, self.inputs(rows), transform=relative_transform(self.scaler))

    def sample(self, key: PRNGKey, rows: Any, num: int) -> Float[np.ndarray, "N S D"]:
        """Draws `num` samples of the targets of each row."""
        drawn = np.asarray(self.observed.mixture_draws(key, self.relative(rows), num))
        return self.observed.draws(self.absolute(np.moveaxis(drawn, 0, 1)))

    def log_prob(self, rows: Any, y: Any, event: Any = None) -> Float[np.ndarray, " N"]:
        """Computes log p(y|x) of each row, in nats and the targets' own units; y is `[N, D]`, or `[N]` for a single target.

        For targets on a lattice it is log(P(cell of y) / step); for an atom, or a target beyond a bound or censored by `event`
        (see `mdnjax.fit`), log P. Raises: ValueError if y or event has another shape, or a value in it cannot be used.
        """
        y = self.checked_targets(y, len(inputs := self.inputs(rows)))
        return -self.nll(Dataset(inputs, y, censoring=self.observed.checked_censoring(event, y)))

    def checked_targets(self, y: Any, num_rows: int) -> Float[np.ndarray, "N D"]:
        """Returns observed targets as `[num_rows, D]` in float64. Raises: ValueError as `log_prob` does."""
        values = as_numbers("y", y)
        if values.shape != (num_rows, len(self.columns.targets)):
            expected = f"[{num_rows}, {len(self.columns.targets)}]: a row for each row of x, a column for each target"
            raise ValueError(f"y: got shape {np.shape(y)}, expected {expected}")
        return values

    def absolute(self, v: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Converts relative values v = (y - offset) / factor back to targets y, in float64."""
        return relative_units(self.scaler).absolute(v)

    def _relative_statistic(self, function: Callable[[Mixture], Any], rows: Any) -> Any:
        return np.asarray(self.map_rows(function, self.inputs(rows), transform=relative_transform(self.scaler)), np.float64)

    def _marginal_statistic(self, function: Callable[[Mixture, np.ndarray], Any], levels: np.ndarray, rows: Any) -> Any:
        def stacked(mixture: Mixture) -> Array:
            return jnp.stack([function(single, levels) for single in marginals(mixture)], axis=-1)

        return self.observed.quantiles(self.absolute(self._relative_statistic(stacked, rows)))

    def _moments(self, rows: Any) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
        function = partial(self.observed.moments, units=relative_units(self.scaler))
        return self.map_rows(function, self.inputs(rows), transform=relative_transform(self.scaler))

    def _mixture(self, rows: Any, transform: TargetTransform) -> Mixture:
        if isinstance(rows, Tracer):  # a compiled function has neither column names nor float64
            if not rows.shape or rows.shape[-1] != len(self.scaler.x_mean):
                raise TableError(f"x: got shape {rows.shape}, expected [*batch, {len(self.scaler.x_mean)}]")
            return _predict(self, transform, scaled_in_float32(self.scaler, rows))
        if is_table(rows):
            return _predict(self, transform, self.scaled(self.inputs(rows)))
        rows = np.asarray(rows)
        if not rows.shape or rows.shape[-1] != len(self.columns.inputs):
            names = ", ".join(column.name for column in self.columns.inputs[:8])
            raise TableError(f"x: got shape {rows.shape}, expected [*batch, {len(self.columns.inputs)}]: {names}")
        z = self.scaled(self.inputs(rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])))
        return _predict(self, transform, z.reshape(*rows.shape[:-1], z.shape[-1]))


def make_predictor(model: schema.Model, networks: Networks, scaler: Scaler, columns: Columns | None = None) -> Predictor:
    """Makes a predictor; without `columns`, inputs are named x0, x1, ... and targets y0, y1, ..."""
    return Predictor(model, networks, scaler, columns or numbered_columns(len(scaler.x_mean), len(scaler.y_offset)))


def _predict(predictor: Predictor, transform: TargetTransform, z: Float[AnyArray, "*batch X"]) -> Mixture:
    shape, numbers = split(predictor.model)
    return predict_compiled(shape, numbers, predictor.networks, transform, z)


def _dtype(networks: Networks) -> np.dtype:
    return jax.tree.leaves(networks.params)[0].dtype
