"""The probability that a simulation succeeds, as a function of its parameters, where it depends on them.

A likelihood that is learnt from successful simulations is p(x|theta, success). An observation is a success, so that its posterior
is proportional to p(theta) p(success|theta) p(x|theta, success).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import Array, Bool, Float

MIN_FAILED = 20  # from fewer failures or successes it cannot be learnt on what they depend
MAX_ROWS = 10_000
NUM_FOLDS = 3
UNITS = (16, 16)
MAX_STEPS = 100  # more of them change little


class Success(NamedTuple):
    """A classifier of successful simulations: layers of a network of tanh units, whose inputs are standardised parameters.

    A simulation had `trials` independent trials, which all had to succeed.
    """

    mean: Float[np.ndarray, " D"]
    sd: Float[np.ndarray, " D"]
    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    trials: int = 1

    def log_prob(self, z: Any, trials: int) -> Float[Array, "*batch"]:
        """Computes log p(success|theta) of a number of trials, for standardised parameters z = (theta - mean) / sd."""
        for kernel, bias in zip(self.kernels[:-1], self.biases[:-1], strict=True):
            z = jnp.tanh(z @ kernel + bias)
        return trials / self.trials * jax.nn.log_sigmoid((z @ self.kernels[-1] + self.biases[-1])[..., 0])


def fit_success(
    theta: Float[np.ndarray, "N D"], succeeded: Bool[np.ndarray, " N"], seed: int = 0, trials: int = 1
) -> Success | None:
    """Fits the probability of success; returns None if there are few failures, or theta does not predict held-out ones.

    It is used if the mean log probability of held-out outcomes is higher than that of a constant by two standard errors.
    """
    chosen = np.random.default_rng(seed).permutation(len(theta))[:MAX_ROWS]
    theta, succeeded = theta[chosen], succeeded[chosen]
    if min(int(succeeded.sum()), int((~succeeded).sum())) < MIN_FAILED:
        return None
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.model_selection import cross_val_predict
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise ImportError(f"failed simulations need scikit-learn: pip install -e '.[tabular]' ({error})") from error

    mean, sd = theta.mean(axis=0), theta.std(axis=0)
    z = (theta - mean) / np.where(sd > 0, sd, 1)
    classifier: Any = MLPClassifier(UNITS, "tanh", solver="lbfgs", alpha=1.0, max_iter=MAX_STEPS, random_state=seed)
    share = succeeded.mean()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probability = cross_val_predict(classifier, z, succeeded, cv=NUM_FOLDS, method="predict_proba")
        classifier.fit(z, succeeded)
    p = np.clip(np.asarray(probability)[:, 1], 1e-6, 1 - 1e-6)
    gain = np.log(np.where(succeeded, p / share, (1 - p) / (1 - share)))
    if not gain.mean() >= 2 * gain.std() / len(gain) ** 0.5:
        return None
    return Success(mean, np.where(sd > 0, sd, 1), tuple(classifier.coefs_), tuple(classifier.intercepts_), trials)
