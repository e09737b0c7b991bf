"""A sales pipeline of its own for each test: fresh topics on the real Kafka, a fresh database on the real Postgres."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fix_stack import Stack
from local import roles
from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pipeline,
    PostgresTable,
    Sum,
    TumblingWindow,
)
from microbatch.consume import consume
from microbatch.migrations import migrate
from microbatch.postgres import connect
from microbatch.publish import publish
from microbatch.runs import ConsumeSummary, PublishSummary, Run
from microbatch.settings import Connections
from microbatch.topics import create_topics

T0 = int(datetime(2026, 11, 21, 10, 0, tzinfo=UTC).timestamp())
"""Ten o'clock, when the minute begins that most tests are about; seconds."""

_numbers = itertools.count(1)


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds


def sale(seller: str = "ada", amount: int = 1, at: int = T0) -> bytes:
    """The bytes of a valid sale."""
    return json.dumps({"seller_id": seller, "amount_usd": amount, "sale_ts": at}).encode()


def interval(minute: int) -> tuple[datetime, datetime]:
    """The data interval of the run for a minute, counted from T0."""
    start = T0 + 60 * minute
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(start + 60, UTC)


class Message(msgspec.Struct, frozen=True):
    """What to send: Kafka's timestamp is `at_s` in seconds."""

    value: bytes | None
    partition: int = 0
    key: bytes | None = None
    at_s: float = T0
    headers: tuple[tuple[str, bytes], ...] = ()


