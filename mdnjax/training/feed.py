"""Minibatches of rows that do not fit in memory: a thread reads those of the next steps while the present steps run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.data import stored
from mdnjax.data.stored import StoredRows
from mdnjax.training.functions import TRAIN, TrainingInputs, Window, batch_of
from mdnjax.training.minibatches import minibatch_indices
from mdnjax.training.part_file import PREFIX, PartFile
from mdnjax.training.placement import Placement, place_stacked, sharding_of
from mdnjax.training.racing import Race
from mdnjax.training.steps import Batch
from mdnjax.types import Array, Bool, Int


class OnDisk(NamedTuple):
    """Rows that are not in memory, the turn of each training's validation rows, and the number of rows of a minibatch.

    `name` is another one for other trainings, and is a part of the names of the files from which interrupted trainings continue.
    """

    stored: StoredRows
    turns: Sequence[int]
    size: int
    name: str


class Feed:
    """The minibatches of some trainings, the same as `minibatch` draws from all of their training rows in memory.

    Args: `members` are the inputs of the trainings, `turns` the turns of their validation rows, `size` is the number of rows of a
    minibatch and `num_steps` that of the steps between two reports. Trainings beyond them, up to `capacity`, are padding.
    """

    def __init__(
        self,
        stored: StoredRows,
        members: Sequence[TrainingInputs],
        turns: Sequence[int],
        placement: Placement,
        *,
        size: int,
        num_steps: int,
        capacity: int,
    ) -> None:
        self.stored, self.turns, self.placement, self.capacity = stored, turns, placement, capacity
        self.size, self.num_steps = min(size, stored.num_train), num_steps
        self.keys = jnp.stack([run.key for run in members])
        self._thread, self._next = ThreadPoolExecutor(1, "reading rows"), dict[int, Future[Batch]]()

    def inputs_at(
        self, inputs: TrainingInputs, step: int, running: Bool[np.ndarray, " C"], is_last: bool = False
    ) -> TrainingInputs:
        """Returns the inputs of the population with the minibatches of the steps from `step` on, and starts to read the next.

        The minibatches of trainings that are not `running` are zeros.
        """
        members, current = np.flatnonzero(running).tolist(), self._next.pop(step, None)
        train = self._placed(members, step) if current is None else current.result()
        if not is_last:
            x64 = jax.config.read("jax_enable_x64")  # of this thread; a new thread starts with the default of the process
            self._next[step + self.num_steps] = self._thread.submit(self._placed_with, x64, members, step + self.num_steps)
        return inputs._replace(train=train, window=self._window(inputs, step))

    def inputs_of_one(self, inputs: TrainingInputs, index: int, step: int, num_steps: int) -> TrainingInputs:
        """Returns the inputs of the training at `index`, with its minibatches of `num_steps` steps."""
        train = jax.tree.map(lambda leaf: leaf[0], self._batches([index], step, num_steps))
        assert inputs.window is not None
        return inputs._replace(train=train, window=inputs.window._replace(first=jnp.asarray(step, jnp.int32)))

    def shapes(self, inputs: TrainingInputs) -> TrainingInputs:
        """Returns the inputs of the population with the shapes of minibatches, for compiling a program."""
        sharding = sharding_of(self.placement)

        def minibatches(leaf: Array) -> jax.ShapeDtypeStruct:
            shape = (leaf.shape[0], self.num_steps, *leaf.shape[1:-1], self.size)
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)

        return inputs._replace(train=jax.tree.map(minibatches, inputs.train))

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _window(self, inputs: TrainingInputs, step: int) -> Window:
        assert inputs.window is not None
        first = np.full(inputs.window.first.shape, step, np.int32)
        return inputs.window._replace(first=jax.device_put(first, sharding_of(self.placement)))

    def _placed_with(self, x64: bool, members: Sequence[int], step: int) -> Batch:
        with jax.enable_x64(x64):
            return self._placed(members, step)

    def _placed(self, members: Sequence[int], step: int) -> Batch:
        def of_all(leaf: np.ndarray) -> np.ndarray:
            whole = np.zeros((len(self.turns), *leaf.shape[1:]), leaf.dtype)
            whole[members] = leaf
            return whole

        return place_stacked(self.placement, jax.tree.map(of_all, self._batches(members, step, self.num_steps)), self.capacity)

    def _batches(self, members: Sequence[int], step: int, num_steps: int) -> Batch:
        """Returns the minibatches of some members as host arrays `[members, steps, columns, rows]`."""
        if self.size == self.stored.num_train:
            places = np.broadcast_to(np.arange(self.size), (len(self.turns), num_steps, self.size))
        else:
            places = np.asarray(_places(self.size, self.stored.num_train, num_steps, self.keys, step))
        positions = [self.stored.train_positions(self.turns[i], places[i].ravel()) for i in members]
        batch = batch_of(self.stored.dataset(np.concatenate(positions)))
        return jax.tree.map(lambda leaf: _by_step(leaf, (len(members), num_steps, self.size)), batch)


def feed_of(
    on_disk: OnDisk, part: Sequence[int], members: Sequence[TrainingInputs], placement: Placement, num_steps: int, capacity: int
) -> Feed:
    """Returns the minibatches of a part of the members."""
    turns = [on_disk.turns[i] for i in part]
    options: Any = {"size": on_disk.size, "num_steps": num_steps, "capacity": capacity}
    return Feed(on_disk.stored, [members[i] for i in part], turns, placement, **options)


def part_file_of(on_disk: OnDisk, part: Sequence[int], race: Race | None) -> PartFile:
    """Returns the file in which a part of the members is stored."""
    path = on_disk.stored.path.with_name(f"{PREFIX}{on_disk.name}-{'.'.join(map(str, part[:2]))}.safetensors")
    if race is None:
        return PartFile(path)
    return PartFile(path, functools.partial(race.known, part), functools.partial(race.restore, part))


def remove_files(folder: Path) -> None:
    """Removes the files of rows and of trainings in the folder of a `RowSource`, and the folder if nothing else is in it."""
    for path in [*folder.glob(f"*{stored.PREFIX}*"), *folder.glob(f"*{PREFIX}*")]:
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def remove_other_trainings(on_disk: OnDisk) -> None:
    """Removes the files of other trainings than these."""
    for path in on_disk.stored.path.parent.glob(f"*{PREFIX}*"):
        if not path.name.startswith(f"{PREFIX}{on_disk.name}-"):
            path.unlink()


def _by_step(leaf: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Turns `[..., members * steps * rows]` into `[members, steps, ..., rows]`."""
    split = leaf.reshape(*leaf.shape[:-1], *shape)
    return np.ascontiguousarray(np.moveaxis(split, (-3, -2), (0, 1)))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _places(size: int, num_train: int, num_steps: int, keys: Any, step: Int[Array, ""]) -> Int[Array, "M steps size"]:
    """Returns the places among all training rows of those that the steps of each training use."""

    def of_step(key: Any, step: Array) -> Array:
        return minibatch_indices(size, jax.random.fold_in(key, TRAIN), step, num_train, num_train // size)

    steps = step + jnp.arange(num_steps)
    return jax.vmap(lambda key: jax.vmap(functools.partial(of_step, key))(steps))(keys)
