"""The check of types and shapes at every call of a function of the library, which is prepared once for each function."""

from collections.abc import Callable
from typing import Any

import beartype

_prepared: dict[Any, Callable[..., Any]] = {}


def checker(function: Callable[..., Any]) -> Callable[..., Any]:
    """Does what `beartype.beartype` does for the functions that jaxtyping makes, which check arguments and result alone.

    A function inside another function is defined anew at every call of that one. Its check is the same every time, and preparing
    it again would take a tenth of the time of the tests.
    """
    returned = function.__annotations__.get("return") is Any
    key = (function.__module__, function.__qualname__, function.__code__.co_varnames, returned)
    if "<locals>" not in function.__qualname__:
        return beartype.beartype(function)
    if key not in _prepared:
        _prepared[key] = beartype.beartype(function)
    return _prepared[key]
