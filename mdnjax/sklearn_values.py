"""What users of scikit-learn pass to an estimator: targets, data frames and random states."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_random_state

from mdnjax.data.columns import is_table


def as_targets(y: Any) -> np.ndarray:
    """Returns targets in float64. Raises: ValueError if they are not finite numbers."""
    dtype: Any = np.float64
    return check_array(y, ensure_2d=False, dtype=dtype, input_name="y")


def is_frame(X: Any) -> bool:
    """Returns whether rows are a data frame or another mapping from names to columns."""
    return is_table(X) and not hasattr(X, "toarray")  # some sparse arrays have keys


def seed_of(random_state: Any) -> int:
    """Returns a seed that is drawn as scikit-learn draws one, or from a generator of numpy."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    return int(check_random_state(random_state).randint(2**31))
