"""Names that have changed: the old ones work for one more version, with a DeprecationWarning that says the new one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

PUBLIC_NAMES = {"Judgement": "Evaluation"}


def warn_of(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns that a name is deprecated."""
    warnings.warn(f"{old} is deprecated and will be removed in the next version; use {new}", DeprecationWarning, stacklevel)


def renamed_argument(old: str, new: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Lets callers of a function use the old name of a keyword argument."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            if old in keywords:
                warn_of(f"the argument {old} of {function.__name__}", new)
                keywords[new] = keywords.pop(old)
            return function(*arguments, **keywords)

        return wrapper

    return decorate
