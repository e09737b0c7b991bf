"""What all producers have in common: from good events to messages, some of them bad, late or sent twice.

Everything here is pure: the same state of `chance` and the same arguments give the same messages.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from producers.message import Message

Fields = dict[str, Any]
"""An event as a JSON object: what `msgspec.json.encode` takes."""

GoodEvent = Callable[[random.Random, int, datetime], "Good"]
"""Makes a good event: `(chance, number, at)`.

`number` counts the events of a run, from a place that depends on the seed; `at` is the event time, aware, in whole
milliseconds.
"""

BadKind = Callable[[random.Random, Fields], bytes]
"""Makes of a good event's fields the value of a bad one; `producers.bad` has the common kinds."""

# A late event's time is so much earlier than it is sent: mostly in an earlier minute.
LATE_FROM_MS: Final = 1_000
LATE_TO_MS: Final = 180_000
_PLACES: Final = 1_000_000


class Good(msgspec.Struct, frozen=True):
    """A good event.

    Attributes:
        key: of its message; a bad event made of it keeps it.
    """

    key: bytes | None
    fields: Fields


class Producer(msgspec.Struct, frozen=True):
    """What makes the events of a topic.

    Attributes:
        bad: kinds of bad events; each is one that no consumer of the topic takes.
        rate_per_second: unless somebody asks for another.
        has_event_time: events say when they happened; where they do not, none can be late.
    """

    name: str
    topic: str
    good: GoodEvent
    bad: tuple[BadKind, ...]
    rate_per_second: float = 10
    has_event_time: bool = True


class Shares(msgspec.Struct, frozen=True):
    """How many of the events, from 0 to 1, are not as they should be."""

    bad: float = 0
    late: float = 0
    duplicate: float = 0


USUAL: Final = Shares(bad=0.02, late=0.02, duplicate=0.01)
"""The shares that nobody has asked to change."""


def usual_shares(producer: Producer) -> Shares:
    """The shares of a producer that nobody has asked to change."""
    return USUAL if producer.has_event_time else msgspec.structs.replace(USUAL, late=0)


def messages(
    producer: Producer, shares: Shares, times: Iterable[datetime], seed: int | str | None, first: int | None = None
) -> Iterator[list[Message]]:
    """The messages of one event after the other: one of them, or two that are equal.

    Args:
        producer: whose events.
        shares: of bad, late and duplicate events.
        times: when each event is sent; asked for one by one, so that a live producer's clock can give them.
        seed: repeats all choices; None is chance.
        first: number of the first event; by default a place that depends on the seed.
    """
    chance = random.Random(seed)  # noqa: S311 - demo events, no secrets
    place = chance.randrange(_PLACES)
    for number, at in enumerate(times, place if first is None else first):
        yield _messages_of_one(producer, shares, chance, number, _whole_milliseconds(at))


def of_interval(
    producer: Producer, shares: Shares, rate_per_second: float, interval: tuple[datetime, datetime], seed: int | None
) -> Iterator[list[Message]]:
    """The messages of a past interval `[start, end)`: of the same arguments always the same.

    Each is sent, as Kafka's timestamps say, inside the interval. A late event has its own time before that, as it
    has when it is sent live.
    """
    start, end = (moment.astimezone(UTC) for moment in interval)
    choices = f"{producer.name} {start.isoformat()} {end.isoformat()} {seed}"
    return messages(producer, shares, spread(start, end, rate_per_second), choices)


def spread(start: datetime, end: datetime, rate_per_second: float) -> Iterator[datetime]:
    """Evenly spread times, the first one at the start, none at the end or after it."""
    for number in itertools.count():
        at = start + timedelta(microseconds=int(number * 1_000_000 / rate_per_second))
        if at >= end:
            return
        yield at


def _messages_of_one(
    producer: Producer, shares: Shares, chance: random.Random, number: int, at: datetime
) -> list[Message]:
    late_by_ms = chance.randint(LATE_FROM_MS, LATE_TO_MS) if chance.random() < shares.late else 0
    good = producer.good(chance, number, at - timedelta(milliseconds=late_by_ms))
    is_bad = chance.random() < shares.bad
    value = chance.choice(producer.bad)(chance, good.fields) if is_bad else msgspec.json.encode(good.fields)
    message = Message(good.key, value, at)
    return [message, message] if chance.random() < shares.duplicate else [message]


def _whole_milliseconds(at: datetime) -> datetime:
    """Kafka's timestamps have no more; so an event's time can be the very same."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
