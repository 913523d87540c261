"""A trained model as one portable program: jax alone runs it, for any number of rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import export

from mdnjax.mixture import log_weights
from mdnjax.statistics import mean, quantile, variance
from mdnjax.trained import Predictor, predict
from mdnjax.types import Array, Float

PLATFORMS = ("cpu", "cuda")


def export_model(predictor: Predictor, *, quantiles: Sequence[float] = (), platforms: Sequence[str] = PLATFORMS) -> bytes:
    """A program from x `[N, X]`, float32 and any N, to a dict of arrays: `mean`, `sd`, the mixture's `log_weights` and the fields
    of its components, and `quantiles` `[N, Q]` of a single target if any are asked for.

    `jax.export.deserialize(program).call(x)` runs it, without mdnjax and flax.
    """

    def answer(x: Float[Array, " X"]) -> dict[str, Array]:
        mixture = predict(predictor.model, predictor.trained, x)
        answers = {"mean": mean(mixture), "sd": jnp.sqrt(variance(mixture)), "log_weights": log_weights(mixture)}
        if quantiles:
            answers["quantiles"] = quantile(mixture, jnp.array(quantiles, x.dtype))[..., 0]
        fields = getattr(mixture.component, "_asdict", dict)()
        return answers | {name: value for name, value in fields.items() if hasattr(value, "shape")}

    num_inputs = predictor.trained.scaler.x_mean.shape[0]
    (rows,) = export.symbolic_shape("rows")
    like = jax.ShapeDtypeStruct((rows, num_inputs), jnp.float32)
    # a row at a time, mapped: blocks of rows need their number
    return bytes(export.export(jax.jit(jax.vmap(answer)), platforms=list(platforms))(like).serialize())
