"""What a live stack does, watched from outside: how soon each minute's results can be read, and what it costs.

    python -m benchmarks.live [MINUTES]

Latency is the time from a minute's end to the moment at which its results can be read, less the pipeline's grace. In
Postgres a minute of a pipeline is there when `closed_until` has passed its end: merge moves it in the transaction
that writes the results, and the rows of streams and pairs were committed before. On a topic it is there with the first
message of the publications that this merge has numbered; messages carry their number. A topic that gets nothing in a
minute has no figure for it.

One connection asks 20 times a second, one consumer reads all topics. What the processes take is measured over the same
time, see cpu.py; what takes part in the measuring is no part of the stack. Start it when the stack has run for some
minutes: at first, Kafka's compiler is at work.
"""

import argparse
import os
import statistics
import time
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import msgspec
import psycopg
from benchmarks.cpu import MEASURING, READERS, Measured, Meter, Row
from benchmarks.reporting import Cell, Report, save, show, verdict
from confluent_kafka import Consumer, Message, TopicPartition
from rich.console import Console

from local import stack
from local.home import REPOSITORY, state_folder
from microbatch.declared import load_pipelines
from microbatch.outbox import CURSOR, Cursor
from microbatch.pipeline import Pipeline
from microbatch.settings import deployment

ASK_S: Final = 0.05
LOOK_S: Final = 0.5
MINUTE: Final = timedelta(minutes=1)
# A minute that ended less than this before the end of watching is not said to be missing.
PATIENCE: Final = timedelta(seconds=30)
POSTGRES: Final = "Postgres"
ALL: Final = "the last of all"
STACK: Final = "the stack"
# What must hold: seconds beyond the grace, of each pipeline and of the last of all, and CPU seconds a minute.
MEDIAN_BAR_S: Final = 2.0
AT_95_BAR_S: Final = 4.0
IDLE_BAR_S: Final = 15.0

_PROGRESS: Final = """
select p.name, p.closed_until, b.last_publication
from microbatch.pipeline as p
join microbatch.publisher as b using (pipeline_id)
where p.deployment = %s and p.closed_until is not null
"""


class Closed(msgspec.Struct, frozen=True):
    """A look that saw a pipeline's `closed_until` go on; publications up to `last_publication` are numbered by then."""

    seen_at: datetime
    closed_until: datetime
    last_publication: int


class Arrived(msgspec.Struct, frozen=True):
    """The first message of a publication on a topic."""

    seen_at: datetime
    publication: int


class Latency(msgspec.Struct, frozen=True):
    """Seconds beyond the grace, by the end of the minute; `missing` minutes have ended and were not seen to close."""

    pipeline: str
    where: str
    seconds: dict[datetime, float]
    missing: int = 0


class Result(msgspec.Struct, frozen=True):
    """All that was measured."""

    began_at: datetime
    ended_at: datetime
    latencies: list[Latency]
    cpu: Measured


