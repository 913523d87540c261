"""Support for old names: they work for one more version, with a DeprecationWarning that states the new name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

PUBLIC_NAMES = {"Judgement": "Evaluation"}  # old name: new name


def warn_of(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns that a name is deprecated."""
    warnings.warn(f"{old} is deprecated and will be removed in the next version; use {new}", DeprecationWarning, stacklevel)


def renamed_argument(old: str, new: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that lets callers of a function use the old name of a keyword argument."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            if old in keywords:
                warn_of(f"the argument {old} of {function.__name__}", new)
                keywords[new] = keywords.pop(old)
            return function(*arguments, **keywords)

        return wrapper

    return decorate