class World(msgspec.Struct, frozen=True):
    """A pipeline with its own topics and database, and what tests do with it."""

    pipeline: Pipeline
    connections: Connections

    def send(self, *messages: bytes | Message | None) -> None:
        """Send to the source, and wait until all have arrived."""
        room = {"queue.buffering.max.messages": 10_000_000, "queue.buffering.max.kbytes": 2_000_000}
        producer = Producer({"bootstrap.servers": self.connections.bootstrap, "linger.ms": 0, **room})
        refused: list[str] = []
        for each in messages:
            message = each if isinstance(each, Message) else Message(each)
            producer.produce(
                self.pipeline.source.name,
                value=message.value,
                key=message.key,
                partition=message.partition,
                timestamp=int(message.at_s * 1000),
                headers=list(message.headers),
                on_delivery=lambda error, _: refused.append(error.str()) if error else None,
            )
            producer.poll(0)
        assert producer.flush(120) == 0
        assert not refused, refused

    def run(self, minute: int | None = 0, run_id: str = "") -> tuple[list[ConsumeSummary], PublishSummary]:
        """One whole run, consume of every shard and publish, as a DAG does it."""
        return self.run_as(self.run_of(minute, run_id))

    def run_as(self, run: Run) -> tuple[list[ConsumeSummary], PublishSummary]:
        """One whole run, as it is given."""
        consumed = [consume(self.pipeline, shard, run, self.connections) for shard in range(self.pipeline.shards)]
        return consumed, publish(self.pipeline, run, self.connections)

    def run_of(self, minute: int | None = 0, run_id: str = "") -> Run:
        """The run of a minute; of none (a manual run) if it is None."""
        given = run_id or f"run {next(_numbers)}"
        return Run("sales", given, interval=None if minute is None else interval(minute))

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Plain SQL over a connection of the test's own."""
        with psycopg.connect(self.connections.postgres, options="-c timezone=UTC") as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def results(self) -> list[tuple[int, str, int, int, bool, int]]:
        """Window (minutes after T0), seller, amount, sales, is_final, revision."""
        return [
            ((int(start.timestamp()) - T0) // 60, seller, int(amount), sales, final, revision)
            for start, seller, amount, sales, final, revision in self.rows(
                "select window_start, seller_id, amount_usd, sales, is_final, revision"
                " from aggregated_sales order by 1, 2"
            )
        ]

    def replace(self, **changes: Any) -> "World":
        """The same world with another declaration."""
        return World(msgspec.structs.replace(self.pipeline, **changes), self.connections)


def sales_pipeline(prefix: str, partitions: int) -> Pipeline:
    """The sales pipeline with topics of its own."""
    return Pipeline(
        name="sales",
        source=KafkaTopic(f"{prefix}-sales-usd", Sale, event_time="sale_ts", partitions=partitions),
        outputs=[
            TumblingWindow(
                "1 minute",
                by=["seller_id"],
                measures={"amount_usd": Sum("amount_usd"), "sales": Count()},
                to=[
                    PostgresTable("aggregated_sales"),
                    KafkaTopic(f"{prefix}-aggregated-sales", partitions=2),
                ],
            )
        ],
    )


def with_topics_of_its_own(pipeline: Pipeline, prefix: str, partitions: int = 2) -> Pipeline:
    """The same pipeline, each of whose topics has a prefix."""

    def own(topic: Any) -> Any:
        if not isinstance(topic, KafkaTopic):
            return topic
        return msgspec.structs.replace(topic, name=f"{prefix}-{topic.name}", partitions=partitions)

    outputs = [msgspec.structs.replace(output, to=[own(sink) for sink in output.to]) for output in pipeline.outputs]
    changes = {"source": own(pipeline.source), "dead_letters": own(pipeline.dead_letter_topic), "outputs": outputs}
    return msgspec.structs.replace(pipeline, **changes)


@contextmanager
def new_database(stack: Stack, *, migrated: bool = True) -> Iterator[str]:
    """A database without pipelines, owned by the role that runs them; its connection string.

    It has the ledger's schema: a copy of it takes half the time of the migrations. Or nothing at all.
    """
    name, template = f"test_{next(_numbers)}", _migrated(stack) if migrated else "template1"
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        create = sql.SQL("create database {} template {} owner microbatch")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    yield make_conninfo(stack.owner_dsn, dbname=name)
    # The test may have restarted the server meanwhile.
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@cache
def _migrated(stack: Stack) -> str:
    """The name of a database that has the ledger's schema, shown to the reading role, and is never used."""
    name = "test_migrated"
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} owner microbatch").format(sql.Identifier(name)))
    with psycopg.connect(make_conninfo(stack.admin_dsn, dbname=name), autocommit=True) as admin:
        roles._run(admin, "show_reader")
    with connect(make_conninfo(stack.owner_dsn, dbname=name), "test") as connection:
        migrate(connection)
    return name


def new_world(stack: Stack, dsn: str, partitions: int = 2, deployment: str = "default", **changes: Any) -> World:
    """A pipeline in that database with topics of its own, which are made."""
    number = next(_numbers)
    pipeline = sales_pipeline(f"t{number}", partitions)
    # Deployments keep the Kafka ids of tests apart, which all call their pipeline `sales`.
    connections = Connections({"bootstrap.servers": stack.bootstrap}, dsn, f"{deployment}-{number}")
    world = World(msgspec.structs.replace(pipeline, **changes), connections)
    create_topics([world.pipeline], connections)
    return world


@pytest.fixture
def warehouse(stack: Stack) -> Iterator[str]:
    """A database without pipelines, owned by the role that runs them; its connection string."""
    with new_database(stack) as dsn:
        yield dsn


@pytest.fixture
def empty(stack: Stack) -> Iterator[str]:
    """A database with nothing in it; its connection string."""
    with new_database(stack, migrated=False) as dsn:
        yield dsn


@pytest.fixture
def make_world(stack: Stack, warehouse: str) -> Callable[..., World]:
    """A function that makes worlds: `make_world(partitions=2, deployment="default", …)`."""

    def make(partitions: int = 2, deployment: str = "default", **changes: Any) -> World:
        return new_world(stack, warehouse, partitions, deployment, **changes)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A sales pipeline over two partitions."""
    return make_world()
