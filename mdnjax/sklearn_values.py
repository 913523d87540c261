"""What users of scikit-learn pass to an estimator: targets, data frames and random states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_random_state

from mdnjax.data.columns import is_table
from mdnjax.data.dates import has_dates
from mdnjax.data.values import number_in


def as_targets(y: Any) -> np.ndarray:
    """Returns targets in float64. Raises: ValueError if they are not finite numbers."""
    dtype: Any = np.float64
    return check_array(y, ensure_2d=False, dtype=dtype, input_name="y")


def is_frame(X: Any) -> bool:
    """Returns whether rows are a data frame or another mapping from names to columns."""
    return is_table(X) and not hasattr(X, "toarray")  # some sparse arrays have keys


def check_rows(X: Any, numbers: bool = True, impute: bool = False) -> None:
    """Checks what scikit-learn would report in several lines, or not at all.

    Args: whether an array must hold `numbers`, and whether they may be missing (`impute`).
    Raises: ValueError in one line for rows that are no data frame or array of two dimensions, or hold what is no number.
    """
    _check_kind("X", X, "; a data frame may have columns of dates")
    if is_frame(X):
        _check_frame(X)
    elif not hasattr(X, "toarray"):  # scikit-learn refuses sparse arrays
        array = _array_of("X", X)
        if array.ndim < 2:
            advice = "Reshape your data by X.reshape(-1, 1) if it is one column, or by X.reshape(1, -1) if it is one row"
            raise ValueError(f"X: got an array of {array.ndim} dimension{'s' * (array.ndim != 1)}, expected two. {advice}")
        if numbers and array.ndim == 2:
            _check_numbers("X", array, impute)


def check_targets(y: Any) -> None:
    """Checks what scikit-learn would report in several lines, or not at all.

    Raises: ValueError in one line for targets that are no array of numbers.
    """
    _check_kind("y", y, "")
    if hasattr(y, "toarray"):
        raise ValueError("y: got a sparse matrix, expected an array; y.toarray() makes one")
    if y is not None and not is_frame(y):  # scikit-learn refuses None
        _check_numbers("y", _array_of("y", y), impute=True)


def _check_kind(name: str, values: Any, more: str) -> None:
    """Refuses dates and masked arrays, which scikit-learn would read as nanoseconds and without their mask, and dicts."""
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"{name}: got a masked array, expected numbers without a mask")
    if has_dates(values):
        raise ValueError(f"{name}: got dates or times, expected numbers, such as the days since the first of them{more}")
    if isinstance(values, Mapping) and not hasattr(values, "toarray"):  # some sparse arrays have keys
        raise ValueError(f"{name}: got a dict, expected an array or a data frame; pandas.DataFrame({name}) makes one of columns")


def _check_frame(X: Any) -> None:
    if getattr(X, "ndim", 2) == 1:
        raise ValueError("X: got a series, which is one column, expected a data frame; X.to_frame() makes one")
    counts = Counter(X.columns if hasattr(X, "columns") else [])
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"X: got the column {repeated[0]!r} {counts[repeated[0]]} times, expected different names")


def _array_of(name: str, values: Any) -> np.ndarray:
    """Returns values as an array. Raises: ValueError for complex numbers, records, rows of other lengths and single values."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: got rows of different lengths, expected the same number of values in each") from None
    if array.dtype.kind == "c":
        raise ValueError(f"{name}: got complex numbers, expected real ones (Complex data not supported)")
    if array.dtype.names:
        raise ValueError(f"{name}: got an array of records, expected an array of numbers; pandas.DataFrame({name}) makes a frame")
    if not array.ndim:
        raise ValueError(f"{name}: got a value of type {type(values).__name__}, expected an array of numbers")
    return array


def _check_numbers(name: str, array: np.ndarray, impute: bool) -> None:
    """Raises: ValueError that names the first value that is text, or that is missing without `impute`."""
    try:
        if not np.isnan(array.astype(np.float64)).any() or impute:
            return
    except (TypeError, ValueError, OverflowError):  # at a value that is no number; scikit-learn refuses others than text
        pass
    for place, value in np.ndenumerate(array):
        where = f"in row {place[0] + 1}" + (f", column {place[1] + 1}" if len(place) > 1 else "")
        if isinstance(value, str | bytes) and not _is_number(value):
            more = "; a data frame may have columns of text" * (name == "X")
            raise ValueError(f"{name}: got {str(value)!r} {where}, expected a number{more}")
        if not impute and (value is None or value != value):
            got = "nothing" if value is None else "NaN"
            raise ValueError(f"{name}: got {got} {where}, expected a number; impute=True fills missing ones")


def _is_number(text: str | bytes) -> bool:
    try:
        number_in(text.decode() if isinstance(text, bytes) else text)
    except ValueError:
        return False
    return True


def seed_of(random_state: Any) -> int:
    """Returns a seed that is drawn as scikit-learn draws one, or from a generator of numpy."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    return int(check_random_state(random_state).randint(2**31))
