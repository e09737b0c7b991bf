"""From the minute's end to the row being readable in Postgres, and to the message being readable on the topic.

Watches a live stack from outside, as a reader: eval "$(microbatch env)"; python benchmarks/latency.py [MINUTES]
"""

import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

TABLE, TOPIC = "aggregated_sales", "aggregated-sales"
GRACE_S = 1.0
POLL_S = 0.02


class Seen(msgspec.Struct):
    """Seconds from the end of each window to the moment at which it was first seen."""

    postgres_s: dict[datetime, float] = msgspec.field(default_factory=dict)
    kafka_s: dict[datetime, float] = msgspec.field(default_factory=dict)


def main() -> None:
    """Watch for some minutes, then print the table."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seen = watch(timedelta(minutes=minutes))
    console, table = Console(), Table("beyond the grace, s", "windows", "median", "95 %", "min", "max")
    for name, found in (("Postgres", seen.postgres_s), ("topic", seen.kafka_s)):
        beyond = sorted(value - GRACE_S for value in found.values())
        at_95 = beyond[min(len(beyond) - 1, int(0.95 * len(beyond)))]
        figures = (statistics.median(beyond), at_95, beyond[0], beyond[-1])
        table.add_row(name, str(len(beyond)), *(f"{figure:.2f}" for figure in figures))
    console.print(table)


def watch(duration: timedelta) -> Seen:
    """What a polling reader of the table and a read_committed consumer see of windows that end from now on."""
    seen, began = Seen(), datetime.now(UTC)
    consumer = _consumer()
    with psycopg.connect(os.environ["POSTGRES_DSN"], autocommit=True) as reader:
        while (now := datetime.now(UTC)) < began + duration:
            newest = reader.execute(f"select max(window_end) from {TABLE}").fetchone()  # noqa: S608 - a constant
            _note(seen.postgres_s, newest[0] if newest else None, began)
            while (message := consumer.poll(0)) is not None:
                if message.error() is None and message.value() is not None:
                    value = msgspec.json.decode(message.value() or b"")
                    _note(seen.kafka_s, datetime.fromisoformat(value["window_end"]), began)
            time.sleep(max(0.0, POLL_S - (datetime.now(UTC) - now).total_seconds()))
    consumer.close()
    return seen


def _note(found: dict[datetime, float], window_end: datetime | None, began: datetime) -> None:
    if window_end is not None and window_end > began and window_end not in found:
        found[window_end] = (datetime.now(UTC) - window_end).total_seconds()


def _consumer() -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": "latency",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
    ends = {p: consumer.get_watermark_offsets(TopicPartition(TOPIC, p), timeout=10)[1] for p in partitions}
    consumer.assign([TopicPartition(TOPIC, p, end) for p, end in ends.items()])
    return consumer


if __name__ == "__main__":
    main()
