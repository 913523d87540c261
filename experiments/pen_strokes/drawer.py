"""A trained network that samples whole drawings or continues given ones, in the units of the data; saved as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from pydantic import ValidationError

from experiments.pen_strokes import network
from experiments.pen_strokes.schema import PenModel
from mdnjax import checkpoint
from mdnjax.types import Params, PRNGKey


class Drawer(NamedTuple):
    """A trained network, and the unit of its offsets: their sd in the training data."""

    model: PenModel
    params: Params
    unit: float

    @property
    def units(self) -> np.ndarray:
        """Returns the units of dx, dy and the lifted pen."""
        return np.array([self.unit, self.unit, 1], np.float32)


def draw(drawer: Drawer, key: PRNGKey, num: int, *, num_steps: int, temperature: float = 1.0) -> list[np.ndarray]:
    """Samples `num` drawings `[points, 3]` of at most `num_steps` points."""
    memories = network.make_network(drawer.model).start((num,))
    return _draw(drawer, key, memories, np.tile(network.START, (num, 1)), num_steps, temperature)


def continue_drawings(
    drawer: Drawer, key: PRNGKey, begun: np.ndarray, *, num_steps: int, temperature: float = 1.0
) -> list[np.ndarray]:
    """Samples continuations of the beginnings `[S, L, 3]`, of at most `num_steps` further points each."""
    points = begun.astype(np.float32) / drawer.units
    memories = network.memory_after(drawer.model, drawer.params, points)
    return _draw(drawer, key, memories, points[:, -1], num_steps, temperature)


def save(path: Path, drawer: Drawer) -> None:
    """Writes a drawer and its settings to one safetensors file."""
    tree = {"params": drawer.params, "unit": np.float32(drawer.unit)}
    dtype = str(jax.tree.leaves(drawer.params)[0].dtype)
    checkpoint.save(path, tree, {"pen": drawer.model.model_dump_json(), "dtype": dtype})


def load(path: str | Path) -> Drawer:
    """Reads a saved drawer.

    Raises: CheckpointError (a ValueError) if the file is missing or damaged, or holds something else.
    """
    try:
        metadata = checkpoint.read_metadata(Path(path))
        model, dtype = PenModel.model_validate_json(metadata["pen"]), np.dtype(metadata["dtype"])
    except (KeyError, TypeError, ValidationError):
        raise checkpoint.CheckpointError(
            f"{path}: got no network of pen strokes, expected a file written by experiments.pen_strokes"
        ) from None
    shapes = jax.eval_shape(network.make_network(model).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), shapes)
    tree: Any = checkpoint.load(Path(path), {"params": params, "unit": np.float32(0)})
    return Drawer(model, tree["params"], float(tree["unit"]))


def _draw(
    drawer: Drawer, key: PRNGKey, memories: network.Memory, points: np.ndarray, num_steps: int, temperature: float
) -> list[np.ndarray]:
    keys = jax.random.split(key, len(points))
    drawings, masks = network.draw(keys, drawer.model, drawer.params, memories, points, temperature, num_steps=num_steps)
    return [drawing[mask] * drawer.units for drawing, mask in zip(np.asarray(drawings), np.asarray(masks), strict=True)]
