"""Late messages: those of a window that reached Kafka, by its timestamp, when the window had ended already.

It is the measure of `allowed_lateness`: a function of the message alone, the same in live and redone work.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import duckdb
import msgspec

from microbatch.event import EPOCH
from microbatch.flow import KAFKA_MS

_MS_US: Final = 1_000


class Late(msgspec.Struct, frozen=True):
    """What of one window was late.

    Attributes:
        window_start: of the window; UTC.
        messages: how many.
        lateness: of the latest one: Kafka's timestamp less the end of the window.
    """

    window_start: datetime
    messages: int
    lateness: timedelta


class LateMessages:
    """The late messages of one batch, for one output."""

    def __init__(self, database: duckdb.DuckDBPyConnection, position: int) -> None:
        self._database = database
        self._table = f"late_{position}"
        self._window_start, self._end_ms = f"_start{position}", f"_end{position} // {_MS_US}"
        database.execute(f"create table {self._table} (k bigint, messages bigint, lateness_ms bigint)")

    def add(self, relation: str) -> None:
        """Add the events of a relation of DuckDB."""
        found = f"select {self._window_start}, count(*), max({KAFKA_MS} - {self._end_ms})"
        late = f"from {relation} where {KAFKA_MS} >= {self._end_ms} group by 1"
        self._database.execute(f"insert into {self._table} {found} {late}")

    def rows(self) -> Iterator[Late]:
        """The windows that have some, in their order."""
        found = self._database.execute(
            f"select k, sum(messages), max(lateness_ms) from {self._table} group by k order by k"  # noqa: S608
        )
        for start_us, messages, lateness_ms in found.fetchall():
            start = EPOCH + timedelta(microseconds=start_us)
            yield Late(start, int(messages), timedelta(milliseconds=lateness_ms))
