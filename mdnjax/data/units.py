"""Units of the targets of a mixture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdnjax.types import AnyArray, Float


class Units(NamedTuple):
    """Units of each target `[D]`: a mixture over v is one over y = offset + factor v, in float64."""

    offset: Float[np.ndarray, " D"]
    factor: Float[np.ndarray, " D"]

    def relative(self, y: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns v of y."""
        return (np.asarray(y, np.float64) - self.offset) / self.factor

    def absolute(self, v: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns y of v."""
        return self.offset + self.factor * np.asarray(v, np.float64)

    def select(self, target: int) -> Units:
        """Returns the units of a single target."""
        return Units(self.offset[[target]], self.factor[[target]])

    def label(self, name: str) -> str:
        """Returns the label of an axis that shows v of a single target with this name."""
        shifted = name if self.offset[0] == 0 else f"{name} - {self.offset[0]:.10g}"
        return shifted if self.factor[0] == 1 else f"({shifted}) / {self.factor[0]:.6g}"


def own_units(num_targets: int) -> Units:
    """Returns the targets' own units: y = v."""
    return Units(np.zeros(num_targets), np.ones(num_targets))
