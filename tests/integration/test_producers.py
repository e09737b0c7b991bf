"""What producers send arrives as it was made: on the real Kafka, read by a plain consumer."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fix_stack import Stack
from microbatch.clock import Clock
from producers.base import Shares, messages, of_interval
from producers.message import Message
from producers.pacing import steady
from producers.registry import PRODUCERS
from producers.sending import NoTopicError, Sending, send, send_at_once
from recount.kafka import Message as Found
from recount.kafka import ends, read
from recount.partitioner import partition_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PARTITIONS = 4
_numbers = itertools.count(1)


@pytest.fixture
def topic(stack: Stack) -> str:
    """An empty topic of this test's own."""
    name = f"produced-{next(_numbers)}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(60)
    return name


@pytest.fixture
def kafka(stack: Stack) -> dict[str, str]:
    """The settings of librdkafka."""
    return {"bootstrap.servers": stack.bootstrap}


def arrived(kafka: dict[str, str], topic: str) -> list[Found]:
    bootstrap = kafka["bootstrap.servers"]
    spans = {partition: (end.low, end.high) for partition, end in ends(bootstrap, topic).items()}
    return list(read(bootstrap, topic, spans))


def by_partition(found: list[Found]) -> dict[int, list[tuple[bytes | None, bytes | None, int]]]:
    partitions = defaultdict(list)
    for message in sorted(found, key=lambda message: message.offset):
        partitions[message.partition].append((message.key, message.value, message.timestamp_ms))
    return dict(partitions)


def as_sent(events: list[list[Message]]) -> dict[int, list[tuple[bytes | None, bytes | None, int]]]:
    """What has to be in each partition, in its order: duplicates stand side by side."""
    partitions = defaultdict(list)
    for message in itertools.chain.from_iterable(events):
        timestamp_ms = round(message.at.timestamp() * 1000)
        partitions[partition_of(message.key or b"", PARTITIONS)].append((message.key, message.value, timestamp_ms))
    return dict(partitions)


def test_live_events_arrive_with_their_keys_and_the_times_at_which_they_were_sent(
    topic: str, kafka: dict[str, str]
) -> None:
    clock, made = Clock(), list[list[Message]]()

    def kept() -> Iterator[list[Message]]:
        for event in messages(PRODUCERS["sales"], Shares(0.2, 0.2, 0.2), iter(clock.now, None), seed=1):
            made.append(event)
            yield event

    before = clock.now() - timedelta(milliseconds=1)
    total = send(topic, kafka, kept(), steady(100, 1.5), clock=clock)
    after = clock.now()

    found = arrived(kafka, topic)
    assert len(made) == 150
    assert len(found) == total == sum(map(len, made)) > 150
    assert by_partition(found) == as_sent(made)
    assert all(before <= message.at <= after for event in made for message in event)


@pytest.mark.parametrize("name", PRODUCERS)
def test_events_of_a_past_interval_land_inside_it_the_same_each_time(
    topic: str, kafka: dict[str, str], name: str
) -> None:
    producer, shares = PRODUCERS[name], Shares(0.3, 0.3 if PRODUCERS[name].has_event_time else 0, 0.1)
    interval = (NOON - MINUTE, NOON)

    total = send_at_once(topic, kafka, of_interval(producer, shares, 20, interval, seed=1))

    found = arrived(kafka, topic)
    made = list(of_interval(producer, shares, 20, interval, seed=1))
    assert len(made) == 1200
    assert len(found) == total
    assert by_partition(found) == as_sent(made)
    start_ms, end_ms = (round(moment.timestamp() * 1000) for moment in interval)
    assert all(start_ms <= message.timestamp_ms < end_ms for message in found)


def test_an_empty_value_is_no_tombstone(topic: str, kafka: dict[str, str]) -> None:
    with Sending(topic, kafka) as sending:
        sending.send(Message(None, b"", NOON), Message(None, None, NOON))

    assert {message.value for message in arrived(kafka, topic)} == {b"", None}
    assert sending.total == 2


def test_a_topic_that_is_missing_is_named(kafka: dict[str, str]) -> None:
    address = kafka["bootstrap.servers"]
    with pytest.raises(NoTopicError, match=f"topic 'nowhere' does not exist on {address}"):
        send_at_once("nowhere", kafka, of_interval(PRODUCERS["sales"], Shares(), 1, (NOON, NOON + MINUTE), None))
