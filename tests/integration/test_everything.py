"""A pipeline that uses every option at once passes through import, run, crash, redo and check."""

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from fix_child import Children, check
from fix_everything import FIRST, everything, readings
from fix_pipeline import World
from microbatch.runs import Run
from microbatch.topics import create_topics

PARTITIONS: Final = 3
COUNT: Final = 150


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """The pipeline with topics of its own, and a minute of messages."""
    made = make_world(partitions=PARTITIONS)
    prefix = made.pipeline.source.name.removesuffix("-sales-usd")
    world = World(everything(prefix, PARTITIONS), made.connections)
    create_topics([world.pipeline], world.connections)
    world.send(*readings(COUNT, PARTITIONS, seed=1))
    return world


def everything_in(world: World) -> list[Any]:
    """All rows that people read, less the times of their making."""
    prefix = world.pipeline.source.name.removesuffix("-readings")
    return [
        world.rows(query)
        for query in (
            f'select * from "{prefix} ""readings""" order by 1, 2',
            f'select * from "{prefix}_minutes" order by 1, device, "Select"',
            f'select * from microbatch_topic."{prefix}-days" order by 1, city',
            f'select * from "{prefix}_pairs" order by second_partition, second_offset',
            f'select * from "{prefix}_pairs_waiting" order by value, source_partition, source_offset',
            'select * from microbatch.reject order by partition, "offset"',
        )
    ]


def test_every_option_at_once_counts_everything_once(world: World) -> None:
    world.run(FIRST)
    world.send(*readings(COUNT, PARTITIONS, seed=2, minute=FIRST + 1))

    consumed, published = world.run(FIRST + 1)

    assert consumed[0].messages == COUNT
    assert published.corrections > 0
    assert check(world, settled=False).messages == 2 * COUNT
    assert all(everything_in(world))
    world.run(0)  # its end is past that of the day
    check(world)


@pytest.mark.parametrize(
    "point",
    [
        "consume.reading:kill:3",
        "consume.inside_copy:kill:2",
        "consume.before_commit:kill:2",
        "consume.after_commit:kill:2",
        "publish.after_totals",
        "publish.inside_transaction",
        "publish.after_kafka_commit",
    ],
)
def test_killed_on_its_way_it_is_finished_by_its_retry(world: World, children: Children, point: str) -> None:
    run = world.run_of(FIRST, "killed")
    assert children.start(world, run, crash=point).died_by_kill()

    children.succeed(world, run)
    world.run(0)

    assert check(world).messages == COUNT


def test_done_again_nothing_changes(world: World) -> None:
    world.run(FIRST)
    world.send(*readings(COUNT, PARTITIONS, seed=2, minute=FIRST + 1))
    world.run(0)
    before = everything_in(world)
    interval = world.run_of(FIRST).interval

    reprocess = Run("sales", "again", mode="reprocess", interval=interval)
    world.run_as(reprocess)

    assert everything_in(world) == before
    assert world.rows("select count(*) from microbatch.batch where attempt = 2")[0][0] > 0
    check(world)


@pytest.mark.parametrize("seed", [1, 2])
def test_intervals_in_any_order_in_batches_of_any_size_count_everything_once(world: World, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same order each time
    minutes = list(range(4))
    world.send(*(reading for n in minutes[1:] for reading in readings(60, PARTITIONS, seed + n, FIRST + n)))
    chance.shuffle(minutes)

    for number in minutes[:3]:
        size = chance.randrange(5, 60)
        interval = world.run_of(FIRST + number).interval
        world.run_as(Run("sales", f"minute {number}", mode="interval", interval=interval, max_records=size))
    world.run(0)

    assert check(world).messages == COUNT + 3 * 60


def test_two_shards_share_what_needs_no_order(world: World) -> None:
    assert world.pipeline.stream is not None
    stream = msgspec.structs.replace(world.pipeline.stream, unique=[])
    shared = world.replace(outputs=[stream, *world.pipeline.windows], shards=2)

    shared.run(0)

    assert check(shared).messages == COUNT
