"""Send: the outbox goes to Kafka, each publication exactly once.

    fence     a fresh producer: init_transactions() fences any zombie and settles any open transaction
    settle    the cursor in Kafka must be what Postgres has marked (not sent) or what it intended (sent)
    for each lot of publications:
      intend  record the last one that is about to be sent                one Postgres transaction
      send    messages, positions and cursor; commit                     one Kafka transaction
      mark    record them as sent, delete their segments                  one Postgres transaction

All of it runs on the one Postgres connection that holds the publish lock: who has lost it can write no more.
After any error everything starts again from the lock.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, Final
from uuid import UUID

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from microbatch.crash import crash_point
from microbatch.decoding import Header
from microbatch.errors import CursorUnexplainedError, FencedError, OtherClusterError, SendFailedError
from microbatch.kafka import KAFKA_TIMEOUT_S, Broker, bounded, client_config, unreachable, warm_up
from microbatch.outbox import CURSOR, Cursor, OutMessage, Size, each_of, encode_segment, lot_end, open_segment
from microbatch.packing import Alike
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, one_row
from microbatch.registration import Registration
from microbatch.settings import Connections
from microbatch.settling import FENCE_TIMEOUT_S, Group, Whose, group_name, open_group
from microbatch.sql import queries

log: Final = logging.getLogger("microbatch")
_OUTBOX: Final = queries("outbox")

LOT_MESSAGES: Final = 50_000
LOT_BYTES: Final = 16 * 1024 * 1024
# The broker aborts a transaction that is open for longer; below the time after which Postgres ends our session.
TRANSACTION_TIMEOUT_S: Final = 60.0
# librdkafka's RD_KAFKA_PARTITION_UA.
_BY_KEY: Final = -1
# So often the client may tell its answers while messages are handed to it.
_POLL_MESSAGES: Final = 1_000
# What the broker says of one message, whoever sends it and however often.
_REFUSALS: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP)


class Outlet(msgspec.Struct, frozen=True):
    """What sending has to know of a pipeline.

    Attributes:
        pipeline_id: its number.
        name: its name, or the one that it is about to get.
        ledger: names its ledger in Kafka.
        source: its source topic, of which the group keeps positions.
        topics: those that it writes.
    """

    pipeline_id: int
    name: str
    ledger: UUID
    source: str
    topics: list[str]

    @classmethod
    def of(cls, pipeline: Pipeline, registration: Registration) -> "Outlet":
        """That of a declared and registered pipeline."""
        topics = list(registration.sink_partitions)
        return cls(registration.pipeline_id, pipeline.name, registration.ledger, pipeline.source.name, topics)


def whose(connection: Connection, outlet: Outlet) -> Whose:
    """Which messages are a pipeline's own."""
    facts = {"pipeline_id": outlet.pipeline_id}
    former_names, former_ledgers, neighbours = one_row(connection, _OUTBOX["former"], facts)
    return Whose([outlet.name, *former_names], str(outlet.ledger), former_ledgers, neighbours)


_Call = tuple[str, bytes | None, bytes | None, int | None, int, Any]
"""Topic, value, key, partition (None: by the key), timestamp and headers, as `produce` is told them."""


class Publication(msgspec.Struct, frozen=True):
    """A numbered segment."""

    number: int
    messages: list[OutMessage] | Alike

    def topics(self) -> Counter[str]:
        """How many messages go to each topic."""
        if isinstance(self.messages, Alike):
            return Counter({self.messages.common.topic: len(self.messages)})
        return Counter(message.topic for message in self.messages)

    def message(self, position: int) -> OutMessage:
        """One of them."""
        return (each_of(self.messages) if isinstance(self.messages, Alike) else self.messages)[position]

    def calls(self, cursor: Header) -> Iterator[_Call]:
        """What the client is told of each message, in their order; all of them have this header too."""
        if isinstance(self.messages, Alike):
            topic, partition = self.messages.common.topic, self.messages.common.partition
            for key, value, timestamp_ms, headers in self.messages.parts(cursor):
                yield topic, value, key, partition, timestamp_ms, headers
        else:
            for each in self.messages:
                headers = [*each.headers, cursor]
                yield each.topic, each.value, each.key, each.partition, each.timestamp_ms, headers


