"""What a simulated year of minutes takes on disk, and what of it is left once it is maintained.

`python -m benchmarks.year [--days 365] [--keys 4]` starts a PostgreSQL of its own and writes a pipeline's past into it
by SQL, see past.py. Then `maintain` folds what is older than 90 days and prunes revisions that were superseded for
longer.
Three sizes of each table: as it grew; its files after that, with room in them for new rows; and what is in them
(VACUUM FULL), which is what a pipeline that is maintained every night comes to.
"""

import argparse
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from benchmarks.own_stack import own_postgres
from benchmarks.past import Past, fill, sales_pipeline
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Column, Table

from microbatch import Keep
from microbatch.definition import definition, definition_hash
from microbatch.maintaining import maintain
from microbatch.migrations import migrate
from microbatch.output_tables import output_tables
from microbatch.postgres import connect
from microbatch.settings import Connections

DEPLOYMENT: Final = "year"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
KEPT: Final = timedelta(days=90)
MIB: Final = 1024 * 1024
OFFSETS: Final = 10
PARTITIONS: Final = 4
SIZES: Final = """
    select n.nspname || '.' || c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid)
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in ('public', 'microbatch')
"""
TOTALS: Final = (
    "select seller_id, sum(amount_usd), sum(amount_usd__count), sum(sales) from sales_contribution group by 1"
)


def main() -> None:
    """Fill, maintain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--keys", type=int, default=4)
    asked = parser.parse_args()
    console = Console()
    with own_postgres(console) as server:
        past = _register(server.owner, asked.days, asked.keys)
        with psycopg.connect(server.superuser, autocommit=True) as superuser:
            started_s = time.perf_counter()
            fill(superuser, past, console.print)
            superuser.execute("vacuum analyze")
            console.print(f"filled in {time.perf_counter() - started_s:.0f} s")
            _compare(console, superuser, server.owner, asked)


def _register(dsn: str, days: int, keys: int) -> Past:
    """What `register` would write, without a Kafka; returns the past that is to be filled in."""
    pipeline = sales_pipeline(keep=Keep(contributions=KEPT, history=KEPT))
    plain = definition(pipeline)
    facts: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "hash": definition_hash(plain),
        "topic_id": UUID(int=1),
        "definition": Jsonb(plain),
        "kept": KEPT,
        "partitions": PARTITIONS,
    }
    with connect(dsn, "benchmark") as connection:
        migrate(connection)
        connection.execute(
            """
            insert into microbatch.pipeline (
                deployment, name, cluster_id, source_topic, definition, definition_hash, keep_contributions,
                keep_history
            )
            values (%(deployment)s, 'sales', 'none', 'sales', %(definition)s, %(hash)s, %(kept)s, %(kept)s)
            """,
            facts,
        )
        connection.execute(
            """
            insert into microbatch.partition_progress (pipeline_id, topic_id, partition, first_offset, covered_until)
            select 1, %(topic_id)s, p, 0, 0 from generate_series(0, %(partitions)s::int - 1) as p
            """,
            facts,
        )
        for tables in output_tables(pipeline):
            tables.create(connection, pipeline.name)
            for schema, table in tables.names:
                connection.execute(
                    "insert into microbatch.sink (pipeline_id, kind, name) values (1, 'table', %s)",
                    [f"{schema}.{table}"],
                )
    return Past(
        pipeline_id=1,
        topic=pipeline.source.name,
        topic_id=facts["topic_id"],
        definition_hash=facts["hash"],
        first=NOW - timedelta(days=days),
        minutes=days * 1440,
        keys=keys,
        partitions=PARTITIONS,
        offsets=OFFSETS,
    )


def _compare(console: Console, superuser: psycopg.Connection, dsn: str, asked: argparse.Namespace) -> None:
    before, totals = _sizes(superuser), superuser.execute(f"{TOTALS} order by 1".encode()).fetchall()
    connections = Connections({"bootstrap.servers": "none"}, dsn, DEPLOYMENT)
    maintained = maintain("sales", connections, NOW)
    assert superuser.execute(f"{TOTALS} order by 1".encode()).fetchall() == totals
    after = _sizes(superuser)
    started_s = time.perf_counter()
    maintain("sales", connections, NOW + timedelta(days=1))
    night_s = time.perf_counter() - started_s
    superuser.execute("vacuum full")
    superuser.execute("analyze")
    tight = _sizes(superuser)
    title = f"{asked.days} days of minutes, {asked.keys} keys; MiB with indexes: before, the files after, used of them"
    table = Table(Column("table", no_wrap=True), "rows before", "rows after", "before", "after", "used", title=title)
    for name, (rows, size) in sorted(before.items(), key=lambda item: -item[1][1]):
        if size > MIB // 2:
            sizes = [f"{each / MIB:,.0f}" for each in (size, after[name][1], tight[name][1])]
            table.add_row(name, f"{rows:,}", f"{tight[name][0]:,}", *sizes)
    whole = [f"{sum(size for _, size in each.values()) / MIB:,.0f}" for each in (before, after, tight)]
    table.add_row("all", "", "", *whole)
    console.print(table)
    console.print(maintained.describe())
    console.print(f"one more night: {night_s:.1f} s")


def _sizes(superuser: psycopg.Connection) -> dict[str, tuple[int, int]]:
    return {name: (rows, size) for name, rows, size in superuser.execute(SIZES.encode())}


if __name__ == "__main__":
    main()
