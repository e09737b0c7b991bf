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
from microbatch.ranges import OffsetRange, places, plan_ranges
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
    lock_definition(connection, pipeline, registration)
    lock_shard(connection, registration, shard)
    crash_point("consume.after_locks")


def lock_definition(connection: Connection, pipeline: Pipeline, registration: Registration) -> None:
    """Share the definition's lock with others that write, and check that the definition is still ours.

    Raises:
        OldDefinitionError: it is not.
    """
    facts = {"pipeline_id": registration.pipeline_id}
    acquire(connection, _LEDGER["lock_definition_shared"], facts, registration.pipeline_id)
    refuse_old_definition(connection, pipeline, registration)


def lock_shard(connection: Connection, registration: Registration, shard: int) -> None:
    """Wait until no other batch of the shard is worked on."""
    facts = {"pipeline_id": registration.pipeline_id, "shard": shard}
    acquire(connection, _LEDGER["lock_shard"], facts, registration.pipeline_id)


def refuse_old_definition(connection: Connection, pipeline: Pipeline, registration: Registration) -> None:
    """Raise if the ledger has another definition or name by now; to be asked once the definition's lock is held.

    Raises:
        OldDefinitionError: it has.
    """
    facts = {"pipeline_id": registration.pipeline_id}
    found = connection.execute(_LEDGER["definition_hash"], facts).fetchone()
    if found != (pipeline.name, registration.definition_hash):
        name, definition_hash = found or (pipeline.name, "none")
        registered = definition_hash[:12] if name == pipeline.name else f"the name {name!r}"
        raise OldDefinitionError(
            pipeline=pipeline.name, declared=registration.definition_hash[:12], registered=registered
        )


def interval_offsets(
    broker: Broker, topic: str, ends: dict[int, Ends], interval: tuple[datetime, datetime]
) -> dict[int, OffsetRange]:
    """The offsets of an interval `[a, b)` in some partitions: from the first message at `a` or later to that at `b`.

    If nothing is as young as `b`, they go to the last stable offset; if nothing is as young as `a`, they are empty
    and lie at the end. An empty one is possible anywhere.

    Args:
        broker: is asked.
        topic: the source.
        ends: of the partitions that are meant.
        interval: start and end, aware; Kafka's timestamps count.
    """
    starts, stops = (broker.offsets_at(topic, ends, moment) for moment in interval)
    found = {}
    for partition, at in ends.items():
        start, stop = starts[partition], stops[partition]
        start = at.high_watermark if start is None else start
        stop = at.last_stable if stop is None else stop
        found[partition] = OffsetRange(partition, start, max(start, stop))
    return found


def plan(
    connection: Connection,
    broker: Broker,
    pipeline: Pipeline,
    registration: Registration,
    wanted: dict[int, OffsetRange | None],
    limit: int,
) -> list[OffsetRange]:
    """What to read next: uncovered offsets below the last stable offset, the lowest of each partition first.

    Args:
        connection: with the shard's lock held.
        broker: is asked for the ends.
        pipeline: whose source it is.
        registration: of the pipeline.
        wanted: by partition the offsets that are meant; None: all from `first_offset` on.
        limit: the most offsets in a batch, at least 1.

    Raises:
        TopicTruncatedError: a partition ends before what is covered.
        OffsetsLostError: retention has deleted unread messages.
    """
    # The ledger is read first: a high watermark that is asked for later cannot be below what it covers.
    covered = _highest_covered(connection, registration)
    ends = broker.ends(pipeline.source.name, wanted)
    for partition, at in ends.items():
        _refuse_truncated(pipeline, partition, covered.get(partition, 0), at)
    found = uncovered(connection, registration, wanted, {p: at.last_stable for p, at in ends.items()})
    refuse_lost(pipeline, found, ends)
    return plan_ranges(found, limit)


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
            "kind": run.mode,
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "interval_start": start,
            "interval_end": end,
            "definition_hash": registration.definition_hash,
        },
    )
    facts = {
        "batch_id": batch_id,
        "pipeline_id": registration.pipeline_id,
        "topic": pipeline.source.name,
        "topic_id": registration.topic_id,
        **places(ranges),
    }
    try:
        acquire(connection, _LEDGER["insert_ranges"], facts, registration.pipeline_id)
    except psycopg.errors.ExclusionViolation as error:
        raise RangeTakenError(topic=pipeline.source.name, ranges=", ".join(map(str, ranges))) from error
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
                pipeline=pipeline.name,
                topic=pipeline.source.name,
                partition=item.partition,
                start=item.start,
                last=min(item.end, low) - 1,
                low_watermark=low,
            )


def _refuse_truncated(pipeline: Pipeline, partition: int, covered: int, ends: Ends) -> None:
    if ends.high_watermark < covered:
        raise TopicTruncatedError(
            pipeline=pipeline.name,
            topic=pipeline.source.name,
            partition=partition,
            high_watermark=ends.high_watermark,
            covered=covered,
        )


def _highest_covered(connection: Connection, registration: Registration) -> dict[int, int]:
    facts = {"pipeline_id": registration.pipeline_id, "topic_id": registration.topic_id}
    return dict(connection.execute(_LEDGER["highest_covered"], facts).fetchall())


def uncovered(
    connection: Connection,
    registration: Registration,
    wanted: dict[int, OffsetRange | None],
    limits: dict[int, int],
) -> list[OffsetRange]:
    """What of the wanted offsets (None: all from `first_offset` on) below each partition's limit no batch has."""
    facts = {
        "pipeline_id": registration.pipeline_id,
        "topic_id": registration.topic_id,
        "partitions": list(wanted),
        "start_offsets": [item.start if item else None for item in wanted.values()],
        "end_offsets": [min(item.end, limits[p]) if item else limits[p] for p, item in wanted.items()],
    }
    rows = connection.execute(_LEDGER["uncovered"], facts).fetchall()
    return [OffsetRange(partition, start, end) for partition, start, end in rows]