def main() -> None:
    """Watch, print, and keep both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live")
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    options = parser.parse_args()
    running = stack.find(state_folder())
    os.environ |= running.environment  # the files of dags/ import Airflow, which else makes itself a home
    pipelines = load_pipelines(REPOSITORY / "dags")
    result = watch(running, pipelines, timedelta(minutes=options.minutes))
    console = Console()
    for report in (latency_report(result), idle_report(result, {pipeline.name for pipeline in pipelines})):
        show(report, console)
        save(report)


def watch(running: stack.Running, pipelines: list[Pipeline], duration: timedelta) -> Result:
    """What a polling reader and a read_committed consumer see of minutes that end from now on."""
    addresses = stack.addresses(running)
    closed: dict[str, list[Closed]] = {pipeline.name: [] for pipeline in pipelines}
    arrived: dict[str, list[Arrived]] = {topic: [] for pipeline in pipelines for topic in _topics(pipeline)}
    consumer = _consumer(addresses["KAFKA_BOOTSTRAP_SERVERS"], list(arrived))
    with psycopg.connect(addresses["POSTGRES_DSN"], autocommit=True) as reader:
        meter, began_at, next_look_s = Meter(running), datetime.now(UTC), 0.0
        while (now := datetime.now(UTC)) < began_at + duration:
            _note_closed(closed, reader)
            _note_arrived(arrived, consumer)
            if time.monotonic() >= next_look_s:
                meter.look()
                next_look_s = time.monotonic() + LOOK_S
            time.sleep(max(0.0, ASK_S - (datetime.now(UTC) - now).total_seconds()))
        cpu, ended_at = meter.measured(), datetime.now(UTC)
    consumer.close()
    return Result(began_at, ended_at, _latencies(pipelines, closed, arrived, began_at, ended_at), cpu)


def latency_report(result: Result) -> Report:
    """How soon results could be read; what counts is the slowest of them."""
    rows = [[found.pipeline, found.where, *_figures(found)] for found in result.latencies]
    measured = [found for found in result.latencies if found.seconds]
    missing = sum(found.missing for found in result.latencies if found.pipeline != ALL)
    return Report(
        "latency",
        f"Seconds from a minute's end to its results, beyond the grace; {_minutes_of(result):.1f} minutes",
        ["pipeline", "where", "minutes", "missing", "median", "95 %", "least", "most"],
        rows,
        [
            verdict("slowest median", max(statistics.median(each.seconds.values()) for each in measured), MEDIAN_BAR_S),
            verdict("slowest 95 %", max(_at_95(each) for each in measured), AT_95_BAR_S),
            verdict("minutes without results", missing, 0),
            _rest(result),
        ],
    )


def idle_report(result: Result, pipelines: set[str]) -> Report:
    """What the stack's processes took, kind by kind."""
    minutes = _minutes_of(result)
    kinds: list[list[Cell]] = [
        [row.kind, row.cpu_s / minutes, row.ended / minutes]
        for row in sorted(result.cpu.rows, key=lambda row: -row.cpu_s)
    ]
    sums = dict(_sums(result.cpu, pipelines))
    return Report(
        "idle",
        f"CPU seconds a minute of the whole live stack, producers included; {minutes:.1f} minutes",
        ["processes", "CPU s", "ended"],
        [*kinds, *([title, seconds / minutes, None] for title, seconds in sums.items())],
        [verdict("CPU seconds a minute", sums[STACK] / minutes, IDLE_BAR_S), _rest(result)],
    )


def _minutes_of(result: Result) -> float:
    return (result.ended_at - result.began_at) / MINUTE


def _rest(result: Result) -> str:
    """Who reads the tables has to know whether the machine had other things to do."""
    return f"the machine did other things for {result.cpu.rest_s / _minutes_of(result):.1f} CPU seconds a minute"


# -- looking -------------------------------------------------------------------------------------------------------


def _note_closed(closed: dict[str, list[Closed]], reader: psycopg.Connection) -> None:
    rows = reader.execute(_PROGRESS, [deployment()]).fetchall()
    now = datetime.now(UTC)
    for name, closed_until, last_publication in rows:
        seen = closed.get(name)
        if seen is not None and (not seen or closed_until > seen[-1].closed_until):
            seen.append(Closed(now, closed_until, last_publication))


def _note_arrived(arrived: dict[str, list[Arrived]], consumer: Consumer) -> None:
    messages = consumer.consume(10_000, timeout=0)
    now = datetime.now(UTC)
    for message in messages:
        number = _publication(message)
        seen = arrived[message.topic() or ""]
        if number is not None and (not seen or number > seen[-1].publication):
            seen.append(Arrived(now, number))


def _publication(message: Message) -> int | None:
    """Which publication a message is of; None for one that is no message of a pipeline."""
    cursor = dict(message.headers() or []).get(CURSOR)
    return None if message.error() or cursor is None else msgspec.json.decode(cursor, type=Cursor).publication


def _topics(pipeline: Pipeline) -> list[str]:
    return [output.topic.name for output in pipeline.outputs if output.topic]


