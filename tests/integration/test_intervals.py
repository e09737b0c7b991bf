"""Runs of an interval: what they read, in whatever order, and from when on results are complete."""

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations

import msgspec
import pytest

from fix_child import Children, check
from fix_pipeline import T0, Message, World, sale
from microbatch import batching
from microbatch.consume import consume
from microbatch.errors import OpenTransactionError
from microbatch.publish import publish
from microbatch.runs import Coverage, Run
from modes import at, consume_all, of_interval, work
from outside import dead_letters, open_transaction, wait_for_end

MakeWorld = Callable[..., World]
MARGIN = timedelta(seconds=60)


def minute(number: int, amount: int, partition: int = 0) -> Message:
    """A sale of a minute, sent in that minute."""
    return Message(sale("ada", amount, T0 + 60 * number), partition, at_s=T0 + 60 * number + 5)


def three_minutes(world: World) -> World:
    world.send(*(minute(n, 10**n, partition) for n in range(3) for partition in range(2)))
    return world


def reach(world: World) -> tuple[datetime, list[datetime]]:
    """complete_from of the pipeline, and of its partitions."""
    (pipeline,) = world.rows("select greatest(complete_from, '1970-01-01Z') from microbatch.pipeline")
    partitions = world.rows(
        "select greatest(complete_from, '1970-01-01Z') from microbatch.partition_progress order by partition"
    )
    return pipeline[0], [found for (found,) in partitions]


# -- what is read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_intervals_in_any_order_give_what_catching_up_gives(world: World, order: tuple[int, ...]) -> None:
    three_minutes(world)

    for number in order:
        work(world, of_interval(60 * number, 60 * number + 60, f"minute {number}"))
    consumed, _ = world.run(minute=2)

    assert consumed[0].batches == []
    assert world.results() == [(n, "ada", 2 * 10**n, 2, True, 1) for n in range(3)]
    check(world)


def test_an_interval_beside_a_paused_schedule_leaves_a_gap_that_catching_up_reads(world: World) -> None:
    three_minutes(world)

    work(world, of_interval(120, 180))
    gaps = world.rows("select partition, start_offset, end_offset from microbatch.gap order by 1")
    consumed, _ = world.run(minute=2)

    assert gaps == [(0, 0, 2), (1, 0, 2)]
    assert consumed[0].messages == 4
    assert world.rows("select * from microbatch.gap") == []
    assert world.results() == [(n, "ada", 2 * 10**n, 2, True, 1) for n in range(3)]
    check(world)


def test_dead_letters_above_a_gap_wait_until_it_is_filled(world: World) -> None:
    world.send(Message(b"older", at_s=T0), Message(b"newer", at_s=T0 + 60))

    _, published = world.run_as(of_interval(60, 120))

    assert (published.sent, published.waiting) == (0, 1)
    assert dead_letters(world) == []
    world.run(2)
    assert [letter.value for letter in dead_letters(world)] == [b"older", b"newer"]
    check(world)


def test_an_interval_reads_its_own_messages_and_closes_nothing(world: World) -> None:
    three_minutes(world)

    consumed, published = work(world, of_interval(0, 120))

    assert [summary.describe() for summary in consumed] == [
        "shard 0: 4 messages in 1 batch, 0 rejected; the interval is read"
    ]
    assert (published.closed_until, world.results()) == (None, [])
    assert world.rows(
        "select partition, covered_until, caught_up_to from microbatch.partition_progress order by 1"
    ) == [
        (0, 2, None),
        (1, 2, None),
    ]


def test_an_interval_belongs_to_its_first_message_and_ends_before_the_first_one_after_it(world: World) -> None:
    times = (59.999, 60, 119.999, 120)
    world.send(*(Message(sale("ada"), at_s=T0 + seconds) for seconds in times))

    consumed = consume_all(world, of_interval(60, 120))

    assert [str(item) for item in consumed[0].batches[0].ranges] == ["[0] 1..2"]


def test_a_batch_says_of_which_interval_it_is(world: World) -> None:
    three_minutes(world)

    consume_all(world, of_interval(0, 60, "backfill 10:00"))

    rows = world.rows(
        "select kind, run_id, interval_start, interval_end, ranges, attempt from microbatch.batch_history"
    )
    assert rows == [("interval", "backfill 10:00", at(0), at(60), "[0] 0..0, [1] 0..0", 1)]


