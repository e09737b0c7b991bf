"""What analysts ask of a long history: plans and times over many days of minutes and a thousand keys.

`python -m benchmarks.history` starts a PostgreSQL of its own, fills the tables of a window by SQL (BENCH_DAYS days,
20 if it is not set: 29 million results and as many revisions), and asks each question with the indexes that the engine
makes, with the primary keys alone, and with an index that begins with the key. It prints plans, times and costs.
"""

import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import psycopg
from benchmarks.own_stack import own_postgres
from rich.console import Console
from rich.progress import track
from rich.table import Table

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Sum, TumblingWindow
from microbatch.migrations import migrate
from microbatch.postgres import connect
from microbatch.view import view
from microbatch.window_tables import WindowTables

DAYS: Final = int(os.environ.get("BENCH_DAYS", "20"))
KEYS: Final = 1_000
REPEATED: Final = 5
FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
# In the middle of what is there, so that no plan is lucky.
DAY: Final = f"timestamptz '{FIRST_DAY + timedelta(days=DAYS // 2)}'"

QUESTIONS: Final = {
    "a key, a day, by the hour": """
        select date_trunc('hour', window_start), sum(amount_usd)
        from sales_per_minute
        where seller_id = 'seller 500' and window_start >= {day} and window_start < {day} + interval '1 day'
        group by 1""",
    "all keys of a minute": "select seller_id, amount_usd from sales_per_minute where window_start = {day}",
    "all keys, a day": """
        select seller_id, sum(amount_usd)
        from sales_per_minute where window_start >= {day} and window_start < {day} + interval '1 day' group by 1""",
    "a key, a day, as of its next noon": """
        select window_start, amount_usd
        from sales_per_minute_as_of({day} + interval '36 hours')
        where seller_id = 'seller 500' and window_start >= {day} and window_start < {day} + interval '1 day'""",
    "a key, all days": "select sum(amount_usd) from sales_per_minute where seller_id = 'seller 500'",
}

# A row per minute and key, in the order of merges; a fiftieth of the minutes was corrected the next day.
FILL: Final = (
    """
    insert into sales_per_minute (
        window_start, window_end, seller_id, amount_usd, sales, is_final, revision, updated_at
    )
    select m, m + interval '1 minute', 'seller ' || k, (k * 7919 + extract(minute from m)) %% 1000, k %% 9 + 1, true,
        1 + (m.is_late)::int, m + interval '62 seconds' + case when m.is_late then interval '1 day' else '0' end
    from (
        select at, extract(epoch from at)::bigint / 60 %% 50 = 0 as is_late
        from generate_series(%(day)s::timestamptz, %(day)s::timestamptz + interval '1439 minutes', '1 minute') as at
    ) as m (m, is_late), generate_series(1, %(keys)s::int) as k
    order by m, k
    """,
    """
    insert into sales_per_minute_history (
        window_start, window_end, seller_id, amount_usd, sales, is_final, revision, retracted, batches, merge_id,
        valid_from, valid_to
    )
    select r.window_start, r.window_end, r.seller_id, r.amount_usd - (r.revision - n), r.sales, true, n, false,
        array[1, 2], 1, r.window_start + interval '62 seconds' + make_interval(days => n - 1),
        case when n < r.revision then r.updated_at end
    from sales_per_minute as r, generate_series(1, r.revision) as n
    where r.window_start >= %(day)s::timestamptz and r.window_start < %(day)s::timestamptz + interval '1 day'
    order by r.window_start, r.seller_id, n
    """,
)
PRIMARY_KEYS: Final = {
    "sales_per_minute": "primary key (window_start, seller_id)",
    "sales_per_minute_history": "primary key (window_start, seller_id, revision)",
}
SIZES: Final = ("pg_table_size", "pg_indexes_size")


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    at: EpochSeconds


class Answer(msgspec.Struct, frozen=True):
    """How a question was answered: the index of its plan, how often that was descended, pages, median time."""

    index: str
    searches: int
    pages: int
    milliseconds: float


