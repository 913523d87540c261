"""The support of targets that a configuration sets, and checks that targets lie inside of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdnjax.components import Support
from mdnjax.types import AnyArray, Float

MAX_DISTANCE = 1e4  # of targets from their bounds, in standard deviations: farther away, float32 has too few digits left


def make_support(target_support: str | tuple[Any, ...], num_targets: int) -> Support | None:
    """Returns the support that a configuration gives: "real" (None), "positive", (low, high), or a pair for each target.

    Raises: ValueError if the number of pairs is not `num_targets`.
    """
    if target_support == "real":
        return None
    if isinstance(target_support, str):
        target_support = (0.0, np.inf)
    has_pairs = isinstance(target_support[0], tuple)
    pairs = target_support if has_pairs else (target_support,) * num_targets
    if len(pairs) != num_targets:
        raise ValueError(f"got {len(pairs)} pairs of bounds, expected one for each of {num_targets} targets")
    return Support(tuple(float(low) for low, _ in pairs), tuple(float(high) for _, high in pairs))


def check_inside(support: Support | None, y: Float[AnyArray, "N D"]) -> None:
    """Raises: ValueError if a target is outside of its support."""
    if support is None:
        return
    outside = ~((y > np.array(support.low)) & (y < np.array(support.high)))
    if outside.any():
        row, target = np.argwhere(outside)[0]
        bounds = f"{support.low[target]:g} < y < {support.high[target]:g}"
        value = float(y[row, target])
        at_bound = value in (support.low[target], support.high[target]) and y.shape[1] == 1
        hint = f"; data.atoms=[{value:g}] gives this value a probability of its own" if at_bound else ""
        raise ValueError(f"got a target of {value:g} (row {row} from 0), expected {bounds}{hint}")


def check_spread(support: Support, v: Float[np.ndarray, "N D"]) -> None:
    """Raises: ValueError if relative targets v are so far from their bounds that float32 cannot distinguish their values."""
    for target, (values, *bounds) in enumerate(zip(v.T, *support, strict=True)):
        distance, spread = float(np.max(np.abs(values))), float(np.std(values))
        if np.isfinite(bounds).any() and 0 < spread * MAX_DISTANCE < distance:
            raise ValueError(
                f"target {target} lies {distance / spread:.2g} of its standard deviations from its bounds, expected less than "
                f"{MAX_DISTANCE:.0e}: leave it on the real line (target_support real), where it never comes near them"
            )
