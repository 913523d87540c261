"""Where the members of a population are computed: on which devices, how many at a time, and in how many threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from mdnjax.runtime import num_cores

T = TypeVar("T")
MEMBER_AXIS = PartitionSpec("members")


class Placement(NamedTuple):
    """Where members are computed: they are split over devices, and each device computes `width` at a time with vmap (None: all).

    With a width of 1, the exact results of a member depend only on its own inputs; on a CPU this is as fast. Each of
    `num_threads` threads trains a part of the members, so that a process with one device of many cores uses all cores.
    """

    devices: tuple[Any, ...]
    width: int | None
    num_threads: int = 1


def local_placement() -> Placement:
    """Returns a placement on all devices of this process: one member at a time on CPUs, all together on other devices."""
    devices = tuple(jax.local_devices())
    if devices[0].platform != "cpu":
        return Placement(devices, width=None)
    return Placement(devices, width=1, num_threads=num_cores() if len(devices) == 1 else 1)


def place(placement: Placement, members: Sequence[T], capacity: int) -> T:
    """Stacks trees of the same structure along a new first axis, repeats the last one up to the capacity, and places the result.

    Args: `capacity`, at least the number of members, is rounded up to a multiple of the devices. Populations of the same capacity
    share a compiled program.
    """
    return place_stacked(placement, jax.tree.map(_stack, *members), capacity)


def place_stacked(placement: Placement, stacked: T, capacity: int) -> T:
    """Does the same as `place` for members that are stacked already."""
    capacity = _rounded_up(placement, capacity)
    stacked = jax.tree.map(lambda leaf: _pad_members(leaf, capacity), stacked)
    return jax.device_put(stacked, sharding_of(placement))


def placed_like(placement: Placement, member: Any, capacity: int) -> Any:
    """Returns the shapes, dtypes and sharding of what `place` returns for members like this one, for compiling a program."""
    shape, sharding = (_rounded_up(placement, capacity),), sharding_of(placement)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*shape, *leaf.shape), leaf.dtype, sharding=sharding), member)


def map_members(placement: Placement, function: Callable[..., Any]) -> Callable[..., Any]:
    """Turns a function of one member into a function of a population with this placement, without communication of devices."""

    def on_one_device(*arguments: Any) -> Any:
        if placement.width is None:
            return jax.vmap(function)(*arguments)
        batch_size = placement.width if placement.width > 1 else None
        return jax.lax.map(lambda member: function(*member), arguments, batch_size=batch_size)

    if len(placement.devices) == 1:
        return on_one_device
    # check_vma has no rule for some primitives, such as while loops; members are independent, so that there is nothing to check.
    return jax.shard_map(on_one_device, mesh=_mesh(placement), in_specs=MEMBER_AXIS, out_specs=MEMBER_AXIS, check_vma=False)


def sharding_of(placement: Placement) -> Any:
    """Returns the sharding of arrays whose first axis is that of the members."""
    if len(placement.devices) == 1:
        return SingleDeviceSharding(placement.devices[0])
    return NamedSharding(_mesh(placement), MEMBER_AXIS)


def _stack(*leaves: Any) -> Any:
    """Stacks on the host: on a device, stacking a thousand arrays would compile a program with a thousand arguments."""
    if jnp.issubdtype(jnp.asarray(leaves[0]).dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(np.stack([np.asarray(jax.random.key_data(key)) for key in leaves])))
    return np.stack(leaves)


def _rounded_up(placement: Placement, capacity: int) -> int:
    """Returns the smallest multiple of the number of devices that is at least the capacity."""
    return -(-capacity // len(placement.devices)) * len(placement.devices)


def _pad_members(leaf: Any, capacity: int) -> Any:
    """Repeats the last member up to the capacity."""
    missing = capacity - leaf.shape[0]
    if not missing:
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(_pad_members(np.asarray(jax.random.key_data(leaf)), capacity)))
    return np.concatenate([leaf, np.repeat(leaf[-1:], missing, axis=0)])


def _mesh(placement: Placement) -> Mesh:
    return Mesh(np.array(placement.devices), ("members",))
