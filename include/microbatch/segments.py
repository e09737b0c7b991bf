"""Segments of a batch: its messages on their way into the outbox, in the transaction that stores it."""

from typing import Final

from microbatch.outbox import OutMessage, encode_segment, is_full, place_of
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange
from microbatch.registration import Registration
from microbatch.sql import queries

_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")


class Segments:
    """Messages of one range on their way into the outbox, as many at a time as a segment holds."""

    def __init__(self, connection: Connection, registration: Registration, batch_id: int, item: OffsetRange) -> None:
        self._connection = connection
        self._already_sent = _already_sent(connection, registration, item)
        self._facts = {
            "pipeline_id": registration.pipeline_id,
            "batch_id": batch_id,
            "topic_id": registration.topic_id,
            "partition": item.partition,
            "start_offset": item.start,
        }
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
            payload = {"messages": len(self._messages), "payload": encode_segment(self._messages)}
            self._connection.execute(_OUTBOX["insert_batch_segment"], {**self._facts, **payload})
        self._messages, self._bytes = [], 0


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
