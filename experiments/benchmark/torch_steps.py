"""The training step in PyTorch: eager and optimised, eager as most published notebooks have it, and compiled."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmark.timing import Contender
from experiments.benchmark.work import HALF_LOG_2PI, RATE, Work

NOT_INSTALLED = "PyTorch is not installed, so it is skipped; pip install -e '.[bench]' installs it"


def is_installed() -> bool:
    """Returns whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def eager(work: Work, num_steps: int) -> Contender:
    """Returns the fastest eager contender on one core: one head, logsumexp, fused Adam."""
    return _contender("PyTorch, eager, one thread", work, num_steps, lambda net, x, y: nll(work, net(x), y))


def compiled(work: Work, num_steps: int) -> Contender | str:
    """Returns the same with network and loss compiled by torch.compile, or a line that explains why it is skipped."""
    import torch  # pyright: ignore[reportMissingImports]

    try:
        loss = torch.compile(lambda net, x, y: nll(work, net(x), y))
        return _contender("PyTorch, compiled, one thread", work, num_steps, loss)
    except Exception as error:  # a compiler, headers or a supported Python version may be missing
        return f"torch.compile fails on this machine, so that it is skipped ({type(error).__name__})"


def published(work: Work, num_steps: int) -> Contender:
    """Returns the step as notebooks have it: three heads, densities instead of their logarithms, default Adam."""
    import torch  # pyright: ignore[reportMissingImports]

    def loss(net: Any, x: Any, y: Any) -> Any:
        hidden, logits, loc, raw_scale = net
        units = torch.tanh(hidden(x))
        weight, scale = torch.softmax(logits(units), -1), torch.exp(raw_scale(units))
        density = torch.exp(-0.5 * ((y - loc(units)) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        return -torch.log((weight * density).sum(-1)).mean()

    def heads() -> Any:
        (kernel, bias), (head, head_bias) = work.layers
        parts = zip(np.split(head, 3, axis=1), np.split(head_bias, 3), strict=True)
        return torch.nn.ModuleList([_linear(kernel, bias), *(_linear(*part) for part in parts)])

    return _contender("PyTorch, eager, as published", work, num_steps, loss, heads, fused=False)


def _contender(
    name: str, work: Work, num_steps: int, loss: Callable[..., Any], make_net: Callable[[], Any] | None = None, fused: bool = True
) -> Contender:
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    x, y, size = torch.from_numpy(work.x), torch.from_numpy(work.y), work.sizes.batch_size
    make_net = make_net or (lambda: network(work))

    def run() -> None:
        torch.set_num_threads(1)  # another contender may have set more
        net = make_net()
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=fused or None)
        for _ in range(num_steps):
            optimizer.zero_grad(set_to_none=True)
            batch = slice(None) if size is None else torch.randint(len(x), (size,))
            loss(net, x[batch], y[batch]).backward()
            optimizer.step()

    check = work.first_loss if size else float(loss(make_net(), x, y).detach())  # minibatches differ between contenders
    return Contender(name, run, check, num_steps)


def network(work: Work) -> Any:
    """Returns a PyTorch network with the first parameters of the work."""
    import torch  # pyright: ignore[reportMissingImports]

    layers: list[Any] = []
    for kernel, bias in work.layers:
        layers += [_linear(kernel, bias), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def _linear(kernel: np.ndarray, bias: np.ndarray) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    layer = torch.nn.Linear(*kernel.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
        layer.bias.copy_(torch.from_numpy(bias.copy()))
    return layer


def nll(work: Work, raw: Any, y: Any) -> Any:
    """Returns the mean NLL of the network's outputs."""
    import torch  # pyright: ignore[reportMissingImports]

    num, targets = work.sizes.num_components, work.sizes.num_targets
    logits, loc, raw_scale, below = raw.split([num, num * targets, num * targets, raw.shape[-1] - num * (1 + 2 * targets)], -1)
    shape = (*raw.shape[:-1], num, targets)
    offset, raw_scale = y[..., None, :] - loc.reshape(shape), raw_scale.reshape(shape)
    if work.sizes.family == "full":  # z = L^T (y - loc), L unit lower triangular over the scales
        rows, columns = np.tril_indices(targets, -1)
        unit = torch.eye(targets).expand(*shape, targets).clone()
        unit[..., rows, columns] = below.reshape(*shape[:-1], -1)
        offset = torch.einsum("...ij,...i->...j", unit * torch.exp(-raw_scale)[..., None, :], offset)
    else:
        offset = offset * torch.exp(-raw_scale)
    log_probs = (-0.5 * offset**2 - raw_scale - HALF_LOG_2PI).sum(-1)
    return -torch.logsumexp(torch.log_softmax(logits, -1) + log_probs, -1).mean()