def _consumer(bootstrap: str, topics: list[str]) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "live",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    known = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(topic, partition) for topic in topics for partition in known[topic].partitions]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
    consumer.assign(places)
    return consumer


# -- judging -------------------------------------------------------------------------------------------------------


def _latencies(
    pipelines: list[Pipeline],
    closed: dict[str, list[Closed]],
    arrived: dict[str, list[Arrived]],
    began_at: datetime,
    ended_at: datetime,
) -> list[Latency]:
    expected = _minutes(began_at, ended_at - PATIENCE)
    tables, topics = [], []
    for pipeline in pipelines:
        looks = closed[pipeline.name]
        seconds = {
            minute: (after.seen_at - minute - pipeline.grace).total_seconds()
            for before, after in pairwise(looks)
            for minute in _minutes(max(before.closed_until, began_at), after.closed_until)
        }
        tables.append(Latency(pipeline.name, POSTGRES, seconds, len(expected - seconds.keys())))
        topics += [
            Latency(pipeline.name, topic, _on_topic(looks, arrived[topic], seconds, pipeline))
            for topic in _topics(pipeline)
        ]
    found = [each for table in tables for each in [table, *(to for to in topics if to.pipeline == table.pipeline)]]
    return [*found, _last(tables, POSTGRES), _last(topics, "its topics")]


def _on_topic(
    looks: list[Closed], arrivals: list[Arrived], minutes: dict[datetime, float], pipeline: Pipeline
) -> dict[datetime, float]:
    """The first arrival of each minute's publications: those numbered by the look that saw the minute closed."""
    numbered = [look.last_publication for look in looks]
    seconds: dict[datetime, float] = {}
    for arrival in arrivals:
        at = bisect_left(numbered, arrival.publication)
        if at < len(looks) and looks[at].closed_until in minutes:
            minute = looks[at].closed_until
            seconds.setdefault(minute, (arrival.seen_at - minute - pipeline.grace).total_seconds())
    return seconds


def _last(latencies: list[Latency], where: str) -> Latency:
    """For each minute that all have closed, the slowest one's seconds; on topics, of those that got something."""
    minutes = [set(latency.seconds) for latency in latencies]
    every = set.intersection(*minutes) if where == POSTGRES else set.union(*minutes)
    slowest = {
        minute: max(latency.seconds[minute] for latency in latencies if minute in latency.seconds)
        for minute in sorted(every)
    }
    return Latency(ALL, where, slowest, max(latency.missing for latency in latencies))


def _minutes(after: datetime, until: datetime) -> set[datetime]:
    """The ends of minutes in `(after, until]`."""
    first = after.replace(second=0, microsecond=0) + MINUTE
    return {first + at * MINUTE for at in range(max(0, (until - first) // MINUTE + 1))}


def _figures(found: Latency) -> list[Cell]:
    beyond = sorted(found.seconds.values())
    if not beyond:
        return [0, found.missing, None, None, None, None]
    return [len(beyond), found.missing, statistics.median(beyond), _at_95(found), beyond[0], beyond[-1]]


def _at_95(found: Latency) -> float:
    beyond = sorted(found.seconds.values())
    return beyond[min(len(beyond) - 1, int(0.95 * len(beyond)))]


def _sums(cpu: Measured, pipelines: set[str]) -> list[tuple[str, float]]:
    """The lines below the kinds."""

    def total(of: list[Row]) -> float:
        return sum(row.cpu_s for row in of)

    tasks = [row for row in cpu.rows if row.kind.startswith("task ")]
    ours = [row for row in tasks if row.kind.removeprefix("task ").split(".")[0] in pipelines]
    measuring = [row for row in cpu.rows if row.kind in (MEASURING, READERS)]
    return [
        ("tasks of pipelines", total(ours)),
        ("other tasks", total(tasks) - total(ours)),
        (STACK, total(cpu.rows) - total(measuring)),
        ("measuring", total(measuring)),
        ("the rest of the machine", cpu.rest_s),
        ("the machine, by /proc/stat", cpu.machine_s),
    ]


if __name__ == "__main__":
    main()
