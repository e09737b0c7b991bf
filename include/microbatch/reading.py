"""Reading offset ranges, whole and only what is committed, in chunks of bounded size."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage

from microbatch.decoding import Message
from microbatch.errors import ReadFailedError, ReadStalledError
from microbatch.kafka import READER, client_config, reaching, warm_up
from microbatch.ranges import OffsetRange, by_round
from microbatch.settings import Connections

RawHeaders = list[tuple[str, bytes | None]]  # what the client gives; its type hint also has forms that it takes

CHUNK_MESSAGES: Final = 10_000
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

    def read(self, ranges: list[OffsetRange]) -> Iterator[tuple[OffsetRange, list[Message]]]:
        """Yield the messages of some disjoint ranges, chunk by chunk, in the order of each partition.

        A chunk belongs to one range; the last one of a range may be empty, and so may others while the broker
        is slow, which lets the caller do what it must not put off.

        Raises:
            ReadStalledError: nothing came for STALLED_S.
            KafkaUnreachableError: no broker answers.
            ReadFailedError: the broker refuses, for example because offsets of a range are no longer there.
        """
        for ranges_of_round in by_round(ranges):
            yield from self._round({item.partition: item for item in ranges_of_round})

    def _round(self, open_ranges: dict[int, OffsetRange]) -> Iterator[tuple[OffsetRange, list[Message]]]:
        """One range of each partition, all partitions at once.

        A partition is done when its last message or one past its end arrives, or its end is reported at a position
        at or past it. Messages are never counted: markers, aborted and compacted records leave holes.
        """
        self._consumer.assign([TopicPartition(self._topic, p, item.start) for p, item in open_ranges.items()])
        last_progress_s = monotonic()
        while open_ranges:
            arrived = self._poll()
            if arrived:
                last_progress_s = monotonic()
            elif monotonic() - last_progress_s > STALLED_S:
                raise ReadStalledError(positions=self._positions(open_ranges), timeout_s=STALLED_S)
            chunks, done = _sorted_out(arrived, open_ranges)
            for partition, chunk in chunks.items():
                yield open_ranges[partition], chunk
            if not chunks:
                yield next(iter(open_ranges.values())), []
            for partition in done:
                del open_ranges[partition]
            if done and open_ranges:
                self._consumer.incremental_unassign([TopicPartition(self._topic, p) for p in done])
        self._consumer.unassign()

    def _poll(self) -> list[KafkaMessage]:
        with reaching(self._connections):
            arrived = list(self._consumer.consume(CHUNK_MESSAGES, POLL_S))
        for message in arrived:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise ReadFailedError(topic=self._topic, partition=message.partition(), reason=error.str())
        return arrived

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
            "queued.max.messages.kbytes": 16_384,
        },
    )
    consumer = Consumer(config)
    try:
        warm_up(consumer, topic, connections)
        yield Reader(consumer, topic, connections)
    finally:
        consumer.close()


def _sorted_out(
    arrived: list[KafkaMessage], open_ranges: dict[int, OffsetRange]
) -> tuple[dict[int, list[Message]], set[int]]:
    """The messages of each partition that belong to its range, and the partitions that are read to their end."""
    chunks: dict[int, list[Message]] = {}
    done: set[int] = set()
    for message in arrived:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if partition not in open_ranges or offset is None:
            continue  # fetched before its partition was unassigned
        end = open_ranges[partition].end
        if error is None and offset < end:
            chunks.setdefault(partition, []).append(_message(message, partition, offset))
        if offset >= end or (error is None and offset == end - 1):
            done.add(partition)
    return chunks, done


def _message(message: KafkaMessage, partition: int, offset: int) -> Message:
    return Message(
        partition=partition,
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value) for name, value in cast("RawHeaders", message.headers() or ())),
    )
