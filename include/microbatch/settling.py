"""What Kafka knows of our sending: the cursor, as metadata of the group's offsets and in our newest messages."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from microbatch.errors import ReadStalledError
from microbatch.kafka import Broker, client_config
from microbatch.outbox import CURSOR, PIPELINE, Cursor
from microbatch.reading import POLL_S, RawHeaders
from microbatch.settings import Connections

# Pending transactions are settled by then: their coordinator answers only afterwards.
FENCE_TIMEOUT_S: Final = 30.0
# How far back from a partition's end the newest message of ours is looked for.
TAIL_OFFSETS: Final = 1_000
_NO_COORDINATOR: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Group:
    """The consumer group of a pipeline, which has no members: it only keeps positions and the cursor."""

    def __init__(self, consumer: Consumer, broker: Broker) -> None:
        self._consumer = consumer
        self._broker = broker

    def metadata(self) -> Any:
        """What `send_offsets_to_transaction` needs of a group."""
        return self._consumer.consumer_group_metadata()

    def cursor(self, source: str) -> Cursor | str | None:
        """The metadata of the offset of partition 0: a cursor, None if there is no offset, else what is there."""
        at = self._committed(TopicPartition(source, 0))
        if at.error is not None:
            raise KafkaException(at.error)
        return None if at.offset < 0 else _parsed(at.metadata or "")

    def _committed(self, place: TopicPartition) -> TopicPartition:
        """Ask until there is a coordinator: it moves when a broker starts, and is made with the first group of all."""
        deadline_s = monotonic() + FENCE_TIMEOUT_S
        while True:
            try:
                return self._consumer.committed([place], timeout=FENCE_TIMEOUT_S)[0]
            except KafkaException as error:
                if error.args[0].code() not in _NO_COORDINATOR or monotonic() > deadline_s:
                    raise
            sleep(0.1)

    def newest(self, topics: list[str], names: Container[str], ledger: str) -> Cursor | str | None:
        """The cursor of the pipeline's newest message in the output topics: what explains a missing one.

        Messages carry the name that the pipeline had when they were made, one of `names`. A message of another ledger
        or with no cursor comes first: it is what a person has to look at.
        """
        found = [_parsed(header) for topic in topics for header in self._tail(topic, names)]
        ours = [cursor for cursor in found if isinstance(cursor, Cursor) and cursor.ledger == ledger]
        others = [cursor for cursor in found if cursor not in ours]
        return others[0] if others else max(ours, key=lambda cursor: cursor.publication, default=None)

    def _tail(self, topic: str, names: Container[str]) -> Iterator[str]:
        """The cursor headers of a pipeline's messages at the end of each partition of a topic."""
        facts = self._broker.topic(topic)
        ends = self._broker.ends(topic, range(facts.partitions)) if facts else {}
        left = {p for p, at in ends.items() if at.low_watermark < at.high_watermark}
        starts = {p: max(ends[p].low_watermark, ends[p].high_watermark - TAIL_OFFSETS) for p in left}
        self._consumer.assign([TopicPartition(topic, p, starts[p]) for p in left])
        deadline_s = monotonic() + FENCE_TIMEOUT_S
        while left:
            for message in self._consumer.consume(TAIL_OFFSETS, POLL_S):
                error = message.error()
                if error is None:
                    yield from _cursor_of(message, names)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
            if left and monotonic() > deadline_s:
                raise ReadStalledError(positions=f"the end of {topic}{sorted(left)}", timeout_s=FENCE_TIMEOUT_S)
        self._consumer.unassign()


@contextmanager
def open_group(name: str, connections: Connections, broker: Broker) -> Iterator[Group]:
    """The group of that name; its consumer is closed at the end.

    It never subscribes, for then its offsets would expire after the consumer has left. Only with
    read_committed does the broker wait for offsets of pending transactions.
    """
    config = {
        "group.id": name,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 20,  # only what is there is asked for
    }
    consumer = Consumer(client_config(connections, **config))
    try:
        yield Group(consumer, broker)
    finally:
        consumer.close()


def _cursor_of(message: KafkaMessage, names: Container[str]) -> Iterator[str]:
    headers = dict(cast("RawHeaders", message.headers() or []))
    if (headers.get(PIPELINE) or b"").decode(errors="replace") in names:
        yield (headers.get(CURSOR) or b"").decode()


def _parsed(text: str) -> Cursor | str:
    """A cursor, or the text itself if it is none of ours."""
    try:
        return msgspec.json.decode(text, type=Cursor)
    except msgspec.DecodeError:
        return text
