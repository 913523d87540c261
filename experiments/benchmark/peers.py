"""Functions of a mixture in mdnjax, numpyro, PyTorch and SciPy, each written as users of the library write it."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn

LEVELS = np.array([0.05, 0.5, 0.95], np.float32)
MAX_SCIPY_EXAMPLES = 10_000  # more are not timed, since SciPy's time per example stays the same
NUM_SLOW_EXAMPLES = 5  # examples where SciPy computes one mixture at a time
PACKAGES = {"numpyro": "numpyro", "torch": "PyTorch", "scipy": "SciPy"}


class Problem(NamedTuple):
    """A function of N mixtures of K components; `num_draws` is the number of samples of each mixture."""

    function: str
    logits: np.ndarray  # [N, K]
    loc: np.ndarray  # [N, K]
    scale: np.ndarray  # [N, K]
    y: np.ndarray  # [N]
    num_draws: int = 0

    @property
    def num_examples(self) -> int:
        return len(self.logits)

    def first(self, number: int) -> Problem:
        """Returns the problem with its first examples only."""
        return self._replace(logits=self.logits[:number], loc=self.loc[:number], scale=self.scale[:number], y=self.y[:number])


class Implementation(NamedTuple):
    """A function in one library: `call()` computes it for the first `num_examples` examples and waits for the results."""

    name: str
    call: Callable[[], Any]
    num_examples: int


def implementations(problem: Problem) -> Iterator[Implementation]:
    """Yields the implementations of the libraries that are installed and have the function, mdnjax first."""
    for name, make in (("", _mdnjax), ("numpyro", _numpyro), ("torch", _torch), ("scipy", _scipy)):
        if not name or importlib.util.find_spec(name):
            yield from make(problem)


def missing_packages() -> list[str]:
    """Returns a line for each library that is not installed."""
    return [
        f"{shown} is not installed, so it is skipped" for name, shown in PACKAGES.items() if not importlib.util.find_spec(name)
    ]


def _mdnjax(problem: Problem) -> Iterator[Implementation]:
    logits, loc, scale = (jnp.asarray(part) for part in problem[1:4])
    y, arrays = jnp.asarray(problem.y)[:, None], (logits, loc[..., None], scale[..., None])

    def mixture(logits: Any, loc: Any, scale: Any) -> mdn.Mixture:
        return mdn.Mixture(logits, mdn.Diagonal(loc, scale))

    calls = {
        "log_prob": (lambda *parts: mdn.log_prob(mixture(*parts[:3]), parts[3]), (*arrays, y)),
        "gradient": (
            jax.grad(lambda *parts: jnp.sum(mdn.log_prob(mixture(*parts[:3]), parts[3])), (0, 1, 2)),
            (*arrays, y),
        ),
        "cdf": (lambda *parts: mdn.cdf(mixture(*parts[:3]), parts[3]), (*arrays, y)),
        "quantile": (lambda *parts: mdn.quantile(mixture(*parts[:3]), parts[3])[..., 0], (*arrays, jnp.asarray(LEVELS)[:, None])),
        "sample": (
            lambda *parts: mdn.sample(parts[3], mixture(*parts[:3]), (problem.num_draws,))[..., 0],
            (*arrays, jax.random.key(0)),
        ),
    }
    yield _jax_implementation("mdnjax", problem, *calls[problem.function])


def _numpyro(problem: Problem) -> Iterator[Implementation]:
    from numpyro import distributions as dist  # pyright: ignore[reportMissingImports]

    arrays = tuple(jnp.asarray(part) for part in problem[1:5])

    def mixture(logits: Any, loc: Any, scale: Any) -> Any:
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(loc, scale))

    calls = {
        "log_prob": (lambda *parts: mixture(*parts[:3]).log_prob(parts[3]), arrays),
        "gradient": (jax.grad(lambda *parts: jnp.sum(mixture(*parts[:3]).log_prob(parts[3])), (0, 1, 2)), arrays),
        "cdf": (lambda *parts: mixture(*parts[:3]).cdf(parts[3]), arrays),
        "sample": (lambda *parts: mixture(*parts[:3]).sample(parts[3], (problem.num_draws,)), (*arrays[:3], jax.random.key(0))),
    }
    if problem.function in calls:
        yield _jax_implementation("numpyro", problem, *calls[problem.function])


def _jax_implementation(name: str, problem: Problem, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Implementation:
    compiled = jax.jit(function)
    return Implementation(name, lambda: jax.block_until_ready(compiled(*arguments)), problem.num_examples)


def _torch(problem: Problem) -> Iterator[Implementation]:
    import torch  # pyright: ignore[reportMissingImports]
    from torch import distributions as dist  # pyright: ignore[reportMissingImports]

    logits, loc, scale, y = (torch.from_numpy(part) for part in problem[1:5])
    default_threads = _torch_threads()

    def mixture(logits: Any, loc: Any, scale: Any) -> Any:  # without the checks of arguments, which take time
        weights, normal = dist.Categorical(logits=logits, validate_args=False), dist.Normal(loc, scale, validate_args=False)
        return dist.MixtureSameFamily(weights, normal, validate_args=False)

    def gradient() -> Any:
        leaves = [part.detach().requires_grad_() for part in (logits, loc, scale)]
        return torch.autograd.grad(mixture(*leaves).log_prob(y).sum(), leaves)

    calls: dict[str, Callable[[], Any]] = {
        "log_prob": torch.no_grad()(lambda: mixture(logits, loc, scale).log_prob(y)),
        "gradient": gradient,
        "cdf": torch.no_grad()(lambda: mixture(logits, loc, scale).cdf(y)),
        "sample": lambda: mixture(logits, loc, scale).sample((problem.num_draws,)),
    }
    for number in sorted({1, default_threads}) if problem.function in calls else ():
        name = f"PyTorch, {number} thread{'s' * (number > 1)}"
        yield Implementation(name, _with_threads(number, calls[problem.function]), problem.num_examples)


@functools.cache
def _torch_threads() -> int:
    """Returns PyTorch's default number of threads; it is read before another number is set."""
    import torch  # pyright: ignore[reportMissingImports]

    return torch.get_num_threads()


