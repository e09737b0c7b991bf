"""The ledger and the tables of one pipeline, read whole in one snapshot by plain SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.resources import files
from typing import Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from recount import definition, tables
from recount.definition import Definition
from recount.errors import PipelineUnknownError
from recount.pairing import Pairing
from recount.tables import Connection, DbRow, StreamTables, WindowTables
from recount.times import since_epoch_us


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
    """

    messages: int
    rejected: int
    repeated: int = 0
    filtered: int = 0
    attempt: int = 1
    time_us: int = 0
    is_older: bool = False

    @property
    def is_redone(self) -> bool:
        """Whether topics may still have what an earlier attempt sent."""
        return self.attempt > 1


@dataclass(frozen=True, slots=True)
class RejectRow:
    """A row of a rejected offset; a resolved one was accepted by a redo later, and counts."""

    batch_id: int
    reason: str
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Publisher:
    """How far the outbox has been sent."""

    cursor: int
    intent: int | None
    last_publication: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that PostgreSQL knows of a pipeline. Times are seconds since 1970 UTC and may be infinite."""

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

    @property
    def may_have_grown(self) -> bool:
        """Whether columns may have been added since: what was stored and sent before does not have them."""
        return any(batch.is_older or batch.is_redone for batch in self.batches.values())

    def is_redone(self, batch_id: int) -> bool:
        """Whether a batch was redone."""
        return batch_id in self.batches and self.batches[batch_id].is_redone

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
    options = "-c timezone=UTC"
    with psycopg.connect(dsn, application_name="recount", options=options, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def read(connection: Connection, pipeline: str, deployment: str) -> Ledger:
    """Everything of one pipeline.

    Raises:
        PipelineUnknownError: it is not registered.
    """
    row = _pipeline(connection, pipeline, deployment)
    of = {"pipeline_id": row["pipeline_id"]}
    defined = definition.parse(row["definition"])
    return Ledger(
        pipeline_id=row["pipeline_id"],
        ledger=row["ledger"],
        definition=defined,
        closed_until=row["closed_until"],
        complete_from=row["complete_from"],
        progress=tuple(Progress(**found) for found in _progress(connection, of)),
        ranges=tuple(_range(found) for found in connection.execute(_SQL["ranges"], of)),
        batches={b["batch_id"]: _batch(row, b) for b in connection.execute(_SQL["batches"], of)},
        rejects={
            (r["partition"], r["offset"]): RejectRow(r["batch_id"], r["reason"], r["resolved"])
            for r in connection.execute(_SQL["rejects"], of)
        },
        publisher=_publisher(connection, of),
        sink_partitions={s["name"]: s["partitions"] for s in connection.execute(_SQL["sinks"], of)},
        set_aside={a["topic"]: a["messages"] for a in connection.execute(_SQL["set_aside"], of)},
        unrest=unrest(connection, row["pipeline_id"]),
        tables=tuple(tables.of_window(connection, window) for window in defined.windows),
        stream=tables.of_stream(connection, defined.stream) if defined.stream else StreamTables(),
        pairs=tuple(tables.of_pairs(connection, output) for output in defined.pairs),
        former_names=tuple(row["former_names"]),
    )


def unrest(connection: Connection, pipeline_id: int) -> tuple[str, ...]:
    """What says that the engine is at work or has left work behind, one text each."""
    of = {"pipeline_id": pipeline_id}
    found = [
        f"open transaction of {row['application_name']!r} (pid {row['pid']})"
        for row in connection.execute(_SQL["open_transactions"])
    ]
    found += [
        f"advisory lock, slot {row['slot']}, {'held' if row['granted'] else 'awaited'} by pid {row['pid']}"
        for row in connection.execute(_SQL["advisory_locks"], of)
    ]
    waiting = connection.execute(_SQL["waiting"], of).fetchone() or {}
    found += [f"{count} rows in {table}" for table, count in waiting.items() if count]
    publisher = _publisher(connection, of)
    if publisher is not None and publisher.intent is not None:
        found.append(f"open intent {publisher.intent} (cursor {publisher.cursor})")
    if publisher is not None and publisher.cursor != publisher.last_publication:
        found.append(f"last publication {publisher.last_publication}, sent {publisher.cursor}")
    return tuple(found)


def _queries() -> dict[str, LiteralString]:
    """The queries of `ledger.sql` by name; nothing is ever pasted into them."""
    text = files(__package__).joinpath("ledger.sql").read_text()
    blocks = [block.partition("\n") for block in text.split("-- name: ")[1:]]
    return {name.strip(): query.strip() for name, _, query in blocks}


_SQL: Final = _queries()


def _pipeline(connection: Connection, pipeline: str, deployment: str) -> DbRow:
    asked = {"pipeline": pipeline, "deployment": deployment}
    row = connection.execute(_SQL["pipeline"], asked).fetchone()
    if row is None:
        raise PipelineUnknownError(
            "the ledger has no pipeline {!r} of deployment {!r}; run it once, or correct --deployment",
            pipeline,
            deployment,
        )
    return row


def _progress(connection: Connection, of: DbRow) -> list[DbRow]:
    return connection.execute(_SQL["progress"], of).fetchall()


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
    )


def _publisher(connection: Connection, of: DbRow) -> Publisher | None:
    row = connection.execute(_SQL["publisher"], of).fetchone()
    return Publisher(**row) if row else None
