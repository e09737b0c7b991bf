"""Sending generated events to Kafka at a pace."""

import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as KafkaProducer

from microbatch.clock import Clock
from microbatch.errors import KafkaUnreachableError, TerminalError, TransientError
from producers.message import Message
from producers.pacing import Pace
from producers.registry import Producer

TICK_S: Final = 0.05
_TIMEOUT_S: Final = 10.0
_SETTINGS: Final[dict[str, Any]] = {
    "log_level": 2,
    # Each event once, in order, also when a broker's answer gets lost.
    "enable.idempotence": True,
    # Where Java's producers would put a key; librdkafka's own default is another partition.
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    # What the broker did not take by then counts as failed, so that a run ends when Kafka is gone.
    "message.timeout.ms": int(_TIMEOUT_S * 1000),
}


class EventsLostError(TransientError):
    """Kafka did not take generated events."""

    message = "{lost} of {total} events did not reach topic {topic!r} on {bootstrap}; first reason: {reason}"


class NoTopicError(TerminalError):
    """The topic that a producer sends to does not exist."""

    message = "topic {topic!r} does not exist on {bootstrap}; `make up` creates it from the pipeline that reads it"


def send(
    producer: Producer,
    kafka: Mapping[str, str],
    pace: Pace,
    *,
    bad_share: float,
    seed: int | str | None = None,
    clock: Clock | None = None,
    progress: Callable[[int], None] = lambda _sent: None,
) -> int:
    """Send a producer's events at a pace, each with the time at which it is sent; returns how many.

    `kafka` are librdkafka's settings, at least `bootstrap.servers`; `seed` repeats choices, not times.

    Raises:
        KafkaUnreachableError: no broker answers.
        NoTopicError: the topic does not exist.
        EventsLostError: Kafka did not take all of them.
    """
    clock = clock or Clock()
    chance = random.Random(seed)  # noqa: S311 - demo events, no secrets
    started_s, sent = clock.monotonic_s(), 0
    with _Sending(producer.topic, kafka) as sending:
        while sent < pace.total:
            for _ in range(pace.due(clock.monotonic_s() - started_s, sent)):
                sending.send(producer.generator(chance, clock.now(), bad_share))
                sent += 1
            sending.look()
            progress(sent)
            if pace.rate_per_second is not None and sent < pace.total:
                clock.sleep(TICK_S)
    return sent


class _Sending:
    """An idempotent producer of one topic that knows what did not arrive."""

    def __init__(self, topic: str, kafka: Mapping[str, str]) -> None:
        self._topic = topic
        self._bootstrap = kafka.get("bootstrap.servers", "")
        self._producer = KafkaProducer({**kafka, **_SETTINGS})
        self._total = 0
        self._lost = 0
        self._reason = ""

    def __enter__(self) -> Self:
        try:
            known = self._producer.list_topics(timeout=_TIMEOUT_S).topics
        except KafkaException as error:
            raise KafkaUnreachableError(bootstrap=self._bootstrap, reason=error.args[0].str()) from error
        if self._topic not in known:
            raise NoTopicError(topic=self._topic, bootstrap=self._bootstrap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # Told to end, or Kafka is gone: what is still queued is given up.
            self._producer.flush(0.5)
            self._producer.purge()
            return
        left = self._producer.flush(2 * _TIMEOUT_S)
        if left:
            self._lost, self._reason = self._lost + left, self._reason or "no answer"
        self._refuse_losses()

    def send(self, message: Message) -> None:
        """Queue a message; waits while the queue is full."""
        milliseconds = int(message.at.timestamp() * 1000)
        while True:
            try:
                self._producer.produce(
                    self._topic, message.value, message.key, timestamp=milliseconds, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._total += 1
                return

    def look(self) -> None:
        """Take the broker's answers that are there."""
        self._producer.poll(0)
        self._refuse_losses()

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._lost, self._reason = self._lost + 1, self._reason or error.str()

    def _refuse_losses(self) -> None:
        if self._lost:
            raise EventsLostError(
                lost=self._lost, total=self._total, topic=self._topic, bootstrap=self._bootstrap, reason=self._reason
            )
