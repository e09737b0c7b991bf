"""Folding beside runs, redos and other folds, and killed anywhere: nothing is missed, and nothing is left half done."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from child import LONG_AFTER
from fix_child import Children, check, wait_for, waiting
from fix_late import LATE, MESSAGES, RESULTS, begin_late
from fix_pipeline import World, sale
from microbatch.crash import CRASH_POINTS, CrashPoint
from microbatch.maintaining import maintain
from modes import reprocess

PATIENT: Final[dict[str, float]] = {"postgres.IDLE_IN_TRANSACTION_S": 120}
IN_A_FOLD: Final = [point for point in CRASH_POINTS if point.startswith("fold.")]
OF_MERGE: Final[tuple[CrashPoint, ...]] = ("publish.after_take", "publish.after_totals", "publish.after_numbering")


@pytest.fixture
def done(make_world: Callable[..., World], children: Children) -> World:
    """Four batches that are done, with corrections and rejects among them."""
    world = begin_late(make_world(**LATE))
    children.succeed(world, world.run_of(1, "later"))
    return world


def fold(world: World) -> str:
    return maintain("sales", world.connections, LONG_AFTER).describe()


def archives(world: World) -> list[tuple[Any, ...]]:
    """Of each batch: its number, its kind, and how many numbers it stands for."""
    return world.rows("select batch_id, kind, upper(batch_ids) - lower(batch_ids) from microbatch.batch order by 1")


def contributions(world: World) -> list[tuple[Any, ...]]:
    """What all batches together contribute to each window and key."""
    return world.rows(
        "select window_start, seller_id, sum(amount_usd), sum(amount_usd__count), sum(sales)"
        " from aggregated_sales_contribution group by 1, 2 order by 1, 2"
    )


@pytest.mark.parametrize("point", IN_A_FOLD)
def test_a_fold_that_is_killed_leaves_whole_batches_and_the_next_one_does_it(
    done: World, children: Children, point: CrashPoint
) -> None:
    before = contributions(done)

    assert children.start(done, done.run_of(), task="maintain", crash=point).died_by_kill()

    whole = [(1, "archive", 4)] if point == "fold.after_commit" else [(n, "catch up", None) for n in range(1, 5)]
    assert archives(done) == whole
    fold(done)
    assert (archives(done), contributions(done), done.results()) == ([(1, "archive", 4)], before, RESULTS)
    done.send(sale("eve"))
    done.run(2)
    check(done)


@pytest.mark.parametrize("point", OF_MERGE)
def test_what_a_merge_has_taken_and_not_summed_is_not_folded(
    make_world: Callable[..., World], children: Children, point: CrashPoint
) -> None:
    """The merge looks for contributions by the batches that it has taken: in an archive it would not find them."""
    world = begin_late(make_world(**LATE))
    run = world.run_of(1, "merges")
    children.succeed(world, run, task="consume")
    merging = children.start(world, run, task="publish", crash=f"{point}:stop", constants=PATIENT)
    merging.wait_until_stopped()

    fold(world)

    assert archives(world) == [(1, "archive", 1), *((n, "catch up", None) for n in (2, 3, 4))]
    merging.go_on()
    assert not merging.outcome().error, merging.outcome()
    assert world.results() == RESULTS
    fold(world)
    assert archives(world) == [(1, "archive", 4)]


def test_a_batch_that_is_being_redone_is_not_folded(done: World, children: Children) -> None:
    before = contributions(done)
    redoing = children.start(
        done, reprocess(0, 180, "again"), task="consume", crash="redo.before_commit:stop:2", constants=PATIENT
    )
    redoing.wait_until_stopped()

    fold(done)

    # The first is redone and not merged, the second is at work.
    assert archives(done) == [(1, "catch up", None), (2, "catch up", None), (3, "archive", 2)]
    redoing.kill()
    done.run(2)
    fold(done)
    assert (archives(done), contributions(done), done.results()) == ([(1, "archive", 4)], before, RESULTS)


def test_a_redo_that_waits_for_a_fold_finds_an_archive(done: World, children: Children) -> None:
    folding = children.start(done, done.run_of(), task="maintain", crash="fold.before_commit:stop", constants=PATIENT)
    folding.wait_until_stopped()
    redoing = children.start(done, reprocess(0, 180, "again"), task="consume")
    wait_for("the redo waits for its batch", lambda: "transactionid" in waiting(done))

    folding.go_on()

    assert redoing.outcome().error == "BatchArchivedError"
    assert not folding.outcome().error
    assert (archives(done), done.results()) == ([(1, "archive", 4)], RESULTS)


def test_a_run_goes_on_beside_a_fold(done: World, children: Children) -> None:
    folding = children.start(done, done.run_of(), task="maintain", crash="fold.before_commit:stop", constants=PATIENT)
    folding.wait_until_stopped()
    done.send(sale("ada", 100))

    done.run(2)

    assert (0, "ada", 137, 5, True, 3) in done.results()
    folding.go_on()
    assert not folding.outcome().error
    assert archives(done) == [(1, "archive", 4), (5, "catch up", None)]
    assert check(done).messages == 1


def test_two_that_fold_at_once_make_one_archive(done: World, children: Children) -> None:
    before = contributions(done)
    first = children.start(done, done.run_of(), task="maintain", crash="fold.before_commit:stop", constants=PATIENT)
    first.wait_until_stopped()
    second = children.start(done, done.run_of(), task="maintain")
    wait_for("the second waits for the first", lambda: "advisory" in waiting(done))

    first.go_on()

    assert (first.outcome().error, second.outcome().error) == ("", "")
    assert (archives(done), contributions(done)) == ([(1, "archive", 4)], before)
    assert done.rows("select count(*) from microbatch.offset_range") == [(3,)]
    assert done.rows("select messages from microbatch.batch") == [(MESSAGES,)]
