"""Backfills over what is not as it should be: no messages, another topic, times out of order, others at work."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from fix_child import Child, Children, check
from fix_others import delete_messages, recreate_source
from fix_pipeline import T0, Message, World, sale
from microbatch.errors import TopicRecreatedError
from modes import at, consume_all, of_interval, reprocess, work

MakeWorld = Callable[..., World]
MARGIN = timedelta(seconds=60)


def minutes(world: World) -> World:
    """Three minutes, of a sale on each partition."""
    world.send(*(Message(sale("ada", 10**n, T0 + 60 * n), q, at_s=T0 + 60 * n + 5) for n in range(3) for q in range(2)))
    return world


RESULTS = [(n, "ada", 2 * 10**n, 2, True) for n in range(3)]


def shown(world: World) -> list[tuple[object, ...]]:
    """The results without their revisions."""
    return [result[:5] for result in world.results()]


def complete_from(world: World) -> object:
    return world.rows("select complete_from from microbatch.pipeline")[0][0]


# -- what there is to read -------------------------------------------------------------------------------------


def test_an_interval_before_the_topic_began_reads_nothing_and_counts_once_the_rest_is_read(
    make_world: MakeWorld,
) -> None:
    world = minutes(make_world(start=at(120), max_future=MARGIN))
    world.run(minute=3)

    consumed, _ = work(world, of_interval(-7200, -3600, "before"))
    before = complete_from(world)
    work(world, of_interval(0, 120, "the rest"))

    assert consumed[0].describe() == "shard 0: the topic has no messages in the interval"
    assert (before, complete_from(world)) == (at(180), at(-7200 + 60))
    assert shown(world) == RESULTS
    check(world)


def test_an_interval_that_retention_may_have_shortened_makes_nothing_complete(make_world: MakeWorld) -> None:
    world = minutes(make_world(start=at(120), max_future=MARGIN))
    delete_messages(world, partition=0, below=1)
    world.run(minute=3)

    consumed, _ = work(world, of_interval(0, 120))

    assert consumed[0].messages == 3
    assert complete_from(world) == at(180)


def test_an_interval_of_a_topic_that_was_created_anew_is_an_error_and_nothing_is_counted(world: World) -> None:
    minutes(world)
    consume_all(world, of_interval(0, 60, "before"))
    recreate_source(world)
    minutes(world)

    with pytest.raises(TopicRecreatedError, match="deleted and created anew"):
        consume_all(world, of_interval(60, 120, "after"))

    assert world.rows("select run_id from microbatch.batch") == [("before",)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_messages_whose_times_go_backwards_in_the_log_are_read_once_by_intervals_in_any_order(
    make_world: MakeWorld, order: tuple[int, ...]
) -> None:
    """An interval begins at its first message; what comes after a younger one belongs to that one's interval."""
    world = make_world(partitions=1, start=at(180), max_future=MARGIN)
    sent_s = [5, 130, 10, 70, 125, 1, 190, 2]
    world.send(*(Message(sale("ada", 1, T0 + s), at_s=T0 + s) for s in sent_s))
    world.run(minute=4)

    read = {n: work(world, of_interval(60 * n, 60 * n + 60, f"minute {n}"))[0][0].messages for n in order}

    assert read == {0: 1, 1: 0, 2: 5}
    assert shown(world) == [
        (0, "ada", 4, 4, False),
        (1, "ada", 1, 1, True),
        (2, "ada", 2, 2, True),
        (3, "ada", 1, 1, True),
    ]
    check(world)


# -- others at work ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_id", ["the same", "another"])
def test_what_a_run_has_read_that_was_deleted_half_way_stays_and_another_run_goes_on(
    world: World, children: Children, run_id: str
) -> None:
    """Airflow ends the tasks of a run that is deleted, and a backfill makes it anew under the same id."""
    minutes(world)
    deleted = of_interval(0, 180, "the same", max_records=2)
    assert children.start(world, deleted, crash="consume.between_batches:kill:2").died_by_kill()
    kept = world.rows("select batch_id, run_id, messages, attempt from microbatch.batch order by 1")

    consumed, _ = work(world, of_interval(0, 180, run_id))
    world.run(minute=2)

    assert [messages for *_, messages, _ in kept] == [2, 2]
    assert world.rows("select batch_id, run_id, messages, attempt from microbatch.batch order by 1")[:2] == kept
    assert consumed[0].messages == 2
    assert shown(world) == RESULTS
    check(world)


def ended(*started: Child) -> list[str]:
    """The errors of some processes, once they have ended."""
    return [child.outcome().error for child in started]


def test_two_backfills_over_ranges_that_overlap_count_each_message_once(world: World, children: Children) -> None:
    minutes(world)

    one = children.start(world, of_interval(0, 120, "one", max_records=1))
    other = children.start(world, of_interval(60, 180, "other", max_records=1))

    assert ended(one, other) == ["", ""]
    world.run(minute=2)
    assert world.rows("select sum(messages)::int, count(*) from microbatch.batch") == [(6, 6)]
    assert shown(world) == RESULTS
    check(world)


def test_a_backfill_and_a_redo_of_the_same_range_at_once_count_each_message_once(
    world: World, children: Children
) -> None:
    minutes(world)
    consume_all(world, of_interval(0, 60, "read before", max_records=1))

    backfill = children.start(world, of_interval(0, 180, "backfill", max_records=1))
    redo = children.start(world, reprocess(0, 180))

    assert ended(backfill, redo) == ["", ""]
    world.run(minute=2)
    attempts = world.rows("select run_id, attempt from microbatch.batch order by batch_id")
    assert attempts[:2] == [("read before", 2)] * 2
    assert shown(world) == RESULTS
    assert check(world).messages == 6
