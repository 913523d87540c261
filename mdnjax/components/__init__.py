"""The families of mixture components: each has one file here and one entry in FAMILIES."""

from typing import TypeAlias

from mdnjax.components.diagonal import Diagonal
from mdnjax.components.far import far_responsibilities
from mdnjax.components.full import Full
from mdnjax.components.isotropic import Isotropic
from mdnjax.components.laplace import Laplace
from mdnjax.components.location_scale import LocationScale, Sizes
from mdnjax.components.low_rank import LowRank
from mdnjax.components.student_t import StudentT
from mdnjax.components.support import Support
from mdnjax.components.warped import Warped, from_bounds

Family: TypeAlias = Isotropic | Diagonal | Full | LowRank | Laplace | StudentT
Component: TypeAlias = Family | Warped
GAUSSIAN = (Isotropic, Diagonal, Full, LowRank)

FAMILIES: dict[str, type[Family]] = {
    "isotropic": Isotropic,
    "diagonal": Diagonal,
    "full": Full,
    "low_rank": LowRank,
    "laplace": Laplace,
    "student_t": StudentT,
}

__all__ = [
    "FAMILIES",
    "GAUSSIAN",
    "Component",
    "Diagonal",
    "Family",
    "Full",
    "Isotropic",
    "Laplace",
    "LocationScale",
    "LowRank",
    "Sizes",
    "StudentT",
    "Support",
    "Warped",
    "far_responsibilities",
    "from_bounds",
]
