"""Messages for the source topics, all through the run: as fast as the run goes on."""

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from confluent_kafka import KafkaError
from confluent_kafka import Producer as KafkaProducer

from microbatch.clock import Clock
from microbatch.event import EPOCH
from producers.base import messages, usual_shares
from producers.message import Message
from producers.registry import PRODUCERS

Times = Callable[[int], datetime]
"""When the n-th event of a pipeline happens."""

# A broker that is killed is back long before.
_KAFKA: Final = {
    "enable.idempotence": True,
    "message.timeout.ms": 600_000,
    "partitioner": "murmur2_random",
    "linger.ms": 20,
    "log_level": 0,
}
_EVENTS_A_TURN: Final = 20
_TURN_S: Final = 0.05
_RECENT: Final = 200


def live(_number: int) -> datetime:
    """At the time at which it is sent."""
    return Clock().now()


def past(start: datetime, span: timedelta, events: int) -> Times:
    """Evenly over a span in the past."""
    return lambda number: start + span * min(number / events, 1)


class Source:
    """The events of one pipeline and how far they are; there is no last one.

    Attributes:
        recent: Kafka's timestamps of the newest messages.
    """

    def __init__(self, name: str, topic: str, events: int, seed: int, times: Times) -> None:
        self.topic = topic
        self.recent: deque[datetime] = deque(maxlen=_RECENT)
        self._events = events
        self._made = self._allowed = 0
        producer = PRODUCERS[name]
        at = (times(number) for number in itertools.count())
        self._messages = messages(producer, usual_shares(producer), at, f"{seed} {name}")

    def let(self, share: float) -> None:
        """Give up to this share of the events."""
        self._allowed = max(self._allowed, math.ceil(self._events * min(share, 1)))

    def let_more(self) -> None:
        """Give some more than was allowed, perhaps than was ordered: somebody has waited for messages in vain."""
        self._allowed += _EVENTS_A_TURN

    def due(self) -> Iterator[Message]:
        """The messages of the next turn."""
        end = min(self._made + _EVENTS_A_TURN, self._allowed)
        while self._made < end:
            self._made += 1
            for message in next(self._messages):
                self.recent.append(message.at)
                yield message

    @property
    def is_done(self) -> bool:
        """Whether all that is allowed has been given."""
        return self._made >= self._allowed


class Feed:
    """A thread that sends what its sources may give.

    Attributes:
        sources: by pipeline.
        sent: messages that Kafka has taken.
        refused: what Kafka said of others; these are on no topic.
    """

    def __init__(self, bootstrap: str, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.sent = 0
        self.refused: list[str] = []
        self._is_over = threading.Event()
        self._producer = KafkaProducer({"bootstrap.servers": bootstrap, **_KAFKA})
        self._thread = threading.Thread(target=self._send, name="feed", daemon=True)
        self._thread.start()

    def span(self, name: str) -> tuple[datetime, datetime]:
        """From when to when the newest messages of a pipeline are, by Kafka's timestamps."""
        recent = list(self.sources[name].recent) or [EPOCH]
        return min(recent), max(recent) + timedelta(milliseconds=1)

    def is_done(self) -> bool:
        """Whether all that may be sent is on the topics."""
        return all(source.is_done for source in self.sources.values()) and len(self._producer) == 0

    def end(self) -> None:
        """Send nothing more."""
        self._is_over.set()
        self._thread.join()
        self._producer.purge()

    def _send(self) -> None:
        while not self._is_over.is_set():
            for source in self.sources.values():
                for message in source.due():
                    self._produce(source.topic, message)
            self._producer.poll(_TURN_S)

    def _produce(self, topic: str, message: Message) -> None:
        timestamp_ms = (message.at - EPOCH) // timedelta(milliseconds=1)
        while not self._is_over.is_set():
            try:
                self._producer.produce(
                    topic, message.value, message.key, timestamp=timestamp_ms, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(_TURN_S)
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is None:
            self.sent += 1
        else:
            self.refused.append(error.str())
