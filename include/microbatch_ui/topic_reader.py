"""Reading parts of a topic: the first messages from some offsets on, or the last ones before some.

Nothing is subscribed and no offset is ever committed, so no pipeline notices.
"""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from time import monotonic
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as RawMessage
from fastapi import HTTPException, status

from microbatch.kafka import KAFKA_TIMEOUT_S, READER, client_config, reaching, warm_up
from microbatch.ranges import OffsetRange
from microbatch.settings import Connections
from microbatch_ui.messages import MOST_BYTES, Look

_POLL_MESSAGES: Final = 1_000
# `consume` waits so long for as many: at a partition's end that is lost time.
_POLL_S: Final = 0.02
# Steps back get wider where markers, aborted or compacted messages were, up to so many offsets of a partition.
_WIDEST: Final = 20_000

Spans = dict[int, OffsetRange]


class TopicReader:
    """Reads one topic for KAFKA_TIMEOUT_S at the most: what was not reached by then is left for another answer.

    Raises:
        HTTPException: nothing was reached by then, or the broker refuses to give what is asked for (503).
        KafkaUnreachableError: no broker answers.
    """

    def __init__(self, consumer: Consumer, topic: str, connections: Connections) -> None:
        self._consumer = consumer
        self._topic = topic
        self._connections = connections
        self._deadline_s = monotonic() + KAFKA_TIMEOUT_S

    @property
    def _is_late(self) -> bool:
        return monotonic() > self._deadline_s

    def first(self, spans: Spans, most: int) -> dict[int, Look]:
        """The first `most` messages of each span, or fewer if they are large."""
        looks = {p: Look(span.start, span.start, []) for p, span in spans.items()}
        left = _not_empty(spans)
        for partition, arrived, is_end in self._chunks(left):
            start, messages = spans[partition].start, [*looks[partition].messages, *arrived]
            count = _fitting(messages, most)
            if count < len(messages):
                left.pop(partition, None)
            is_whole = is_end and count == len(messages)
            end = spans[partition].end if is_whole else _offset(messages[count - 1]) + 1 if messages else start
            looks[partition] = Look(start, end, messages[:count])
        self._check_progress(looks, spans)
        return looks

    def last(self, spans: Spans, most: int) -> dict[int, Look]:
        """The last `most` messages of each span, or fewer if they are large.

        Kafka reads forwards only, and how many messages a number of offsets holds is not known before: it is read in
        steps back from the end.
        """
        looks = {p: Look(span.end, span.end, []) for p, span in spans.items()}
        width = most
        while (steps := _steps_back(spans, looks, most, width)) and not self._is_late:
            self._step(steps, looks, most)
            width = min(2 * width, _WIDEST)
        self._check_progress(looks, spans)
        return looks

    def _step(self, steps: Spans, looks: dict[int, Look], most: int) -> None:
        """Put what the steps have before what was found already; one that is not read to its end is left out."""
        found: dict[int, Look] = {p: Look(step.start, step.end, []) for p, step in steps.items()}
        for partition, arrived, is_end in self._chunks(dict(steps)):
            messages = [*found[partition].messages, *arrived]
            count = _fitting(messages[::-1], most)
            kept = messages[len(messages) - count :]
            start = found[partition].start if count == len(messages) else _offset(kept[0])
            found[partition] = Look(start, steps[partition].end, kept)
            if is_end:
                old = looks[partition]
                looks[partition] = Look(start, old.end, [*kept, *old.messages])

    def _chunks(self, spans: Spans) -> Iterator[tuple[int, list[RawMessage], bool]]:
        """What comes of each partition, in its order, and whether its span is read to its end.

        A partition that is removed from `spans` meanwhile is not read any more. As in `microbatch.reading`, messages
        are never counted: a span ends with its last offset, with a message past it, or with the partition.
        """
        self._consumer.assign([TopicPartition(self._topic, p, span.start) for p, span in spans.items()])
        while spans and not self._is_late:
            arrived, positions = self._poll()
            for partition in (read := [*spans]):
                messages = arrived.get(partition, [])
                end = spans[partition].end
                position = max(positions.get(partition, 0), _offset(messages[-1]) + 1 if messages else 0)
                if messages or position:
                    inside = [message for message in messages if _offset(message) < end]
                    if position >= end:
                        del spans[partition]
                    yield partition, inside, position >= end
            if done := [TopicPartition(self._topic, partition) for partition in read if partition not in spans]:
                self._consumer.incremental_unassign(done)
        self._consumer.unassign()

    def _poll(self) -> tuple[dict[int, list[RawMessage]], dict[int, int]]:
        """What has arrived of each partition, and the position of those that are read to their end."""
        with reaching(self._connections):
            polled = self._consumer.consume(_POLL_MESSAGES, _POLL_S)
        arrived: dict[int, list[RawMessage]] = {}
        positions = {}
        for message in polled:
            error = message.error()
            if error is None:
                arrived.setdefault(_partition(message), []).append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                positions[_partition(message)] = _offset(message)
            else:
                raise _unreadable(self._topic, error.str())
        return arrived, positions

    def _check_progress(self, looks: dict[int, Look], spans: Spans) -> None:
        is_stuck = all(look.start == look.end for look in looks.values())
        if is_stuck and any(span.size > 0 for span in spans.values()):
            raise _unreadable(self._topic, f"nothing came within {KAFKA_TIMEOUT_S:g} s")


@contextmanager
def open_topic(topic: str, connections: Connections, *, is_committed: bool) -> Iterator[TopicReader]:
    """A reader of one topic, closed at the end; without `is_committed` it also reads aborted and open transactions."""
    config = client_config(
        connections,
        **{
            "group.id": READER,
            "isolation.level": "read_committed" if is_committed else "read_uncommitted",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            # Several people may look at a time, each mostly at few messages.
            "fetch.max.bytes": MOST_BYTES,
            "queued.max.messages.kbytes": MOST_BYTES // 1024,
        },
    )
    consumer = Consumer(config)
    try:
        warm_up(consumer, topic, connections)
        yield TopicReader(consumer, topic, connections)
    finally:
        consumer.close()


def _unreadable(topic: str, reason: str) -> HTTPException:
    return HTTPException(
        status.HTTP_503_SERVICE_UNAVAILABLE, f"Topic {topic!r} could not be read ({reason}): try again"
    )


def _not_empty(spans: Spans) -> Spans:
    return {partition: span for partition, span in spans.items() if span.size > 0}


def _steps_back(spans: Spans, looks: dict[int, Look], most: int, width: int) -> Spans:
    """What to read next of those partitions of which there is not enough yet."""
    wanted = {p: look.start for p, look in looks.items() if not _is_enough(look.messages, most)}
    return _not_empty({p: OffsetRange(p, max(spans[p].start, end - width), end) for p, end in wanted.items()})


def _is_enough(messages: list[RawMessage], most: int) -> bool:
    return len(messages) >= most or sum(map(_size, messages)) >= MOST_BYTES


def _fitting(messages: list[RawMessage], most: int) -> int:
    """How many of the first ones are kept: at least one, if there is one."""
    sizes = list(accumulate(map(_size, messages[: most + 1])))
    return min(most, max(1, bisect_right(sizes, MOST_BYTES)), len(messages))


def _size(message: RawMessage) -> int:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    parts = [message.key(), message.value(), *(value for _, value in headers)]
    return sum(len(part) for part in parts if part)


def _partition(message: RawMessage) -> int:
    return cast("int", message.partition())


def _offset(message: RawMessage) -> int:
    return cast("int", message.offset())
