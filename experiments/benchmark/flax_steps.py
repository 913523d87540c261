"""The training step as it is usually written in flax: examples first, logsumexp over the last axis, a scan over the steps."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import logsumexp

from experiments.benchmark.timing import Contender
from experiments.benchmark.work import HALF_LOG_2PI, RATE, Work


class Net(nn.Module):
    """Dense layers of these sizes, with tanh between them."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for size in self.sizes[:-1]:
            x = jnp.tanh(nn.Dense(size)(x))
        return nn.Dense(self.sizes[-1])(x)


def contender(work: Work, num_steps: int) -> Contender:
    """Returns the contender: steps of Adam in one compiled scan."""
    net, optimizer = Net(tuple(bias.size for _, bias in work.layers)), optax.adam(RATE)
    params = {"params": {f"Dense_{i}": {"kernel": k, "bias": b} for i, (k, b) in enumerate(work.layers)}}
    data, size = (jnp.asarray(work.x), jnp.asarray(work.y)), work.sizes.batch_size

    def loss(params: Any, x: Any, y: Any) -> Any:
        raw: Any = net.apply(params, x)
        return -jnp.mean(_log_prob(work, raw, y))

    def step(carry: Any, key: Any, data: Any) -> Any:
        params, opt_state = carry
        batch = data if size is None else [part[jax.random.randint(key, (size,), 0, len(data[0]))] for part in data]
        value, grads = jax.value_and_grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    keys = None if size is None else jax.random.split(jax.random.key(0), num_steps)
    train = jax.jit(lambda carry, data: jax.lax.scan(lambda c, key: step(c, key, data), carry, keys, length=num_steps))
    start = (jax.tree.map(jnp.asarray, params), optimizer.init(params))
    check = work.first_loss if size else float(jax.jit(loss)(params, *data))  # minibatches differ between contenders
    return Contender("flax, batch-first", lambda: jax.block_until_ready(train(start, data)) and None, check, num_steps)


def _log_prob(work: Work, raw: Any, y: Any) -> Any:
    num, targets = work.sizes.num_components, work.sizes.num_targets
    logits, loc, raw_scale, below = jnp.split(raw, np.cumsum([num, num * targets, num * targets]), axis=-1)
    shape = (*raw.shape[:-1], num, targets)
    offset, raw_scale = y[..., None, :] - loc.reshape(shape), raw_scale.reshape(shape)
    if work.sizes.family == "full":  # z = L^T (y - loc), L unit lower triangular over the scales
        unit = jnp.zeros((*shape, targets)) + jnp.eye(targets)
        unit = unit.at[..., *np.tril_indices(targets, -1)].set(below.reshape(*shape[:-1], -1))
        offset = jnp.einsum("...ij,...i->...j", unit * jnp.exp(-raw_scale)[..., None, :], offset)
    else:
        offset = offset * jnp.exp(-raw_scale)
    log_probs = jnp.sum(-0.5 * offset**2 - raw_scale - HALF_LOG_2PI, axis=-1)
    return logsumexp(jax.nn.log_softmax(logits) + log_probs, axis=-1)
