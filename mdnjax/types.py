"""Type aliases, and the letters that name axes in the shape annotations of all signatures.

N examples, X inputs, D targets, K components, P raw outputs, S samples, T steps of a sequence.
Public functions take batch-first arrays (`x[*batch, X]`). The hot path uses batch-last arrays (`x[X, *batch]`), and its
annotations show it.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

__all__ = ["AnyArray", "Array", "Bool", "Float", "Int", "Key", "PRNGKey", "Params", "PyTree"]

PRNGKey: TypeAlias = Key[Array, ""]
AnyArray: TypeAlias = Array | np.ndarray
Params: TypeAlias = PyTree  # whose leaves are arrays
