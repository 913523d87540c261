"""The flight of a ball with drag and wind, solved by diffrax, and its landing; angles in degrees, lengths in metres.

With position p, velocity v and wind w: p' = v, v' = -DRAG |v - w| (v - w) - (0, GRAVITY), with the drag of a baseball.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.command import import_extra

GRAVITY, DRAG = 9.81, 0.006  # m/s^2, 1/m
MIN_ANGLE, MAX_ANGLE = 0.0, 90.0  # degrees
NUM_STEPS = 12  # of a fifth-order solver in a flight; landings are exact to two millimetres
NUM_BISECTIONS = 24
NUM_REFINEMENTS, MAX_REFINEMENT = 3, 2.0  # Newton steps, and the largest of them in degrees
NUM_PATH_POINTS = 100
BLOCK_SIZE = 512  # flights that one compiled program computes

Array = jax.Array


@jax.custom_jvp
def landing(angle: Array, speed: Array, wind: Array) -> Array:
    """Returns where balls land, in metres, for broadcastable arrays; differentiable with respect to the angle only.

    The derivative is propagated forward through the solver and the time of landing. With one input and one output this costs as
    much as the flight itself, where a backward pass costs several times that.
    """
    return _map_flights(_landing, angle, speed, wind)


@landing.defjvp
def _landing_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    place, slope = _map_flights(_landing_and_slope, *primals)
    return place, slope * tangents[0]


def landings(angle: np.ndarray, speed: np.ndarray, wind: np.ndarray) -> np.ndarray:
    """Returns the landings of broadcastable numpy arrays as a numpy array."""
    arrays = np.broadcast_arrays(angle, speed, wind)
    return _in_blocks(_landings, *map(np.ravel, arrays)).reshape(arrays[0].shape)


def path(angle: float, speed: float, wind: float) -> np.ndarray:
    """Returns positions `[NUM_PATH_POINTS, 2]` at equal time steps from the launch to the landing."""
    return np.asarray(_path(*(jnp.asarray(value, jnp.result_type(float)) for value in (angle, speed, wind))))


class Farthest(NamedTuple):
    """The distance of the farthest landing, and the launch angle that reaches it."""

    distance: np.ndarray
    angle: np.ndarray


def farthest(speed: np.ndarray, wind: np.ndarray) -> Farthest:
    """Returns the farthest landing for speeds and winds `[N]`: the derivative by the angle is 0 there, found by bisection."""
    angle = _in_blocks(_farthest_angle, speed, wind)
    return Farthest(landings(angle, speed, wind), angle)


def solutions(speed: np.ndarray, distance: np.ndarray, wind: np.ndarray, limit: Farthest) -> np.ndarray:
    """Returns the low and the high angle `[N, 2]` that hit, below and above that of `limit`; NaN where there is none."""
    angles = _in_blocks(_solutions, speed, distance, wind, limit.angle)
    straight_up = landings(np.full_like(speed, MAX_ANGLE), speed, wind)  # with wind from behind, no high angle lands nearer
    reached = distance <= limit.distance
    return np.where(np.stack([reached, reached & (straight_up <= distance)], axis=1), angles, np.nan)


def refined(angle: np.ndarray, speed: np.ndarray, distance: np.ndarray, wind: np.ndarray) -> np.ndarray:
    """Returns the angles after Newton steps towards landing at the distance, for broadcastable arrays.

    The slope of the landing is that of the solver. A step that would land farther from the distance is not taken.
    """
    arrays = np.broadcast_arrays(angle, speed, distance, wind)
    return _in_blocks(_refined, *map(np.ravel, arrays)).reshape(arrays[0].shape)


def _in_blocks(function: Any, *arrays: np.ndarray) -> Any:
    """Applies a function of arrays `[N]` to blocks of one size, so that it is compiled once; repeated rows fill the last one."""
    num = len(arrays[0])
    filled = [np.resize(values, -(-num // BLOCK_SIZE) * BLOCK_SIZE) for values in arrays]
    starts = range(0, len(filled[0]), BLOCK_SIZE)
    return np.concatenate([function(*(values[start : start + BLOCK_SIZE] for values in filled)) for start in starts])[:num]


_landings = jax.jit(lambda angle, speed, wind: landing(angle, speed, wind))


@jax.jit
def _farthest_angle(speed: Array, wind: Array) -> Array:
    def below_the_best(angle: Array) -> Array:
        return _map_flights(_landing_and_slope, angle, speed, wind)[1] > 0

    return _bisect(below_the_best, jnp.full_like(speed, MIN_ANGLE + 1), jnp.full_like(speed, MAX_ANGLE - 1))


@jax.jit
def _solutions(speed: Array, distance: Array, wind: Array, middle: Array) -> Array:
    def below_the_solution(angles: Array) -> Array:  # the distance increases up to the middle angle, then it decreases
        too_near = _map_flights(_landing, angles, speed, wind) < distance
        return jnp.stack([too_near[0], ~too_near[1]])

    low, high = jnp.full_like(middle, MIN_ANGLE), jnp.full_like(middle, MAX_ANGLE)
    return _bisect(below_the_solution, jnp.stack([low, middle]), jnp.stack([middle, high])).T


@jax.jit
def _refined(angle: Array, speed: Array, distance: Array, wind: Array) -> Array:
    def step(_: Any, angle: Array) -> Array:
        place, slope = _map_flights(_landing_and_slope, angle, speed, wind)
        change = jnp.where(slope == 0, 0.0, (distance - place) / jnp.where(slope == 0, 1.0, slope))
        new = jnp.clip(angle + jnp.clip(change, -MAX_REFINEMENT, MAX_REFINEMENT), MIN_ANGLE, MAX_ANGLE)
        nearer = jnp.abs(_map_flights(_landing, new, speed, wind) - distance) < jnp.abs(place - distance)
        return jnp.where(nearer, new, angle)

    return jax.lax.fori_loop(0, NUM_REFINEMENTS, step, angle)


@jax.jit
def _path(angle: Array, speed: Array, wind: Array) -> Array:
    solved = _fly(angle, speed, wind, dense=True)
    return jax.vmap(solved.evaluate)(jnp.linspace(0.0, solved.ts[-1], NUM_PATH_POINTS))[:, :2]


def _map_flights(function: Any, *arrays: Array) -> Any:
    """Applies a function of one flight to broadcastable arrays of flights."""
    shape = jnp.broadcast_shapes(*(jnp.shape(array) for array in arrays))
    out = jax.vmap(function)(*(jnp.broadcast_to(array, shape).ravel() for array in arrays))
    return jax.tree.map(lambda leaf: leaf.reshape(shape), out)


def _landing(angle: Array, speed: Array, wind: Array) -> Array:
    return _fly(angle, speed, wind).ys[-1, 0]


def _landing_and_slope(angle: Array, speed: Array, wind: Array) -> tuple[Array, Array]:
    return jax.jvp(lambda angle: _landing(angle, speed, wind), (angle,), (jnp.ones_like(angle),))


def _fly(angle: Array, speed: Array, wind: Array, dense: bool = False) -> Any:
    """Solves a flight until the height falls to 0; the unit of time is its duration without drag, which drag only shortens."""
    diffrax, optimistix = import_extra("diffrax", "ode"), import_extra("optimistix", "ode")
    angle = jnp.clip(angle, 1e-3, MAX_ANGLE)  # at 0 degrees the duration is 0, and 0 / 0 would follow
    radians = jnp.deg2rad(angle)
    across, up = speed * jnp.cos(radians), speed * jnp.sin(radians)
    time = 2 * up / GRAVITY
    start = jnp.stack([jnp.zeros_like(angle), jnp.zeros_like(angle), across, up])
    tolerance = 1e-3 * jnp.finfo(angle.dtype).eps ** 0.5
    landing_event = diffrax.Event(_height, optimistix.Newton(tolerance, tolerance), direction=False)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(_motion),
        diffrax.Tsit5(),
        t0=0.0,
        t1=1.0 + 2 / NUM_STEPS,
        dt0=1 / NUM_STEPS,
        y0=start,
        args=(wind, time),
        saveat=diffrax.SaveAt(t1=True, dense=dense),
        event=landing_event,
        adjoint=diffrax.ForwardMode(),
        max_steps=NUM_STEPS + 3,
        throw=False,
    )


def _motion(_: Array, state: Array, args: tuple[Array, Array]) -> Array:
    wind, time = args
    velocity = state[2:]
    relative = velocity - jnp.stack([wind, jnp.zeros_like(wind)])
    drag = DRAG * jnp.sqrt(jnp.sum(relative**2) + 1e-12)  # the root has no derivative at 0
    return time * jnp.concatenate([velocity, -drag * relative - jnp.array([0.0, GRAVITY])])


def _height(t: Any, y: Array, args: Any, **_: Any) -> Array:
    return y[1]


def _bisect(condition: Any, low: Array, high: Array) -> Array:
    """Returns the angle between `low` and `high` up to which a condition holds; it must not hold beyond that angle."""

    def body(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        holds = condition(middle)
        return jnp.where(holds, middle, low), jnp.where(holds, high, middle)

    return jax.lax.fori_loop(0, NUM_BISECTIONS, body, (low, high))[0]
