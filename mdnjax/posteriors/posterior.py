"""The base class of posteriors of a simulator's parameters: draws, densities, modes, plots and proposals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mdnjax.config.nearest import nearest
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_numbers
from mdnjax.posteriors.priors import Prior
from mdnjax.posteriors.ranks import Ranks
from mdnjax.predictor import Predictor
from mdnjax.statistics import Modes
from mdnjax.types import Float, PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_PLOTTED = 5000  # draws of a plot


class Evaluated(NamedTuple):
    """Ranks of the true parameters of test simulations, and -log p(theta|x) of each, in nats and the parameters' own units.

    `x` are the results of these simulations, each as one row.
    """

    ranks: Ranks
    nll: Float[np.ndarray, " N"]
    x: Float[np.ndarray, "N X"]


@dataclass(frozen=True, eq=False)
class Posterior(ABC):
    """The posterior p(theta|x) of trained networks. `prior` is None if the simulations are from a file without it."""

    predictor: Predictor
    prior: Prior | None

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""

    @abstractmethod
    def sample(self, key: PRNGKey, x: Any, shape: int | Sequence[int]) -> Float[np.ndarray, "*shape D"]:
        """Draws parameters given one observation; `shape` is their number, or the shape of an array of them."""

    @abstractmethod
    def log_prob(self, theta: Any, x: Any) -> Float[np.ndarray, " N"]:
        """Computes log p(theta|x) of parameters `[N, D]` given one observation; by a likelihood without the constant log p(x)."""

    @abstractmethod
    def modes(self, x: Any) -> Modes:
        """Returns the local maxima of p(theta|x) in the box or on the real line of the prior."""

    @abstractmethod
    def evaluate(self, key: PRNGKey, test: Dataset, num: int) -> Evaluated:
        """Ranks the true parameters of test simulations among `num` draws, and computes their densities."""

    @abstractmethod
    def propose(self, key: PRNGKey, x: Any, num: int) -> Float[np.ndarray, "N D"]:
        """Draws parameters to simulate next, where the posterior of this observation is."""

    def marginal(
        self, key: PRNGKey, x: Any, names: str | Sequence[str], shape: int | Sequence[int]
    ) -> Float[np.ndarray, "*shape M"]:
        """Draws some of the parameters, by their names, given one observation; the others are integrated out.

        Raises: ValueError if a name is not that of a parameter.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in self.names:
                raise ValueError(f"names: got {name!r}, expected parameters: {', '.join(self.names)}{nearest(name, self.names)}")
        return self.sample(key, x, shape)[..., [self.names.index(name) for name in names]]

    def plot(self, key: PRNGKey, x: Any, truth: Any = None, num: int = NUM_PLOTTED) -> Figure:
        """Plots draws of all parameters and of each pair of them, and the true parameters if they are known (corner plot).

        Raises: ImportError if the package corner is not installed.
        """
        from mdnjax.plots import corner

        return corner(self.sample(key, x, num), self.names, truth)

    def to_arviz(self, key: PRNGKey, x: Any, num: int) -> Any:
        """Returns `num` draws given one observation as a data set of ArviZ, with one chain and a variable for each parameter.

        Raises: ImportError if ArviZ is not installed.
        """
        import arviz

        draws = self.sample(key, x, num)
        return arviz.convert_to_dataset({name: draws[None, :, i] for i, name in enumerate(self.names)})


def in_shape(draws: Float[np.ndarray, "S D"], shape: tuple[int, ...]) -> Float[np.ndarray, "*shape D"]:
    """Returns draws with several axes in place of the first one."""
    return draws.reshape(*shape, draws.shape[-1])


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Returns a number of draws, or their shape, as a shape. Raises: ValueError if a number in it is not positive."""
    sizes = tuple(int(size) for size in np.atleast_1d(np.asarray(shape, int)))
    if not all(size > 0 for size in sizes):
        raise ValueError(f"shape: got {shape}, expected a positive number of draws, or a shape of positive numbers")
    return sizes


def as_results(x: Any) -> Float[np.ndarray, "N *trials X"]:
    """Returns results of simulations in float64. Raises: ValueError if they are not finite numbers."""
    shape = np.shape(x)
    if len(shape) != 3:
        return as_numbers("x", x)
    return as_numbers("x", np.reshape(x, (shape[0] * shape[1], shape[2]))).reshape(shape)
