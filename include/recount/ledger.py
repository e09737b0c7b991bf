"""The ledger of one pipeline, and the tables of its outputs, read in one snapshot by plain SQL."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from recount import definition, tables, unrest
from recount.archives import Archives
from recount.definition import Definition
from recount.errors import PipelineUnknownError
from recount.pairing import Pairing, Place
from recount.queries import SQL
from recount.tables import Connection, DbRow, StreamTables, WindowTables
from recount.times import Interval, since_epoch_us


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a source partition begins, and how far it is covered without a gap."""

    topic_id: UUID
    partition: int
    first_offset: int
    covered_until: int


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets `[start, end)` of a batch, and what the ledger says it found there."""

    batch_id: int
    topic_id: UUID
    partition: int
    start: int
    end: int
    messages: int
    rejected: int
    repeated: int = 0
    filtered: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, and what the ledger says it found.

    Attributes:
        attempt: more than 1 says that it was redone.
        time_us: its one "now", in µs since 1970 UTC.
        is_older: it was computed by an earlier definition, which had fewer columns.
        is_former: a rebuild has changed the definition since, and not redone this batch.
        kind: `loss` says that nobody has read its offsets, and that a person has accepted that; `archive`, that old
            batches have become this one.
        decision_id: of a loss, by which decision.
    """

    messages: int
    rejected: int
    repeated: int = 0
    filtered: int = 0
    attempt: int = 1
    time_us: int = 0
    is_older: bool = False
    is_former: bool = False
    kind: str = "catch up"
    decision_id: int | None = None

    @property
    def is_redone(self) -> bool:
        """Whether topics may still have what an earlier attempt sent."""
        return self.attempt > 1


@dataclass(frozen=True, slots=True)
class RejectRow:
    """A row of a rejected offset; a resolved one was accepted by a redo later, and counts.

    Attributes:
        row_sent: another attempt accepted it, and the stream's topic has its row.
    """

    batch_id: int
    reason: str
    resolved: bool = False
    row_sent: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about the pipeline: a command, and whom to ask."""

    decision_id: int
    kind: str
    reason: str
    decided_by: str
    decided_at: datetime
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Publisher:
    """How far the outbox has been sent."""

    cursor: int
    intent: int | None
    last_publication: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that PostgreSQL knows of a pipeline. Times are seconds since 1970 UTC and may be infinite.

    Of the source's log as it is now are `progress`, `ranges`, `rejects`, `redriven` and `already_sent`.

    Attributes:
        unrest: what the engine does or has left to do.
        former_ledgers: others whose messages this one has adopted.
        activity: what of that says that it is at work on this very pipeline.
        elsewhere: ranges of logs that the source topic had before.
        others: the ids of such logs.
        retired: those of them that a person has given up.
        already_sent: by topic, source places whose message was sent before this ledger knew of them.
        redriven: rejects that were sent to the source again.
        is_rebuilt: what passes, and the values of its rows, may be other ones than when the batches were read first.
        archives: what has become of old batches.
        is_pruned: revisions that were superseded long ago are not kept.
    """

    pipeline_id: int
    ledger: UUID
    definition: Definition
    closed_until: Decimal | None
    complete_from: Decimal | None
    progress: tuple[Progress, ...]
    ranges: tuple[Range, ...]
    batches: dict[int, Batch]
    rejects: dict[tuple[int, int], RejectRow]
    publisher: Publisher | None
    sink_partitions: dict[str, int]
    set_aside: dict[str, int]
    unrest: tuple[str, ...]
    tables: tuple[WindowTables, ...] = ()
    stream: StreamTables = field(default_factory=StreamTables)
    pairs: tuple[Pairing, ...] = ()
    former_names: tuple[str, ...] = ()
    former_ledgers: frozenset[UUID] = frozenset()
    activity: tuple[str, ...] = ()
    elsewhere: tuple[Range, ...] = ()
    others: frozenset[UUID] = frozenset()
    retired: frozenset[UUID] = frozenset()
    decisions: tuple[Decision, ...] = ()
    already_sent: dict[str, frozenset[Place]] = field(default_factory=dict)
    redriven: frozenset[Place] = frozenset()
    is_rebuilt: bool = False
    archives: Archives = field(default_factory=Archives)
    is_pruned: bool = False

    @property
    def may_have_grown(self) -> bool:
        """Whether columns may have been added since: what was stored and sent before does not have them."""
        return any(batch.is_older or batch.is_redone for batch in self.batches.values())

    def is_redone(self, batch_id: int) -> bool:
        """Whether a batch was redone."""
        return batch_id in self.batches and self.batches[batch_id].is_redone

    def is_ours(self, ledger: UUID) -> bool:
        """Whether messages of that ledger are this one's."""
        return ledger == self.ledger or ledger in self.former_ledgers

    def was_made_anew(self, topic: str) -> bool:
        """Whether a results topic was found empty, and got the results again as they were then."""
        return any(topic in decision.details.get("empty", ()) for decision in self.decisions)

    @property
    def sent(self) -> int:
        """The last publication that Kafka may have: an intent may have been sent already."""
        return max(self.publisher.cursor, self.publisher.intent or 0) if self.publisher else 0

    def is_due(self, partition: int, offset: int) -> bool:
        """Whether a message's turn to be sent has come: what lies above a gap waits until it is filled."""
        return any(
            offset < max(progress.covered_until, progress.first_offset)
            for progress in self.progress
            if progress.partition == partition
        )


