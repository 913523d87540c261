"""Aliases, and the alphabet of shapes that every signature uses.

N examples, X inputs, D targets, K components, P raw outputs, S samples, T steps of a sequence.
Public arrays are batch-first (`x[*batch, X]`); the hot path is batch-last (`x[X, *batch]`) and says so.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

__all__ = ["AnyArray", "Array", "Bool", "Float", "Int", "Key", "PRNGKey", "Params", "PyTree"]

PRNGKey: TypeAlias = Key[Array, ""]
AnyArray: TypeAlias = Array | np.ndarray
Params: TypeAlias = PyTree  # of arrays
