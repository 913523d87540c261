"""Dates and times: the number of days that a value stands for, and the inputs that it becomes."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import numpy as np

from mdnjax.types import AnyArray

Dates = Literal["day", "time"]  # the inputs are those of its day, or also of its time of day

DAY, ORIGIN = timedelta(days=1), datetime(1970, 1, 1)
DAYS_PER_YEAR = 365.2425  # the mean; the angle of a season is at most two days away from that of the calendar
ISO = re.compile(  # the year comes first, since 01/02/2024 has two meanings
    r"(\d{4})([-/])(\d\d?)\2(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)? ?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{4}|\d\d)([ T,].*)?", re.ASCII)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DATE_INPUTS = ("days", "sine of the season", "cosine of the season", *WEEKDAYS)
TIME_INPUTS = ("sine of the time", "cosine of the time")
EXAMPLES = "a date such as 2024-03-01 or 2024-03-01 12:30"


def day_of(value: Any) -> float | None:
    """Returns the days from the start of 1970-01-01 to a date or time, or None if the value is neither.

    Texts have the year first: 2024-03-01, 2024/3/1, 2024-03-01 12:30 or 2024-03-01T12:30:05.25+02:00. A time with an offset
    is converted to UTC; a time without one is taken as it is.
    """
    if isinstance(value, str):
        return _day_of_text(value.strip())
    if isinstance(value, datetime):
        plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return float((plain - ORIGIN) / DAY)
    return float((datetime(value.year, value.month, value.day) - ORIGIN) / DAY) if isinstance(value, date) else None


def _day_of_text(text: str) -> float | None:
    if (found := ISO.fullmatch(text)) is None:
        return None
    year, _, month, day, hour, minute, second, fraction, offset = found.groups("0")
    microsecond = int(fraction.ljust(6, "0")[:6])
    try:
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), microsecond)
    except ValueError:  # there is no such day or time
        return None
    if offset in ("0", "Z"):
        return (time - ORIGIN) / DAY
    minutes = 60 * int(offset[1:3]) + int(offset[-2:])
    return (time - ORIGIN - (1 if offset[0] == "+" else -1) * timedelta(minutes=minutes)) / DAY


def date_inputs(days: AnyArray, dates: Dates, xp: Any = np) -> list[Any]:
    """Returns the inputs for numbers of days d since 1970-01-01, as `date_labels` names them.

    They are d, sin and cos of 2 pi d / 365.2425, an input that is 1 on each weekday, and with `dates` "time" also sin and cos of
    2 pi (d mod 1). Args: `xp` is numpy or jax.numpy.
    """
    season = 2 * math.pi * (days / DAYS_PER_YEAR % 1)
    weekday = xp.floor(days + 3) % 7  # 1970-01-01 was a Thursday, and Monday is 0
    inputs = [days, xp.sin(season), xp.cos(season), *(xp.where(weekday == i, 1.0, 0.0) for i in range(7))]
    clock = 2 * math.pi * (days % 1)
    return [*inputs, xp.sin(clock), xp.cos(clock)] if dates == "time" else inputs


def date_labels(dates: Dates) -> tuple[str, ...]:
    """Returns the names of the inputs of a date."""
    return DATE_INPUTS + TIME_INPUTS if dates == "time" else DATE_INPUTS


def text_of_day(day: float) -> str:
    """Returns a number of days since 1970-01-01 as text."""
    return str(ORIGIN + day * DAY).removesuffix(" 00:00:00")


def has_dates(values: Any) -> bool:
    """Returns whether an array is one of dates or times, or has them or their texts in its first row."""
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    return kind in ("m", "M") or (kind in ("O", "U") and any(day_of(value) is not None for value in np.ravel(values[:1])))