def _with_threads(number: int, call: Callable[[], Any]) -> Callable[[], Any]:
    import torch  # pyright: ignore[reportMissingImports]

    def run() -> Any:
        torch.set_num_threads(number)
        return call()

    return run


def _scipy(problem: Problem) -> Iterator[Implementation]:
    makers = {"log_prob": _scipy_by_hand, "cdf": _scipy_by_hand, "quantile": _scipy_quantile, "sample": _scipy_sample}
    if problem.function in makers:
        yield from makers[problem.function](problem)


def _scipy_by_hand(problem: Problem) -> Iterator[Implementation]:
    from scipy import special, stats  # pyright: ignore[reportMissingImports]

    if problem.num_examples > MAX_SCIPY_EXAMPLES:
        return
    _, logits, loc, scale, y, _ = problem

    def log_prob() -> np.ndarray:
        log_probs = special.log_softmax(logits, axis=-1) + stats.norm.logpdf(y[:, None], loc, scale)
        return np.asarray(special.logsumexp(log_probs, axis=-1))

    def cdf() -> np.ndarray:
        return np.sum(special.softmax(logits, axis=-1) * special.ndtr((y[:, None] - loc) / scale), axis=-1)

    call = log_prob if problem.function == "log_prob" else cdf
    yield Implementation("SciPy, by hand", call, problem.num_examples)


def _scipy_quantile(problem: Problem) -> Iterator[Implementation]:
    from scipy import special  # pyright: ignore[reportMissingImports]
    from scipy.optimize import elementwise  # pyright: ignore[reportMissingImports]

    few = problem.first(NUM_SLOW_EXAMPLES)
    mixtures = [_scipy_mixture(few, index) for index in range(few.num_examples)]
    levels = LEVELS.astype(float)

    def icdf() -> np.ndarray:
        return np.stack([mixture.icdf(levels) for mixture in mixtures], axis=1)

    yield Implementation("SciPy, Mixture.icdf", icdf, few.num_examples)

    part = problem.first(MAX_SCIPY_EXAMPLES)
    weight, loc, scale = special.softmax(part.logits, axis=-1), part.loc, part.scale
    p, index = np.broadcast_arrays(levels[:, None], np.arange(part.num_examples))

    def excess(y: np.ndarray, index: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.sum(weight[index] * special.ndtr((y[..., None] - loc[index]) / scale[index]), axis=-1) - p

    def find_root() -> np.ndarray:
        quantiles = loc + scale * special.ndtri(p)[..., None]  # of the components: those of the mixture are between them
        return elementwise.find_root(excess, (quantiles.min(axis=-1), quantiles.max(axis=-1)), args=(index, p)).x

    yield Implementation("SciPy, elementwise.find_root", find_root, part.num_examples)


def _scipy_sample(problem: Problem) -> Iterator[Implementation]:
    if problem.num_examples == 1:  # SciPy's Mixture has no batch
        single, generator = _scipy_mixture(problem, 0), np.random.default_rng(0)
        yield Implementation("SciPy, Mixture.sample", lambda: single.sample((problem.num_draws, 1), rng=generator), 1)


def _scipy_mixture(problem: Problem, index: int) -> Any:
    from scipy import special, stats  # pyright: ignore[reportMissingImports]

    components = [stats.Normal(mu=m, sigma=s) for m, s in zip(problem.loc[index], problem.scale[index], strict=True)]
    return stats.Mixture(components, weights=special.softmax(problem.logits[index].astype(float)))
