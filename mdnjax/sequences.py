"""Sequences of many lengths in arrays of one shape: laid one after the other in rows, with marks where each begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.types import AnyArray, Array, Bool, Float


class Rows(NamedTuple):
    """Rows of T steps, batch-last: `values[C, T, N]`; where `mask` is false a step is only there to fill a row, its values are 0.

    `first` and `last` mark the ends of the sequences: what is computed along a row begins anew at each first step.
    """

    values: Float[Array, "C T N"]
    first: Bool[Array, "T N"]
    last: Bool[Array, "T N"]
    mask: Bool[Array, "T N"]


def pack(sequences: Sequence[Float[np.ndarray, "_ C"]], num_steps: int | None = None) -> Rows:
    """Lays sequences into as few rows as come out, the longest first, each where the least is left; a row is `num_steps` long.

    By default as long as the longest sequence. Drawings of 20 to 250 points fill such rows to 98 %; one in a row would fill half.
    Raises: ValueError if there is no sequence, one is empty, or longer than a row.
    """
    lengths = [len(sequence) for sequence in sequences]
    length = num_steps or max(lengths, default=0)
    if not lengths or min(lengths) < 1 or max(lengths) > length:
        got = f"lengths from {min(lengths)} to {max(lengths)}" if lengths else "no sequence"
        raise ValueError(f"pack: got {got}, expected lengths from 1 to {length or 'T'}")
    free: list[list[int]] = [[] for _ in range(length + 1)]  # rows by the steps that are left in them
    places, num_rows = {}, 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        left = next((left for left in range(lengths[index], length + 1) if free[left]), None)
        if left is None:
            left, num_rows = length, num_rows + 1
            free[left].append(num_rows - 1)
        row = free[left].pop()
        places[index] = (row, length - left)
        free[left - lengths[index]].append(row)
    values = np.zeros((sequences[0].shape[1], length, num_rows), np.float32)
    first, last, mask = (np.zeros((length, num_rows), bool) for _ in range(3))
    for index, (row, at) in places.items():
        end = at + lengths[index]
        values[:, at:end, row] = sequences[index].T
        first[at, row], last[end - 1, row], mask[at:end, row] = True, True, True
    return Rows(*map(jnp.asarray, (values, first, last, mask)))


def before(rows: Rows, start: Float[AnyArray, " C"]) -> Float[Array, "C T N"]:
    """At each step the values of the step before it, and `start` at the first of a sequence: what predicts what follows."""
    beginning = jnp.asarray(start)[:, None, None]
    shifted = jnp.concatenate([jnp.broadcast_to(beginning, rows.values[:, :1].shape), rows.values[:, :-1]], axis=1)
    return jnp.where(rows.first, beginning, shifted)


def masked_sum(rows: Rows, values: Float[Array, "T N"]) -> Float[Array, ""]:
    """The sum over all steps of sequences; what stands in the others, were it nan, has no part in value or gradient.

    The gradient of a function that is nan at such a step is kept out only if that step's arguments are sound: they are 0.
    """
    return jnp.sum(jnp.where(rows.mask, values, 0))
