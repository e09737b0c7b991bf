"""From bytes to typed events, or to rejects that keep every byte.

Pure: a message's fate depends on nothing else. Where values name a schema of a registry it depends on that, too.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, cast

import msgspec
import numpy as np
from confluent_kafka import Message as RawMessage

from microbatch.columns import Integers, is_number_of_time, microseconds, reader
from microbatch.event import LAST_S, Event
from microbatch.fields import Check, FieldType, check_of, nul_check_of, strict_type
from microbatch.outputs import MAX_REASON_CHARACTERS
from microbatch.pipeline import Pipeline
from microbatch.translating import Translate

# The deepest nesting that decodes whatever the stack of the caller is: Python's recursion limit is 1000 frames.
MAX_DEPTH: Final = 500
_NUL: Final = b"\\u0000"
_MICROSECONDS: Final = timedelta(microseconds=1)
# What is called once a message stands here without the types' doubts: neither has a tombstone reached it, nor an error.
_VALUE: Final = cast("Callable[[RawMessage], bytes]", RawMessage.value)

Header = tuple[str, bytes | None]
RawHeaders = list[tuple[str, bytes | None]]  # what the client gives; its type hint also has forms that it takes


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
    """What some messages turned into.

    Attributes:
        messages: of the valid events, in their order.
        events: the valid events.
        event_times_us: of each event, in microseconds since 1970-01-01 UTC.
        timestamps_ms: Kafka's, of each event's message, in milliseconds since 1970-01-01 UTC.
        rejects: the invalid ones, in their order.
        size: bytes of all values, in JSON.
        longest: bytes of the longest one, in JSON.
    """

    messages: list[RawMessage]
    events: list[Event]
    event_times_us: Integers
    timestamps_ms: Integers
    rejects: list[Reject]
    size: int
    longest: int


class Decoder:
    """Decodes the messages of one pipeline.

    Messages are decoded many at a time, each step over all of them. If one of them does not pass a step, all are
    decoded again one at a time, by the same rules, to find out which.
    """

    def __init__(self, pipeline: Pipeline, translate: Translate | None = None) -> None:
        """A decoder of values that are JSON, or are translated to it before all else."""
        self._translate = translate
        self._decode = msgspec.json.Decoder(strict_type(pipeline.event)).decode
        found = pipeline.fields
        self._types = {name: field.type for name, field in found.items()}
        self._checks = [(name, check) for name, field in found.items() if (check := check_of(field))]
        self._nul_checks = [(name, check) for name, field in found.items() if (check := nul_check_of(field))]
        self._event_time = pipeline.source.event_time
        self._max_future_us = pipeline.max_future // _MICROSECONDS

    def decode(self, messages: list[RawMessage]) -> Decoded:
        """Decode some messages; tombstones are skipped. Never raises for what a message contains.

        Raises:
            MicrobatchError: values name schemas, and their registry does not answer.
        """
        values = [*map(_VALUE, messages)]
        try:
            text = b"".join(values)
        except TypeError:  # A tombstone has no value. To look for None takes as long as to join them.
            return self.decode([message for message in messages if message.value() is not None])
        try:
            if self._translate is not None:
                texts = [*map(self._translate, values)]
                return self._all(messages, texts, b"".join(texts))
            return self._all(messages, values, text)
        except (ValueError, RecursionError):
            return self._each(messages, values)

    def _all(self, messages: list[RawMessage], values: list[bytes], text: bytes) -> Decoded:
        """What all of them, joined in `text`, turn into; raises if one of them is invalid."""
        longest = max(map(len, values), default=0)
        # No message is deeper than it is long.
        if longest > MAX_DEPTH:
            for value in values:
                _refuse_deep(value)
        events = [*map(self._decode, values)]
        for name, check in self._checks:
            if name != self._event_time:
                _check_all(self._types[name], check, reader(name)(events))
        if self._nul_checks and _has_nul(text):
            raise ValueError("one of them may have a NUL")
        timestamps_ms = np.fromiter([message.timestamp()[1] for message in messages], np.int64, len(messages))
        times_us = self._times_us(events, timestamps_ms)
        return Decoded(messages, events, times_us, timestamps_ms, [], len(text), longest)

    def _times_us(self, events: list[Event], timestamps_ms: Integers) -> Integers:
        """The times of all events; raises if one of them is none."""
        # Old clients send no timestamp: it is -1.
        first_ms = 0 if self._event_time is None else -1
        if timestamps_ms.size and not first_ms <= timestamps_ms.min() <= timestamps_ms.max() <= LAST_S * 1000:
            raise ValueError("one of Kafka's timestamps may be no time")
        if self._event_time is None:
            return timestamps_ms * 1000
        times_us = microseconds(self._types[self._event_time], reader(self._event_time)(events))
        if (times_us - timestamps_ms * 1000 > self._max_future_us).any():
            raise ValueError("one of them is too far ahead")
        return times_us

    def _each(self, messages: list[RawMessage], values: list[bytes]) -> Decoded:
        """What each of them turns into."""
        valid: list[RawMessage] = []
        events: list[Event] = []
        times_us: list[int] = []
        timestamps_ms: list[int] = []
        rejects: list[Reject] = []
        sizes: list[int] = []
        for message, value in zip(messages, values, strict=True):
            timestamp_ms = message.timestamp()[1]
            try:
                text = value if self._translate is None else self._translate(value)
                sizes.append(len(text))
                event = self._event(text)
                times_us.append(self._time_us(event, timestamp_ms))
            except (ValueError, RecursionError) as error:
                rejects.append(Reject(whole(message), reason_of(error)))
            else:
                events.append(event)
                timestamps_ms.append(timestamp_ms)
                valid.append(message)
        columns = np.array(times_us, np.int64), np.array(timestamps_ms, np.int64)
        return Decoded(valid, events, *columns, rejects, sum(sizes), max(sizes, default=0))

    def _event(self, value: bytes) -> Event:
        _refuse_deep(value)
        event = self._decode(value)
        for name, check in self._checks:
            check(getattr(event, name))
        if _has_nul(value):
            for name, check in self._nul_checks:
                check(getattr(event, name))
        return event

    def _time_us(self, event: Event, timestamp_ms: int) -> int:
        if timestamp_ms > LAST_S * 1000:
            raise ValueError(f"Kafka's timestamp {timestamp_ms} ms is no time that a column can have")
        if self._event_time is None:
            if timestamp_ms < 0:
                raise ValueError(f"Kafka's timestamp {timestamp_ms} ms is no time that a window can have")
            return timestamp_ms * 1000
        event_us = int(microseconds(self._types[self._event_time], [getattr(event, self._event_time)])[0])
        ahead_us = event_us - timestamp_ms * 1000
        if ahead_us > self._max_future_us:
            raise ValueError(
                f"event time is {ahead_us // 1_000_000} s ahead of Kafka's timestamp, more than max_future "
                f"({self._max_future_us // 1_000_000} s) - at `$.{self._event_time}`"
            )
        return event_us


def whole(message: RawMessage) -> Message:
    """A message with all that it has."""
    return Message(
        partition=cast("int", message.partition()),
        offset=cast("int", message.offset()),
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value) for name, value in cast("RawHeaders", message.headers() or ())),
    )


def _check_all(type_: FieldType, check: Check, values: list[Any]) -> None:
    if is_number_of_time(type_) and None not in values:
        microseconds(type_, values)
        return
    for value in values:
        check(value)


def _has_nul(text: bytes) -> bool:
    """Whether it has the escape of a NUL; most texts have no escape at all, which is soon seen."""
    return b"\\" in text and _NUL in text


def _refuse_deep(value: bytes) -> None:
    """Depth is judged before decoding, for what fits into the stack depends on who calls."""
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


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
