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


class Layout(NamedTuple):
    """Where members are computed: split over devices, and on each of them `width` at a time side by side (vmap); None is all.

    One at a time, a member's bits depend on nothing but its own inputs, and on a CPU nothing is lost by it. With `num_threads`
    that many threads train a part of the members each: so a process whose one device has many cores makes use of them.
    """

    devices: tuple[Any, ...]
    width: int | None
    num_threads: int = 1


def local_layout() -> Layout:
    """All devices of this process; members side by side where that is faster, which is on anything but a CPU."""
    devices = tuple(jax.local_devices())
    if devices[0].platform != "cpu":
        return Layout(devices, width=None)
    return Layout(devices, width=1, num_threads=num_cores() if len(devices) == 1 else 1)


def place(layout: Layout, members: Sequence[T], capacity: int) -> T:
    """Stacks equal trees, members first, on the devices of a layout; the last one is repeated up to a multiple of the devices.

    Args: `capacity`, at least the number of members, is rounded up; one capacity means one compiled program.
    """
    return put(layout, jax.tree.map(_stack, *members), capacity)


def put(layout: Layout, stacked: T, capacity: int) -> T:
    """`place` for members that are stacked already."""
    capacity = -(-capacity // len(layout.devices)) * len(layout.devices)
    stacked = jax.tree.map(lambda leaf: _padded(leaf, capacity), stacked)
    if len(layout.devices) == 1:
        return jax.device_put(stacked, layout.devices[0])
    return jax.device_put(stacked, NamedSharding(_mesh(layout), MEMBERS))


def spread(layout: Layout, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one member as a function of a population placed by this layout; no device waits for another inside."""

    def on_one_device(*arguments: Any) -> Any:
        if layout.width is None:
            return jax.vmap(function)(*arguments)
        batch_size = layout.width if layout.width > 1 else None
        return jax.lax.map(lambda member: function(*member), arguments, batch_size=batch_size)

    if len(layout.devices) == 1:
        return on_one_device
    # Not checked: the check knows no rule for every primitive (while loops among them), and members are independent anyway.
    return jax.shard_map(on_one_device, mesh=_mesh(layout), in_specs=MEMBERS, out_specs=MEMBERS, check_vma=False)


def sharding_of(layout: Layout) -> Any:
    """How a layout's devices share what has the members first."""
    return SingleDeviceSharding(layout.devices[0]) if len(layout.devices) == 1 else NamedSharding(_mesh(layout), MEMBERS)


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


def _mesh(layout: Layout) -> Mesh:
    return Mesh(np.array(layout.devices), ("members",))
