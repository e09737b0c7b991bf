"""The tables of a pipeline's outputs; their names come from the definition, so their queries are composed.

Columns that the check itself needs have names with a dot, which no declared column has. What names a batch that was
archived since is the archive's.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from recount import totals
from recount.archives import Archives
from recount.columns import Value
from recount.definition import Measure, PairsOutput, Stream, Target, Window
from recount.pairing import Number, Pair, Pairing, Place
from recount.times import Interval
from recount.totals import Cell, Numbers, Partial, Partials

DbRow = dict[str, Any]
Connection = psycopg.Connection[DbRow]


@dataclass(frozen=True, slots=True)
class Revision:
    """A result as it was published; `numbers` is None when retracted, `batches` outside the history."""

    number: int
    numbers: Numbers | None
    is_final: bool
    window_end: totals.Number | None
    batches: frozenset[int] | None = None
    is_open: bool = False  # the history says that it still holds
    is_adopted: bool = False  # it was found on the topic, which may have lost earlier ones

    @property
    def shown(self) -> tuple[Numbers | None, bool | None]:
        """What must change from one revision to the next."""
        return (None, None) if self.numbers is None else (self.numbers, self.is_final)


@dataclass(frozen=True, slots=True)
class WindowTables:
    """The result table, what batches contributed, and every revision, of one window output.

    Attributes:
        ends: the window's end that each contribution has.
    """

    results: dict[Cell, Revision] = field(default_factory=dict)
    contributions: dict[tuple[int, Cell], Partials] = field(default_factory=dict)
    history: dict[Cell, list[Revision]] = field(default_factory=dict)
    ends: dict[tuple[int, Cell], totals.Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A row of a stream's table."""

    batch_id: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class StreamTables:
    """The rows by their places in the source, and whose each key is; None: the stream has no such table."""

    rows: dict[Place, StreamRow] | None = None
    keys: dict[tuple[Value, ...], tuple[int, Place]] | None = None


_RESULTS: Final[LiteralString] = """
select
    extract(epoch from window_start) as "microbatch.window_start",
    extract(epoch from window_end) as "microbatch.window_end",
    is_final as "microbatch.is_final",
    revision as "microbatch.revision",
    {columns}
from {table}
where
    window_start >= coalesce(%(start)s, '-infinity'::timestamptz)
    and window_start < coalesce(%(end)s, 'infinity'::timestamptz)
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
    merge_id in (
        select m.merge_id
        from microbatch.merge as m
        where m.decision_id is not null
    ) as "microbatch.is_adopted",
    {columns}
from {table}
where
    window_start >= coalesce(%(start)s, '-infinity'::timestamptz)
    and window_start < coalesce(%(end)s, 'infinity'::timestamptz)
order by revision, valid_from
"""

_CONTRIBUTIONS: Final[LiteralString] = """
select
    batch_id as "microbatch.batch_id",
    extract(epoch from window_start) as "microbatch.window_start",
    extract(epoch from window_end) as "microbatch.window_end",
    {columns}
from {table}
where
    (
        window_start >= coalesce(%(start)s, '-infinity'::timestamptz)
        and window_start < coalesce(%(end)s, 'infinity'::timestamptz)
    )
    or batch_id = any(%(batches)s)
"""

_CONTRIBUTORS: Final[LiteralString] = """
select distinct batch_id
from {table}
where
    window_start >= %(start)s
    and window_start < %(end)s
"""

_ROWS: Final[LiteralString] = """
select
    batch_id as "microbatch.batch_id",
    source_partition as "microbatch.partition",
    source_offset as "microbatch.offset",
    {columns}
from {table}
where
    %(batches)s::bigint[] is null
    or batch_id = any(%(batches)s)
"""

_PAIRS: Final[LiteralString] = """
select
    first_value,
    first_partition,
    first_offset,
    first_batch_id,
    second_value,
    second_partition,
    second_offset,
    batch_id
from {table}
"""

_WAITING: Final[LiteralString] = """
select
    value,
    batch_id,
    floor(extract(epoch from kafka_timestamp) * 1000)::bigint as kafka_ms,
    source_partition,
    source_offset
from {table}
"""


def contributors(connection: Connection, window: Window, interval: Interval) -> set[int]:
    """The batches that have contributed to windows of an interval."""
    asked = {"start": interval.start, "end": interval.end}
    return {row["batch_id"] for row in _rows(connection, _CONTRIBUTORS, window.target, "_contribution", (), asked)}


