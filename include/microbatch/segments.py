"""Segments of a batch: its messages on their way into the outbox, in the transaction that stores it."""

from typing import Final

import numpy as np

from microbatch.columns import integers
from microbatch.outbox import (
    SEGMENT_BYTES,
    SEGMENT_MESSAGES,
    Origin,
    OutMessage,
    encode_packed,
    encode_segment,
    is_full,
    place_of,
)
from microbatch.packing import Bodies, packed
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange
from microbatch.registration import Registration
from microbatch.sql import queries

_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")


class _OfRange:
    """What segments of one range have in common."""

    def __init__(self, connection: Connection, registration: Registration, batch_id: int, item: OffsetRange) -> None:
        self._connection = connection
        self._item = item
        self._already_sent = _already_sent(connection, registration, item)
        self._facts = {
            "pipeline_id": registration.pipeline_id,
            "batch_id": batch_id,
            "topic_id": registration.topic_id,
            "partition": item.partition,
            "start_offset": item.start,
        }

    def _store(self, messages: int, payload: bytes, size: int | None) -> None:
        found = {"messages": messages, "payload": payload, "bytes": size}
        self._connection.execute(_OUTBOX["insert_batch_segment"], {**self._facts, **found})


class Segments(_OfRange):
    """Messages of one range on their way into the outbox, as many at a time as a segment holds."""

    def __init__(self, connection: Connection, registration: Registration, batch_id: int, item: OffsetRange) -> None:
        super().__init__(connection, registration, batch_id, item)
        self._messages: list[OutMessage] = []
        self._bytes = 0

    def add(self, message: OutMessage) -> None:
        """Add a message, unless its topic has it already; what fills a segment is stored."""
        if self._already_sent and place_of(message.topic, message.headers) in self._already_sent:
            return
        self._messages.append(message)
        self._bytes += message.size
        if is_full(len(self._messages), self._bytes):
            self.flush()

    def flush(self) -> None:
        """Store what there is."""
        if self._messages:
            self._store(len(self._messages), encode_segment(self._messages), None)
        self._messages, self._bytes = [], 0


class BodySegments(_OfRange):
    """Rows or pairs of one range on their way into the outbox, in segments that each are of one topic."""

    def __init__(
        self, connection: Connection, registration: Registration, batch_id: int, item: OffsetRange, origin: Origin
    ) -> None:
        super().__init__(connection, registration, batch_id, item)
        self._origin = origin
        self._topic = ""
        self._bodies: list[Bodies] = []
        self._messages = self._bytes = 0

    def add(self, topic: str, bodies: Bodies) -> None:
        """Add those that their topic does not have already; what fills a segment is stored."""
        if topic != self._topic:
            self.flush()
            self._topic = topic
        left = self._unsent(bodies)
        while len(left):
            sizes = np.cumsum(left.sizes)
            room = SEGMENT_MESSAGES - self._messages
            # The one that fills it is in it.
            count = min(room, len(left), int(np.searchsorted(sizes, SEGMENT_BYTES - self._bytes)) + 1)
            self._bodies.append(left.slice(0, count))
            self._messages += count
            self._bytes += int(sizes[count - 1])
            left = left.slice(count, len(left))
            if is_full(self._messages, self._bytes):
                self.flush()

    def _unsent(self, bodies: Bodies) -> Bodies:
        if not self._already_sent:
            return bodies
        partition = self._item.partition
        places = [(self._topic, partition, offset) for offset in integers(bodies.offsets).tolist()]
        return bodies.only(np.array([place not in self._already_sent for place in places], bool))

    def flush(self) -> None:
        """Store what there is."""
        if self._bodies:
            found = packed(self._origin.common(self._topic, self._item.partition), self._bodies)
            self._store(self._messages, encode_packed(found), found.size)
        self._bodies, self._messages, self._bytes = [], 0, 0


def _already_sent(connection: Connection, registration: Registration, item: OffsetRange) -> set[tuple[str, int, int]]:
    """Topic, source partition and offset of messages that a ledger which this one stands for has sent."""
    facts = {
        "pipeline_id": registration.pipeline_id,
        "topic_id": registration.topic_id,
        "partition": item.partition,
        "start_offset": item.start,
        "end_offset": item.end,
    }
    rows = connection.execute(_LEDGER["already_sent"], facts).fetchall()
    return {(topic, item.partition, offset) for topic, offset in rows}
