"""Batches that are redone: what changes, what does not, and what a run that was cut off goes on with."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest

from fix_child import PATIENCE_S, Children, check, wait_for, waiting
from fix_others import delete_messages, sent
from fix_pipeline import T0, Message, World, sale
from microbatch import redoing
from microbatch.consume import consume
from microbatch.crash import CrashPoint
from microbatch.errors import BatchDeletedError, BatchShrunkError
from microbatch.runs import Run
from modes import at, consume_all, reprocess, work
from outside import dead_letters

MakeWorld = Callable[..., World]


def three_batches(world: World) -> World:
    """Three runs of a batch each, a minute apart, with a reject and a tombstone in the first."""
    for number in range(3):
        world.send(
            Message(sale("ada", 10**number, T0 + 60 * number), at_s=T0 + 60 * number),
            Message(sale("bob", 1, T0 + 60 * number), 1, at_s=T0 + 60 * number),
        )
        if number == 0:
            world.send(b"junk", None)
        world.run(number, f"run {number}")
    return world


@pytest.fixture
def done(world: World) -> World:
    """Three batches, all published."""
    return three_batches(world)


def attempts(world: World) -> list[int]:
    return [found for (found,) in world.rows("select attempt from microbatch.batch order by batch_id")]


def state(world: World) -> list[Any]:
    """All that readers can see, and all that was sent."""
    history = (
        "select seller_id, amount_usd, sales, is_final, revision, retracted, batches from aggregated_sales_history"
    )
    contributions = "select batch_id, window_start, seller_id, amount_usd, sales from aggregated_sales_contribution"
    rejects = 'select partition, "offset", batch_id, reason, resolved from microbatch.reject order by 1, 2'
    counts = "select batch_id, partition, offsets, messages, rejected, repeated, filtered from microbatch.offset_range"
    progress = "select partition, covered_until, caught_up_to from microbatch.partition_progress order by 1"
    return [
        world.results(),
        world.rows(f"{history} order by window_start, 1, revision"),
        world.rows(f"{contributions} order by 1, 2, 3"),
        world.rows(rejects),
        world.rows(f"{counts} order by 1, 2"),
        world.rows(progress),
        sent(world),
    ]


# -- what a redo changes -----------------------------------------------------------------------------------


def test_reprocessing_twice_changes_nothing_and_sends_nothing(done: World) -> None:
    before = state(done)

    for number in range(2):
        consumed, published = work(done, reprocess(0, 180, f"reprocess {number}"))

        assert consumed[0].describe() == "shard 0: 8 messages in 3 batches, 1 rejected; all of them redone"
        assert (published.revisions, published.sent) == (0, 0)

    assert state(done) == before
    assert attempts(done) == [3, 3, 3]
    check(done)


def test_a_redo_keeps_the_number_the_time_and_the_author_of_a_batch(done: World) -> None:
    query = (
        "select batch_id, run_id, batch_time, committed_at, interval_start, messages from microbatch.batch order by 1"
    )
    before = done.rows(query)

    work(done, reprocess(0, 180))

    assert done.rows(query) == before
    assert done.rows("select distinct redo_dag_id, redo_run_id, redo_clear_number from microbatch.batch") == [
        ("sales", "reprocess", 0)
    ]
    assert done.rows("select bool_and(redone_at > committed_at) from microbatch.batch") == [(True,)]


def test_only_the_batches_that_meet_the_interval_are_redone(done: World) -> None:
    consumed, _ = work(done, reprocess(60, 120))

    assert [batch.batch_id for batch in consumed[0].batches] == [2]
    assert attempts(done) == [1, 2, 1]


def test_an_interval_that_no_batch_meets_has_nothing_to_redo(done: World) -> None:
    consumed, _ = work(done, reprocess(86_400, 90_000))

    assert consumed[0].describe() == "shard 0: no batch to redo"
    assert attempts(done) == [1, 1, 1]


def test_a_redo_puts_right_what_somebody_has_spoilt(done: World) -> None:
    execute(done, "update aggregated_sales_contribution set amount_usd = 7777 where batch_id = 2 and seller_id = 'ada'")

    work(done, reprocess(60, 120))

    assert done.rows("select sum(amount_usd) from aggregated_sales_contribution where seller_id = 'ada'") == [(111,)]
    check(done)


def test_what_was_not_read_is_not_read_by_a_redo(done: World) -> None:
    done.send(Message(sale("eve"), at_s=T0 + 30))

    consumed, _ = work(done, reprocess(0, 180))

    assert consumed[0].messages == 8
    assert done.rows("select max(covered_until) from microbatch.partition_progress") == [(5,)]


# -- runs that were cleared --------------------------------------------------------------------------------


def test_a_completed_run_that_was_cleared_redoes_its_own_batches(done: World) -> None:
    run = Run("sales", "run 1", 1, interval=(at(60), at(120)))

    consumed, published = work(done, run)
    again, _ = work(done, run)

    assert consumed[0].describe() == "shard 0: 2 messages in 1 batch, 0 rejected; all of them redone"
    assert again[0].completed_before
    assert (attempts(done), published.revisions) == ([1, 2, 1], 0)


def test_a_run_that_did_not_complete_and_was_cleared_goes_on(world: World, children: Children) -> None:
    world.send(sale("ada", 1), sale("ada", 2))
    killed = Run("sales", "killed", 0, interval=(at(0), at(60)), max_records=1)
    assert children.start(world, killed, crash="consume.between_batches").died_by_kill()

    cleared = Run("sales", "killed", 1, interval=(at(0), at(60)), max_records=1)
    consumed, _ = work(world, cleared)

    assert [batch.batch_id for batch in consumed[0].batches] == [2]
    assert attempts(world) == [1, 1]
    assert world.results() == [(0, "ada", 3, 2, True, 1)]


def test_a_reprocess_that_was_completed_and_cleared_redoes_everything_again(done: World) -> None:
    work(done, reprocess(0, 180))

    work(done, reprocess(0, 180, clear_number=1))

    assert attempts(done) == [3, 3, 3]


# -- cut off -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["redo.after_lock", "redo.before_commit", "consume.before_run_completed"])
@pytest.mark.parametrize("cleared", [False, True], ids=["retried", "cleared"])
def test_a_reprocess_that_was_killed_goes_on_with_what_is_left(
    done: World, children: Children, point: CrashPoint, cleared: bool
) -> None:
    """Airflow clears a run that it has cut off: its clear number grows although it never completed."""
    before = state(done)
    visit = 1 if point == "consume.before_run_completed" else 2
    assert children.start(done, reprocess(0, 180), crash=f"{point}:kill:{visit}").died_by_kill()
    kept = attempts(done)

    children.succeed(done, reprocess(0, 180, clear_number=int(cleared)))

    assert kept == ([2, 2, 2] if visit == 1 else [2, 1, 1])
    assert attempts(done) == [2, 2, 2]
    assert state(done) == before
    check(done)


@pytest.mark.parametrize("point", ["consume.reading", "consume.inside_copy"])
def test_a_redo_that_is_killed_on_its_way_leaves_the_batch_as_it_was(
    done: World, children: Children, point: CrashPoint
) -> None:
    before = state(done)

    assert children.start(done, reprocess(0, 180), crash=point).died_by_kill()

    assert (state(done), attempts(done)) == (before, [1, 1, 1])


def test_two_that_redo_at_once_leave_everything_counted_once(done: World) -> None:
    before = state(done)
    runs = [reprocess(0, 180, name) for name in ("one", "other")]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda run: consume(done.pipeline, 0, run, done.connections), runs))
    done.run(minute=3)

    assert attempts(done) == [3, 3, 3]
    assert state(done)[:5] == before[:5]
    check(done)


# -- other shards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("were", "are"), [(1, 2), (2, 1), (2, 3)])
def test_another_number_of_shards_redoes_each_batch_once(make_world: MakeWorld, were: int, are: int) -> None:
    world = three_batches(make_world(shards=were))
    before = state(world)
    resharded = world.replace(shards=are)

    consumed, _ = work(resharded, reprocess(0, 180))

    assert sum(len(summary.batches) for summary in consumed) == 3 * were
    assert attempts(world) == [2] * (3 * were)
    assert state(world) == before
    check(resharded)


def test_two_layouts_of_shards_that_redo_at_once_leave_everything_counted_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is held before its commit until the other one, under another shard's lock, waits for it."""
    world = three_batches(make_world(shards=2))
    before, is_held = state(world), Event()

    def hold(point: CrashPoint) -> None:
        if point == "redo.before_commit" and not is_held.is_set():
            is_held.set()
            wait_for("the other one waits", lambda: bool(waiting(world)))

    def redo(of: World, shard: int) -> None:
        consume(of.pipeline, shard, reprocess(0, 180, f"{of.pipeline.shards} shards"), of.connections)

    monkeypatch.setattr(redoing, "crash_point", hold)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(redo, world, 1)
        assert is_held.wait(PATIENCE_S)
        other = pool.submit(redo, world.replace(shards=1), 0)
        first.result()
        other.result()
    world.run(minute=3)

    assert attempts(world) == [2, 3] * 3
    assert state(world)[:5] == before[:5]