def of_window(
    connection: Connection,
    window: Window,
    archives: Archives,
    batches: list[int] | None = None,
    interval: Interval | None = None,
) -> WindowTables:
    """What a window output has stored of an interval, and what those batches contributed at all; None: everything."""
    asked = {
        "start": interval.start if interval else None,
        "end": interval.end if interval else None,
        "batches": batches,
    }
    contributions, ends = {}, {}
    names = [*window.key_names, *(name for measure in window.measures for name in partial_names(measure))]
    for row in _rows(connection, _CONTRIBUTIONS, window.target, "_contribution", names, asked):
        at = row["microbatch.batch_id"], _cell(window, row)
        contributions[at] = tuple(_partial(measure, row) for measure in window.measures)
        ends[at] = row["microbatch.window_end"]
    history: dict[Cell, list[Revision]] = defaultdict(list)
    for cell, revision in _revisions(connection, window, _HISTORY, "_history", asked):
        named = frozenset(map(archives.now_in, revision.batches or ()))
        history[cell].append(replace(revision, batches=named))
    results = dict(_revisions(connection, window, _RESULTS, "", asked))
    return WindowTables(results, contributions, dict(history), ends)


def of_stream(
    connection: Connection, stream: Stream, archives: Archives, batches: list[int] | None = None
) -> StreamTables:
    """What a stream has stored of those batches, None: of all; and whose each key is."""
    columns = [column.name for column in stream.columns]
    unique = [column.name for column in stream.unique]
    of, every = {"batches": batches}, {"batches": None}
    rows = _rows(connection, _ROWS, stream.target, "", columns, of) if stream.target.has_table else None
    keys = _rows(connection, _ROWS, stream.target, "_key", unique, every) if unique else None
    now_in = archives.now_in
    return StreamTables(
        None
        if rows is None
        else {_origin(r): StreamRow(now_in(r["microbatch.batch_id"]), _tuple(r, columns)) for r in rows},
        None if keys is None else {_tuple(r, unique): (now_in(r["microbatch.batch_id"]), _origin(r)) for r in keys},
    )


def of_pairs(connection: Connection, output: PairsOutput, archives: Archives) -> Pairing:
    """All that a pairs output has stored. The pairs' tables have no timestamps: that of the order is 0."""
    found, now_in = Pairing(), archives.now_in
    for row in _rows(connection, _PAIRS, output.target, "", (), {}):
        first = Number(
            row["first_value"], (now_in(row["first_batch_id"]), 0, row["first_partition"], row["first_offset"])
        )
        second = Number(
            row["second_value"], (now_in(row["batch_id"]), 0, row["second_partition"], row["second_offset"])
        )
        found.pairs[second.place] = Pair(first, second)
    for row in _rows(connection, _WAITING, output.target, "_waiting", (), {}):
        order = now_in(row["batch_id"]), row["kafka_ms"], row["source_partition"], row["source_offset"]
        found.waiting[order[2], order[3]] = Number(row["value"], order)
    return found


def partial_names(measure: Measure) -> tuple[str, ...]:
    """The columns of a measure in the contributions: the value's, if it has one, and the count's."""
    if measure.kind == "count":
        return (measure.column,)
    value = f"{measure.column}__sum" if measure.kind == "mean" else measure.column
    return value, f"{measure.column}__count"


def _partial(measure: Measure, row: DbRow) -> Partial:
    *value, count = (row[name] for name in partial_names(measure))
    return (value[0] if value and count is not None else None), count


def _revisions(
    connection: Connection, window: Window, query: LiteralString, suffix: str, asked: DbRow
) -> Iterator[tuple[Cell, Revision]]:
    for row in _rows(connection, query, window.target, suffix, [*window.key_names, *window.columns], asked):
        batches = row.get("microbatch.batches")
        revision = Revision(
            number=row["microbatch.revision"],
            numbers=None if row.get("microbatch.retracted") else _tuple(row, window.columns),
            is_final=row["microbatch.is_final"],
            window_end=row["microbatch.window_end"],
            batches=None if batches is None else frozenset(batches),
            is_open=row.get("microbatch.is_open", False),
            is_adopted=row.get("microbatch.is_adopted", False),
        )
        yield _cell(window, row), revision


def _rows(
    connection: Connection, query: LiteralString, target: Target, suffix: str, names: Iterable[str], asked: DbRow
) -> list[DbRow]:
    table = sql.Identifier(target.schema, f"{target.table}{suffix}")
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    return connection.execute(sql.SQL(query).format(columns=columns, table=table), asked).fetchall()


def _cell(window: Window, row: DbRow) -> Cell:
    start = row["microbatch.window_start"]
    return Cell(int(start) if start == int(start) else start, _tuple(row, window.key_names))


def _origin(row: DbRow) -> Place:
    return row["microbatch.partition"], row["microbatch.offset"]


def _tuple(row: DbRow, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)
