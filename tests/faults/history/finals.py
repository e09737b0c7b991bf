"""Whether a result was final while a message of its window was not read: seen from outside, all the while.

Who looks takes one snapshot of the database after the other. Who judges knows the messages, and nothing of the engine
but which offsets its batches have.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from threading import Event
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import psycopg
from psycopg import IsolationLevel
from psycopg.sql import SQL, Identifier

from fix_pipeline import World
from microbatch.outputs import TumblingWindow
from recount.kafka import Message

_EACH_S: Final = 0.05

Window = tuple[float, float]
"""Start and end, in seconds since 1970."""


class Look(msgspec.Struct, frozen=True):
    """One snapshot of the database.

    Attributes:
        final: windows that have a final result.
        covered: the offsets that batches have, by partition: ranges that do not touch, the lowest first.
    """

    final: frozenset[Window]
    covered: dict[int, tuple[tuple[int, int], ...]]


class Sent(msgspec.Struct, frozen=True):
    """A message of the source.

    Attributes:
        at_s: its event time, as far as it says one.
        sent_s: its timestamp in Kafka.
    """

    partition: int
    offset: int
    at_s: float
    sent_s: float


class Watch:
    """Looks at a deployment, in a thread, as long as the block is open.

    Attributes:
        looks: each that is not the same as the one before.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._tables = [output.table for output in world.pipeline.outputs if isinstance(output, TumblingWindow)]
        self._is_over = Event()
        self._thread = ThreadPoolExecutor(1)
        self._watching: Future[None]
        self.looks: list[Look] = []

    def __enter__(self) -> Self:
        self._watching = self._thread.submit(self._watch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.shutdown()
        self._watching.result()

    def _watch(self) -> None:
        with psycopg.connect(self._world.connections.postgres) as connection:
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            while not self._is_over.wait(_EACH_S):
                with connection.transaction():
                    look = self._look(connection)
                if not self.looks or look != self.looks[-1]:
                    self.looks.append(look)

    def _look(self, connection: psycopg.Connection[Any]) -> Look:
        query = SQL(
            "select distinct extract(epoch from window_start)::float, extract(epoch from window_end)::float"
            " from {} where is_final"
        )
        final = [row for table in self._tables for row in connection.execute(query.format(Identifier(table or "")))]
        ranges = connection.execute(
            "select partition, range_agg(offsets) from microbatch.offset_range group by partition"
        )
        covered = {partition: tuple((each.lower, each.upper) for each in found) for partition, found in ranges}
        return Look(frozenset(final), covered)


def sent(messages: Iterable[Message], event_time: str) -> list[Sent]:
    """The messages that say when they happened, in whichever way theirs do."""
    found = ((message, _seconds(message.value, event_time)) for message in messages)
    return [Sent(m.partition, m.offset, at_s, m.timestamp_ms / 1000) for m, at_s in found if at_s is not None]


def _seconds(value: bytes | None, event_time: str) -> float | None:
    try:
        moment = msgspec.json.decode(value or b"")[event_time]
        return datetime.fromisoformat(moment).timestamp() if "T" in str(moment) else float(moment)
    except (msgspec.DecodeError, TypeError, KeyError, ValueError):
        return None  # it belongs to no window


def too_early(look: Look, messages: Iterable[Sent], live_from: Mapping[int, int]) -> list[str]:
    """The final windows of a snapshot of which a message was not read, as a text each.

    It is no fault if it came after its window had ended and nothing above it is read: it corrects a final result.

    Args:
        look: the snapshot.
        messages: all of the source, also those that were sent after it.
        live_from: below it, by partition, are those that were sent before the pipeline was deployed.
    """
    starts = sorted(look.final)
    found = []
    for message in _unread(look, messages):
        place = bisect_right(starts, (message.at_s, float("inf"))) - 1
        if place < 0 or message.at_s >= starts[place][1]:
            continue
        highest = max((end for _, end in look.covered.get(message.partition, ())), default=0)
        is_history = message.offset < max(highest, live_from[message.partition])
        if is_history or message.sent_s < starts[place][1]:
            found.append(f"{starts[place]} is final without {message.partition}@{message.offset}")
    return found


def _unread(look: Look, messages: Iterable[Sent]) -> Iterator[Sent]:
    for message in messages:
        ranges = look.covered.get(message.partition, ())
        place = bisect_right(ranges, (message.offset, float("inf"))) - 1
        if place < 0 or message.offset >= ranges[place][1]:
            yield message