class Refusal(msgspec.Struct, frozen=True):
    """A message that the broker does not take, whoever sends it."""

    publication: int
    position: int
    message: OutMessage
    error: str


class Sender:
    """Sends one pipeline's outbox."""

    def __init__(self, connection: Connection, outlet: Outlet, connections: Connections) -> None:
        self._connection = connection
        self._outlet = outlet
        self._connections = connections
        self._broker = Broker(connections)
        self._facts = {"pipeline_id": outlet.pipeline_id}
        self._name = group_name(connections, outlet.name)
        self.sent_to: Counter[str] = Counter()
        self.refused: list[Refusal] = []

    def send(self) -> None:
        """Send all that is numbered; afterwards `sent_to`, by topic, and `refused` say what became of it.

        Raises:
            CursorUnexplainedError, OtherClusterError: nothing was sent, a person has to look.
            FencedError, SendFailedError, KafkaUnreachableError: what was not sent is still in the outbox.
        """
        crash_point("publish.before_fence")
        with self.fenced() as group:
            self._settle(group)
            self._send_lots(group)

    def _fence(self, **config: int) -> Producer:
        """A fresh producer: librdkafka must not go on with one whose call timed out."""
        producer = Producer(
            client_config(
                self._connections,
                **{
                    "transactional.id": self._name,
                    "transaction.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
                    # As Java's clients do it, so that they find our keys in the same partitions.
                    "partitioner": "murmur2_random",
                    # The broker's limit counts, not the client's: its refusal names the message.
                    "message.max.bytes": 1_000_000_000,
                    # Requests are of use to the client when they are full, and a lot is sent at one go.
                    "linger.ms": 20,
                    # Of messages that went well nobody needs to be told.
                    "delivery.report.only.error": True,
                    **config,
                },
            )
        )
        warm_up(producer, self._outlet.source, self._connections)
        producer.init_transactions(FENCE_TIMEOUT_S)
        crash_point("publish.after_fence")
        return producer

    def begin_group(self) -> None:
        """Write cursor and positions into the group of a name that the pipeline is about to get; nothing is sent.

        All that was sent has to be marked, and the publish lock to be held.

        Raises:
            CursorUnexplainedError: the group has a cursor that this ledger has not written.
        """
        with self.fenced() as group:
            found, (marked, _) = group.cursor(self._outlet.source), self._publisher()
            known = Cursor(str(self._outlet.ledger), marked)
            # An earlier attempt was killed, or the pipeline had this name before.
            is_ours = isinstance(found, Cursor) and found.ledger == known.ledger and found.publication <= marked
            if found is not None and not is_ours:
                raise CursorUnexplainedError(
                    pipeline=self._outlet.name, group=self._name, found=found, known=f"none, or up to {known}"
                )
            self.write_cursor(group)

    @contextmanager
    def fenced(self) -> Iterator[Group]:
        """The group, while nobody else can send.

        Raises:
            FencedError, SendFailedError, KafkaUnreachableError: what was not written or sent is as it was.
        """
        try:
            self._producer = self._fence()
            with open_group(self._name, self._connections, self._broker) as group:
                yield group
        except KafkaException as error:
            raise self._translated(error) from error

    def write_cursor(self, group: Group) -> None:
        """Write the cursor that Postgres has marked, and the positions, into the group; nothing is sent."""
        self._transaction(group, [])

    # -- settle ----------------------------------------------------------------------------------------------------

    def _settle(self, group: Group) -> None:
        """Find out whether what was intended was sent, from the cursor alone; never guess."""
        self._refuse_other_cluster()
        marked, intent = self._publisher()
        ledger = str(self._outlet.ledger)
        found = group.cursor(self._outlet.source)
        if found is None:
            if marked:
                log.warning(
                    "%s: group %s has lost its cursor, asking our newest message", self._outlet.name, self._name
                )
            topics = self._outlet.topics
            ours = whose(self._connection, self._outlet)
            found = group.newest(topics, ours, self._redriven()) or Cursor(ledger, 0)
        if intent is not None and found == Cursor(ledger, intent):
            crash_point("publish.before_settled")
            log.info("%s: publications up to %d had been sent", self._outlet.name, intent)
            self._mark(intent)
        elif found != Cursor(ledger, marked):
            known = [str(Cursor(ledger, number)) for number in (marked, intent) if number is not None]
            raise CursorUnexplainedError(
                pipeline=self._outlet.name, group=self._name, found=found, known=" or ".join(known)
            )

    def _redriven(self) -> dict[str, dict[int, int]]:
        """The source, if dead letters were sent there again: from where on what is perhaps not marked yet may lie."""
        has_redriven, ends = one_row(self._connection, _OUTBOX["redriven"], self._facts)
        since = {int(partition): end for partition, end in (ends or {}).items()}
        return {self._outlet.source: since} if has_redriven else {}

    def _refuse_other_cluster(self) -> None:
        found = self._broker.cluster_id()
        row = self._connection.execute(_OUTBOX["cluster_id"], self._facts).fetchone()
        if row != (found,):
            raise OtherClusterError(
                pipeline=self._outlet.name,
                registered=row[0] if row else "none",
                found=found,
                bootstrap=self._connections.bootstrap,
            )

    def _publisher(self) -> tuple[int, int | None]:
        """The last publication that is marked as sent, and the last one that was about to be."""
        cursor, intent, _ = one_row(self._connection, _OUTBOX["publisher"], self._facts)
        return cursor, intent

    # -- intend, send, mark ----------------------------------------------------------------------------------------

    def _send_lots(self, group: Group) -> None:
        """Send lot after lot; with nothing to send, renew the group's offsets, which would expire."""
        sent_something = False
        while lot := self._next_lot():
            last = lot[-1].number
            self._connection.execute(_OUTBOX["intend"], {**self._facts, "number": last})
            crash_point("publish.after_intent")
            if self._transaction(group, lot):
                self._send_singly(group, lot)
            crash_point("publish.after_kafka_commit")
            self._mark(last)
            crash_point("publish.after_mark")
            for publication in lot:
                self.sent_to.update(publication.topics())
            sent_something = True
            log.info("%s: sent publications up to %d", self._outlet.name, last)
        self.sent_to.subtract(refusal.message.topic for refusal in self.refused)
        if not sent_something:
            crash_point("publish.before_renew")
            self.write_cursor(group)

    def _send_singly(self, group: Group, lot: list[Publication]) -> None:
        """Send a lot of which something was refused, setting aside what the broker does not take.

        It refuses record batches, good messages in them too. So each message is a batch of its own here.
        """
        while True:
            # A fresh one each time: after a refusal, the client's sequence numbers may have a hole.
            self._producer = self._fence(**{"batch.num.messages": 1})
            refused = self._transaction(group, lot)
            if not refused:
                break
            self._set_aside(refused)
        self._producer = self._fence()

    def _next_lot(self) -> list[Publication]:
        waiting = self._connection.execute(_OUTBOX["waiting_publications"], self._facts).fetchall()
        if not waiting:
            return []
        last = lot_end([Size(*row) for row in waiting], LOT_MESSAGES, LOT_BYTES)
        facts = {**self._facts, "last": last}
        # As text, each byte of a payload would come as two digits.
        rows = self._connection.execute(_OUTBOX["publications"], facts, binary=True).fetchall()
        return [Publication(number, open_segment(payload)) for number, payload in rows]

    def _transaction(self, group: Group, lot: list[Publication]) -> list[Refusal]:
        """One Kafka transaction. Returns the messages for which it cannot be committed, none if it was.

        It is then left open for the next producer's init_transactions() to abort: this one's would first wait for
        answers that nobody polls for.
        """
        producer = self._producer
        producer.begin_transaction()
        refused: list[Refusal] = []
        try:
            self._produce_lot(producer, lot, refused)
        except KafkaException:
            if not refused:
                raise
        if refused:
            return refused
        number = lot[-1].number if lot else self._publisher()[0]
        positions, metadata = self._positions(number), group.metadata()
        # Its own timeout is not kept when the group's coordinator is gone (librdkafka 2.16, issue 5456).
        bounded(lambda: producer.send_offsets_to_transaction(positions, metadata, KAFKA_TIMEOUT_S), KAFKA_TIMEOUT_S + 1)
        crash_point("publish.before_kafka_commit")
        producer.commit_transaction(FENCE_TIMEOUT_S)
        return []

    def _produce_lot(self, producer: Producer, lot: list[Publication], refused: list[Refusal]) -> None:
        """Produce what was not set aside and wait for the answers; the first refusal spoils the transaction."""
        aside = {(refusal.publication, refusal.position) for refusal in self.refused}
        try:
            for publication in lot:
                cursor = str(Cursor(str(self._outlet.ledger), publication.number)).encode()
                for position, call in enumerate(publication.calls((CURSOR, cursor))):
                    if not aside or (publication.number, position) not in aside:
                        _produce(producer, call, partial(_answered, refused, publication, position))
                    if position % _POLL_MESSAGES == 0:
                        producer.poll(0)
                crash_point("publish.inside_transaction")
        finally:
            self._await_answers(producer, refused)

    def _await_answers(self, producer: Producer, refused: list[Refusal]) -> None:
        """Wait until the broker has answered for every message, or has refused one: then no more are sent.

        By polling: `flush` goes on with delivery reports when the client has raised, and hides what it raised.
        """
        deadline_s = monotonic() + TRANSACTION_TIMEOUT_S
        while len(producer) and not refused:
            producer.poll(0.1)
            if monotonic() > deadline_s:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _positions(self, number: int) -> list[TopicPartition]:
        """The contiguous covered end of each source partition; the cursor goes with partition 0."""
        cursor = str(Cursor(str(self._outlet.ledger), number))
        rows = self._connection.execute(_OUTBOX["positions"], self._facts).fetchall()
        topic = self._outlet.source
        return [
            TopicPartition(topic, partition, covered_until, metadata=cursor if partition == 0 else "")
            for partition, covered_until in rows
        ]

    def _mark(self, number: int) -> None:
        with self._connection.transaction():
            self._connection.execute(_OUTBOX["mark"], {**self._facts, "number": number})

    def _set_aside(self, refused: list[Refusal]) -> None:
        """Keep refused messages in Postgres, so that the rest can go on."""
        with self._connection.transaction():
            for refusal in refused:
                facts = {
                    **self._facts,
                    "publication": refusal.publication,
                    "position": refusal.position,
                    "topic": refusal.message.topic,
                    "error": refusal.error,
                    "payload": encode_segment([refusal.message]),
                }
                self._connection.execute(_OUTBOX["set_aside"], facts)
        self.refused += refused

    def _translated(self, error: KafkaException) -> Exception:
        kafka_error = error.args[0]
        if kafka_error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
            return FencedError(pipeline=self._outlet.name, transactional_id=self._name)
        marked, intent = self._publisher()
        return unreachable(error, self._connections) or SendFailedError(
            pipeline=self._outlet.name, first=marked + 1, last=intent or marked, reason=kafka_error.str()
        )


def _produce(producer: Producer, call: _Call, answered: Callable[[KafkaError | None, KafkaMessage], None]) -> None:
    topic, value, key, partition, timestamp_ms, headers = call
    place = _BY_KEY if partition is None else partition
    while True:
        try:
            producer.produce(topic, value, key, place, on_delivery=answered, timestamp=timestamp_ms, headers=headers)
        except BufferError:
            producer.poll(0.1)  # the client's queue is full: let it send
        else:
            return


def _answered(
    refused: list[Refusal], publication: Publication, position: int, error: KafkaError | None, _: KafkaMessage
) -> None:
    if error is not None and error.code() in _REFUSALS:
        refused.append(Refusal(publication.number, position, publication.message(position), error.str()))
