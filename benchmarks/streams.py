"""Streams: a login validated, enriched, stored in a table and sent on, beside Flink doing it and the client's floor.

`python -m benchmarks.streams` produces logins, runs each contestant on the same broker and data, one after another, and
counts its figure once number and checksum of the rows are right, in Postgres and on the topic.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
from benchmarks.checking import committed, wrong_rows
from benchmarks.contestants.microbatch_logins import pipeline
from benchmarks.engines import Engine, flink
from benchmarks.inputs import PARTITIONS, SIZES, Rows, create_topic, delete_topics, produce_logins
from benchmarks.measuring import Figures, measured
from benchmarks.own_stack import OwnStack, own_stack
from benchmarks.reporting import Cell, Report, save, show, verdict
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

FLOOR: Final = "consume and produce"
OURS: Final = "microbatch"
FLINK: Final = "Flink, Kafka exactly once + JDBC"
COLUMNS: Final = [
    "contestant",
    "messages",
    "wall s",
    "CPU s",
    "of it Postgres",
    "CPU µs a message",
    "/ floor",
    "/ Flink",
    "peak MiB",
]
# As microbatch makes its own.
_TABLE: Final = """
    create table {} (
        source_partition int, source_offset bigint, batch_id bigint,
        user_id text, app_version text, device_type text, ip text, locale text, device_id text,
        "timestamp" bigint, timestamp_in_utc timestamptz, processed_time timestamptz,
        primary key (source_partition, source_offset)
    )
"""

Found = dict[str, dict[int, Figures]]
Contestant = Callable[[OwnStack, str, Rows], Figures]
"""Reads a topic; gives what that took, once what it wrote is as expected."""


def main() -> None:
    """Run all contestants over all sizes; show and keep what they took."""
    console, found = Console(), Found()
    engine = flink(console)
    contestants: dict[str, Contestant] = {
        FLOOR: _floor,
        OURS: _microbatch,
        FLINK: lambda stack, topic, rows: _flink(engine, stack, topic, rows),
    }
    with own_stack(console) as stack:
        for messages in SIZES:
            topic = f"logins_{messages}"
            expected = produce_logins(stack.bootstrap, topic, messages, console)
            for name, contestant in contestants.items():
                with console.status(f"{name}: {messages:,} messages"):
                    figures = contestant(stack, topic, expected)
                found.setdefault(name, {})[messages] = figures
                console.print(f"{name}: {messages:,} messages, {figures.total_cpu_s:.1f} CPU s, rows are right")
            delete_topics(stack.bootstrap, [topic])
    report = _report(found)
    show(report, console)
    save(report, flink=engine.version)


def _floor(stack: OwnStack, topic: str, expected: Rows) -> Figures:
    output = f"{topic}_floor"
    create_topic(stack.bootstrap, output)
    command = [sys.executable, "-m", "benchmarks.contestants.consume_and_produce"]
    _, figures = measured(command, stack, **_told(topic, output))
    sent, wanted = sum(1 for _ in committed(stack, output)), expected.valid + expected.rejected
    _refuse(FLOOR, f"{sent:,} messages, not {wanted:,}" if sent != wanted else None)
    delete_topics(stack.bootstrap, [output])
    return figures


def _microbatch(stack: OwnStack, topic: str, expected: Rows) -> Figures:
    """Consume and publish, as a run's two tasks do it."""
    command = [sys.executable, "-m", "benchmarks.contestants.microbatch_logins"]
    _, consumed = measured([*command, "consume"], stack, **_told(topic, ""))
    _, published = measured([*command, "publish"], stack, **_told(topic, ""))
    made = pipeline(topic)
    assert made.stream
    assert made.stream.table
    assert made.stream.topic
    topics = made.stream.topic.name, made.dead_letter_topic.name
    _refuse(OURS, wrong_rows(stack, expected, made.stream.table, *topics))
    delete_topics(stack.bootstrap, topics)
    return consumed.then(published)


def _flink(engine: Engine, stack: OwnStack, topic: str, expected: Rows) -> Figures:
    output = f"{topic}_flink"
    topics = output, f"{output}_dlq"
    for name in topics:
        create_topic(stack.bootstrap, name)
    with psycopg.connect(stack.postgres) as connection:
        connection.execute(sql.SQL(_TABLE).format(sql.Identifier(output)))
    command: list[str | Path] = engine.command("flink_logins")
    _, figures = measured(command, stack, **_told(topic, output), **_jdbc(stack), **engine.environment)
    _refuse(FLINK, wrong_rows(stack, expected, output, *topics))
    delete_topics(stack.bootstrap, topics)
    return figures


def _told(topic: str, output: str) -> dict[str, str]:
    return {"BENCH_TOPIC": topic, "BENCH_PARTITIONS": str(PARTITIONS), "BENCH_OUTPUT": output}


def _jdbc(stack: OwnStack) -> dict[str, str]:
    """Where PostgreSQL is; its driver makes one statement of many rows if it is told to."""
    at = conninfo_to_dict(stack.postgres)
    url = f"jdbc:postgresql://{at['host']}:{at['port']}/{at['dbname']}?reWriteBatchedInserts=true"
    return {
        "BENCH_JDBC_URL": url,
        "BENCH_JDBC_USER": str(at["user"]),
        "BENCH_JDBC_PASSWORD": str(at.get("password", "")),
        "TZ": "UTC",
    }


def _refuse(who: str, wrong: str | None) -> None:
    if wrong:
        raise SystemExit(f"{who}: {wrong}")


def _report(found: Found) -> Report:
    title = f"Streams: logins in {PARTITIONS} partitions, validated, enriched, stored and sent on"
    rows = [_row(name, messages, found) for messages in SIZES for name in found]
    few, many = min(SIZES), max(SIZES)
    bars = [
        verdict(f"CPU of {few:,}, microbatch / Flink", _ratio(found, OURS, FLINK, few), 1.0),
        verdict(f"CPU of {many:,}, microbatch / Flink", _ratio(found, OURS, FLINK, many), 1.5),
    ]
    return Report("streams", title, COLUMNS, rows, bars)


def _row(name: str, messages: int, found: Found) -> list[Cell]:
    figures = found[name][messages]
    return [
        name,
        messages,
        figures.wall_s,
        figures.total_cpu_s,
        figures.postgres_cpu_s,
        figures.total_cpu_s / messages * 1e6,
        _ratio(found, name, FLOOR, messages),
        _ratio(found, name, FLINK, messages),
        figures.peak_mib,
    ]


def _ratio(found: Found, name: str, other: str, messages: int) -> float:
    return found[name][messages].total_cpu_s / found[other][messages].total_cpu_s


if __name__ == "__main__":
    main()
