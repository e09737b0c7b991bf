"""Looking at Kafka from outside: read_committed, assigned by hand, nothing committed, nothing created."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from recount.errors import DeletedError, OffsetsPendingError, StalledError

TIMEOUT_S: Final = 15.0
STALLED_S: Final = 60.0
_LOT: Final = 1000
_LOT_S: Final = 0.05  # consume() waits as long for a lot that stays incomplete
_GROUP: Final = "microbatch.reader"  # assigned only: no group is made, but its name has to be allowed
_SPEC: Final[Any] = OffsetSpec  # its methods have no types

Header = tuple[str, bytes | None]

Address = str | Mapping[str, str]
"""Kafka's address, or librdkafka's settings with it and what it needs beside, such as TLS."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is on the topic; `value` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]

    @property
    def where(self) -> str:
        """Topic, partition and offset."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    def header(self, name: str) -> str | None:
        """The last header of that name as text; None if it is not there or is not UTF-8."""
        for header, value in reversed(self.headers):
            if header == name:
                return _text(value)
        return None


@dataclass(frozen=True, slots=True)
class Ends:
    """A partition's low watermark, last stable offset and high watermark."""

    low: int
    last_stable: int
    high: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's committed offset of a partition, and its metadata."""

    offset: int
    metadata: str


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _admin(bootstrap: Address) -> AdminClient:
    # Errors are raised; the client's own lines on stderr would only stand between ours.
    return AdminClient({**_settings(bootstrap), "log_level": 2})


def _settings(bootstrap: Address) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap} if isinstance(bootstrap, str) else dict(bootstrap)


def topics(bootstrap: Address, names: set[str]) -> dict[str, UUID]:
    """The ids of those topics that exist."""
    admin = _admin(bootstrap)
    futures = admin.describe_topics(TopicCollection(sorted(names)), request_timeout=TIMEOUT_S)
    found = {}
    for name, future in futures.items():
        try:
            found[name] = _uuid(future.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def ends(bootstrap: Address, topic: str) -> dict[int, Ends]:
    """Where each partition of a topic begins and ends now."""
    admin = _admin(bootstrap)
    partitions = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
    low = _offsets(admin, topic, partitions, _SPEC.earliest(), IsolationLevel.READ_UNCOMMITTED)
    stable = _offsets(admin, topic, partitions, _SPEC.latest(), IsolationLevel.READ_COMMITTED)
    high = _offsets(admin, topic, partitions, _SPEC.latest(), IsolationLevel.READ_UNCOMMITTED)
    return {partition: Ends(low[partition], stable[partition], high[partition]) for partition in partitions}


def since(bootstrap: Address, topic: str, ends: Mapping[int, Ends], time_ms: int) -> dict[int, int]:
    """The first offset of each partition whose message is as young as that; the high watermark, where none is."""
    found = _offsets(
        _admin(bootstrap), topic, ends, _SPEC.for_timestamp(max(0, time_ms)), IsolationLevel.READ_UNCOMMITTED
    )
    return {partition: offset if offset >= 0 else ends[partition].high for partition, offset in found.items()}


def read(bootstrap: Address, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
    """All committed messages with offsets in `[start, end)` of each partition, in the order of each.

    Raises:
        DeletedError: a start is no longer on the broker.
        KafkaException: the broker fails.
        StalledError: nothing came for a minute although an end was not reached.
    """
    consumer = Consumer(_reader(bootstrap, _GROUP))
    try:
        yield from _read(consumer, topic, {p: span for p, span in spans.items() if span[0] < span[1]})
    finally:
        consumer.close()


def committed(bootstrap: Address, group: str, topic: str, partitions: list[int]) -> dict[int, Committed]:
    """What the group has committed; partitions without an offset are left out.

    The consumer is read_committed: only then does the broker wait for pending transactional offsets.

    Raises:
        OffsetsPendingError: a transaction of the group is open.
    """
    consumer = Consumer(_reader(bootstrap, group))
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in partitions], timeout=TIMEOUT_S)
    except KafkaException as error:
        pending = (KafkaError._TIMED_OUT, KafkaError.UNSTABLE_OFFSET_COMMIT)
        if error.args[0].code() in pending:
            raise OffsetsPendingError("a transaction of group {} is open", group) from error
        raise
    finally:
        consumer.close()
    return {at.partition: Committed(at.offset, at.metadata or "") for at in found if at.offset >= 0}


def _reader(bootstrap: Address, group: str) -> dict[str, Any]:
    return {
        **_settings(bootstrap),
        "group.id": group,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "check.crcs": True,
        "fetch.queue.backoff.ms": 5,  # else a fast reader waits a second for each full queue
        "fetch.wait.max.ms": 20,  # else the end of each topic is known half a second late
    }


def _read(consumer: Consumer, topic: str, spans: dict[int, tuple[int, int]]) -> Iterator[Message]:
    consumer.assign([TopicPartition(topic, partition, start) for partition, (start, _) in spans.items()])
    unfinished = {partition: end for partition, (_, end) in spans.items()}
    deadline = time.monotonic() + STALLED_S
    while unfinished:
        for raw in consumer.consume(_LOT, timeout=_LOT_S):
            deadline = time.monotonic() + STALLED_S
            partition = int(raw.partition() or 0)
            end = unfinished.get(partition)
            if end is None:
                continue
            if _position(raw) >= end:
                del unfinished[partition]
            elif raw.error() is None:
                yield _message(raw)
        if time.monotonic() > deadline:
            raise StalledError("{}: nothing came for {:.0f} s below {}", topic, STALLED_S, unfinished)


def _position(raw: Any) -> int:
    """The offset of a message, or of the end of its partition."""
    error = raw.error()
    if error is not None and error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise DeletedError("{}[{}]: retention deletes what is being read", raw.topic(), raw.partition())
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return int(raw.offset())


def _message(raw: Any) -> Message:
    return Message(
        topic=raw.topic(),
        partition=raw.partition(),
        offset=raw.offset(),
        timestamp_ms=raw.timestamp()[1],
        key=raw.key(),
        value=raw.value(),
        headers=tuple(raw.headers() or ()),
    )


def _offsets(
    admin: AdminClient, topic: str, partitions: Mapping[int, Any], spec: Any, level: IsolationLevel
) -> dict[int, int]:
    asked = {TopicPartition(topic, partition): spec for partition in partitions}
    futures = admin.list_offsets(asked, isolation_level=level, request_timeout=TIMEOUT_S)
    return {at.partition: future.result().offset for at, future in futures.items()}


def _uuid(topic_id: Any) -> UUID:
    high, low = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
    return UUID(int=((high & (2**64 - 1)) << 64) | (low & (2**64 - 1)))
