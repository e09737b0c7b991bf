"""The same work done twice at the same time, and different runs and layouts at once."""

import pytest

from fix_child import Children, check, wait_for, waiting
from fix_late import LATER, MESSAGES, RESULTS
from fix_pipeline import Message, World, interval, sale
from microbatch.crash import CrashPoint
from microbatch.runs import Run


def test_the_same_run_executed_twice_at_the_same_time_counts_once(late: World, children: Children) -> None:
    run = late.run_of(1, "twice")

    both = [children.start(late, run) for _ in range(2)]

    assert [child.outcome().error for child in both] == ["", ""]
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


def test_a_backfill_a_manual_and_scheduled_runs_at_the_same_time_count_once(late: World, children: Children) -> None:
    runs = [
        late.run_of(1, "scheduled"),
        late.run_of(0, "older"),
        late.run_of(None, "manual"),
        Run("sales", "backfill", mode="interval", interval=interval(0)),
        Run("sales", "redo", mode="reprocess", interval=interval(0)),
    ]

    started = [children.start(late, run) for run in runs]

    assert [child.outcome().error for child in started] == [""] * 5
    assert [result[:4] for result in late.results()] == [result[:4] for result in RESULTS]
    assert check(late).messages == MESSAGES


def test_publish_of_one_run_beside_consume_of_another_misses_nothing(late: World, children: Children) -> None:
    """Batches commit between the statements of merges."""
    for visit in range(1, 4):
        late.run(0, f"publish {visit}")
        late.send(*LATER)
    consuming = children.start(late, late.run_of(1, "consumes"), task="consume")

    while consuming.is_running():
        children.succeed(late, late.run_of(1, "publishes"), task="publish")

    assert not consuming.outcome().error
    children.succeed(late, late.run_of(1, "publishes"), task="publish")
    assert check(late).messages == MESSAGES + 3 * len(LATER)


def test_first_runs_at_the_same_time_register_once(world: World, children: Children) -> None:
    world.send(sale("ada", 3), Message(sale("bob", 5), partition=1))

    started = [children.start(world, world.run_of(0)) for _ in range(3)]

    assert [child.outcome().error for child in started] == [""] * 3
    assert world.results() == [(0, "ada", 3, 1, True, 1), (0, "bob", 5, 1, True, 1)]
    check(world)


def test_a_waiting_batch_goes_on_when_the_one_before_it_is_killed(late: World, children: Children) -> None:
    first = children.start(late, late.run_of(1, "killed"), crash="consume.before_commit:stop")
    first.wait_until_stopped()
    second = children.start(late, late.run_of(1, "waits"))
    wait_for("the second waits for the shard's lock", lambda: waiting(late) == ["advisory"])

    first.kill()

    assert not second.outcome().error
    assert late.results() == RESULTS
    check(late)


def test_ranges_of_two_shard_layouts_that_overlap_are_refused_by_the_database(late: World, children: Children) -> None:
    """Shard 1 of the new layout holds another lock than shard 0 of the old one: the constraint keeps them apart."""
    two = late.replace(shards=2)
    old = children.start(late, late.run_of(1, "old layout"), crash="consume.before_commit:stop")
    old.wait_until_stopped()
    new = children.start(two, late.run_of(1, "new layout"), task="consume", shards=(1,))
    wait_for("the new layout waits for the old one's ranges", lambda: waiting(late) == ["transactionid"])

    old.go_on()

    assert not old.outcome().error
    assert new.outcome().error == "RangeTakenError"
    children.succeed(two, late.run_of(1, "next"))
    assert check(late).messages == MESSAGES


def test_two_shard_layouts_at_once_count_once(late: World, children: Children) -> None:
    two = late.replace(shards=2)
    started = [children.start(late, late.run_of(1, "old")), children.start(two, late.run_of(1, "new"))]

    failed = [child.outcome().error for child in started]

    assert set(failed) <= {"", "RangeTakenError"}
    children.succeed(two, late.run_of(1, "next"))
    assert [result[:4] for result in late.results()] == [result[:4] for result in RESULTS]
    assert check(late).messages == MESSAGES


def test_a_changed_shard_count_after_a_crash_goes_on_where_the_crash_was(late: World, children: Children) -> None:
    assert children.start(late, late.run_of(1, "one"), crash="consume.between_batches").died_by_kill()

    children.succeed(late.replace(shards=3), late.run_of(1, "three"))

    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("point", ["consume.after_claim", "consume.inside_copy"])
def test_a_batch_whose_process_is_stopped_is_rolled_back_and_the_next_in_line_goes_on(
    late: World, children: Children, point: CrashPoint
) -> None:
    """The server ends its transaction; inside COPY, where it does not, whoever waits for the lock does."""
    stopped = children.start(
        late, late.run_of(1), crash=f"{point}:stop", constants={"postgres.IDLE_IN_TRANSACTION_S": 4}
    )
    stopped.wait_until_stopped()

    children.succeed(late, late.run_of(1), constants={"postgres.LOCK_PATIENCE_S": 1})

    assert stopped.is_stopped()
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES
