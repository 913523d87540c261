"""A trained network that draws: in the units of the drawings, from nothing or from given beginnings, saved as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from pydantic import ValidationError

from experiments.pen_strokes import pen
from experiments.pen_strokes.schema import PenModel
from mdnjax import checkpoint
from mdnjax.types import Params, PRNGKey


class Drawer(NamedTuple):
    """A network, and the unit of offsets (their sd in training) that it sees them in."""

    model: PenModel
    params: Params
    unit: float

    @property
    def units(self) -> np.ndarray:
        """Of dx, dy and the lifted pen."""
        return np.array([self.unit, self.unit, 1], np.float32)


def draw(drawer: Drawer, key: PRNGKey, num: int, *, num_steps: int, temperature: float = 1.0) -> list[np.ndarray]:
    """So many drawings `[points, 3]` from nothing, of at most so many points."""
    memories = pen.make_network(drawer.model).start((num,))
    return _drawn(drawer, key, memories, np.tile(pen.START, (num, 1)), num_steps, temperature)


def draw_on(drawer: Drawer, key: PRNGKey, begun: np.ndarray, *, num_steps: int, temperature: float = 1.0) -> list[np.ndarray]:
    """What follows beginnings `[S, L, 3]`, of at most so many points each."""
    seen = begun.astype(np.float32) / drawer.units
    return _drawn(drawer, key, pen.remember(drawer.model, drawer.params, seen), seen[:, -1], num_steps, temperature)


def save(path: Path, drawer: Drawer) -> None:
    """Writes it to one safetensors file, with its settings."""
    tree = {"params": drawer.params, "unit": np.float32(drawer.unit)}
    dtype = str(jax.tree.leaves(drawer.params)[0].dtype)
    checkpoint.save(path, tree, {"pen": drawer.model.model_dump_json(), "dtype": dtype})


def load(path: str | Path) -> Drawer:
    """A saved drawer.

    Raises: CheckpointError (a ValueError) if the file is missing, damaged, or no drawer's.
    """
    try:
        metadata = checkpoint.read_metadata(Path(path))
        model, dtype = PenModel.model_validate_json(metadata["pen"]), np.dtype(metadata["dtype"])
    except (KeyError, TypeError, ValidationError):
        raise checkpoint.CheckpointError(f"{path}: got no network of pen strokes") from None
    shapes = jax.eval_shape(pen.make_network(model).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), shapes)
    tree: Any = checkpoint.load(Path(path), {"params": params, "unit": np.float32(0)})
    return Drawer(model, tree["params"], float(tree["unit"]))


def _drawn(
    drawer: Drawer, key: PRNGKey, memories: pen.Memory, points: np.ndarray, num_steps: int, temperature: float
) -> list[np.ndarray]:
    keys = jax.random.split(key, len(points))
    found = pen.draw(keys, drawer.model, drawer.params, memories, points, temperature, num_steps=num_steps)
    return [one[alive] * drawer.units for one, alive in zip(*map(np.asarray, found), strict=True)]
