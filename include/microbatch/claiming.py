"""Claim: lock the shard, plan from what the ledger then says, insert the batch and its ranges.

The transaction is the lease: it stays open while the ranges are read, and commits with all that came from them.
"""

from datetime import datetime
from typing import Final

import msgspec
import psycopg

from microbatch.crash import crash_point
from microbatch.errors import OffsetsLostError, OldDefinitionError, RangeTakenError, TopicTruncatedError
from microbatch.kafka import Broker, Ends
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, one_row
from microbatch.ranges import OffsetRange, plan_ranges
from microbatch.registration import Registration
from microbatch.runs import Run
from microbatch.sql import queries

_LEDGER: Final = queries("ledger")


class Claim(msgspec.Struct, frozen=True):
    """A batch that was claimed and is not committed.

    Attributes:
        batch_id: its number.
        batch_time: the one "now" that computing may use.
        ranges: what it reads.
    """

    batch_id: int
    batch_time: datetime
    ranges: list[OffsetRange]


def lock_batch(connection: Connection, pipeline: Pipeline, registration: Registration, shard: int) -> None:
    """Take the locks of a batch, inside its transaction, and check that the definition is still ours.

    Raises:
        OldDefinitionError: it is not.
    """
    pipeline_id = registration.pipeline_id
    slots = {"pipeline_id": pipeline_id, "shard": shard}
    acquire(connection, _LEDGER["lock_definition_shared"], slots, pipeline_id)
    refuse_old_definition(connection, pipeline, registration)
    acquire(connection, _LEDGER["lock_shard"], slots, pipeline_id)
    crash_point("consume.after_locks")


def refuse_old_definition(connection: Connection, pipeline: Pipeline, registration: Registration) -> None:
    """Raise if the ledger has another definition by now; to be asked once the definition's lock is held.

    Raises:
        OldDefinitionError: it has.
    """
    facts = {"pipeline_id": registration.pipeline_id}
    found = connection.execute(_LEDGER["definition_hash"], facts).fetchone()
    if found != (registration.definition_hash,):
        registered = found[0][:12] if found else "none"
        raise OldDefinitionError(
            pipeline=pipeline.name, declared=registration.definition_hash[:12], registered=registered
        )


def plan(
    connection: Connection,
    broker: Broker,
    pipeline: Pipeline,
    registration: Registration,
    partitions: list[int],
) -> list[OffsetRange]:
    """What to read next: the uncovered offsets below the last stable offset, at most `max_records`.

    Raises:
        TopicTruncatedError: a partition ends before what is covered.
        OffsetsLostError: retention has deleted unread messages.
    """
    # The ledger is read first: a high watermark that is asked for later cannot be below what it covers.
    covered = _highest_covered(connection, registration)
    ends = broker.ends(pipeline.source.name, partitions)
    for partition in partitions:
        _refuse_truncated(pipeline, partition, covered.get(partition, 0), ends[partition])
    uncovered = _uncovered(connection, registration, {p: ends[p].last_stable for p in partitions})
    refuse_lost(pipeline, uncovered, ends)
    return plan_ranges(uncovered, pipeline.max_records)


def claim(
    connection: Connection,
    pipeline: Pipeline,
    registration: Registration,
    shard: int,
    run: Run,
    ranges: list[OffsetRange],
) -> Claim:
    """Insert the batch and its ranges.

    A range that overlaps one of a transaction in progress waits for it; one that overlaps a committed one is
    refused by the exclusion constraint, whatever the plan said.

    Raises:
        RangeTakenError: it was refused.
    """
    start, end = run.interval or (None, None)
    batch_id, batch_time = one_row(
        connection,
        _LEDGER["insert_batch"],
        {
            "pipeline_id": registration.pipeline_id,
            "shard": shard,
            "kind": "catch up",
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "interval_start": start,
            "interval_end": end,
            "definition_hash": registration.definition_hash,
        },
    )
    for item in ranges:
        facts = {
            "batch_id": batch_id,
            "pipeline_id": registration.pipeline_id,
            "topic": pipeline.source.name,
            "topic_id": registration.topic_id,
            "partition": item.partition,
            "start_offset": item.start,
            "end_offset": item.end,
        }
        try:
            acquire(connection, _LEDGER["insert_range"], facts, registration.pipeline_id)
        except psycopg.errors.ExclusionViolation as error:
            raise RangeTakenError(topic=pipeline.source.name, range=item) from error
    crash_point("consume.after_claim")
    return Claim(batch_id, batch_time, ranges)


def refuse_lost(pipeline: Pipeline, ranges: list[OffsetRange], ends: dict[int, Ends]) -> None:
    """Raise if a range begins below the low watermark: its messages were deleted.

    Raises:
        OffsetsLostError: names partition and offsets.
    """
    for item in ranges:
        low = ends[item.partition].low_watermark
        if item.start < low:
            raise OffsetsLostError(
                topic=pipeline.source.name,
                partition=item.partition,
                start=item.start,
                last=min(item.end, low) - 1,
                low_watermark=low,
            )


def _refuse_truncated(pipeline: Pipeline, partition: int, covered: int, ends: Ends) -> None:
    if ends.high_watermark < covered:
        raise TopicTruncatedError(
            topic=pipeline.source.name,
            partition=partition,
            high_watermark=ends.high_watermark,
            covered=covered,
        )


def _highest_covered(connection: Connection, registration: Registration) -> dict[int, int]:
    facts = {"pipeline_id": registration.pipeline_id, "topic_id": registration.topic_id}
    return dict(connection.execute(_LEDGER["highest_covered"], facts).fetchall())


def _uncovered(connection: Connection, registration: Registration, end_offsets: dict[int, int]) -> list[OffsetRange]:
    facts = {
        "pipeline_id": registration.pipeline_id,
        "topic_id": registration.topic_id,
        "partitions": list(end_offsets),
        "end_offsets": list(end_offsets.values()),
    }
    rows = connection.execute(_LEDGER["uncovered"], facts).fetchall()
    return [OffsetRange(partition, start, end) for partition, start, end in rows]
