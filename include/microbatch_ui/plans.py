"""What a run would do if it were triggered now: shown before it is."""

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row

from microbatch.archives import refuse_archived
from microbatch.claiming import interval_offsets
from microbatch.errors import BatchArchivedError
from microbatch.kafka import Broker
from microbatch.modes import run_in_mode
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange, places
from microbatch.sql import queries as engine_queries
from microbatch_ui.database import queries, rows
from microbatch_ui.pipelines import Registered
from microbatch_ui.topics import kafka

BATCHES_SHOWN: Final = 100
_LEDGER: Final = engine_queries("ledger")
_PLANS: Final = queries("plans")


class Planned(msgspec.Struct, frozen=True):
    """A batch that would be done again."""

    batch_id: int
    batch_time: datetime
    messages: int
    ranges: str


class Plan(msgspec.Struct, frozen=True):
    """What a run would do.

    Attributes:
        reads: offsets that no batch has and that the run would read, as far as Kafka has them now.
        messages: how many offsets these are: at most as many messages.
        redoes: the first of the batches that it would do again, oldest first.
        batches: how many these are in all.
        refused: why the run would fail; None: nothing speaks against it.
    """

    reads: list[OffsetRange]
    messages: int
    redoes: list[Planned]
    batches: int
    refused: str | None


def plan_of(
    connection: Connection, pipeline: Registered, mode: str, start: str | None, end: str | None, now: datetime
) -> Plan:
    """What a manual run with these params would do, by the same rules as the run itself.

    Raises:
        RunParamsError: the params cannot be meant.
        KafkaUnreachableError: no broker answers.
    """
    asked = run_in_mode(pipeline.dag_id, "plan", 0, mode=mode, start=start, end=end, max_records=None, now=now)
    broker = Broker(kafka())
    topic = broker.topic(pipeline.source_topic)
    if topic is None:
        return Plan([], 0, [], 0, f"Kafka has no topic {pipeline.source_topic!r}: create it, or look where it went")
    facts = {"pipeline_id": pipeline.pipeline_id, "topic_id": topic.topic_id}
    ends = broker.ends(pipeline.source_topic, range(topic.partitions))
    if asked.interval is None:
        limits = {partition: at.last_stable for partition, at in ends.items()}
        return _reading(connection, facts, dict.fromkeys(ends), limits)
    wanted = interval_offsets(broker, pipeline.source_topic, ends, asked.interval)
    if mode == "interval":
        limits = {partition: item.end for partition, item in wanted.items()}
        return _reading(connection, facts, dict(wanted), limits)
    return _redoing(connection, pipeline, facts, list(wanted.values()))


def _reading(
    connection: Connection,
    facts: dict[str, object],
    wanted: dict[int, OffsetRange | None],
    limits: dict[int, int],
) -> Plan:
    asked = {
        **facts,
        "partitions": list(wanted),
        "start_offsets": [item.start if item else None for item in wanted.values()],
        "end_offsets": list(limits.values()),
    }
    found = connection.execute(_LEDGER["uncovered"], asked).fetchall()
    reads = [OffsetRange(*row) for row in found]
    return Plan(reads, sum(item.size for item in reads), [], 0, None)


def _redoing(connection: Connection, pipeline: Registered, facts: dict[str, object], wanted: list[OffsetRange]) -> Plan:
    meeting = connection.execute(_LEDGER["covering"], {**facts, **places(wanted)}).fetchall()
    batches = [batch_id for batch_id, _ in meeting]
    with connection.cursor(row_factory=class_row(Planned)) as cursor:
        shown = cursor.execute(_PLANS["batches"], {"batches": batches[:BATCHES_SHOWN]}).fetchall()
    (messages,) = rows(connection, _PLANS["messages"], {"batches": batches})
    try:
        refuse_archived(connection, pipeline.pipeline_id, pipeline.source_topic, batches)
        refused = None
    except BatchArchivedError as error:
        refused = str(error)
    return Plan([], messages["messages"], shown, len(batches), refused)
