"""Pipelines of one stack that do not meet: each has a database, topics and a deployment of its own, all of one name."""

import json
from collections.abc import Iterable

import msgspec
import psycopg
from benchmarks.own_stack import OwnStack
from benchmarks.past import sales_pipeline
from confluent_kafka import Producer
from psycopg.conninfo import make_conninfo

from microbatch.pipeline import Pipeline
from microbatch.postgres import connect
from microbatch.registration import Registration, register
from microbatch.settings import Connections
from microbatch.topics import create_topics


class World(msgspec.Struct, frozen=True):
    """A registered pipeline, and what it works with."""

    pipeline: Pipeline
    connections: Connections
    registration: Registration

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to have in its environment to work on it."""
        return {"POSTGRES_OWNER_DSN": self.connections.postgres, "MICROBATCH_DEPLOYMENT": self.connections.deployment}

    def query(self, query: str) -> list[tuple[object, ...]]:
        """Rows of its database."""
        with psycopg.connect(self.connections.postgres, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


def make_world(stack: OwnStack, name: str, partitions: int = 4) -> World:
    """The pipeline of `past.py`, registered and empty."""
    with psycopg.connect(stack.superuser("postgres"), autocommit=True) as server:
        server.execute(f"create database {name} owner microbatch".encode())
    pipeline = sales_pipeline(f"sales-{name}", partitions, results=f"results-{name}")
    there = Connections({"bootstrap.servers": stack.bootstrap}, make_conninfo(stack.postgres, dbname=name), name)
    create_topics([pipeline], there)
    with connect(there.postgres, "benchmark") as connection:
        return World(pipeline, there, register(pipeline, there, connection))


class Sent(msgspec.Struct, frozen=True):
    """A message that is to be sent: its partition, its value, and its timestamp in milliseconds."""

    partition: int
    value: bytes
    at_ms: int


def sale(seller: int, amount: int, at_s: int) -> bytes:
    """The value of a sale."""
    return json.dumps({"seller_id": f"seller {seller}", "amount_usd": amount, "at": at_s}).encode()


def send(world: World, messages: Iterable[Sent]) -> None:
    """Send to the source of a pipeline, and wait until all have arrived."""
    # Its own log would complain when the stack is stopped before it is.
    config = {"linger.ms": 20, "queue.buffering.max.messages": 500_000, "log_level": 0}
    producer = Producer({**world.connections.kafka, **config})
    topic = world.pipeline.source.name
    for each in messages:
        while True:
            try:
                producer.produce(topic, each.value, partition=each.partition, timestamp=each.at_ms)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise TimeoutError(f"not all messages for {topic} have arrived")
