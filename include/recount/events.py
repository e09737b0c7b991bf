"""Which messages count and which are rejects or too late: the rules of events, above those of documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from recount import windows
from recount.definition import Definition
from recount.documents import members
from recount.errors import InvalidError
from recount.times import DATES_S, since_epoch_us
from recount.value_formats import Read
from recount.values import struct

LATE: Final = "late"
_LAST_MS: Final = DATES_S[-1] * 1_000


@dataclass(frozen=True, slots=True)
class Event:
    """A message that can be read: the values of its declared fields, and its event time in µs since 1970 UTC."""

    values: Mapping[str, Any]
    time_us: int


def judge(definition: Definition, value: bytes, timestamp_ms: int, read: Read = members) -> Event:
    """The event in a message.

    Args:
        definition: the pipeline.
        value: the message's value; tombstones are not judged.
        timestamp_ms: Kafka's timestamp of the message.
        read: gives the members of a value.

    Raises:
        InvalidError: the message is a reject; the text says why.
    """
    values = struct(definition.fields, read(value))
    return Event(values, _time_us(definition, values, timestamp_ms))


def is_late(definition: Definition, event: Event, timestamp_ms: int) -> bool:
    """Whether Kafka had the message too long after the first of its windows had ended."""
    if definition.allowed_lateness_us is None or not definition.windows:
        return False
    ends_s = [windows.of(window, event.time_us).end_s for window in definition.windows]
    return timestamp_ms * 1_000 - min(ends_s) * 1_000_000 > definition.allowed_lateness_us


def _time_us(definition: Definition, values: Mapping[str, Any], timestamp_ms: int) -> int:
    if timestamp_ms > _LAST_MS:
        raise InvalidError("Kafka's timestamp {} ms is beyond the calendar", timestamp_ms)
    if definition.event_time is None:
        if timestamp_ms < 0:
            raise InvalidError("Kafka's timestamp {} ms is no date", timestamp_ms)
        return timestamp_ms * 1_000
    found = values[definition.event_time]
    if found is None:
        raise InvalidError("no event time in {}", definition.event_time)
    time_us = since_epoch_us(found)
    if time_us - timestamp_ms * 1_000 > definition.max_future_us:
        raise InvalidError("event time {} is too far ahead of Kafka's {} ms", found, timestamp_ms)
    return time_us
