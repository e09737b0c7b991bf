"""From bytes to typed events, or to rejects that keep every byte. Pure: a message's fate depends on nothing else."""

from datetime import timedelta
from typing import Final

import msgspec

from microbatch.event import LAST_S, Event
from microbatch.fields import check_of, nul_check_of, strict_type, time_us
from microbatch.outputs import MAX_REASON_CHARACTERS
from microbatch.pipeline import Pipeline

# The deepest nesting that decodes whatever the stack of the caller is: Python's recursion limit is 1000 frames.
MAX_DEPTH: Final = 500
_NUL: Final = b"\\u0000"
_MICROSECONDS: Final = timedelta(microseconds=1)

Header = tuple[str, bytes | None]


class Message(msgspec.Struct, frozen=True):
    """A message as it was read.

    Attributes:
        partition: of the source topic.
        offset: in that partition.
        timestamp_ms: Kafka's, in milliseconds since 1970-01-01 UTC.
        key: as it came.
        value: as it came; None is a tombstone.
        headers: as they came, in their order.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class Reject(msgspec.Struct, frozen=True):
    """A message that does not count, whole, and why.

    Attributes:
        is_invalid: it is no valid event. Others are valid, and broke a rule of the declaration.
    """

    message: Message
    reason: str
    is_invalid: bool = True


class Decoded(msgspec.Struct, frozen=True):
    """What a chunk of messages turned into.

    Attributes:
        messages: of the valid events, in their order.
        events: the valid events.
        event_times_us: of each event, in microseconds since 1970-01-01 UTC.
        rejects: the invalid ones, in their order.
    """

    messages: list[Message]
    events: list[Event]
    event_times_us: list[int]
    rejects: list[Reject]


class Decoder:
    """Decodes the messages of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._decode = msgspec.json.Decoder(strict_type(pipeline.event)).decode
        found = pipeline.fields
        self._checks = [(name, check) for name, field in found.items() if (check := check_of(field))]
        self._nul_checks = [(name, check) for name, field in found.items() if (check := nul_check_of(field))]
        self._event_time = pipeline.source.event_time
        self._to_us = time_us(found[self._event_time].type) if self._event_time else None
        self._max_future_us = pipeline.max_future // _MICROSECONDS

    def decode(self, messages: list[Message]) -> Decoded:
        """Decode a chunk; tombstones are skipped. Never raises for what a message contains."""
        valid: list[Message] = []
        events: list[Event] = []
        times_us: list[int] = []
        rejects: list[Reject] = []
        for message in messages:
            if message.value is None:
                continue
            try:
                event = self._event(message.value)
                times_us.append(self._time_us(event, message.timestamp_ms))
            except (ValueError, RecursionError) as error:
                rejects.append(Reject(message, reason_of(error)))
            else:
                events.append(event)
                valid.append(message)
        return Decoded(valid, events, times_us, rejects)

    def _event(self, value: bytes) -> Event:
        # Depth is judged before decoding, for what fits into the stack depends on who calls.
        if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        event = self._decode(value)
        for name, check in self._checks:
            check(getattr(event, name))
        if _NUL in value:
            for name, check in self._nul_checks:
                check(getattr(event, name))
        return event

    def _time_us(self, event: Event, timestamp_ms: int) -> int:
        if timestamp_ms > LAST_S * 1000:
            raise ValueError(f"Kafka's timestamp {timestamp_ms} ms is no time that a column can have")
        if self._event_time is None or self._to_us is None:
            if timestamp_ms < 0:
                raise ValueError(f"Kafka's timestamp {timestamp_ms} ms is no time that a window can have")
            return timestamp_ms * 1000
        event_us = self._to_us(getattr(event, self._event_time))
        ahead_us = event_us - timestamp_ms * 1000
        if ahead_us > self._max_future_us:
            raise ValueError(
                f"event time is {ahead_us // 1_000_000} s ahead of Kafka's timestamp, more than max_future "
                f"({self._max_future_us // 1_000_000} s) - at `$.{self._event_time}`"
            )
        return event_us


def _depth(value: bytes) -> int:
    """How deep arrays and objects are nested; what stands in strings does not count."""
    deepest = depth = 0
    in_string = escaped = False
    for byte in value:
        if in_string:
            in_string, escaped = escaped or byte != 0x22, byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def reason_of(error: Exception) -> str:
    """One line that PostgreSQL and a header can hold."""
    text = str(error).replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()
    return text[:MAX_REASON_CHARACTERS]
