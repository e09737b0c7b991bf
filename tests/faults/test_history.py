"""History of all five pipelines, read in order, and in disorder beside a live schedule: the same comes of it."""

from collections.abc import Iterator
from typing import Final

import pytest

from faults.headline.pipelines import NAMES
from faults.history import equal
from faults.history.finals import Look, Sent, sent, too_early
from faults.history.story import Plan, Told, tell, work_at_once
from fix_child import check
from fix_pipeline import new_database
from fix_stack import Stack
from microbatch.runs import Run
from outside import on_topic

SHORT: Final = Plan(minutes=60, live=12, step=6, a_minute=20)
LONG: Final = Plan(minutes=1440, live=240, step=10, a_minute=60)
is_long = (pytest.mark.long, pytest.mark.timeout(3600))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, plan), id=f"{name}, {plan.minutes} minutes", marks=() if plan is SHORT else is_long)
        for plan in (SHORT, LONG)
        for name in NAMES
    ],
)
def told(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Told]:
    """The history of each pipeline, read by both deployments."""
    name, plan = request.param
    with new_database(stack) as one, new_database(stack) as other:
        yield tell(name, plan, stack, (one, other))


def test_history_read_backwards_beside_a_live_schedule_gives_what_reading_in_order_gives(told: Told) -> None:
    one, other = told.in_order, told.backwards

    assert equal.shown(other) == equal.shown(one)
    assert other.rows("select * from microbatch.gap") == []
    assert (equal.wrong_pairs(one), equal.wrong_pairs(other)) == ([], [])
    assert check(other).messages == check(one).messages


def test_nobody_ever_sees_a_final_result_while_a_message_of_its_window_is_unread(told: Told) -> None:
    pipeline = told.backwards.pipeline
    messages = sent(on_topic(told.backwards, pipeline.source.name), pipeline.source.event_time or "")

    assert [text for look in told.looks for text in too_early(look, messages, told.live_from)] == []
    assert bool(told.looks[-1].final) == bool(pipeline.windows)
    assert any(len(ranges) > 1 for look in told.looks for ranges in look.covered.values()), "there was no gap"


def test_the_same_backfill_again_of_what_has_completed_changes_no_revision_and_sends_nothing(told: Told) -> None:
    world = told.backwards
    before = equal.history(world), equal.on_topics(world)

    work_at_once(world, [again(run) for run in told.backfill])

    assert (equal.history(world), equal.on_topics(world)) == before
    attempts = world.rows("select attempt, kind from microbatch.batch group by 1, 2 order by 1, 2")
    assert attempts == [(1, "catch up"), (2, "interval")]
    check(world)


def again(run: Run) -> Run:
    """A run as `airflow backfill --reprocess-behavior completed` starts it again."""
    return Run(run.dag_id, run.run_id, run.clear_number + 1, run.mode, run.interval)


# -- who judges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covered", "message", "is_fault"),
    [
        (((0, 5),), Sent(0, 4, 30, 30), False),
        (((0, 4), (5, 9)), Sent(0, 4, 30, 30), True),
        (((0, 4), (5, 9)), Sent(0, 4, 30, 300), True),
        (((0, 4), (5, 9)), Sent(0, 4, 60, 60), False),
        (((0, 4),), Sent(0, 4, 30, 59), True),
        (((0, 4),), Sent(0, 4, 30, 60), False),
        (((2, 4),), Sent(0, 1, 30, 300), True),
        ((), Sent(0, 1, 30, 300), True),
        ((), Sent(0, 2, 30, 300), False),
    ],
    ids=[
        "read",
        "in a gap",
        "in a gap, and late",
        "in a gap, of another window",
        "above all that was read, and not late",
        "above all that was read, and late",
        "below all that was read",
        "nothing was read, and it was there before",
        "nothing was read, and it came later",
    ],
)
def test_a_final_window_without_a_message_that_should_have_been_read_is_noticed(
    covered: tuple[tuple[int, int], ...], message: Sent, is_fault: bool
) -> None:
    look = Look(frozenset({(0.0, 60.0), (120.0, 180.0)}), {0: covered})

    assert bool(too_early(look, [message], {0: 2})) == is_fault
