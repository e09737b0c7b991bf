"""Reading offset ranges, whole and only what is committed, in chunks of bounded size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as RawMessage

from microbatch.errors import KafkaRefusedError, ReadFailedError, ReadStalledError
from microbatch.kafka import NO_RIGHT, READER, client_config, reaching, warm_up
from microbatch.ranges import OffsetRange, by_round
from microbatch.settings import Connections

# What the client gives has a place.
_PARTITION: Final = cast("Callable[[RawMessage], int]", RawMessage.partition)
_OFFSET: Final = cast("Callable[[RawMessage], int]", RawMessage.offset)
# As many as stay in the processor's cache until they are decoded.
POLL_MESSAGES: Final = 2_000
# Without any message for as long, something is wrong with the broker: what is to be read is stable and there.
STALLED_S: Final = 30.0
# `consume` waits so long for a chunk to fill: at a partition's end that is lost time.
POLL_S: Final = 0.05


class Reader:
    """Reads ranges of one topic. It never subscribes, so no group member ever has to be balanced."""

    def __init__(self, consumer: Consumer, topic: str, connections: Connections) -> None:
        self._consumer = consumer
        self._topic = topic
        self._connections = connections

    def read(self, ranges: list[OffsetRange]) -> Iterator[tuple[OffsetRange, list[RawMessage]]]:
        """Yield the messages of some disjoint ranges, chunk by chunk, in the order of each partition.

        A chunk belongs to one range; the last one of a range may be empty, and so may others while the broker
        is slow, which lets the caller do what it must not put off.

        Raises:
            ReadStalledError: nothing came for STALLED_S.
            KafkaUnreachableError: no broker answers.
            KafkaRefusedError: we may not read there.
            ReadFailedError: the broker refuses, for example because offsets of a range are no longer there.
        """
        for ranges_of_round in by_round(ranges):
            yield from self._round({item.partition: item for item in ranges_of_round})

    def _round(self, open_ranges: dict[int, OffsetRange]) -> Iterator[tuple[OffsetRange, list[RawMessage]]]:
        """One range of each partition, all partitions at once.

        A partition is done when its last message or one past its end arrives, or its end is reported at a position
        at or past it. Messages are never counted: markers, aborted and compacted records leave holes.
        """
        self._consumer.assign([TopicPartition(self._topic, p, item.start) for p, item in open_ranges.items()])
        last_progress_s = monotonic()
        while open_ranges:
            arrived, ends = self._poll()
            if arrived or ends:
                last_progress_s = monotonic()
            elif monotonic() - last_progress_s > STALLED_S:
                raise ReadStalledError(positions=self._positions(open_ranges), timeout_s=STALLED_S)
            chunks, done = _sorted_out(arrived, ends, open_ranges)
            for partition, chunk in chunks.items():
                yield open_ranges[partition], chunk
            if not chunks:
                yield next(iter(open_ranges.values())), []
            for partition in done:
                del open_ranges[partition]
            if done and open_ranges:
                self._consumer.incremental_unassign([TopicPartition(self._topic, p) for p in done])
        self._consumer.unassign()

    def _poll(self) -> tuple[list[RawMessage], dict[int, int]]:
        """The messages that have arrived, and the position of each partition that has been read to its end."""
        with reaching(self._connections):
            arrived = self._consumer.consume(POLL_MESSAGES, POLL_S)
        events = [*filter(RawMessage.error, arrived)]
        for event in events:
            error = event.error()
            if error is not None and error.code() in NO_RIGHT:
                raise KafkaRefusedError(bootstrap=self._connections.bootstrap, reason=error.str())
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise ReadFailedError(topic=self._topic, partition=event.partition(), reason=error.str())
        if events:
            arrived = [message for message in arrived if message.error() is None]
        return arrived, {_PARTITION(event): _OFFSET(event) for event in events}

    def _positions(self, open_ranges: dict[int, OffsetRange]) -> str:
        asked = [TopicPartition(self._topic, partition) for partition in open_ranges]
        found = self._consumer.position(asked)
        return ", ".join(f"{self._topic}[{at.partition}] at {at.offset}" for at in found)


@contextmanager
def open_reader(topic: str, connections: Connections) -> Iterator[Reader]:
    """A reader of one topic, closed at the end."""
    config = client_config(
        connections,
        **{
            "group.id": READER,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # The default lets a fast reader wait a second each time its local queue was full.
            "fetch.queue.backoff.ms": 5,
            # The broker answers soon that there is no more, where a range ends with markers or holes.
            "fetch.wait.max.ms": 20,
            # What was fetched past the end of a batch is thrown away.
            "queued.max.messages.kbytes": 2_048,
        },
    )
    consumer = Consumer(config)
    try:
        warm_up(consumer, topic, connections)
        yield Reader(consumer, topic, connections)
    finally:
        consumer.close()


def _sorted_out(
    arrived: list[RawMessage], ends: dict[int, int], open_ranges: dict[int, OffsetRange]
) -> tuple[dict[int, list[RawMessage]], set[int]]:
    """The messages of each partition that belong to its range, and the partitions that are read to their end.

    Args:
        arrived: messages, of each partition in the order of their offsets.
        ends: the position of each partition that has been read to its end.
        open_ranges: of each partition the range that is being read; others were fetched before they were unassigned.
    """
    chunks: dict[int, list[RawMessage]] = {}
    done = {p for p, position in ends.items() if p in open_ranges and position >= open_ranges[p].end}
    for partition, some in _by_partition(arrived).items():
        if partition not in open_ranges:
            continue
        end, last = open_ranges[partition].end, _OFFSET(some[-1])
        messages = some if last < end else [message for message in some if _OFFSET(message) < end]
        if messages:
            chunks[partition] = messages
        if last >= end - 1:
            done.add(partition)
    return chunks, done


def _by_partition(arrived: list[RawMessage]) -> dict[int, list[RawMessage]]:
    """What has arrived of each partition, in its order; mostly it is of one."""
    partitions = set(map(_PARTITION, arrived))
    if len(partitions) == 1:
        return {partitions.pop(): arrived}
    found: dict[int, list[RawMessage]] = {}
    for message in arrived:
        found.setdefault(_PARTITION(message), []).append(message)
    return found
