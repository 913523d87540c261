"""Mixtures as numpyro's distributions: the same density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.components import FAMILIES, Sizes
from mdnjax.mixture import from_batch_last

pytest.importorskip("numpyro")


def mixture_of(family, num_targets):
    sizes, generator = Sizes(3, num_targets, 2), np.random.default_rng(0)
    raw = jnp.asarray(generator.standard_normal((sum(FAMILIES[family].raw_sizes(sizes)), 4)))
    return from_batch_last(jnp.asarray(generator.standard_normal((3, 4))), FAMILIES[family].from_raw(raw, sizes, 0.1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bounds", [None, (0.0, np.inf), (-1.0, 2.0), (-np.inf, 3.0)])
def test_density_is_the_same(family, bounds):
    mixture = mixture_of(family, 2)
    if bounds:
        mixture = mdn.warp(mixture, mdn.Support((bounds[0],) * 2, (bounds[1],) * 2))
    y = mdn.sample(jax.random.key(0), mixture)
    theirs = mdn.to_numpyro(mixture)
    assert (theirs.batch_shape, theirs.event_shape) == ((4,), (2,))
    np.testing.assert_allclose(theirs.log_prob(y), mdn.log_prob(mixture, y), rtol=1e-8)


def test_different_supports_are_refused():
    with pytest.raises(ValueError, match="different supports"):
        mdn.to_numpyro(mdn.warp(mixture_of("full", 2), mdn.Support((0.0, 1.0), (np.inf, 2.0))))
