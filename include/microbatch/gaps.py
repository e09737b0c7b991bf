"""Gaps that Kafka can still fill, as the runs that fill them."""

import logging
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

import msgspec
from psycopg.rows import class_row

from microbatch.kafka import Broker
from microbatch.migrations import migrate
from microbatch.postgres import connect
from microbatch.settings import Connections
from microbatch.sql import queries

log: Final = logging.getLogger("microbatch")
_FILLING: Final = queries("filling")


class GapRun(msgspec.Struct, frozen=True):
    """A run that fills the gaps of a pipeline.

    Attributes:
        pipeline: its name, and that of its DAG.
        conf: the params of the run.
    """

    pipeline: str
    conf: dict[str, str]


class _Gap(msgspec.Struct, frozen=True):
    """Offsets of a partition that nobody has read; `since` says from when on, if they are from before its beginning."""

    pipeline: str
    topic: str
    partition: int
    end_offset: int
    since: datetime | None


def gaps(connections: Connections, now: datetime) -> list[GapRun]:
    """The runs that fill the gaps of all pipelines of the deployment, one a pipeline; what Kafka has lost is logged.

    Args:
        connections: to the ledger and to Kafka.
        now: the time, aware; intervals end with it.
    """
    with connect(connections.postgres, "gaps") as connection:
        migrate(connection)
        cursor = connection.cursor(row_factory=class_row(_Gap))
        found = cursor.execute(_FILLING["gaps_to_fill"], {"deployment": connections.deployment}).fetchall()
    there = _still_there(found, connections) if found else []
    return [_run(pipeline, list(its), now) for pipeline, its in groupby(there, lambda gap: gap.pipeline)]


def _still_there(found: list[_Gap], connections: Connections) -> list[_Gap]:
    """Those of which Kafka has something: their end is above the low watermark."""
    broker = Broker(connections)
    low: dict[tuple[str, int], int] = {}
    for topic in broker.topics(sorted({gap.topic for gap in found})):
        ends = broker.ends(topic, {gap.partition for gap in found if gap.topic == topic})
        low |= {(topic, partition): end.low_watermark for partition, end in ends.items()}
    there = []
    for gap in found:
        at = low.get((gap.topic, gap.partition))
        if at is not None and gap.end_offset > at:
            there.append(gap)
        else:
            why = "the topic is gone" if at is None else f"the oldest message is {at}"
            log.warning("%s: gap below %s[%d] %d cannot be filled: %s", *msgspec.structs.astuple(gap)[:4], why)
    return there


def _run(pipeline: str, found: list[_Gap], now: datetime) -> GapRun:
    since = [gap.since for gap in found if gap.since is not None]
    if not since:
        return GapRun(pipeline, {"mode": "catch up"})
    return GapRun(
        pipeline,
        {"mode": "interval", "from": min(since).astimezone(UTC).isoformat(), "to": now.astimezone(UTC).isoformat()},
    )
