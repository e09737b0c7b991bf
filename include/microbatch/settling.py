"""What Kafka knows of our sending: the cursor, as metadata of the group's offsets and in our newest messages."""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from microbatch.decoding import RawHeaders
from microbatch.errors import ReadStalledError
from microbatch.kafka import NO_RIGHT, Broker, Ends, client_config
from microbatch.outbox import CURSOR, PIPELINE, Cursor
from microbatch.reading import POLL_S
from microbatch.settings import Connections

# Pending transactions are settled by then: their coordinator answers only afterwards.
FENCE_TIMEOUT_S: Final = 30.0
# How far back from a partition's end the newest message of ours is looked for at first.
TAIL_OFFSETS: Final = 1_000
# So often the client is asked what it has heard meanwhile.
_ASK_S: Final = 2.0
_MAY_ANSWER_YET: Final = (
    KafkaError._TIMED_OUT,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Whose(msgspec.Struct, frozen=True):
    """Which messages are a pipeline's own.

    Attributes:
        names: the one that it has, and those that it had when messages were made.
        ledger: the one that it has.
        former: other ledgers whose messages it has adopted (`microbatch recover`), up to which publication.
        neighbours: ledgers of other pipelines in this database; one may have the same name in another deployment,
            and share the dead-letter topic.
    """

    names: list[str]
    ledger: str
    former: dict[str, int]
    neighbours: list[str]

    def is_strange(self, cursor: Cursor | str) -> bool:
        """Whether a message is of a ledger that this database knows nothing of."""
        if not isinstance(cursor, Cursor):
            return True
        is_known = cursor.ledger in (self.ledger, *self.neighbours)
        return not is_known and cursor.publication > self.former.get(cursor.ledger, -1)


def group_name(connections: Connections, pipeline: str) -> str:
    """What Kafka calls a pipeline: its group, and its transactional id."""
    return f"microbatch.{connections.deployment}.{pipeline}"


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

    def positions(self, source: str, partitions: int) -> dict[int, int]:
        """The offsets that the group has, by partition."""
        places = [TopicPartition(source, partition) for partition in range(partitions)]
        found = self._consumer.committed(places, timeout=FENCE_TIMEOUT_S)
        return {at.partition: at.offset for at in found if at.error is None and at.offset >= 0}

    def _committed(self, place: TopicPartition) -> TopicPartition:
        """Ask until there is a coordinator: it moves when a broker starts, and is made with the first group of all."""
        deadline_s = monotonic() + FENCE_TIMEOUT_S
        while True:
            try:
                return self._consumer.committed([place], timeout=min(_ASK_S, FENCE_TIMEOUT_S))[0]
            except KafkaException as error:
                self._refuse()
                if error.args[0].code() not in _MAY_ANSWER_YET or monotonic() > deadline_s:
                    raise
            sleep(0.1)

    def _refuse(self) -> None:
        """Raise what the client has heard meanwhile of a missing right: it goes on asking for a coordinator."""
        heard = self._consumer.poll(0)
        error = heard.error() if heard is not None else None
        if error is not None and error.code() in NO_RIGHT:
            raise KafkaException(error)

    def newest(self, topics: list[str], whose: Whose, redriven: Mapping[str, Mapping[int, int]]) -> Cursor | str | None:
        """The cursor of the pipeline's newest message in the topics that it writes: what explains a missing one.

        A message of another ledger or with no cursor comes first: it is what a person has to look at. Not so in the
        source, which is everybody's.

        Args:
            topics: the output and dead-letter topics.
            whose: which messages are ours.
            redriven: by name the source, if dead letters were sent there again: by partition the offset from which on
                they are to be looked for, for others may have written much since.
        """
        found = self._newest_cursors(topics, whose.names)
        again = [cursor for topic, since in redriven.items() for cursor in self._since(topic, since, whose.names)]
        ours = [cursor for cursor in [*found, *again] if isinstance(cursor, Cursor) and cursor.ledger == whose.ledger]
        others = [cursor for cursor in found if whose.is_strange(cursor)]
        return others[0] if others else max(ours, key=lambda cursor: cursor.publication, default=None)

    def newest_of_each(self, topics: list[str], names: Container[str]) -> dict[str, int]:
        """By ledger, the publication of its newest message in the output topics; 0 for what is no cursor."""
        newest: dict[str, int] = {}
        for cursor in self._newest_cursors(topics, names):
            ledger, publication = (cursor.ledger, cursor.publication) if isinstance(cursor, Cursor) else (cursor, 0)
            newest[ledger] = max(publication, newest.get(ledger, 0))
        return newest

    def _newest_cursors(self, topics: list[str], names: Container[str]) -> list[Cursor | str]:
        return [cursor for topic in topics for cursor in self._back_to_ours(topic, names)]

    def _back_to_ours(self, topic: str, names: Container[str]) -> list[Cursor | str]:
        """Cursors of our messages at the end of each partition, however much others have written there since."""
        ends, found, back = self._ends(topic), list[Cursor | str](), TAIL_OFFSETS
        left = set(ends)
        while left:
            starts = {p: max(ends[p].low_watermark, ends[p].high_watermark - back) for p in left}
            seen = self._read(topic, starts, names)
            found += [cursor for cursors in seen.values() for cursor in cursors]
            left = {p for p in left - seen.keys() if starts[p] > ends[p].low_watermark}
            back *= 10
        return found

    def _since(self, topic: str, since: Mapping[int, int], names: Container[str]) -> list[Cursor | str]:
        """Cursors of our messages at the end of each partition, at least from an offset on."""
        tails = {p: (at, at.high_watermark - TAIL_OFFSETS) for p, at in self._ends(topic).items()}
        starts = {p: max(at.low_watermark, min(tail, since.get(p, tail))) for p, (at, tail) in tails.items()}
        return [cursor for cursors in self._read(topic, starts, names).values() for cursor in cursors]

    def _ends(self, topic: str) -> dict[int, Ends]:
        """The ends of the partitions that have something; none if there is no such topic."""
        facts = self._broker.topic(topic)
        ends = self._broker.ends(topic, range(facts.partitions)) if facts else {}
        return {p: at for p, at in ends.items() if at.low_watermark < at.high_watermark}

    def _read(self, topic: str, starts: dict[int, int], names: Container[str]) -> dict[int, list[Cursor | str]]:
        """Cursors of our messages from an offset of each partition to its end; partitions without any are left out."""
        found: dict[int, list[Cursor | str]] = {}
        left = set(starts)
        self._consumer.assign([TopicPartition(topic, p, start) for p, start in starts.items()])
        deadline_s = monotonic() + FENCE_TIMEOUT_S
        while left:
            arrived = self._consumer.consume(TAIL_OFFSETS, POLL_S)
            for message in arrived:
                error, partition = message.error(), message.partition() or 0
                if error is None:
                    for header in _cursor_of(message, names):
                        found.setdefault(partition, []).append(_parsed(header))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
                else:
                    raise KafkaException(error)
            if arrived:
                deadline_s = monotonic() + FENCE_TIMEOUT_S
            elif left and monotonic() > deadline_s:
                raise ReadStalledError(positions=f"the end of {topic}{sorted(left)}", timeout_s=FENCE_TIMEOUT_S)
        self._consumer.unassign()
        return found


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