@contextmanager
def snapshot(dsn: str) -> Iterator[Connection]:
    """A read-only transaction in which every statement sees the same state."""
    with psycopg.connect(dsn, application_name="recount", row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute("set timezone to 'UTC'")
        yield connection


def source_of(connection: Connection, pipeline: str, deployment: str) -> tuple[int, Definition]:
    """The pipeline's id, and the definition, which says where to look.

    Raises:
        PipelineUnknownError: it is not registered.
    """
    row = _pipeline(connection, pipeline, deployment)
    return row["pipeline_id"], definition.parse(row["definition"])


def read(connection: Connection, pipeline: str, deployment: str, log: UUID | None, *, alone: bool = False) -> Ledger:
    """All of one pipeline but its tables.

    Args:
        connection: a snapshot.
        pipeline: its name.
        deployment: where it runs.
        log: the id of the source topic, as it is now.
        alone: open transactions of other pipelines do not matter.

    Raises:
        PipelineUnknownError: it is not registered.
    """
    row = _pipeline(connection, pipeline, deployment)
    of = {"pipeline_id": row["pipeline_id"], "log": log}
    progress = connection.execute(SQL["progress"], of).fetchall()
    ranges = [_range(found) for found in connection.execute(SQL["ranges"], of)]
    here = tuple(
        Progress(*(p[name] for name in Progress.__slots__))
        for p in progress
        if p["topic_id"] == log and not p["is_retired"]
    )
    elsewhere = tuple(each for each in ranges if each.topic_id != log)
    return Ledger(
        pipeline_id=row["pipeline_id"],
        ledger=row["ledger"],
        definition=definition.parse(row["definition"]),
        closed_until=row["closed_until"],
        complete_from=row["complete_from"],
        progress=here,
        ranges=tuple(each for each in ranges if each.topic_id == log),
        batches={b["batch_id"]: _batch(row, b) for b in connection.execute(SQL["batches"], of)},
        rejects={
            (r["partition"], r["offset"]): RejectRow(r["batch_id"], r["reason"], r["resolved"], r["row_sent"])
            for r in connection.execute(SQL["rejects"], of)
        },
        publisher=_publisher(connection, of),
        sink_partitions={s["name"]: s["partitions"] for s in connection.execute(SQL["sinks"], of)},
        set_aside={a["topic"]: a["messages"] for a in connection.execute(SQL["set_aside"], of)},
        unrest=unrest.everything(connection, row["pipeline_id"], alone=alone),
        former_names=tuple(row["former_names"]),
        former_ledgers=frozenset(row["former_ledgers"]),
        activity=unrest.activity(connection, row["pipeline_id"]),
        elsewhere=elsewhere,
        others=frozenset({p["topic_id"] for p in progress} | {each.topic_id for each in elsewhere}) - {log},
        retired=frozenset(p["topic_id"] for p in progress if p["is_retired"]),
        decisions=tuple(Decision(**found) for found in connection.execute(SQL["decisions"], of)),
        already_sent={
            found["topic"]: frozenset(zip(found["partitions"], found["offsets"], strict=True))
            for found in connection.execute(SQL["already_sent"], of)
        },
        redriven=frozenset((r["partition"], r["offset"]) for r in connection.execute(SQL["redriven"], of)),
        is_rebuilt=row["generation"] > 1,
        archives=Archives.of((b["first_id"], b["end_id"]) for b in connection.execute(SQL["archives"], of)),
        is_pruned=row["is_pruned"],
    )


def contributors(connection: Connection, found: Ledger, interval: Interval) -> set[int]:
    """The batches that have stored contributions to windows of an interval."""
    windows = found.definition.windows
    return {batch_id for window in windows for batch_id in tables.contributors(connection, window, interval)}


def with_tables(
    connection: Connection, found: Ledger, batches: Collection[int] | None, interval: Interval | None
) -> Ledger:
    """The ledger with the tables of its outputs.

    Args:
        connection: the snapshot that the ledger was read in.
        found: the ledger.
        batches: of which rows are wanted; None: of all.
        interval: of which windows are wanted, beside all to which those batches contribute; None: all.
    """
    defined, wanted = found.definition, None if batches is None else sorted(batches)
    archives = found.archives
    return replace(
        found,
        tables=tuple(tables.of_window(connection, window, archives, wanted, interval) for window in defined.windows),
        stream=tables.of_stream(connection, defined.stream, archives, wanted) if defined.stream else StreamTables(),
        pairs=tuple(tables.of_pairs(connection, output, archives) for output in defined.pairs),
    )


def _pipeline(connection: Connection, pipeline: str, deployment: str) -> DbRow:
    asked = {"pipeline": pipeline, "deployment": deployment}
    row = connection.execute(SQL["pipeline"], asked).fetchone()
    if row is None:
        raise PipelineUnknownError(
            "the ledger has no pipeline {!r} of deployment {!r}; run it once, or correct --deployment",
            pipeline,
            deployment,
        )
    return row


def _range(row: DbRow) -> Range:
    return Range(
        batch_id=row["batch_id"],
        topic_id=row["topic_id"],
        partition=row["partition"],
        start=row["start_offset"],
        end=row["end_offset"],
        messages=row["messages"],
        rejected=row["rejected"],
        repeated=row["repeated"],
        filtered=row["filtered"],
    )


def _batch(pipeline: DbRow, row: DbRow) -> Batch:
    return Batch(
        messages=row["messages"],
        rejected=row["rejected"],
        repeated=row["repeated"],
        filtered=row["filtered"],
        attempt=row["attempt"],
        time_us=since_epoch_us(row["batch_time"]),
        is_older=row["definition_hash"] != pipeline["definition_hash"],
        is_former=row["generation"] < pipeline["generation"],
        kind=row["kind"],
        decision_id=row["decision_id"],
    )


def _publisher(connection: Connection, of: DbRow) -> Publisher | None:
    row = connection.execute(SQL["publisher"], of).fetchone()
    return Publisher(**row) if row else None
