"""What a simulated year of minutes takes on disk, and what of it is left once it is maintained.

`python benchmarks/year.py [--days 365] [--keys 4]` starts a PostgreSQL of its own and writes a pipeline's past into it
by SQL: a batch a minute over four partitions, every key in every minute, and each thirtieth minute corrected by the
next batch. Then `maintain` folds what is older than 90 days and prunes revisions that were superseded for longer.
Three sizes of each table: as it grew; its files after that, with room in them for new rows; and what is in them
(VACUUM FULL), which is what a pipeline that is maintained every night comes to.
"""

import argparse
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Column, Table

from local.credentials import load_credentials
from local.data import ensure_postgres, stop_data
from local.home import prepare
from local.ports import random_free
from local.postgres import admin_dsn
from local.roles import owner_dsn
from microbatch import Count, EpochSeconds, Event, KafkaTopic, Keep, Pipeline, PostgresTable, Sum, TumblingWindow
from microbatch.definition import definition, definition_hash
from microbatch.maintaining import maintain
from microbatch.measures import AnyMeasure
from microbatch.migrations import migrate
from microbatch.output_tables import output_tables
from microbatch.postgres import connect
from microbatch.settings import Connections

DEPLOYMENT: Final = "year"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
KEPT: Final = timedelta(days=90)
MIB: Final = 1024 * 1024
# Row by row, this constraint takes most of the time of filling.
CONSTRAINT: Final = "offset_counts_once"

# Minute n of the past is batch n; its ranges are ten offsets of each partition.
FILL: Final = (
    """
    insert into microbatch.batch (
        pipeline_id, shard, kind, dag_id, run_id, batch_time, definition_hash, messages, committed_at
    )
    select 1, 0, 'catch up', 'sales', 'scheduled__' || to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS+00:00'),
        at + interval '61 seconds', %(hash)s, 40, at + interval '62 seconds'
    from generate_series(0, %(minutes)s::int - 1) as n, lateral (select %(first)s + make_interval(mins => n) as at) as m
    """,
    """
    insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets, messages)
    select n, 1, 'sales', %(topic_id)s, p, int8range(n * 10 - 10, n * 10), 10
    from generate_series(1, %(minutes)s::int) as n, generate_series(0, 3) as p
    """,
    """
    insert into microbatch.run (pipeline_id, dag_id, run_id, shard, clear_number, behind, completed_at)
    select 1, dag_id, run_id, 0, 0, 0, committed_at from microbatch.batch
    """,
    """
    insert into microbatch.merge (pipeline_id, dag_id, run_id, closed_until, complete_from, merged_at)
    select 1, dag_id, run_id, batch_time, '-infinity', committed_at from microbatch.batch order by batch_id
    """,
    """
    insert into sales_contribution (batch_id, window_start, window_end, seller_id, amount_usd, amount_usd__count, sales)
    select n + late, at, at + interval '1 minute', 'seller ' || k, n %% 1000, 10, 10
    from generate_series(1, %(minutes)s::int) as n, generate_series(0, (n %% 30 = 0)::int) as late,
        generate_series(1, %(keys)s::int) as k,
        lateral (select %(first)s + make_interval(mins => n - 1) as at) as m
    order by n + late, at, k
    """,
    """
    insert into sales_history (
        window_start, window_end, seller_id, amount_usd, sales, is_final, revision, retracted, batches, merge_id,
        valid_from, valid_to
    )
    select at, at + interval '1 minute', 'seller ' || k, (late + 1) * (n %% 1000), (late + 1) * 10, true, late + 1,
        false, case late when 0 then array[n] else array[n, n + 1] end, n + late, at + make_interval(mins => 1 + late),
        case when late = 0 and n %% 30 = 0 then at + interval '2 minutes' end
    from generate_series(1, %(minutes)s::int) as n, generate_series(0, (n %% 30 = 0)::int) as late,
        generate_series(1, %(keys)s::int) as k,
        lateral (select %(first)s + make_interval(mins => n - 1) as at) as m
    order by n + late, at, k
    """,
    """
    insert into sales (window_start, window_end, seller_id, amount_usd, sales, is_final, revision, updated_at)
    select window_start, window_end, seller_id, amount_usd, sales, is_final, revision, valid_from
    from sales_history where valid_to is null order by 1, 3
    """,
)
SIZES: Final = """
    select n.nspname || '.' || c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid)
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in ('public', 'microbatch')
"""
TOTALS: Final = (
    "select seller_id, sum(amount_usd), sum(amount_usd__count), sum(sales) from sales_contribution group by 1"
)


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    at: EpochSeconds


def main() -> None:
    """Fill, maintain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--keys", type=int, default=4)
    asked = parser.parse_args()
    console = Console()
    home = Path(tempfile.mkdtemp(prefix="microbatch-bench-"))
    port = random_free()
    try:
        credentials = load_credentials(prepare(home))
        ensure_postgres(home, port, credentials, console.print)
        dsn = owner_dsn(port, credentials)
        database = conninfo_to_dict(dsn)["dbname"]
        facts = _register(dsn, asked.days, asked.keys)
        with psycopg.connect(
            make_conninfo(admin_dsn(port, credentials), dbname=database), autocommit=True
        ) as superuser:
            started_s = time.perf_counter()
            _fill(superuser, facts)
            console.print(f"filled in {time.perf_counter() - started_s:.0f} s")
            _compare(console, superuser, dsn, asked)
    finally:
        stop_data(home, console.print)
        shutil.rmtree(home, ignore_errors=True)


def _register(dsn: str, days: int, keys: int) -> dict[str, Any]:
    """What `register` would write, without a Kafka; returns the facts of the past that is to be filled in."""
    measures: dict[str, AnyMeasure] = {"amount_usd": Sum("amount_usd"), "sales": Count()}
    window = TumblingWindow("1 minute", by=["seller_id"], measures=measures, to=[PostgresTable("sales")])
    keep = Keep(contributions=KEPT, history=KEPT)
    pipeline = Pipeline(name="sales", source=KafkaTopic("sales", Sale, event_time="at"), outputs=[window], keep=keep)
    plain = definition(pipeline)
    facts: dict[str, Any] = {
        "minutes": days * 1440,
        "keys": keys,
        "first": NOW - timedelta(days=days),
        "hash": definition_hash(plain),
        "topic_id": "00000000-0000-0000-0000-000000000001",
        "definition": Jsonb(plain),
        "kept": KEPT,
        "deployment": DEPLOYMENT,
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
            select 1, %(topic_id)s, p, 0, %(minutes)s * 10 from generate_series(0, 3) as p
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
    return facts


def _fill(superuser: psycopg.Connection, facts: dict[str, Any]) -> None:
    superuser.execute("set synchronous_commit = off; set session_replication_role = replica")
    superuser.execute("set maintenance_work_mem = '512MB'; set timezone = 'UTC'")
    query = "select pg_get_constraintdef(oid) from pg_constraint where conname = %s"
    ((constraint,),) = superuser.execute(query, [CONSTRAINT]).fetchall()
    superuser.execute(f"alter table microbatch.offset_range drop constraint {CONSTRAINT}".encode())
    for statement in FILL:
        superuser.execute(statement.encode(), facts)
    superuser.execute(f"alter table microbatch.offset_range add constraint {CONSTRAINT} {constraint}".encode())
    superuser.execute("vacuum analyze")


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
