"""What goes to Kafka: messages, encoded into segments that wait in Postgres. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from microbatch.columntypes import Column, json_value
from microbatch.decoding import Header, Message, Reject
from microbatch.jsontexts import json_objects
from microbatch.packing import Alike, Bodies, Common, Packed, unpacked
from microbatch.pairing import PAIR_COLUMNS, Paired
from microbatch.rows import Rows

SEGMENT_MESSAGES: Final = 10_000
SEGMENT_BYTES: Final = 4 * 1024 * 1024

# Names of headers, part of the formats that consumers rely on.
CURSOR: Final = "microbatch.cursor"
PIPELINE: Final = "microbatch.pipeline"
REVISION: Final = "microbatch.revision"
REASON: Final = "microbatch.reason"
TOPIC: Final = "microbatch.topic"
PARTITION: Final = "microbatch.partition"
OFFSET: Final = "microbatch.offset"
BATCH: Final = "microbatch.batch"
# Of a dead letter that was sent to its topic again: where the message was that it repeats, as `sales-usd[3]@4711`.
REDRIVEN: Final = "microbatch.redriven"

# What a dead letter gets, and does not take along when it goes back.
_OF_LETTERS: Final = frozenset((REASON, TOPIC, PARTITION, OFFSET, PIPELINE, BATCH, CURSOR))


class OutMessage(msgspec.Struct, frozen=True, array_like=True):
    """A message for an output topic.

    Attributes:
        topic: where it goes.
        partition: None: by the hash of its key, as Java's clients do it.
        key: bytes of the key.
        value: None is a tombstone.
        timestamp_ms: milliseconds since 1970-01-01 UTC.
        headers: less the cursor, which is known when the message is sent.
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[Header, ...]

    @property
    def size(self) -> int:
        """Bytes, near enough."""
        return len(self.key or b"") + len(self.value or b"") + sum(len(v or b"") for _, v in self.headers) + 64


class Cursor(msgspec.Struct, frozen=True):
    """How far a ledger's publications have been sent. In Kafka it is JSON, in offsets' metadata and in headers."""

    ledger: str
    publication: int

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


class Size(msgspec.Struct, frozen=True):
    """How large a publication is."""

    number: int
    messages: int
    bytes: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[OutMessage] | Packed)
_json: Final = msgspec.json.Encoder()


def encode_segment(messages: list[OutMessage]) -> bytes:
    """A segment's payload."""
    return _encoder.encode(messages)


def encode_packed(messages: Packed) -> bytes:
    """A segment's payload. In msgpack it is a map, other than a list of messages."""
    return _encoder.encode(messages)


def open_segment(payload: bytes) -> list[OutMessage] | Alike:
    """The messages of a payload, as they are in it."""
    found = _decoder.decode(payload)
    return unpacked(found) if isinstance(found, Packed) else found


def decode_segment(payload: bytes) -> list[OutMessage]:
    """The messages of a payload, in their order."""
    found = open_segment(payload)
    return each_of(found) if isinstance(found, Alike) else found


def each_of(messages: Alike) -> list[OutMessage]:
    """Messages that are alike, one by one."""
    topic, partition = messages.common.topic, messages.common.partition
    return [
        OutMessage(topic, partition, key, value, timestamp_ms, tuple(headers))
        for key, value, timestamp_ms, headers in messages.parts()
    ]


def is_full(messages: int, size: int) -> bool:
    """Whether a segment has as many messages, or bytes, as it holds."""
    return messages >= SEGMENT_MESSAGES or size >= SEGMENT_BYTES


def segments(messages: Iterable[OutMessage]) -> Iterator[list[OutMessage]]:
    """Messages in their order, as many at a time as a segment holds."""
    some: list[OutMessage] = []
    size = 0
    for message in messages:
        some.append(message)
        size += message.size
        if is_full(len(some), size):
            yield some
            some, size = [], 0
    if some:
        yield some


def lot_end(waiting: list[Size], max_messages: int, max_bytes: int) -> int:
    """The number of the last publication of a lot: as many whole ones as fit, in their order, but at least one."""
    last, messages, size = waiting[0].number, 0, 0
    for item in waiting:
        messages, size = messages + item.messages, size + item.bytes
        if item is not waiting[0] and (messages > max_messages or size > max_bytes):
            break
        last = item.number
    return last


class Origin(msgspec.Struct, frozen=True):
    """Where the messages of a batch come from, and where they go.

    Attributes:
        pipeline: its name.
        source: its source topic.
        batch_id: of the batch.
        sink_partitions: of each sink topic, counted when the pipeline was registered.
    """

    pipeline: str
    source: str
    batch_id: int
    sink_partitions: dict[str, int]

    def message(
        self, topic: str, partition: int, offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None
    ) -> OutMessage:
        """A message that keeps key and timestamp of its source, and the order of its source's partition."""
        return OutMessage(
            topic=topic,
            partition=partition % self.sink_partitions[topic],
            key=key,
            value=value,
            timestamp_ms=timestamp_ms,
            headers=self.headers(partition, offset),
        )

    def common(self, topic: str, partition: int) -> Common:
        """What messages have in common that come from a partition of the source."""
        headers = self.headers(partition, 0)
        at = [name for name, _ in headers].index(OFFSET)
        return Common(topic, partition % self.sink_partitions[topic], headers[:at], OFFSET, headers[at + 1 :])

    def headers(self, partition: int, offset: int) -> tuple[Header, ...]:
        """Headers that say where a message comes from."""
        facts = {
            TOPIC: self.source,
            PARTITION: partition,
            OFFSET: offset,
            PIPELINE: self.pipeline,
            BATCH: self.batch_id,
        }
        return tuple((name, str(value).encode()) for name, value in facts.items())


def dead_letter(origin: Origin, topic: str, reject: Reject) -> OutMessage:
    """The message of a reject: key, value, headers and timestamp as they came, and where from and why."""
    at = reject.message
    letter = origin.message(topic, at.partition, at.offset, at.timestamp_ms, at.key, at.value)
    return msgspec.structs.replace(letter, headers=(*at.headers, (REASON, reject.reason.encode()), *letter.headers))


def place_of(topic: str, headers: Iterable[Header]) -> tuple[str, int, int] | None:
    """What a message on a topic stands for: partition and offset of its source, by its headers; None: a result.

    Of a stream's row or a dead letter that is the message it came from, of a redriven one the one that it repeats.
    """
    found = {name: (value or b"").decode(errors="replace") for name, value in headers}
    if REDRIVEN in found and PARTITION not in found:
        partition, _, offset = found[REDRIVEN].removeprefix(f"{topic}[").partition("]@")
        return topic, int(partition), int(offset)
    return (topic, int(found[PARTITION]), int(found[OFFSET])) if PARTITION in found else None


def redriven_message(pipeline: str, topic: str, partitions: int, message: Message) -> OutMessage:
    """A dead letter's message, on its way to its topic again.

    Args:
        pipeline: which rejected it.
        topic: the source, which has so many `partitions` now; of one that is there no more, any other will do.
        partitions: see above.
        message: as the source had it, with the headers of its dead letter.
    """
    kept = (header for header in message.headers if header[0] not in _OF_LETTERS and header[0] != REDRIVEN)
    origin = f"{topic}[{message.partition}]@{message.offset}"
    return OutMessage(
        topic=topic,
        partition=message.partition if message.partition < partitions else None,
        key=message.key,
        value=message.value,
        timestamp_ms=message.timestamp_ms,
        headers=(*kept, (REDRIVEN, origin.encode()), (PIPELINE, pipeline.encode())),
    )


def row_bodies(rows: Rows, columns: list[Column]) -> Bodies:
    """Those of a stream's rows."""
    return Bodies(rows.offsets, rows.keys, rows.timestamps_ms, json_objects(columns, rows.values))


def pair_bodies(pairs: Paired) -> Bodies:
    """Those of pairs: they keep key, timestamp and place of their later events."""
    columns = [Column(name, "bigint", "") for name in PAIR_COLUMNS]
    return Bodies(pairs.offsets, pairs.keys, pairs.timestamps_ms, json_objects(columns, pairs.values))


def result_message(
    topic: str, pipeline: str, key: list[Column], columns: list[Column], values: Sequence[Any]
) -> OutMessage:
    """The message of a published revision; a retraction is a tombstone.

    Args:
        topic: of the results.
        pipeline: its name.
        key: the columns of its key.
        columns: of the result, `window_end`, `revision` and `retracted` among them.
        values: of those columns.
    """
    row = dict(zip((column.name for column in columns), values, strict=True))
    shown = _plain(columns, values)
    retracted = shown.pop("retracted")
    window_end: datetime = row["window_end"]
    return OutMessage(
        topic=topic,
        partition=None,
        key=_json.encode({column.name: shown[column.name] for column in key}),
        value=None if retracted else _json.encode(shown),
        timestamp_ms=int(window_end.timestamp() * 1000),
        headers=((PIPELINE, pipeline.encode()), (REVISION, str(row["revision"]).encode())),
    )


def _plain(columns: Iterable[Column], values: Iterable[Any]) -> dict[str, Any]:
    return {column.name: json_value(value, column.kind) for column, value in zip(columns, values, strict=True)}
