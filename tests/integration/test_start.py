"""Where a new pipeline begins, and from when on its results are complete."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from fix_others import add_partition, delete_messages
from fix_pipeline import T0, Message, World, sale
from microbatch.postgres import connect
from microbatch.registration import register
from modes import at

MakeWorld = Callable[..., World]
Start = Literal["earliest", "latest"] | datetime
MARGIN = timedelta(seconds=90)


def begun(make_world: MakeWorld, start: Start) -> World:
    """Registered when its partition 0 had three messages, a minute apart, and partition 1 none."""
    world = make_world(start=start, max_future=MARGIN)
    world.send(*(Message(sale("ada", 1, T0 + 60 * n), at_s=T0 + 60 * n) for n in range(3)))
    register_again(world)
    return world


def register_again(world: World) -> None:
    with connect(world.connections.postgres, "test") as connection:
        register(world.pipeline, world.connections, connection)


def beginnings(world: World) -> list[tuple[int, int, float]]:
    """Partition, first offset, complete_from in seconds."""
    return world.rows(
        "select partition, first_offset, extract(epoch from complete_from)::float"
        " from microbatch.partition_progress order by 1"
    )


def complete_from_s(world: World) -> float:
    ((found,),) = world.rows("select extract(epoch from complete_from)::float from microbatch.pipeline")
    return float(found)


NEVER = float("-inf")


def test_earliest_begins_at_the_low_watermark_and_is_complete_from_ever(make_world: MakeWorld) -> None:
    world = make_world()
    world.send(sale(), sale())
    delete_messages(world, partition=0, below=1)
    register_again(world)

    assert beginnings(world) == [(0, 1, NEVER), (1, 0, NEVER)]
    assert complete_from_s(world) == NEVER


def test_latest_begins_at_the_end_and_is_complete_a_margin_after_now(make_world: MakeWorld) -> None:
    before_s = time.time()
    world = begun(make_world, "latest")

    found = beginnings(world)

    assert [row[:2] for row in found] == [(0, 3), (1, 0)]
    assert before_s + 90 <= found[0][2] <= time.time() + 90
    assert found[1][2] == NEVER, "nothing of an empty partition is left out"
    assert complete_from_s(world) == found[0][2]


def test_latest_is_complete_a_margin_after_what_it_skips_if_that_is_from_the_future(make_world: MakeWorld) -> None:
    """A message in the log, of a producer whose clock is ahead, belongs to a window that is still to come."""
    world = make_world(start="latest", max_future=MARGIN)
    ahead_s = int(time.time()) + 600
    world.send(Message(sale("ada", 1, ahead_s), at_s=ahead_s), Message(sale("ada", 1), at_s=T0))

    register_again(world)

    assert beginnings(world) == [(0, 2, ahead_s + 90), (1, 0, NEVER)]


def test_a_time_begins_at_the_first_message_of_that_time_and_is_complete_a_margin_later(make_world: MakeWorld) -> None:
    world = begun(make_world, at(60))

    assert beginnings(world) == [(0, 1, T0 + 150), (1, 0, NEVER)]
    assert complete_from_s(world) == T0 + 150


def test_a_time_after_all_messages_begins_at_the_end(make_world: MakeWorld) -> None:
    world = begun(make_world, datetime.now(UTC) + timedelta(hours=1))

    assert [row[:2] for row in beginnings(world)] == [(0, 3), (1, 0)]


def test_what_is_below_the_start_is_not_read_and_its_windows_are_never_final(make_world: MakeWorld) -> None:
    world = begun(make_world, at(60))
    world.send(Message(sale("ada", 10, T0 + 180), at_s=T0 + 180))

    world.run(minute=4)

    assert world.results() == [
        (1, "ada", 1, 1, False, 1),
        (2, "ada", 1, 1, False, 1),
        (3, "ada", 10, 1, True, 1),
    ]


@pytest.mark.parametrize("start", ["latest", at(60)], ids=["latest", "time"])
def test_a_partition_that_appears_later_begins_at_0_and_makes_nothing_less_complete(
    make_world: MakeWorld, start: Start
) -> None:
    world = begun(make_world, start)
    before_s = complete_from_s(world)
    number = add_partition(world)
    world.send(Message(sale(), partition=number))

    register_again(world)

    assert beginnings(world)[number] == (number, 0, NEVER)
    assert complete_from_s(world) == before_s


def test_a_registered_pipeline_keeps_its_beginning(make_world: MakeWorld) -> None:
    world = begun(make_world, at(60))
    before = beginnings(world)

    register_again(world.replace(start="earliest"))

    assert beginnings(world) == before
