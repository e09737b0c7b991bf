"""The ledger and the tables of one pipeline, read whole in one snapshot by plain SQL."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from recount import definition
from recount.definition import Definition, Window
from recount.errors import PipelineUnknownError
from recount.totals import Cell, Number, Numbers

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


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


@dataclass(frozen=True, slots=True)
class Revision:
    """A result as it was published; `numbers` is None when retracted, `batches` outside the history."""

    number: int
    numbers: Numbers | None
    is_final: bool
    window_end: Number | None
    batches: frozenset[int] | None = None
    is_open: bool = False  # the history says that it still holds

    @property
    def shown(self) -> tuple[Numbers | None, bool | None]:
        """What must change from one revision to the next."""
        return (None, None) if self.numbers is None else (self.numbers, self.is_final)


@dataclass(frozen=True, slots=True)
class Tables:
    """The result table, what batches contributed, and every revision, of one window output."""

    results: dict[Cell, Revision]
    contributions: dict[tuple[int, Cell], Numbers]
    history: dict[Cell, list[Revision]]


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
    batches: dict[int, tuple[int, int]]
    rejects: dict[tuple[int, int], tuple[int, str]]
    publisher: Publisher | None
    sink_partitions: dict[str, int]
    set_aside: dict[str, int]
    unrest: tuple[str, ...]
    tables: tuple[Tables | None, ...]


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
        batches={b["batch_id"]: (b["messages"], b["rejected"]) for b in connection.execute(_SQL["batches"], of)},
        rejects={
            (r["partition"], r["offset"]): (r["batch_id"], r["reason"]) for r in connection.execute(_SQL["rejects"], of)
        },
        publisher=_publisher(connection, of),
        sink_partitions={s["name"]: s["partitions"] for s in connection.execute(_SQL["sinks"], of)},
        set_aside={a["topic"]: a["messages"] for a in connection.execute(_SQL["set_aside"], of)},
        unrest=unrest(connection, row["pipeline_id"]),
        tables=tuple(_tables(connection, window) for window in defined.windows),
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


def _pipeline(connection: Connection, pipeline: str, deployment: str) -> Row:
    asked = {"pipeline": pipeline, "deployment": deployment}
    row = connection.execute(_SQL["pipeline"], asked).fetchone()
    if row is None:
        raise PipelineUnknownError(
            "the ledger has no pipeline {!r} of deployment {!r}; run it once, or correct --deployment",
            pipeline,
            deployment,
        )
    return row


def _progress(connection: Connection, of: Row) -> list[Row]:
    return connection.execute(_SQL["progress"], of).fetchall()


def _range(row: Row) -> Range:
    return Range(
        batch_id=row["batch_id"],
        topic_id=row["topic_id"],
        partition=row["partition"],
        start=row["start_offset"],
        end=row["end_offset"],
        messages=row["messages"],
        rejected=row["rejected"],
    )


def _publisher(connection: Connection, of: Row) -> Publisher | None:
    row = connection.execute(_SQL["publisher"], of).fetchone()
    return Publisher(**row) if row else None


# -- the tables of an output: their names come from the definition, so their queries are composed ------------


def _tables(connection: Connection, window: Window) -> Tables | None:
    if window.table is None:
        return None
    return Tables(
        results={cell: revision for cell, revision, _ in _revisions(connection, window, "results")},
        contributions=_contributions(connection, window),
        history=_history(connection, window),
    )


_RESULTS: Final[LiteralString] = """
select
    extract(epoch from window_start) as "microbatch.window_start",
    extract(epoch from window_end) as "microbatch.window_end",
    is_final as "microbatch.is_final",
    revision as "microbatch.revision",
    {columns}
from public.{table}
"""

_HISTORY: Final[LiteralString] = """
select
    extract(epoch from window_start) as "microbatch.window_start",
    extract(epoch from window_end) as "microbatch.window_end",
    is_final as "microbatch.is_final",
    revision as "microbatch.revision",
    retracted as "microbatch.retracted",
    batches as "microbatch.batches",
    valid_to is null as "microbatch.is_open",
    {columns}
from public.{table}
order by revision, valid_from
"""

_CONTRIBUTIONS: Final[LiteralString] = """
select
    batch_id as "microbatch.batch_id",
    extract(epoch from window_start) as "microbatch.window_start",
    {columns}
from public.{table}
"""


def _revisions(connection: Connection, window: Window, what: str) -> Iterator[tuple[Cell, Revision, Row]]:
    query, table = (_RESULTS, window.table) if what == "results" else (_HISTORY, f"{window.table}_history")
    for row in connection.execute(_composed(query, window, str(table))):
        batches = row.get("microbatch.batches")
        revision = Revision(
            number=row["microbatch.revision"],
            numbers=None if row.get("microbatch.retracted") else _numbers(window, row),
            is_final=row["microbatch.is_final"],
            window_end=row["microbatch.window_end"],
            batches=None if batches is None else frozenset(batches),
            is_open=row.get("microbatch.is_open", False),
        )
        yield _cell(window, row), revision, row


def _history(connection: Connection, window: Window) -> dict[Cell, list[Revision]]:
    found: dict[Cell, list[Revision]] = defaultdict(list)
    for cell, revision, _ in _revisions(connection, window, "history"):
        found[cell].append(revision)
    return dict(found)


def _contributions(connection: Connection, window: Window) -> dict[tuple[int, Cell], Numbers]:
    query = _composed(_CONTRIBUTIONS, window, f"{window.table}_contribution")
    return {
        (row["microbatch.batch_id"], _cell(window, row)): _numbers(window, row) for row in connection.execute(query)
    }


def _composed(query: LiteralString, window: Window, table: str) -> sql.Composed:
    columns = [sql.Identifier(name) for name in (*window.by, *window.columns)]
    return sql.SQL(query).format(columns=sql.SQL(", ").join(columns), table=sql.Identifier(table))


def _cell(window: Window, row: Row) -> Cell:
    start = row["microbatch.window_start"]
    return Cell(int(start) if start == int(start) else start, tuple(row[name] for name in window.by))


def _numbers(window: Window, row: Row) -> Numbers:
    return tuple(row[name] for name in window.columns)
