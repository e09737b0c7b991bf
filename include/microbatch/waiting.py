"""Decoded messages that wait until they are worth a chunk: what is done once a chunk then costs little a message."""

from collections import Counter
from typing import Final

import pyarrow as pa
from confluent_kafka import Message as RawMessage

from microbatch.decoding import Decoded, Reject
from microbatch.ranges import OffsetRange

CHUNK_MESSAGES: Final = 50_000
CHUNK_BYTES: Final = 4 * 1024 * 1024


class Waiting:
    """Decoded messages of some ranges, at most one of each partition.

    Attributes:
        items: the range of each partition.
        counts: how many events there are of each partition.
        messages: of the events; None for those that need not be kept.
        rejects: all that were found, in the order in which they were added.
        longest: bytes of the longest value of a message.
    """

    def __init__(self) -> None:
        self.items: dict[int, OffsetRange] = {}
        self.counts: Counter[int] = Counter()
        self.messages: list[RawMessage | None] = []
        self.rejects: list[Reject] = []
        self.longest = 0
        self._events: list[pa.RecordBatch] = []
        self._size = 0

    @property
    def is_full(self) -> bool:
        """Whether they are a chunk."""
        return len(self.messages) + len(self.rejects) >= CHUNK_MESSAGES or self._size >= CHUNK_BYTES

    def add(self, item: OffsetRange, decoded: Decoded, events: pa.RecordBatch, *, keep_messages: bool) -> None:
        """Add what some messages of a range turned into, with the columns of the events."""
        self.items[item.partition] = item
        self.counts[item.partition] += events.num_rows
        self.messages += decoded.messages if keep_messages else [None] * events.num_rows
        self.rejects += decoded.rejects
        self.longest = max(self.longest, decoded.longest)
        self._events.append(events)
        self._size += decoded.size

    def events(self) -> pa.Table:
        """The columns of all events, of which there are some."""
        return pa.Table.from_batches(self._events).combine_chunks()
