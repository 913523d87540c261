"""The families of mixture components: one file each, one line each in FAMILIES."""

from typing import TypeAlias

from mdnjax.components.diagonal import Diagonal

Component: TypeAlias = Diagonal

FAMILIES: dict[str, type[Component]] = {"diagonal": Diagonal}
