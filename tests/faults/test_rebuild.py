"""A rebuild that is killed goes on with what is left when it is run again; others may work beside it."""

from typing import Final

import pytest

from fix_child import Children, check
from fix_pipeline import T0, Message, World, sale
from fix_rebuild import amounts_sent, as_declared, send_and_run
from microbatch.crash import CrashPoint
from microbatch.runs import Run

RUN: Final = Run("nobody", "a rebuild")  # it has its own
TIMES_REDONE: Final[dict[str, list[int]]] = {
    "rebuild.after_decision": [1, 1, 1, 1],
    "redo.before_commit:kill:2": [2, 1, 1, 1],
    "rebuild.between_batches:kill:2": [2, 2, 1, 1],
    "rebuild.before_publish": [2, 2, 2, 2],
}
"""Where it is killed, and how often each batch was computed by then."""


@pytest.fixture
def wrong(world: World) -> World:
    """Four batches over two minutes, a negative amount in three of them."""
    first = send_and_run(world, [3, -1], [5, -2])
    first.send(Message(sale("ada", -4, T0), at_s=T0 + 120))
    first.run(2)
    first.send(Message(sale("bob", 9, T0 + 60), at_s=T0 + 180))
    first.run(3)
    return first


def attempts(world: World) -> list[int]:
    return [found for (found,) in world.rows("select attempt from microbatch.batch order by batch_id")]


def sums(world: World) -> list[tuple[int, str, int]]:
    return [(minute, seller, amount) for minute, seller, amount, *_ in world.results()]


def mixed(world: World) -> int:
    return int(world.rows("select count(*) from aggregated_sales_mixed")[0][0])


@pytest.mark.parametrize("crash", TIMES_REDONE)
def test_a_rebuild_that_is_killed_goes_on_with_what_is_left(
    wrong: World, children: Children, crash: CrashPoint
) -> None:
    right = as_declared(wrong, "positive sales")
    before = wrong.results()

    assert children.start(right, RUN, task="rebuild", crash=crash).died_by_kill()
    assert (attempts(wrong), wrong.results()) == (TIMES_REDONE[crash], before)
    children.succeed(right, RUN, task="rebuild")

    assert attempts(wrong) == [2, 2, 2, 2]
    assert sums(wrong) == [(0, "ada", 3), (1, "ada", 5), (1, "bob", 9)]
    assert wrong.rows("select distinct generation from microbatch.batch") == [(2,)]
    assert check(right).messages == 6


def test_results_that_two_definitions_feed_are_marked_while_a_rebuild_is_cut_off(
    wrong: World, children: Children
) -> None:
    right = as_declared(wrong, "positive sales")
    assert mixed(wrong) == 0

    assert children.start(right, RUN, task="rebuild", crash="rebuild.between_batches:kill:2").died_by_kill()

    marked = "select extract(epoch from window_start)::int, seller_id, generations from aggregated_sales_mixed"
    assert wrong.rows(marked) == [(T0, "ada", [1, 2])]
    children.succeed(right, right.run_of(4), task="publish")
    check(right)
    children.succeed(right, RUN, task="rebuild")
    assert mixed(wrong) == 0


def test_what_is_redone_is_published_on_the_way(wrong: World, children: Children) -> None:
    right = as_declared(wrong, "positive sales")
    at_once = {"rebuild_work.PUBLISH_S": -1.0}

    killed = children.start(right, RUN, task="rebuild", crash="rebuild.before_publish:kill:2", constants=at_once)
    assert killed.died_by_kill()

    assert attempts(wrong) == [2, 2, 1, 1]
    assert sums(wrong) == [(0, "ada", -1), (1, "ada", 3), (1, "bob", 9)]
    children.succeed(right, RUN, task="rebuild", constants=at_once)
    assert sums(wrong) == [(0, "ada", 3), (1, "ada", 5), (1, "bob", 9)]
    check(right)


def test_a_rebuild_and_a_run_with_the_new_file_work_side_by_side(wrong: World, children: Children) -> None:
    right = as_declared(wrong, "positive sales")
    rebuilding = children.start(right, RUN, task="rebuild", crash="rebuild.between_batches:stop")
    rebuilding.wait_until_stopped()
    right.send(Message(sale("ada", 20, T0 + 60), at_s=T0 + 240), Message(sale("ada", -20, T0 + 60), at_s=T0 + 240))

    children.succeed(right, right.run_of(4))
    assert children.do(wrong, wrong.run_of(5)).error == "OldDefinitionError"
    rebuilding.go_on()

    assert not rebuilding.outcome().error
    assert sums(wrong) == [(0, "ada", 3), (1, "ada", 25), (1, "bob", 9)]
    assert check(right).messages == 8


def test_two_that_rebuild_at_once_redo_each_batch_once(wrong: World, children: Children) -> None:
    right = as_declared(wrong, "positive sales")
    first = children.start(right, RUN, task="rebuild", crash="rebuild.between_batches:stop")
    first.wait_until_stopped()

    children.succeed(right, RUN, task="rebuild")
    first.go_on()

    assert not first.outcome().error
    assert attempts(wrong) == [2, 2, 2, 2]
    check(right)


@pytest.mark.parametrize("crash", ["redo.before_commit:kill:2", "publish.after_kafka_commit"])
def test_rows_that_a_killed_rebuild_has_to_send_are_sent_once(
    world: World, children: Children, crash: CrashPoint
) -> None:
    first = send_and_run(as_declared(world, "positive rows"), [1, -2], [3, -4])
    right = as_declared(first, "rows")

    assert children.start(right, RUN, task="rebuild", crash=crash).died_by_kill()
    children.succeed(right, RUN, task="rebuild")

    assert amounts_sent(first) == [1, 3, -2, -4]
    check(right)
