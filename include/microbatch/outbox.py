"""What goes to Kafka: messages, encoded into segments that wait in Postgres. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from microbatch.decoding import Header, Reject

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
_decoder: Final = msgspec.msgpack.Decoder(list[OutMessage])
_json: Final = msgspec.json.Encoder(decimal_format="string")


def encode_segment(messages: list[OutMessage]) -> bytes:
    """A segment's payload."""
    return _encoder.encode(messages)


def decode_segment(payload: bytes) -> list[OutMessage]:
    """The messages of a payload, in their order."""
    return _decoder.decode(payload)


def lot_end(waiting: list[Size], max_messages: int, max_bytes: int) -> int:
    """The number of the last publication of a lot: as many whole ones as fit, in their order, but at least one."""
    last, messages, size = waiting[0].number, 0, 0
    for item in waiting:
        messages, size = messages + item.messages, size + item.bytes
        if item is not waiting[0] and (messages > max_messages or size > max_bytes):
            break
        last = item.number
    return last


def dead_letter(
    reject: Reject, *, topic: str, partitions: int, source: str, pipeline: str, batch_id: int
) -> OutMessage:
    """The message of a reject: key, value, headers and timestamp as they came, and where from and why."""
    message = reject.message
    facts = {
        REASON: reject.reason,
        TOPIC: source,
        PARTITION: message.partition,
        OFFSET: message.offset,
        PIPELINE: pipeline,
        BATCH: batch_id,
    }
    return OutMessage(
        topic=topic,
        partition=message.partition % partitions,
        key=message.key,
        value=message.value,
        timestamp_ms=message.timestamp_ms,
        headers=message.headers + tuple((name, str(value).encode()) for name, value in facts.items()),
    )


def result_message(
    *, topic: str, pipeline: str, key: dict[str, Any], value: dict[str, Any], revision: int, retracted: bool
) -> OutMessage:
    """The message of a published revision; a retraction is a tombstone.

    Args:
        topic: of the results.
        pipeline: its name.
        key: window_start and the columns of `by`.
        value: all columns of the result.
        revision: of the result.
        retracted: the result has vanished.
    """
    window_end: datetime = value["window_end"]
    return OutMessage(
        topic=topic,
        partition=None,
        key=_json.encode(_plain(key)),
        value=None if retracted else _json.encode(_plain(value)),
        timestamp_ms=int(window_end.timestamp() * 1000),
        headers=((PIPELINE, pipeline.encode()), (REVISION, str(revision).encode())),
    )


def _plain(columns: dict[str, Any]) -> dict[str, Any]:
    """Sums of integers are numeric in Postgres and integers in JSON; times are ISO 8601 in UTC with a Z."""
    return {
        name: int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value
        for name, value in columns.items()
    }
