"""Which window a moment falls into: half-open, aligned to the epoch, or to midnights of a time zone."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from recount.definition import DAY_S, WEEK_S, Window
from recount.errors import InvalidError
from recount.times import EPOCH, SECOND_US

_MONDAY_S: Final = -3 * DAY_S  # 1970-01-01 was a Thursday
_CALENDAR_S: Final = range(-62_135_596_800, 253_402_300_800)


@dataclass(frozen=True, slots=True)
class Span:
    """A window's start and end, in seconds since 1970 UTC."""

    start_s: int
    end_s: int


def of(window: Window, time_us: int) -> Span:
    """The window of a moment that is in bounds."""
    return _span(window.size_s, window.timezone, time_us // SECOND_US)


def end_s(window: Window, start_s: int) -> int:
    """Where the window ends that begins at `start_s`.

    Raises:
        InvalidError: beyond the calendar.
    """
    return _span(window.size_s, window.timezone, start_s).end_s


@lru_cache(maxsize=100_000)
def _span(size_s: int, timezone: str, time_s: int) -> Span:
    if timezone != "UTC":
        return _local(timezone, 7 if size_s == WEEK_S else 1, time_s)
    origin = _MONDAY_S if size_s == WEEK_S else 0
    start = (time_s - origin) // size_s * size_s + origin
    if start + size_s not in _CALENDAR_S:
        raise InvalidError("the window that begins at {} s ends beyond the calendar", start)
    return Span(start, start + size_s)


def _local(timezone: str, days: int, time_s: int) -> Span:
    """From the last local midnight (of a Monday) at or before the moment to the next one after it.

    Midnights are what counts, not the date on the clock: where clocks go back over midnight, a date comes twice.
    """
    try:
        local = (EPOCH + timedelta(seconds=time_s)).astimezone(ZoneInfo(timezone)).date()
        first = local - timedelta(days=local.weekday() if days == 7 else 0)
        while time_s < _midnight_s(timezone, first):
            first -= timedelta(days=days)
        while time_s >= _midnight_s(timezone, first + timedelta(days=days)):
            first += timedelta(days=days)
        return Span(_midnight_s(timezone, first), _midnight_s(timezone, first + timedelta(days=days)))
    except OverflowError as error:
        raise InvalidError("the window of {} s goes beyond the calendar", time_s) from error


@lru_cache(maxsize=10_000)
def _midnight_s(timezone: str, day: date) -> int:
    """A midnight that does not exist, or exists twice, is resolved as zoneinfo does it with fold=0."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone))
    return (midnight - EPOCH) // timedelta(seconds=1)
