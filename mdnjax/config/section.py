"""The base class of the sections of a configuration, the types of their values, and the mark of traced fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WrapValidator

from mdnjax.config.nearest import nearest

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Units = Annotated[int, Field(ge=1, le=10**5)]
Positive = Annotated[float, Field(gt=0, le=1e30)]  # larger values could overflow in float32
Scale = Annotated[float, Field(ge=0, le=1e15)]  # its square is still finite in float32
Share = Annotated[float, Field(ge=0, lt=1)]
Decimal = Literal[".", ","]
ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "iso-8859-15", "gbk", "shift_jis", "euc-kr")  # frequent


def _check_folder(path: Path) -> Path:
    if not path.name or "\0" in str(path):
        raise ValueError(f"got {str(path)!r}, expected a folder other than the current one or the root")
    return path


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        close = nearest(name, ENCODINGS)
        raise ValueError(f"got {name!r}, expected an encoding of text, such as {', '.join(ENCODINGS[:4])}{close}") from None
    return name


def _check_support(value: Any, validate: Any) -> Any:
    try:
        # after a WrapValidator strict pydantic does not accept a list for a tuple
        support = validate(_as_tuple(value))
    except ValidationError:
        support = ((1.0, 0.0),)
    pairs: Any = [] if isinstance(support, str) else [support] if _is_pair(support) else support
    if not all(low < high for low, high in pairs):
        raise ValueError(f"got {value!r}, expected real, positive, [low, high], or a list with one such pair per target")
    return support


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _is_pair(support: Any) -> bool:
    return isinstance(support, tuple) and isinstance(support[0], float)


def _check_atoms(value: Any, validate: Any) -> Any:
    try:
        atoms = validate(_as_tuple([value] if isinstance(value, int | float) else value))
    except ValidationError:
        raise ValueError(f"got {value!r}, expected a list of numbers, or auto") from None
    if atoms != "auto" and (not all(map(math.isfinite, atoms)) or len(set(atoms)) < len(atoms)):
        raise ValueError(f"got {value!r}, expected finite numbers, each once")
    return atoms


def _check_bounds(value: Any, validate: Any) -> Any:
    try:
        low, high = validate(_as_tuple(value))
    except ValidationError:
        raise ValueError(f"got {value!r}, expected a lower and an upper bound, such as [null, 50]") from None
    finite = all(bound is None or math.isfinite(bound) for bound in (low, high))
    if not finite or (low is not None and high is not None and low >= high):
        raise ValueError(f"got {value!r}, expected finite bounds or null, the lower one first, such as [null, 50]")
    return low, high


def _check_names(value: Any, validate: Any) -> Any:
    """Converts one name or a list of names to a tuple; a number, such as that of a column without a name, becomes text."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, list | tuple):
        value = tuple(f"{name:.15g}" if isinstance(name, int | float) and not isinstance(name, bool) else name for name in value)
    names = validate(value)
    if repeated := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise ValueError(f"got {repeated!r} twice, expected it once")
    return names


def _or_literal(expected: str) -> WrapValidator:
    """Makes one error message for a field that takes a number or a word, for which pydantic would report two errors."""

    def check(value: Any, validate: Any) -> Any:
        try:
            return validate(value)
        except ValidationError:
            raise ValueError(f"got {value!r}, expected {expected}") from None

    return WrapValidator(check)


Noise = Annotated[Scale | Literal["rule_of_thumb"], _or_literal("a number from 0 to 1e15, or rule_of_thumb")]
Rounding = Annotated[Scale | Literal["auto"], _or_literal("a number from 0 to 1e15, or auto")]
NumComponents = Annotated[Units | Literal["auto"], _or_literal("a whole number from 1 to 100000, or auto")]
Interval = tuple[float, float]
TargetSupport = Annotated[
    Literal["real", "positive"] | Interval | Annotated[tuple[Interval, ...], Field(min_length=1)], WrapValidator(_check_support)
]
AtomValues = Annotated[tuple[float, ...] | Literal["auto"], WrapValidator(_check_atoms)]
Bounds = Annotated[tuple[float | None, float | None], WrapValidator(_check_bounds)]
Names = Annotated[tuple[str, ...], WrapValidator(_check_names)]
Encoding = Annotated[str, AfterValidator(_check_encoding)]
Folder = Annotated[Path, AfterValidator(_check_folder)]


class Traced(NamedTuple):
    """Marks a field whose value compiled programs take as an array or do not use, so that a change needs no recompilation.

    The value `off`, if there is one, switches a part of the computation off; the program without it is compiled separately.
    """

    off: float | None = None


class Section(BaseModel, frozen=True):
    """A frozen, strict part of a configuration; hashable, so that compiled programs can be cached by it.

    `renamed` maps old keys to new ones. An old key is an unknown key, and the error states the new one.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(repr(self))

    def static_fields(self) -> set[str]:
        """Returns the names of `Traced` fields that cannot be traced, given the values of the other fields."""
        return set()