def test_an_interval_has_no_budget_and_the_run_bounds_its_batches(make_world: MakeWorld) -> None:
    world = three_minutes(make_world(run_budget=timedelta(microseconds=1)))

    consumed = consume_all(world, of_interval(0, 180, max_records=2))

    assert [batch.messages for batch in consumed[0].batches] == [2, 2, 2]


def test_shards_share_an_interval(make_world: MakeWorld) -> None:
    world = three_minutes(make_world(shards=2))

    consumed = consume_all(world, of_interval(0, 60))

    assert [(summary.messages, summary.partitions) for summary in consumed] == [(1, [0]), (1, [1])]


def test_a_batch_that_takes_long_says_how_far_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    three_minutes(world)
    monkeypatch.setattr(batching, "PROGRESS_S", 0)
    caplog.set_level(logging.INFO, "microbatch")

    consume_all(world, of_interval(0, 180))

    assert any(re.fullmatch(r"batch 1: 6 messages of at most 6 after \d+ s", line) for line in caplog.messages)


# -- nothing to read ---------------------------------------------------------------------------------------


def test_an_interval_without_messages_says_so(world: World) -> None:
    world.send(minute(0, 1), minute(9, 1))

    consumed, _ = work(world, of_interval(60, 540))

    assert consumed[0].describe() == "shard 0: the topic has no messages in the interval"
    assert world.rows("select count(*) from microbatch.batch") == [(0,)]


def test_an_interval_in_the_future_reads_nothing_and_changes_nothing(world: World) -> None:
    three_minutes(world)
    world.run(minute=2)
    before = reach(world)

    consumed, published = work(world, of_interval(86_400, 90_000))

    assert (consumed[0].batches, published.revisions, reach(world)) == ([], 0, before)


def test_an_interval_that_ends_in_the_future_is_read_as_far_as_there_is_something(world: World) -> None:
    three_minutes(world)

    consumed = consume_all(world, of_interval(60, 86_400))

    assert consumed[0].messages == 4


