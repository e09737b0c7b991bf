"""Reading: ranges come whole, and only what is committed, whatever holes the log has."""

from collections import defaultdict

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from fix_pipeline import Message, World, sale
from microbatch.decoding import whole
from microbatch.errors import MicrobatchError
from microbatch.kafka import Broker, Ends
from microbatch.ranges import OffsetRange
from microbatch.reading import POLL_MESSAGES, open_reader
from outside import open_transaction, wait_for_end

R = OffsetRange


def read(world: World, *ranges: OffsetRange) -> dict[OffsetRange, list[int]]:
    """The offsets that were read of each range, in their order."""
    found: dict[OffsetRange, list[int]] = defaultdict(list)
    with open_reader(world.pipeline.source.name, world.connections) as reader:
        for item, messages in reader.read(list(ranges)):
            found[item] += [message.offset for message in map(whole, messages)]
    return dict(found)


def fill(world: World, messages: int, partition: int = 0) -> None:
    world.send(*(Message(b"%d" % n, partition) for n in range(messages)))


def ends(world: World, partition: int = 0) -> Ends:
    return Broker(world.connections).ends(world.pipeline.source.name, [partition])[partition]


def test_a_range_is_read_from_its_start_to_before_its_end(world: World) -> None:
    fill(world, 10)

    assert read(world, R(0, 3, 7)) == {R(0, 3, 7): [3, 4, 5, 6]}


def test_partitions_are_read_together_and_each_in_order(world: World) -> None:
    fill(world, 3)
    fill(world, 4, partition=1)

    assert read(world, R(1, 0, 4), R(0, 1, 3)) == {R(0, 1, 3): [1, 2], R(1, 0, 4): [0, 1, 2, 3]}


def test_ranges_of_one_partition_are_read_one_after_the_other(world: World) -> None:
    fill(world, 10)
    ranges = [R(0, 8, 10), R(0, 0, 2), R(0, 5, 6)]

    assert read(world, *ranges) == {R(0, 0, 2): [0, 1], R(0, 5, 6): [5], R(0, 8, 10): [8, 9]}


def test_a_message_comes_with_all_that_it_has(world: World) -> None:
    headers = (("a", b"\xff"), ("a", b""), ("", b"x"))
    world.send(Message(b"v", 1, b"k", 1.5, headers), Message(None, 1, None, 2.5), Message(b"", 1, b"", 3.5))

    with open_reader(world.pipeline.source.name, world.connections) as reader:
        found = [whole(message) for _, messages in reader.read([R(1, 0, 3)]) for message in messages]

    assert [(m.partition, m.offset, m.timestamp_ms, m.key, m.value, m.headers) for m in found] == [
        (1, 0, 1500, b"k", b"v", headers),
        (1, 1, 2500, None, None, ()),
        (1, 2, 3500, b"", b"", ()),
    ]


def make_holes(world: World) -> None:
    """After offsets 0 and 1: 2, 3, 4 aborted, 5 a marker, 6 a message, 7 and 8 a transaction, 9 its marker."""
    open_transaction(world, *[Message(sale())] * 3).abort_transaction(30)
    wait_for_end(world, 6)
    fill(world, 1)
    open_transaction(world, *[Message(sale())] * 2).commit_transaction(30)
    wait_for_end(world, 10)


def test_aborted_messages_and_markers_are_holes(world: World) -> None:
    fill(world, 2)
    make_holes(world)

    assert ends(world) == Ends(0, 10, 10)
    assert read(world, R(0, 0, 10)) == {R(0, 0, 10): [0, 1, 6, 7, 8]}


@pytest.mark.parametrize(
    ("start", "end", "offsets"), [(2, 6, []), (3, 5, []), (5, 6, []), (0, 3, [0, 1]), (4, 7, [6]), (9, 10, [])]
)
def test_a_range_may_begin_and_end_in_a_hole(world: World, start: int, end: int, offsets: list[int]) -> None:
    fill(world, 2)
    make_holes(world)

    found = read(world, R(0, start, end))

    assert [offset for each in found.values() for offset in each] == offsets


def test_an_open_transaction_holds_the_last_stable_offset_below_it(world: World) -> None:
    fill(world, 2)
    other = open_transaction(world, Message(sale()))
    fill(world, 1)

    before = ends(world)
    other.commit_transaction(30)
    wait_for_end(world, 5)

    assert (before, ends(world)) == (Ends(0, 2, 4), Ends(0, 5, 5))


def test_a_range_that_begins_at_the_low_watermark_is_whole(world: World) -> None:
    fill(world, 5)
    delete_records(world, before=3)

    assert ends(world) == Ends(3, 5, 5)
    assert read(world, R(0, 3, 5)) == {R(0, 3, 5): [3, 4]}


def delete_records(world: World, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    at = TopicPartition(world.pipeline.source.name, 0, before)
    for future in admin.delete_records([at]).values():
        future.result(60)


def test_a_range_that_was_deleted_is_an_error_of_ours_and_not_skipped(world: World) -> None:
    fill(world, 5)
    delete_records(world, before=3)

    with pytest.raises(MicrobatchError, match=world.pipeline.source.name):
        read(world, R(0, 1, 5))


def test_more_messages_than_a_chunk_come_in_several(world: World) -> None:
    producer = Producer({"bootstrap.servers": world.connections.bootstrap})
    for n in range(25_000):
        producer.produce(world.pipeline.source.name, b"%d" % n, partition=0)
    assert producer.flush(120) == 0
    sizes: list[int] = []
    offsets: list[int] = []

    with open_reader(world.pipeline.source.name, world.connections) as reader:
        for _, messages in reader.read([R(0, 10, 24_990)]):
            sizes.append(len(messages))
            offsets += [whole(message).offset for message in messages]

    assert offsets == list(range(10, 24_990))
    assert max(sizes) <= POLL_MESSAGES


def test_nothing_is_left_of_a_group(world: World) -> None:
    fill(world, 3)
    read(world, R(0, 0, 3))

    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    assert "microbatch.reader" not in {group.group_id for group in admin.list_consumer_groups().result(60).valid}
