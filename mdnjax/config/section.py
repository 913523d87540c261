"""What sections of a configuration are made of: strict, frozen records, kinds of values, fields that ride in a program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WrapValidator

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Units = Annotated[int, Field(ge=1, le=10**5)]
Positive = Annotated[float, Field(gt=0, le=1e30)]  # beyond 1e30 nothing is left of float32
Scale = Annotated[float, Field(ge=0, le=1e15)]  # whose square is still a float32
Share = Annotated[float, Field(ge=0, lt=1)]


def _a_folder(path: Path) -> Path:
    if not path.name or "\0" in str(path):
        raise ValueError(f"got {str(path)!r}, expected a folder below this one, or another")
    return path


def _a_support(value: Any, validate: Any) -> Any:
    try:
        # a list is no tuple to strict pydantic, once it has come through here
        support = validate(_as_tuple(value))
    except ValidationError:
        support = ((1.0, 0.0),)
    pairs: Any = [] if isinstance(support, str) else [support] if _is_pair(support) else support
    if not all(low < high for low, high in pairs):
        raise ValueError(f"got {value!r}, expected real, positive, [low, high], or a list of such pairs, one for each target")
    return support


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _is_pair(support: Any) -> bool:
    return isinstance(support, tuple) and isinstance(support[0], float)


def _names(value: Any, validate: Any) -> Any:
    """One name or a list of them; a column without a name is called by its number."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, list | tuple):
        value = tuple(str(name) if isinstance(name, int) and not isinstance(name, bool) else name for name in value)
    names = validate(value)
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise ValueError(f"got {twice!r} twice, expected it once")
    return names


def _or_word(expected: str) -> WrapValidator:
    """For a number that a word may stand for: one message where there are two ways to be right."""

    def check(value: Any, validate: Any) -> Any:
        try:
            return validate(value)
        except ValidationError:
            raise ValueError(f"got {value!r}, expected {expected}") from None

    return WrapValidator(check)


Noise = Annotated[Scale | Literal["rule_of_thumb"], _or_word("a number from 0 to 1e15, or rule_of_thumb")]
Rounding = Annotated[Scale | Literal["auto"], _or_word("a number from 0 to 1e15, or auto")]
NumComponents = Annotated[Units | Literal["auto"], _or_word("a whole number from 1 to 100000, or auto")]
Interval = tuple[float, float]
TargetSupport = Annotated[
    Literal["real", "positive"] | Interval | Annotated[tuple[Interval, ...], Field(min_length=1)], WrapValidator(_a_support)
]
Names = Annotated[tuple[str, ...], WrapValidator(_names)]
Folder = Annotated[Path, AfterValidator(_a_folder)]


class Traced(NamedTuple):
    """Marks a field that is a plain number inside a compiled program, or before it: changing it compiles nothing anew.

    Where a value switches something off altogether (`off`), the program without it is a program of its own.
    """

    off: float | None = None


class Section(BaseModel, frozen=True):
    """A frozen, strict part of a configuration; hashable, so that it can key a compiled program."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(repr(self))

    def shaping(self) -> set[str]:
        """Names of fields that shape the program after all, with the other fields as they are."""
        return set()
