"""Draws from a posterior by tempering: particles move from the prior to the posterior while the likelihood is switched on.

The moves and the exponents are those of blackjax, which the extra `posterior` of the package installs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.posteriors.law import Law
from mdnjax.types import Array, Float, Key, PRNGKey

MAX_TEMPERATURES = 200
SHARE_OF_LONG_MOVES = 0.25
NOISE = 1e-4  # of the sd of the particles, added to each move, so that every place can be reached


class Effort(NamedTuple):
    """The number of particles, how many moves each makes at every temperature, and how near the temperatures are.

    From one temperature to the next, the effective number of particles falls to the share `target_ess`.
    """

    num_particles: int = 2000
    num_moves: int = 50
    target_ess: float = 0.8


class Tempered(NamedTuple):
    """Draws `[S, D]` of the numbers z of parameters, the log evidence, and numbers that show how well the particles moved.

    `exponent` is the last exponent of the likelihood, 1 unless it took too many temperatures. `acceptance` is the share of moves
    that were accepted in the end, and `ess` is the effective number of independent draws.
    """

    draws: Float[Array, "S D"]
    log_evidence: Float[Array, ""]
    num_temperatures: Array
    exponent: Float[Array, ""]
    acceptance: Float[Array, ""]
    ess: Float[Array, ""]


def draw_tempered(
    key: PRNGKey, log_likelihood: Callable[[Float[Array, " D"]], Float[Array, ""]], law: Law, num: int, effort: Effort
) -> Tempered:
    """Draws `num` parameters from the density proportional to p(theta) exp(log_likelihood(z)), as numbers z of the prior's law.

    Particles start from the prior. The exponent of the likelihood grows from 0 to 1, in steps by which the effective number of
    particles falls to a given share. At each exponent the particles are resampled and make Metropolis moves along differences of
    two random particles (ter Braak 2006). A quarter of the moves have full length and lead from one mode to another. At the end
    all particles are stored as often as needed, after as many moves each time.
    Source: Del Moral, Doucet & Jasra (2006), section 3, by blackjax.
    """

    def finite_log_likelihood(z: Array) -> Array:
        lowest = jnp.finfo(z.dtype).min / 4
        return jnp.nan_to_num(log_likelihood(z), nan=lowest, neginf=lowest)

    start_key, end_key, key = jax.random.split(key, 3)
    start = law.sample(start_key, (effort.num_particles,))
    state, log_evidence, num_temperatures = _raise_exponent(key, start, law, finite_log_likelihood, effort)
    shuffle_key, end_key = jax.random.split(end_key)
    # In order, neighbours have the same ancestors, so that the first few of them would not be a fair choice.
    population = jax.random.permutation(shuffle_key, _resampled(end_key, state, effort))
    keys = jax.random.split(jax.random.fold_in(key, MAX_TEMPERATURES), -(-num // effort.num_particles))
    stored, acceptance = _moved(keys, population, lambda z: law.log_prob(z) + finite_log_likelihood(z), effort.num_moves)
    draws = stored.reshape(-1, stored.shape[-1])[:num]
    ess = _effective_size(jnp.concatenate([population[None], stored])) * len(draws) / (len(stored) * effort.num_particles)
    return Tempered(draws, log_evidence, num_temperatures, state.tempering_param, acceptance, ess)


def _raise_exponent(
    key: PRNGKey, particles: Float[Array, "N D"], law: Law, log_likelihood: Callable[[Array], Array], effort: Effort
) -> tuple[Any, Float[Array, ""], Array]:
    """Raises the exponent from 0 to 1; returns the particles with their weights, the log evidence and the number of exponents."""
    random_walk, adaptive_tempered, resampling = import_blackjax()
    kernel = adaptive_tempered.build_kernel(
        law.log_prob, log_likelihood, _move, random_walk.init, resampling.systematic, effort.target_ess
    )

    def one_step(carry: Any) -> Any:
        state, log_evidence, step = carry
        step_key, population_key = jax.random.split(jax.random.fold_in(key, step))
        population = _resampled(population_key, state, effort)
        state, info = kernel(step_key, state, effort.num_moves, {"population": population[None]})
        return state, log_evidence + info.log_likelihood_increment, step + 1

    def goes_on(carry: Any) -> Array:
        return (carry[0].tempering_param < 1) & (carry[2] < MAX_TEMPERATURES)

    start = adaptive_tempered.init(particles)
    zero = jnp.zeros((), start.weights.dtype)
    return jax.lax.while_loop(goes_on, one_step, (start._replace(tempering_param=zero), zero, 0))


def _resampled(key: PRNGKey, state: Any, effort: Effort) -> Float[Array, "N D"]:
    """Returns particles of equal weight."""
    return state.particles[import_blackjax()[2].systematic(key, state.weights, effort.num_particles)]


def _move(key: PRNGKey, state: Any, log_density: Callable[[Array], Array], population: Float[Array, "N D"]) -> Any:
    """Moves a particle, by a Metropolis step along the difference of two random particles of the population."""
    num, num_parameters = population.shape
    # One call for all random numbers: on a CPU they take longer than the rest of a move.
    uniform_key, step_key = jax.random.split(key)
    uniform = jax.random.uniform(uniform_key, (4 + num_parameters,))
    first, second = population[(uniform[:2] * num).astype(int)]
    short = 2.38 / (2 * num_parameters) ** 0.5 * 0.05 ** uniform[3]
    length = jnp.where(uniform[2] < SHARE_OF_LONG_MOVES, 1.0, short)
    step = length * (first - second) + NOISE * jnp.std(population, axis=0) * (uniform[4:] - 0.5)
    walk = import_blackjax()[0].build_additive_step()
    return walk(step_key, state, log_density, lambda *_: step)


def _moved(
    keys: Key[Array, " T"], population: Float[Array, "N D"], log_density: Callable[[Array], Array], num_moves: int
) -> tuple[Float[Array, "T N D"], Float[Array, ""]]:
    """Returns the particles after each of T times `num_moves` moves, and the share of moves that were accepted."""

    def move_all(states: Any, key: PRNGKey) -> Any:
        particle_keys = jax.random.split(key, len(population))
        states, info = jax.vmap(lambda key, state: _move(key, state, log_density, population))(particle_keys, states)
        return states, jnp.mean(info.is_accepted)

    def store(states: Any, key: PRNGKey) -> Any:
        states, accepted = jax.lax.scan(move_all, states, jax.random.split(key, num_moves))
        return states, (states.position, jnp.mean(accepted))

    first = jax.vmap(lambda z: import_blackjax()[0].init(z, log_density))(population)
    _, (stored, accepted) = jax.lax.scan(store, first, keys)
    return stored, jnp.mean(accepted)


def import_blackjax() -> tuple[Any, Any, Any]:
    """Imports the parts of blackjax that are needed. Raises: ImportError, with the command that installs it."""
    try:
        from blackjax.mcmc import random_walk
        from blackjax.smc import adaptive_tempered, resampling
    except ImportError as error:
        raise ImportError(f"posteriors by a likelihood need blackjax: pip install -e '.[posterior]' ({error})") from error
    return random_walk, adaptive_tempered, resampling


def _effective_size(stored: Float[Array, "T N D"]) -> Float[Array, ""]:
    """Returns the effective number of independent draws among the particles after the first, for the worst parameter.

    If a particle is an autoregression with correlation r from one time to the next, T N numbers are worth T N (1 - r) / (1 + r)
    independent ones.
    """
    z = stored - jnp.mean(stored, axis=(0, 1))
    r = jnp.sum(z[1:] * z[:-1], axis=(0, 1)) / jnp.sqrt(jnp.sum(z[1:] ** 2, axis=(0, 1)) * jnp.sum(z[:-1] ** 2, axis=(0, 1)))
    r = jnp.clip(jnp.max(jnp.where(jnp.isnan(r), 1, r)), 0, 1)
    return (len(stored) - 1) * stored.shape[1] * (1 - r) / (1 + r)
