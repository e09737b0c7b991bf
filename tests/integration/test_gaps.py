"""Which runs fill the gaps that interval runs have left."""

import logging
from datetime import datetime

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from fix_child import check
from fix_pipeline import T0, Message, World, sale
from microbatch.gaps import GapRun, gaps
from microbatch.modes import run_in_mode
from modes import at, of_interval, work

NOW = at(600)


def three_minutes(world: World) -> World:
    world.send(*(Message(sale("ada", 10**n, T0 + 60 * n), at_s=T0 + 60 * n + 5) for n in range(3)))
    return world


def follow(world: World, found: GapRun, now: datetime = NOW) -> None:
    """Run what was found, as its DAG would."""
    start, end = found.conf.get("from"), found.conf.get("to")
    run = run_in_mode("sales", "fill", 0, mode=found.conf["mode"], start=start, end=end, max_records=None, now=now)
    work(world, run)


def test_without_gaps_nothing_is_to_be_run(world: World) -> None:
    three_minutes(world).run(minute=2)

    assert gaps(world.connections, NOW) == []


def test_a_gap_above_the_beginning_is_filled_by_catching_up(world: World) -> None:
    work(three_minutes(world), of_interval(120, 180))

    (found,) = gaps(world.connections, NOW)
    follow(world, found)

    assert found == GapRun("sales", {"mode": "catch up"})
    assert gaps(world.connections, NOW) == []


def test_a_gap_below_the_beginning_is_filled_by_an_interval(world: World) -> None:
    later = three_minutes(world).replace(start="latest")
    later.run(minute=2)
    work(later, of_interval(0, 60))

    (found,) = gaps(later.connections, NOW)
    follow(later, found)

    assert found.conf == {"mode": "interval", "from": at(0).isoformat(), "to": NOW.isoformat()}
    assert gaps(later.connections, NOW) == []
    assert later.results() == [(n, "ada", 10**n, 1, False, 1) for n in range(3)]
    check(later)


def test_what_kafka_has_lost_is_logged_and_left_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    work(three_minutes(world), of_interval(120, 180))
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    for deleted in admin.delete_records([TopicPartition(world.pipeline.source.name, 0, 2)]).values():
        deleted.result(60)

    with caplog.at_level(logging.WARNING, logger="microbatch"):
        assert gaps(world.connections, NOW) == []

    assert f"gap below {world.pipeline.source.name}[0] 2 cannot be filled: the oldest message is 2" in caplog.text
