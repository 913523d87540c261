"""Losses per example, batch-last: the mean over examples is taken once, by the caller."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mdnjax.components import Component, Diagonal
from mdnjax.mixture import mixture_log_prob, mixture_responsibilities
from mdnjax.types import Array, Float


def nll(logits: Float[Array, "K *batch"], component: Component, y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """Negative log-likelihood in nats, -log sum_k w_k p_k(y). Source: Bishop (1994), eq. 29."""
    return -mixture_log_prob(logits, component, y)


@jax.custom_vjp
def nll_closed_form(logits: Float[Array, "K *batch"], component: Diagonal, y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """`nll` of a diagonal mixture with Bishop's gradient written out instead of autodiff.

    With responsibilities r_k and z = (y - loc) / scale:
    dE/dlogit_k = w_k - r_k, dE/dloc_kd = -r_k z_kd / scale_kd, dE/dscale_kd = r_k (1 - z_kd^2) / scale_kd,
    dE/dy = -sum_k dE/dloc_k.
    It is the same number to rounding and no faster than autodiff of `nll`, and it has no forward mode: it is here because it is
    part of the subject, and as the tests' oracle. Source: Bishop (1994), eqs 33-39.
    """
    return nll(logits, component, y)


def _forward(logits: Array, component: Diagonal, y: Array) -> tuple[Array, tuple[Array, Diagonal, Array]]:
    return nll(logits, component, y), (logits, component, y)


def _backward(residuals: tuple[Array, Diagonal, Array], cotangent: Array) -> tuple[Array, Diagonal, Array]:
    logits, component, y = residuals
    r = mixture_responsibilities(logits, component, y)
    z = (y - component.loc) / component.scale
    d_logits = jax.nn.softmax(logits, axis=0) - r
    d_loc = -r[:, None] * z / component.scale
    d_scale = r[:, None] * (1 - z**2) / component.scale
    return cotangent * d_logits, Diagonal(cotangent * d_loc, cotangent * d_scale), cotangent * -jnp.sum(d_loc, axis=0)


nll_closed_form.defvjp(_forward, _backward)


def mse(prediction: Float[Array, "D *batch"], y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """Squared error, summed over the targets."""
    return jnp.sum((prediction - y) ** 2, axis=0)


LOSSES: dict[str, Callable[..., Float[Array, "*batch"]]] = {"nll": nll, "nll_closed_form": nll_closed_form}
