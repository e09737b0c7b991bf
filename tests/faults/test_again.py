"""What people do with Airflow's buttons: runs and single tasks cleared, failures marked as success."""

from collections.abc import Callable

import pytest

from fix_child import Children, check
from fix_late import LATE, MESSAGES, RESULTS, begin_late
from fix_others import sent
from fix_pipeline import World, interval
from microbatch.runs import Run


@pytest.fixture
def sharded(make_world: Callable[..., World]) -> World:
    """Three shards; one minute is final, and the next waits for its run."""
    return begin_late(make_world(**LATE, shards=3))


def closed_until(world: World) -> object:
    return world.rows("select closed_until from microbatch.pipeline")[0][0]


def history(world: World) -> list[tuple[object, ...]]:
    return world.rows("select * from aggregated_sales_history order by window_start, seller_id, revision")


def life(number: int) -> Run:
    """The run of minute 1, cleared as often."""
    return Run("sales", "cleared", interval=interval(1), clear_number=number)


def test_a_run_that_succeeded_and_is_cleared_changes_no_number_and_sends_nothing(
    sharded: World, children: Children
) -> None:
    children.succeed(sharded, life(0))
    before = history(sharded), sent(sharded)

    outcome = children.succeed(sharded, life(1))

    assert outcome.sent == 0
    assert sharded.rows("select count(*) > 0 from microbatch.batch where attempt = 2") == [(True,)]
    assert history(sharded) == before[0]
    assert check(sharded).messages == MESSAGES


def test_one_mapped_task_that_is_cleared_redoes_its_own_batches_only(sharded: World, children: Children) -> None:
    children.succeed(sharded, life(0))
    before = history(sharded)

    children.succeed(sharded, life(1), task="consume", shards=(1,))
    outcome = children.succeed(sharded, life(1), task="publish")

    assert outcome.sent == 0
    assert sharded.rows("select distinct shard, attempt from microbatch.batch where run_id = 'cleared' order by 1") == [
        (0, 1),
        (1, 2),
        (2, 1),
    ]
    assert history(sharded) == before
    assert check(sharded).messages == MESSAGES


def test_publish_alone_that_is_cleared_publishes_nothing_again(sharded: World, children: Children) -> None:
    children.succeed(sharded, life(0))
    before = history(sharded)

    outcome = children.succeed(sharded, life(1), task="publish")

    assert outcome.sent == 0
    assert history(sharded) == before
    assert check(sharded).messages == MESSAGES


def test_a_failed_task_that_is_marked_as_success_closes_no_window(sharded: World, children: Children) -> None:
    """Windows are closed by the ledger, not by Airflow's word; the next run reads what the failed task has not."""
    children.succeed(sharded, life(0), task="consume", shards=(0, 2))
    assert children.start(sharded, life(0), shards=(1,), crash="consume.before_commit").died_by_kill()

    children.succeed(sharded, life(0), task="publish")

    assert closed_until(sharded) == interval(0)[1]
    assert {minute for minute, *_ in sharded.results()} == {0}
    check(sharded, settled=False)
    children.succeed(sharded, sharded.run_of(2, "next"))
    assert [result[:4] for result in sharded.results()] == [result[:4] for result in RESULTS]
    assert check(sharded).messages == MESSAGES
