"""The original study's training step (1000 points, 20 units, 5 components, Adam, full batch) in mdnjax and beside it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import logsumexp

from experiments.benchmark.race import Contender
from experiments.command import CONFIGS
from experiments.pipeline import make_data
from experiments.studies import InverseSine
from mdnjax import recipe
from mdnjax.config import load
from mdnjax.config.schema import Run
from mdnjax.data import Splits
from mdnjax.population import fit
from mdnjax.train import TrainState

TOLERANCE = 1e-5  # of the first step's loss, between contenders
HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))


def contenders(num_steps: int) -> Iterator[Contender | str]:
    """Every contender whose libraries are here, all from the same parameters and data; a word on each that is not."""
    config = load(InverseSine, CONFIGS / "inverse_sine_original.yaml")
    splits, _ = make_data(config)
    layers: list = []
    for name, loss in (("mdnjax", "nll"), ("mdnjax, Bishop's closed-form gradient", "nll_closed_form")):
        own = config.model_copy(update={"train": config.train.model_copy(update={"loss": loss})})
        steps, state, inputs = start(own, splits)
        layers = layers_of(state)
        first_loss = float(jax.jit(steps.train_step)(state, inputs)[1])
        yield Contender(name, partial(scan, steps.train_step, state, inputs, num_steps), first_loss, num_steps)
    yield flax_batch_first(layers, splits.train.x, splits.train.y, num_steps)
    if importlib.util.find_spec("torch"):
        yield torch_eager(layers, splits.train.x, splits.train.y, num_steps)
    else:
        yield "PyTorch is not installed: skipped (pip install -e '.[bench]' brings it)"


def start(config: Run, splits: Splits) -> tuple[recipe.Recipe, TrainState, recipe.Inputs]:
    """A run in raw units, as the original study has it, before its first step."""
    model, train, numbers = recipe.split_sections(config.model, config.train)
    steps = recipe.make_mdn_recipe(model, train, 1, 1)
    inputs = recipe.make_inputs(numbers, jax.random.key(config.seed), splits.train, splits.validation)
    return steps, steps.init(inputs), inputs


def layers_of(state: TrainState) -> list[tuple[np.ndarray, ...]]:
    """Kernel and bias of each layer."""
    return [tuple(np.asarray(state.params[name][part]) for part in ("kernel", "bias")) for name in ("hidden_0", "head")]


def scan(train_step: Any, state: TrainState, inputs: recipe.Inputs, num_steps: int) -> None:
    """Training as the study does it, without reports on the way."""
    fit(train_step, state, (inputs,), num_steps=num_steps, report_every=num_steps)


def flax_batch_first(layers: list, x: np.ndarray, y: np.ndarray, num_steps: int) -> Contender:
    """The same network as one writes it in flax: examples first, log_softmax and logsumexp over the last axis, a scan."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            hidden = jnp.tanh(nn.Dense(20)(x))
            return nn.Dense(15)(hidden)

    net, optimizer = Net(), optax.adam(1e-3)
    params = {"params": {f"Dense_{i}": {"kernel": k, "bias": b} for i, (k, b) in enumerate(layers)}}

    def loss(params: Any) -> Any:
        logits, loc, raw_scale = jnp.split(jnp.asarray(net.apply(params, x)), 3, axis=-1)
        log_probs = -0.5 * ((y - loc) / jnp.exp(raw_scale)) ** 2 - raw_scale - HALF_LOG_2PI
        return -jnp.mean(logsumexp(jax.nn.log_softmax(logits) + log_probs, axis=-1))

    def step(carry: Any, _: None) -> Any:
        params, opt_state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    train = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=num_steps))
    first = (jax.tree.map(jnp.asarray, params), optimizer.init(params))
    return Contender("flax, batch-first", lambda: jax.block_until_ready(train(first)), float(jax.jit(loss)(params)), num_steps)


def torch_eager(layers: list, x: np.ndarray, y: np.ndarray, num_steps: int) -> Contender:
    """PyTorch eager at its best on one core: one head, logsumexp, fused Adam, one thread."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    def start() -> tuple[Any, Any]:
        hidden, head = torch.nn.Linear(1, 20), torch.nn.Linear(20, 15)
        with torch.no_grad():
            for layer, (kernel, bias) in zip((hidden, head), layers, strict=True):
                layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
                layer.bias.copy_(torch.from_numpy(bias.copy()))
        net = torch.nn.Sequential(hidden, torch.nn.Tanh(), head)
        return net, torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def loss_of(net: Any) -> Any:
        logits, loc, raw_scale = net(inputs).chunk(3, dim=-1)
        log_probs = -0.5 * ((targets - loc) * torch.exp(-raw_scale)) ** 2 - raw_scale - HALF_LOG_2PI
        return -torch.logsumexp(torch.log_softmax(logits, -1) + log_probs, -1).mean()

    def run() -> None:
        net, optimizer = start()
        for _ in range(num_steps):
            optimizer.zero_grad(set_to_none=True)
            loss_of(net).backward()
            optimizer.step()

    return Contender("PyTorch, eager, one thread", run, float(loss_of(start()[0]).detach()), num_steps)