def main() -> None:
    """Fill, ask, print."""
    console = Console()
    with own_postgres(console) as server:
        _create(server.owner)
        with psycopg.connect(server.owner, autocommit=True) as connection:
            connection.execute("set synchronous_commit = off; set maintenance_work_mem = '512MB'; set timezone = 'UTC'")
            _fill(connection)
            _show(console, connection, "as the engine makes them")
            for table in PRIMARY_KEYS:
                connection.execute(f"drop index {table}_window_start_idx".encode())
            _show(console, connection, "with the primary keys alone")
            for table in PRIMARY_KEYS:
                connection.execute(f"create index on {table} (seller_id, window_start)".encode())
            _show(console, connection, "with indexes that begin with the key")


def _create(dsn: str) -> None:
    window = TumblingWindow(
        "1 minute",
        by=["seller_id"],
        measures={"amount_usd": Sum("amount_usd"), "sales": Count()},
        to=[PostgresTable("sales_per_minute")],
    )
    source = KafkaTopic("sales", Sale, event_time="at")
    pipeline = Pipeline(name="sales", source=source, outputs=[window])
    with connect(dsn, "benchmark") as connection:
        migrate(connection)
        WindowTables(pipeline, window, view(pipeline)).create(connection, pipeline.name)


def _fill(connection: psycopg.Connection) -> None:
    """The primary keys come afterwards: row by row they take twice as long."""
    for table in PRIMARY_KEYS:
        connection.execute(f"alter table {table} drop constraint {table}_pkey".encode())
    for day in track(range(DAYS), "filling"):
        facts = {"day": FIRST_DAY + timedelta(days=day), "keys": KEYS}
        for statement in FILL:
            connection.execute(statement.encode(), facts)
    for table, key in PRIMARY_KEYS.items():
        connection.execute(f"alter table {table} add {key}".encode())
        connection.execute(f"vacuum analyze {table}".encode())


def _ask(connection: psycopg.Connection, name: str) -> Answer:
    query = QUESTIONS[name].format(day=DAY).encode()
    times = []
    for _ in range(REPEATED):
        started_s = time.perf_counter()
        connection.execute(query).fetchall()
        times.append((time.perf_counter() - started_s) * 1000)
    ((found,),) = connection.execute(b"explain (analyze, buffers, format json) " + query).fetchall()
    plan = found[0]["Plan"]
    scans = [node for node in _nodes(plan) if "Index Name" in node]
    names = sorted({node["Index Name"] for node in scans}) or ["none: all is read"]
    return Answer(
        index=", ".join(names),
        searches=sum(node.get("Index Searches", 0) for node in scans),
        pages=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        milliseconds=statistics.median(times),
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for node in plan.get("Plans", []):
        yield from _nodes(node)


def _insert(connection: psycopg.Connection) -> float:
    """Seconds that it takes to write an hour of results after the last one, as a merge does; undone."""
    started_s = time.perf_counter()
    with connection.transaction(force_rollback=True):
        connection.execute(
            "insert into sales_per_minute"
            " select at, at + interval '1 minute', 'seller ' || k, k, 1, true, 1, at from generate_series("
            "(select max(window_start) from sales_per_minute) + interval '1 minute',"
            " (select max(window_start) from sales_per_minute) + interval '1 hour', '1 minute') as at,"
            " generate_series(1, 1000) as k order by 1, 3"
        )
        return time.perf_counter() - started_s


def _show(console: Console, connection: psycopg.Connection, title: str) -> None:
    """Ask all questions, and print the answers and what the indexes cost."""
    tables = ", ".join(f"pg_size_pretty({size}('{table}'))" for table in PRIMARY_KEYS for size in SIZES)
    ((rows,),) = connection.execute("select count(*) from sales_per_minute").fetchall()
    (sizes,) = connection.execute(f"select {tables}".encode()).fetchall()
    table = Table("question", "index", "searches", "pages", "ms", title=f"{rows:,} results, {title}")
    for name in QUESTIONS:
        answer = _ask(connection, name)
        ms = f"{answer.milliseconds:,.1f}"
        table.add_row(name, answer.index, f"{answer.searches:,}", f"{answer.pages:,}", ms)
    table.caption = "results {}, their indexes {}; history {}, its indexes {}".format(*sizes)
    console.print(table)
    console.print(f"to insert an hour of results: {statistics.median(_insert(connection) for _ in range(3)):.2f} s")


if __name__ == "__main__":
    main()