# -- input that is not there any more ----------------------------------------------------------------------


def test_a_batch_whose_messages_retention_deleted_stays_as_it_is(done: World) -> None:
    before = state(done)
    delete_messages(done, partition=0, below=1)

    gone = r"\S+-sales-usd: batch 1 cannot be redone: \[0\] 0\.\.2 was deleted below 1; the batch stays as it is"
    with pytest.raises(BatchDeletedError, match=gone):
        consume_all(done, reprocess(0, 180))

    assert state(done) == before
    assert attempts(done) == [1, 1, 1]
    assert done.rows("select last_error like 'BatchDeletedError: %%', failures from microbatch.freshness") == [
        (True, 1)
    ]


def test_a_batch_of_which_fewer_messages_are_left_stays_as_it_is(done: World) -> None:
    """As after a compaction: the ledger knows of a message more than the topic has."""
    execute(done, "update microbatch.offset_range set messages = 4 where batch_id = 1 and partition = 0")
    before = state(done)

    gone = r"\S+-sales-usd: batch 1 cannot be redone: \[0\] 0\.\.2 has 3 messages, it had 4; compaction"
    with pytest.raises(BatchShrunkError, match=gone):
        consume_all(done, reprocess(0, 180))

    assert (state(done), attempts(done)) == (before, [1, 1, 1])


def test_batches_that_can_be_redone_are_redone_beside_one_that_cannot(done: World) -> None:
    delete_messages(done, partition=0, below=1)

    work(done, reprocess(60, 180))

    assert attempts(done) == [1, 2, 2]


def test_dead_letters_are_not_sent_again(done: World) -> None:
    before = dead_letters(done)

    work(done, reprocess(0, 180))

    assert dead_letters(done) == before
    assert len(before) == 1


def execute(world: World, statement: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        connection.execute(statement.encode())
