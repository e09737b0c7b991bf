"""Windows: which one an event time falls into, and what a batch contributes to each window and key.

Partial values of the chunks gather in DuckDB until the batch is read, and spill to disk when they outgrow the memory
that they are given.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import numpy.typing as npt

from microbatch.columntypes import ColumnType
from microbatch.event import EPOCH
from microbatch.measures import Partial
from microbatch.outputs import DAY_S, WEEK_S, TumblingWindow
from microbatch.relations import python_rows

Times = npt.NDArray[np.int64]
"""Microseconds since 1970-01-01 UTC."""

_US: Final = 1_000_000
_DAY_US: Final = DAY_S * _US
# 1970-01-01 was a Thursday: weeks begin on the Monday before it.
_MONDAY_US: Final = -3 * _DAY_US


def bounds(window: TumblingWindow, times: Times) -> tuple[Times, Times]:
    """The start, included, and the end, excluded, of the window that each time falls into."""
    if window.timezone != "UTC":
        return _zoned_bounds(window, times)
    size_us = window.size_s * _US
    origin = _MONDAY_US if window.size_s == WEEK_S else 0
    starts = (times - origin) // size_us * size_us + origin
    return starts, starts + size_us


def _zoned_bounds(window: TumblingWindow, times: Times) -> tuple[Times, Times]:
    """Days and weeks of a time zone: from each local midnight to the next one."""
    found: dict[int, int] = {}
    for day in np.unique(times // _DAY_US):
        found.update(_windows_of_day(int(day), window.size_s, window.timezone))
    starts = np.array(sorted(found), np.int64)
    at = np.searchsorted(starts, times, side="right") - 1
    ends = np.array([found[int(start)] for start in starts], np.int64)
    return starts[at], ends[at]


@lru_cache(maxsize=10_000)
def _windows_of_day(day: int, size_s: int, timezone: str) -> dict[int, int]:
    """Starts and ends of the windows that meet a day of UTC, counted from 1970-01-01."""
    zone = ZoneInfo(timezone)
    first = (EPOCH + timedelta(days=day)).astimezone(zone).date() - timedelta(days=1)
    if size_s == WEEK_S:
        first -= timedelta(days=first.weekday())
    length = timedelta(days=size_s // DAY_S)
    found = {}
    start = _midnight_us(first, zone)
    while start < (day + 1) * _DAY_US:
        first += length
        end = _midnight_us(first, zone)
        if end > day * _DAY_US:
            found[start] = end
        start = end
    return found


def _midnight_us(day: date, zone: ZoneInfo) -> int:
    """When a day begins; where clocks skip midnight, at the moment of the change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    # In UTC, the first midnights of some zones lie before the year 1.
    offset = midnight.replace(tzinfo=zone).utcoffset() or timedelta(0)
    return (midnight - EPOCH - offset) // timedelta(microseconds=1)


class Contributions:
    """What one batch contributes to the windows of one output."""

    def __init__(  # the relation that is added has `columns` of these `types`, and the bounds of each window
        self,
        database: duckdb.DuckDBPyConnection,
        position: int,
        window: TumblingWindow,
        columns: Mapping[str, str],
        types: Mapping[str, ColumnType],
    ) -> None:
        self._database = database
        self._table = f"partials_{position}"
        self._bounds = f"_start{position}", f"_end{position}"
        self._keys = [exact(columns[name], types[name]) for name in window.by]
        self._times = [types[name].is_time for name in window.by]
        self._partials = [
            partial
            for measure in window.measures.values()
            for partial in measure.partials(
                columns[measure.needs] if measure.needs is not None else "",
                types[measure.needs] if measure.needs is not None else None,
            )
        ]
        self._has_some = False

    def add(self, relation: str) -> None:
        """Add the events of a relation of DuckDB."""
        start, end = self._bounds
        keys = [f"{name} as k{n}" for n, name in enumerate([start, f"min({end})", *self._keys])]
        partials = [f"{partial.sql} as p{n}" for n, partial in enumerate(self._partials)]
        # The end of a window follows from its start: one column less to group by.
        by = ", ".join(str(n + 1) for n in range(len(keys)) if n != 1)
        query = f"select {', '.join(keys + partials)} from {relation} group by {by}"  # noqa: S608 - names are ours
        target = f"insert into {self._table}" if self._has_some else f"create table {self._table} as"
        self._database.execute(f"{target} {query}")
        self._has_some = True

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """window_start, window_end (aware, UTC), the columns of `by`, partial values."""
        if not self._has_some:
            return
        names = [f"k{n}" for n in range(2 + len(self._keys))]
        # Times leave DuckDB as microseconds: as its own type they would need another library.
        shown = [
            f"epoch_us({n})" if is_time else n for n, is_time in zip(names, [False, False, *self._times], strict=True)
        ]
        merged = [_merged(partial, f"p{n}") for n, partial in enumerate(self._partials)]
        query = f"select {', '.join(shown + merged)} from {self._table} group by {', '.join(names)}"  # noqa: S608
        times = [True, True, *self._times, *(partial.kind == "timestamptz" for partial in self._partials)]
        yield from python_rows(self._database.cursor().execute(query), times)

    def windows(self) -> list[datetime]:
        """The starts of the windows that it contributes to."""
        if not self._has_some:
            return []
        found = self._database.execute(f"select distinct k0 from {self._table} order by 1")  # noqa: S608
        return [EPOCH + timedelta(microseconds=start) for (start,) in found.fetchall()]


def exact(column: str, kind: ColumnType) -> str:
    """A column of the flow as what it is: Arrow gives UUIDs as texts."""
    return f"{column}::uuid" if kind.sql == "UUID" else column


def _merged(partial: Partial, column: str) -> str:
    merged = partial.merged(column)
    return f"epoch_us({merged})" if partial.kind == "timestamptz" else merged
