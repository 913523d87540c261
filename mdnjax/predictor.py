"""What was trained, as one value: it takes the rows that a person has, and gives mixtures and numbers in their own units.

Rows are an array `[N, C]` with a column for each input, or a table: any mapping from names to columns, as a dict or a data frame.
Whatever they are, they become the inputs of the networks in one way, `Predictor.inputs`, in float64.
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
from mdnjax.data.columns import Columns, as_table, check_reach, numbered, to_inputs
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_numbers
from mdnjax.data.scaler import (
    MAX_SCALED,
    Scaler,
    TargetTransform,
    log_slopes,
    mixture_units,
    relative_transform,
    relative_units,
    scaled_inputs,
    target_transform,
    to_training_units,
    transform_targets,
    unresolved,
)
from mdnjax.data.units import Units
from mdnjax.data.values import TableError
from mdnjax.ensemble import Networks, mixture_of, nlls_of, num_networks
from mdnjax.mixture import Mixture, num_targets
from mdnjax.statistics import central_interval, marginal, mean, quantile, sample, variance
from mdnjax.types import AnyArray, Array, Float, PRNGKey

MAX_ROWS_PER_CALL = 2**14
MAX_ROWS_SCORED = 2**16  # whose NLL is computed together


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained mixture density network, or an ensemble of them: p(y|x) for the rows of a table.

    `predictor(rows)` is the mixture p(y|x) in the target's own units. `mean`, `sd`, `quantiles`, `intervals`, `sample` and
    `log_prob` give numbers in float64, which are right where float32 cannot hold the targets themselves (seconds since 1970).
    """

    model: schema.Model
    networks: Networks
    scaler: Scaler
    columns: Columns

    def __repr__(self) -> str:
        names = [column.name for column in self.columns.inputs]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        kind = f"{num_networks(self.networks)} networks of {self.model.num_components} {self.model.family} components"
        return f"Predictor({', '.join(self.columns.targets)} from {shown}; {kind})"

    def __call__(self, rows: Any) -> Mixture:
        """p(y|x) in the target's own units; an array may have any batch axes.

        Raises: TableError (a ValueError) if the rows have other columns than the network was trained on, or a value that is
        missing or far outside of them; ValueError if float32 cannot hold the mixture (see `relative`).
        """
        if (reason := unresolved(self.scaler)) is not None:
            raise ValueError(
                f"float32 cannot hold this mixture in the target's own units: {reason}; ask the predictor for mean, quantiles, "
                "intervals, sample and log_prob, or for relative(x), the mixture over (y - offset) / factor"
            )
        return self._mixture(rows, target_transform(self.scaler))

    def relative(self, rows: Any) -> Mixture:
        """The mixture over v = (y - offset) / factor, numbers of about 1; `scaler.y_offset` and `scaler.y_factor` are float64."""
        return self._mixture(rows, relative_transform(self.scaler))

    def inputs(self, rows: Any) -> Float[np.ndarray, "N X"]:
        """The inputs of the networks, in float64 and in their own units: every category and every mark is an input of its own.

        Raises: TableError as above.
        """
        return to_inputs(self.columns, as_table(self.columns, rows))

    def at(self, inputs: Float[AnyArray, "N X"]) -> Mixture:
        """p(y|x) at inputs as `inputs` gives them, in `units`."""
        return _predict(self, mixture_units(self.scaler)[1], self.scaled(inputs))

    @property
    def units(self) -> Units:
        """Those of the mixtures that `at` and `map_rows` give: the target's own, where float32 can hold a mixture in them."""
        return mixture_units(self.scaler)[0]

    def scaled(self, inputs: Float[AnyArray, "N X"]) -> Float[np.ndarray, "N X"]:
        """What the networks get. Raises: TableError for a value that is far outside of what they were trained on."""
        z = scaled_inputs(self.scaler, inputs)
        check_reach(self.columns, inputs, z, MAX_SCALED)
        return z.astype(_dtype(self.networks))

    def nll(self, dataset: Dataset) -> Float[np.ndarray, " N"]:
        """Negative log-likelihood of every example, in nats and the data's own units; float64."""
        scaled = to_training_units(self.scaler, dataset, _dtype(self.networks))
        shape, numbers = split(self.model)
        starts = range(0, len(scaled.x), MAX_ROWS_SCORED)
        blocks = [Dataset(*(values[i : i + MAX_ROWS_SCORED] for values in scaled)) for i in starts]
        nlls = [np.asarray(_nlls(shape, numbers, self.networks, *block), np.float64) for block in blocks]
        return np.concatenate([np.zeros(0), *nlls]) + log_slopes(self.scaler, dataset.y)

    def map_rows(
        self,
        question: Callable[..., Any],
        inputs: Float[AnyArray, "N X"],
        *others: np.ndarray,
        transform: TargetTransform | None = None,
        most: int = MAX_ROWS_PER_CALL,
    ) -> Any:
        """Applies a function to the mixtures of all rows, in blocks of few sizes, and gives the results as numpy arrays.

        Each size is one compiled program.
        Args: question(mixture, *others) gets the rows of a block, some of them repeated to fill it up; `transform` says in which
        units the mixtures are, if not in those of `units`.
        """
        z, transform, found = self.scaled(inputs), transform or mixture_units(self.scaler)[1], []
        if not len(z):  # the shapes of an answer, without rows
            z, others = np.zeros((1, z.shape[1]), z.dtype), tuple(np.zeros((1, *own.shape[1:]), own.dtype) for own in others)
            answer = question(_predict(self, transform, z), *others)
            return jax.tree.map(lambda leaf: np.asarray(leaf)[:0], answer)
        for start in range(0, len(z), most):
            block = [np.asarray(values[start : start + most]) for values in (z, *others)]
            num = len(block[0])
            rows, *arrays = (np.resize(values, (padded_size(num), *values.shape[1:])) for values in block)
            answer = question(_predict(self, transform, rows), *arrays)
            found.append(jax.tree.map(lambda leaf, num=num: np.asarray(leaf)[:num], answer))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)

    def mean(self, rows: Any) -> Float[np.ndarray, "N D"]:
        """Mean of each target."""
        return self.located(self._asked(mean, rows))

    def sd(self, rows: Any) -> Float[np.ndarray, "N D"]:
        """Standard deviation of each target."""
        return np.sqrt(self._asked(variance, rows)) * self.scaler.y_factor

    def quantiles(self, rows: Any, levels: Sequence[float | int] | np.ndarray) -> Float[np.ndarray, "N Q D"]:
        """Quantiles of each target by itself, at probabilities from 0 to 1."""
        probabilities = _probabilities(levels)
        return self.located(self._asked(partial(_each_target, lambda one: quantile(one, probabilities)[..., 0]), rows))

    def intervals(self, rows: Any, levels: Sequence[float | int] | np.ndarray) -> Float[np.ndarray, "N L 2 D"]:
        """Both ends of the central intervals of each target by itself that hold so much of the probability."""
        wanted = _probabilities(levels)
        return self.located(self._asked(partial(_each_target, lambda one: central_interval(one, wanted)), rows))

    def sample(self, key: PRNGKey, rows: Any, num: int) -> Float[np.ndarray, "N S D"]:
        """Draws of the targets of each row."""
        mixture = self.relative(rows)
        return self.located(np.moveaxis(np.asarray(sample(key, mixture, (num,))), 0, 1))

    def log_prob(self, rows: Any, y: Any) -> Float[np.ndarray, " N"]:
        """log p(y|x) of each row, in nats and the target's own units; y is `[N, D]`, or `[N]` for a single target.

        Raises: ValueError if y has another shape, or is no finite number.
        """
        inputs = self.inputs(rows)
        return -self.nll(Dataset(inputs, self.observed(y, len(inputs))))

    def observed(self, y: Any, num_rows: int) -> Float[np.ndarray, "N D"]:
        """Observed targets of so many rows as `[N, D]`, in float64. Raises: ValueError as above."""
        values = as_numbers("y", y)
        if values.shape != (num_rows, len(self.columns.targets)):
            expected = f"[{num_rows}, {len(self.columns.targets)}]"
            raise ValueError(
                f"y: got shape {np.shape(y)}, expected {expected}: a row for each row of x, a column for each target"
            )
        return values

    def located(self, v: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Targets from their relative values, v = (y - offset) / factor; float64."""
        return relative_units(self.scaler).located(v)

    def _asked(self, question: Callable[[Mixture], Any], rows: Any) -> Any:
        found = self.map_rows(question, self.inputs(rows), transform=relative_transform(self.scaler))
        return np.asarray(found, np.float64)

    def _mixture(self, rows: Any, transform: TargetTransform) -> Mixture:
        if isinstance(rows, Tracer):  # inside of a compiled function there are no names and no float64
            if not rows.shape or rows.shape[-1] != len(self.scaler.x_mean):
                raise TableError(f"x: got shape {rows.shape}, expected [*batch, {len(self.scaler.x_mean)}]")
            return _predict(self, transform, _scaled_in_program(self.scaler, rows))
        if hasattr(rows, "keys"):
            return _predict(self, transform, self.scaled(self.inputs(rows)))
        rows = np.asarray(rows)
        if not rows.shape or rows.shape[-1] != len(self.columns.inputs):
            names = ", ".join(column.name for column in self.columns.inputs[:8])
            raise TableError(f"x: got shape {rows.shape}, expected [*batch, {len(self.columns.inputs)}]: {names}")
        z = self.scaled(self.inputs(rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])))
        return _predict(self, transform, z.reshape(*rows.shape[:-1], z.shape[-1]))


def make_predictor(model: schema.Model, networks: Networks, scaler: Scaler, columns: Columns | None = None) -> Predictor:
    """A predictor; without columns, those of its numbers have names x0, x1, ... and y0, y1, ..."""
    return Predictor(model, networks, scaler, columns or numbered(len(scaler.x_mean), len(scaler.y_offset)))


def _probabilities(levels: Any) -> Float[Array, " Q"]:
    """Raises: ValueError if these are no list of numbers from 0 to 1."""
    values = np.asarray(levels, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"levels: got {levels!r}, expected a list of numbers from 0 to 1")
    return jnp.asarray(values)


def padded_size(num: int, factor: int = 2) -> int:
    """The first of 64, 64 factor, 64 factor^2, ... that is no less."""
    size = 64
    while size < num:
        size *= factor
    return size


def _predict(predictor: Predictor, transform: TargetTransform, z: Float[AnyArray, "*batch X"]) -> Mixture:
    shape, numbers = split(predictor.model)
    return _jitted(shape, numbers, predictor.networks, transform, z)


@partial(jax.jit, static_argnums=0)
def _jitted(shape: schema.Model, numbers: dict[str, Any], networks: Networks, transform: TargetTransform, z: AnyArray) -> Mixture:
    return transform_targets(transform, mixture_of(shape, numbers, networks, z, len(transform.mean)))


_nlls = jax.jit(nlls_of, static_argnums=0)


def _scaled_in_program(scaler: Scaler, x: Float[Array, "*batch X"]) -> Float[Array, "*batch X"]:
    """The same in a compiled function, where a mean of more digits than float32 has comes off in two parts."""
    coarse = scaler.x_mean.astype(np.float32)
    fine = (scaler.x_mean - coarse).astype(np.float32)
    return ((x - coarse) - fine) / scaler.x_sd.astype(np.float32)


def _each_target(question: Callable[[Mixture], Any], mixture: Mixture) -> Any:
    """Asks about each target of mixtures `[N]` by itself; the question sees `[N, 1]`, and the targets come last."""
    num = num_targets(mixture)
    singles = [marginal(mixture, [target]) for target in range(num)] if num > 1 else [mixture]
    return jnp.stack([question(one[:, None]) for one in singles], axis=-1)


def _dtype(networks: Networks) -> np.dtype:
    return jax.tree.leaves(networks.params)[0].dtype
