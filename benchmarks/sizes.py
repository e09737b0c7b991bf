"""What rows take in PostgreSQL, with their indexes, and what the write-ahead log gets for them.

`python -m benchmarks.sizes`, in three parts: a minute of many keys and its correction, counted by the engine; runs of a
few messages, by the engine too; and a past of 20,000 minutes, written by SQL, for tables that are too small after some
runs to be measured.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import psycopg
from benchmarks.own_stack import OwnStack, own_stack
from benchmarks.past import Past, fill
from benchmarks.reporting import Cell, Report, save, show
from benchmarks.worlds import Sent, World, make_world, sale, send
from rich.console import Console

from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run

KEYS: Final = 50_000
RUNS: Final = 30
MESSAGES: Final = 40
PARTITIONS: Final = 4
MINUTES: Final = 20_000
RESULT_TABLES: Final = ("sales", "sales_history", "sales_contribution")
LEDGER_TABLES: Final = ("microbatch.batch", "microbatch.offset_range", "microbatch.run", "microbatch.merge")
MINUTE: Final = timedelta(minutes=1)
NOW: Final = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=4)


class Written(msgspec.Struct, frozen=True):
    """Bytes of the write-ahead log, and of each table with its indexes."""

    log: int
    tables: dict[str, int]


def main() -> None:
    """Measure, print, keep."""
    console = Console()
    with own_stack(console) as stack:
        reports = [_results(stack), _ledger(stack, console)]
    for report in reports:
        show(report, console)
        save(report)


def _results(stack: OwnStack) -> Report:
    """A minute of many keys, the same again as corrections, and runs of a few messages."""
    world = make_world(stack, "results", PARTITIONS)
    before = _written(world)
    _run(world, 0, range(KEYS))
    first = _written(world)
    _run(world, 1, range(KEYS))
    corrected = _written(world)
    for minute in range(2, 2 + RUNS):
        _run(world, minute, [n % 4 for n in range(MESSAGES)])
    after = _written(world)
    rows: list[list[Cell]] = [
        ["a new result", *_each(before, first, KEYS)],
        ["a correction", *_each(first, corrected, KEYS)],
        [f"a run of {MESSAGES} messages and its 4 results", *_each(corrected, after, RUNS)],
    ]
    columns = ["bytes for", "write-ahead log", *RESULT_TABLES]
    return Report("sizes", f"Bytes in PostgreSQL, {KEYS:,} results at once and {RUNS} runs", columns, rows)


def _run(world: World, minute: int, sellers: range | list[int]) -> None:
    """One run: a sale of each of the sellers in the first minute, or in the newest if there are few."""
    window = NOW if len(sellers) == KEYS else NOW + minute * MINUTE
    at_s, sent_ms = int(window.timestamp()), int((NOW + minute * MINUTE).timestamp() * 1000)
    send(world, (Sent(n % PARTITIONS, sale(seller, 1, at_s), sent_ms) for n, seller in enumerate(sellers)))
    run = Run("sales", f"minute {minute}", interval=(NOW + minute * MINUTE, NOW + (minute + 1) * MINUTE))
    consume(world.pipeline, 0, run, world.connections)
    publish(world.pipeline, run, world.connections)


def _written(world: World) -> Written:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        (log,) = connection.execute("select (pg_current_wal_lsn() - '0/0')::bigint").fetchone() or (0,)
        return Written(log, {table: _size(connection, table)[0] for table in RESULT_TABLES})


def _each(before: Written, after: Written, count: int) -> list[Cell]:
    tables = [after.tables[table] - before.tables[table] for table in RESULT_TABLES]
    return [round(grown / count) for grown in (after.log - before.log, *tables)]


def _ledger(stack: OwnStack, console: Console) -> Report:
    """Tables of the ledger, and those of results, as a past of many minutes leaves them."""
    world = make_world(stack, "past", PARTITIONS)
    registered = world.registration
    past = Past(
        pipeline_id=registered.pipeline_id,
        topic=world.pipeline.source.name,
        topic_id=registered.topic_id,
        definition_hash=registered.definition_hash,
        first=NOW - MINUTES * MINUTE,
        minutes=MINUTES,
        keys=4,
        partitions=PARTITIONS,
        offsets=10,
    )
    with psycopg.connect(stack.superuser("past"), autocommit=True) as superuser:
        fill(superuser, past, console.print)
        superuser.execute("vacuum full microbatch.batch, microbatch.run, microbatch.merge")
        found = {table: _size(superuser, table) for table in (*LEDGER_TABLES, *RESULT_TABLES)}
    rows: list[list[Cell]] = [[table, rows, round(size / rows)] for table, (size, rows) in found.items()]
    return Report("sizes_ledger", f"A past of {MINUTES:,} minutes", ["table", "rows", "bytes a row"], rows)


def _size(connection: psycopg.Connection, table: str) -> tuple[int, int]:
    """Bytes with indexes, and rows."""
    query = f"select pg_total_relation_size('{table}'), count(*) from {table}"  # noqa: S608 - names from above
    size, rows = connection.execute(query.encode()).fetchone() or (0, 0)
    return int(size), int(rows)


if __name__ == "__main__":
    main()
