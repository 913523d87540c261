"""Losses per example, batch-last. The caller takes the mean over examples."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mdnjax.components import Component, Diagonal
from mdnjax.mixture import mixture_log_prob, mixture_responsibilities
from mdnjax.types import Array, Float


def nll(logits: Float[Array, "K *batch"], component: Component, y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """Returns the negative log-likelihood in nats, -log sum_k w_k p_k(y). Source: Bishop (1994), eq. 29."""
    return -mixture_log_prob(logits, component, y)


@jax.custom_vjp
def nll_closed_form(logits: Float[Array, "K *batch"], component: Diagonal, y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """Returns `nll` of a diagonal mixture; its gradient is Bishop's closed form instead of autodiff.

    With responsibilities r_k and z = (y - loc) / scale:
    dE/dlogit_k = w_k - r_k, dE/dloc_kd = -r_k z_kd / scale_kd, dE/dscale_kd = r_k (1 - z_kd^2) / scale_kd,
    dE/dy = -sum_k dE/dloc_k.
    Up to rounding the gradient equals autodiff of `nll`. It is no faster and has no forward mode; it serves as a worked example
    and as an oracle in tests. Source: Bishop (1994), eqs 33-39.
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


def natural_em(logits: Float[Array, "K *batch"], component: Diagonal, y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """Returns the value of `nll`; its gradient is that of EM's complete-data loss, divided by the components' Fisher information.

    With fixed responsibilities r, Q = -sum_k r_k (log w_k + log p_k(y)) has the gradients r_k (loc_k - y) / scale_k^2 with
    respect to loc and r_k (1 - z^2) with respect to log scale, the same as nll. The Fisher information of a Gaussian is
    1 / scale_k^2 for loc and 2 for log scale; divided by it, they are r_k (loc_k - y) and r_k (1 - z^2) / 2. The gradient with
    respect to the logits stays w_k - r_k. So a narrow scale does not make the gradient large. Source: arXiv 2602.10602.
    """
    r, z = mixture_responsibilities(logits, component, y)[:, None], (y - component.loc) / component.scale
    gradients = (jax.nn.softmax(logits, axis=0)[:, None] - r, r * (component.loc - y), r * (1 - z**2) / 2)
    arguments = (logits[:, None], component.loc, jnp.log(component.scale))
    pairs = zip(gradients, arguments, strict=True)
    terms = [jnp.sum(jax.lax.stop_gradient(gradient) * argument, axis=(0, 1)) for gradient, argument in pairs]
    surrogate = sum(terms[1:], terms[0])
    return jax.lax.stop_gradient(nll(logits, component, y)) + surrogate - jax.lax.stop_gradient(surrogate)


def entropy_of_weights(logits: Float[Array, "K *batch"]) -> Float[Array, "*batch"]:
    """Returns the entropy of the weights, -sum_k w_k log w_k, in nats; it is log K if all weights are equal."""
    log_weights = jax.nn.log_softmax(logits, axis=0)
    return -jnp.sum(jnp.exp(log_weights) * log_weights, axis=0)


def mse(prediction: Float[Array, "D *batch"], y: Float[Array, "D *batch"]) -> Float[Array, "*batch"]:
    """Returns the squared error, summed over the targets."""
    return jnp.sum((prediction - y) ** 2, axis=0)


LOSSES: dict[str, Callable[..., Float[Array, "*batch"]]] = {
    "nll": nll,
    "nll_closed_form": nll_closed_form,
    "natural_em": natural_em,
}
