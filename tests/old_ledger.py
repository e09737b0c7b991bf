"""What an engine leaves behind in Postgres and Kafka, kept as files so that later engines can be tried on it.

Before the schema changes, with the last version that has the old one:

    PYTHONPATH=tests:include python -m old_ledger 0004

It makes `tests/data/ledger-0004.sql` (the database, by pg_dump) and `tests/data/ledger-0004.json` (what is in Kafka).
`fix_upgrade.py` puts both back. Declarations and messages here are those of then: they stay as they are.
"""

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from confluent_kafka import Producer
from psycopg.conninfo import conninfo_to_dict

from free_ports import random_free
from local import postgres
from local.data import start_data, stop_data
from local.home import prepare
from local.ports import HOST
from local.roles import owner_dsn
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
    Stream,
    Sum,
    TumblingWindow,
)
from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.settings import Connections
from microbatch.topics import create_topics
from recount.kafka import committed, ends, read

FOLDER: Final = Path(__file__).parent / "data"
DEPLOYMENT: Final = "the-old-one"
T0: Final = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
PARTITIONS: Final = 2


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds


class Number(Event):
    """A number."""

    number: int


SALES: Final = Pipeline(
    name="old_sales",
    source=KafkaTopic("old-sales-usd", Sale, event_time="sale_ts", partitions=PARTITIONS),
    outputs=[
        Stream(
            columns={"seller": "upper(seller_id)", "amount": "amount_usd", "sold_at": "_event_time"},
            reject={"nothing sold": "amount_usd = 0"},
            to=[PostgresTable("old_sale"), KafkaTopic("old-sale", partitions=2)],
        ),
        TumblingWindow(
            "1 minute",
            by=["seller"],
            measures={
                "amount": Sum("amount"),
                "sales": Count(),
                "mean": Mean("amount", scale=2),
                "most": Max("amount"),
            },
            to=[PostgresTable("old_minute"), KafkaTopic("old-minute", partitions=2)],
        ),
    ],
    shards=2,
    max_records=4,
)
PAIRS: Final = Pipeline(
    name="old_pairs",
    source=KafkaTopic("old-numbers", Number, partitions=1),
    outputs=[Pairs("number", sum=12, to=[PostgresTable("old_pair"), KafkaTopic("old-pair", partitions=1)])],
)
PIPELINES: Final = (SALES, PAIRS)


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """A message, as it is kept in a file: key, value and headers in Latin-1."""

    topic: str
    partition: int
    timestamp_ms: int
    key: str | None
    value: str | None
    headers: list[tuple[str, str]] = []


class Committed(msgspec.Struct, frozen=True, array_like=True):
    """What a group has of a partition."""

    topic: str
    partition: int
    offset: int
    metadata: str


class Left(msgspec.Struct, frozen=True):
    """What is in Kafka, and the ids by which the ledger knows it.

    Attributes:
        cluster_id: of Kafka.
        topic_ids: of the sources.
        messages: all that were committed, in the order of each partition.
        groups: by pipeline, the group's offsets with their metadata.
    """

    cluster_id: str
    topic_ids: dict[str, str]
    messages: list[Sent]
    groups: dict[str, list[Committed]]


def send(bootstrap: str, messages: list[Sent]) -> None:
    """Send messages as they are, and wait until all have arrived."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for message in messages:
        producer.produce(
            message.topic,
            partition=message.partition,
            timestamp=message.timestamp_ms,
            key=_bytes(message.key),
            value=_bytes(message.value),
            headers=[(name, _bytes(value)) for name, value in message.headers],
        )
    assert producer.flush(60) == 0


def sale(minute: float, seller: str, amount: int, partition: int = 0, late: float = 0) -> Sent:
    """A sale of a minute after T0, that Kafka gets `late` minutes after it."""
    at, sent_at = (int((T0 + timedelta(minutes=m)).timestamp()) for m in (minute, minute + late))
    value = json.dumps({"seller_id": seller, "amount_usd": amount, "sale_ts": at})
    return Sent(SALES.source.name, partition, sent_at * 1000, seller, value)


def number(minute: float, value: object) -> Sent:
    """A number, sent in a minute after T0."""
    at = int((T0 + timedelta(minutes=minute)).timestamp() * 1000)
    return Sent(PAIRS.source.name, 0, at, None, json.dumps({"number": value}))


def run_of(pipeline: Pipeline, minute: int) -> Run:
    """The scheduled run of a minute after T0."""
    start = T0 + timedelta(minutes=minute)
    return Run(pipeline.name, f"scheduled {minute}", interval=(start, start + timedelta(minutes=1)))


def run(pipeline: Pipeline, this: Run, there: Connections) -> None:
    """All tasks of a run."""
    for shard in range(pipeline.shards):
        consume(pipeline, shard, this, there)
    publish(pipeline, this, there)


MESSAGES: Final = [
    # Two minutes that are final, the first of them corrected.
    [sale(0.1, "ada", 3), sale(0.2, "bob", 5, 1), sale(0.3, "ada", 4), sale(0.4, "ada", 0, 1), number(0.1, 5)],
    [sale(1.1, "ada", 10), sale(0.5, "bob", 2, 1, late=1), number(1.1, 7), number(1.2, "many"), number(1.3, 12)],
    # Merged, and killed while it was sent.
    [sale(2.1, "cid", 6), sale(0.6, "ada", 1, 1, late=2), number(2.1, 1), number(2.2, 0)],
    # Read, and killed before it was merged.
    [sale(3.1, "cid", 7), sale(2.2, "bob", 8, 1, late=1), sale(3.2, "eve", 0), number(3.1, 11)],
]
"""What each minute's run finds."""


