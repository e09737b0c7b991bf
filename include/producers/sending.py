"""Sending events to Kafka: at a pace, or all at once."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as KafkaProducer

from microbatch.clock import Clock
from microbatch.errors import KafkaUnreachableError, TerminalError, TransientError
from microbatch.event import EPOCH
from producers.message import Message
from producers.pacing import Pace

AT_ONCE: Final = 1000  # events between two looks at Kafka's answers, when there is no rate
_MILLISECOND: Final = timedelta(milliseconds=1)
_TIMEOUT_S: Final = 10.0
_SETTINGS: Final[dict[str, Any]] = {
    "log_level": 2,
    # Each event once, in order, also when a broker's answer gets lost.
    "enable.idempotence": True,
    # Where Java's producers would put a key; librdkafka's own default is another partition.
    "partitioner": "murmur2_random",
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
    topic: str,
    kafka: Mapping[str, str],
    events: Iterator[list[Message]],
    pace: Pace,
    *,
    clock: Clock | None = None,
    progress: Callable[[int], None] = lambda _sent: None,
) -> int:
    """Send events at a pace; returns the number of messages.

    Args:
        topic: where they go.
        kafka: librdkafka's settings, at least `bootstrap.servers`.
        events: the messages of each; taken when they are due, no more than the pace says.
        pace: how many, and how fast.
        clock: for tests.
        progress: is told now and then how many events are sent.

    Raises:
        KafkaUnreachableError: no broker answers.
        NoTopicError: the topic does not exist.
        EventsLostError: Kafka did not take all of them.
    """
    clock = clock or Clock()
    started_s, sent = clock.monotonic_s(), 0
    with Sending(topic, kafka) as sending:
        while sent < pace.total:
            for event in itertools.islice(events, pace.due(clock.monotonic_s() - started_s, sent)):
                sending.send(*event)
                sent += 1
            sending.look()
            progress(sent)
            if sent < pace.total:
                clock.sleep(pace.wait_s(clock.monotonic_s() - started_s, sent))
    return sending.total


def send_at_once(
    topic: str,
    kafka: Mapping[str, str],
    events: Iterable[list[Message]],
    progress: Callable[[int], None] = lambda _sent: None,
) -> int:
    """Send all events as fast as Kafka takes them; returns the number of messages.

    Raises:
        KafkaUnreachableError: no broker answers.
        NoTopicError: the topic does not exist.
        EventsLostError: Kafka did not take all of them.
    """
    sent = 0
    with Sending(topic, kafka) as sending:
        for sent, event in enumerate(events, 1):
            sending.send(*event)
            if sent % AT_ONCE == 0:
                sending.look()
                progress(sent)
        progress(sent)
    return sending.total


class Sending:
    """An idempotent producer of one topic that knows what did not arrive.

    Leaving the block waits for Kafka's answers.

    Attributes:
        total: messages sent so far.
    """

    def __init__(self, topic: str, kafka: Mapping[str, str]) -> None:
        self._topic = topic
        self._bootstrap = kafka.get("bootstrap.servers", "")
        self._producer = KafkaProducer({**kafka, **_SETTINGS})
        self.total = 0
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

    def send(self, *messages: Message) -> None:
        """Queue messages; waits while the queue is full."""
        for message in messages:
            self._queue(message)

    def _queue(self, message: Message) -> None:
        timestamp_ms = (message.at - EPOCH) // _MILLISECOND
        while True:
            try:
                self._producer.produce(
                    self._topic, message.value, message.key, timestamp=timestamp_ms, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self.total += 1
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
                lost=self._lost, total=self.total, topic=self._topic, bootstrap=self._bootstrap, reason=self._reason
            )
