"""Late events, clocks that jump, days of 23 and 25 hours, and intervals in any order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import pytest

from fix_child import check
from fix_pipeline import T0, Message, World, interval, sale
from microbatch import Count, PostgresTable, Sum, TumblingWindow
from microbatch.clock import Clock
from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run
from modes import work

MakeWorld = Callable[..., World]

LONG_AGO: Final = T0 - 500 * 86_400
"""Ten o'clock on a day from which on all late events of these tests are in the past: Kafka takes no others."""
LATENESS: Final = timedelta(minutes=2)
BOUND_S: Final = 60 + 120
"""Seconds after the window's start: from here on an event of it is too late."""


class JumpingClock(Clock):
    """The machine's clock, some time ahead or behind."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


# -- late events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_final", [False, True], ids=["before the window is final", "after the window is final"])
def test_an_event_counts_up_to_the_allowed_lateness_and_is_a_dead_letter_past_it(
    make_world: MakeWorld, *, is_final: bool
) -> None:
    """Late by Kafka's timestamp, to the millisecond; not by when it is read."""
    world = make_world(allowed_lateness=LATENESS)
    world.send(Message(sale("ada", 1, LONG_AGO), at_s=LONG_AGO))
    if is_final:
        world.run(0)
    after_s = [0, 30, 60, 61, 90, BOUND_S - 0.001, BOUND_S, BOUND_S + 0.001, BOUND_S + 1, 600, 86_400]
    world.send(*(Message(sale("ada", 10, LONG_AGO), at_s=LONG_AGO + s) for s in after_s))

    world.run(1)

    in_time = sum(s <= BOUND_S for s in after_s)
    assert [result[2:4] for result in world.results()] == [(1 + 10 * in_time, 1 + in_time)]
    rejected = world.rows("select reason, count(*) from microbatch.reject group by 1")
    assert rejected == [("late", len(after_s) - in_time)]
    assert check(world).messages == 1 + len(after_s)


def test_an_event_of_any_lateness_is_a_correction_where_none_is_bounded(world: World) -> None:
    lateness_s = [1, 59, 60, 61, 3600, 86_400, 400 * 86_400]
    world.send(Message(sale("ada", 1, LONG_AGO), at_s=LONG_AGO))
    world.run(0)

    for number, late_s in enumerate(lateness_s, 1):
        world.send(Message(sale("ada", 1, LONG_AGO), at_s=LONG_AGO + 60 + late_s))
        world.run(number)

    assert [result[1:] for result in world.results()] == [("ada", 8, 8, True, 8)]
    assert check(world).messages == 8


# -- the order of runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_intervals_in_any_order_with_gaps_twice_and_beside_catching_up_give_the_same_numbers(
    world: World, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - the same order each time
    world.send(*(Message(sale("ada", 2**n, T0 + 60 * n), n % 2, at_s=T0 + 60 * n + 5) for n in range(8)))
    minutes = chance.choices(range(8), k=6)

    for number, minute in enumerate(minutes):
        if number == 3:
            world.run(chance.choice(minutes))
        run = Run("sales", f"{number}: {minute}", mode="interval", interval=interval(minute), max_records=1)
        work(world, run)
    world.run(7)

    assert [result[:4] for result in world.results()] == [(n, "ada", 2**n, 1) for n in range(8)]
    assert check(world).messages == 8


# -- days of 23 and 25 hours -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "hours"),
    [(datetime(2026, 3, 27, 23, tzinfo=UTC), [24, 23, 24]), (datetime(2026, 10, 23, 22, tzinfo=UTC), [24, 25, 24])],
    ids=["to summer time", "to winter time"],
)
def test_each_hour_of_a_longer_or_shorter_day_counts_once_in_it(
    make_world: MakeWorld, first: datetime, hours: list[int]
) -> None:
    days = TumblingWindow(
        "1 day",
        by=[],
        measures={"amount_usd": Sum("amount_usd"), "sales": Count()},
        to=[PostgresTable("days")],
        timezone="Europe/Berlin",
    )
    world = make_world(outputs=[days])
    times = [first + timedelta(hours=n) for n in range(sum(hours))]
    world.send(*(Message(sale("ada", 1, int(at.timestamp())), at_s=at.timestamp()) for at in times))

    for start in range(0, sum(hours), 6):  # runs of six hours each, of which one spans the change
        end = min(times[0] + timedelta(hours=start + 6), times[-1] + timedelta(hours=1))
        world.run_as(Run("sales", f"from {start}", interval=(times[start], end)))

    assert world.rows(
        "select (extract(epoch from window_end - window_start) / 3600)::int, sales, is_final"
        " from days order by window_start"
    ) == [(count, count, True) for count in hours]
    assert check(world).messages == sum(hours)


# -- the machine's clock -----------------------------------------------------------------------------------


def run_at(world: World, run: Run, ahead: timedelta) -> None:
    """A whole run on a machine whose clock is wrong."""
    consume(world.pipeline, 0, run, world.connections, JumpingClock(ahead))
    publish(world.pipeline, run, world.connections)


@pytest.mark.parametrize("jumps", [[30, 0, -30], [-30, 30, 0], [0, -365, 365]], ids=str)
def test_a_clock_that_jumps_by_days_loses_and_repeats_nothing(world: World, jumps: list[int]) -> None:
    """Manual runs, which close windows by the clock: closed too early is corrected, and none is ever opened again."""
    now = int(datetime.now(UTC).timestamp())
    closed = []
    for number, days in enumerate(jumps):
        world.send(*(Message(sale("ada", 10**number, now - 120), p, at_s=now + number) for p in range(2)))
        run_at(world, world.run_of(None), timedelta(days=days))
        closed.append(world.rows("select closed_until from microbatch.pipeline")[0][0])

    assert closed == sorted(closed)
    world.run(None)
    assert [(amount, sales) for _, _, amount, sales, _, _ in world.results()] == [(222, 6)]
    assert check(world).messages == 6
