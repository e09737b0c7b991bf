"""The check over streams, pairs, transforms and windows without tables, as the engine makes them, and tampered with."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import pandas as pd
import psycopg
import pytest

from fix_pipeline import T0, Message, World, interval, new_database, new_world
from fix_stack import Stack
from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Max,
    Mean,
    Pairs,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)
from microbatch.runs import Run
from microbatch.topics import create_topics
from recount import Report, UncountableError, check


class Order(Event):
    """An order."""

    city: str
    number: int
    price: Annotated[Decimal, Scale(2)]
    placed: EpochSeconds
    note: str | None = None


def order(city: str = "bonn", number: int = 1, price: Any = "1.50", placed: int = T0, **more: Any) -> bytes:
    return json.dumps({"city": city, "number": number, "price": price, "placed": placed} | more).encode()


def outputs(prefix: str) -> list[Any]:
    return [
        Stream(
            columns={
                "city": "upper(city)",
                "number": "number",
                "gross": "price * 2",
                "placed": "placed",
                "booked": "_batch_time",
                "digits": "cast(note as integer)",
            },
            where="price >= 0",
            reject={"too dear": "price > 1000"},
            unique=["city", "number"],
            to=[PostgresTable("orders"), KafkaTopic(f"{prefix}-orders-out")],
        ),
        TumblingWindow(
            "1 minute",
            by=["city"],
            measures={
                "total": Sum("gross"),
                "mean": Mean("price", scale=3),
                "digits": Max("digits"),
                "orders": Count(),
            },
            to=[KafkaTopic(f"{prefix}-per-minute", partitions=2)],
        ),
        TumblingWindow(
            "1 day",
            by=["city"],
            measures={"total": Sum("price"), "last": Max("placed")},
            to=[PostgresTable("per_day")],
            timezone="Europe/Berlin",
        ),
        Pairs("number", sum=12, to=[PostgresTable("pairs"), KafkaTopic(f"{prefix}-pairs-out")]),
    ]


def in_pennies(frame: pd.DataFrame) -> pd.DataFrame:
    kept = frame[frame["city"] != "nowhere"]
    return kept.assign(pennies=(kept["price"] * 100).astype("int64"))


class Pennies(Event):
    """An order in pennies."""

    city: str
    pennies: int


def world_of(stack: Stack, dsn: str, pipeline_of: Callable[[str], Pipeline]) -> World:
    """A world with another pipeline than that of sales."""
    base = new_world(stack, dsn)
    world = World(pipeline_of(base.pipeline.source.name), base.connections)
    create_topics([world.pipeline], world.connections)
    return world


def orders(prefix: str) -> Pipeline:
    return Pipeline(
        name="orders",
        source=KafkaTopic(f"{prefix}-orders", Order, event_time="placed", partitions=2),
        allowed_lateness=timedelta(hours=1),
        outputs=outputs(prefix),
    )


def transformed(prefix: str) -> Pipeline:
    return Pipeline(
        name="pennies",
        source=KafkaTopic(f"{prefix}-orders", Order, event_time="placed", partitions=2),
        transform=Transform(in_pennies, event=Pennies),
        outputs=[
            TumblingWindow("1 minute", by=["city"], measures={"p": Sum("pennies")}, to=[PostgresTable("pennies")])
        ],
    )


def settle(world: World) -> None:
    """All that can become of a message, in three batches."""
    world.send(
        Message(order("bonn", 1), partition=0, key=b"k0"),
        Message(order("bonn", 1, "9.99"), partition=0, key=b"repeats"),
        Message(order("ulm", 6, "0.005"), partition=0),
        Message(order("ulm", 6, 2), partition=1, at_s=T0 + 1),
        Message(order("ulm", 11, "2.25", note="7"), partition=1, at_s=T0 + 2),
        Message(order("köln", 5, "-1"), partition=0),
        Message(order("köln", 5, "1000.01"), partition=0),
        Message(order("köln", 5, note="none"), partition=1, headers=(("trace", b"1"),)),
        Message(None, partition=1, key=b"k"),
        Message(order("köln", 5, placed=T0 - 90 * 60), partition=1),
        Message(order("köln", 5, placed=T0 - 20 * 60, note="-3"), partition=1),
    )
    world.run(minute=0)
    world.send(
        Message(order("ulm", 6, 3, T0 + 61), partition=0, at_s=T0 + 61),
        Message(order("kiel", 6, "3.333", T0 + 61), partition=0, at_s=T0 + 61),
        Message(order("kiel", 6, "3.33", T0 + 61), partition=1, at_s=T0 + 61),
        Message(order("kiel", 7, "3.33", T0 + 61), partition=1, at_s=T0 + 61),
    )
    world.run(minute=1)
    world.send(Message(order("bonn", 5, 1, T0 + 59), partition=0, at_s=T0 + 130))
    world.run(minute=2)


@pytest.fixture(scope="module")
def settled(stack: Stack) -> Iterator[World]:
    """A settled world; tests that change it do so in transactions that are rolled back."""
    with new_database(stack) as dsn:
        world = world_of(stack, dsn, orders)
        settle(world)
        yield world


def look(world: World, **options: Any) -> Report:
    connections = world.connections
    return check(
        world.pipeline.name,
        connections.bootstrap,
        connections.postgres,
        connections.deployment,
        patience_s=0,
        **options,
    )


def test_it_agrees_with_what_the_engine_did(settled: World) -> None:
    report = look(settled)

    assert report.ok, report.render()
    assert (report.messages, report.rejected) == (16, 5)
    still_open = {"per_day = input", "per_day = its contributions", "per_day_history"}
    assert {finding.name for finding in report.findings if not finding.compared} == still_open
    assert settled.rows("select sum(repeated), sum(filtered) from microbatch.batch") == [(2, 1)]


@pytest.mark.parametrize(
    ("statement", "name", "text"),
    [
        ("update orders set gross = 4 where number = 11", "orders = input", "gross is"),
        ("update orders set booked = booked + '1s'", "orders = input", "booked is"),
        ("update orders set batch_id = 2 where number = 11", "orders = input", "batch 2, read by"),
        ("update pairs set first_value = 2 where first_value = 1", "pairs = input", "2 (0@0, batch 1) + 11"),
        ("update pairs_waiting set value = 8", "pairs_waiting = input", "waits, by the input"),
        ("delete from pairs_waiting", "pairs_waiting = input", "nobody waits"),
        ("update orders_key set batch_id = 3", "orders_key = input", "of batch 3, the input gives"),
        ("delete from orders_key where number = 1", "orders_key = input", "nobody, the input gives"),
        ("update per_day_contribution set total__count = 9", "per_day_contribution = input", "of 9"),
        ("update per_day_contribution set window_end = window_end + '1h'", "per_day_contribution", "window_end is"),
        ("update microbatch.offset_range set repeated = 0", "counted", "0 repeated"),
        ("update microbatch.batch set filtered = 0 where batch_id = 1", "counted", "0 filtered"),
        ("update microbatch.reject set reason = 'later' where reason = 'late'", "rejected offsets", "'late'"),
        ("update microbatch.reject set resolved = true", "rejected offsets", "never redone"),
    ],
)
def test_what_is_changed_in_the_tables_is_found(
    settled: World, monkeypatch: pytest.MonkeyPatch, statement: str, name: str, text: str
) -> None:
    """The check looks through the connection of a transaction that is rolled back."""
    with psycopg.connect(settled.connections.postgres, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("set timezone to 'UTC'")
        changed = connection.execute(statement.encode())
        assert changed.rowcount > 0

        class Same:
            def __enter__(self) -> Any:
                return connection

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr("recount.ledger.snapshot", lambda _: Same())
        report = look(settled)
        connection.rollback()
    assert any(
        text in difference for finding in report.findings if name in finding.name for difference in finding.differences
    ), report.render()


def test_a_reprocess_with_the_same_outcome_agrees(stack: Stack) -> None:
    with new_database(stack) as dsn:
        world = world_of(stack, dsn, orders)
        settle(world)
        start, end = interval(-600)[0], interval(600)[1]
        world.run_as(Run("orders", "again", mode="reprocess", interval=(start, end)))

        report = look(world)
        assert report.ok, report.render()
        assert world.rows("select min(attempt) from microbatch.batch") == [(2,)]


def test_a_transform_is_called_again(stack: Stack) -> None:
    with new_database(stack) as dsn:
        world = world_of(stack, dsn, transformed)
        world.send(order("bonn"), order("nowhere"), Message(order("bonn", 1, 3), partition=1), b"bad")
        world.run(minute=0)

        report = look(world, transform=in_pennies, settled=True)
        assert report.ok, report.render()
        assert (report.messages, report.rejected) == (4, 1)
        twice = look(world, transform=lambda frame: in_pennies(frame).assign(pennies=lambda f: f["pennies"] * 2))
        assert any("p=900" in text for text in twice.differences), twice.render()
        with pytest.raises(UncountableError, match="give the function to"):
            look(world)
