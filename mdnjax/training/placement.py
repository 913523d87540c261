"""Where the members of a population are computed: on which devices, how many at a time, in how many threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from mdnjax.runtime import num_cores

T = TypeVar("T")
MEMBERS = PartitionSpec("members")


class Placement(NamedTuple):
    """Where members are computed: split over devices, and on each of them `width` at a time side by side (vmap); None is all.

    One at a time, a member's bits depend on nothing but its own inputs, and on a CPU nothing is lost by it. With `num_threads`
    that many threads train a part of the members each: so a process whose one device has many cores makes use of them.
    """

    devices: tuple[Any, ...]
    width: int | None
    num_threads: int = 1


def local_placement() -> Placement:
    """All devices of this process; members side by side where that is faster, which is on anything but a CPU."""
    devices = tuple(jax.local_devices())
    if devices[0].platform != "cpu":
        return Placement(devices, width=None)
    return Placement(devices, width=1, num_threads=num_cores() if len(devices) == 1 else 1)


def place(placement: Placement, members: Sequence[T], capacity: int) -> T:
    """Stacks equal trees, members first, on the devices of a layout; the last one is repeated up to a multiple of the devices.

    Args: `capacity`, at least the number of members, is rounded up; one capacity means one compiled program.
    """
    return put(placement, jax.tree.map(_stack, *members), capacity)


def put(placement: Placement, stacked: T, capacity: int) -> T:
    """`place` for members that are stacked already."""
    capacity = -(-capacity // len(placement.devices)) * len(placement.devices)
    stacked = jax.tree.map(lambda leaf: _padded(leaf, capacity), stacked)
    if len(placement.devices) == 1:
        return jax.device_put(stacked, placement.devices[0])
    return jax.device_put(stacked, NamedSharding(_mesh(placement), MEMBERS))


def spread(placement: Placement, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one member as a function of a population placed by this layout; no device waits for another inside."""

    def on_one_device(*arguments: Any) -> Any:
        if placement.width is None:
            return jax.vmap(function)(*arguments)
        batch_size = placement.width if placement.width > 1 else None
        return jax.lax.map(lambda member: function(*member), arguments, batch_size=batch_size)

    if len(placement.devices) == 1:
        return on_one_device
    # Not checked: the check knows no rule for every primitive (while loops among them), and members are independent anyway.
    return jax.shard_map(on_one_device, mesh=_mesh(placement), in_specs=MEMBERS, out_specs=MEMBERS, check_vma=False)


def sharding_of(placement: Placement) -> Any:
    """How a layout's devices share what has the members first."""
    return SingleDeviceSharding(placement.devices[0]) if len(placement.devices) == 1 else NamedSharding(_mesh(placement), MEMBERS)


def _stack(*leaves: Any) -> Any:
    """One array, on the host: a stack of a thousand device arrays would be a program of a thousand arguments."""
    if jnp.issubdtype(jnp.asarray(leaves[0]).dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(np.stack([np.asarray(jax.random.key_data(key)) for key in leaves])))
    return np.stack(leaves)


def _padded(leaf: Any, capacity: int) -> Any:
    missing = capacity - leaf.shape[0]
    if not missing:
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(_padded(np.asarray(jax.random.key_data(leaf)), capacity)))
    return np.concatenate([leaf, np.repeat(leaf[-1:], missing, axis=0)])


def _mesh(placement: Placement) -> Mesh:
    return Mesh(np.array(placement.devices), ("members",))
