"""What can happen to a source topic: other producers' transactions, deleted messages, other topics of its name."""

from collections.abc import Callable
from typing import Any

import pytest

from fix_child import Children, check
from fix_late import LATE, LATER, MESSAGES, RESULTS
from fix_others import add_partition, delete_messages, delete_topic, recreate_source, transaction, write
from fix_pipeline import Message, World, interval, sale
from microbatch.errors import OffsetsLostError, TopicMissingError, TopicRecreatedError


def test_reading_stops_before_an_open_transaction_and_no_window_closes(late: World) -> None:
    with transaction(late) as producer:
        write(late, producer, sale("eve", 666))
        late.send(sale("ada", 1))

        consumed, published = late.run(1)

        assert consumed[0].behind == 2
        assert published.closed_until == interval(0)[1]
        check(late, settled=False)
        producer.abort_transaction(30)
    late.run(1)
    assert (0, "ada", 38, 5, True, 3) in late.results()
    assert check(late).messages == MESSAGES + 1


def test_an_open_transaction_that_is_committed_is_read_by_the_next_run(late: World) -> None:
    with transaction(late) as producer:
        write(late, producer, sale("eve", 666), partition=1)
        late.run(1)
        producer.commit_transaction(30)

    consumed, _ = late.run(1)

    assert consumed[0].messages == 1
    assert (0, "eve", 666, 1, True, 1) in late.results()
    assert check(late).messages == MESSAGES + 1


def test_aborted_messages_and_markers_at_the_end_of_partitions_are_covered_and_not_counted(late: World) -> None:
    with transaction(late) as producer:
        for partition in range(3):
            write(late, producer, sale("eve", 666), sale("eve", 667), partition=partition)
        producer.abort_transaction(30)

    consumed, _ = late.run(1)

    assert consumed[0].behind == 0
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


def test_a_partition_of_which_nothing_is_left_but_markers_is_caught_up(world: World) -> None:
    with transaction(world) as producer:
        write(world, producer, sale("eve", 666), partition=1)
        producer.abort_transaction(30)
    world.send(sale("ada", 3))

    world.run(0)

    assert world.results() == [(0, "ada", 3, 1, True, 1)]
    check(world)


def test_messages_deleted_before_they_were_read_are_an_error_that_names_them(late: World) -> None:
    delete_messages(late, partition=0, below=4)

    with pytest.raises(OffsetsLostError, match=r"\[0\]: offsets 2\.\.3 were deleted"):
        late.run(1)

    assert late.rows("select count(*) from microbatch.batch") == [(1,)]
    assert late.rows("select count(*) from microbatch.failure") == [(1,)]


def test_messages_deleted_after_they_were_read_are_no_loss(late: World) -> None:
    delete_messages(late, partition=0, below=2)

    late.run(1)

    assert late.results() == RESULTS


def test_messages_deleted_while_they_are_read_fail_the_batch(late: World, children: Children) -> None:
    child = children.start(late, late.run_of(1), crash="consume.reading:stop")
    child.wait_until_stopped()
    delete_messages(late, partition=0, below=4)

    child.go_on()

    assert child.outcome().error == "OffsetsLostError"
    assert late.rows("select count(*) from microbatch.batch") == [(1,)]


def test_a_topic_that_was_created_anew_is_an_error_and_nothing_is_counted(late: World) -> None:
    recreate_source(late)
    late.send(*LATER)

    with pytest.raises(TopicRecreatedError, match="deleted and created anew"):
        late.run(1)

    assert late.rows("select count(*) from microbatch.batch") == [(1,)]


def test_a_topic_that_is_created_anew_while_it_is_read_fails_the_batch(late: World, children: Children) -> None:
    child = children.start(late, late.run_of(1), crash="consume.reading:stop")
    child.wait_until_stopped()
    recreate_source(late)

    child.go_on()

    assert child.outcome().is_ours, child.outcome()
    assert late.rows("select count(*) from microbatch.batch") == [(1,)]


def test_a_topic_that_is_gone_is_an_error(late: World) -> None:
    delete_topic(late, late.pipeline.source.name)

    with pytest.raises(TopicMissingError, match=late.pipeline.source.name):
        late.run(1)


def test_a_partition_that_is_added_is_read_from_its_beginning(late: World) -> None:
    late.send(Message(sale("ada", 1), partition=add_partition(late)))

    late.run(1)

    assert (0, "ada", 38, 5, True, 2) in late.results()
    assert check(late).messages == MESSAGES + 1


def test_a_partition_that_is_added_between_batches_is_read_by_the_next_run(late: World, children: Children) -> None:
    child = children.start(late, late.run_of(1), crash="consume.between_batches:stop")
    child.wait_until_stopped()
    late.send(Message(sale("ada", 1), partition=add_partition(late)))

    child.go_on()

    assert not child.outcome().error
    late.run(1)
    assert check(late).messages == MESSAGES + 1


def test_a_source_without_new_messages_still_closes_its_windows(make_world: Callable[..., World]) -> None:
    world = make_world(**LATE)
    world.send(sale("ada", 3))
    world.run(0)
    before = history(world)

    _, published = world.run(5)

    assert published.closed_until == interval(5)[1]
    assert history(world) == before
    check(world)


def history(world: World) -> list[tuple[Any, ...]]:
    return world.rows("select * from aggregated_sales_history order by window_start, seller_id, revision")