def test_an_interval_that_is_covered_names_the_batches_and_the_way_to_redo_them(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    three_minutes(world)
    world.run(minute=2)
    caplog.set_level(logging.INFO, "microbatch")

    consumed = consume_all(world, of_interval(0, 180))

    says = "all of the interval was read before, by batch 1; mode=reprocess would redo them"
    assert (consumed[0].describe(), consumed[0].coverage) == (f"shard 0: {says}", Coverage(1, [1]))
    assert f"sales: {says}" in caplog.messages


def test_of_many_batches_that_cover_an_interval_a_few_are_named(world: World) -> None:
    world.send(*(minute(0, 1) for _ in range(7)))
    consume_all(world, of_interval(0, 60, "first", max_records=1))

    consumed = consume_all(world, of_interval(0, 60, "second"))

    assert "by batches 1, 2, 3, 4, 5 and 2 more; " in consumed[0].describe()


# -- what cannot be read yet -------------------------------------------------------------------------------


def test_an_interval_above_an_open_transaction_is_read_as_far_as_it_goes_and_finished_by_a_retry(world: World) -> None:
    now = int(time.time())
    run = Run("sales", "backfill", 0, "interval", (moment(now - 60), moment(now + 50)))
    world.send(Message(sale("ada", 1, now), at_s=now))
    other = open_transaction(world, Message(sale("ada", 20, now)))
    world.send(Message(sale("ada", 300, now), at_s=now + 60))

    blocked = r"pipeline 'sales': 1 offsets of the interval cannot be read yet, from \S+-sales-usd\[0\] 1 on: another"
    with pytest.raises(OpenTransactionError, match=blocked):
        consume(world.pipeline, 0, run, world.connections)
    stored = world.rows("select partition, offsets::text from microbatch.offset_range")
    other.commit_transaction(30)
    wait_for_end(world, 3)
    consumed = consume_all(world, run)

    assert stored == [(0, "[0,1)")]
    assert [str(item) for item in consumed[0].batches[0].ranges] == ["[0] 1..1"]
    assert world.rows("select sum(amount_usd) from aggregated_sales_contribution") == [(21,)]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_a_killed_run_of_an_interval_goes_on_where_it_was(world: World, children: Children) -> None:
    three_minutes(world)
    run = of_interval(0, 180, "killed", max_records=2)
    assert children.start(world, run, crash="consume.between_batches:kill:2").died_by_kill()
    kept = world.rows("select batch_id from microbatch.batch order by 1")

    children.succeed(world, run)
    world.run(minute=2)

    assert len(kept) == 2
    assert world.results() == [(n, "ada", 2 * 10**n, 2, True, 1) for n in range(3)]
    check(world)


# -- from when on results are complete ---------------------------------------------------------------------


def begun_late(make_world: MakeWorld, **changes: object) -> World:
    """A pipeline that began with its third minute; the two before it are history."""
    return three_minutes(make_world(start=at(120), max_future=MARGIN, **changes))


def test_history_moves_complete_from_down_to_the_first_whole_window_after_its_start(make_world: MakeWorld) -> None:
    world = begun_late(make_world)
    world.run(minute=3)
    before, results = reach(world), world.results()

    consumed, _ = work(world, of_interval(0, 120))

    assert before == (at(180), [at(180)] * 2)
    assert results == [(2, "ada", 200, 2, False, 1)]
    assert consumed[0].messages == 4
    assert reach(world) == (at(60), [at(60)] * 2)
    assert world.results() == [
        (0, "ada", 2, 2, False, 1),
        (1, "ada", 20, 2, True, 1),
        (2, "ada", 200, 2, True, 2),
    ]
    check(world)


def test_history_that_leaves_something_out_moves_nothing_until_that_is_read_too(make_world: MakeWorld) -> None:
    world = begun_late(make_world)
    world.run(minute=3)

    work(world, of_interval(0, 60))
    left_out, hole = reach(world), world.rows("select partition, start_offset, end_offset from microbatch.gap")
    work(world, of_interval(60, 120, "the rest"))

    assert left_out == (at(180), [at(180)] * 2)
    assert sorted(hole) == [(0, 1, 2), (1, 1, 2)]
    assert reach(world) == (at(60), [at(60)] * 2)
    assert world.rows("select * from microbatch.gap") == []
    check(world)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_history_that_is_read_in_any_order_is_complete_from_its_earliest_interval(
    make_world: MakeWorld, order: tuple[int, ...]
) -> None:
    world = make_world(start=at(180), max_future=MARGIN)
    world.send(*(minute(n, 10**n, partition) for n in range(4) for partition in range(2)))
    world.run(minute=4)

    for number in order:
        work(world, of_interval(60 * number, 60 * number + 60, f"minute {number}"))

    assert reach(world) == (at(60), [at(60)] * 2)
    assert world.rows("select count(*) from microbatch.reach") == [(0,)]
    assert [final for *_, final, _ in world.results()] == [False, True, True, True]
    check(world)


def test_a_pipeline_is_complete_from_where_its_last_partition_is(make_world: MakeWorld) -> None:
    world = begun_late(make_world, shards=2)
    world.run(minute=3)
    run = of_interval(0, 120)

    consume(world.pipeline, 0, run, world.connections)
    publish(world.pipeline, run, world.connections)
    one = reach(world)
    consume(world.pipeline, 1, run, world.connections)
    publish(world.pipeline, run, world.connections)

    assert one == (at(180), [at(60), at(180)])
    assert reach(world) == (at(60), [at(60)] * 2)


def test_an_empty_look_at_history_moves_complete_from_too(make_world: MakeWorld) -> None:
    world = make_world(start=at(600), max_future=MARGIN)
    world.send(minute(0, 1), Message(sale(), partition=1))
    world.run(minute=3)

    consumed, _ = work(world, of_interval(120, 180))

    assert consumed[0].describe() == "shard 0: the topic has no messages in the interval"
    assert reach(world) == (at(180), [at(180)] * 2)


def test_without_an_event_time_history_is_complete_from_its_start(make_world: MakeWorld) -> None:
    world = make_world(start=at(120), max_future=MARGIN)
    three_minutes(world)
    by_kafka = world.replace(source=msgspec.structs.replace(world.pipeline.source, event_time=None))
    work(by_kafka, of_interval(0, 120))

    assert reach(by_kafka) == (at(0), [at(0)] * 2)
