"""The flight of a ball with drag and wind, solved by diffrax, and where it lands; in degrees, metres and seconds.

With position p, velocity v and wind w: p' = v, v' = -DRAG |v - w| (v - w) - (0, GRAVITY), the drag of a baseball.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reading.files import need

GRAVITY, DRAG = 9.81, 0.006  # m/s^2, 1/m
LOWEST, HIGHEST = 0.0, 90.0  # degrees: a ball is not thrown backwards
NUM_STEPS = 12  # of a fifth-order solver in a flight: landings are right to two millimetres
NUM_HALVINGS = 24
NUM_PLACES = 100  # of a path
BLOCK = 512  # flights of a program

Array = jax.Array


@jax.custom_jvp
def landing(angle: Array, speed: Array, wind: Array) -> Array:
    """Where balls land, in metres, for angles, speeds and winds of one shape; differentiable by the angle alone.

    The derivative is carried forward through the solver and the moment of landing: one number in, one out, it costs as much as
    the flight again, where a backward pass takes several times that.
    """
    return _each(_landing, angle, speed, wind)


@landing.defjvp
def _landing_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    place, slope = _each(_landing_and_slope, *primals)
    return place, slope * tangents[0]


def landings(angle: np.ndarray, speed: np.ndarray, wind: np.ndarray) -> np.ndarray:
    """The same for arrays of any one shape, as numpy arrays."""
    flat = (np.ravel(values) for values in (angle, speed, wind))
    return _in_blocks(_landings, *flat).reshape(angle.shape)


def path(angle: float, speed: float, wind: float) -> np.ndarray:
    """Places `[NUM_PLACES, 2]` at equal times from the launch to the landing."""
    return np.asarray(_path(*(jnp.asarray(value, jnp.result_type(float)) for value in (angle, speed, wind))))


class Farthest(NamedTuple):
    """The farthest landing, and its angle."""

    distance: np.ndarray
    angle: np.ndarray


def farthest(speed: np.ndarray, wind: np.ndarray) -> Farthest:
    """How far one can get `[N]`: where the landing no longer moves with the angle, by bisection."""
    angle = _in_blocks(_farthest_angle, speed, wind)
    return Farthest(landings(angle, speed, wind), angle)


def solutions(speed: np.ndarray, distance: np.ndarray, wind: np.ndarray, most: Farthest) -> np.ndarray:
    """The low and the high angle `[N, 2]` that hit, on either side of the farthest, by bisection; NaN where there is none."""
    angles = _in_blocks(_solutions, speed, distance, wind, most.angle)
    straight_up = landings(np.full_like(speed, HIGHEST), speed, wind)  # with the wind behind, a ball never lands nearer
    reached = distance <= most.distance
    return np.where(np.stack([reached, reached & (straight_up <= distance)], axis=1), angles, np.nan)


def _in_blocks(function: Any, *arrays: np.ndarray) -> Any:
    """A function of arrays `[N]` in blocks of one size: one program. Flights from the start again fill up the last block."""
    num = len(arrays[0])
    whole = [np.resize(values, -(-num // BLOCK) * BLOCK) for values in arrays]
    found = [function(*(values[start : start + BLOCK] for values in whole)) for start in range(0, len(whole[0]), BLOCK)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:num], *found)


_landings = jax.jit(lambda angle, speed, wind: landing(angle, speed, wind))


@jax.jit
def _farthest_angle(speed: Array, wind: Array) -> Array:
    def rises(angle: Array) -> Array:
        return _each(_landing_and_slope, angle, speed, wind)[1] > 0

    return _bisect(rises, jnp.full_like(speed, LOWEST + 1), jnp.full_like(speed, HIGHEST - 1))


@jax.jit
def _solutions(speed: Array, distance: Array, wind: Array, middle: Array) -> Array:
    def goes_on(angles: Array) -> Array:  # up to the middle landings go out, beyond it they come back
        short = _each(_landing, angles, speed, wind) < distance
        return jnp.stack([short[0], ~short[1]])

    low, high = jnp.full_like(middle, LOWEST), jnp.full_like(middle, HIGHEST)
    return _bisect(goes_on, jnp.stack([low, middle]), jnp.stack([middle, high])).T


@jax.jit
def _path(angle: Array, speed: Array, wind: Array) -> Array:
    solved = _fly(angle, speed, wind, dense=True)
    return jax.vmap(solved.evaluate)(jnp.linspace(0.0, solved.ts[-1], NUM_PLACES))[:, :2]


def _each(function: Any, *arrays: Array) -> Any:
    """A function of one flight for arrays of flights."""
    shape = jnp.broadcast_shapes(*(jnp.shape(array) for array in arrays))
    out = jax.vmap(function)(*(jnp.broadcast_to(array, shape).ravel() for array in arrays))
    return jax.tree.map(lambda leaf: leaf.reshape(shape), out)


def _landing(angle: Array, speed: Array, wind: Array) -> Array:
    return _fly(angle, speed, wind).ys[-1, 0]


def _landing_and_slope(angle: Array, speed: Array, wind: Array) -> tuple[Array, Array]:
    return jax.jvp(lambda angle: _landing(angle, speed, wind), (angle,), (jnp.ones_like(angle),))


def _fly(angle: Array, speed: Array, wind: Array, dense: bool = False) -> Any:
    """A flight in units of its time without air, which drag only shortens; it ends where the height falls through 0."""
    diffrax, optimistix = need("diffrax", "ode"), need("optimistix", "ode")
    angle = jnp.clip(angle, 1e-3, HIGHEST)  # at 0 there is no flight, and 0 / 0
    radians = jnp.deg2rad(angle)
    across, up = speed * jnp.cos(radians), speed * jnp.sin(radians)
    time = 2 * up / GRAVITY
    start = jnp.stack([jnp.zeros_like(angle), jnp.zeros_like(angle), across, up])
    tolerance = 1e-3 * jnp.finfo(angle.dtype).eps ** 0.5
    landed = diffrax.Event(_height, optimistix.Newton(tolerance, tolerance), direction=False)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(_motion),
        diffrax.Tsit5(),
        t0=0.0,
        t1=1.0 + 2 / NUM_STEPS,
        dt0=1 / NUM_STEPS,
        y0=start,
        args=(wind, time),
        saveat=diffrax.SaveAt(t1=True, dense=dense),
        event=landed,
        adjoint=diffrax.ForwardMode(),
        max_steps=NUM_STEPS + 3,
        throw=False,
    )


def _motion(_: Array, state: Array, args: tuple[Array, Array]) -> Array:
    wind, time = args
    velocity = state[2:]
    relative = velocity - jnp.stack([wind, jnp.zeros_like(wind)])
    drag = DRAG * jnp.sqrt(jnp.sum(relative**2) + 1e-12)  # the root has no slope at 0
    return time * jnp.concatenate([velocity, -drag * relative - jnp.array([0.0, GRAVITY])])


def _height(t: Any, y: Array, args: Any, **_: Any) -> Array:
    return y[1]


def _bisect(goes_on: Any, low: Array, high: Array) -> Array:
    """The last angle from `low` towards `high` at which something still holds."""

    def body(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        on = goes_on(middle)
        return jnp.where(on, middle, low), jnp.where(on, high, middle)

    return jax.lax.fori_loop(0, NUM_HALVINGS, body, (low, high))[0]
