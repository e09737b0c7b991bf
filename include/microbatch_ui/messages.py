"""Messages as people read them, and pages of them. Pure: what Kafka has given comes in."""

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from heapq import merge
from itertools import accumulate
from typing import Final, cast

import msgspec
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import Message as RawMessage

from microbatch.event import EPOCH

CUT_BYTES: Final = 64 * 1024
MOST_MESSAGES: Final = 500
# Of an answer, and of what is held of one partition while it is read.
MOST_BYTES: Final = 4 * 1024 * 1024
# Each level of JSON indents all that is below it, so a text of nothing but brackets would grow by the square.
_DEEPEST: Final = 32
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_TIMES: Final = {TIMESTAMP_CREATE_TIME: "CreateTime", TIMESTAMP_LOG_APPEND_TIME: "LogAppendTime"}


class Shown(msgspec.Struct, frozen=True):
    """Bytes for people.

    Attributes:
        text: JSON, a field a line, every digit and escape as it was sent; other text; or hexadecimal digits.
        is_json: all of it is JSON.
        is_hex: it is not UTF-8.
        size: in bytes, of the whole.
        is_cut: `text` has only the first CUT_BYTES, and is not looked at as JSON.
    """

    text: str
    is_json: bool
    is_hex: bool
    size: int
    is_cut: bool


class Message(msgspec.Struct, frozen=True):
    """A message; what is None was null.

    Attributes:
        timestamp: None too if no calendar has it.
        timestamp_ms: as Kafka has it.
        timestamp_type: Kafka's word for who has set it; None: nobody.
    """

    partition: int
    offset: int
    timestamp: datetime | None
    timestamp_ms: int
    timestamp_type: str | None
    key: Shown | None
    value: Shown | None
    headers: list[tuple[str, Shown | None]]


class Look(msgspec.Struct, frozen=True):
    """What was read of one partition: all messages that it has at offsets `[start, end)`, by offset."""

    start: int
    end: int
    messages: list[RawMessage]


class Page(msgspec.Struct, frozen=True):
    """Messages of some partitions.

    Attributes:
        messages: the newest first; those of one partition always in its order.
        previous: of each partition, below which offset the older ones are.
        next: of each partition, from which offset on the newer ones are.
    """

    messages: list[Message]
    previous: dict[int, int]
    next: dict[int, int]


def newest(looks: dict[int, Look], limit: int) -> Page:
    """The newest of what was read, as many as an answer may have."""
    walk = merge(*(reversed(look.messages) for look in looks.values()), key=lambda raw: [-each for each in _age(raw)])
    kept = list(_fitting(walk, limit))
    lowest = {message.partition: message.offset for message in kept}
    is_whole = _is_whole(looks, kept)
    previous = {p: look.start if is_whole[p] else lowest.get(p, look.end) for p, look in looks.items()}
    return Page(kept, previous, {p: look.end for p, look in looks.items()})


def oldest(looks: dict[int, Look], limit: int) -> Page:
    """The oldest of what was read, as many as an answer may have; they too stand the newest first."""
    kept = list(_fitting(merge(*(look.messages for look in looks.values()), key=_age), limit))
    highest = {message.partition: message.offset for message in kept}
    is_whole = _is_whole(looks, kept)
    following = {p: look.end if is_whole[p] else highest.get(p, look.start - 1) + 1 for p, look in looks.items()}
    return Page(kept[::-1], {p: look.start for p, look in looks.items()}, following)


def shown(value: bytes | None) -> Shown | None:
    """A key, a value or a header for people."""
    if value is None:
        return None
    start, is_cut = value[:CUT_BYTES], len(value) > CUT_BYTES
    try:
        # The last character may be cut in the middle.
        text = codecs.getincrementaldecoder("utf-8")().decode(start, final=not is_cut)
    except UnicodeDecodeError:
        return Shown(start.hex(), is_json=False, is_hex=True, size=len(value), is_cut=is_cut)
    json = None if is_cut else _json(value)
    return Shown(text if json is None else json, json is not None, is_hex=False, size=len(value), is_cut=is_cut)


def _json(value: bytes) -> str | None:
    """JSON for people, in one line if it is very deep; None if it is no JSON. Numbers are never read as numbers."""
    try:
        line = msgspec.json.format(value, indent=0)
    except (msgspec.DecodeError, RecursionError):
        return None
    brackets = _BRACKET.findall(_STRING.sub(b"", value))
    depth = max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)
    return (line if depth > _DEEPEST else msgspec.json.format(value, indent=2)).decode()


def _fitting(walk: Iterable[RawMessage], limit: int) -> Iterator[Message]:
    """The first ones, as many as an answer may have; always one if there is one."""
    size = 0
    for number, raw in enumerate(walk):
        message = _message(raw)
        size += len(msgspec.json.encode(message))
        if number and (number >= limit or size > MOST_BYTES):
            return
        yield message


def _message(raw: RawMessage) -> Message:
    kind, at_ms = raw.timestamp()
    return Message(
        partition=cast("int", raw.partition()),
        offset=cast("int", raw.offset()),
        timestamp=_time(at_ms) if kind in _TIMES else None,
        timestamp_ms=at_ms,
        timestamp_type=_TIMES.get(kind),
        key=shown(raw.key()),
        value=shown(raw.value()),
        headers=[(name, shown(value)) for name, value in cast("list[tuple[str, bytes | None]]", raw.headers() or [])],
    )


def _time(at_ms: int) -> datetime | None:
    """Anybody may send any number of milliseconds."""
    try:
        return EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return None


def _age(raw: RawMessage) -> tuple[int, int]:
    """What orders partitions among each other."""
    return raw.timestamp()[1], cast("int", raw.partition())


def _is_whole(looks: dict[int, Look], kept: list[Message]) -> dict[int, bool]:
    """Of each partition, whether all that was read of it is kept."""
    counts = Counter(message.partition for message in kept)
    return {partition: counts[partition] == len(look.messages) for partition, look in looks.items()}
