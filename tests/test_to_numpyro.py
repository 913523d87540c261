"""A mixture and its numpyro distribution have the same density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.components import FAMILIES, Sizes
from mdnjax.mixture import from_batch_last

pytest.importorskip("numpyro")

# Bounds, and a function from the real line to points between them.
SUPPORTS = {
    None: lambda u: u,
    (0.0, np.inf): np.exp,
    (-1.0, 2.0): lambda u: 3 / (1 + np.exp(-u)) - 1,
    (-np.inf, 3.0): lambda u: 3 - np.exp(u),
}


def mixture_of(family, num_targets):
    sizes, generator = Sizes(3, num_targets, 2), np.random.default_rng(0)
    raw = jnp.asarray(generator.standard_normal((sum(FAMILIES[family].raw_sizes(sizes)), 4)))
    logits = jnp.asarray(generator.standard_normal((3, 4)))
    return jax.jit(lambda raw: from_batch_last(logits, FAMILIES[family].from_raw(raw, sizes, 0.1)))(raw)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bounds", SUPPORTS)
def test_density_is_the_same(family, bounds):
    mixture = mixture_of(family, 2)
    y = SUPPORTS[bounds](2 * np.random.default_rng(1).standard_normal((4, 2)))
    if bounds:
        mixture = mdn.warp(mixture, mdn.Support((bounds[0],) * 2, (bounds[1],) * 2))

    @jax.jit  # compiling one program takes half the time of compiling several
    def log_probs(mixture):
        distribution = mdn.to_numpyro(mixture)
        assert (distribution.batch_shape, distribution.event_shape) == ((4,), (2,))
        return distribution.log_prob(y), mdn.log_prob(mixture, y)

    np.testing.assert_allclose(*log_probs(mixture), rtol=1e-8)


def test_different_supports_are_refused():
    with pytest.raises(ValueError, match="different supports"):
        mdn.to_numpyro(mdn.warp(mixture_of("full", 2), mdn.Support((0.0, 1.0), (np.inf, 2.0))))