def live(bootstrap: str, dsn: str) -> Connections:
    """Let the engine work through MESSAGES; its last two runs are killed."""
    there = Connections({"bootstrap.servers": bootstrap}, dsn, DEPLOYMENT)
    create_topics(PIPELINES, there)
    for minute, some in enumerate(MESSAGES):
        send(bootstrap, some)
        for pipeline in PIPELINES:
            if minute < 2:
                run(pipeline, run_of(pipeline, minute), there)
            else:
                _killed(pipeline, minute, there)
    return there


def _killed(pipeline: Pipeline, minute: int, there: Connections) -> None:
    point = {2: "publish.after_intent", 3: "publish.after_fence"}[minute]
    child = multiprocessing.get_context("spawn").Process(target=_run_until, args=(pipeline.name, minute, there, point))
    child.start()
    child.join(120)
    assert child.exitcode == -9, child.exitcode


def _run_until(name: str, minute: int, there: Connections, point: str) -> None:
    os.environ["MICROBATCH_CRASH"] = point
    (pipeline,) = (each for each in PIPELINES if each.name == name)
    this = run_of(pipeline, minute)
    for shard in range(pipeline.shards):
        consume(pipeline, shard, this, there)
    if minute == 3:
        os.kill(os.getpid(), 9)
    publish(pipeline, this, there)


def left(there: Connections) -> Left:
    """What is in Kafka."""
    with psycopg.connect(there.postgres) as ledger:
        [(cluster_id,)] = ledger.execute("select distinct cluster_id from microbatch.pipeline").fetchall()
        topic_ids = ledger.execute("select distinct topic, topic_id::text from microbatch.offset_range").fetchall()
    topics = [each for p in PIPELINES for each in (p.source, p.dead_letter_topic, *(o.topic for o in p.outputs))]
    return Left(
        cluster_id=cluster_id,
        topic_ids=dict(topic_ids),
        messages=[message for topic in topics if topic for message in _read(there.bootstrap, topic.name)],
        groups={pipeline.name: _group(there.bootstrap, pipeline) for pipeline in PIPELINES},
    )


def _read(bootstrap: str, topic: str) -> list[Sent]:
    spans = {partition: (end.low, end.last_stable) for partition, end in ends(bootstrap, topic).items()}
    return [
        Sent(
            *(topic, found.partition, found.timestamp_ms, _text(found.key), _text(found.value)),
            [(name, _text(value) or "") for name, value in found.headers],
        )
        for found in read(bootstrap, topic, spans)
    ]


def _group(bootstrap: str, pipeline: Pipeline) -> list[Committed]:
    source = pipeline.source.name
    found = committed(bootstrap, group_of(pipeline), source, [*range(pipeline.source.partitions)])
    return [Committed(source, partition, at.offset, at.metadata) for partition, at in found.items() if at.offset >= 0]


def group_of(pipeline: Pipeline, deployment: str = DEPLOYMENT) -> str:
    """The name of a pipeline's group."""
    return f"microbatch.{deployment}.{pipeline.name}"


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("latin-1")


def dump(dsn: str) -> str:
    """The database as statements; nothing of the machine in it."""
    program = str(postgres.binaries() / "pg_dump")
    options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments"]
    given = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    environment = {"PGPASSWORD": given.pop("password"), "PATH": os.environ["PATH"]}
    words = ["-h", given["host"], "-p", given["port"], "-U", given["user"], given["dbname"]]
    done = subprocess.run([program, *options, *words], env=environment, capture_output=True, text=True, check=True)
    # What psql alone understands, and what is for the server of then.
    return re.sub(r"^(\\(un)?restrict .*|SET .*|--.*|)\n", "", done.stdout, flags=re.MULTILINE)


def main(name: str) -> None:
    """Make both files."""
    home = prepare(Path(tempfile.mkdtemp(prefix="microbatch-old-")))
    kafka_port, controller_port, postgres_port = (random_free() for _ in range(3))
    try:
        credentials = start_data(home, kafka_port, controller_port, postgres_port, print)
        there = live(f"{HOST}:{kafka_port}", owner_dsn(postgres_port, credentials))
        (FOLDER / f"ledger-{name}.sql").write_text(dump(there.postgres))
        (FOLDER / f"ledger-{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(left(there)), indent=1))
    finally:
        stop_data(home, print)


if __name__ == "__main__":
    main(sys.argv[1])
