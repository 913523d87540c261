"""Regimes change the mixtures and points of a case, so that checks also run where rounding is most likely to cause errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.proof.oracles import Example, Numbers

CENTRES = np.array([1e3, 1e4, 1e5, 1e3, 1e6, -1e6])  # the fourth example has narrow components
LOGITS = np.array(
    [[0, -np.inf, -700], [-700, 0, -300], [-np.inf, 0, -np.inf], [0, -87, -104], [-700, 700, -np.inf], [1000, 950, 980]]
)
DFS = np.array([[2.1, 2.1, 2.1], [2.1, 30, 1e4], [1e4, 3e3, 1e3], [1e4, 1e4, 1e4], [5, 2.5, 3], [100, 300, 3000]])
FAR_POINTS = np.array([np.inf, -np.inf, np.nan, 1e36, -1e36, 1e30, -1e30, 1e17, -1e17])


class Regime(NamedTuple):
    """A sentence about a regime, and how it changes logits, components and points; `centre` is added to locations and points."""

    about: str
    logits: Numbers | None = None  # [B, K]
    df: Numbers | None = None  # [B, K]
    centre: Numbers | None = None  # [B]
    points: Callable[[Sequence[Example]], Numbers] | None = None  # [Q, B, D]
    num_components: int = 3


def at_locations(examples: Sequence[Example]) -> Numbers:
    """Returns the location of each component, and the numbers of float32 before and after it."""
    middle = np.stack([example.from_line(example.loc) for example in examples], axis=1).astype(np.float32)
    return np.concatenate([middle, *(np.nextafter(middle, np.float32(side)) for side in (-np.inf, np.inf))])


def at_ends(examples: Sequence[Example]) -> Numbers:
    """Returns infinities, nan and numbers of up to 1e36; on a bounded support its bounds and numbers on either side of them."""
    low, high = examples[0].low.astype(np.float32), examples[0].high.astype(np.float32)
    points = [np.full_like(low, value) for value in FAR_POINTS]
    if np.isfinite([low, high]).all():
        one = np.float32(1)
        points[3:] = [low, high, np.nextafter(low, high), np.nextafter(high, low), low - one, high + one]
    return np.repeat(np.stack(points)[:, None], len(examples), axis=1)


ORDINARY = "ordinary"
REGIMES = {
    ORDINARY: Regime("locations and scales of order 1; overlapping, far apart and narrow components; a weight of zero"),
    "far": Regime("locations 1e3 to 1e6 scales from zero, of either sign", centre=CENTRES),
    "weights": Regime("logits of -inf, and weights down to exp(-1400)", logits=LOGITS),
    "df": Regime("degrees of freedom from 2.1 to 1e4, equal and mixed", df=DFS),
    "one": Regime("one component", num_components=1),
    "many": Regime("64 components", num_components=64),
    "kinks": Regime(
        "points at each location, which is a kink of a Laplace component, and the numbers beside it", points=at_locations
    ),
    "ends": Regime(
        "points inf, -inf and nan, and 1e17 to 1e36 of either sign; in a box its bounds and the numbers on either side of them",
        points=at_ends,
    ),
}
OF_MIXTURES = ("far", "weights", "df", "one", "many")
EVERY = (*OF_MIXTURES, "kinks", "ends")


def change(regime: Regime, logits: Any, component: Any) -> tuple[Any, Any]:
    """Returns logits and components on the real line in the regime, in their dtype."""
    dtype = component.loc.dtype
    if regime.logits is not None:
        logits = jnp.asarray(regime.logits, dtype)
    if regime.df is not None:
        component = component._replace(df=jnp.broadcast_to(jnp.asarray(regime.df[..., None], dtype), component.df.shape))
    return logits, component._replace(loc=component.loc + centres(regime, component.loc)[:, None].astype(dtype))


def centres(regime: Regime, loc: Any) -> Numbers:
    """Returns the centre `[B, D]` of each example, exact in float32; those of several targets differ."""
    middle = np.zeros(len(loc)) if regime.centre is None else regime.centre
    return middle[:, None] / (-2.0) ** np.arange(loc.shape[-1])
